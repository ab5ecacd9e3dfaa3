//! Killed at random moments while several senders write: what was accepted is there exactly once, whatever came in by.
//!
//! The number of cycles is `CRASH_CYCLES` (25 without it). Kills come at random moments; the seed is printed when the test
//! fails, and `CRASH_SEED` sets it, though the machine's own timing is never the same twice.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daybook, Home, run, stderr, until};

const NDJSON: &str = "application/x-ndjson";

/// Documents in one request.
const BATCH: u64 = 40;

/// What the senders know: messages by what they were told.
#[derive(Default)]
struct Told {
    /// The server said yes.
    accepted: Vec<String>,
    /// No answer came: it may be there once, or not at all.
    unanswered: Vec<String>,
}

#[derive(Clone)]
struct Sender {
    url: String,
    client: reqwest::Client,
    told: Arc<Mutex<Told>>,
    is_over: Arc<AtomicBool>,
}

impl Sender {
    /// Sends batches until the server is gone.
    async fn send(
        self,
        name: &'static str,
        cycle: u64,
        body_of: fn(&[String]) -> String,
        path: &'static str,
        content_type: &'static str,
    ) {
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let messages: Vec<String> = (0..BATCH)
                .map(|at| format!("{name}-{cycle}-{number}-{at}"))
                .collect();
            let request = self
                .client
                .post(format!("{}{path}", self.url))
                .header("content-type", content_type);
            let answered = match request.body(body_of(&messages)).send().await {
                Ok(reply) => {
                    reply.status() == 200
                        && reply
                            .text()
                            .await
                            .is_ok_and(|text| !text.contains("\"errors\":true"))
                }
                Err(_) => false,
            };
            let mut told = self.told.lock().unwrap();
            match answered {
                true => told.accepted.extend(messages),
                false => {
                    told.unanswered.extend(messages);
                    return;
                }
            }
        }
    }
}

fn bulk_body(messages: &[String]) -> String {
    messages
        .iter()
        .map(|message| format!("{{\"create\":{{}}}}\n{}\n", json!({ "message": message })))
        .collect()
}

/// With ids of their own, and every second one replaced at once.
fn bulk_body_with_ids(messages: &[String]) -> String {
    let lines = messages.iter().enumerate().map(|(at, message)| {
        let document = json!({ "message": message });
        let first = format!("{}\n{document}\n", json!({ "create": { "_id": message } }));
        match at % 2 {
            0 => first,
            _ => format!(
                "{first}{}\n{document}\n",
                json!({ "index": { "_id": message } })
            ),
        }
    });
    lines.collect()
}

fn otlp_body(messages: &[String]) -> String {
    let records: Vec<Value> = messages
        .iter()
        .map(|message| json!({ "body": { "stringValue": message } }))
        .collect();
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] }).to_string()
}

/// Appends lines to the followed file, and rotates it now and then, until the cycle is over.
fn write_lines(path: &Path, cycle: u64, written: &Mutex<Vec<String>>, is_over: &AtomicBool) {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        for _ in 0..20 {
            let line = format!("file-{cycle}-{number}");
            number += 1;
            writeln!(file, "{line}").unwrap();
            written.lock().unwrap().push(line);
        }
        if number % 400 == 0 {
            fs::rename(path, path.with_extension(format!("log.{cycle}-{number}"))).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How often each message is stored.
pub async fn messages(daybook: &Daybook) -> HashMap<String, u32> {
    let refreshed = daybook.post("/_refresh", "application/json", "").await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    let mut counts = HashMap::new();
    let mut after = Value::Null;
    loop {
        let mut question = json!({ "size": 10_000, "sort": [{ "_doc": "asc" }], "_source": ["message"], "track_total_hits": false });
        if !after.is_null() {
            question["search_after"] = after;
        }
        let reply = daybook
            .post("/_search", "application/json", question.to_string())
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let mut reply = reply.json();
        let hits = reply["hits"]["hits"].as_array_mut().unwrap();
        let Some(last) = hits.last() else {
            return counts;
        };
        after = last["sort"].clone();
        for hit in hits {
            *counts
                .entry(hit["_source"]["message"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
    }
}

/// A random number below `bound`; its whole state is `seed`.
fn random(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_when_accepted_events_are_there_exactly_once() {
    let cycles = number_from("CRASH_CYCLES").unwrap_or(25);
    let mut seed = number_from("CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("CRASH_SEED={seed} CRASH_CYCLES={cycles}");
    let inputs = tempfile::tempdir().unwrap();
    let followed = inputs.path().join("input.log");
    let home = Home::new();
    home.write_sources(&format!(
        "sources:\n  lines: {{ type: file, include: [\"{}/input.log*\"] }}\n",
        inputs.path().display()
    ));
    let told = Arc::new(Mutex::new(Told::default()));
    let lines = Arc::new(Mutex::new(Vec::new()));
    let mut home = Some(home);
    for cycle in 0..cycles {
        let daybook = Daybook::start_at(home.take().unwrap()).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let sender = Sender {
            url: format!("http://{}", daybook.address()),
            client: reqwest::Client::new(),
            told: Arc::clone(&told),
            is_over: Arc::clone(&is_over),
        };
        let senders = [
            tokio::spawn(
                sender
                    .clone()
                    .send("bulk-a", cycle, bulk_body, "/logs/_bulk", NDJSON),
            ),
            tokio::spawn(
                sender
                    .clone()
                    .send("bulk-b", cycle, bulk_body, "/shop/_bulk", NDJSON),
            ),
            tokio::spawn(sender.clone().send(
                "ids",
                cycle,
                bulk_body_with_ids,
                "/ids/_bulk",
                NDJSON,
            )),
            tokio::spawn(sender.clone().send(
                "otlp",
                cycle,
                otlp_body,
                "/v1/logs",
                "application/json",
            )),
        ];
        let (path, written, over) = (followed.clone(), Arc::clone(&lines), Arc::clone(&is_over));
        let writer = std::thread::spawn(move || write_lines(&path, cycle, &written, &over));
        tokio::time::sleep(Duration::from_millis(20 + random(&mut seed, 600))).await;
        home = Some(daybook.kill());
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        for sender in senders {
            sender.await.unwrap();
        }
    }

    let daybook = Daybook::start_at(home.take().unwrap()).await;
    let lines = lines.lock().unwrap().clone();
    until("all lines of the file are stored", async || {
        let counts = messages(&daybook).await;
        lines
            .iter()
            .all(|line| counts.contains_key(line))
            .then_some(())
    })
    .await;
    let counts = messages(&daybook).await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    for message in told.accepted.iter().chain(&lines) {
        assert_eq!(counts.get(message), Some(&1), "{message} was accepted");
    }
    for message in &told.unanswered {
        assert!(
            counts.get(message).is_none_or(|count| *count == 1),
            "{message} was sent once"
        );
    }
    let sent: usize = told.accepted.len() + told.unanswered.len() + lines.len();
    assert!(
        counts.len() <= sent,
        "{} messages, {sent} were sent",
        counts.len()
    );
    assert!(
        told.accepted.len() > usize::try_from(cycles).unwrap() * 10,
        "hardly anything was accepted"
    );

    let (status, _, home) = daybook.stop().await;
    assert_eq!(status.code(), Some(0));
    let check = run(&[
        "check",
        "--data-dir",
        &home.data_dir().display().to_string(),
    ]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    eprintln!(
        "{} accepted, {} unanswered, {} lines",
        told.accepted.len(),
        told.unanswered.len(),
        lines.len()
    );
}
