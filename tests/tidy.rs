//! The house rules that a program can check: which crate may use which, names, docs, forbidden words.
//!
//! Each rule is a function from one file to its violations, with a case of its own below, so that a rule that has
//! stopped working is noticed too. A violation names file, line and rule.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What each crate may use of ours. An arrow of the picture also allows what the arrow's end may use.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("event", &[]),
    ("collector", &["event"]),
    ("journal", &["event"]),
    ("indexer", &["event"]),
    ("query", &["event", "indexer"]),
    ("alerting", &["event", "indexer", "query"]),
    ("access", &["event"]),
    ("dashboards", &["event"]),
    (
        "daybook",
        &[
            "event",
            "collector",
            "journal",
            "indexer",
            "query",
            "alerting",
            "access",
            "dashboards",
        ],
    ),
    // A sender of `tests/real`: knows Daybook by its protocol alone.
    ("otlp_rust", &[]),
];

/// Names that say nothing about what is inside.
const DRAWERS: [&str; 11] = [
    "util", "utils", "helper", "helpers", "common", "misc", "types", "prelude", "stuff", "shared",
    "manager",
];

/// Files that are read for words; others are data.
const TEXT_EXTENSIONS: [&str; 9] = ["rs", "toml", "md", "yaml", "yml", "sh", "sql", "html", "ts"];

/// Words that no code of ours contains, each with what to do instead. Written in halves, so that this file has none.
const FORBIDDEN_IN_CODE: [(&str, &str); 8] = [
    (concat!("#[ign", "ore"), "a test runs or does not exist"),
    (
        concat!("#[should_", "panic"),
        "a test states what it expects",
    ),
    (concat!("uns", "afe {"), "no unchecked code"),
    (concat!("uns", "afe fn"), "no unchecked code"),
    (concat!("uns", "afe impl"), "no unchecked code"),
    (
        concat!("to", "do!("),
        "finish it, or answer an error that says what is missing",
    ),
    (
        concat!("unimple", "mented!("),
        "finish it, or answer an error that says what is missing",
    ),
    (concat!("mod pre", "lude"), "one path to each name"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// A rule that a file breaks.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect_files(root, &mut files);
    files.sort();
    let mut violations = Vec::new();
    for path in &files {
        let name = path
            .strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string();
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        violations.extend(check_file(&name, &text));
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let readmes: Vec<String> = members(&manifest)
        .into_iter()
        .filter(|member| root.join(member).join("README.md").is_file())
        .collect();
    violations.extend(missing_readmes(&manifest, &readmes));
    let messages: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(files.len() > 50, "only {} files were found", files.len());
    assert!(messages.is_empty(), "\n{}\n", messages.join("\n"));
}

/// All text files of the repository; what is built and what is hidden is not of it.
fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository is read") {
        let path = entry.expect("an entry of the repository is read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_hidden = name.starts_with('.') && name != ".ci";
        let is_built = matches!(name.as_ref(), "target" | "node_modules" | "dist");
        if is_hidden || is_built {
            continue;
        }
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            collect_files(&path, files);
        } else if TEXT_EXTENSIONS.contains(&extension.as_ref()) {
            files.push(path);
        }
    }
}

fn check_file(name: &str, text: &str) -> Vec<Violation> {
    let mut violations = machine_paths(name, text);
    violations.extend(drawer_names(name));
    if name.ends_with(".rs") {
        violations.extend(missing_module_doc(name, text));
        violations.extend(forbidden_words(name, text));
    }
    if name.ends_with("Cargo.toml") {
        violations.extend(forbidden_edges(name, text));
    }
    violations
}

fn violation(file: &str, line: usize, rule: impl Into<String>) -> Violation {
    Violation {
        file: file.to_owned(),
        line,
        rule: rule.into(),
    }
}

fn missing_module_doc(name: &str, text: &str) -> Option<Violation> {
    let rule =
        "a file starts with //!: what it is, where in the flow it sits, what must always hold";
    (!text.starts_with("//!")).then(|| violation(name, 1, rule))
}

