//! Random questions to random indices, compared with a plain scan that looks at every value of every document.
//!
//! Goal: whatever a shard does inside, it answers what its documents say, and gives each back byte for byte. The same
//! holds whatever the segments and days the documents lie in, and whatever was replaced or deleted on the way.
//!
//! A pair is one corpus and one question; a corpus is asked a hundred. SCAN_PAIRS says how many pairs (2000), SCAN_SEED
//! the seed of the first corpus (0); the next corpus has the next seed. A failure prints the seed that brings it back.
//!
//! # Corners left out
//!
//! Where the index as it first was answers in a way that nobody would rely on, either answer is taken, or the question is
//! not asked:
//!
//! - A search without a field name may or may not see a `@timestamp` that says what the event's own time says.
//! - `Equals` without a field name compares spellings. It need not find a number or time that is spelled in another way
//!   (`1.0` for 1), nor a value without any word (`""`, `-`). `Words` need not find 0.470, which is spelled 0.47, by `0.470`.
//! - A phrase or pattern on a number, boolean or time that stands in one array with a full text.
//! - Patterns on whole numbers of a field that also has numbers with a fraction or above `i64::MAX`: which of them share a
//!   segment, deleted ones too, decides whether they are spelled.
//! - A pattern that spans words and begins or ends with `?`, or between two Han or Hiragana characters, or between the
//!   pieces of a run of more than 255 characters: whether there is a word border.
//! - Characters that the `regex` crate and the index's words tell apart differently (`²`, `½`, `‿`, `।`): not generated.
//! - Whole numbers above 2^53 in a field that has doubles, and bounds of that size for doubles; minus zero.
//! - Numbers of more than 15 digits with a fraction: parsers differ in the last bit.
//! - A field `f.keyword` beside a field `f`, and `trace_id` beside `trace.id`: which is meant depends on the segment.
//!   So it does whether `f.keyword` exists where `f` is an object in some events and a value in others.
//! - Field names that are empty or nothing but dots. Such keys are stored and found without a field name.
//! - Ranges without a field name, which match nothing, and documents nested deeper than 256 levels.

#![allow(clippy::unwrap_used)]

mod scan;
mod store;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use event::{Event, IndexName, Operation, Position};
use indexer::Settings;
use indexer::logs::{Hit, Leaf, Snapshot};

use scan::columns;
use scan::corpora::{Corpus, Id, Sent, Step};
use scan::document::Document;
use scan::questions::Asker;
use scan::random::Random;
use scan::reference::{Answer, Facts, Question};
use store::{NOW, Store, hits, time};

const QUESTIONS_PER_CORPUS: usize = 100;

/// What was asked and found, to see that the questions are worth asking.
#[derive(Debug, Default)]
struct Counts {
    corpora: usize,
    pairs: usize,
    /// Pairs that found some documents, and not all.
    telling: usize,
    hits: usize,
    unsettled: usize,
}

#[test]
fn every_answer_is_that_of_a_scan() {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        text.parse::<u64>().ok()
    };
    let pairs = number("SCAN_PAIRS").unwrap_or(2_000) as usize;
    let mut seed = number("SCAN_SEED").unwrap_or(0);
    let mut counts = Counts::default();
    while counts.pairs < pairs {
        ask_corpus(seed, &mut counts);
        seed += 1;
    }
    println!("{counts:?}");
    // Questions that find nothing, or everything, test little.
    let has_many = counts.pairs >= 1_000;
    assert!(!has_many || counts.telling * 2 > counts.pairs, "{counts:?}");
    assert!(
        !has_many || counts.unsettled * 10 < counts.hits,
        "{counts:?}"
    );
}

/// Builds the corpus of a seed and asks it.
fn ask_corpus(seed: u64, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let corpus = Corpus::new(seed, &mut random);
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        refresh_interval: Duration::ZERO,
        writer_threads: random.between(1, 2),
        ..Settings::new(dir.path())
    };
    let mut store = Store::open_with(settings, Position::ZERO);
    let (documents, facts) = send(&mut store, &corpus);
    let snapshot = store.snapshot();
    counts.corpora += 1;
    let event_count: u64 = snapshot
        .shards
        .iter()
        .map(|shard| shard.event_count())
        .sum();
    assert_eq!(event_count, documents.len() as u64, "SCAN_SEED={seed}");
    if documents.is_empty() {
        return;
    }
    if let Err(difference) = columns::compare(&snapshot, &documents, facts.paths()) {
        panic!(
            "SCAN_SEED={seed} SCAN_PAIRS=1 brings it back: {:?}\n{difference}",
            corpus.kind
        );
    }
    let list: Vec<&Document> = documents.values().collect();
    let asker = Asker {
        documents: &list,
        facts: &facts,
    };
    let everything = Leaf::Exists("@timestamp".into());
    for number in 0..QUESTIONS_PER_CORPUS {
        let leaf = match number {
            0 => everything.clone(),
            _ => asker.leaf(&mut random),
        };
        if let Err(difference) = compare(&snapshot, &documents, &facts, &leaf, counts) {
            panic!(
                "SCAN_SEED={seed} SCAN_PAIRS=1 brings it back: {:?}, question {number}\n{leaf:#?}\n{difference}",
                corpus.kind
            );
        }
    }
}

