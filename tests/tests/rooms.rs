//! The order of the rooms: each import of a library crate looks down, and no two files import each other in a circle.
//!
//! The allowed order is the list in ARCHITECTURE.md. The imports are read from the sources: every path beginning with
//! `crate`, `super` or `self`, in `use` lines and elsewhere, is resolved to a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use tests::Folder;

/// Returns the path of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The order of one crate's rooms, from the ground up. Rooms of one floor do not import each other.
struct Order {
    /// The crate's folder.
    name: String,
    /// The rooms of each floor.
    floors: Vec<Vec<String>>,
}

/// Reads the list in ARCHITECTURE.md: lines of the form `async-epoll: sys table < time io < lib`.
fn orders() -> Vec<Order> {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let list = architecture.split("```rooms\n").nth(1).expect("ARCHITECTURE.md has a list of rooms");
    let list = list.split("```").next().unwrap();
    let order = |line: &str| {
        let (name, floors) = line.split_once(':').unwrap();
        let floors = floors.split('<').map(|floor| floor.split_whitespace().map(str::to_owned).collect()).collect();
        Order { name: name.trim().to_owned(), floors }
    };
    // A line that begins with a space continues the previous line.
    list.replace("\n ", " ").lines().map(order).collect()
}

/// A module path, without `crate`: `["time", "clock"]`; empty for `lib.rs`.
type Module = Vec<String>;

/// Returns the modules of a crate with their files, from the folder `src`.
fn modules(src: &Path) -> BTreeMap<Module, PathBuf> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![src.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut module: Module = path
                .strip_prefix(src)
                .unwrap()
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().into())
                .collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            found.insert(module, path);
        }
    }
    found
}

/// Collects the paths of one file to other places of the crate.
struct Imports {
    /// The module of the file, followed by the inline modules around the present place.
    module: Module,
    /// Absolute paths, without `crate`.
    found: BTreeSet<Module>,
}

impl Imports {
    /// Adds a path, if it begins with `crate`, `super` or `self`.
    fn add(&mut self, path: &[String]) {
        let mut base = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for part in path {
            match part.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                _ => base.push(part.clone()),
            }
        }
        self.found.insert(base);
    }

    /// Adds every path of a `use` tree.
    fn add_tree(&mut self, prefix: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_tree(prefix, &path.tree);
                prefix.pop();
            }
            syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                prefix.push(ident.to_string());
                self.add(prefix);
                prefix.pop();
            }
            syn::UseTree::Glob(_) => self.add(prefix),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(prefix, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    // `pub(crate)` and `pub(super)` are not imports.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// Returns the imports between the files of a crate, as pairs of module paths: the importing file first.
fn edges(src: &Path) -> BTreeSet<(Module, Module)> {
    let modules = modules(src);
    let mut edges = BTreeSet::new();
    for (module, file) in &modules {
        let text = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut imports = Imports { module: module.clone(), found: BTreeSet::new() };
        imports.visit_file(&parsed);
        for mut path in imports.found {
            // The longest prefix that is a file. The rest names an item in this file, or an inline module.
            while !modules.contains_key(&path) {
                path.pop();
            }
            if path != *module {
                edges.insert((module.clone(), path));
            }
        }
    }
    edges
}

/// Returns the room of a module: the first part of its path.
fn room(module: &Module) -> &str {
    module.first().map_or("lib", String::as_str)
}

/// Returns a line for each import below `src` that does not look down, and for each circle.
fn violations(order: &Order, src: &Path) -> Vec<String> {
    let edges = edges(src);
    let floor = |room: &str| order.floors.iter().position(|floor| floor.iter().any(|other| other == room));
    let mut wrong = Vec::new();
    let name = |module: &Module| if module.is_empty() { "lib".to_owned() } else { module.join("/") };
    for module in modules(src).keys() {
        if floor(room(module)).is_none() {
            wrong.push(format!("{}: `{}` is not in the list of rooms", order.name, room(module)));
        }
    }
    for (from, to) in &edges {
        if room(from) != room(to) && floor(room(from)) <= floor(room(to)) {
            wrong.push(format!("{}: {} imports from {}, which is not below it", order.name, name(from), name(to)));
        }
    }
    // A room's `mod.rs` re-exports from its files, so it stands above them.
    let mut left: BTreeSet<_> = edges;
    loop {
        let importers: BTreeSet<_> = left.iter().map(|(from, _)| from.clone()).collect();
        let before = left.len();
        left.retain(|(_, to)| importers.contains(to));
        if left.len() == before {
            break;
        }
    }
    if !left.is_empty() {
        let files: BTreeSet<_> = left.iter().map(|(from, _)| name(from)).collect();
        wrong.push(format!("{}: files that import each other in a circle, or through one: {files:?}", order.name));
    }
    wrong
}

/// Copies the Rust files of a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn imports_look_down() {
    let wrong: Vec<_> =
        orders().iter().flat_map(|order| violations(order, &root().join(&order.name).join("src"))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_list_names_all_three_crates_and_every_room_once() {
    let orders = orders();
    let names: Vec<_> = orders.iter().map(|order| order.name.as_str()).collect();
    assert_eq!(names, ["async-epoll", "async-net-lite", "async-timeout"]);
    for order in orders {
        let listed: Vec<_> = order.floors.concat();
        let rooms: BTreeSet<_> =
            modules(&root().join(&order.name).join("src")).keys().map(|module| room(module).to_owned()).collect();
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), rooms, "{}", order.name);
        assert_eq!(listed.len(), rooms.len(), "{}: a room is listed twice", order.name);
    }
}

