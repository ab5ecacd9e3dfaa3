//! A whole corpus through the indexer: megabytes a second, bytes on disk, latencies of the log explorer's queries.
//!
//! `DAYBOOK_CORPUS=corpus.ndjson cargo bench -p indexer --bench corpus`; without the variable it takes a small generated
//! corpus, so that it always runs; `adversarial/` has two names that stand for corpora. Prints a table; asserts nothing. CPU is that of the whole process.
//!
//! `DAYBOOK_BENCH_DIR` keeps the data directory, or searches one that was kept; `DAYBOOK_BENCH_QUERY` asks only
//! questions whose name has this in it, `DAYBOOK_BENCH_TIMES` so often.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};
use indexer::logs::{Field, Leaf, Pattern, Scalar, Snapshot};
use indexer::{Catalog, Indexer, Settings, folder_bytes};
use tantivy::query::{BooleanQuery, EnableScoring, Query};
use tantivy::{DocSet, TERMINATED};

mod adversarial;

const BATCH_BYTES: usize = 1024 * 1024;

fn main() {
    // A folder of an earlier run is searched without taking the corpus in again.
    if let Some(dir) = std::env::var_os("DAYBOOK_BENCH_DIR").filter(|dir| Path::new(dir).exists()) {
        query(Path::new(&dir));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let corpus = std::env::var("DAYBOOK_CORPUS").ok();
    let adversarial = corpus.as_deref().and_then(adversarial::lines);
    let batches: Box<dyn Iterator<Item = (usize, Vec<Event>)>> = match (adversarial, &corpus) {
        (Some(lines), Some(name)) => {
            tell_zstd(name);
            Box::new(batches_of(lines))
        }
        (_, Some(path)) => Box::new(batches(Path::new(path))),
        (_, None) => Box::new(generated()),
    };
    ingest(dir.path(), batches);
    query(dir.path());
    if let Some(kept) = std::env::var_os("DAYBOOK_BENCH_DIR") {
        std::fs::rename(dir.keep(), kept).unwrap();
    }
}

fn ingest(dir: &Path, batches: Box<dyn Iterator<Item = (usize, Vec<Event>)>>) {
    let mut indexer = open(dir);
    let mut position = Position::ZERO;
    let (mut bytes, mut reading) = (0, Duration::ZERO);
    let started = Instant::now();
    let mut resumed = Instant::now();
    for (read_bytes, events) in batches {
        reading += resumed.elapsed();
        bytes += read_bytes;
        let count = events.len() as u64;
        indexer
            .apply(
                position,
                &Batch::new("bench".into(), Timestamp::now(), events),
            )
            .unwrap();
        indexer.tick().unwrap();
        position = position.plus(count);
        resumed = Instant::now();
    }
    indexer.close().unwrap();
    let wall = started.elapsed().saturating_sub(reading).as_secs_f64();
    let megabytes = bytes as f64 / 1e6;
    let disk = folder_bytes(&dir.join("logs")) as f64 / 1e6;
    println!("events {position}, {megabytes:.1} MB");
    println!(
        "ingest {wall:.2} s, {:.1} MB/s (reading {:.2} s apart)",
        megabytes / wall,
        reading.as_secs_f64()
    );
    println!(
        "cpu {:.2} s, {:.1} s/GB, peak {:.0} MB",
        cpu_seconds(),
        cpu_seconds() / megabytes * 1000.0,
        peak_megabytes()
    );
    println!("disk {disk:.1} MB, {:.3} of raw", disk / megabytes);
    let mut by_kind = std::collections::BTreeMap::new();
    add_files(&dir.join("logs"), &mut by_kind);
    println!("disk by kind: {by_kind:?}");
}

fn query(dir: &Path) {
    let indexer = open(dir);
    let snapshot = indexer.log_index().snapshot(|_| true);
    let segments: usize = snapshot
        .shards
        .iter()
        .map(|shard| shard.searcher().segment_readers().len())
        .sum();
    println!("shards {}, segments {segments}", snapshot.shards.len());
    let words = |text: &str| Leaf::Words(Field::Any, text.into());
    let message = || Field::Named("message".into());
    let time = |text: &str| Scalar::Time(Timestamp::parse_iso(text).unwrap());
    let hour = Leaf::Range(
        Field::Named("@timestamp".into()),
        Bound::Included(time("2026-03-01T10:00:00Z")),
        Bound::Excluded(time("2026-03-01T11:00:00Z")),
    );
    let level = Leaf::Equals(Field::Named("level".into()), Scalar::Text("error".into()));
    let questions: Vec<(&str, Vec<Leaf>)> = vec![
        ("rare id", vec![words("blk_-1608999687919862906")]),
        ("medium word", vec![words("verification")]),
        ("frequent variable", vec![words("50010")]),
        ("frequent word", vec![words("error")]),
        ("static phrase", vec![words("got exception while")]),
        (
            "phrase over a variable",
            vec![words("PacketResponder 1 for")],
        ),
        (
            "prefix",
            vec![Leaf::WordPattern(
                Field::Any,
                Pattern::Wildcard("blk_1*".into()),
            )],
        ),
        (
            "substring",
            vec![Leaf::WordPattern(
                message(),
                Pattern::Wildcard("*timeout*".into()),
            )],
        ),
        (
            "level and word in 1 h",
            vec![level, words("connection"), hour.clone()],
        ),
        ("one hour", vec![hour]),
        (
            "service equals",
            vec![Leaf::Equals(
                Field::Named("service".into()),
                Scalar::Text("nginx".into()),
            )],
        ),
        (
            "service word",
            vec![Leaf::Words(Field::Named("service".into()), "nginx".into())],
        ),
        (
            "status 404",
            vec![Leaf::Equals(
                Field::Named("status".into()),
                Scalar::Integer(404),
            )],
        ),
    ];
    let wanted = std::env::var("DAYBOOK_BENCH_QUERY").unwrap_or_default();
    let repeats = std::env::var("DAYBOOK_BENCH_TIMES");
    let repeats = repeats.map_or(8, |times| times.parse().unwrap());
    for (name, leaves) in questions {
        if !name.contains(&wanted) {
            continue;
        }
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..repeats {
            let started = Instant::now();
            found = count(&snapshot, &leaves);
            times.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        let first = times.remove(0);
        times.sort_by(f64::total_cmp);
        println!(
            "{name:<24} {found:>9} hits  first {first:>8.2} ms  warm {:>8.2} ms  best {:>8.2} ms",
            times[times.len() / 2],
            times[0]
        );
    }
}

fn count(snapshot: &Snapshot, leaves: &[Leaf]) -> usize {
    let mut found = 0;
    for shard in &snapshot.shards {
        let queries: Vec<Box<dyn Query>> = leaves
            .iter()
            .map(|leaf| shard.query(leaf).unwrap())
            .collect();
        let query = BooleanQuery::intersection(queries);
        let weight = query
            .weight(EnableScoring::disabled_from_searcher(shard.searcher()))
            .unwrap();
        for reader in shard.searcher().segment_readers() {
            let mut scorer = weight.scorer(reader, 1.0).unwrap();
            while scorer.doc() != TERMINATED {
                found += 1;
                scorer.advance();
            }
        }
    }
    found
}

fn open(dir: &Path) -> Indexer {
    let catalog = Arc::new(Catalog::open(dir).unwrap());
    Indexer::open(
        Settings::new(dir),
        catalog,
        Arc::new(Ledger::new()),
        Position::ZERO,
    )
    .unwrap()
}

fn batches(path: &Path) -> impl Iterator<Item = (usize, Vec<Event>)> + use<> {
    let mut reader = BufReader::with_capacity(BATCH_BYTES, std::fs::File::open(path).unwrap());
    std::iter::from_fn(move || {
        let mut text = Vec::with_capacity(BATCH_BYTES + 4096);
        while text.len() < BATCH_BYTES && reader.read_until(b'\n', &mut text).unwrap() > 0 {}
        (!text.is_empty()).then(|| (text.len(), events(&Bytes::from(text))))
    })
}

fn batches_of(
    mut lines: impl Iterator<Item = Vec<u8>>,
) -> impl Iterator<Item = (usize, Vec<Event>)> {
    std::iter::from_fn(move || {
        let mut text = BytesMut::with_capacity(BATCH_BYTES + 4096);
        while text.len() < BATCH_BYTES
            && let Some(line) = lines.next()
        {
            text.extend_from_slice(&line);
            text.extend_from_slice(b"\n");
        }
        (!text.is_empty()).then(|| (text.len(), events(&text.freeze())))
    })
}

/// What zstd makes of the same lines, at the level that frames are compressed with.
fn tell_zstd(name: &str) {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let mut bytes = 0;
    for line in adversarial::lines(name).into_iter().flatten() {
        bytes += line.len() + 1;
        encoder.write_all(&line).unwrap();
        encoder.write_all(b"\n").unwrap();
    }
    let compressed = encoder.finish().unwrap().len();
    println!(
        "zstd -1 of the lines: {:.1} MB, {:.3} of raw",
        compressed as f64 / 1e6,
        compressed as f64 / bytes as f64
    );
}

fn generated() -> impl Iterator<Item = (usize, Vec<Event>)> {
    (0..20u64).map(|batch| {
        let mut text = BytesMut::new();
        for line in 0..1000 {
            let number = batch * 1000 + line;
            let line = format!(
                "{{\"@timestamp\":\"2026-03-01T10:{:02}:00Z\",\"service\":\"api\",\"level\":\"info\",\"message\":\"request {number} took {} ms\"}}\n",
                number % 60,
                number * 7 % 1000
            );
            text.extend_from_slice(line.as_bytes());
        }
        (text.len(), events(&text.freeze()))
    })
}

fn events(text: &Bytes) -> Vec<Event> {
    let index = IndexName::default_index();
    let mut events = Vec::new();
    let mut start = 0;
    for end in text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at)
    {
        let source = text.slice(start..end);
        let at = source
            .windows(14)
            .position(|window| window == b"\"@timestamp\":\"")
            .map_or(0, |at| at + 14);
        let length = source[at..].iter().position(|byte| *byte == b'"').unwrap();
        let timestamp =
            Timestamp::parse_iso(std::str::from_utf8(&source[at..at + length]).unwrap()).unwrap();
        events.push(Event::create(index.clone(), timestamp, source));
        start = end + 1;
    }
    events
}

fn add_files(folder: &Path, by_kind: &mut std::collections::BTreeMap<String, u64>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            add_files(&entry.path(), by_kind);
        } else {
            let kind = entry
                .path()
                .extension()
                .map_or("none".into(), |kind| kind.to_string_lossy().into_owned());
            *by_kind.entry(kind).or_default() += metadata.len() / 1000;
        }
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1000.0
}
