//! Grok syntax onto one regular expression: `%{NAME:field:type}` becomes a named group, `(...)` one without a name.
//!
//! Groups are named `g0`, `g1`, ... in the order they appear, because the regex crate allows a name only once and
//! not every field name. Other engines' spellings that change nothing about what fits are translated: `(?<x>`,
//! `(?'x'`, `(?P<x>` and `(?>`; Ruby's `(?m)`, which means that a dot also fits a line break, becomes `(?s)`.

use std::collections::BTreeMap;

use super::patterns::PATTERNS;
use crate::transform::typed::FieldType;

/// `%{A}` may lead to `%{B}` and on this far; our own go eight deep.
const DEPTH_MAX: usize = 32;
/// The expanded expression may be this long; `%{COMBINEDAPACHELOG}` is about 4 kB.
const EXPANDED_BYTES_MAX: usize = 256 << 10;

/// A pattern written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The regular expression; group `gN` belongs to `captures[N]`.
    pub regex: String,
    /// What the named groups hold.
    pub captures: Vec<Capture>,
}

/// One field a pattern fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The field's name; `[a][b]` is `a.b`.
    pub field: String,
    /// What its text is turned into.
    pub field_type: FieldType,
}

/// Why a pattern cannot be written out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// `%{NAME}` with a name nobody defined.
    #[error("no pattern is named {name}{}", suggestion(.nearest))]
    UnknownName {
        /// The name as written.
        name: String,
        /// The known name nearest to it.
        nearest: Option<String>,
    },
    /// A name that leads back to itself.
    #[error("{name} refers to itself through {}", .path.join(", "))]
    Cycle {
        /// The name.
        name: String,
        /// The names in between, from the outermost.
        path: Vec<String>,
    },
    /// More than [`DEPTH_MAX`] names inside each other.
    #[error("names lead into each other more than 32 deep at {0}")]
    TooDeep(String),
    /// More than [`EXPANDED_BYTES_MAX`] when written out.
    #[error("the pattern is longer than 262144 bytes when written out")]
    TooLong,
    /// A type after the field that we do not know.
    #[error("unknown type {0}; known are int, float, bool and string")]
    UnknownType(String),
    /// An opening without its end.
    #[error("{0} at byte {1}")]
    Unclosed(&'static str, usize),
    /// A field name that cannot be.
    #[error("field name {0:?} is empty or has unpaired brackets")]
    FieldName(String),
    /// What the linear engine cannot do.
    #[error(
        "{what} {text} at byte {at} cannot be used: matching stays linear in the line's length; write it as plain alternatives"
    )]
    NotLinear {
        /// `look-around` or `back-reference`.
        what: &'static str,
        /// As written.
        text: String,
        /// Where it begins.
        at: usize,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None => "; put it under definitions".to_owned(),
    }
}

/// Writes a pattern out; `definitions` win over our own names.
///
/// # Errors
/// See [`ExpandError`]. The result may still be no valid regular expression.
pub fn expand(
    pattern: &str,
    definitions: &BTreeMap<String, String>,
) -> Result<Expanded, ExpandError> {
    let mut expansion = Expansion {
        definitions,
        regex: String::new(),
        captures: Vec::new(),
        path: Vec::new(),
    };
    expansion.write(pattern)?;
    Ok(Expanded {
        regex: expansion.regex,
        captures: expansion.captures,
    })
}

struct Expansion<'a> {
    definitions: &'a BTreeMap<String, String>,
    regex: String,
    captures: Vec<Capture>,
    /// The names being written out right now, from the outermost.
    path: Vec<String>,
}

