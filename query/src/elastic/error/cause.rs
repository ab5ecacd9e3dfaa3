//! One exception as Elasticsearch writes it, alone or as what a shard failed with.

use serde_json::{Map, Value, json};

/// One exception: a type, a reason, what the exception says beside them, and what caused it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    pub(super) kind: &'static str,
    pub(super) reason: String,
    fields: Vec<(&'static str, Value)>,
    caused_by: Option<Box<Cause>>,
}

/// What one shard answered instead of hits; also an entry of `_shards.failures` in a partial answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardFailure {
    /// The shard's name, as `logs-2026.11.23`.
    pub index: String,
    /// What went wrong there.
    pub cause: Cause,
}

impl Cause {
    /// An exception of this type, in Elasticsearch's snake case.
    pub fn new(kind: &'static str, reason: impl Into<String>) -> Cause {
        Cause {
            kind,
            reason: reason.into(),
            fields: Vec::new(),
            caused_by: None,
        }
    }

    /// Adds a field that stands behind `type` and `reason`, in the order of the calls.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Cause {
        self.fields.push((name, value.into()));
        self
    }

    /// Says what caused it.
    pub fn caused_by(mut self, cause: Cause) -> Cause {
        self.caused_by = Some(Box::new(cause));
        self
    }

    /// The reason alone.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// `{"type":…,"reason":…,…,"caused_by":{…}}`: what a bulk item carries as `error`.
    pub fn to_json(&self) -> Value {
        let mut object = self.to_object();
        if let Some(cause) = &self.caused_by {
            object.insert("caused_by".to_owned(), cause.to_json());
        }
        Value::Object(object)
    }

    /// Without its cause, as in `root_cause`.
    pub(super) fn to_object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("type".to_owned(), self.kind.into());
        object.insert("reason".to_owned(), self.reason.as_str().into());
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.clone());
        }
        object
    }
}

impl ShardFailure {
    /// `{"shard":0,"index":…,"node":…,"reason":{…}}`.
    pub fn to_json(&self) -> Value {
        json!({
            "shard": 0,
            "index": self.index,
            "node": crate::elastic::cluster::NODE_ID,
            "reason": self.cause.to_json(),
        })
    }
}
