//! All pipelines by name, made ready when somebody names one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::{AUTOMATIC, CompileError, Pipeline, Settings};
use crate::transform::detect;
use crate::transform::step::{StepSettings, TransformSettings};

/// Pipelines by name: what the settings say, and what is ready.
#[derive(Default)]
pub struct Library {
    settings: BTreeMap<String, Settings>,
    /// Nothing stands for one that is being made ready: whoever meets it has gone in a circle.
    ready: BTreeMap<String, Option<Arc<Pipeline>>>,
}

impl Library {
    /// A library of these.
    pub fn new(settings: BTreeMap<String, Settings>) -> Library {
        Library {
            settings,
            ready: BTreeMap::new(),
        }
    }

    /// The pipeline of this name, and with it those it leads to. Every caller gets the same one. Several names with commas
    /// between them are the pipeline of all their steps, in this order.
    ///
    /// # Errors
    /// Nobody defined it, a step cannot work, or it leads back to itself.
    pub fn pipeline(&mut self, name: &str) -> Result<Arc<Pipeline>, CompileError> {
        match self.ready.get(name) {
            Some(Some(ready)) => return Ok(Arc::clone(ready)),
            Some(None) => {
                return Err(CompileError::Cycle {
                    name: name.to_owned(),
                });
            }
            None => {}
        }
        let settings = match self.settings.get(name) {
            Some(settings) => settings.clone(),
            None => self.joined(name)?,
        };
        self.ready.insert(name.to_owned(), None);
        let compiled = Pipeline::compile_among(name, &settings, &mut |target| {
            self.pipeline(target).map_err(|error| error.to_string())
        });
        match compiled {
            Ok(pipeline) => {
                let pipeline = Arc::new(pipeline);
                self.ready
                    .insert(name.to_owned(), Some(Arc::clone(&pipeline)));
                Ok(pipeline)
            }
            Err(error) => {
                self.ready.remove(name);
                Err(error)
            }
        }
    }

    /// The settings of several pipelines one after the other.
    fn joined(&self, names: &str) -> Result<Settings, CompileError> {
        let unknown = |name: &str| CompileError::Unknown {
            name: name.to_owned(),
        };
        let mut joined = Settings::default();
        let parts: Vec<&str> = split_names(names).collect();
        if parts.len() < 2 {
            return Err(unknown(names));
        }
        for part in parts {
            if part == AUTOMATIC {
                joined.steps.push(StepSettings {
                    transform: TransformSettings::Detect(detect::Settings::default()),
                    when: None,
                    on_error: None,
                });
                continue;
            }
            let settings = self.settings.get(part).ok_or_else(|| unknown(part))?;
            let steps = settings.steps.iter().cloned();
            joined.steps.extend(steps.map(|step| StepSettings {
                on_error: Some(step.on_error.unwrap_or(settings.on_error)),
                ..step
            }));
        }
        Ok(joined)
    }

    /// Those that are ready, in the order of their names.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.ready.values().flatten()
    }
}

/// The names in the setting `pipeline` of a source, in their order.
pub fn split_names(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim)
}

/// Reads the setting `pipeline` of a source: a name, or a list of them, which becomes `a,b`.
///
/// # Errors
/// It is neither.
pub fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct NamesVisitor;

    impl<'de> Visitor<'de> for NamesVisitor {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a pipeline, or a list of names")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<String>, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Option<String>, E> {
            Ok(None)
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Option<String>, E> {
            Ok(Some(name.to_owned()))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<String>, A::Error> {
            let mut names: Vec<String> = Vec::new();
            while let Some(name) = items.next_element()? {
                names.push(name);
            }
            match names.is_empty() {
                true => Err(de::Error::custom(
                    "the list of pipelines is empty; write none to leave events alone",
                )),
                false => Ok(Some(names.join(","))),
            }
        }
    }

    deserializer.deserialize_any(NamesVisitor)
}

#[cfg(test)]
mod tests {
    use event::{Document, IndexName, Timestamp};

    use super::*;

    fn library(settings: &str) -> Library {
        Library::new(serde_json::from_str(settings).unwrap())
    }

    #[test]
    fn an_event_goes_on_where_it_is_sent() {
        let mut library = library(
            r#"{"all":{"steps":[{"route":{"index":"web","pipeline":"web"},"when":{"field":"kind","equals":"web"}},{"add":{"rest":1}}]},
                "web":{"steps":[{"add":{"web":1}}]}}"#,
        );
        let all = library.pipeline("all").unwrap();
        let run = |text: &str| {
            let mut document = Document::parse(text.as_bytes()).unwrap();
            document.set_str("@timestamp", "2026-11-23T10:00:00Z");
            let event = all
                .event(&mut document, &IndexName::default_index(), Timestamp::MIN)
                .unwrap();
            (
                event.index.to_string(),
                document.get("web").is_some(),
                document.get("rest").is_some(),
            )
        };
        assert_eq!(run(r#"{"kind":"web"}"#), ("web".to_owned(), true, false));
        assert_eq!(run("{}"), ("logs".to_owned(), false, true));
        assert_eq!(library.ready().count(), 2);
    }

    #[test]
    fn several_pipelines_run_one_after_the_other() {
        let mut library = library(
            r#"{"cut":{"on_error":"dead_letter","steps":["json",{"route":{"index":"web"}}]},
                "mark":{"steps":[{"regex":{"field":"n","pattern":"^(?<n_text>x)$"}},{"add":{"marked":true}}]}}"#,
        );
        let both = library.pipeline("cut, mark").unwrap();
        let run = |message: &str| {
            let mut document = Document::new();
            document.set_str("message", message);
            let event = both.event(&mut document, &IndexName::default_index(), Timestamp::MIN);
            let event = event.unwrap();
            let source = Document::parse(&event.source).unwrap();
            (
                event.index.to_string(),
                source.has("marked"),
                source.has("error.type"),
            )
        };
        // Each keeps what it says of events it cannot work on.
        assert_eq!(run(r#"{"n":7}"#), ("web".to_owned(), true, true));
        assert_eq!(run("no JSON"), ("dead-letter".to_owned(), false, true));
        assert!(library.pipeline("auto,mark").is_ok());
        let error = library.pipeline("cut,gone").err().unwrap().to_string();
        assert!(error.contains("no pipeline \"gone\""), "{error}");
    }

    #[test]
    fn circles_and_unknown_names_are_told() {
        let mut library = library(
            r#"{"a":{"steps":[{"route":{"pipeline":"b"}}]},"b":{"steps":[{"route":{"pipeline":"a"}}]},
                "c":{"steps":[{"route":{"pipeline":"gone"}}]},"d":{"steps":[]}}"#,
        );
        for (name, part) in [
            ("a", "leads back to itself"),
            ("c", "no pipeline \"gone\""),
            ("x", "no pipeline \"x\""),
        ] {
            let error = library.pipeline(name).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(library.pipeline("d").is_ok());
    }
}
