//! What changes events on their way, one file per step.
//!
//! Adding a step: its file with `Settings` and a [`Transform`], and one line in each list below.

use event::Document;
use serde::{Deserialize, Serialize};

pub mod date;
pub mod grok;
pub mod json;
pub mod multiline;

/// A step of a pipeline: changes one event's document.
///
/// Called from many threads at once, for every event: it keeps no state of its own and does not block.
pub trait Transform: Send + Sync {
    /// Changes the document.
    ///
    /// # Errors
    /// The step cannot do its work on this document, which is then as it was before. The pipeline keeps the event.
    fn apply(&self, document: &mut Document) -> Result<Verdict, TransformError>;
}

/// What a step wants to become of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the next step.
    Keep,
    /// It is not stored.
    Drop {
        /// Short and stable, used as a counter's label.
        reason: &'static str,
    },
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

/// One step as the settings write it: `json: {...}`, `grok: {...}`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepSettings {
    /// See [`json`].
    Json(json::Settings),
    /// See [`grok`].
    Grok(grok::Settings),
    /// See [`date`].
    Date(date::Settings),
}

impl StepSettings {
    /// The step's name in settings, counters and messages.
    pub fn kind(&self) -> &'static str {
        match self {
            StepSettings::Json(_) => "json",
            StepSettings::Grok(_) => "grok",
            StepSettings::Date(_) => "date",
        }
    }

    /// Makes the step ready to run.
    ///
    /// # Errors
    /// What is wrong with the settings, as a sentence without its place.
    pub fn compile(&self) -> Result<Box<dyn Transform>, String> {
        Ok(match self {
            StepSettings::Json(settings) => Box::new(json::Json::compile(settings)?),
            StepSettings::Grok(settings) => Box::new(grok::Grok::compile(settings)?),
            StepSettings::Date(settings) => Box::new(date::Date::compile(settings)?),
        })
    }
}

/// The text of a field a step works on.
///
/// # Errors
/// The field is missing (`field_missing`) or no string (`not_a_string`).
fn text_of(document: &Document, field: &str) -> Result<String, TransformError> {
    if let Some(text) = document.get_str(field) {
        return Ok(text);
    }
    Err(match document.get(field) {
        None => TransformError {
            reason: "field_missing",
            message: format!("the event has no field {field}"),
        },
        Some(_) => TransformError {
            reason: "not_a_string",
            message: format!("field {field} is no string"),
        },
    })
}

fn message_field() -> String {
    "message".to_owned()
}
