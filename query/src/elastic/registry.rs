//! What clients put and want to get back: templates, policies, pipelines, aliases, settings of indices.
//!
//! Daybook keeps them so that shippers and dashboards find what they set up. Only aliases, created indices and
//! created data streams have an effect: they are names that can be searched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::error::{Cause, ElasticError};
use http::StatusCode;

/// What sort of thing is kept under a name. The name of a kind is what a store on disk writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An index a client created: its `mappings`, `settings`; it may have no event yet.
    Index,
    /// A data stream a client created; it may have no event yet.
    DataStream,
    /// An alias: an object from each concrete name it stands for to that membership's properties.
    Alias,
    /// `_template`.
    Template,
    /// `_index_template`.
    IndexTemplate,
    /// `_component_template`.
    ComponentTemplate,
    /// `_ilm/policy`.
    LifecyclePolicy,
    /// `_ingest/pipeline`.
    IngestPipeline,
    /// `_cluster/settings`: `persistent` and `transient`, each an object with flat names.
    ClusterSettings,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 9] = [
        Kind::Index,
        Kind::DataStream,
        Kind::Alias,
        Kind::Template,
        Kind::IndexTemplate,
        Kind::ComponentTemplate,
        Kind::LifecyclePolicy,
        Kind::IngestPipeline,
        Kind::ClusterSettings,
    ];

    /// A short, stable name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Index => "index",
            Kind::DataStream => "data_stream",
            Kind::Alias => "alias",
            Kind::Template => "template",
            Kind::IndexTemplate => "index_template",
            Kind::ComponentTemplate => "component_template",
            Kind::LifecyclePolicy => "lifecycle_policy",
            Kind::IngestPipeline => "ingest_pipeline",
            Kind::ClusterSettings => "cluster_settings",
        }
    }
}

/// Keeps JSON values by kind and name.
pub trait Registry: Send + Sync {
    /// What is kept under a name. Answers from memory.
    fn entry(&self, kind: Kind, name: &str) -> Option<Value>;

    /// Everything of a kind, by name. Answers from memory.
    fn entries(&self, kind: Kind) -> Vec<(String, Value)>;

    /// Makes all changes, in order, or none. Durable when it returns, where the registry is. May block for some
    /// milliseconds.
    ///
    /// # Errors
    /// Nothing was changed.
    fn apply(&self, changes: Vec<Change>) -> Result<(), RegistryError>;
}

/// One change of a [`Registry`].
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Keep this value, in place of what is there.
    Put(Kind, String, Value),
    /// Keep nothing under this name.
    Delete(Kind, String),
}

/// A change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is no room: something has to be deleted first.
    #[error("the registry is full: {0}")]
    Full(String),
    /// What it is kept on cannot be written now.
    #[error("the registry cannot be written: {0}")]
    Unavailable(String),
}

impl From<RegistryError> for ElasticError {
    fn from(error: RegistryError) -> ElasticError {
        let (status, kind) = match error {
            RegistryError::Full(_) => (StatusCode::BAD_REQUEST, "illegal_argument_exception"),
            RegistryError::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "process_cluster_event_timeout_exception",
            ),
        };
        ElasticError::cause(status, Cause::new(kind, error.to_string()))
    }
}

/// A registry that forgets everything when the process ends.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    kept: Mutex<Kept>,
}

/// The most entries: a full Kibana keeps some hundred.
const ENTRIES_MAX: usize = 10_000;

/// The most bytes of all entries together, as JSON text.
const BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, Default, Clone)]
struct Kept {
    entries: BTreeMap<(Kind, String), Entry>,
    bytes: usize,
}

/// Shared, so that all entries can be copied cheaply before they are changed.
#[derive(Debug, Clone)]
struct Entry {
    value: Arc<Value>,
    bytes: usize,
}

impl MemoryRegistry {
    /// An empty registry.
    pub fn new() -> MemoryRegistry {
        MemoryRegistry::default()
    }
}

