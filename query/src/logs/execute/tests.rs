//! The engine against a model: random events in random segments, random plans, and a naive answer to compare with.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use event::{Batch, Event, IndexName, Ledger, Operation, Position, Timestamp};
use indexer::logs::{Field, Leaf, Scalar};
use indexer::{Catalog, Indexer, Settings};
use tempfile::TempDir;

use super::*;
use crate::logs::filter::Filter;
use crate::logs::plan::{Count, Missing, Resolution, SortBy, SortKey, SortValue};

const BASE: &str = "2026-11-22T23:59:59.950Z";
const NOW: &str = "2026-11-23T10:00:00Z";

/// A small generator: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}

#[derive(Debug, Clone)]
struct Known {
    nanos: i64,
    words: [bool; 3],
    number: Option<i64>,
    shard: String,
}

struct World {
    executor: Executor,
    target: SearchTarget,
    events: BTreeMap<u64, Known>,
    _dir: TempDir,
}

fn world(random: &mut Random) -> World {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        refresh_interval: Duration::ZERO,
        ..Settings::new(dir.path())
    };
    let catalog = Arc::new(Catalog::open(&settings.data_dir).unwrap());
    let mut indexer =
        Indexer::open(settings, catalog, Arc::new(Ledger::new()), Position::ZERO).unwrap();
    let base = Timestamp::parse_iso(BASE).unwrap().nanos();
    let index = IndexName::default_index();
    let mut events = BTreeMap::new();
    let mut next = 0;
    for _ in 0..1 + random.below(3) {
        let mut batch = Vec::new();
        for _ in 0..20 + random.below(150) {
            let position = next + batch.len() as u64;
            // Nearly in order, some of them equal to the millisecond, a few far off.
            let jitter = match random.below(20) {
                0 => random.below(200_000_000),
                _ => random.below(1_500_000),
            };
            let nanos = base + (position * 300_000 + jitter) as i64;
            let words = [
                random.below(2) == 0,
                random.below(4) == 0,
                random.below(40) == 0,
            ];
            let number = (random.below(5) > 0).then(|| random.below(7) as i64);
            let text: Vec<&str> = ["often", "some", "rare"]
                .into_iter()
                .zip(words)
                .filter_map(|(word, has)| has.then_some(word))
                .collect();
            let number_field = number.map_or(String::new(), |number| format!(",\"k\":{number}"));
            let source = format!("{{\"m\":\"{}\"{number_field}}}", text.join(" "));
            let timestamp = Timestamp::from_nanos(nanos);
            let mut event = Event::create(index.clone(), timestamp, Bytes::from(source));
            event.id = Some(format!("e{position}").into());
            batch.push(event);
            let shard = index.shard_name(event::Day::of(timestamp));
            events.insert(
                position,
                Known {
                    nanos,
                    words,
                    number,
                    shard,
                },
            );
        }
        next = apply(&mut indexer, next, batch);
    }
    let doomed: Vec<u64> = events
        .keys()
        .copied()
        .filter(|_| random.below(10) == 0)
        .collect();
    let deletions: Vec<Event> = doomed
        .iter()
        .map(|position| {
            let known = &events[position];
            let timestamp = Timestamp::from_nanos(known.nanos);
            let mut event = Event::create(index.clone(), timestamp, Bytes::new());
            event.operation = Operation::Delete;
            event.id = Some(format!("e{position}").into());
            event
        })
        .collect();
    apply(&mut indexer, next, deletions);
    events.retain(|position, _| !doomed.contains(position));
    let log_index = indexer.log_index();
    // Opened once here, so that no search waits for an indexer that has stopped ticking.
    let snapshot = log_index.snapshot(|_| true);
    let target = snapshot
        .shards
        .iter()
        .map(|shard| (shard.id().clone(), TimeRange::ALL));
    World {
        target: SearchTarget(target.collect()),
        executor: Executor::new(Arc::new(Fixed(snapshot.shards)), 2),
        events,
        _dir: dir,
    }
}

