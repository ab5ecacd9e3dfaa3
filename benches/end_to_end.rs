//! The whole appliance over HTTP: a corpus through `_bulk` with fsync before each OK, then the log explorer's queries.
//!
//! `DAYBOOK_CORPUS=corpus.ndjson cargo bench --bench end_to_end`; without the variable it makes a small corpus itself, so
//! that it always runs; `random-words` and `random-ids` stand for the worst. Prints a table; asserts nothing. CPU and memory are those of the server's process, read from
//! `/proc`; the client's own CPU competes with it for the cores.
//!
//! `DAYBOOK_BENCH_DIR` keeps the data directory, or searches one that was kept; with `DAYBOOK_BENCH_CORE` the server that
//! is searched has that core alone.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[path = "../indexer/benches/adversarial/mod.rs"]
mod adversarial;
mod server;

use server::Server;

/// Documents are sent in requests of about this size, the size most shippers use.
const REQUEST_BYTES: usize = 1024 * 1024;

/// Requests under way at the same time.
const CONNECTIONS: usize = 4;

/// Events whose way from OK to found is measured.
const PROBES: usize = 200;

/// Warm runs of each query.
const RUNS: usize = 9;

#[tokio::main]
async fn main() {
    let kept = std::env::var_os("DAYBOOK_BENCH_DIR").map(PathBuf::from);
    if let Some(dir) = kept.as_deref().filter(|dir| dir.exists()) {
        let server = start(dir).await;
        server.queries().await;
        server.stop();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    println!("idle RSS {:.1} MB", server.megabytes("VmRSS"));
    let (sent_bytes, sustained) = server.ingest().await;
    let raw = sent_bytes as f64 / 1e6;
    println!(
        "loaded RSS now {:.1} MB, anonymous {:.1} MB",
        server.megabytes("VmRSS"),
        server.megabytes("RssAnon")
    );
    server.queries().await;
    server.stop();
    let logs = folder_bytes(&dir.path().join("logs")) as f64 / 1e6;
    println!(
        "disk after a stop: logs {logs:.1} MB, {:.3} of raw",
        logs / raw
    );
    let server = start(dir.path()).await;
    if let Some(kept) = kept {
        server.stop();
        std::fs::rename(dir.keep(), kept).unwrap();
        return;
    }
    server.freshness(sustained / 2.0).await;
    server.stop();
}

async fn start(dir: &Path) -> Server {
    Server::start(dir, "syslog_udp: off, syslog_tcp: off", "{}").await
}

impl Server {
    /// Sends the corpus and waits until all of it is found. Answers its bytes, and how many MB a second that was.
    async fn ingest(&self) -> (u64, f64) {
        let (queue, requests) = tokio::sync::mpsc::channel::<(usize, Vec<u8>)>(CONNECTIONS * 2);
        let reader = std::thread::spawn(move || read_requests(&queue));
        let requests = std::sync::Arc::new(tokio::sync::Mutex::new(requests));
        let cpu_before = self.cpu_seconds();
        let started = Instant::now();
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            let (requests, client, url) = (
                requests.clone(),
                self.client.clone(),
                self.url("/_bulk?filter_path=errors"),
            );
            senders.push(tokio::spawn(async move {
                let mut slowest = Duration::ZERO;
                loop {
                    let Some((_, body)) = requests.lock().await.recv().await else {
                        return slowest;
                    };
                    slowest = slowest.max(send_bulk(&client, &url, body).await);
                }
            }));
        }
        let mut slowest = Duration::ZERO;
        for sender in senders {
            slowest = slowest.max(sender.await.unwrap());
        }
        let (events, raw_bytes) = reader.join().unwrap();
        let accepted = started.elapsed().as_secs_f64();
        self.client
            .post(self.url("/_refresh"))
            .send()
            .await
            .unwrap();
        while self.count().await < events {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let found = started.elapsed().as_secs_f64();
        let (megabytes, cpu) = (raw_bytes as f64 / 1e6, self.cpu_seconds() - cpu_before);
        println!("events {events}, {megabytes:.1} MB of documents");
        println!(
            "accepted in {accepted:.2} s, {:.1} MB/s; slowest request {slowest:.0?}",
            megabytes / accepted
        );
        println!(
            "all found in {found:.2} s, {:.1} MB/s sustained",
            megabytes / found
        );
        println!(
            "server CPU {cpu:.2} s, {:.1} s/GB",
            cpu / megabytes * 1000.0
        );
        println!("peak RSS {:.1} MB", self.megabytes("VmHWM"));
        let (logs, journal) = (
            folder_bytes(&self.data_dir.join("logs")),
            folder_bytes(&self.data_dir.join("journal")),
        );
        println!(
            "disk now: logs {:.1} MB, journal {:.1} MB",
            logs as f64 / 1e6,
            journal as f64 / 1e6
        );
        (raw_bytes, megabytes / found)
    }

    /// How long after its OK an event is found, while the corpus comes in once more at a given rate.
    async fn freshness(&self, megabytes_per_second: f64) {
        let (queue, mut requests) = tokio::sync::mpsc::channel::<(usize, Vec<u8>)>(CONNECTIONS);
        // It ends by itself when nobody takes requests any more.
        std::thread::spawn(move || read_requests(&queue));
        let (client, url) = (self.client.clone(), self.url("/_bulk?filter_path=errors"));
        let stream = tokio::spawn(async move {
            let (started, mut sent_bytes) = (Instant::now(), 0);
            while let Some((_, body)) = requests.recv().await {
                sent_bytes += body.len();
                let due = sent_bytes as f64 / 1e6 / megabytes_per_second;
                let due = started + Duration::from_secs_f64(due);
                tokio::time::sleep_until(due.into()).await;
                send_bulk(&client, &url, body).await;
            }
        });
        let mut waits = Vec::new();
        for number in 0..PROBES {
            let word = format!("probe{number}x");
            let body =
                format!("{{\"create\":{{\"_index\":\"logs\"}}}}\n{{\"message\":\"{word}\"}}\n");
            let url = self.url("/_bulk?filter_path=errors");
            send_bulk(&self.client, &url, body.into_bytes()).await;
            let accepted = Instant::now();
            let question = self.url(&format!("/_count?q={word}"));
            while self.count_at(&question).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            waits.push(accepted.elapsed());
        }
        stream.abort();
        waits.sort();
        println!(
            "found after its OK, at {megabytes_per_second:.1} MB/s: p50 {:.0?}, p99 {:.0?}, max {:.0?}",
            waits[PROBES / 2],
            waits[PROBES * 99 / 100 - 1],
            waits[PROBES - 1]
        );
    }

    async fn count(&self) -> u64 {
        self.count_at(&self.url("/_count")).await
    }

    async fn count_at(&self, url: &str) -> u64 {
        let reply = self.client.get(url).send().await.unwrap();
        reply.json::<Value>().await.unwrap()["count"]
            .as_u64()
            .unwrap()
    }

    /// An id that few events have: the trace of one in the middle of the day; in the small corpus a number.
    async fn needle(&self) -> String {
        let question = json!({ "size": 1, "sort": [{ "@timestamp": "asc" }], "query": { "bool": { "filter": [
            { "exists": { "field": "trace_id" } }, { "range": { "@timestamp": { "gte": "2026-03-01T12:00:00Z" } } } ] } } });
        let reply = self
            .client
            .post(self.url("/_search"))
            .json(&question)
            .send()
            .await
            .unwrap();
        let answer: Value = reply.json().await.unwrap();
        let trace = answer["hits"]["hits"][0]["_source"]["trace_id"].as_str();
        trace.unwrap_or("19999").to_owned()
    }

    async fn queries(&self) {
        let text =
            |query: &str| json!({"query_string": {"query": query, "analyze_wildcard": true}});
        let hour = json!({"range": {"@timestamp": {"gte": "2026-03-01T10:00:00Z", "lt": "2026-03-01T11:00:00Z"}}});
        let newest = |query: Value, size: u32| json!({"size": size, "query": query, "sort": [{"@timestamp": "desc"}], "track_total_hits": false});
        let count = |query: Value| json!({"size": 0, "query": query, "track_total_hits": true});
        let questions = [
            ("needle, rows", newest(text(&self.needle().await), 20)),
            ("newest 20, frequent word", newest(text("error"), 20)),
            (
                "newest 500, everything",
                newest(json!({"match_all": {}}), 500),
            ),
            ("medium word, count", count(text("verification"))),
            ("frequent variable, count", count(text("50010"))),
            ("frequent word, count", count(text("error"))),
            (
                "static phrase, count",
                count(text("\"got exception while\"")),
            ),
            (
                "phrase over a variable",
                count(text("\"PacketResponder 1 for\"")),
            ),
            ("prefix, count", count(text("blk_1*"))),
            ("substring, count", count(text("message:*timeout*"))),
            (
                "level and word in 1 h",
                count(
                    json!({"bool": {"filter": [text("level:error AND connection"), hour.clone()]}}),
                ),
            ),
            ("one hour, count", count(hour)),
            (
                "histogram by level",
                json!({"size": 0, "query": text("error"), "aggs": {"2": {"terms": {"field": "level"}, "aggs": {"3":
                    {"date_histogram": {"field": "@timestamp", "fixed_interval": "30m", "min_doc_count": 0}}}}}}),
            ),
            (
                "terms, top 10 paths",
                json!({"size": 0, "aggs": {"1": {"terms": {"field": "path", "size": 10}}}}),
            ),
        ];
        for (name, body) in questions {
            let mut times = Vec::new();
            let mut answer = Value::Null;
            for _ in 0..=RUNS {
                let started = Instant::now();
                let reply = self
                    .client
                    .post(self.url("/_search"))
                    .json(&body)
                    .send()
                    .await
                    .unwrap();
                answer = reply.json().await.unwrap();
                times.push(started.elapsed().as_secs_f64() * 1000.0);
            }
            let first = times.remove(0);
            times.sort_by(f64::total_cmp);
            let found = match answer["hits"]["total"]["value"].as_u64() {
                Some(total) => format!("{total} found"),
                None => format!(
                    "{} rows",
                    answer["hits"]["hits"].as_array().map_or(0, Vec::len)
                ),
            };
            println!(
                "{name:<26} {found:>16}  first {first:>8.1} ms  warm {:>8.1} ms  max {:>8.1} ms",
                times[RUNS / 2],
                times[RUNS - 1]
            );
        }
    }
}

/// Sends one request until it is taken. Answers how long the slowest answer took.
async fn send_bulk(client: &reqwest::Client, url: &str, body: Vec<u8>) -> Duration {
    let mut slowest = Duration::ZERO;
    loop {
        let sent = Instant::now();
        let request = client
            .post(url)
            .header("content-type", "application/x-ndjson")
            .body(body.clone());
        let reply = request.send().await.unwrap();
        slowest = slowest.max(sent.elapsed());
        if reply.status() != 429 {
            let text = reply.text().await.unwrap();
            assert!(
                text.contains("\"errors\":false"),
                "{}",
                text.chars().take(400).collect::<String>()
            );
            return slowest;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Cuts the corpus into `_bulk` requests. Answers how many documents and bytes of them there were.
fn read_requests(queue: &tokio::sync::mpsc::Sender<(usize, Vec<u8>)>) -> (u64, u64) {
    let corpus = std::env::var("DAYBOOK_CORPUS").ok();
    let adversarial = corpus.as_deref().and_then(adversarial::lines);
    let lines: Box<dyn Iterator<Item = Vec<u8>>> = match (adversarial, corpus) {
        (Some(lines), _) => Box::new(lines),
        (None, Some(path)) => Box::new(
            BufReader::with_capacity(1 << 20, std::fs::File::open(path).unwrap())
                .split(b'\n')
                .map(Result::unwrap),
        ),
        (None, None) => Box::new((0..20_000).map(generated_line)),
    };
    let (mut events, mut bytes, mut in_request) = (0, 0, 0);
    let mut body = Vec::with_capacity(REQUEST_BYTES + 4096);
    for line in lines {
        events += 1;
        in_request += 1;
        bytes += line.len() as u64 + 1;
        body.extend_from_slice(b"{\"create\":{\"_index\":\"logs\"}}\n");
        body.extend_from_slice(&line);
        body.push(b'\n');
        if body.len() >= REQUEST_BYTES {
            let request = std::mem::replace(&mut body, Vec::with_capacity(REQUEST_BYTES + 4096));
            let sent = queue.blocking_send((std::mem::take(&mut in_request), request));
            if sent.is_err() {
                break;
            }
        }
    }
    if !body.is_empty() {
        // Nobody may be left to take it.
        let _ = queue.blocking_send((in_request, body));
    }
    (events, bytes)
}

fn generated_line(number: u32) -> Vec<u8> {
    let (second, millis) = (number / 20 % 60, number * 7 % 1000);
    format!("{{\"@timestamp\":\"2026-03-01T10:00:{second:02}Z\",\"service\":\"api\",\"level\":\"info\",\"message\":\"request {number} took {millis} ms\"}}").into_bytes()
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