impl Expansion<'_> {
    fn write(&mut self, pattern: &str) -> Result<(), ExpandError> {
        let bytes = pattern.as_bytes();
        let mut is_in_class = false;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &pattern[at..];
            let taken = match bytes[at] {
                b'\\' => self.escape(rest, at, is_in_class)?,
                b'%' if rest.starts_with("%{") => self.reference(rest, at)?,
                b'[' if !is_in_class => {
                    is_in_class = true;
                    self.class_start(rest)
                }
                b']' if is_in_class => {
                    is_in_class = false;
                    self.copy(rest, 1)
                }
                b'(' if !is_in_class => self.group(rest, at)?,
                _ => self.copy(rest, rest.chars().next().map_or(1, char::len_utf8)),
            };
            at += taken;
            if self.regex.len() > EXPANDED_BYTES_MAX {
                return Err(ExpandError::TooLong);
            }
        }
        Ok(())
    }

    fn copy(&mut self, rest: &str, count: usize) -> usize {
        self.regex.push_str(&rest[..count]);
        count
    }

    fn escape(&mut self, rest: &str, at: usize, is_in_class: bool) -> Result<usize, ExpandError> {
        let Some(escaped) = rest[1..].chars().next() else {
            return Err(ExpandError::Unclosed("a \\ with nothing behind it", at));
        };
        if !is_in_class && (escaped.is_ascii_digit() && escaped != '0' || escaped == 'k') {
            return Err(ExpandError::NotLinear {
                what: "back-reference",
                text: rest.chars().take(2).collect(),
                at,
            });
        }
        match escaped {
            // Spellings the regex crate does not take for what they plainly are.
            'h' if !is_in_class => self.regex.push_str("[0-9a-fA-F]"),
            'h' => self.regex.push_str("0-9a-fA-F"),
            'Z' => self.regex.push_str(r"\z"),
            '/' | '"' | '\'' | ',' | ':' | ';' | '=' | '@' | '!' | '%' | '<' | '>' | '`' | '_'
            | ' ' => {
                self.regex.push_str(match escaped {
                    ' ' => r"\x20",
                    '<' => r"\x3C",
                    '>' => r"\x3E",
                    _ => &rest[1..1 + escaped.len_utf8()],
                });
            }
            other => {
                self.regex.push('\\');
                self.regex.push(other);
            }
        }
        Ok(1 + escaped.len_utf8())
    }

    /// `[`, and a `^` and a first `]`, which stands for itself.
    fn class_start(&mut self, rest: &str) -> usize {
        let mut count = 1;
        if rest[count..].starts_with('^') {
            count += 1;
        }
        self.copy(rest, count);
        if rest[count..].starts_with(']') {
            self.regex.push_str(r"\]");
            count += 1;
        }
        count
    }

    fn group(&mut self, rest: &str, at: usize) -> Result<usize, ExpandError> {
        let Some(kind) = rest.strip_prefix("(?") else {
            // Only named groups are fields; the others need not be remembered.
            self.regex.push_str("(?:");
            return Ok(1);
        };
        let is_look_around =
            kind.starts_with(['=', '!']) || kind.starts_with("<=") || kind.starts_with("<!");
        if is_look_around {
            return Err(ExpandError::NotLinear {
                what: "look-around",
                text: rest.chars().take(6).collect(),
                at,
            });
        }
        if kind.starts_with('>') {
            self.regex.push_str("(?:");
            return Ok(3);
        }
        let named = [("P<", '>'), ("<", '>'), ("'", '\'')]
            .into_iter()
            .find(|(opening, _)| kind.starts_with(opening));
        if let Some((opening, closing)) = named {
            let name = &kind[opening.len()..];
            let end = name
                .find(closing)
                .ok_or(ExpandError::Unclosed("a group's name without its end", at))?;
            self.open_field(&name[..end], FieldType::String)?;
            return Ok(2 + opening.len() + end + closing.len_utf8());
        }
        Ok(self.flags(rest, kind))
    }

    /// `(?i)`, `(?mi:`, `(?:`: copied, with Ruby's `m` as `s`.
    fn flags(&mut self, rest: &str, kind: &str) -> usize {
        let letters = kind
            .bytes()
            .take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
            .count();
        self.regex.push_str("(?");
        self.regex.push_str(&rest[2..2 + letters].replace('m', "s"));
        2 + letters
    }

    /// `%{NAME}`, `%{NAME:field}`, `%{NAME:field:type}`.
    fn reference(&mut self, rest: &str, at: usize) -> Result<usize, ExpandError> {
        let end = rest
            .find('}')
            .ok_or(ExpandError::Unclosed("%{ without }", at))?;
        let mut parts = rest[2..end].splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let field = parts.next().filter(|field| !field.is_empty());
        let field_type = parts
            .next()
            .map_or(Ok(FieldType::String), self::field_type)?;
        let definition = self.definition(name)?;
        match field {
            Some(field) => self.open_field(field, field_type)?,
            None => self.regex.push_str("(?:"),
        }
        self.path.push(name.to_owned());
        self.write(&definition)?;
        self.path.pop();
        self.regex.push(')');
        Ok(end + 1)
    }

    fn definition(&self, name: &str) -> Result<String, ExpandError> {
        if self.path.iter().any(|outer| outer == name) {
            return Err(ExpandError::Cycle {
                name: name.to_owned(),
                path: self.path.clone(),
            });
        }
        if self.path.len() >= DEPTH_MAX {
            return Err(ExpandError::TooDeep(name.to_owned()));
        }
        if let Some(own) = self.definitions.get(name) {
            return Ok(own.clone());
        }
        match PATTERNS.iter().find(|(known, _)| *known == name) {
            Some((_, pattern)) => Ok((*pattern).to_owned()),
            None => Err(ExpandError::UnknownName {
                name: name.to_owned(),
                nearest: self.nearest_name(name),
            }),
        }
    }

    fn nearest_name(&self, wanted: &str) -> Option<String> {
        let ours = PATTERNS.iter().map(|(name, _)| *name);
        let known = ours.chain(self.definitions.keys().map(String::as_str));
        let nearest = known
            .map(|name| (edits_between(name, wanted), name))
            .min_by_key(|(edits, _)| *edits)?;
        (nearest.0 <= 2 && nearest.0 < wanted.len()).then(|| nearest.1.to_owned())
    }

    fn open_field(&mut self, name: &str, field_type: FieldType) -> Result<(), ExpandError> {
        let field = field_name(name).ok_or_else(|| ExpandError::FieldName(name.to_owned()))?;
        self.regex
            .push_str(&format!("(?P<g{}>", self.captures.len()));
        self.captures.push(Capture { field, field_type });
        Ok(())
    }
}

