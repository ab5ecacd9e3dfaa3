//! `daybook search` against a running server.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::{Duration, timeout};

use crate::harness::{Daybook, run, stderr, stdout};

async fn write(daybook: &Daybook, seconds_ago: i64, message: &str) {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds_ago);
    let document = json!({
        "@timestamp": time.to_string(), "log.level": "error", "service": { "name": "shop" }, "message": message,
    });
    let body = format!("{{\"create\":{{\"_index\":\"shop\"}}}}\n{document}\n");
    let reply = daybook
        .post("/_bulk?refresh=true", "application/x-ndjson", body)
        .await;
    assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let next = timeout(Duration::from_secs(30), lines.next_line()).await;
    next.expect("a line comes").unwrap().unwrap()
}

#[tokio::test]
async fn the_newest_events_are_printed_oldest_first() {
    let daybook = Daybook::start().await;
    write(&daybook, 30, "payment refused").await;
    write(&daybook, 20, "payment\u{1b}[2J accepted").await;
    write(&daybook, 10, "something else").await;
    write(&daybook, 7200, "payment long ago").await;
    let data_dir = daybook.data_dir().display().to_string();
    let found = run(&["search", "message:payment", "--data-dir", &data_dir]);
    let text = stdout(&found);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}{}", stderr(&found));
    assert!(lines[0].ends_with(" ERROR shop payment refused"), "{text}");
    assert!(
        lines[1].ends_with(" ERROR shop payment\\u{1b}[2J accepted"),
        "{text}"
    );

    let url = format!("http://{}", daybook.address());
    let found = run(&[
        "search", "--json", "--limit", "1", "--index", "sh*", "--url", &url,
    ]);
    let document: Value = serde_json::from_str(&stdout(&found)).unwrap();
    assert_eq!(document["message"], json!("something else"));
}

#[tokio::test]
async fn following_prints_each_event_once_as_it_comes() {
    let daybook = Daybook::start().await;
    write(&daybook, 30, "first").await;
    let mut following = Command::new(env!("CARGO_BIN_EXE_daybook"))
        .args(["search", "--follow", "--data-dir"])
        .arg(daybook.data_dir())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(line(&mut lines).await.ends_with("first"));
    // One that is older than what was printed already, and one that is newer.
    write(&daybook, 3600 * 24, "late").await;
    write(&daybook, 0, "second").await;
    assert!(line(&mut lines).await.ends_with("late"));
    assert!(line(&mut lines).await.ends_with("second"));
    write(&daybook, 0, "third").await;
    assert!(line(&mut lines).await.ends_with("third"));
}

#[tokio::test]
async fn a_wrong_query_is_told_in_one_line() {
    let daybook = Daybook::start().await;
    write(&daybook, 0, "anything").await;
    let data_dir = daybook.data_dir().display().to_string();
    let output = run(&["search", "message:(", "--data-dir", &data_dir]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.starts_with("daybook: the server answers 400") && told.lines().count() == 1,
        "{told}"
    );
}