fn apply(indexer: &mut Indexer, next: u64, events: Vec<Event>) -> u64 {
    let end = next + events.len() as u64;
    let now = Timestamp::parse_iso(NOW).unwrap();
    let batch = Batch::new("test".into(), now, events);
    indexer.apply(Position(next), &batch).unwrap();
    let log_index = indexer.log_index();
    std::thread::scope(|scope| {
        let refresh = scope.spawn(|| {
            let is_fresh = log_index.refresh(Position(end), Duration::from_secs(60));
            log_index.snapshot(|_| true);
            is_fresh
        });
        while !refresh.is_finished() {
            indexer.tick().unwrap();
        }
        assert!(refresh.join().unwrap());
    });
    end
}

/// Shards that were opened before.
struct Fixed(Vec<ShardReader>);

impl Shards for Fixed {
    fn shard_ids(&self) -> Vec<ShardId> {
        self.0.iter().map(|shard| shard.id().clone()).collect()
    }

    fn open(&self, wanted: &[ShardId]) -> (Vec<ShardReader>, Vec<ReadError>) {
        let wanted = self.0.iter().filter(|shard| wanted.contains(shard.id()));
        (wanted.cloned().collect(), Vec::new())
    }
}

/// A question, and what the model says of an event.
type Condition = (Filter, Box<dyn Fn(&Known) -> bool>);

fn word(at: usize) -> Filter {
    let words = ["often", "some", "rare"][at].to_owned();
    Filter::Leaf(Leaf::Words(Field::Any, words))
}

fn condition(random: &mut Random, last: i64) -> Condition {
    let base = Timestamp::parse_iso(BASE).unwrap().nanos();
    let span = (last - base) as u64;
    let (a, b) = (random.below(span) as i64, random.below(span) as i64);
    let range = TimeRange {
        first: Timestamp::from_nanos(base + a.min(b)),
        last: Timestamp::from_nanos(base + a.max(b)),
    };
    let during = move |known: &Known| range.contains(Timestamp::from_nanos(known.nanos));
    let at = random.below(3) as usize;
    match random.below(7) {
        0 => (Filter::All, Box::new(|_| true)),
        1 => (word(at), Box::new(move |known| known.words[at])),
        2 => (
            Filter::And(vec![word(0), word(1).negate()]),
            Box::new(|known| known.words[0] && !known.words[1]),
        ),
        3 => (Filter::During(range), Box::new(during)),
        4 => (
            Filter::And(vec![Filter::During(range), word(at)]),
            Box::new(move |known| during(known) && known.words[at]),
        ),
        5 => (
            Filter::any(vec![Filter::During(range), word(2)]),
            Box::new(move |known| during(known) || known.words[2]),
        ),
        _ => (
            Filter::Leaf(Leaf::Equals(Field::Named("k".into()), Scalar::Integer(3))),
            Box::new(|known| known.number == Some(3)),
        ),
    }
}

fn order(random: &mut Random) -> Vec<SortKey> {
    let descending = random.below(2) == 0;
    let key = |by: SortBy| SortKey {
        by,
        descending,
        missing: Missing::Last,
        pick: None,
    };
    let time = key(SortBy::Time(
        random.pick(&[Resolution::Millis, Resolution::Nanos]),
    ));
    let position = key(SortBy::Position);
    let number = key(SortBy::Field("k".to_owned(), Resolution::Millis));
    match random.below(6) {
        0 => vec![time],
        1 | 2 => vec![time, position],
        3 => vec![number, time],
        4 => vec![position],
        _ => vec![key(SortBy::ShardName), number, position],
    }
}

fn value(key: &SortKey, position: u64, known: &Known) -> SortValue {
    match &key.by {
        SortBy::Time(resolution) => {
            SortValue::Integer(resolution.of(Timestamp::from_nanos(known.nanos)))
        }
        SortBy::Position => SortValue::Integer(position as i64),
        SortBy::Field(..) => known.number.map_or(SortValue::Missing, SortValue::Integer),
        SortBy::ShardName => SortValue::Text(known.shard.clone()),
        SortBy::Nothing => SortValue::Integer(0),
    }
}

