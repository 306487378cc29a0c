//! COVERAGE.md is true: its rows name tests that exist, that run, and that cite the row's number; and no comment cites
//! another number.
//!
//! There are three classes of numbers, and mutants. Comments cite numbers as "bug", "behaviour" or "Found", followed by a
//! number or by a list: "Bug A1", "bugs A1, A2 and B3", "behaviours 12 and 13", "Found 12a: …". The class "Found" has
//! numbers of its own, so its numbers are kept with the word, and the word is capitalised. Mutants are not cited. The
//! sources are read as `rooms` reads them, with `syn`.
//!
//! In passing, one more rule of the tests is checked: if one test of a program counts what belongs to the whole process,
//! the others wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use syn::parse::{Parse, ParseStream};
use syn::visit::{self, Visit};

/// The folders with tests, and what stands before the names of their files in COVERAGE.md.
const FOLDERS: [(&str, &str); 4] = [
    ("async-epoll/src", "async-epoll/"),
    ("async-net-lite/src", "async-net-lite/"),
    ("async-timeout/src", "async-timeout/"),
    ("tests/tests", ""),
];

/// What a last column without a test begins with, in the tables that have rows of both kinds.
const NO_TEST: &str = "no test: ";

/// A row of COVERAGE.md.
#[derive(Clone)]
struct Row {
    /// `A1`, `12`, `Found 12`, `M1`.
    id: String,
    /// Whether the row names tests. Other rows tell why there is no test.
    is_tested: bool,
    /// The last column: the tests, or the reason.
    last: String,
}

impl Row {
    /// Whether the tests have to cite the number: they need not cite a mutant.
    fn is_cited(&self) -> bool {
        !self.id.starts_with('M')
    }
}

/// A function of a source file.
#[derive(Clone)]
struct Function {
    name: String,
    /// The text of the doc comment, in one line.
    doc: String,
    /// Whether the test harness knows the function (`#[test]`), or the program has no harness and this is `main`.
    is_test: bool,
    is_ignored: bool,
    /// The functions that it calls by a plain name.
    calls: BTreeSet<String>,
}

/// Everything that the checks read.
#[derive(Clone)]
struct Checkout {
    rows: Vec<Row>,
    /// The functions of each source file, by the name that COVERAGE.md uses: `tcp`, `async-epoll/time/wheel`.
    functions: BTreeMap<String, Vec<Function>>,
    /// The comments of all source files. A comment that goes over several lines is one line here.
    comments: String,
    /// The command lines of `.ci/run` and `.ci/full`.
    commands: Vec<String>,
}

/// The checkout, read once for all tests.
static CHECKOUT: LazyLock<Checkout> = LazyLock::new(Checkout::read);

impl Checkout {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        let manifest = read("tests/Cargo.toml");
        let (mut functions, mut comments) = (BTreeMap::new(), String::new());
        for (folder, prefix) in FOLDERS {
            let mut files = BTreeMap::new();
            read_folder(&root.join(folder), prefix, &mut files);
            // This file's comments explain how to cite.
            files.remove("coverage");
            for (name, text) in files {
                let mut found = functions_of(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
                if has_no_harness(&manifest, &name) {
                    found.iter_mut().filter(|function| function.name == "main").for_each(|main| main.is_test = true);
                }
                functions.insert(name, found);
                comments += &comments_of(&text);
            }
        }
        let commands = (read(".ci/run") + &read(".ci/full")).replace("\\\n", " ");
        let commands = commands.lines().filter(|line| !line.trim_start().starts_with('#')).map(str::to_owned).collect();
        Self { rows: rows(&read("tests/COVERAGE.md")), functions, comments, commands }
    }

    /// The numbers with tests, or the numbers with a reason why there is no test.
    fn listed(&self, is_tested: bool) -> BTreeSet<String> {
        self.rows.iter().filter(|row| row.is_tested == is_tested).map(|row| row.id.clone()).collect()
    }

