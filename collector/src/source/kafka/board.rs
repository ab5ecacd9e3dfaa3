//! How far one source is: what is its to read, what is on its way to the journal, what is durable, what is committed.
//!
//! Written by the thread that reads and by the task that delivers; short locks, never across a wait of the task.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::Statistics;

use super::place::{Partition, Places};

/// What the source sees besides events.
#[derive(Debug, Default)]
pub struct KafkaCounts {
    /// Partitions that are its to read.
    pub partitions: AtomicU64,
    /// How often partitions were given to it or taken from it.
    pub rebalances: AtomicU64,
    /// How often it began anew, because the library gave up or the journal had no room for too long.
    pub restarts: AtomicU64,
    /// Errors of brokers and connections.
    pub errors: AtomicU64,
    /// Commits of offsets that failed; they are repeated.
    pub commit_errors: AtomicU64,
    /// How often reading was paused, because the journal had no room.
    pub pauses: AtomicU64,
    /// Messages with bytes that were no UTF-8, stored with replacement characters.
    pub invalid_utf8_messages: AtomicU64,
}

/// How far a partition is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: Partition,
    /// Messages in it that are not durable here yet.
    pub messages: u64,
}

/// How far the source is.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    counts: Arc<KafkaCounts>,
}

#[derive(Debug, Default)]
struct State {
    /// What is handed over, also by earlier lives of the source. Never shrinks: an entry is a partition once read.
    reached: Places,
    /// What is the source's to read now.
    owned: BTreeMap<Partition, Owned>,
    /// Durable, owned, and not committed yet.
    uncommitted: Places,
    /// Where partitions end, as brokers said last.
    ends: Places,
    /// How often partitions were given to it.
    era: u64,
    in_flight: usize,
    is_over: bool,
}

#[derive(Debug)]
struct Owned {
    /// The next offset that is not durable.
    next: i64,
    /// Whether anything is durable since the partition was given to the source. Before, `next` may be what somebody reset
    /// the group to: with our mark on it, it would be taken for the start of a gap that the checkpoint closes.
    is_read: bool,
    /// When it was given to the source.
    era: u64,
}

impl Board {
    /// A source that has come so far.
    pub fn new(reached: Places) -> Board {
        Board {
            state: Mutex::new(State {
                reached,
                ..State::default()
            }),
            changed: Condvar::new(),
            counts: Arc::default(),
        }
    }

    /// What it sees besides events.
    pub fn counts(&self) -> Arc<KafkaCounts> {
        Arc::clone(&self.counts)
    }

    /// How far each owned partition is behind, where the brokers have said where it ends.
    pub fn lags(&self) -> Vec<Lag> {
        let state = self.state();
        let lag = |(partition, owned): (&Partition, &Owned)| {
            let end = *state.ends.get(partition)?;
            Some(Lag {
                partition: partition.clone(),
                messages: u64::try_from(end - owned.next).unwrap_or(0),
            })
        };
        state.owned.iter().filter_map(lag).collect()
    }

    /// The next message of a partition that was never handed over.
    pub fn reached(&self, partition: &Partition) -> Option<i64> {
        self.state().reached.get(partition).copied()
    }

    /// Whether all that was handed over is durable.
    pub fn is_idle(&self) -> bool {
        self.state().in_flight == 0
    }

    /// Whether nothing was ever handed over, and it was never told what is its to read.
    pub fn is_new(&self) -> bool {
        let state = self.state();
        state.reached.is_empty() && state.era == 0
    }

    /// These partitions are the source's from now on, each from this offset.
    pub fn own(&self, places: Places) {
        let mut state = self.state();
        state.era += 1;
        let era = state.era;
        let owned = |next| Owned {
            next,
            is_read: false,
            era,
        };
        let places = places.into_iter();
        let places = places.map(|(partition, next)| (partition, owned(next)));
        state.owned.extend(places);
        self.count_partitions(&state);
    }

