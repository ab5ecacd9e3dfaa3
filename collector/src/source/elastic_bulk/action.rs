//! The line in front of a document in `_bulk`: `{"create":{"_index":"logs","_id":"1"}}`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::text::Text;

/// What a sender asks for, by the name it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Store; replace what has the same id.
    Index,
    /// Store; an existing id is a conflict.
    Create,
    /// Change a part of a stored document. Not supported yet; its second line is read over.
    Update,
    /// Remove by id. Has no second line.
    Delete,
}

/// One action line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action<'a> {
    /// What to do.
    pub verb: Verb,
    /// `_index`, when it is given.
    pub index: Option<Cow<'a, str>>,
    /// `_id`, when it is given.
    pub id: Option<Cow<'a, str>>,
    /// `pipeline`, when it is given.
    pub pipeline: Option<Cow<'a, str>>,
    /// Whether `if_seq_no` or `if_primary_term` is given: the sender relies on a condition.
    pub is_conditional: bool,
}

impl Verb {
    /// The name in action lines and replies.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Index => "index",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }

    fn parse(name: &str) -> Option<Verb> {
        [Verb::Index, Verb::Create, Verb::Update, Verb::Delete]
            .into_iter()
            .find(|verb| verb.name() == name)
    }
}

impl<'a> Action<'a> {
    /// Reads an action line.
    ///
    /// # Errors
    /// What is wrong with it, as Elasticsearch ends its sentence `Malformed action/metadata line [1], `.
    pub fn parse(line: &'a [u8]) -> Result<Action<'a>, String> {
        let members = members_of(line)?;
        let (name, value) = match &members[..] {
            [] => return Err("expected FIELD_NAME but found [END_OBJECT]".to_owned()),
            // Elasticsearch 7 and 8 do not look at what follows, and winston-elasticsearch writes its attempts there. Two
            // verbs would leave open whether a document follows.
            [first, others @ ..] if others.iter().all(|(name, _)| Verb::parse(name).is_none()) => {
                first
            }
            [..] => return Err("expected END_OBJECT but found [FIELD_NAME]".to_owned()),
        };
        let Some(verb) = Verb::parse(name) else {
            return Err(format!(
                "expected field [create], [delete], [index] or [update] but found [{}]",
                name.chars().take(64).collect::<String>()
            ));
        };
        if !value.get().starts_with('{') {
            return Err(format!(
                "expected START_OBJECT or END_OBJECT but found [{}]",
                token_of(value)
            ));
        }
        let mut action = Action {
            verb,
            index: None,
            id: None,
            pipeline: None,
            is_conditional: false,
        };
        for (name, value) in members_of(value.get().as_bytes())? {
            match &*name {
                "_index" => action.index = simple_value("_index", value)?,
                "_id" => action.id = simple_value("_id", value)?,
                "pipeline" => action.pipeline = simple_value("pipeline", value)?,
                "if_seq_no" | "if_primary_term" => action.is_conditional = true,
                // Everything else (routing, require_alias, versions, ...) changes nothing here.
                _ => {}
            }
        }
        Ok(action)
    }
}

/// A string, or a number taken as one; `null` is as good as absent.
fn simple_value<'a>(
    field: &'static str,
    value: &'a RawValue,
) -> Result<Option<Cow<'a, str>>, String> {
    match token_of(value) {
        "VALUE_NULL" => Ok(None),
        "VALUE_STRING" => serde_json::from_str::<Text<'a>>(value.get())
            .map(|text| Some(text.0))
            .map_err(|error| error.to_string()),
        "VALUE_NUMBER" | "VALUE_BOOLEAN" => Ok(Some(Cow::Borrowed(value.get()))),
        token => Err(format!(
            "expected a simple value for field [{field}] but found [{token}]"
        )),
    }
}

/// What Elasticsearch's JSON parser calls the beginning of a value.
fn token_of(value: &RawValue) -> &'static str {
    token_of_byte(value.get().as_bytes().first().copied())
}