    /// Whether `.ci/run` or `.ci/full` runs this ignored test.
    fn runs_ignored(&self, file: &str, name: &str) -> bool {
        let program = match file.split_once('/') {
            Some((package, _)) => ["--package", package],
            None => ["--test", file],
        };
        self.commands.iter().any(|command| {
            let words: Vec<_> = command.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "--") else { return false };
            let (cargo, harness) = words.split_at(at);
            let mut filters = harness.iter().filter(|word| !word.starts_with('-') && word.parse::<u32>().is_err());
            cargo.windows(2).any(|pair| pair == program)
                && harness.contains(&"--ignored")
                && (filters.clone().next().is_none() || filters.any(|filter| *filter == name))
        })
    }

    /// What is wrong with the rows: a line for each wrong test.
    fn violations(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for row in self.rows.iter().filter(|row| row.is_tested) {
            let Row { id, last, .. } = row;
            for entry in last.split("; ") {
                let parts = entry.split_once(": `").and_then(|(file, name)| Some((file, name.strip_suffix('`')?)));
                let Some((file, name)) = parts else {
                    wrong.push(format!("{id}: {entry:?} is not of the form \"file: `test`\""));
                    continue;
                };
                let Some(functions) = self.functions.get(file) else {
                    wrong.push(format!("{id}: no file {file}"));
                    continue;
                };
                let named: Vec<_> = functions.iter().filter(|function| function.name == name).collect();
                let [function] = named[..] else {
                    wrong.push(format!("{id}: {} functions {name} in {file}", named.len()));
                    continue;
                };
                if !function.is_test {
                    wrong.push(format!("{id}: {name} in {file} is not a test"));
                }
                if row.is_cited() && !numbers(&function.doc).contains(id) {
                    wrong.push(format!("{id}: {name} in {file} does not cite it"));
                }
                if function.is_ignored && !self.runs_ignored(file, name) {
                    wrong.push(format!("{id}: {name} in {file} is ignored, and .ci does not run it"));
                }
            }
        }
        // The other way round.
        for (file, functions) in &self.functions {
            for Function { name, doc, .. } in functions.iter().filter(|function| function.is_test) {
                let entry = format!("{file}: `{name}`");
                let lists = |id: &String| {
                    self.rows.iter().any(|row| row.id == *id && row.last.split("; ").any(|other| other == entry))
                };
                let missing: Vec<_> = numbers(doc).into_iter().filter(|id| !lists(id)).collect();
                if !missing.is_empty() {
                    wrong.push(format!("{name} in {file} cites {missing:?}, whose rows do not name it"));
                }
            }
        }
        wrong
    }
}

/// Reads the Rust files below a folder. Their names begin with `prefix`.
fn read_folder(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_stem().unwrap().to_str().unwrap());
        if path.is_dir() {
            read_folder(&path, &format!("{name}/"), files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(name, fs::read_to_string(path).unwrap());
        }
    }
}

/// Whether this program of the package `tests` has no test harness, according to the manifest.
fn has_no_harness(manifest: &str, program: &str) -> bool {
    let name = format!("name = {program:?}");
    manifest.split("[[test]]").skip(1).any(|table| {
        let lines: Vec<_> = table.lines().take_while(|line| !line.starts_with('[')).collect();
        lines.contains(&name.as_str()) && lines.contains(&"harness = false")
    })
}

/// Collects the functions of a file.
#[derive(Default)]
struct Functions {
    found: Vec<Function>,
    error: Option<syn::Error>,
}

impl Functions {
    fn add(&mut self, name: &syn::Ident, attributes: &[syn::Attribute], calls: BTreeSet<String>) {
        let has = |name: &str| attributes.iter().any(|attribute| attribute.path().is_ident(name));
        let line = |attribute: &syn::Attribute| match &attribute.meta {
            syn::Meta::NameValue(syn::MetaNameValue {
                path,
                value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
                ..
            }) if path.is_ident("doc") => Some(text.value()),
            _ => None,
        };
        let doc = attributes.iter().filter_map(line).collect();
        let (is_test, is_ignored) = (has("test"), has("ignore"));
        self.found.push(Function { name: name.to_string(), doc, is_test, is_ignored, calls });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let mut calls = Calls::default();
        calls.visit_block(&item.block);
        self.add(&item.sig.ident, &item.attrs, calls.0);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if item.mac.path.is_ident("proptest") {
            match item.mac.parse_body::<Properties>() {
                Ok(Properties(properties)) => {
                    properties.iter().for_each(|(name, attributes)| self.add(name, attributes, BTreeSet::new()));
                }
                Err(error) => self.error = Some(error),
            }
        }
    }
}

