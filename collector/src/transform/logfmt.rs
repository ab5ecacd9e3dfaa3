//! Reads `level=info msg="it works" took=12ms` into fields.

use std::borrow::Cow;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict, check_field, message_field, text_of, yes};

/// `logfmt: { field: message }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the line.
    #[serde(default = "message_field")]
    pub field: String,
    /// Put before every name: `prefix: app.`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Whether the pairs win over fields the event has already.
    #[serde(default = "yes")]
    pub overwrite: bool,
    /// Whether values without quotes that are numbers become numbers.
    #[serde(default = "yes")]
    pub numbers: bool,
}

/// The step, ready to run.
pub struct Logfmt {
    settings: Settings,
}

/// One pair of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key.
    pub key: &'a str,
    /// The value without its quotes; `None` for a key alone.
    pub value: Option<Cow<'a, str>>,
    /// Whether it stood in quotes.
    pub is_quoted: bool,
}

/// The pairs of a line, and what stands between them that is no pair.
pub struct Pairs<'a> {
    rest: &'a str,
}

impl Logfmt {
    /// Checks the settings.
    ///
    /// # Errors
    /// The field's name is empty.
    pub fn compile(settings: &Settings) -> Result<Logfmt, String> {
        check_field(&settings.field)?;
        Ok(Logfmt {
            settings: settings.clone(),
        })
    }
}

impl Transform for Logfmt {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let text = text_of(document, &self.settings.field)?;
        if !Pairs::of(&text).any(|pair| pair.value.is_some()) {
            return Err(TransformError {
                reason: "logfmt_no_pairs",
                message: format!("field {} has no key=value", self.settings.field),
            });
        }
        let mut name = String::new();
        for pair in Pairs::of(&text) {
            name.clear();
            name.push_str(&self.settings.prefix);
            name.push_str(pair.key);
            if !self.settings.overwrite && document.get(&name).is_some() {
                continue;
            }
            match pair.value {
                None => document.set_value(&name, &true),
                Some(value) => {
                    let may_be_number = self.settings.numbers && !pair.is_quoted;
                    if !may_be_number || !document.set_number(&name, &value) {
                        document.set_str(&name, &value);
                    }
                }
            }
        }
        Ok(Verdict::Keep)
    }
}

impl<'a> Pairs<'a> {
    /// The pairs of this line.
    pub fn of(line: &'a str) -> Pairs<'a> {
        Pairs { rest: line }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() {
                return None;
            }
            let end = self
                .rest
                .find(|c: char| c == '=' || c.is_whitespace())
                .unwrap_or(self.rest.len());
            let (key, behind) = self.rest.split_at(end);
            let Some(value) = behind.strip_prefix('=') else {
                self.rest = behind;
                return Some(Pair {
                    key,
                    value: None,
                    is_quoted: false,
                });
            };
            let (value, is_quoted, rest) = value_of(value);
            self.rest = rest;
            // A value without a key cannot be named; what follows it can.
            if !key.is_empty() {
                return Some(Pair {
                    key,
                    value: Some(value),
                    is_quoted,
                });
            }
        }
    }
}

fn value_of(text: &str) -> (Cow<'_, str>, bool, &str) {
    if let Some(inner) = text.strip_prefix('"')
        && let Some(length) = quoted_length(inner)
    {
        return (unescaped(&inner[..length]), true, &inner[length + 1..]);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (Cow::Borrowed(&text[..end]), false, &text[end..])
}

/// How far the closing quote is.
pub(super) fn quoted_length(inner: &str) -> Option<usize> {
    let mut is_escaped = false;
    inner.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

/// Go's `strconv.Quote` is what writes these, and its escapes are JSON's but for `\x`, which stays as it is.
pub(super) fn unescaped(inner: &str) -> Cow<'_, str> {
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let mut length = 2;
        match escape.as_bytes().get(1) {
            Some(b'n') => out.push('\n'),
            Some(b't') => out.push('\t'),
            Some(b'r') => out.push('\r'),
            Some(b'"') => out.push('"'),
            Some(b'\\') => out.push('\\'),
            Some(b'u') => {
                let code = escape
                    .get(2..6)
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => {
                        out.push(c);
                        length = 6;
                    }
                    None => out.push_str("\\u"),
                }
            }
            _ => {
                out.push('\\');
                length = 1;
            }
        }
        rest = &escape[length.min(escape.len())..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tried::run;
    use super::*;

    #[test]
    fn pairs_become_fields() {
        for (line, expected) in [
            (
                r#"ts=2026-11-23T10:00:00Z level=info msg=\"it \\\"works\\\"\" took=12ms n=0.470 id=007 ok"#,
                r#""ts":"2026-11-23T10:00:00Z","level":"info","msg":"it \"works\"","took":"12ms","n":0.470,"id":"007","ok":true"#,
            ),
            (r#"a= b=\"\" c=\"12\" =x"#, r#""a":"","b":"","c":"12""#),
            (
                r#"url=http://x/?a=b path=\"c:\\\\d\\n\""#,
                r#""url":"http://x/?a=b","path":"c:\\d\n""#,
            ),
            (r#"open=\"no end"#, r#""open":"\"no","end":true"#),
        ] {
            let document = format!("{{\"message\":\"{line}\"}}");
            let expected = format!("{{\"message\":\"{line}\",{expected}}}");
            assert_eq!(run(r#"{"logfmt":{}}"#, &document).unwrap(), expected);
        }
        let kept = run(
            r#"{"logfmt":{"overwrite":false,"prefix":"p.","numbers":false}}"#,
            r#"{"message":"a=1 b=2","p.a":"x"}"#,
        );
        assert_eq!(
            kept.unwrap(),
            r#"{"message":"a=1 b=2","p.a":"x","p.b":"2"}"#
        );
        let problem = run(r#"{"logfmt":{}}"#, r#"{"message":"plain text"}"#).unwrap_err();
        assert!(problem.starts_with("logfmt_no_pairs"), "{problem}");
    }

    proptest! {
        #[test]
        fn any_line_is_read_to_its_end(line in "[a-c= \"\\\\u\\n\u{e9}]{0,40}") {
            prop_assert!(Pairs::of(&line).count() <= line.len());
        }
    }
}