fn drawer_names(name: &str) -> Option<Violation> {
    let is_code = name.ends_with(".rs");
    let parts = Path::new(name).components();
    let mut stems = parts.map(|part| {
        let part = part.as_os_str().to_string_lossy();
        part.trim_end_matches(".rs").to_owned()
    });
    let drawer = stems.find(|stem| DRAWERS.contains(&stem.as_str()))?;
    is_code.then(|| {
        violation(
            name,
            1,
            format!("`{drawer}` names a drawer: name the thing"),
        )
    })
}

fn forbidden_words(name: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (word, instead) in FORBIDDEN_IN_CODE {
            if code.contains(word) {
                violations.push(violation(name, at + 1, format!("`{word}`: {instead}")));
            }
        }
    }
    violations
}

fn machine_paths(name: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for path in MACHINE_PATHS {
            if line.contains(path) {
                let rule = format!("`{path}`: a committed file names no path of one machine");
                violations.push(violation(name, at + 1, rule));
            }
        }
    }
    violations
}

/// Dependencies of the three kinds that are crates of ours and not in the picture.
fn forbidden_edges(name: &str, manifest: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut section = "";
    let mut package = "";
    for (at, line) in manifest.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            section = line;
            // `[dependencies.event]` is the long form of `event = {…}`.
            let inner = line.trim_matches(['[', ']']);
            let long_form = inner
                .split_once("dependencies.")
                .filter(|_| !inner.starts_with("workspace"));
            if let Some((_, used)) = long_form {
                violations.extend(forbidden_edge(name, at + 1, package, used));
            }
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let key = key.trim();
        if section == "[package]" && key == "name" {
            package = value.trim().trim_matches('"');
        }
        let is_dependency = section.ends_with("dependencies]")
            && !section.starts_with("[workspace")
            && !key.is_empty();
        if is_dependency {
            let used = key.split('.').next().unwrap_or(key);
            violations.extend(forbidden_edge(name, at + 1, package, used));
        }
    }
    if !package.is_empty() && MAY_USE.iter().all(|(known, _)| *known != fuzzed(package)) {
        let rule = format!(
            "crate `{package}` is not in the picture of dependencies: add it there and here"
        );
        violations.push(violation(name, 1, rule));
    }
    violations
}

/// A crate's fuzz targets are a package of their own, which may use the crate and what the crate may use.
fn fuzzed(package: &str) -> &str {
    package.strip_suffix("-fuzz").unwrap_or(package)
}

fn forbidden_edge(name: &str, line: usize, package: &str, used: &str) -> Option<Violation> {
    let is_ours = MAY_USE.iter().any(|(known, _)| *known == used);
    let allowed = MAY_USE.iter().find(|(known, _)| *known == fuzzed(package));
    let is_own = package != used && fuzzed(package) == used;
    let is_allowed = is_own || allowed.is_some_and(|(_, allowed)| allowed.contains(&used));
    let rule =
        format!("`{package}` may not use `{used}`: the picture of dependencies has no such arrow");
    (is_ours && !is_allowed).then(|| violation(name, line, rule))
}

fn missing_readmes(manifest: &str, with_readme: &[String]) -> Vec<Violation> {
    let missing = members(manifest)
        .into_iter()
        .filter(|member| !with_readme.contains(member));
    missing
        .map(|member| violation(&format!("{member}/README.md"), 1, "a crate has a README.md"))
        .collect()
}

fn members(manifest: &str) -> Vec<String> {
    let list = manifest
        .split_once("members")
        .and_then(|(_, rest)| rest.split_once('['));
    let list = list.and_then(|(_, rest)| rest.split_once(']'));
    let items = list.map_or("", |(items, _)| items).split(',');
    let items = items.map(|item| item.trim().trim_matches('"').to_owned());
    items.filter(|item| !item.is_empty()).collect()
}

