//! What is accepted stays accepted, and the books say so.

use serde_json::{Value, json};

use crate::harness::{Daybook, run, stderr, until};

const NDJSON: &str = "application/x-ndjson";

async fn bulk(daybook: &Daybook, first: u32, count: u32) -> Value {
    let lines = (first..first + count).map(|number| {
        let action = json!({ "create": { "_index": "shop", "_id": number.to_string() } });
        let document = json!({ "@timestamp": now(), "message": "bought", "number": number });
        format!("{action}\n{document}\n")
    });
    let reply = daybook
        .post("/_bulk", NDJSON, lines.collect::<String>())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// The events must lie within their index's retention, so they are of today.
fn now() -> String {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    jiff::Timestamp::from_second(since.as_secs() as i64)
        .unwrap()
        .to_string()
}

async fn books(daybook: &Daybook) -> Value {
    let ledger = daybook.get("/api/daybook/v1/ledger").await.json();
    ledger["sources"][0].clone()
}

async fn until_stored(daybook: &Daybook, events: u64) -> Value {
    until("all events are stored", async || {
        let books = books(daybook).await;
        (books["stored"] == json!(events)).then_some(books)
    })
    .await
}

#[tokio::test]
async fn accepted_events_survive_a_kill_and_the_books_balance() {
    let daybook = Daybook::start().await;
    let reply = bulk(&daybook, 0, 100).await;
    assert_eq!(reply["errors"], json!(false), "{reply}");
    // The same ids again: each is a conflict for itself, and the new one among them is kept.
    let reply = bulk(&daybook, 99, 2).await;
    assert_eq!(reply["items"][0]["create"]["status"], json!(409), "{reply}");
    assert_eq!(reply["items"][1]["create"]["status"], json!(201), "{reply}");
    let expected = json!({ "received": 102, "accepted": 101, "stored": 101, "in_flight": 0, "balanced": true });
    let shown = until_stored(&daybook, 101).await;
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[key], value, "{key} in {shown}");
    }

    let daybook = Daybook::start_at(daybook.kill()).await;
    until_stored(&daybook, 101).await;
    let reply = bulk(&daybook, 100, 2).await;
    assert_eq!(
        reply["items"][0]["create"]["status"],
        json!(409),
        "it is known after the kill: {reply}"
    );
    let shown = until_stored(&daybook, 102).await;
    assert_eq!(shown["balanced"], json!(true), "{shown}");

    let (status, _, home) = daybook.stop().await;
    assert_eq!(status.code(), Some(0));
    let data_dir = home.data_dir().display().to_string();
    let check = run(&["check", "--data-dir", &data_dir]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
}
