//! Patterns for paths: `*` and `?` within a name, `[...]`, `{a,b}`, and `**` for any depth of folders.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use regex::bytes::Regex;

/// Folders inside each other that `**` is followed down; a bound against loops of mounts.
const DEPTH_MAX: usize = 32;
/// The most paths of one pattern; more are a mistake in the pattern.
const PATHS_MAX: usize = 100_000;

/// A pattern for absolute paths.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    whole: Regex,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Name(String),
    Pattern(Regex),
    AnyDepth,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The pattern is not absolute or a bracket is not closed, as a sentence that names the pattern.
    pub fn parse(text: &str) -> Result<Glob, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!(
                "path pattern {text:?} is not absolute; write for instance /var/log/*.log"
            ));
        };
        let mut whole = String::from("(?s-u)^");
        let mut parts = Vec::new();
        for name in relative.split('/').filter(|name| !name.is_empty()) {
            if name == "**" {
                whole.push_str("(?:/[^/]+)*");
                parts.push(Part::AnyDepth);
                continue;
            }
            let expression = name_expression(name)
                .map_err(|problem| format!("path pattern {text:?}: {problem}"))?;
            whole.push('/');
            whole.push_str(&expression);
            parts.push(match name.contains(['*', '?', '[', '{']) {
                true => Part::Pattern(compile(text, &format!("(?s-u)^{expression}$"))?),
                false => Part::Name(name.to_owned()),
            });
        }
        whole.push('$');
        Ok(Glob {
            text: text.to_owned(),
            whole: compile(text, &whole)?,
            parts,
        })
    }

    /// A pattern that fits everything below an absolute folder, whatever characters its name has.
    pub fn everything_below(folder: &Path) -> String {
        Glob::literally(folder) + "/**"
    }

    /// A pattern that fits just this absolute path.
    pub fn literally(folder: &Path) -> String {
        let mut pattern = String::new();
        for character in folder.display().to_string().chars() {
            if matches!(character, '*' | '?' | '[' | '{' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole path fits.
    pub fn matches(&self, path: &Path) -> bool {
        self.whole.is_match(path.as_os_str().as_bytes())
    }

    /// Adds every existing path that fits; folders that cannot be read are passed over.
    pub fn collect_into(&self, paths: &mut Vec<PathBuf>) {
        walk(PathBuf::from("/"), &self.parts, 0, paths);
    }
}

fn walk(at: PathBuf, parts: &[Part], depth: usize, paths: &mut Vec<PathBuf>) {
    if paths.len() >= PATHS_MAX || depth > DEPTH_MAX {
        return;
    }
    let Some((part, rest)) = parts.split_first() else {
        paths.push(at);
        return;
    };
    match part {
        Part::Name(name) => {
            let next = at.join(name);
            // Whether the last name exists is asked by whoever opens it.
            if rest.is_empty() || next.is_dir() {
                walk(next, rest, depth + 1, paths);
            }
        }
        Part::Pattern(pattern) => {
            for (name, is_folder) in entries(&at) {
                let is_wanted = pattern.is_match(name.as_bytes());
                if is_wanted && (rest.is_empty() || is_folder || at.join(&name).is_dir()) {
                    walk(at.join(&name), rest, depth + 1, paths);
                }
            }
        }
        Part::AnyDepth => {
            walk(at.clone(), rest, depth, paths);
            // Links to folders are not followed here: they may lead back up.
            for (name, is_folder) in entries(&at) {
                if is_folder {
                    walk(at.join(name), parts, depth + 1, paths);
                }
            }
        }
    }
}

fn entries(folder: &Path) -> Vec<(std::ffi::OsString, bool)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            Some((entry.file_name(), is_folder))
        })
        .collect();
    names.sort_by_cached_key(|(name, _)| name.clone().into_vec());
    names
}

fn compile(text: &str, expression: &str) -> Result<Regex, String> {
    Regex::new(expression).map_err(|_| format!("path pattern {text:?} cannot be used"))
}