/// The model's answer: positions and places of all matching events, in order.
fn naive(
    world: &World,
    plan: &Plan,
    matches: &dyn Fn(&Known) -> bool,
) -> Vec<(u64, Vec<SortValue>)> {
    let mut found: Vec<(u64, Vec<SortValue>)> = world
        .events
        .iter()
        .filter(|(_, known)| matches(known))
        .map(|(position, known)| {
            let values = plan.order.iter().map(|key| value(key, *position, known));
            (*position, values.collect())
        })
        .collect();
    let descending = plan.order[0].descending;
    found.sort_by(|(a, a_values), (b, b_values)| {
        rank::compare_values(&plan.order, a_values, b_values).then_with(|| match descending {
            true => b.cmp(a),
            false => a.cmp(b),
        })
    });
    found
}

/// Goal: whatever is skipped, nothing is missed. Every answer equals the model's, whatever the segments, the threads,
/// the order and the page.
#[test]
fn every_answer_is_the_models() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    for seed in 1..=12u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let world = world(&mut random);
        let last = world
            .events
            .values()
            .map(|known| known.nanos)
            .max()
            .unwrap();
        for round in 0..60 {
            let (filter, matches) = condition(&mut random, last);
            let mut plan = Plan {
                filter,
                order: order(&mut random),
                from: random.below(4) as usize,
                size: random.pick(&[0, 1, 5, 20, 500]),
                count: random.pick(&[
                    Count::Nothing,
                    Count::UpTo(5),
                    Count::UpTo(10_000),
                    Count::Exactly,
                ]),
                ..Plan::default()
            };
            let mut expected = naive(&world, &plan, &*matches);
            let total = expected.len() as u64;
            if random.below(3) == 0 && !expected.is_empty() {
                let at = random.below(total) as usize;
                let keys = 1 + random.below(plan.order.len() as u64) as usize;
                let after = expected[at].1[..keys].to_vec();
                expected.retain(|(_, values)| {
                    rank::compare_values(&plan.order, &values[..keys], &after).is_gt()
                });
                plan.search_after = Some(after);
            }
            let page: Vec<(u64, Vec<SortValue>)> = expected
                .into_iter()
                .skip(plan.from)
                .take(plan.size)
                .collect();
            let budget = Budget::new(Duration::from_secs(60), u64::MAX);
            let search =
                world
                    .executor
                    .search(world.target.clone(), Arc::new(plan.clone()), budget);
            let answer = runtime.block_on(search).unwrap();
            let found: Vec<(u64, Vec<SortValue>)> = answer
                .hits
                .iter()
                .map(|hit| (hit.hit.position.0, hit.sort.clone()))
                .collect();
            assert_eq!(found, page, "seed {seed}, round {round}: {plan:?}");
            let told = answer
                .total
                .map(|total| (total.count, total.is_lower_bound));
            let expected_total = match plan.count {
                Count::Nothing => None,
                Count::UpTo(limit) => Some((total.min(limit), total > limit)),
                Count::Exactly => Some((total, false)),
            };
            assert_eq!(told, expected_total, "seed {seed}, round {round}: {plan:?}");
            assert!(!answer.timed_out && answer.failures.is_empty());
        }
    }
}

fn newest(size: usize) -> Arc<Plan> {
    Arc::new(Plan {
        size,
        count: Count::Exactly,
        ..Plan::default()
    })
}