/// Collects the functions that a block calls by a plain name.
#[derive(Default)]
struct Calls(BTreeSet<String>);

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func {
            self.0.extend(path.path.get_ident().map(ToString::to_string));
        }
        visit::visit_expr_call(self, call);
    }
}

/// The functions inside `proptest!`. Their parameters are not Rust: `fn name(value in strategy) { … }`.
struct Properties(Vec<(syn::Ident, Vec<syn::Attribute>)>);

impl Parse for Properties {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.call(syn::Attribute::parse_inner)?;
        let mut found = Vec::new();
        while !input.is_empty() {
            let attributes = input.call(syn::Attribute::parse_outer)?;
            input.parse::<syn::Token![fn]>()?;
            found.push((input.parse()?, attributes));
            // The parameters, and the body.
            for _ in 0..2 {
                input.step(|cursor| match cursor.token_tree() {
                    Some((_, rest)) => Ok(((), rest)),
                    None => Err(cursor.error("no body")),
                })?;
            }
        }
        Ok(Self(found))
    }
}

/// Returns the functions of a source file.
fn functions_of(text: &str) -> syn::Result<Vec<Function>> {
    let mut functions = Functions::default();
    functions.visit_file(&syn::parse_file(text)?);
    functions.error.map_or(Ok(functions.found), Err)
}

/// Returns the comments of a source file, each in one line.
fn comments_of(text: &str) -> String {
    let mut comments = String::new();
    for line in text.lines() {
        match line.trim_start().strip_prefix("//") {
            Some(comment) => comments += comment.trim_start_matches(['/', '!']),
            None => comments.push('\n'),
        }
    }
    comments + "\n"
}

/// What stands before the number of a [`Row`] of the class "Found".
const FOUND: &str = "Found ";

/// Returns the numbers that a text cites: `A1` and `B2` of "bugs A1 and B2", `Found 12a` of "Found 12a: …".
fn numbers(text: &str) -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    // What stands before the numbers of the list, if the word before makes this one a number of the list; and whether
    // the word before was a number.
    let (mut class, mut was_number) = (None, None);
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let digits = match class {
            Some(FOUND) => bare.strip_suffix(|c: char| c.is_ascii_lowercase()).unwrap_or(bare),
            _ => bare.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(bare),
        };
        let number = class.filter(|_| digits.parse::<u32>().is_ok());
        if let Some(class) = number {
            numbers.insert(format!("{class}{bare}"));
        }
        class = match bare {
            "Found" => Some(FOUND),
            "bug" | "bugs" | "behaviour" | "behaviours" | "Bug" | "Bugs" | "Behaviour" | "Behaviours" => Some(""),
            "and" => class.or(was_number),
            _ => number.filter(|_| word.ends_with(',')),
        };
        was_number = number;
    }
    numbers
}

/// Returns the rows of all tables of COVERAGE.md.
fn rows(coverage: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for section in coverage.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let class = if title == "Found" { FOUND } else { "" };
        let lines = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
        rows.extend(lines.filter(|(id, _)| id.contains(|c: char| c.is_ascii_digit())).map(|(id, rest)| {
            let last = rest.rsplit(" | ").next().unwrap_or_default().trim();
            let is_tested = match title {
                "Bugs" | "Behaviours" => true,
                "Found" | "Mutants" => !last.is_empty() && !last.starts_with(NO_TEST),
                _ => false,
            };
            Row { id: format!("{class}{id}"), is_tested, last: last.to_owned() }
        }));
    }
    rows
}

/// Returns the numbers of a list such as [`CATALOGUE`]: a line that begins with "Found" has numbers of that
/// class.
fn listed_in(text: &str) -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    for line in text.lines() {
        let (class, numbers) = line.trim().strip_prefix(FOUND).map_or(("", line), |numbers| (FOUND, numbers));
        listed.extend(numbers.split_whitespace().map(|number| format!("{class}{number}")));
    }
    listed
}

