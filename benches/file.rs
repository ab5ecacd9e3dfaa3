//! Log files through a pipeline into a real journal, every batch fsynced before the next one goes.
//!
//! `cargo bench --bench file`; arguments without a dash choose the rows: `json`, `auto_json`, ... Fixed text read from
//! the page cache, a new journal for every run, on the disk that `TMPDIR` names. Prints the median of the runs, the
//! best one, and the process's own computing per run, the journal's among it. Asserts nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use collector::pipeline::{self, Pipeline};
use collector::source::SourceParts;
use collector::source::checkpoint::Entries;
use collector::source::file::{FileSource, Settings};
use event::{Ack, Append, AppendError, Batch, Ledger, Position, Timestamp};
use journal::{Journal as _, Kind, Local};
use tokio_util::sync::CancellationToken;

const TEXT_BYTES: usize = 100_000_000;
const RUNS: usize = 5;

/// Stops the source when everything is durable.
struct Durable {
    journal: Local,
    wanted: u64,
    seen: AtomicU64,
    shutdown: CancellationToken,
}

impl Append for Durable {
    fn append(
        &self,
        batch: Batch,
    ) -> Pin<Box<dyn Future<Output = Result<Ack, AppendError>> + Send + '_>> {
        Box::pin(async move {
            let (count, payload) = journal::events::encode(&batch).unwrap();
            let appended = self.journal.append(Kind::Events, count, payload).await;
            appended.unwrap();
            let events = batch.events.len() as u64;
            if self.seen.fetch_add(events, Ordering::Relaxed) + events >= self.wanted {
                self.shutdown.cancel();
            }
            Ok(Ack {
                outcomes: Vec::new(),
            })
        })
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("json.log");
    let access = folder.path().join("access.log");
    let json_lines = write_lines(&json, json_line);
    let access_lines = write_lines(&access, access_line);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    println!("{:<12} {:>8} {:>8} {:>8}", "", "MB/s", "best", "CPU s");
    let rows = [
        ("plain", None, &json, json_lines),
        (
            "json",
            Some(steps(r#"{"json":{"remove":true}}"#)),
            &json,
            json_lines,
        ),
        ("auto_json", Some(Pipeline::automatic()), &json, json_lines),
        (
            "auto_access",
            Some(Pipeline::automatic()),
            &access,
            access_lines,
        ),
        (
            "grok_access",
            Some(steps(r#"{"grok":{"pattern":"%{COMBINEDAPACHELOG}"}}"#)),
            &access,
            access_lines,
        ),
    ];
    for (name, pipeline, path, lines) in rows {
        if !wanted.is_empty() && !wanted.iter().any(|row| row == name) {
            continue;
        }
        let pipeline = pipeline.map(Arc::new);
        let cpu_before = cpu_seconds();
        let mut times: Vec<Duration> = (0..RUNS)
            .map(|_| read_once(&runtime, folder.path(), path, lines, pipeline.clone()))
            .collect();
        times.sort();
        let speed = |time: Duration| TEXT_BYTES as f64 / 1e6 / time.as_secs_f64();
        println!(
            "{name:<12} {:>8.1} {:>8.1} {:>8.2}",
            speed(times[RUNS / 2]),
            speed(times[0]),
            (cpu_seconds() - cpu_before) / RUNS as f64
        );
    }
}

fn steps(step: &str) -> Pipeline {
    let settings: pipeline::Settings =
        serde_json::from_str(&format!("{{\"steps\":[{step}]}}")).unwrap();
    Pipeline::compile("bench", &settings).unwrap()
}

fn read_once(
    runtime: &tokio::runtime::Runtime,
    folder: &Path,
    path: &Path,
    lines: u64,
    pipeline: Option<Arc<Pipeline>>,
) -> Duration {
    let dir = tempfile::tempdir_in(folder).unwrap();
    let shutdown = CancellationToken::new();
    let durable = Durable {
        journal: Local::open(journal::Settings::new(dir.path()), Position::ZERO).unwrap(),
        wanted: lines,
        seen: AtomicU64::new(0),
        shutdown: shutdown.clone(),
    };
    let parts = SourceParts {
        name: Arc::from("bench"),
        pipeline,
        append: Arc::new(durable),
        ledger: Ledger::new().source("bench"),
        host_name: Some("web-1".to_owned()),
        recovered: Entries::new(),
        // A minute behind the lines' own time.
        now: || Timestamp::from_nanos(1_795_428_060_000_000_000),
    };
    let settings = Settings::including(vec![path.display().to_string()]);
    let source = FileSource::new(&settings, parts).unwrap();
    let start = Instant::now();
    runtime.block_on(source.run(shutdown));
    start.elapsed()
}

/// Writes lines up to [`TEXT_BYTES`] and answers how many.
fn write_lines(path: &Path, line: fn(u64) -> String) -> u64 {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let (mut bytes, mut lines) = (0, 0);
    while bytes < TEXT_BYTES {
        let line = line(lines);
        bytes += line.len();
        lines += 1;
        file.write_all(line.as_bytes()).unwrap();
    }
    file.flush().unwrap();
    lines
}

fn json_line(n: u64) -> String {
    format!(
        "{{\"time\":\"2026-11-23T10:{:02}:{:02}.{:03}Z\",\"level\":\"info\",\"logger\":\"shop.checkout\",\"msg\":\"order {n} placed by \\\"web\\\"\",\"order_id\":{n},\"user\":{{\"id\":\"u-{}\",\"tier\":\"gold\"}},\"took_ms\":{}.{:03},\"items\":[1,2,3],\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e{:04x}\",\"ok\":true}}\n",
        n / 60 % 60,
        n % 60,
        n % 1000,
        n * 7919 % 90_000,
        n % 900,
        n % 1000,
        n % 65_536,
    )
}

fn access_line(n: u64) -> String {
    format!(
        "203.0.113.{} - - [23/Nov/2026:10:{:02}:{:02} +0000] \"GET /shop/item/{n}?ref=list HTTP/1.1\" 200 {} \"https://shop.example.org/list\" \"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\"\n",
        n % 250,
        n / 60 % 60,
        n % 60,
        n * 7919 % 90_000,
    )
}

/// What this process has computed so far, in user and system time.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    // Linux counts in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}