/// Also by Logstash's other names.
fn field_type(name: &str) -> Result<FieldType, ExpandError> {
    let short = match name {
        "long" => "int",
        "double" => "float",
        "boolean" => "bool",
        name => name,
    };
    FieldType::parse(short).ok_or_else(|| ExpandError::UnknownType(name.to_owned()))
}

/// `[http][method]` is `http.method`; anything else is itself.
fn field_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if !name.contains(['[', ']']) {
        return Some(name.to_owned());
    }
    let inner = name.strip_prefix('[')?.strip_suffix(']')?;
    let parts: Vec<&str> = inner.split("][").collect();
    let is_clean = parts
        .iter()
        .all(|part| !part.is_empty() && !part.contains(['[', ']']));
    is_clean.then(|| parts.join("."))
}

/// Levenshtein distance; names are short.
fn edits_between(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at_a, byte_a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at_a + 1;
        for (at_b, byte_b) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte_a != byte_b);
            diagonal = row[at_b + 1];
            row[at_b + 1] = replaced.min(row[at_b] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &str) -> String {
        let definitions = BTreeMap::from([("X".to_owned(), "x+".to_owned())]);
        expand(pattern, &definitions).unwrap().regex
    }

    #[test]
    fn groups_are_named_in_order_and_others_are_not_remembered() {
        assert_eq!(
            expanded("%{X:a} %{X} (?<b>y)(z)"),
            "(?P<g0>x+) (?:x+) (?P<g1>y)(?:z)"
        );
    }

    #[test]
    fn classes_and_escapes_are_left_alone() {
        assert_eq!(expanded(r"[(%)]\(\%{"), r"[(%)]\(%{");
        assert_eq!(expanded(r"[]a][^]b]"), r"[\]a][^\]b]");
        assert_eq!(expanded(r"\/\h[\h_]\."), r"/[0-9a-fA-F][0-9a-fA-F_]\.");
        assert_eq!(expanded("(?m)a(?i:b)(?>c)"), "(?s)a(?i:b)(?:c)");
    }

    #[test]
    fn nested_field_names_are_joined_with_dots() {
        assert_eq!(field_name("[a][b][c]").as_deref(), Some("a.b.c"));
        assert_eq!(field_name("@metadata.x").as_deref(), Some("@metadata.x"));
        for wrong in ["", "[a", "a]", "[]", "[a][]", "[a]b"] {
            assert_eq!(field_name(wrong), None, "{wrong}");
        }
    }
}