/// The check finds violations: each line is added to a copy of the sources, and must be reported.
#[test]
fn an_import_that_looks_up_is_found() {
    let planted = [
        ("time/clock.rs", "use crate::reactor::run::Nothing;", "time/clock imports from reactor/run"),
        (
            "io/registry.rs",
            "fn planted() { crate::engine::engine::nothing() }",
            "io/registry imports from engine/engine",
        ),
        (
            "task/set.rs",
            "use {std::fmt as _, crate::source::{operation as _}};",
            "task/set imports from source/operation",
        ),
        ("stats.rs", "mod planted { use super::super::table::Table; }", "stats imports from table"),
        ("sys.rs", "use crate::Handle;", "sys imports from lib"),
        ("time/slots.rs", "use super::wheel::Wheel;", "circle"),
        ("wake/wake_fd.rs", "fn planted() -> super::notifier::Notifier { loop {} }", "circle"),
    ];
    let order = orders().remove(0);
    let folder = Folder::new();
    let src = folder.path().join("src");
    copy(&root().join("async-epoll/src"), &src);
    assert_eq!(violations(&order, &src), Vec::<String>::new());
    for (file, line, found) in planted {
        let path = src.join(file);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{before}\n{line}\n")).unwrap();
        let wrong = violations(&order, &src);
        assert!(wrong.iter().any(|wrong| wrong.contains(found)), "{line} in {file}: {wrong:?}");
        fs::write(path, before).unwrap();
    }
}

/// Each room's `mod.rs` opens with some sentences and a picture.
#[test]
fn every_room_has_an_opening_page() {
    for order in orders() {
        let src = root().join(&order.name).join("src");
        for file in modules(&src).values().filter(|file| file.ends_with("mod.rs")) {
            let text = fs::read_to_string(file).unwrap();
            let page: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
            // The text outside of fences.
            let prose: String = page.split(|line| line.contains("```")).step_by(2).flatten().copied().collect();
            let sentences = prose.matches(". ").count() + usize::from(prose.ends_with('.'));
            assert!((3..=15).contains(&sentences), "{}: {sentences} sentences", file.display());
            assert!(page.iter().any(|line| line.trim() == "```text"), "{}: no picture", file.display());
        }
    }
}
/// Comments name things, not persons: the task, the socket, the kernel, the caller.
#[test]
fn comments_name_things() {
    const PERSONS: [&str; 9] =
        ["who", "whom", "whoever", "nobody", "somebody", "anybody", "everybody", "someone", "anyone"];
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["async-epoll", "async-net-lite", "async-timeout", "tests", "examples", "benches"]
        .map(|name| root().join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for (number, line) in text.lines().enumerate() {
                    let comment = line.split_once("// ").or(line.split_once("/// ")).or(line.split_once("//! "));
                    let Some((_, comment)) = comment else { continue };
                    let mut words = comment.split(|c: char| !c.is_ascii_alphabetic()).map(str::to_ascii_lowercase);
                    if words.any(|word| PERSONS.contains(&word.as_str())) {
                        found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}
