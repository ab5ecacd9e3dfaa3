//! Reads `user: ada; role: admin` into fields: pairs with separators of the user's own.

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict, check_field, logfmt, message_field, text_of, yes};

/// `kv: { field: message, pair_separator: ";", key_separator: ":" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the pairs.
    #[serde(default = "message_field")]
    pub field: String,
    /// What stands between two pairs.
    #[serde(default = "blank")]
    pub pair_separator: String,
    /// What stands between a key and its value.
    #[serde(default = "equals")]
    pub key_separator: String,
    /// Only these keys; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Put before every name: `prefix: app.`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Whether the pairs win over fields the event has already.
    #[serde(default = "yes")]
    pub overwrite: bool,
}

/// The step, ready to run.
pub struct Kv {
    settings: Settings,
}

impl Kv {
    /// Checks the settings.
    ///
    /// # Errors
    /// A separator or a name is empty, or both separators are the same.
    pub fn compile(settings: &Settings) -> Result<Kv, String> {
        check_field(&settings.field)?;
        if settings.pair_separator.is_empty() || settings.key_separator.is_empty() {
            return Err(
                "a separator is empty; write for instance pair_separator: \"; \"".to_owned(),
            );
        }
        if settings.pair_separator == settings.key_separator {
            return Err("pair_separator and key_separator are the same".to_owned());
        }
        Ok(Kv {
            settings: settings.clone(),
        })
    }

    /// The pair at the beginning of `text`, and what follows its separator.
    fn first_pair<'a>(&self, text: &'a str) -> (Option<(&'a str, &'a str)>, &'a str) {
        let separator = self.settings.pair_separator.as_str();
        let pair_end = text.find(separator).unwrap_or(text.len());
        let key_end = text.find(&self.settings.key_separator);
        let Some(key_end) = key_end.filter(|end| *end < pair_end) else {
            let rest = text[pair_end..].strip_prefix(separator).unwrap_or("");
            return (None, rest);
        };
        let key = text[..key_end].trim();
        let behind = text[key_end + self.settings.key_separator.len()..].trim_start_matches(' ');
        // A separator inside quotes is part of the value.
        if let Some(inner) = behind.strip_prefix('"')
            && let Some(length) = logfmt::quoted_length(inner)
        {
            let rest = &inner[length + 1..];
            let next = rest
                .find(separator)
                .map_or("", |at| &rest[at + separator.len()..]);
            return (Some((key, &inner[..length])), next);
        }
        let end = behind.find(separator).unwrap_or(behind.len());
        let rest = behind[end..].strip_prefix(separator).unwrap_or("");
        (Some((key, behind[..end].trim())), rest)
    }
}

impl Transform for Kv {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let text = text_of(document, &self.settings.field)?;
        let mut rest = text.as_str();
        let mut found = 0;
        let mut name = String::new();
        while !rest.is_empty() {
            let (pair, next) = self.first_pair(rest);
            rest = next;
            let Some((key, value)) = pair.filter(|(key, _)| !key.is_empty()) else {
                continue;
            };
            found += 1;
            let is_wanted = self.settings.keys.is_empty()
                || self.settings.keys.iter().any(|wanted| wanted == key);
            if !is_wanted {
                continue;
            }
            name.clear();
            name.push_str(&self.settings.prefix);
            name.push_str(key);
            if self.settings.overwrite || document.get(&name).is_none() {
                document.set_str(&name, &logfmt::unescaped(value));
            }
        }
        match found {
            0 => Err(TransformError {
                reason: "kv_no_pairs",
                message: format!(
                    "field {} has no key{}value",
                    self.settings.field, self.settings.key_separator
                ),
            }),
            _ => Ok(Verdict::Keep),
        }
    }
}

fn blank() -> String {
    " ".to_owned()
}

fn equals() -> String {
    "=".to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tried::{run, step};
    use super::*;

    #[test]
    fn pairs_are_cut_at_the_users_separators() {
        for (settings, line, expected) in [
            (
                r#"{"pair_separator":";","key_separator":":"}"#,
                "user: ada; role: admin ; x",
                r#"{"message":"user: ada; role: admin ; x","user":"ada","role":"admin"}"#,
            ),
            (
                r#"{"keys":["rhost"],"prefix":"ssh."}"#,
                "failure; uid=0 rhost=10.0.0.7 user=root",
                r#"{"message":"failure; uid=0 rhost=10.0.0.7 user=root","ssh.rhost":"10.0.0.7"}"#,
            ),
            (
                r#"{"pair_separator":", "}"#,
                "a='x' , b=1, c=",
                r#"{"message":"a='x' , b=1, c=","a":"'x'","b":"1","c":""}"#,
            ),
        ] {
            let document = format!("{{\"message\":\"{line}\"}}");
            assert_eq!(
                run(&format!("{{\"kv\":{settings}}}"), &document).unwrap(),
                expected
            );
        }
        let quoted = run(
            r#"{"kv":{"pair_separator":","}}"#,
            r#"{"message":"a=\"1,2\",b=3"}"#,
        );
        assert_eq!(
            quoted.unwrap(),
            r#"{"message":"a=\"1,2\",b=3","a":"1,2","b":"3"}"#
        );
        assert!(
            run(r#"{"kv":{}}"#, r#"{"message":"no pairs"}"#)
                .unwrap_err()
                .starts_with("kv_no_pairs")
        );
        assert!(step(r#"{"kv":{"key_separator":" "}}"#).is_err());
        assert!(step(r#"{"kv":{"key_separator":""}}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_text_comes_to_its_end(line in "[a=; \"\\\\\u{e9}]{0,40}") {
            let kv = Kv::compile(&serde_json::from_str(r#"{"pair_separator":"; "}"#).unwrap()).unwrap();
            let mut document = Document::new();
            document.set_str("message", &line);
            let _ = kv.apply(&mut document, Timestamp::MIN);
        }
    }
}
