//! What an earlier process accepted and the index may not have yet: read once at the start, before anything is taken.
//!
//! The indexer reads the same records again at its own pace, which takes seconds or minutes. Knowing which ids are
//! among them and how far the file sources had come is enough to take input and answer searches at once.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use collector::source::checkpoint::CheckpointStore;
use event::{IndexName, Position};
use journal::{Journal, Kind};

/// Ids remembered by a hash; 80 MB at most. When the journal has more, none is remembered.
const IDS_MAX: usize = 7_000_000;

/// The ids in the journal at the start.
pub struct PendingIds {
    until: Position,
    /// `None`: there are too many, it may be any.
    hashes: Option<HashSet<u64, BuildNothing>>,
    hasher: RandomState,
}

/// The hashes are hashes already.
type BuildNothing = std::hash::BuildHasherDefault<Nothing>;

#[derive(Default)]
struct Nothing(u64);

impl std::hash::Hasher for Nothing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl PendingIds {
    /// Reads what the journal holds, in constant memory, and notes the sources' checkpoints on the way. Blocking.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read(
        journal: &dyn Journal,
        checkpoints: &mut CheckpointStore,
    ) -> Result<PendingIds, journal::Error> {
        PendingIds::read_up_to(IDS_MAX, journal, checkpoints)
    }

    fn read_up_to(
        ids_max: usize,
        journal: &dyn Journal,
        checkpoints: &mut CheckpointStore,
    ) -> Result<PendingIds, journal::Error> {
        let mut pending = PendingIds {
            until: journal.end(),
            hashes: Some(HashSet::default()),
            hasher: RandomState::new(),
        };
        let mut reader = journal.reader(Position::ZERO)?;
        while let Some(record) = reader.next(Duration::ZERO)? {
            // What cannot be read is counted and told by the feed, which comes to it as well.
            let Some(Ok(batch)) =
                (record.kind == Kind::Events).then(|| journal::events::decode(record.payload))
            else {
                continue;
            };
            if let Some(checkpoint) = &batch.checkpoint {
                checkpoints.note(&batch.source, checkpoint);
            }
            for event in &batch.events {
                if let (Some(id), Some(hashes)) = (&event.id, &mut pending.hashes) {
                    hashes.insert(pending.hasher.hash_one((&event.index, &**id)));
                }
            }
            pending.hashes = pending.hashes.filter(|hashes| hashes.len() <= ids_max);
        }
        Ok(pending)
    }

    /// Where the journal ended: once everything before it can be found, the index knows all ids.
    pub fn until(&self) -> Position {
        self.until
    }

    /// Whether an event with this id may be among those the index has not read yet.
    pub fn may_have(&self, index: &IndexName, id: &str) -> bool {
        self.hashes
            .as_ref()
            .is_none_or(|hashes| hashes.contains(&self.hasher.hash_one((index, id))))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use bytes::Bytes;
    use collector::source::checkpoint;
    use event::{Batch, Event, Timestamp};
    use journal::Local;

    use super::*;

    async fn journal_with(dir: &std::path::Path, ids: &[&str]) -> Local {
        let journal = Local::open(journal::Settings::new(dir.join("journal")), Position::ZERO);
        let journal = journal.unwrap();
        for id in ids {
            let event = Event::create(
                IndexName::default_index(),
                Timestamp::now(),
                Bytes::from_static(b"{}"),
            );
            let mut batch = Batch::new("files".into(), Timestamp::now(), vec![event]);
            batch.events[0].id = Some(Box::from(*id));
            let progress: &[u8] = id.as_bytes();
            batch.checkpoint = Some(checkpoint::encode([(&b"path"[..], Some(progress))]));
            let (count, payload) = journal::events::encode(&batch).unwrap();
            journal.append(Kind::Events, count, payload).await.unwrap();
        }
        let spans = Bytes::from_static(b"spans");
        let one = NonZeroU32::MIN;
        journal
            .append(Kind::Spans, one, spans.into())
            .await
            .unwrap();
        journal
    }

    #[tokio::test]
    async fn ids_and_checkpoints_of_the_journal_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_with(dir.path(), &["one", "two"]).await;
        let mut checkpoints = CheckpointStore::open(&dir.path().join("checkpoints")).unwrap();
        let pending = PendingIds::read(&journal, &mut checkpoints).unwrap();
        let index = IndexName::default_index();
        assert_eq!(pending.until(), Position(3));
        assert!(pending.may_have(&index, "one") && pending.may_have(&index, "two"));
        assert!(!pending.may_have(&index, "three"));
        assert!(!pending.may_have(&IndexName::parse("others").unwrap(), "one"));
        let progress = checkpoints.entries("files");
        assert_eq!(progress[&Bytes::from_static(b"path")], "two");
    }

    #[tokio::test]
    async fn of_too_many_ids_any_may_be_pending() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_with(dir.path(), &["one", "two"]).await;
        let mut checkpoints = CheckpointStore::open(&dir.path().join("checkpoints")).unwrap();
        let pending = PendingIds::read_up_to(1, &journal, &mut checkpoints).unwrap();
        assert!(pending.may_have(&IndexName::default_index(), "three"));
    }
}