#[test]
fn every_number_that_is_cited_is_listed() {
    let checkout = &*CHECKOUT;
    let listed = checkout.listed(true);
    assert!(listed.len() > 50);
    let cited: BTreeSet<_> = checkout.comments.lines().flat_map(numbers).collect();
    let missing: Vec<_> = cited.difference(&listed).collect();
    let is_mutant = |id: &&String| checkout.rows.iter().any(|row| row.id == **id && !row.is_cited());
    let stale: Vec<_> = listed.difference(&cited).filter(|id| !is_mutant(id)).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not listed: {missing:?}; not cited any more: {stale:?}");
}

/// The numbers of the catalogue: all bugs, and all behaviours except those of servers, what was found, and mutants. The
/// catalogue itself has gaps.
const CATALOGUE: &str = "
    A1 A3 A4 A5 A6 A7 A9 A10 A11 A12 A13
    B1 B2 B3 B4 B5 B7 B8 B9 B10 B11 B13 B14 B16 B17 B18 B20 B22
    C1 C2 C3 C5 C6 C7 C8 C9 C10 C11 C12 C13 C15 C16 C18 C19 C20 C21
    D1 D2 D4 D6 D7 D9 D10 D11 D12
    E1 E2 E3 E4 E7 E8 E9 E10 E12 E14 E15 E16 E17
    F1 F2 F4 F5 F7 F8 F9 F10 F11 F12 F13 F14 F16 F17 F18 F19
    G1 G2 G4 G5 G6 G8 G10 G11 G13 G14
    H2 H3 H5 H7
    I1 I2 I3 I4 I5 I7
    1 2 3 5 6 7 9 10 11 13 14 15 17 18 19 21 22 23 25 26 27 29 30 31 33 34 35 37 38 39 41 42 43 45
    46 47 49 50 51 53 54 55 57 58 59 61 62 63 65 66 67 69 70 71 73 74 75 77 78 79 81 82 83 85 86 87
    89 90 91 93 94 95 97 98 99 101 102 103 105 106 107 109 110 111 113 114 115 117 118 119 121 122
    123 125 126 127 129 130 131 133 134 135 137 138 139 141 142 143 145 146 147 149 150 151 153 154
    155 157 158 159 161 162 163 165 166 167 169 170 171 173 174 175 177 178 179 181 182 183 185 186
    187 189 190 191 193 194 195 197 198 199 201 202 203 205 206 207 209 210 211 213 214 215 217 218
    219 221 222
    Found 1 2 3 4 5 6 7 8 9 10 11 12 12a 12b 12c 13 14 15 16 17 18 19 20 21 22
    M1 M2 M3 M4 M5 M6 M7 M8 M9 M10
";

/// Each number of the catalogue has a test or a reason why there is no test, in one row and not in both kinds of table.
#[test]
fn every_number_of_the_catalogue_is_there() {
    let checkout = &*CHECKOUT;
    let (tested, explained) = (checkout.listed(true), checkout.listed(false));
    let missing: Vec<_> =
        listed_in(CATALOGUE).into_iter().filter(|id| !tested.contains(id) && !explained.contains(id)).collect();
    assert!(missing.is_empty(), "neither tested nor explained: {missing:?}");
    let both: Vec<_> = tested.intersection(&explained).collect();
    assert!(both.is_empty(), "tested, and said not to be: {both:?}");
    assert_eq!(checkout.rows.len(), tested.len() + explained.len(), "one has two rows");
}

/// A row has a test or a reason.
#[test]
fn no_row_is_empty() {
    // The start of a reason is no reason.
    let is_empty = |row: &&Row| row.last.strip_prefix(NO_TEST.trim_end()).unwrap_or(&row.last).trim().is_empty();
    let empty: Vec<_> = CHECKOUT.rows.iter().filter(is_empty).map(|row| &row.id).collect();
    assert!(empty.is_empty(), "neither a test nor a reason: {empty:?}");
}

