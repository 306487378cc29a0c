//! COVERAGE.md is true: it lists each number that a comment cites, with tests that exist, and no other number.
//!
//! Comments cite numbers as "bug" or "behaviour" followed by a number or a comma-separated list; the list must not be
//! broken across lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Returns the text of each file that may cite numbers.
fn sources() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<_> = ["async-epoll/src", "async-net-lite/src", "async-timeout/src", "tests/tests"]
        .map(|name| root.join(name))
        .into();
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("coverage.rs") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

/// Returns the numbers after `word` in comments: `A1` and `B2` from a list such as `A1, B2`.
fn cited(word: &str) -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    for line in sources().iter().flat_map(|text| text.lines()).filter(|line| line.trim_start().starts_with("//")) {
        let lower = line.to_lowercase();
        for (at, _) in lower.match_indices(word) {
            for part in lower[at + word.len()..].split(' ') {
                let number: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
                let digits = number.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                if digits.parse::<u32>().is_err() || number.len() > digits.len() + 1 {
                    break;
                }
                numbers.insert(number.to_uppercase());
                // A number without a comma is the last of its list.
                if !part.ends_with(',') {
                    break;
                }
            }
        }
    }
    numbers
}

/// Returns the tables of COVERAGE.md: for each its heading, and the first and the last column of its rows.
fn tables() -> Vec<(String, Vec<(String, String)>)> {
    let coverage = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("COVERAGE.md")).unwrap();
    let sections = coverage.split("\n## ").skip(1);
    sections
        .map(|section| {
            let rows =
                section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
            let ids = rows.filter(|(id, _)| id.contains(|c: char| c.is_ascii_digit()));
            let last = |rest: &str| rest.rsplit(" | ").next().unwrap_or_default().to_owned();
            let rows = ids.map(|(id, rest)| (id.to_owned(), last(rest))).collect();
            (section.lines().next().unwrap_or_default().to_owned(), rows)
        })
        .collect()
}

/// Returns the rows with tests, or the rows with a reason why there is no test.
fn rows(with_tests: bool) -> Vec<(String, String)> {
    let wanted = |heading: &str| matches!(heading, "Bugs" | "Behaviours") == with_tests;
    tables().into_iter().filter(|(heading, _)| wanted(heading)).flat_map(|(_, rows)| rows).collect()
}

/// Returns the numbers of [`rows`].
fn listed(with_tests: bool) -> BTreeSet<String> {
    rows(with_tests).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn every_number_that_is_cited_is_listed() {
    let listed = listed(true);
    assert!(listed.len() > 50);
    let cited: BTreeSet<_> = cited("bug ").into_iter().chain(cited("behaviour ")).collect();
    let missing: Vec<_> = cited.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&cited).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not listed: {missing:?}; not cited any more: {stale:?}");
}

/// The numbers of the catalogue: all bugs, and all behaviours except those of servers. The catalogue itself has gaps.
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
";

/// Each number of the catalogue has a test or a reason why there is no test, in one row and not in both kinds of table.
#[test]
fn every_number_of_the_catalogue_is_there() {
    let (tested, explained) = (listed(true), listed(false));
    let missing: Vec<_> =
        CATALOGUE.split_whitespace().filter(|id| !tested.contains(*id) && !explained.contains(*id)).collect();
    assert!(missing.is_empty(), "neither tested nor explained: {missing:?}");
    let both: Vec<_> = tested.intersection(&explained).collect();
    assert!(both.is_empty(), "tested, and said not to be: {both:?}");
    assert_eq!(rows(true).len() + rows(false).len(), tested.len() + explained.len(), "one has two rows");
    let empty: Vec<_> = rows(true).into_iter().chain(rows(false)).filter(|(_, last)| last.is_empty()).collect();
    assert!(empty.is_empty(), "{empty:?}");
}

/// Each test that a row names exists.
#[test]
fn every_test_that_is_named_exists() {
    let sources = sources();
    for (id, tests) in rows(true) {
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{id} names none");
        for name in names {
            let function = format!("fn {name}(");
            assert!(sources.iter().any(|text| text.contains(&function)), "no {name}");
        }
    }
}