/// Sends a corpus. Answers what can be found afterwards, by position, and what is known of all that was sent.
fn send(store: &mut Store, corpus: &Corpus) -> (BTreeMap<u64, Document>, Facts) {
    let log_index = store.indexer.log_index();
    let ids = log_index.event_ids();
    let mut documents: BTreeMap<u64, Document> = BTreeMap::new();
    let mut facts = Facts::default();
    for step in &corpus.steps {
        let batch = match step {
            Step::Add(batch) => batch,
            Step::Refresh => {
                let _ = store.snapshot();
                continue;
            }
        };
        let mut events = Vec::new();
        for sent in batch {
            let position = store.next.plus(events.len() as u64);
            let id = match &sent.id {
                Id::None => ids.id_of(position),
                Id::Given(id) => id.clone(),
                Id::Made(position) => ids.id_of(Position(*position)),
            };
            documents.retain(|_, document| document.id != id);
            if sent.operation != Operation::Delete {
                let document = Document::read(id.clone(), &sent.source, sent.timestamp, time(NOW));
                facts.learn(&document);
                documents.insert(position.0, document);
            }
            events.push(event(sent, id));
        }
        store.add(events);
    }
    (documents, facts)
}

fn event(sent: &Sent, id: String) -> Event {
    Event {
        id: (sent.id != Id::None).then(|| id.into()),
        operation: sent.operation,
        ..Event::create(
            IndexName::default_index(),
            sent.timestamp,
            Bytes::copy_from_slice(sent.source.as_bytes()),
        )
    }
}

/// Asks the index and the scan.
///
/// # Errors
/// What differs, with the documents.
fn compare(
    snapshot: &Snapshot,
    documents: &BTreeMap<u64, Document>,
    facts: &Facts,
    leaf: &Leaf,
    counts: &mut Counts,
) -> Result<(), String> {
    let question = Question::new(leaf, facts);
    let mut found: BTreeMap<u64, Bytes> = BTreeMap::new();
    for hit in hits(snapshot, leaf) {
        if found.insert(hit.position.0, hit.source).is_some() {
            return Err(format!("document {} is found twice", hit.position.0));
        }
        let known = documents.get(&hit.position.0);
        if known.is_none_or(|document| document.id != hit.id) {
            return Err(format!(
                "document {} is not there, or not by the id {}",
                hit.position.0, hit.id
            ));
        }
    }
    // What blocks answered is kept: asking again is another path.
    let again = hits(snapshot, leaf);
    let again: Vec<u64> = again.iter().map(|hit| hit.position.0).collect();
    if !again.iter().eq(found.keys()) {
        return Err(format!(
            "asked again, {again:?} instead of {:?}",
            found.keys()
        ));
    }
    let firsts = snapshot.shards.iter();
    let firsts: Vec<Hit> = firsts
        .filter_map(|shard| shard.first_event(leaf).unwrap())
        .collect();
    let are_known = firsts
        .iter()
        .all(|hit| found.get(&hit.position.0) == Some(&hit.source));
    if !are_known || firsts.is_empty() != found.is_empty() {
        return Err(format!(
            "the first events are {firsts:?} of {} found",
            found.len()
        ));
    }
    let mut difference = String::new();
    for (position, document) in documents {
        let is_found = found.get(position);
        let source = &document.source;
        match (question.ask(document), is_found) {
            (Answer::Yes, None) => {
                difference.push_str(&format!("not found {position}: {source}\n"))
            }
            (Answer::No, Some(_)) => difference.push_str(&format!("found {position}: {source}\n")),
            (Answer::Unsettled, _) => counts.unsettled += 1,
            _ => {}
        }
        if is_found.is_some_and(|found| found != source.as_bytes()) {
            difference.push_str(&format!(
                "not as it was sent {position}: {source}\n{is_found:?}\n"
            ));
        }
    }
    counts.pairs += 1;
    counts.hits += found.len();
    counts.telling += usize::from(!found.is_empty() && found.len() < documents.len());
    if difference.is_empty() {
        Ok(())
    } else {
        Err(difference)
    }
}