fn token_of_byte(first: Option<u8>) -> &'static str {
    match first {
        Some(b'{') => "START_OBJECT",
        Some(b'[') => "START_ARRAY",
        Some(b'"') => "VALUE_STRING",
        Some(b't' | b'f') => "VALUE_BOOLEAN",
        Some(b'n') => "VALUE_NULL",
        _ => "VALUE_NUMBER",
    }
}

type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

fn members_of(json: &[u8]) -> Result<Members<'_>, String> {
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_object = first == Some(&b'{');
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = if is_object {
        deserializer.deserialize_map(MembersVisitor)
    } else {
        // Valid JSON of another kind is told by its kind, anything else by what is wrong with it.
        serde::Deserialize::deserialize(&mut deserializer).map(|_: serde::de::IgnoredAny| vec![])
    };
    let members = read
        .and_then(|members| deserializer.end().map(|()| members))
        .map_err(|error| format!("not valid JSON: {error}"))?;
    if !is_object {
        let token = token_of_byte(first.copied());
        return Err(format!("expected START_OBJECT but found [{token}]"));
    }
    Ok(members)
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            members.push((name.0, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_all_shippers_are_read() {
        let cases = [
            (r#"{"index":{}}"#, Verb::Index, None, None),
            (
                r#"{ "create" : { "_index" : "logs-2026.11.23" , "_type":"_doc", "pipeline":null } } "#,
                Verb::Create,
                Some("logs-2026.11.23"),
                None,
            ),
            (
                r#"{"delete":{"_id":7,"_index":"a\tb","routing":["x"]}}"#,
                Verb::Delete,
                Some("a\tb"),
                Some("7"),
            ),
            (
                r#"{"index":{"_index":"winston","pipeline":null},"attempts":0}"#,
                Verb::Index,
                Some("winston"),
                None,
            ),
            (
                r#"{"update":{"_id":"é","_index":null}}"#,
                Verb::Update,
                None,
                Some("é"),
            ),
        ];
        for (line, verb, index, id) in cases {
            let action = Action::parse(line.as_bytes()).unwrap();
            assert_eq!(action.verb, verb, "{line}");
            assert_eq!(action.index.as_deref(), index, "{line}");
            assert_eq!(action.id.as_deref(), id, "{line}");
            assert!(!action.is_conditional);
        }
        let line = br#"{"index":{"_id":"1","if_seq_no":3,"if_primary_term":1}}"#;
        assert!(Action::parse(line).unwrap().is_conditional);
    }

    #[test]
    fn malformed_lines_are_told_in_elasticsearchs_words() {
        for (line, problem) in [
            ("{}", "expected FIELD_NAME but found [END_OBJECT]"),
            ("[]", "expected START_OBJECT but found [START_ARRAY]"),
            (
                r#""index""#,
                "expected START_OBJECT but found [VALUE_STRING]",
            ),
            (
                r#"{"index":"x"}"#,
                "expected START_OBJECT or END_OBJECT but found [VALUE_STRING]",
            ),
            (
                r#"{"insert":{}}"#,
                "expected field [create], [delete], [index] or [update] but found [insert]",
            ),
            (
                r#"{"index":{"_index":["a"]}}"#,
                "expected a simple value for field [_index] but found [START_ARRAY]",
            ),
            (
                r#"{"index":{},"delete":{}}"#,
                "expected END_OBJECT but found [FIELD_NAME]",
            ),
        ] {
            assert_eq!(Action::parse(line.as_bytes()).unwrap_err(), problem);
        }
        for line in ["{", "x", r#"{"index":{}} x"#, r#"{"index":{"_id":"\x"}}"#] {
            let problem = Action::parse(line.as_bytes()).unwrap_err();
            assert!(problem.contains("not valid JSON"), "{line}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Action::parse(&line);
            let _ = Action::parse(&[b"{\"index\":{", &line[..], b"}}"].concat());
        }
    }
}
