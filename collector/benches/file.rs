//! How fast files become durable batches, without a journal behind: plain lines, and through detection and grok.
//!
//! Fixed text of access-log lines of about 190 bytes, read from the page cache.

use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use collector::pipeline::{self, Pipeline};
use collector::source::SourceParts;
use collector::source::checkpoint::Entries;
use collector::source::file::{FileSource, Settings};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{Ack, Append, AppendError, Batch, Ledger, Timestamp};
use tokio_util::sync::CancellationToken;

/// Counts events and stops the source when all of them came.
struct Counter {
    wanted: u64,
    seen: AtomicU64,
    shutdown: CancellationToken,
}

impl Append for Counter {
    fn append(
        &self,
        batch: Batch,
    ) -> Pin<Box<dyn Future<Output = Result<Ack, AppendError>> + Send + '_>> {
        let events = batch.events.len() as u64;
        let seen = self.seen.fetch_add(events, Ordering::Relaxed) + events;
        if seen >= self.wanted {
            self.shutdown.cancel();
        }
        Box::pin(std::future::ready(Ok(Ack {
            outcomes: Vec::new(),
        })))
    }
}

fn read_once(
    runtime: &tokio::runtime::Runtime,
    path: &str,
    lines: u64,
    pipeline: Option<Arc<Pipeline>>,
) -> Duration {
    let shutdown = CancellationToken::new();
    let counter = Counter {
        wanted: lines,
        seen: AtomicU64::new(0),
        shutdown: shutdown.clone(),
    };
    let parts = SourceParts {
        name: Arc::from("bench"),
        pipeline,
        append: Arc::new(counter),
        ledger: Ledger::new().source("bench"),
        host_name: Some("web-1".to_owned()),
        recovered: Entries::new(),
        now: Timestamp::now,
    };
    let settings = Settings::including(vec![path.to_owned()]);
    let source = FileSource::new(&settings, parts).expect("the settings are right");
    let start = Instant::now();
    runtime.block_on(source.run(shutdown));
    start.elapsed()
}

fn file_source(criterion: &mut Criterion) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let (lines, mut bytes) = (150_000u64, 0u64);
    for n in 0..lines {
        let line = format!(
            "203.0.113.{} - - [23/Nov/2026:10:{:02}:{:02} +0000] \"GET /shop/item/{n}?ref=list HTTP/1.1\" 200 {} \"https://shop.example.org/list\" \"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\"\n",
            n % 250,
            n / 60 % 60,
            n % 60,
            n * 7919 % 90_000,
        );
        bytes += line.len() as u64;
        file.write_all(line.as_bytes()).expect("room on the disk");
    }
    let path = file.path().display().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let settings: pipeline::Settings =
        serde_json::from_str(r#"{"steps":[{"grok":{"pattern":"%{COMBINEDAPACHELOG}"}}]}"#)
            .expect("right settings");
    let grok = Arc::new(Pipeline::compile("web", &settings).expect("right patterns"));

    let mut group = criterion.benchmark_group("file");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_millis(500));
    let detect = Arc::new(Pipeline::automatic());
    for (name, pipeline) in [
        ("plain", None),
        ("detect", Some(detect)),
        ("grok", Some(grok)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| read_once(&runtime, &path, lines, pipeline.clone()))
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, file_source);
criterion_main!(benches);
