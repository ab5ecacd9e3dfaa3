//! `GET /api/daybook/v1/patterns` over documents that were written by the indexer.

use serde_json::{Value, json};

use crate::store::{Server, Store};

fn message(at: &str, level: &str, text: &str) -> String {
    json!({"@timestamp": format!("2026-11-23T09:{at}Z"), "level": level, "message": text})
        .to_string()
}

/// Messages of 50 minutes, in two segments.
fn store() -> Store {
    let mut store = Store::new();
    let mut documents = Vec::new();
    for minute in 5..35 {
        let at = format!("{minute:02}:00");
        documents.push(message(
            &at,
            "info",
            &format!(
                "request {minute} of \"GET /a/{minute}\" took {} ms",
                minute * 7
            ),
        ));
    }
    for (at, user) in [("06:10", "alice"), ("07:10", "bob"), ("07:20", "carol")] {
        documents.push(message(
            at,
            "info",
            &format!("user {user} logged in from 10.0.0.1"),
        ));
    }
    documents.push(message("08:00", "warn", "short"));
    store.add("logs", &documents);
    let documents = [
        message(
            "40:30",
            "error",
            "connection to 10.1.2.3:80 refused after 3 tries",
        ),
        message(
            "45:30",
            "error",
            "connection to 10.1.2.4:80 refused after 5 tries",
        ),
        message("50:00", "info", "user dave logged in from 10.0.0.2"),
        message("51:00", "info", "request 99 of \"GET /\" took 1 ms"),
        message("51:30", "info", "another\nline"),
    ];
    store.add("logs", &documents);
    store
}

async fn patterns(server: &mut Server, params: &str) -> Value {
    let uri = format!("/api/daybook/v1/patterns?{params}");
    let (status, reply) = server.get(&uri).await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(reply["partial"], false, "{reply}");
    reply
}

/// Text and count of each.
fn counts(reply: &Value) -> Vec<(&str, u64)> {
    let patterns = reply["patterns"].as_array().unwrap().iter();
    patterns
        .map(|one| {
            (
                one["pattern"].as_str().unwrap(),
                one["count"].as_u64().unwrap(),
            )
        })
        .collect()
}

