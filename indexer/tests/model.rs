//! The indexer against a list: whatever happens between the steps, every event is stored exactly once.
//!
//! Random steps: events go in, time passes, somebody searches, a shard is replaced or deleted from, the process dies or
//! stops and starts again. After a death the journal is read again from where the indexer had let it forget. The seed of a
//! failure is printed; set DAYBOOK_SEED to run it alone, DAYBOOK_CASES for more.

#![allow(clippy::unwrap_used)]

mod store;

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Event, Operation, Position};
use indexer::Settings;
use indexer::logs::Leaf;

use store::{Store, event, found};

/// A random number generator whose whole state is the seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What the journal would have, and what must be found.
#[derive(Default)]
struct Model {
    journal: Vec<(Position, Vec<Event>)>,
    end: Position,
    /// By id: the text of the event.
    by_id: BTreeMap<String, String>,
    /// Texts of events without an id.
    others: Vec<String>,
}

impl Model {
    fn batch(&mut self, random: &mut Random) -> Vec<Event> {
        let count = 1 + random.below(20);
        let mut events = Vec::new();
        for _ in 0..count {
            let number = self.end.0 + events.len() as u64;
            let day = 20 + number % 2;
            let source = format!(
                r#"{{"@timestamp":"2026-11-{day}T09:00:00Z","n":{number},"message":"event number {number}"}}"#
            );
            match random.below(10) {
                0 => {
                    // An id always has the same day: moving it to another is the intake's business.
                    let id = format!("id-{day}-{}", random.below(5));
                    self.by_id.insert(id.clone(), source.clone());
                    events.push(Event {
                        id: Some(id.into()),
                        operation: Operation::Index,
                        ..event(&source)
                    });
                }
                1 => {
                    let id = format!("id-{day}-{}", random.below(5));
                    self.by_id.remove(&id);
                    events.push(Event {
                        id: Some(id.into()),
                        operation: Operation::Delete,
                        ..event(&source)
                    });
                }
                _ => {
                    self.others.push(source.clone());
                    events.push(event(&source));
                }
            }
        }
        self.journal.push((self.end, events.clone()));
        self.end = self.end.plus(count);
        events
    }

    fn expected(&self) -> Vec<String> {
        let mut all: Vec<String> = self.by_id.values().chain(&self.others).cloned().collect();
        all.sort();
        all
    }
}

fn settings(dir: &std::path::Path, random: &mut Random) -> Settings {
    Settings {
        refresh_interval: Duration::ZERO,
        // The days are long over: they are sealed at once, or never.
        late_window: match random.below(2) {
            0 => Duration::ZERO,
            _ => Duration::from_secs(3600),
        },
        persist_interval: if random.below(2) == 0 {
            Duration::ZERO
        } else {
            Duration::from_secs(3600)
        },
        // Of the two shards both, one or none.
        writers_kept_max: random.below(3) as usize,
        persist_bytes: 1000 * (1 + random.below(4)),
        ..Settings::new(dir)
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let mut store = Store::open_with(settings(dir.path(), &mut random), Position::ZERO);
    let mut kept_from = Position::ZERO;
    for _ in 0..40 {
        match random.below(10) {
            0..=4 => {
                store.next = model.end;
                store.add(model.batch(&mut random));
            }
            5 | 6 => store.indexer.tick().unwrap(),
            7 => {
                store.indexer.tick().unwrap();
                let mut all = found(&store.snapshot(), &Leaf::Exists("n".into()));
                all.sort();
                assert_eq!(all, model.expected(), "seed {seed}");
            }
            restart => {
                kept_from = kept_from.max(store.indexer.release_before());
                match restart {
                    // Dropped without closing: what is added or visible but not persisted is gone.
                    8 => drop(store.indexer),
                    _ => drop(store.indexer.close().unwrap()),
                }
                store = Store::open_with(settings(dir.path(), &mut random), model.end);
                for (first, events) in &model.journal {
                    if first.plus(events.len() as u64) > kept_from {
                        store.next = *first;
                        store.add(events.clone());
                    }
                }
            }
        }
    }
    let mut all = found(&store.snapshot(), &Leaf::Exists("n".into()));
    all.sort();
    assert_eq!(all, model.expected(), "seed {seed}");
    let totals = store.ledger.totals();
    let stored = totals.first().map_or(0, |totals| totals.stored);
    assert_eq!(stored, model.end.0, "seed {seed}");
}

#[test]
fn every_event_is_stored_exactly_once_whatever_happens() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("DAYBOOK_SEED") {
        return run(seed);
    }
    for seed in 0..number("DAYBOOK_CASES").unwrap_or(25) {
        run(seed);
    }
}
