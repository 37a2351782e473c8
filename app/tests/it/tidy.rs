//! The shape of the source tree: which crate may name which, and what every file owes its reader.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which of our crates each may name. A new arrow is the rarest kind of change: a commit of its own.
const ARROWS: [(&str, &[&str]); 11] = [
    ("model", &[]),
    ("store", &["model"]),
    ("agent", &["model"]),
    ("serve", &[]),
    ("egress", &["model", "serve"]),
    ("indexer", &["egress", "model", "serve", "store"]),
    ("query", &["egress", "model", "serve", "store"]),
    ("app", &["agent", "egress", "indexer", "model", "query", "serve", "store"]),
    ("testbed", &[]),
    ("benches", &["model", "store", "testbed"]),
    ("fuzz", &["agent", "indexer", "model", "query", "store"]),
];
/// What tests may name beside those.
const TESTS_ONLY: &str = "testbed";
/// Most lines of a source file.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files of the project, without what is built, fetched or remembered.
fn files() -> Vec<PathBuf> {
    const LEFT_OUT: [&str; 6] =
        [".git", "target", "node_modules", ".venv", "heliograph-data", "heliograph-demo"];
    let (mut out, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if LEFT_OUT.contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                out.push(entry.path());
            }
        }
    }
    out
}

/// The project's sources, by their paths below its root.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let rust = |path: &PathBuf| path.extension().is_some_and(|e| e == "rs");
    files()
        .into_iter()
        .filter(rust)
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root()).unwrap().to_owned(), text)
        })
        .collect()
}

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn crates_name_only_those_they_may() {
    let manifest = |folder: &str| -> toml::Table {
        std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
    };
    let members: BTreeSet<String> = manifest("")["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(members, ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, allowed) in ARROWS {
        let manifest = manifest(name);
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let Some(dependencies) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
            for ours in dependencies.keys().filter_map(|key| key.strip_prefix("heliograph-")) {
                let is_for_tests = ours == TESTS_ONLY && kind == "dev-dependencies";
                assert!(is_for_tests || allowed.contains(&ours), "{name} names {ours} in its {kind}");
            }
        }
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name} keeps to the lints");
    }
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let silent =
        |(path, text): &(PathBuf, String)| (!text.starts_with("//! ")).then(|| path.display().to_string());
    assert_none("files without //! at their head", &sources().iter().filter_map(silent).collect::<Vec<_>>());
}

#[test]
fn files_are_short_and_whole() {
    let mut found = Vec::new();
    // Put together here, so that this file does not find itself.
    let unfinished = ["todo!", "unimplemented!", "dbg!"].map(|word| format!("{word}("));
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines", path.display()));
        }
        if path.file_name().is_some_and(|name| name == "mod.rs") {
            found.push(format!("{}: name it after its module", path.display()));
        }
        found.extend(
            unfinished.iter().filter(|w| text.contains(*w)).map(|word| format!("{}: {word}", path.display())),
        );
    }
    assert_none("files that are too long, misnamed or unfinished", &found);
}

/// What the docs name as the proof of a promise is there, and still has that name.
#[test]
fn every_test_that_the_docs_name_is_there() {
    let sources = sources();
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let named: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|word| word.trim_start_matches('…').rsplit("::").next())
        .filter(|word| {
            word.matches('_').count() > 2 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
        .collect();
    assert!(named.len() > 15, "{named:?}");
    // A test, or a history of the catalog in the list of those that each engine goes through.
    let is_there = |name: &&str| {
        let is_test = |text: &str| text.contains(&format!("fn {name}()"));
        let is_history = |path: &Path, text: &str| {
            path.ends_with("store/tests/catalog/main.rs") && text.contains(&format!("::{name},"))
        };
        sources.iter().any(|(path, text)| is_test(text) || is_history(path, text))
    };
    let missing: Vec<_> =
        named.iter().filter(|name| !is_there(name)).map(|name| (*name).to_owned()).collect();
    assert_none("tests that docs/security.md names", &missing);
}

/// Where packages come from is each machine's own affair, and differs between ours.
#[test]
fn no_registry_is_named() {
    let hosts = [
        ["crates", "io"],
        ["npmjs", "org"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["golang", "org"],
        ["yarnpkg", "com"],
    ]
    .map(|parts| parts.join("."));
    let mut found = Vec::new();
    for path in files() {
        // Cargo writes the index's name into its lock file by itself.
        if path.file_name().is_some_and(|name| name == "Cargo.lock") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let named = hosts.iter().filter(|host| text.contains(*host));
        found.extend(named.map(|host| format!("{}: {host}", path.display())));
    }
    assert_none("files that name a registry's host", &found);
}
