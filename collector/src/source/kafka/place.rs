//! How far a partition has been read: as a checkpoint keeps it, and as the group's offset and the checkpoint together
//! decide where reading begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::source::checkpoint::{self, Entries};
use crate::source::file::StartAt;

/// Stands beside every offset a Daybook commits. What has been committed by anything else, for instance
/// `kafka-consumer-groups.sh --reset-offsets`, is somebody's wish, which counts more than our checkpoint.
pub const MARK: &str = "daybook";

/// One partition of one topic.
pub type Partition = (Arc<str>, i32);

/// The offset of the next message, by partition.
pub type Places = BTreeMap<Partition, i64>;

/// What the group has committed for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next message.
    pub offset: i64,
    /// Whether a Daybook committed it.
    pub is_ours: bool,
}

/// Where reading of a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With this message.
    At(i64),
    /// With the first message there is; the group has never read the partition.
    First,
    /// With the first message from now on.
    Last,
}

/// Decides where reading begins. `reached` is how far this Daybook itself has come.
///
/// Between the moment a batch is durable and the commit of its offsets a kill leaves a gap: there the checkpoint, which
/// is durable with the batch, knows more. Without any offset of the group the checkpoint counts for nothing: the group or
/// the topic has been deleted since, and the numbers may mean other messages.
pub fn start(committed: Option<Committed>, reached: Option<i64>, fresh: Start) -> Start {
    match committed {
        None => fresh,
        Some(Committed { offset, is_ours }) => {
            let reached = reached.filter(|_| is_ours);
            Start::At(reached.map_or(offset, |reached| reached.max(offset)))
        }
    }
}

/// Whether the group does not know that everything before this offset is durable.
pub fn is_news(committed: Option<Committed>, offset: i64) -> bool {
    committed.is_none_or(|known| known.offset < offset)
}

/// Where partitions begin that the group has no offset of: at the end only when all of it is new.
pub fn fresh_start(start_at: StartAt, is_new_group: bool) -> Start {
    match (start_at, is_new_group) {
        (StartAt::End, true) => Start::Last,
        _ => Start::First,
    }
}

/// The checkpoint that says so.
pub fn checkpoint_of(places: &Places) -> Bytes {
    let entries: Vec<(Vec<u8>, [u8; 8])> = places
        .iter()
        .map(|(partition, next)| (key_of(partition), next.to_be_bytes()))
        .collect();
    checkpoint::encode(
        entries
            .iter()
            .map(|(key, value)| (key.as_slice(), Some(value.as_slice()))),
    )
}

/// What checkpoints said; what is none of ours is passed over.
pub fn recovered(entries: &Entries) -> Places {
    let read = entries.iter().filter_map(|(key, value)| {
        let next = i64::from_be_bytes(value[..].try_into().ok()?);
        let (partition, topic) = key.split_first_chunk::<4>()?;
        let topic = std::str::from_utf8(topic).ok()?;
        Some(((Arc::from(topic), i32::from_be_bytes(*partition)), next))
    });
    read.collect()
}

/// The partition's number, then the topic.
fn key_of((topic, partition): &Partition) -> Vec<u8> {
    let mut key = partition.to_be_bytes().to_vec();
    key.extend_from_slice(topic.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_closes_the_gap_behind_our_own_commit_only() {
        let ours = |offset| {
            Some(Committed {
                offset,
                is_ours: true,
            })
        };
        let wish = |offset| {
            Some(Committed {
                offset,
                is_ours: false,
            })
        };
        for (committed, reached, expected) in [
            (ours(10), Some(12), Start::At(12)),
            // Another Daybook went on.
            (ours(20), Some(12), Start::At(20)),
            (ours(10), None, Start::At(10)),
            // Somebody wants them again.
            (wish(0), Some(12), Start::At(0)),
            (None, Some(12), Start::First),
        ] {
            let found = start(committed, reached, Start::First);
            assert_eq!(found, expected, "{committed:?} {reached:?}");
        }
        assert!(is_news(None, 12) && is_news(ours(10), 12));
        assert!(!is_news(ours(12), 12) && !is_news(wish(0), 0));
        assert_eq!(fresh_start(StartAt::End, true), Start::Last);
        assert_eq!(fresh_start(StartAt::End, false), Start::First);
        assert_eq!(fresh_start(StartAt::Beginning, true), Start::First);
    }

    #[test]
    fn places_survive_a_restart() {
        let places = Places::from([
            (("orders".into(), 0), 7),
            (("orders".into(), 12), i64::MAX),
            (("".into(), -1), 0),
        ]);
        let mut entries = Entries::new();
        assert!(checkpoint::apply(&checkpoint_of(&places), &mut entries));
        entries.insert(Bytes::from_static(b"no"), Bytes::from_static(b"one"));
        assert_eq!(recovered(&entries), places);
    }
}
