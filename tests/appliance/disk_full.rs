//! A full disk and a used-up budget: senders are told to wait, searches go on, and nothing that was accepted is lost.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use serde_json::json;
use tempfile::TempDir;

use crate::crash::messages;
use crate::harness::{Daybook, Home, Reply, run, stderr, until};

const NDJSON: &str = "application/x-ndjson";

const DISK: &str = "64m";

/// The promise is about a second; a busy machine gets some more.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// A file system of its own. Declare it before the server on it: it is dropped last.
struct SmallDisk {
    place: TempDir,
}

impl SmallDisk {
    /// `None`, with the reason told, where mounting is not allowed; in CI that is a failure.
    fn mount() -> Option<SmallDisk> {
        let place = tempfile::tempdir().unwrap();
        let mounting = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "tmpfs"])
            .arg(place.path())
            .output();
        let problem = match mounting {
            Ok(output) if output.status.success() => return Some(SmallDisk { place }),
            Ok(output) => stderr(&output),
            Err(error) => error.to_string(),
        };
        assert!(std::env::var_os("CI").is_none(), "cannot mount: {problem}");
        eprintln!("skipped, a file system cannot be mounted here (run it as root): {problem}");
        None
    }

    fn data_dir(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// Takes every byte that is left.
    fn fill_to_the_brim(&self) -> PathBuf {
        let path = self.place.path().join("ballast");
        let mut ballast = File::create(&path).unwrap();
        for part_bytes in [1 << 20, 4096, 1] {
            let part = vec![7; part_bytes];
            let problem = loop {
                if let Err(error) = ballast.write_all(&part) {
                    break error;
                }
            };
            assert_eq!(problem.kind(), ErrorKind::StorageFull);
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that fails must not leave it mounted.
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.place.path())
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.place.path().display());
        }
    }
}

/// What one sender was told.
#[derive(Default)]
struct Told {
    accepted: Vec<String>,
    refused: Vec<String>,
    refused_last: Option<Instant>,
    accepted_last: Option<Instant>,
}

/// Text that does not compress to nothing.
fn filler(mut seed: u64, words: usize) -> String {
    let mut text = String::new();
    for _ in 0..words {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!(" {:x}", seed >> 40));
    }
    text
}

fn assert_says_wait(reply: &Reply) {
    assert!(
        matches!(reply.status, 429 | 503),
        "{} {}",
        reply.status,
        reply.text
    );
    assert!(reply.retry_after.is_some_and(|seconds| seconds > 0));
    assert!(!reply.json()["error"]["reason"].as_str().unwrap().is_empty());
}

fn bulk_of(messages: &[String], first: u64) -> String {
    let items = messages.iter().zip(first..).map(|(message, seed)| {
        let document = json!({ "message": message, "filler": filler(seed, 100) });
        format!("{{\"create\":{{}}}}\n{document}\n")
    });
    items.collect()
}

