//! COVERAGE.md tells the truth: every number that a test cites is listed with that test, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The files whose comments cite numbers.
fn sources() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    ["async-epoll/src", "async-net-lite/src", "async-net-lite/src/tcp", "async-timeout/src", "tests/tests"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("coverage.rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// The numbers that follow `word` in comments, such as `A1, B2`.
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
                // Only a comma is followed by another number.
                if !part.ends_with(',') {
                    break;
                }
            }
        }
    }
    numbers
}

/// The first column of COVERAGE.md's tables.
fn listed() -> BTreeSet<String> {
    let coverage = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("COVERAGE.md")).unwrap();
    let first = coverage.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    first.filter(|id| id.contains(|c: char| c.is_ascii_digit())).map(str::to_owned).collect()
}

#[test]
fn every_number_that_is_cited_is_listed() {
    let listed = listed();
    assert!(listed.len() > 50);
    let cited: BTreeSet<_> = cited("bug ").into_iter().chain(cited("behaviour ")).collect();
    let missing: Vec<_> = cited.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&cited).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not listed: {missing:?}; not cited any more: {stale:?}");
}

/// Each test that is named exists.
#[test]
fn every_test_that_is_named_exists() {
    let coverage = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("COVERAGE.md")).unwrap();
    let sources = sources();
    let rows = coverage.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next());
    for name in rows.flat_map(|tests| tests.split('`').skip(1).step_by(2)) {
        let function = format!("fn {name}(");
        assert!(sources.iter().any(|text| text.contains(&function)), "no {name}");
    }
}