    /// These partitions are another's from now on.
    pub fn disown<'a>(&self, partitions: impl Iterator<Item = &'a Partition>) {
        let mut state = self.state();
        for partition in partitions {
            state.owned.remove(partition);
            state.uncommitted.remove(partition);
            state.ends.remove(partition);
        }
        self.count_partitions(&state);
    }

    /// A batch that reaches so far is about to be handed over; answers the era this happens in.
    pub fn departs(&self, places: &Places) -> u64 {
        let mut state = self.state();
        state.in_flight += 1;
        for (partition, next) in places {
            state.reached.insert(partition.clone(), *next);
        }
        state.era
    }

    /// A batch that departed in `era` came back: it is durable, or the source is over.
    pub fn landed(&self, places: Places, era: u64, is_durable: bool) {
        let mut state = self.state();
        state.in_flight -= 1;
        if !is_durable {
            state.is_over = true;
        } else {
            for (partition, next) in places {
                // What was taken away meanwhile is not ours to commit. What was given back may be further by now, unless
                // it began behind this batch.
                if let Some(owned) = state.owned.get_mut(&partition)
                    && (owned.era <= era || owned.next == next)
                {
                    (owned.next, owned.is_read) = (next, true);
                    state.uncommitted.insert(partition, next);
                }
            }
        }
        self.changed.notify_all();
    }

    /// Takes what is to be committed now.
    pub fn take_uncommitted(&self) -> Places {
        std::mem::take(&mut self.state().uncommitted)
    }

    /// A commit failed: what was durable by now is to be committed again.
    pub fn commit_failed(&self) {
        let mut state = self.state();
        let State {
            owned, uncommitted, ..
        } = &mut *state;
        let read = owned.iter().filter(|(_, owned)| owned.is_read);
        uncommitted.extend(read.map(|(partition, owned)| (partition.clone(), owned.next)));
    }

    /// Whether the source is to end.
    pub fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// Waits until nothing is on its way; `false` when that takes longer.
    pub fn wait_for_landing(&self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        let mut state = self.state();
        while state.in_flight > 0 && !state.is_over {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            state = self.wait(state, left);
        }
        true
    }

    /// Waits until a batch comes back, at most so long.
    pub fn wait_for_change(&self, longest: Duration) {
        let state = self.state();
        drop(self.wait(state, longest));
    }

    /// Takes in where partitions end.
    pub fn note_statistics(&self, statistics: &Statistics) {
        let mut state = self.state();
        let State { owned, ends, .. } = &mut *state;
        for partition in owned.keys() {
            let topic = statistics.topics.get(&*partition.0);
            let Some(found) = topic.and_then(|topic| topic.partitions.get(&partition.1)) else {
                continue;
            };
            // Behind the last stable offset stand transactions that are not over: nobody can read them yet.
            let end = match found.ls_offset {
                offset if offset >= 0 => offset,
                _ => found.hi_offset,
            };
            if end >= 0 {
                ends.insert(partition.clone(), end);
            }
        }
    }

    fn count_partitions(&self, state: &State) {
        let count = state.owned.len() as u64;
        self.counts.partitions.store(count, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, longest: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, longest);
        waited.expect("no holder of this lock panics").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(rows: &[(&str, i32, i64)]) -> Places {
        rows.iter()
            .map(|(topic, partition, next)| ((Arc::from(*topic), *partition), *next))
            .collect()
    }

    #[test]
    fn only_what_is_durable_and_still_owned_is_committed() {
        let board = Board::new(Places::new());
        board.own(places(&[("a", 0, 5), ("a", 1, 0)]));
        let first = places(&[("a", 0, 7), ("a", 1, 3)]);
        let era = board.departs(&first);
        assert!(board.take_uncommitted().is_empty());
        assert_eq!(board.reached(&("a".into(), 0)), Some(7));
        assert!(!board.wait_for_landing(Duration::ZERO));

        board.disown(places(&[("a", 1, 0)]).keys());
        board.landed(first, era, true);
        assert!(board.wait_for_landing(Duration::ZERO));
        assert_eq!(board.take_uncommitted(), places(&[("a", 0, 7)]));
        assert!(board.take_uncommitted().is_empty());
        board.commit_failed();
        assert_eq!(board.take_uncommitted(), places(&[("a", 0, 7)]));
        assert_eq!(board.counts().partitions.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_departed_before_a_partition_went_and_came_back_is_not_committed() {
        let board = Board::new(Places::new());
        board.own(places(&[("a", 0, 0), ("a", 1, 0)]));
        let late = places(&[("a", 0, 7), ("a", 1, 9)]);
        let era = board.departs(&late);
        // Another Daybook reads on to 20 before it leaves.
        board.disown(places(&[("a", 0, 0)]).keys());
        board.own(places(&[("a", 0, 20)]));
        board.landed(late, era, true);
        assert_eq!(board.take_uncommitted(), places(&[("a", 1, 9)]));

        // Nobody has read on: it begins behind what is still under way.
        let late = places(&[("a", 1, 12)]);
        let era = board.departs(&late);
        board.disown(places(&[("a", 1, 0)]).keys());
        board.own(late.clone());
        board.landed(late.clone(), era, true);
        assert_eq!(board.take_uncommitted(), late);
    }

    #[test]
    fn a_failed_commit_is_repeated_for_what_was_read_only() {
        let board = Board::new(places(&[("a", 0, 50), ("a", 1, 50)]));
        // Somebody has reset the group, and that is not over yet.
        board.own(places(&[("a", 0, 0), ("a", 1, 0)]));
        board.commit_failed();
        assert!(board.take_uncommitted().is_empty());
        let batch = places(&[("a", 1, 3)]);
        let era = board.departs(&batch);
        board.landed(batch.clone(), era, true);
        assert_eq!(board.take_uncommitted(), batch);
        board.commit_failed();
        assert_eq!(board.take_uncommitted(), batch);
    }

    #[test]
    fn what_is_not_durable_ends_the_source() {
        let board = Board::new(Places::new());
        board.own(places(&[("a", 0, 0)]));
        let batch = places(&[("a", 0, 7)]);
        let era = board.departs(&batch);
        board.landed(batch, era, false);
        assert!(board.is_over());
        assert!(board.take_uncommitted().is_empty());
    }

    #[test]
    fn the_lag_is_what_is_not_durable_yet() {
        let board = Board::new(Places::new());
        board.own(places(&[("a", 0, 5), ("a", 1, 2)]));
        let statistics: Statistics = Statistics {
            topics: serde_json::from_value(serde_json::json!({ "a": {
                "topic": "a", "metadata_age": 0,
                "batchsize": window(), "batchcnt": window(),
                "partitions": { "0": partition(0, 9, 9), "1": partition(1, 20, 18) },
            } }))
            .unwrap(),
            ..Statistics::default()
        };
        board.note_statistics(&statistics);
        let lags: Vec<u64> = board.lags().iter().map(|lag| lag.messages).collect();
        assert_eq!(lags, [4, 16]);
    }

    fn window() -> serde_json::Value {
        serde_json::to_value(rdkafka::statistics::Window::default()).unwrap()
    }

    fn partition(partition: i32, hi_offset: i64, ls_offset: i64) -> serde_json::Value {
        let partition = rdkafka::statistics::Partition {
            partition,
            hi_offset,
            ls_offset,
            ..rdkafka::statistics::Partition::default()
        };
        serde_json::to_value(partition).unwrap()
    }
}
