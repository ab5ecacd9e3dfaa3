//! All pipelines by name, made ready when somebody names one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CompileError, Pipeline, Settings};

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

    /// The pipeline of this name, and with it those it leads to. Every caller gets the same one.
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
        let Some(settings) = self.settings.get(name).cloned() else {
            return Err(CompileError::Unknown {
                name: name.to_owned(),
            });
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

    /// Those that are ready, in the order of their names.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.ready.values().flatten()
    }
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