impl Registry for MemoryRegistry {
    fn entry(&self, kind: Kind, name: &str) -> Option<Value> {
        let kept = self.kept.lock().expect("no holder of this lock panics");
        kept.entry(kind, name)
    }

    fn entries(&self, kind: Kind) -> Vec<(String, Value)> {
        let kept = self.kept.lock().expect("no holder of this lock panics");
        kept.of_kind(kind)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), RegistryError> {
        let mut kept = self.kept.lock().expect("no holder of this lock panics");
        *kept = kept.after(changes)?;
        Ok(())
    }
}

impl Kept {
    fn entry(&self, kind: Kind, name: &str) -> Option<Value> {
        let entry = self.entries.get(&(kind, name.to_owned()))?;
        Some(Value::clone(&entry.value))
    }

    fn of_kind(&self, kind: Kind) -> Vec<(String, Value)> {
        let from_kind = self.entries.range((kind, String::new())..);
        from_kind
            .take_while(|((known, _), _)| *known == kind)
            .map(|((_, name), entry)| (name.clone(), Value::clone(&entry.value)))
            .collect()
    }

    fn after(&self, changes: Vec<Change>) -> Result<Kept, RegistryError> {
        let mut changed = self.clone();
        for change in changes {
            changed.make(change);
        }
        if changed.entries.len() > ENTRIES_MAX {
            let problem = format!("{ENTRIES_MAX} entries are the most");
            return Err(RegistryError::Full(problem));
        }
        if changed.bytes > BYTES_MAX {
            let problem = format!("{BYTES_MAX} bytes are the most");
            return Err(RegistryError::Full(problem));
        }
        Ok(changed)
    }

    fn make(&mut self, change: Change) {
        let (key, value) = match change {
            Change::Put(kind, name, value) => ((kind, name), Some(value)),
            Change::Delete(kind, name) => ((kind, name), None),
        };
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= entry.bytes;
        }
        if let Some(value) = value {
            let bytes = key.1.len() + value.to_string().len();
            self.bytes += bytes;
            let value = Arc::new(value);
            self.entries.insert(key, Entry { value, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_put_is_given_back_by_kind() {
        let registry = MemoryRegistry::new();
        let put = |kind, name: &str, value| Change::Put(kind, name.to_owned(), value);
        let changes = vec![
            put(Kind::Template, "b", json!(1)),
            put(Kind::Template, "a", json!({"z": 1, "a": 2})),
            put(Kind::IndexTemplate, "a", json!(3)),
            put(Kind::Alias, "x", json!(4)),
        ];
        registry.apply(changes).unwrap();
        let names: Vec<String> = registry
            .entries(Kind::Template)
            .into_iter()
            .map(|e| e.0)
            .collect();
        assert_eq!(names, ["a", "b"]);
        let kept = registry.entry(Kind::Template, "a").unwrap();
        assert_eq!(kept.to_string(), r#"{"z":1,"a":2}"#);

        registry
            .apply(vec![Change::Delete(Kind::Template, "a".to_owned())])
            .unwrap();
        assert_eq!(registry.entry(Kind::Template, "a"), None);
        assert!(registry.entry(Kind::IndexTemplate, "a").is_some());
    }

    #[test]
    fn it_is_bounded_and_changes_all_or_nothing() {
        let registry = MemoryRegistry::new();
        let many = (0..=ENTRIES_MAX).map(|n| Change::Put(Kind::Index, n.to_string(), Value::Null));
        assert!(matches!(
            registry.apply(many.collect()),
            Err(RegistryError::Full(_))
        ));
        assert!(registry.entries(Kind::Index).is_empty());

        let large = Change::Put(Kind::Index, "x".to_owned(), "a".repeat(BYTES_MAX).into());
        assert!(matches!(
            registry.apply(vec![large]),
            Err(RegistryError::Full(_))
        ));
        let small = Change::Put(Kind::Index, "x".to_owned(), Value::Null);
        registry.apply(vec![small.clone(), small]).unwrap();
    }
}