/// Each row names tests that run and cite the row's number, and each test with a citation is named in its row.
#[test]
fn rows_and_tests_name_each_other() {
    let wrong = CHECKOUT.violations();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The check finds what it is for: a planted row is wrong in one respect, and has to be found.
#[test]
fn a_wrong_row_is_found() {
    let planted = [
        // No such file, or no such function in this file.
        ("A9", "async-epoll/strace: `deregistering_comes_before_closing`", "no file async-epoll/strace"),
        ("A9", "async-epoll/registry: `stale_tokens_reach_nobody`", "no file async-epoll/registry"),
        ("A9", "tcp: `deregistering_comes_before_closing`", "0 functions deregistering_comes_before_closing in tcp"),
        ("A9", "strace: `deregistering`", "0 functions deregistering in strace"),
        // Several tests in one entry.
        ("G4", "copy: `no_sigpipe`, `no_sigpipe_by_a_splice_that_succeeds`", "0 functions no_sigpipe`, "),
        ("G4", "copy: no_sigpipe", "is not of the form"),
        // A helper, not a test. The `main` of a program without a harness is a test, but no other function of it.
        ("A10", "fork: `a_child_of`", "a_child_of in fork is not a test"),
        ("A9", "strace: `inject`", "inject in strace is not a test"),
        // A test that cites another number only: B22 and not B2, and 154 and not 15.
        ("B2", "strace: `system_calls_of_an_echo_server`", "system_calls_of_an_echo_server in strace does not cite it"),
        ("15", "interval: `burst_loses_none`", "burst_loses_none in interval does not cite it"),
        // The numbers of the classes are apart: 154 is a behaviour.
        ("Found 154", "interval: `burst_loses_none`", "burst_loses_none in interval does not cite it"),
        // A mutant need not be cited, but the test has to be there.
        ("M11", "interval: `burst_loses_some`", "0 functions burst_loses_some in interval"),
        ("M11", "strace: `inject`", "inject in strace is not a test"),
    ];
    for (id, last, found) in planted {
        let mut checkout = CHECKOUT.clone();
        checkout.rows.push(Row { id: id.to_owned(), is_tested: true, last: last.to_owned() });
        let wrong = checkout.violations();
        assert!(
            wrong.len() <= 2 && wrong.iter().any(|wrong| wrong.starts_with(id) && wrong.contains(found)),
            "{wrong:?}"
        );
    }
}

/// Rows of each kind, and the last column of each kind, are read.
#[test]
fn tables_are_read() {
    let text = "\n## Bugs\n\n| id | the bug | tests |\n|---|---|---|\n| A1 | a bug | tcp: `one`; tcp: `two` |\n\
                \n## Found\n\n| id | the kind | tests |\n| 1 | a kind | tcp: `one` |\n| 2 | pending |  |\n\
                | 3 | none | no test: the kernel does it |\n\n## Mutants\n\n| M1 | a change | no test: equal |\n\
                \n## Elsewhere\n\n| 7 | a reason |\n";
    let rows = rows(text);
    let read: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.is_tested, row.last.as_str())).collect();
    let expected = [
        ("A1", true, "tcp: `one`; tcp: `two`"),
        ("Found 1", true, "tcp: `one`"),
        ("Found 2", false, ""),
        ("Found 3", false, "no test: the kernel does it"),
        ("M1", false, "no test: equal"),
        ("7", false, "a reason"),
    ];
    assert_eq!(read, expected);
    let listed = BTreeSet::from(["Found 1", "Found 2a", "M1"].map(String::from));
    assert_eq!(listed_in("\n    Found 1 2a\n    M1\n"), listed);
}

/// A row without one of its tests is found as well, since the test still cites the row's number.
#[test]
fn a_missing_row_is_found() {
    let mut checkout = CHECKOUT.clone();
    checkout.rows.retain(|row| row.id != "C3");
    let found = "one_write_per_sleep in async-epoll/wake/notifier cites [\"C3\"], whose rows do not name it";
    assert_eq!(checkout.violations(), [found]);
}

/// Plants a source file with one ignored test, and a row for it.
fn with_an_ignored_test(file: &str, commands: &[&str]) -> Vec<String> {
    let text = "mod tests { /// Bug Z1.\n #[test] #[ignore = \"slow\"] fn planted() {} }";
    let mut checkout = CHECKOUT.clone();
    checkout.functions.insert(file.to_owned(), functions_of(text).unwrap());
    checkout.rows.push(Row { id: "Z1".to_owned(), is_tested: true, last: format!("{file}: `planted`") });
    checkout.commands.extend(commands.iter().map(|&command| command.to_owned()));
    checkout.violations()
}