const REQUEST: &str = "request <*> of \"<*>\" took <*> ms";
const LOGIN: &str = "user <*> logged in from <*>";
const REFUSED: &str = "connection to <*> refused after <*> tries";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_are_counted_over_time() {
    let mut server = store().server();
    let reply = patterns(&mut server, "step=10m").await;
    assert_eq!(counts(&reply), [(REQUEST, 31), (LOGIN, 4), (REFUSED, 2)]);
    // Two messages have no blank, or are too short.
    assert_eq!(reply["total"], 39);
    assert_eq!(reply["without_template"], 2);
    assert_eq!(reply["pattern_count"], 3);
    assert_eq!(reply["buckets"].as_array().unwrap().len(), 6);
    assert_eq!(reply["buckets"][1], "2026-11-23T09:10:00.000Z");
    let request = &reply["patterns"][0];
    assert_eq!(request["counts"], json!([5, 10, 10, 5, 0, 1]));
    assert_eq!(request["field"], "message");
    assert_eq!(request["first_seen"], "2026-11-23T09:05:00.000Z");
    assert_eq!(request["last_seen"], "2026-11-23T09:51:00.000Z");
    assert_eq!(request["example"], "request 99 of \"GET /\" took 1 ms");
    assert_eq!(request["share"], json!(31.0 / 39.0));
    assert_eq!(request["templates"], 1);
    // Four users are one pattern.
    let login = &reply["patterns"][1];
    assert_eq!(login["templates"], 4);
    assert_eq!(login["counts"], json!([3, 0, 0, 0, 0, 1]));
    assert_eq!(login["example"], "user dave logged in from 10.0.0.2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_and_a_range_choose_the_messages() {
    let mut server = store().server();
    let reply = patterns(&mut server, "query=level:error").await;
    assert_eq!(counts(&reply), [(REFUSED, 2)]);
    assert_eq!(
        (&reply["total"], &reply["without_template"]),
        (&json!(2), &json!(0))
    );
    let reply = patterns(&mut server, "query=NOT%20refused%20AND%20in&limit=1").await;
    assert_eq!(counts(&reply), [(LOGIN, 4)]);
    // The start belongs to the range, the end does not.
    let range = "start=2026-11-23T09:05:00Z&end=2026-11-23T09:07:00Z";
    let reply = patterns(&mut server, range).await;
    assert_eq!(
        counts(&reply),
        [(REQUEST, 2), ("user alice logged in from <*>", 1)]
    );
    let reply = patterns(&mut server, "start=2026-11-22&end=2026-11-23").await;
    assert_eq!((counts(&reply), &reply["total"]), (vec![], &json!(0)));
    let reply = patterns(&mut server, "index=logs-2026.11.2*&query=nothing").await;
    assert_eq!(reply["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_and_gone_patterns_are_told_apart() {
    let mut server = store().server();
    let reply = patterns(&mut server, "start=now-1h&new_since=now-20m").await;
    assert_eq!(counts(&reply), [(REFUSED, 2)]);
    // All messages count for the shares.
    assert_eq!(reply["total"], 39);
    assert_eq!(reply["pattern_count"], 1);
    let reply = patterns(&mut server, "start=now-1h&gone_since=now-14m").await;
    assert_eq!(counts(&reply), [(REFUSED, 2)]);
    let reply = patterns(&mut server, "start=now-1h&gone_since=now-15m").await;
    assert_eq!(counts(&reply), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_messages_are_not_counted() {
    let mut store = Store::new();
    let text = "job 17 ended";
    store.add(
        "logs",
        &[
            message("05:00", "info", text),
            message("06:00", "info", text),
        ],
    );
    let mut server = store.server();
    let found = server
        .search("logs", json!({"sort": ["@timestamp"], "size": 1}))
        .await;
    let id = found["hits"]["hits"][0]["_id"].as_str().unwrap().to_owned();
    server.delete("logs", &id, "2026-11-23T09:05:00Z");
    let (_, reply) = server.get("/api/daybook/v1/patterns").await;
    assert_eq!(counts(&reply), [("job <*> ended", 1)]);
    assert_eq!(reply["total"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_questions_are_told_what_is_wrong() {
    let mut server = store().server();
    for (params, status, expected) in [
        ("query=level:(", 400, "Failed to parse query [level:(]"),
        ("start=yesterday", 400, "[start] is no time"),
        ("newsince=now", 400, "there is no parameter [newsince]"),
        ("limit=0", 400, "[limit] is a number from 1 to 1000"),
        ("index=nothing", 404, "no such index [nothing]"),
    ] {
        let uri = format!("/api/daybook/v1/patterns?{params}");
        let (got, reply) = server.get(&uri).await;
        assert_eq!(got.as_u16(), status, "{reply}");
        let reason = reply["error"]["reason"].as_str().unwrap();
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(reply["status"], status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_behind_makes_a_partial_answer() {
    let mut store = store();
    store.fall_behind();
    let mut server = store.server();
    let (status, reply) = server.get("/api/daybook/v1/patterns").await;
    assert_eq!((status.as_u16(), &reply["partial"]), (200, &json!(true)));
    assert_eq!(counts(&reply)[0], (REQUEST, 31));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_told_by_index_and_field() {
    let mut server = store().server();
    let (status, reply) = server.get("/api/daybook/v1/usage?index=logs&limit=2").await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(reply["total"]["documents"], 39);
    assert_eq!(reply["shards"][0]["shard"], "logs-2026.11.23");
    assert_eq!(
        reply["indices"][0]["stored_bytes"],
        reply["total"]["stored_bytes"]
    );
    assert_eq!(
        reply["services"],
        json!([
            {"service": null, "documents": 39, "raw_bytes": reply["total"]["raw_bytes"],
             "stored_bytes": reply["total"]["stored_bytes"], "ratio": reply["total"]["ratio"]}
        ])
    );
    assert_eq!(reply["fields"].as_array().unwrap().len(), 2);
    assert_eq!(reply["template_count"], 6);
    assert_eq!(
        (&reply["partial"], &reply["timed_out"]),
        (&json!(false), &json!(false))
    );
    let (status, _) = server.get("/api/daybook/v1/usage?query=x").await;
    assert_eq!(status, 400);
}