async fn send_until_over(
    daybook: Arc<Daybook>,
    name: &'static str,
    told: Arc<Mutex<Told>>,
    is_over: Arc<AtomicBool>,
) {
    for number in 0u64.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let messages: Vec<String> = (0..20).map(|at| format!("{name}-{number}-{at}")).collect();
        let body = bulk_of(&messages, number * 20);
        let reply = daybook.post("/logs/_bulk", NDJSON, body).await;
        let is_accepted = reply.status == 200;
        if is_accepted {
            assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);
        } else {
            assert_says_wait(&reply);
        }
        {
            let mut told = told.lock().unwrap();
            match is_accepted {
                true => {
                    told.accepted_last = Some(Instant::now());
                    told.accepted.extend(messages);
                }
                false => {
                    told.refused_last = Some(Instant::now());
                    told.refused.extend(messages);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn assert_searches_answer(daybook: &Daybook) {
    let reply = daybook.search("logs", r#"{"size":5}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let reply = reply.json();
    assert_eq!(reply["timed_out"], json!(false), "{reply}");
    assert_eq!(reply["_shards"]["failed"], json!(0), "{reply}");
    assert_eq!(reply["hits"]["hits"].as_array().unwrap().len(), 5);
}

fn assert_check_is_clean(data_dir: &Path) {
    let data_dir = data_dir.display().to_string();
    let check = run(&["check", "--data-dir", &data_dir]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_filled_to_the_brim_stops_senders_only_and_only_while_it_is_full() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let home = Home::with_data_dir(&disk.data_dir(), "");
    let daybook = Arc::new(Daybook::start_at(home).await);
    let told = Arc::new(Mutex::new(Told::default()));
    let is_over = Arc::new(AtomicBool::new(false));
    let senders = ["one", "two"].map(|name| {
        let (daybook, told, is_over) = (daybook.clone(), told.clone(), is_over.clone());
        tokio::spawn(send_until_over(daybook, name, told, is_over))
    });
    until("something is accepted", async || {
        (told.lock().unwrap().accepted.len() > 400).then_some(())
    })
    .await;
    daybook.refresh().await;
    let found_before = daybook.count("logs", "*").await;

    let ballast = disk.fill_to_the_brim();
    let full = Instant::now();
    until("senders are refused", async || {
        told.lock().unwrap().refused_last
    })
    .await;
    let refused_after = full.elapsed();
    assert!(refused_after < REFUSED_WITHIN, "{refused_after:?}");
    // Long enough for the index to meet the full disk as well.
    while full.elapsed() < Duration::from_secs(4) {
        assert_searches_answer(&daybook).await;
        assert!(daybook.count("logs", "*").await >= found_before);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let last = told.lock().unwrap().accepted_last.unwrap();
    let taken_for = last.saturating_duration_since(full);

    fs::remove_file(ballast).unwrap();
    let freed = Instant::now();
    until("input resumes", async || {
        let told = told.lock().unwrap();
        told.accepted_last.filter(|last| *last > freed)
    })
    .await;
    eprintln!(
        "refused after {refused_after:?}, last accepted after {taken_for:?}, resumed after {:?}",
        freed.elapsed()
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    is_over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }

    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_stored_exactly(&messages(&daybook).await, &told);
    let daybook = Arc::into_inner(daybook).unwrap();
    let (status, _, home) = daybook.stop().await;
    assert_eq!(status.code(), Some(0));
    assert_check_is_clean(&home.data_dir());

    let daybook = Daybook::start_at(home).await;
    assert_stored_exactly(&messages(&daybook).await, &told);
}

fn assert_stored_exactly(stored: &HashMap<String, u32>, told: &Told) {
    for message in &told.accepted {
        assert_eq!(stored.get(message), Some(&1), "{message} was accepted");
    }
    for message in &told.refused {
        assert_eq!(stored.get(message), None, "{message} was refused");
    }
    assert_eq!(stored.len(), told.accepted.len());
}

#[tokio::test]
async fn after_a_kill_a_server_starts_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let home = Home::with_data_dir(&disk.data_dir(), "");
    let daybook = Daybook::start_at(home).await;
    let mut told = Told::default();
    for number in 0..20 {
        told.accepted.push(format!("kept-{number}"));
    }
    let body = bulk_of(&told.accepted, 0);
    let reply = daybook.post("/logs/_bulk", NDJSON, body).await;
    assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);

    let reserve = disk.data_dir().join("reserve");
    until("room is kept back", async || {
        fs::metadata(&reserve)
            .is_ok_and(|file| file.len() == 4 << 20)
            .then_some(())
    })
    .await;
    let ballast = disk.fill_to_the_brim();
    let home = daybook.kill();
    let daybook = Daybook::start_at(home).await;
    assert_stored_exactly(&messages(&daybook).await, &told);
    until("senders are refused", async || {
        let body = bulk_of(&["late".to_owned()], 99);
        let reply = daybook.post("/other/_bulk", NDJSON, body).await;
        (reply.status != 200).then(|| assert_says_wait(&reply))
    })
    .await;
    assert_searches_answer(&daybook).await;
    fs::remove_file(ballast).unwrap();
    until("input resumes", async || {
        let body = bulk_of(&["later".to_owned()], 100);
        let reply = daybook.post("/other/_bulk", NDJSON, body).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

/// Events of such a batch: enough to fill the budget within half a minute, however little an event takes on disk.
const BATCH_EVENTS: u64 = 400;

/// Sends one batch of a day; says whether it was taken.
async fn send_of_day(daybook: &Daybook, time: Timestamp, seed: u64) -> Reply {
    let items = (0..BATCH_EVENTS).map(|at| {
        let seed = seed * BATCH_EVENTS + at;
        let document = json!({ "@timestamp": time.to_string(), "filler": filler(seed, 100) });
        format!("{{\"create\":{{}}}}\n{document}\n")
    });
    let body = items.collect::<String>();
    daybook.post("/logs/_bulk", NDJSON, body).await
}

#[tokio::test]
async fn near_the_budget_yesterday_goes_first_and_then_senders_are_told() {
    let home = Home::with_settings("limits: { disk: 20MiB }\njournal: { max_size: 8MiB }\n");
    let daybook = Daybook::start_at(home).await;
    let today = Timestamp::now();
    let yesterday = today - 24.hours();
    let day = |time: Timestamp| time.strftime("logs-%Y.%m.%d").to_string();
    let exists = async |time| daybook.get(&format!("/{}/_count", day(time))).await.status == 200;
    for seed in 0..5 {
        let reply = send_of_day(&daybook, yesterday, seed).await;
        assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);
    }
    daybook.refresh().await;
    assert!(exists(yesterday).await);

    let begun = Instant::now();
    let mut seed = 20;
    let mut stored = 0;
    let mut is_yesterday_gone = false;
    let refusal = loop {
        assert!(begun.elapsed() < Duration::from_secs(120), "never refused");
        let reply = send_of_day(&daybook, today, seed).await;
        match reply.status {
            200 => {
                seed += 1;
                stored += BATCH_EVENTS;
            }
            _ => {
                assert_says_wait(&reply);
                // The journal is small too and says so while the index is behind; that passes.
                if is_yesterday_gone && reply.text.contains("limits.disk") {
                    break reply;
                }
            }
        }
        is_yesterday_gone = is_yesterday_gone || !exists(yesterday).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(refusal.status, 429, "{}", refusal.text);
    daybook.refresh().await;
    assert_searches_answer(&daybook).await;
    assert_eq!(daybook.count(&day(today), "*").await, stored);
    assert_eq!(daybook.count("logs", "*").await, stored);
    eprintln!("{stored} stored, refused after {:?}", begun.elapsed());
}