/// `.ci/run` or `.ci/full` has to run an ignored test: with all ignored tests of its program, or by its name.
#[test]
fn an_ignored_test_that_never_runs_is_found() {
    let missing = ["Z1: planted in slow is ignored, and .ci does not run it"];
    for commands in [
        &[][..],
        &["cargo test --package tests --test slow -- --nocapture"],
        &["cargo test --package tests --test slower -- --ignored", "cargo test --package tests -- --ignored"],
        &["cargo test --package tests --test slow -- --ignored --exact another_planted"],
        &["cargo test --package tests --test slow --ignored"],
    ] {
        assert_eq!(with_an_ignored_test("slow", commands), missing, "{commands:?}");
    }
    for command in [
        "cargo test --package tests --test slow -- --ignored --test-threads 1",
        "PLANTED=1 cargo test --package tests --test fast --test slow -- --nocapture --ignored --exact planted other",
    ] {
        assert_eq!(with_an_ignored_test("slow", &[command]), [""; 0], "{command}");
    }
    let missing = ["Z1: planted in async-epoll/slow is ignored, and .ci does not run it"];
    assert_eq!(with_an_ignored_test("async-epoll/slow", &[]), missing);
    let command = "cargo test --package async-epoll --lib -- --ignored";
    assert_eq!(with_an_ignored_test("async-epoll/slow", &[command]), [""; 0]);

    // The real commands: without the one for the tests under strace, each of these tests is missing.
    let mut checkout = CHECKOUT.clone();
    checkout.commands.retain(|command| !(command.contains("--test strace") && command.contains("--ignored")));
    let wrong = checkout.violations();
    assert!(wrong.len() > 20 && wrong.iter().all(|wrong| wrong.contains("in strace is ignored")), "{wrong:?}");
}

/// Every form of a citation is read, and the words around it are not.
#[test]
fn citations_are_read_to_their_end() {
    for (text, cited) in [
        ("Bug A1: a reused descriptor.", &["A1"][..]),
        ("bugs A1, A2 and B3 (behaviours 12, and 13)", &["A1", "A2", "B3", "12", "13"]),
        ("Bug E17; behaviour 154, 155: 16 ticks in 20 ms", &["E17", "154", "155"]),
        ("a bug in 3 programs, with 4 behaviours", &[]),
        ("trial 4, bug", &[]),
        ("Found 9: a two-way copy", &["Found 9"]),
        (
            "Found 3, 4 and 12a. Bug A1, Found 9; bugs A3 and B4",
            &["Found 3", "Found 4", "Found 12a", "A1", "Found 9", "A3", "B4"],
        ),
        ("behaviour 12a, what was found 3 times", &[]),
    ] {
        assert_eq!(numbers(text), cited.iter().map(|&id| id.to_owned()).collect(), "{text}");
    }
}

impl Checkout {
    /// The tests that run beside a test of the same program that has asked to be [`alone`](tests::alone). A test in a
    /// process of its own disturbs no other.
    fn disturbing_tests(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (file, functions) in &self.functions {
            let calls = |function: &Function, name: &str| function.calls.contains(name);
            let tests: Vec<_> = functions.iter().filter(|function| function.is_test).collect();
            if tests.iter().any(|test| calls(test, "alone")) {
                let disturbs = |test: &&&Function| !calls(test, "alone") && !calls(test, "in_child");
                found.extend(tests.iter().filter(disturbs).map(|test| format!("{} in {file}", test.name)));
            }
        }
        found
    }
}

/// A count of descriptors, or of threads, is the process's own: what another test opens or closes meanwhile is in it. So
/// in a program with a test that runs alone, each test does.
#[test]
fn tests_that_count_run_alone() {
    assert_eq!(CHECKOUT.disturbing_tests(), [""; 0], "without `alone()`");
    let mut checkout = CHECKOUT.clone();
    let planted = "#[test] fn counts() { let _alone = alone(); } #[test] fn opens() { let reactor = Reactor::new(); }";
    checkout.functions.insert("planted".to_owned(), functions_of(planted).unwrap());
    assert_eq!(checkout.disturbing_tests(), ["opens in planted"]);
}
