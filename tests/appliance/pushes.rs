//! Senders of other dialects on the common listener: Loki's push, Splunk's collector, plain HTTP.

use serde_json::{Value, json};

use crate::harness::{Daybook, Home, until};

fn now_nanos() -> u128 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

async fn books(daybook: &Daybook, source: &str) -> Value {
    let ledger = daybook.get("/api/daybook/v1/ledger").await.json();
    let sources = ledger["sources"].as_array().cloned().unwrap_or_default();
    let found = sources.into_iter().find(|books| books["source"] == source);
    found.unwrap_or_default()
}

#[tokio::test]
async fn what_is_pushed_in_any_dialect_is_stored_once_and_in_the_books() {
    let home = Home::new();
    home.write_sources("sources: { hec: { type: splunk_hec, index: splunk, tokens: [s3cret] } }\n");
    let daybook = Daybook::start_at(home).await;
    let loki = json!({ "streams": [{ "stream": { "app": "shop" }, "values": [[now_nanos().to_string(), "level=warn no money"]] }] }).to_string();
    for _ in 0..2 {
        let reply = daybook
            .post("/loki/api/v1/push", "application/json", loki.clone())
            .await;
        assert_eq!(reply.status, 204, "{}", reply.text);
    }
    let reply = daybook
        .post(
            "/services/collector/event?token=s3cret",
            "application/json",
            r#"{"event":"ERROR paid"}"#,
        )
        .await;
    assert_eq!(
        (reply.status, reply.json()),
        (200, json!({ "text": "Success", "code": 0 }))
    );
    let reply = daybook
        .post(
            "/services/collector/event?token=wrong",
            "application/json",
            r#"{"event":"x"}"#,
        )
        .await;
    assert_eq!(reply.status, 403);
    let reply = daybook
        .post("/api/daybook/v1/ingest/lines", "text/plain", "one\ntwo\n")
        .await;
    assert_eq!(
        (reply.status, reply.json()["accepted"].clone()),
        (200, json!(2))
    );

    for (index, query, count) in [
        ("logs", "app:shop", 1),
        ("splunk", "log.level:error", 1),
        ("lines", "*", 2),
    ] {
        until("the events are found", async || {
            daybook.refresh().await;
            (daybook.count(&format!("{index}*"), query).await == count).then_some(())
        })
        .await;
    }
    for (source, received, stored) in [("loki_push", 2, 1), ("hec", 2, 1), ("http", 2, 2)] {
        let found = until("the books are closed", async || {
            let found = books(&daybook, source).await;
            (found["in_flight"] == json!(0)).then_some(found)
        })
        .await;
        assert_eq!(
            (found["received"].clone(), found["stored"].clone()),
            (json!(received), json!(stored)),
            "{found}"
        );
    }
}
