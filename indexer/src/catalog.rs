//! `catalog.db`: what the data directory must remember beside its events.
//!
//! One SQLite file, written by the indexer alone: the number that makes this directory's event ids its own, the books
//! of the sources, and small documents that clients leave with us (index templates and the like).

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use event::{Position, SourceCounts};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::{Error, filenames};

/// The version of the tables below; kept as SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 1;

/// How long a statement waits for another connection, for instance an operator's `sqlite3`.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The catalog. Blocking; every call takes a short lock.
pub struct Catalog {
    connection: Mutex<Connection>,
}

/// The books as they were saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedLedger {
    /// Every event before this position is in the counts.
    pub position: Position,
    /// The counts by source.
    pub sources: Vec<(String, SourceCounts)>,
}

impl Catalog {
    /// Opens the catalog of a data directory, making it when it is missing.
    ///
    /// # Errors
    /// The file cannot be opened, or is of a newer version.
    pub fn open(data_dir: &Path) -> Result<Catalog, Error> {
        let path = data_dir.join(filenames::CATALOG);
        Catalog::open_file(&path).map_err(|error| match error {
            Error::Catalog(cause) if cause.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Error::io(&path)(full)
            }
            other => other,
        })
    }

    fn open_file(path: &Path) -> Result<Catalog, Error> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_WAIT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            return Err(Error::NewerFormat {
                path: path.display().to_string(),
                found: u32::try_from(version).unwrap_or(u32::MAX),
                known: SCHEMA_VERSION as u32,
            });
        }
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
             CREATE TABLE IF NOT EXISTS ledger (source TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
               events INTEGER NOT NULL, PRIMARY KEY (source, kind, reason)) STRICT;
             CREATE TABLE IF NOT EXISTS document (kind TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
               PRIMARY KEY (kind, name)) STRICT;",
        )?;
        connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        Ok(Catalog {
            connection: Mutex::new(connection),
        })
    }

    /// The number that makes this directory's event ids its own; drawn once.
    ///
    /// # Errors
    /// The catalog cannot be read or written.
    pub fn directory_number(&self) -> Result<u64, Error> {
        let connection = self.connection();
        let drawn = draw_number() as i64;
        connection.execute(
            "INSERT OR IGNORE INTO number VALUES ('directory', ?1)",
            params![drawn],
        )?;
        let number: i64 = connection.query_row(
            "SELECT value FROM number WHERE name = 'directory'",
            [],
            |row| row.get(0),
        )?;
        Ok(number as u64)
    }

    /// Saves the books; all of them or nothing.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub fn save_ledger(&self, ledger: &SavedLedger) -> Result<(), Error> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        {
            let mut insert =
                transaction.prepare("INSERT OR REPLACE INTO ledger VALUES (?1, ?2, ?3, ?4)")?;
            for (source, counts) in &ledger.sources {
                insert.execute(params![source, "stored", "", counts.stored as i64])?;
                insert.execute(params![
                    source,
                    "received_bytes",
                    "",
                    counts.received_bytes as i64
                ])?;
                for (reason, events) in &counts.rejected {
                    insert.execute(params![source, "rejected", reason, *events as i64])?;
                }
                for (reason, events) in &counts.dropped {
                    insert.execute(params![source, "dropped", reason, *events as i64])?;
                }
            }
            transaction.execute(
                "INSERT OR REPLACE INTO number VALUES ('ledger_position', ?1)",
                params![ledger.position.0 as i64],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The books as they were saved last; empty when they never were.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn saved_ledger(&self) -> Result<SavedLedger, Error> {
        let connection = self.connection();
        let position: Option<i64> = connection
            .query_row(
                "SELECT value FROM number WHERE name = 'ledger_position'",
                [],
                |row| row.get(0),
            )
            .optional()?;
        let mut sources: Vec<(String, SourceCounts)> = Vec::new();
        let mut select = connection
            .prepare("SELECT source, kind, reason, events FROM ledger ORDER BY source")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (source, kind, reason): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let events = row.get::<_, i64>(3)? as u64;
            if sources.last().is_none_or(|(last, _)| *last != source) {
                sources.push((source, SourceCounts::default()));
            }
            let Some((_, counts)) = sources.last_mut() else {
                continue;
            };
            match kind.as_str() {
                // Every event before the position was accepted and is stored.
                "stored" => (counts.stored, counts.accepted) = (events, events),
                "received_bytes" => counts.received_bytes = events,
                "rejected" => drop(counts.rejected.insert(reason, events)),
                "dropped" => drop(counts.dropped.insert(reason, events)),
                _ => {}
            }
        }
        Ok(SavedLedger {
            position: Position(position.unwrap_or_default() as u64),
            sources,
        })
    }

    /// All documents of a kind, by name.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn documents(&self, kind: &str) -> Result<Vec<(String, String)>, Error> {
        let connection = self.connection();
        let mut select =
            connection.prepare("SELECT name, json FROM document WHERE kind = ?1 ORDER BY name")?;
        let rows = select.query_map(params![kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Keeps and removes documents by kind and name, all of them or none: `None` removes. Durable when it returns.
    ///
    /// # Errors
    /// The catalog cannot be written; nothing was changed.
    pub fn change_documents(
        &self,
        changes: &[(&str, String, Option<String>)],
    ) -> Result<(), Error> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for (kind, name, json) in changes {
            match json {
                Some(json) => transaction.execute(
                    "INSERT OR REPLACE INTO document VALUES (?1, ?2, ?3)",
                    params![kind, name, json],
                )?,
                None => transaction.execute(
                    "DELETE FROM document WHERE kind = ?1 AND name = ?2",
                    params![kind, name],
                )?,
            };
        }
        transaction.commit()?;
        Ok(())
    }

    /// Lets SQLite verify the whole file.
    ///
    /// # Errors
    /// What SQLite found wrong.
    pub fn verify(&self) -> Result<(), Error> {
        let answer: String = self
            .connection()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        match answer.as_str() {
            "ok" => Ok(()),
            _ => Err(Error::Io {
                path: filenames::CATALOG.to_owned(),
                source: std::io::Error::new(std::io::ErrorKind::InvalidData, answer),
            }),
        }
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .expect("no holder of this lock panics")
    }
}

