//! Events a step failed on, kept as they were before the pipeline so that a corrected one can take them again.
//!
//! A dead letter is an event of the index [`INDEX`]: `message` as it came, `error.message` and `error.type`, and under
//! `dead_letter.*` the pipeline it goes into again, the step that failed, the index it was meant for, and the whole
//! document as text. What a `redact` of the pipeline looks for is taken out of all of it: the failing step may stand
//! before the one that hides.

use std::sync::Arc;

use event::{Document, Event, IndexName, Timestamp};

use super::{Failure, Pipeline};
use crate::transform::Transform;

/// The index of dead letters.
pub const INDEX: &str = "dead-letter";

/// A dead letter as it is read back.
#[derive(Debug)]
pub struct DeadLetter {
    /// The pipeline it goes into again.
    pub pipeline: String,
    /// The index the event was meant for.
    pub index: IndexName,
    /// When the event arrived, UTC.
    pub arrived: Timestamp,
    /// The event before the first step.
    pub document: Document,
}

impl Pipeline {
    /// The event as it was, with what failed.
    pub(super) fn dead_letter(
        &self,
        failure: &Failure,
        original: &[u8],
        index: &IndexName,
        arrived: Timestamp,
    ) -> Event {
        let mut before = Document::parse(original).unwrap_or_default();
        for redaction in &self.redactions {
            // It changes texts and fails on none.
            drop(redaction.apply(&mut before, arrived));
        }
        let mut letter = Document::new();
        letter.set_str("@timestamp", &arrived.to_rfc3339());
        if let Some(message) = before.get_str("message") {
            letter.set_str("message", &message);
        }
        letter.set_str("error.message", &self.hidden(&failure.text()));
        letter.set_str("error.type", failure.error.reason);
        letter.set_str("dead_letter.pipeline", &self.name);
        letter.set_str("dead_letter.index", index.as_str());
        letter.set_value("dead_letter.step", &failure.step);
        let document = before.to_bytes();
        letter.set_str("dead_letter.document", &String::from_utf8_lossy(&document));
        let index = IndexName::parse(INDEX).expect("the name keeps the rules");
        Event::create(index, arrived, letter.to_bytes())
    }

    fn hidden(&self, text: &str) -> String {
        let hide = |text: String, redaction: &Arc<crate::transform::redact::Redact>| {
            redaction.text(&text).into_owned()
        };
        self.redactions.iter().fold(text.to_owned(), hide)
    }
}

impl DeadLetter {
    /// Reads the document of a dead letter.
    ///
    /// # Errors
    /// What is missing or wrong: somebody else wrote into the index.
    pub fn read(source: &[u8]) -> Result<DeadLetter, String> {
        let letter = Document::parse(source).map_err(|error| error.to_string())?;
        let text = |name: &str| {
            letter
                .get_str(name)
                .map(std::borrow::Cow::into_owned)
                .ok_or_else(|| format!("it has no field {name}"))
        };
        let document = text("dead_letter.document")?;
        let index = IndexName::parse(&text("dead_letter.index")?);
        let arrived = Timestamp::parse_iso(&text("@timestamp")?);
        Ok(DeadLetter {
            pipeline: text("dead_letter.pipeline")?,
            index: index.map_err(|error| error.to_string())?,
            arrived: arrived.map_err(|error| error.to_string())?,
            document: Document::parse(document.as_bytes()).map_err(|error| error.to_string())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_goes_through_the_corrected_pipeline_as_if_nothing_had_been() {
        let compile = |pattern: &str| {
            let settings = format!(
                r#"{{"on_error":"dead_letter","steps":[{{"add":{{"a":1}}}},{{"grok":{{"pattern":"{pattern}"}}}},{{"redact":{{"fields":["x"],"presets":["email"]}}}}]}}"#
            );
            Pipeline::compile("web", &serde_json::from_str(&settings).unwrap()).unwrap()
        };
        let arrived = Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap();
        let index = IndexName::parse("nginx").unwrap();
        let before =
            r#"{"@timestamp":"2026-11-23T10:00:00.000Z","message":"GET ada@example.org","n":0.50}"#;
        let mut document = Document::parse(before.as_bytes()).unwrap();

        let wrong = compile("^%{INT:n}$");
        let event = wrong.event(&mut document, &index, arrived).unwrap();

        assert_eq!((event.index.as_str(), event.timestamp), (INDEX, arrived));
        assert_eq!(wrong.dead_letters(), 1);
        let text = String::from_utf8(event.source.to_vec()).unwrap();
        assert!(!text.contains("example.org"), "{text}");
        let letter = Document::parse(&event.source).unwrap();
        assert_eq!(letter.get_str("error.type").unwrap(), "grok_no_match");
        assert_eq!(letter.get("dead_letter.step"), Some("2"));

        let mut read = DeadLetter::read(&event.source).unwrap();
        assert_eq!(
            (read.pipeline.as_str(), read.index.as_str()),
            ("web", "nginx")
        );
        let again = compile("^%{WORD:verb} ")
            .event(&mut read.document, &read.index, read.arrived)
            .unwrap();
        assert_eq!(
            again.source,
            r#"{"@timestamp":"2026-11-23T10:00:00.000Z","message":"GET <email>","n":0.50,"a":1,"verb":"GET"}"#
        );
        assert_eq!(again.index.as_str(), "nginx");
        assert!(DeadLetter::read(b"{}").unwrap_err().contains("no field"));
    }

    #[test]
    fn a_step_may_keep_what_its_pipeline_would_not() {
        let settings = r#"{"on_error":"dead_letter","steps":[{"json":{},"on_error":"keep"},{"grok":{"pattern":"^x"}}]}"#;
        let pipeline = Pipeline::compile("p", &serde_json::from_str(settings).unwrap()).unwrap();
        for (message, index) in [("x", "logs"), ("y", INDEX)] {
            let mut document = Document::new();
            document.set_str("message", message);
            let event = pipeline.event(
                &mut document,
                &IndexName::default_index(),
                Timestamp::MIN.plus(std::time::Duration::from_secs(1)),
            );
            assert_eq!(event.unwrap().index.as_str(), index);
        }
    }
}
