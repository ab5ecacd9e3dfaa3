//! Offline verification of shards and catalog, for `daybook check`. Reads only, except where asked to repair.

use std::path::Path;

use crate::logs::ShardId;
use crate::logs::shard::verify_shard;
use crate::{Catalog, Error, filenames};

/// What is found in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedShard {
    /// Its name, as `logs-2026.11.23`.
    pub name: String,
    /// How many events its durable state has, deleted ones not counted; 0 when it is damaged.
    pub events: u64,
    /// What is damaged.
    pub damage: Option<String>,
    /// Where a repair has set it aside: the folder's new name.
    pub set_aside: Option<String>,
}

/// What is found in a data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// The shards, ordered by index and day.
    pub shards: Vec<CheckedShard>,
    /// What is damaged in the catalog.
    pub catalog_damage: Option<String>,
}

impl IndexReport {
    /// Whether nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.catalog_damage.is_none() && self.shards.iter().all(|shard| shard.damage.is_none())
    }
}

/// Reads every byte of every shard's durable state and compares checksums. No server may run on the directory.
///
/// With `is_repairing`, a damaged shard is set aside, so that the rest can be used; its events are lost but for
/// those the journal still has.
///
/// # Errors
/// The directory cannot be read, or a folder cannot be renamed.
pub fn check(data_dir: &Path, is_repairing: bool) -> Result<IndexReport, Error> {
    let mut report = IndexReport {
        catalog_damage: check_catalog(data_dir),
        ..IndexReport::default()
    };
    let shards = filenames::list_shards(data_dir).map_err(Error::io(data_dir))?;
    for id in shards {
        report
            .shards
            .push(check_shard(data_dir, &id, is_repairing)?);
    }
    Ok(report)
}

fn check_shard(data_dir: &Path, id: &ShardId, is_repairing: bool) -> Result<CheckedShard, Error> {
    let folder = filenames::counting_folder(data_dir, id);
    let mut checked = CheckedShard {
        name: id.name(),
        events: 0,
        damage: None,
        set_aside: None,
    };
    match verify_shard(&folder) {
        Ok(events) => checked.events = events,
        Err(damage) => checked.damage = Some(damage),
    }
    if checked.damage.is_some() && is_repairing {
        let target = filenames::damaged_folder(&filenames::shard_folder(data_dir, id));
        std::fs::rename(&folder, &target).map_err(Error::io(&folder))?;
        checked.set_aside = target
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
    }
    Ok(checked)
}

fn check_catalog(data_dir: &Path) -> Option<String> {
    if !data_dir.join(filenames::CATALOG).exists() {
        return None;
    }
    Catalog::open(data_dir)
        .and_then(|catalog| catalog.verify())
        .err()
        .map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};

    use super::*;
    use crate::{Indexer, Settings};

    fn data_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Arc::new(Catalog::open(dir.path()).unwrap());
        let mut indexer = Indexer::open(
            Settings::new(dir.path()),
            catalog,
            Arc::new(Ledger::new()),
            Position::ZERO,
        )
        .unwrap();
        let events = (0..50).map(|number| {
            let index = IndexName::parse(["logs", "shop"][number % 2]).unwrap();
            Event::create(
                index,
                Timestamp::from_nanos(0),
                Bytes::from(format!("{{\"message\":\"event {number}\"}}")),
            )
        });
        indexer
            .apply(
                Position::ZERO,
                &Batch::new("test".into(), Timestamp::from_nanos(0), events.collect()),
            )
            .unwrap();
        indexer.close().unwrap();
        dir
    }

    #[test]
    fn a_sound_directory_is_clean_and_a_changed_byte_is_found_and_set_aside() {
        let dir = data_dir();
        let report = check(dir.path(), false).unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(
            report.shards.iter().map(|shard| shard.events).sum::<u64>(),
            50
        );

        let folder = dir.path().join("logs/shop/1970.01.01");
        let store = std::fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .find(|entry| entry.path().extension().is_some_and(|kind| kind == "store"))
            .unwrap();
        let mut bytes = std::fs::read(store.path()).unwrap();
        bytes[10] ^= 1;
        std::fs::write(store.path(), bytes).unwrap();
        let report = check(dir.path(), false).unwrap();
        assert_eq!(
            report
                .shards
                .iter()
                .filter(|shard| shard.damage.is_some())
                .count(),
            1
        );
        let report = check(dir.path(), true).unwrap();
        assert_eq!(
            report.shards[1].set_aside.as_deref(),
            Some("1970.01.01.damaged")
        );
        let report = check(dir.path(), false).unwrap();
        assert!(report.is_clean() && report.shards.len() == 1);
    }
}
