//! A document as the list of its values, read by a parser of its own: keys joined with dots, one value per array
//! element, duplicates kept, nulls gone.

use event::Timestamp;

use super::words::words;

/// Texts longer than this many bytes are prose.
const KEYWORD_BYTES_MAX: usize = 256;

/// Texts under these paths are prose, however short.
const PROSE: [&str; 8] = [
    "message",
    "msg",
    "log",
    "body",
    "event.original",
    "error.message",
    "error.stack_trace",
    "exception.stacktrace",
];

/// One event that can be found.
pub struct Document {
    pub id: String,
    pub source: String,
    pub values: Vec<Value>,
}

/// One value of a document.
pub struct Value {
    pub path: String,
    pub kind: Kind,
    /// How it is spelled when it is searched as a text.
    pub spelled: String,
    pub words: Vec<String>,
    pub seen: Seen,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A short text.
    Keyword,
    /// A full text.
    Prose,
    /// A text that is a full date, or a time that is not in the document.
    Time(Timestamp),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

/// Who comes across a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Searches in its field, and searches without a field.
    Always,
    /// Only searches in its field.
    ByName,
    /// Searches without a field may see it or not.
    PerhapsWithoutName,
}

impl Document {
    /// Reads the JSON object `source` of an event; `received` is when its batch was.
    pub fn read(id: String, source: &str, timestamp: Timestamp, received: Timestamp) -> Document {
        let mut json = Json {
            source,
            at: 0,
            values: Vec::new(),
        };
        json.value(None);
        let mut values = json.values;
        for value in &mut values {
            let says_timestamp = match value.kind {
                Kind::Integer(millis) => Timestamp::from_millis(millis) == Some(timestamp),
                _ => Timestamp::parse_lenient(&value.spelled) == Ok(timestamp),
            };
            if value.path == "@timestamp" && says_timestamp {
                value.seen = Seen::PerhapsWithoutName;
            }
        }
        let mut add = |path: &str, time| {
            values.push(Value {
                path: path.to_owned(),
                kind: Kind::Time(time),
                spelled: String::new(),
                words: Vec::new(),
                seen: Seen::ByName,
            });
        };
        add("@timestamp", timestamp);
        add("event.ingested", received);
        Document {
            id,
            source: source.to_owned(),
            values,
        }
    }
}

/// A reader of JSON that is known to be right.
struct Json<'a> {
    source: &'a str,
    at: usize,
    values: Vec<Value>,
}

impl Json<'_> {
    /// The next character that is not white space; not taken.
    fn peek(&mut self) -> char {
        let rest = self.source[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.source.len() - rest.len();
        rest.chars().next().unwrap()
    }

    /// Reads a value; `path` is `None` for the document itself.
    fn value(&mut self, path: Option<&str>) {
        let own_path = path.unwrap_or_default();
        match self.peek() {
            '{' => self.parts('}', |json| {
                json.peek();
                let key: String = json
                    .text()
                    .chars()
                    .map(|c| if c < '\u{2}' { '\u{FFFD}' } else { c })
                    .collect();
                assert_eq!(json.peek(), ':');
                json.at += 1;
                let child = match path {
                    None => key,
                    Some(parent) => format!("{parent}.{key}"),
                };
                json.value(Some(&child));
            }),
            '[' => self.parts(']', |json| json.value(path)),
            '"' => {
                let text = self.text();
                self.push(own_path, kind_of_text(own_path, &text), text);
            }
            _ => self.plain(own_path),
        }
    }

    /// Reads what stands between brackets.
    fn parts(&mut self, end: char, mut part: impl FnMut(&mut Self)) {
        self.at += 1;
        while self.peek() != end {
            part(self);
            if self.peek() == ',' {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    /// Reads a text; half a surrogate pair becomes a replacement character.
    fn text(&mut self) -> String {
        let mut units: Vec<u16> = Vec::new();
        let mut chars = self.source[self.at + 1..].char_indices();
        loop {
            let (at, c) = chars.next().unwrap();
            let decoded = match c {
                '"' => {
                    self.at += 1 + at + 1;
                    return String::from_utf16_lossy(&units);
                }
                '\\' => match chars.next().unwrap().1 {
                    'u' => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        units.push(u16::from_str_radix(&digits, 16).unwrap());
                        continue;
                    }
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    itself => itself,
                },
                itself => itself,
            };
            units.extend(decoded.encode_utf16(&mut [0; 2]).iter());
        }
    }

    /// Reads a number, a boolean or null. A number beyond a double is a text.
    fn plain(&mut self, path: &str) {
        let rest = &self.source[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
        let text = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        self.at += text.len();
        let is_minus_zero = text == "-0";
        let float = || text.parse::<f64>().unwrap();
        let (kind, spelled) = if text == "null" {
            return;
        } else if let Ok(truth) = text.parse::<bool>() {
            (Kind::Bool(truth), truth.to_string())
        } else if let Some(number) = text.parse::<i64>().ok().filter(|_| !is_minus_zero) {
            (Kind::Integer(number), number.to_string())
        } else if let Ok(number) = text.parse::<u64>() {
            (Kind::Unsigned(number), number.to_string())
        } else if float().is_finite() {
            (Kind::Float(float()), float().to_string())
        } else {
            (kind_of_text(path, text), text.to_owned())
        };
        self.push(path, kind, spelled);
    }

    fn push(&mut self, path: &str, kind: Kind, spelled: String) {
        self.values.push(Value {
            path: path.to_owned(),
            kind,
            words: words(&spelled),
            spelled,
            seen: Seen::Always,
        });
    }
}

fn kind_of_text(path: &str, text: &str) -> Kind {
    if PROSE.contains(&path) || text.len() > KEYWORD_BYTES_MAX {
        return Kind::Prose;
    }
    let bytes = text.as_bytes();
    let looks_like_date = (10..=40).contains(&bytes.len())
        && bytes[0].is_ascii_digit()
        && bytes[4] == b'-'
        && bytes[7] == b'-';
    match Timestamp::parse_iso(text) {
        Ok(time) if looks_like_date => Kind::Time(time),
        _ => Kind::Keyword,
    }
}

#[test]
fn documents_are_lists_of_values() {
    let now = Timestamp::from_nanos(0);
    let source = r#"{ "a" : {"b":[1,[2.50,"x"],{"c":true}]}, "a.b":null, "":"\u00e9\ud83d\ude00\ud800",
        "e":[],"at":"2026-11-23","message":"2026-11-23","u":18446744073709551615,"far":-1E400,"n":-5 }"#;
    let document = Document::read(String::new(), source, now, now);
    let found: Vec<String> = document
        .values
        .iter()
        .filter(|value| value.seen == Seen::Always)
        .map(|value| format!("{}={} {:?}", value.path, value.spelled, value.kind))
        .collect();
    let day = Timestamp::parse_iso("2026-11-23").unwrap();
    assert_eq!(
        found,
        [
            "a.b=1 Integer(1)",
            "a.b=2.5 Float(2.5)",
            "a.b=x Keyword",
            "a.b.c=true Bool(true)",
            "=é😀\u{FFFD} Keyword",
            &format!("at=2026-11-23 {:?}", Kind::Time(day)),
            "message=2026-11-23 Prose",
            "u=18446744073709551615 Unsigned(18446744073709551615)",
            "far=-1E400 Keyword",
            "n=-5 Integer(-5)",
        ]
    );
}
