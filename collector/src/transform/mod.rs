//! What changes events on their way, one file per step.
//!
//! Adding a step: its file with `Settings` and a [`Transform`], and one line in each list of [`step`].

use std::sync::Arc;

use event::{Document, IndexName, Timestamp};

use crate::pipeline::Pipeline;

pub mod add;
pub mod condition;
pub mod convert;
pub mod csv;
pub mod date;
pub mod dedup;
pub mod detect;
pub mod drop;
pub mod geoip;
pub mod grok;
pub mod json;
pub mod kv;
pub mod level;
pub mod logfmt;
pub mod lookup;
pub mod multiline;
pub mod redact;
pub mod regex;
pub mod remove;
pub mod rename;
pub mod route;
pub mod sample;
pub mod step;
pub mod throttle;
mod typed;
#[cfg(feature = "vrl")]
pub mod vrl;

/// A step of a pipeline: changes one event's document.
///
/// Called from many threads at once, for every event: it does not block, and what it remembers (`sample`, `throttle`,
/// `dedup`) is bounded and behind a short lock.
pub trait Transform: Send + Sync {
    /// Changes the document. `arrived` is when we took the event, UTC; it is the only clock a step has.
    ///
    /// # Errors
    /// The step cannot do its work on this document, which is then as it was before. The pipeline keeps the event.
    fn apply(&self, document: &mut Document, arrived: Timestamp)
    -> Result<Verdict, TransformError>;
}

/// What a step wants to become of the event.
#[derive(Clone)]
pub enum Verdict {
    /// It goes on to the next step.
    Keep,
    /// It is not stored.
    Drop {
        /// Short and stable, used as a counter's label.
        reason: &'static str,
    },
    /// It goes elsewhere.
    Route(Arc<Target>),
}

/// Where a `route` sends events.
pub struct Target {
    /// The index it is stored in; without one, the one it had.
    pub index: Option<IndexName>,
    /// The pipeline it goes on in, instead of the rest of this one.
    pub pipeline: Option<Arc<Pipeline>>,
}

/// Why a step could not do its work on one document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TransformError {
    /// Short and stable, used as a counter's label and as the event's `error.type`.
    pub reason: &'static str,
    /// For the reader of the event: what is wrong, on which field.
    pub message: String,
}

/// A pipeline by its name, for steps that send events on.
pub type Lookup<'a> = dyn FnMut(&str) -> Result<Arc<Pipeline>, String> + 'a;

/// The text of a field a step works on; of a number its digits.
///
/// # Errors
/// The field is missing (`field_missing`) or neither a string nor a number (`not_a_string`).
fn text_of(document: &Document, field: &str) -> Result<String, TransformError> {
    if let Some(text) = document.get_str(field) {
        return Ok(text.into_owned());
    }
    Err(match document.get(field) {
        None => TransformError {
            reason: "field_missing",
            message: format!("the event has no field {field}"),
        },
        Some(json) if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            return Ok(json.to_owned());
        }
        Some(_) => TransformError {
            reason: "not_a_string",
            message: format!("field {field} is no string"),
        },
    })
}

/// The text of a field: of a string what it says, of anything else its JSON.
fn any_text_of(document: &Document, field: &str) -> Option<String> {
    let json = document.get(field)?;
    let text = event::json_text::unquoted(json).unwrap_or(json.into());
    Some(text.into_owned())
}

fn message_field() -> String {
    "message".to_owned()
}

fn yes() -> bool {
    true
}

/// What all steps say of an empty name.
fn check_field(field: &str) -> Result<(), String> {
    match field {
        "" => Err("a field name is empty; write for instance field: message".to_owned()),
        name if name.contains("%{") => Err(format!(
            "{name:?} is no field name; write it without %{{ and }}, for instance host.name"
        )),
        _ => Ok(()),
    }
}

/// One document of a step's tests.
#[cfg(test)]
pub(crate) mod tried {
    use super::*;

    /// 2026-11-23T10:00:00Z.
    pub fn arrived() -> Timestamp {
        Timestamp::from_nanos(1_795_428_000_000_000_000)
    }

    /// The step of these settings, `kind: {...}`.
    pub fn step(settings: &str) -> Result<Box<dyn Transform>, String> {
        let settings: step::StepSettings =
            serde_json::from_str(settings).map_err(|error| error.to_string())?;
        settings
            .transform
            .compile(&mut |name| Err(format!("no pipeline is named {name}")))
    }

    /// The document behind the step, or what it says.
    pub fn run(settings: &str, document: &str) -> Result<String, String> {
        let step = step(settings).unwrap_or_else(|problem| panic!("{settings}: {problem}"));
        apply(&*step, document, arrived())
    }

    /// The document behind the step, or why there is none.
    pub fn apply(step: &dyn Transform, document: &str, at: Timestamp) -> Result<String, String> {
        let mut document = Document::parse(document.as_bytes()).unwrap();
        let before = document.to_bytes();
        match step.apply(&mut document, at) {
            Ok(Verdict::Keep) => Ok(String::from_utf8(document.to_bytes().to_vec()).unwrap()),
            Ok(Verdict::Drop { reason }) => Err(format!("dropped: {reason}")),
            Ok(Verdict::Route(_)) => Err("routed".to_owned()),
            Err(error) => {
                assert_eq!(
                    document.to_bytes(),
                    before,
                    "{error}: the document was changed"
                );
                Err(format!("{}: {error}", error.reason))
            }
        }
    }
}