#[test]
fn a_crate_uses_only_what_the_picture_allows() {
    let manifest =
        |package: &str, rest: &str| format!("[package]\nname = \"{package}\"\n\n{rest}\n");
    let count =
        |package: &str, rest: &str| check_file("x/Cargo.toml", &manifest(package, rest)).len();
    let cases = [
        (
            "query",
            "[dependencies]\nevent.workspace = true\nindexer = { path = \"../indexer\" }\nserde = \"1\"",
            0,
        ),
        ("query", "[dependencies]\ncollector.workspace = true", 1),
        (
            "collector",
            "[dependencies]\njournal = { workspace = true }",
            1,
        ),
        (
            "collector",
            "[dev-dependencies]\nquery.workspace = true # for a test",
            1,
        ),
        (
            "journal",
            "[build-dependencies.indexer]\nworkspace = true",
            1,
        ),
        (
            "event",
            "[dependencies]\nquery.workspace = true\nindexer.workspace = true",
            2,
        ),
        (
            "daybook",
            "[dependencies]\nquery.workspace = true\n[workspace.dependencies]\nevent = { path = \"event\" }",
            0,
        ),
        (
            "indexer",
            "[target.'cfg(unix)'.dependencies]\nquery.workspace = true",
            1,
        ),
        (
            "journal-fuzz",
            "[dependencies]\njournal.workspace = true\nevent.workspace = true\nquery.workspace = true",
            1,
        ),
        ("stranger", "[dependencies]\nserde = \"1\"", 1),
    ];
    for (package, rest, expected) in cases {
        assert_eq!(count(package, rest), expected, "{package}: {rest}");
    }
    let line = &check_file(
        "x/Cargo.toml",
        &manifest("event", "[dependencies]\nquery.workspace = true"),
    )[0];
    assert_eq!(line.line, 5);
    assert!(
        line.to_string()
            .starts_with("x/Cargo.toml:5: `event` may not use `query`"),
        "{line}"
    );
}

#[test]
fn each_rule_finds_what_breaks_it() {
    let doc = "//! A file.\n";
    let cases: [(&str, &str, &str); 8] = [
        ("a/src/shard.rs", doc, ""),
        (
            "a/src/shard.rs",
            "use std::fmt;\n//! Late.",
            "1: a file starts with //!",
        ),
        ("a/src/shard.rs", "", "1: a file starts with //!"),
        ("a/src/util.rs", doc, "1: `util` names a drawer"),
        ("a/src/common/shard.rs", doc, "1: `common` names a drawer"),
        ("a/src/types.rs", doc, "1: `types` names a drawer"),
        ("docs/common.md", "text", ""),
        ("a/README.md", "text", ""),
    ];
    for (name, text, expected) in cases {
        assert_breaks(name, text, expected);
    }
    for (word, instead) in FORBIDDEN_IN_CODE {
        assert_breaks(
            "a/b.rs",
            &format!("{doc}\n  {word}"),
            &format!("3: `{word}`: {instead}"),
        );
        assert_breaks("a/b.rs", &format!("{doc}// Never write {word}"), "");
        assert_breaks("a/b.md", word, "");
    }
    for path in MACHINE_PATHS {
        for name in ["a/b.rs", "a/b.md", "a/b.yaml"] {
            let text = format!("{doc}// As in {path}x.");
            assert_breaks(name, &text, &format!("2: `{path}`: a committed file"));
        }
    }
}

/// A file breaks one rule, whose message begins so behind the file's name; or none, when `expected` is empty.
fn assert_breaks(name: &str, text: &str, expected: &str) {
    let violations = check_file(name, text);
    let messages: Vec<String> = violations.iter().map(Violation::to_string).collect();
    match (expected, messages.as_slice()) {
        ("", []) => {}
        (expected, [message]) if !expected.is_empty() => {
            assert!(
                message.starts_with(&format!("{name}:{expected}")),
                "{message}"
            );
        }
        _ => panic!("{name}: expected [{expected}], found {messages:?}"),
    }
}

#[test]
fn a_crate_without_a_readme_is_found() {
    let manifest = "[workspace]\nmembers = [\"event\", \"query\",\n  \"indexer\"]\n";
    assert_eq!(members(manifest), ["event", "query", "indexer"]);
    let with_readme = ["event".to_owned(), "indexer".to_owned()];
    let missing = missing_readmes(manifest, &with_readme);
    assert_eq!(
        missing,
        [violation("query/README.md", 1, "a crate has a README.md")]
    );
}