fn name_expression(name: &str) -> Result<String, String> {
    let mut expression = String::new();
    let mut is_in_braces = false;
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => expression.push_str(&class_expression(&mut characters)?),
            '{' if is_in_braces => return Err("braces within braces".to_owned()),
            '{' => {
                is_in_braces = true;
                expression.push_str("(?:");
            }
            ',' if is_in_braces => expression.push('|'),
            '}' if is_in_braces => {
                is_in_braces = false;
                expression.push(')');
            }
            '\\' => expression.push_str(&regex::escape(
                &characters.next().ok_or("ends with \\")?.to_string(),
            )),
            // Not one by one through escape(): a character of several bytes stays whole.
            plain => expression.push_str(&regex::escape(&plain.to_string())),
        }
    }
    match is_in_braces {
        true => Err("{ without }".to_owned()),
        false => Ok(expression),
    }
}

/// What stands behind `[`, up to its `]`.
fn class_expression(characters: &mut std::str::Chars<'_>) -> Result<String, String> {
    let mut expression = String::from("[");
    let mut is_first = true;
    for character in characters {
        match character {
            ']' if !is_first => {
                expression.push(']');
                return Ok(expression);
            }
            '!' | '^' if is_first && expression == "[" => {
                expression.push('^');
                continue;
            }
            '-' => expression.push('-'),
            other if other.is_ascii_alphanumeric() => expression.push(other),
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
        is_first = false;
    }
    Err("[ without ]".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_fit_within_a_name_and_across_folders() {
        let cases = [
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/b/a.log", false),
            ("/var/log/**/*.log", "/var/log/a.log", true),
            ("/var/log/**/*.log", "/var/log/b/c/a.log", true),
            (
                "/var/log/{nginx,apache2}/access.log*",
                "/var/log/nginx/access.log.1",
                true,
            ),
            (
                "/var/log/{nginx,apache2}/access.log*",
                "/var/log/other/access.log",
                false,
            ),
            ("/a/?[0-9].[!x]", "/a/b7.y", true),
            ("/a/?[0-9].[!x]", "/a/b7.x", false),
            ("/a/ä*.log", "/a/ähnlich.log", true),
            ("/a/x.log", "/a/xylog", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(
                Glob::parse(pattern).unwrap().matches(Path::new(path)),
                expected,
                "{pattern} {path}"
            );
        }
        for wrong in ["var/log/*.log", "/a/{b", "/a/[b", "/a/{b,{c}}", ""] {
            assert!(Glob::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn everything_below_a_folder_is_that_folder_whatever_its_name() {
        for folder in ["/data", "/data/", "/a,b}/[x]*?/{y", r"/back\slash", "/**"] {
            let pattern = Glob::everything_below(Path::new(folder));
            let glob = Glob::parse(&pattern).unwrap();
            assert!(glob.matches(&Path::new(folder).join("logs/a")), "{pattern}");
            assert!(!glob.matches(Path::new("/other/logs/a")), "{pattern}");
        }
    }

    #[test]
    fn existing_paths_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/x.log", "b/c/y.log", "a.log", "a.txt"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = folder.path().to_str().unwrap();
        let found = |pattern: &str| {
            let mut paths = Vec::new();
            Glob::parse(&format!("{root}/{pattern}"))
                .unwrap()
                .collect_into(&mut paths);
            let names = paths.iter().map(|path| {
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            });
            names.collect::<Vec<_>>()
        };
        assert_eq!(found("*.log"), ["a.log"]);
        assert_eq!(found("**/*.log"), ["a.log", "b/x.log", "b/c/y.log"]);
        assert_eq!(found("b/{x,z}.log"), ["b/x.log"]);
        assert_eq!(found("missing/*.log"), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_pattern_is_read_or_refused(pattern in r"/[a-c*?\[\]{},!^\\/.ä-]{0,20}", path in "/[a-c/.ä]{0,10}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                glob.matches(Path::new(&path));
            }
        }
    }
}
