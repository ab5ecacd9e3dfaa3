//! What clients leave with us, kept in the catalog: a registry in memory whose every change is first on disk.

use std::sync::{Arc, Mutex};

use indexer::Catalog;
use query::elastic::registry::{Change, Kind, MemoryRegistry, Registry, RegistryError};
use serde_json::Value;

/// The registry of a data directory.
pub struct KeptRegistry {
    memory: MemoryRegistry,
    catalog: Arc<Catalog>,
    // One change at a time, so that memory and disk take them in the same order.
    changing: Mutex<()>,
}

impl KeptRegistry {
    /// Reads what the catalog has.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn open(catalog: Arc<Catalog>) -> Result<KeptRegistry, indexer::Error> {
        let memory = MemoryRegistry::new();
        for kind in Kind::ALL {
            for (name, json) in catalog.documents(kind.name())? {
                let value = serde_json::from_str(&json).unwrap_or(Value::Null);
                if let Err(error) = memory.apply(vec![Change::Put(kind, name, value)]) {
                    tracing::warn!(%error, "something a client left with us is not read back");
                }
            }
        }
        Ok(KeptRegistry {
            memory,
            catalog,
            changing: Mutex::default(),
        })
    }
}

impl Registry for KeptRegistry {
    fn entry(&self, kind: Kind, name: &str) -> Option<Value> {
        self.memory.entry(kind, name)
    }

    fn entries(&self, kind: Kind) -> Vec<(String, Value)> {
        self.memory.entries(kind)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), RegistryError> {
        let _one_at_a_time = self.changing.lock().expect("no holder of this lock panics");
        let undo: Vec<Change> = changes
            .iter()
            .rev()
            .map(|change| self.inverse(change))
            .collect();
        let documents: Vec<(&str, String, Option<String>)> = changes
            .iter()
            .map(|change| match change {
                Change::Put(kind, name, value) => {
                    (kind.name(), name.clone(), Some(value.to_string()))
                }
                Change::Delete(kind, name) => (kind.name(), name.clone(), None),
            })
            .collect();
        // Memory first, because it knows the bounds; taken back when the disk says no.
        self.memory.apply(changes)?;
        self.catalog.change_documents(&documents).or_else(|error| {
            self.memory.apply(undo)?;
            Err(RegistryError::Unavailable(error.to_string()))
        })
    }
}

impl KeptRegistry {
    fn inverse(&self, change: &Change) -> Change {
        let (Change::Put(kind, name, _) | Change::Delete(kind, name)) = change;
        match self.memory.entry(*kind, name) {
            Some(value) => Change::Put(*kind, name.clone(), value),
            None => Change::Delete(*kind, name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_client_left_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || KeptRegistry::open(Arc::new(Catalog::open(dir.path()).unwrap())).unwrap();
        let registry = open();
        let put =
            |name: &str| Change::Put(Kind::IndexTemplate, name.into(), json!({"priority": 1}));
        registry.apply(vec![put("a"), put("b")]).unwrap();
        registry
            .apply(vec![Change::Delete(Kind::IndexTemplate, "a".into())])
            .unwrap();
        drop(registry);
        let registry = open();
        assert_eq!(
            registry.entries(Kind::IndexTemplate),
            [("b".to_owned(), json!({"priority": 1}))]
        );
    }
}
