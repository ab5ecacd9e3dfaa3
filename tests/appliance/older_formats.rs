//! Killed again and again while it converts what an older daybook left: every event is there exactly once afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Daybook, Home, run, stdout, until};

/// Each has the golden shards.
const INDICES: usize = 16;

const KILLS: usize = 8;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("indexer/tests/formats/v1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// How many shards are of the new format.
fn converted(logs: &Path) -> usize {
    let days = fs::read_dir(logs)
        .unwrap()
        .flat_map(|index| fs::read_dir(index.unwrap().path()).unwrap());
    let format = |day: PathBuf| fs::read_to_string(day.join("format")).unwrap_or_default();
    days.filter_map(Result::ok)
        .filter(|day| !day.file_name().to_string_lossy().contains(".converting"))
        .filter(|day| format(day.path()).trim() == "3")
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_during_the_conversion_of_old_shards_lose_and_double_nothing() {
    let home = Home::new();
    let logs = home.data_dir().join("logs");
    for number in 0..INDICES {
        copy(
            &golden().join("logs/shop"),
            &logs.join(format!("shop{number}")),
        );
    }
    fs::copy(
        golden().join("catalog.db"),
        home.data_dir().join("catalog.db"),
    )
    .unwrap();

    for kill in 1..=KILLS {
        let mut child = home
            .serve()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Somewhere within the next shard.
        let wanted = 2 * INDICES * kill / (KILLS + 1);
        until("a few shards more", async || {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            (converted(&logs) >= wanted).then_some(())
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(converted(&logs) < 2 * INDICES, "all were converted already");
    let data_dir = home.data_dir();
    let checked = run(&["check", "--data-dir", data_dir.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", stdout(&checked));

    let text = fs::read_to_string(golden().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let id = |of: &Value| of.as_str().unwrap().to_owned();
    let events = expected["events"].as_array().unwrap();
    let mut expected: Vec<String> = events.iter().map(|event| id(&event["id"])).collect();
    expected.sort();
    let daybook = Daybook::start_at(home).await;
    for number in 0..INDICES {
        let index = format!("shop{number}");
        // Not every golden document is JSON.
        let reply = daybook
            .search(&index, r#"{"size":1000,"_source":false}"#)
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let answer = reply.json();
        assert_eq!(answer["_shards"]["failed"], 0, "{}", reply.text);
        let hits = answer["hits"]["hits"].as_array().unwrap();
        let mut found: Vec<String> = hits.iter().map(|hit| id(&hit["_id"])).collect();
        found.sort();
        assert_eq!(found, expected, "{index}");
    }
    assert_eq!(converted(&logs), 2 * INDICES);
}