#[tokio::test]
async fn out_of_time_is_a_partial_answer_and_out_of_memory_is_none() {
    let world = world(&mut Random(7));
    let budget = Budget::new(Duration::ZERO, u64::MAX);
    let answer = world
        .executor
        .search(world.target.clone(), newest(5), budget)
        .await;
    let answer = answer.unwrap();
    assert!(answer.timed_out && answer.hits.is_empty());

    // So is one that decompressed all it may, which is told before a wrong document is taken for a match.
    let unread = self::world(&mut Random(8));
    let all = || Budget::new(Duration::from_secs(60), u64::MAX);
    let plan = || {
        let rare = Filter::Leaf(Leaf::Words(Field::Any, "rare".into()));
        let filter = Filter::Not(Box::new(rare));
        Arc::new(Plan {
            filter,
            ..(*newest(500)).clone()
        })
    };
    let budget = all().decoding_at_most(1);
    let answer = unread
        .executor
        .search(unread.target.clone(), plan(), budget.clone())
        .await;
    let answer = answer.unwrap();
    assert!(answer.timed_out && budget.decoded_bytes() > 1);
    let whole = unread
        .executor
        .search(unread.target.clone(), plan(), all())
        .await;
    let whole = whole.unwrap();
    assert!(!whole.timed_out && whole.hits.len() > answer.hits.len());
    for hit in &answer.hits {
        let mut known = whole.hits.iter().map(|known| known.hit.position);
        assert!(
            known.any(|known| known == hit.hit.position),
            "{hit:?} is no match"
        );
    }

    let budget = Budget::new(Duration::from_secs(60), 1);
    let error = world
        .executor
        .search(world.target.clone(), newest(5), budget)
        .await;
    let error = error.unwrap_err();
    assert!(
        matches!(
            error,
            SearchError::Stopped(crate::limits::Stop::OutOfMemory)
        ),
        "{error}"
    );

    let budget = Budget::new(Duration::from_secs(60), u64::MAX);
    budget.cancel();
    let error = world
        .executor
        .search(world.target.clone(), newest(5), budget)
        .await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, SearchError::Stopped(crate::limits::Stop::Cancelled)),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_search() {
    let world = world(&mut Random(7));
    let budget = Budget::new(Duration::from_secs(60), u64::MAX);
    let search = world
        .executor
        .search(world.target.clone(), newest(5), budget.clone());
    // Polled once, so that it has begun, and dropped.
    tokio::select! {
        biased;
        _ = search => panic!("a search needs a blocking thread and cannot be done at once"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(budget.check(), Err(crate::limits::Stop::Cancelled));
}

/// Some shards, and one that cannot be read.
struct Broken(Vec<ShardReader>);

impl Shards for Broken {
    fn shard_ids(&self) -> Vec<ShardId> {
        Vec::new()
    }

    fn open(&self, _: &[ShardId]) -> (Vec<ShardReader>, Vec<ReadError>) {
        let error = ReadError {
            shard: "logs-2026.11.24".to_owned(),
            message: "checksum mismatch".to_owned(),
        };
        (self.0.clone(), vec![error])
    }
}

#[tokio::test]
async fn a_broken_shard_is_told_and_the_rest_answered() {
    let world = world(&mut Random(7));
    let ids: Vec<ShardId> = world.target.0.iter().map(|(id, _)| id.clone()).collect();
    let (readers, _) = world.executor.shards().open(&ids);
    let executor = Executor::new(Arc::new(Broken(readers)), 2);
    let budget = Budget::new(Duration::from_secs(60), u64::MAX);
    let answer = executor
        .search(world.target.clone(), newest(5), budget)
        .await
        .unwrap();
    assert_eq!(answer.hits.len(), 5);
    assert_eq!(answer.failures[0].shard, "logs-2026.11.24");
    assert_eq!(answer.shard_count, ids.len() + 1);

    let executor = Executor::new(Arc::new(Broken(Vec::new())), 2);
    let budget = Budget::new(Duration::from_secs(60), u64::MAX);
    let error = executor
        .search(world.target.clone(), newest(5), budget)
        .await
        .unwrap_err();
    assert!(matches!(error, SearchError::AllShardsFailed(failures) if failures.len() == 1));
}