/// A number that two data directories hardly draw twice: from the hasher's random keys and the clock.
fn draw_number() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    hasher.write_u128(since_epoch.as_nanos());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_and_the_number_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path()).unwrap();
        let number = catalog.directory_number().unwrap();
        assert_eq!(catalog.saved_ledger().unwrap(), SavedLedger::default());
        let counts = SourceCounts {
            accepted: 5,
            stored: 5,
            received_bytes: 99,
            rejected: [("malformed".to_owned(), 2)].into(),
            dropped: [].into(),
        };
        let saved = SavedLedger {
            position: Position(7),
            sources: vec![("nginx".into(), counts)],
        };
        catalog.save_ledger(&saved).unwrap();
        drop(catalog);
        let catalog = Catalog::open(dir.path()).unwrap();
        assert_eq!(catalog.directory_number().unwrap(), number);
        assert_eq!(catalog.saved_ledger().unwrap(), saved);
    }

    #[test]
    fn documents_are_kept_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path()).unwrap();
        let change =
            |name: &str, json: Option<&str>| ("template", name.to_owned(), json.map(str::to_owned));
        catalog
            .change_documents(&[change("a", Some("{}")), change("b", Some("{}"))])
            .unwrap();
        catalog
            .change_documents(&[
                change("a", Some("{\"x\":1}")),
                change("b", None),
                change("c", None),
            ])
            .unwrap();
        assert_eq!(
            catalog.documents("template").unwrap(),
            [("a".to_owned(), "{\"x\":1}".to_owned())]
        );
        assert!(catalog.documents("other").unwrap().is_empty());
    }
}
