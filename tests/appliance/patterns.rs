//! Patterns of messages and what fills shards: the endpoints, `daybook patterns` and `daybook inspect`.

use serde_json::{Value, json};

use crate::harness::{Daybook, run, stderr, stdout};

/// Sends messages, each so many seconds old.
async fn write(daybook: &Daybook, messages: impl Iterator<Item = (i64, String)>) {
    let mut body = String::new();
    for (seconds_ago, message) in messages {
        let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds_ago);
        let document = json!({
            "@timestamp": time.to_string(), "service": { "name": "shop" }, "message": message,
        });
        body.push_str(&format!(
            "{{\"create\":{{\"_index\":\"shop\"}}}}\n{document}\n"
        ));
    }
    let reply = daybook
        .post("/_bulk?refresh=true", "application/x-ndjson", body)
        .await;
    assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);
}

#[tokio::test]
async fn patterns_are_told_over_http_and_on_the_command_line() {
    let daybook = Daybook::start().await;
    let orders = (0..40).map(|number| {
        (
            3000 - number,
            format!(
                "order {number} of \"customer {number}\" paid in {}ms",
                7 * number
            ),
        )
    });
    let refusals = (0..5).map(|number| (60 + number, format!("card {number} was refused")));
    write(&daybook, orders.chain(refusals)).await;

    let reply = daybook
        .get("/api/daybook/v1/patterns?index=shop&query=message:(paid%20OR%20refused)")
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let answer = reply.json();
    let told: Vec<(&Value, &Value)> = answer["patterns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["pattern"], &one["count"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("order <*> of \"<*>\" paid in <*>"), &json!(40)),
            (&json!("card <*> was refused"), &json!(5)),
        ]
    );
    assert_eq!(answer["patterns"][1]["example"], "card 0 was refused");
    assert_eq!(
        (&answer["total"], &answer["partial"]),
        (&json!(45), &json!(false))
    );

    let data_dir = daybook.data_dir().display().to_string();
    let shown = run(&["patterns", "--new-since", "10m", "--data-dir", &data_dir]);
    let text = stdout(&shown);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}{}", stderr(&shown));
    assert!(lines[1].trim_start().starts_with("5   11.1%  "), "{text}");
    assert!(lines[1].ends_with("  card <*> was refused"), "{text}");
    assert!(
        lines[2].starts_with("1 of 1 patterns in 45 messages"),
        "{text}"
    );

    let shown = run(&[
        "patterns",
        "order",
        "--json",
        "--index",
        "sh*",
        "--data-dir",
        &data_dir,
    ]);
    let answer: Value = serde_json::from_str(&stdout(&shown)).unwrap();
    assert_eq!(answer["patterns"][0]["count"], 40);
    let wrong = run(&["patterns", "a AND", "--data-dir", &data_dir]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        stderr(&wrong).starts_with("daybook: the server answers 400"),
        "{}",
        stderr(&wrong)
    );
}

#[tokio::test]
async fn what_fills_a_shard_is_told_while_the_server_runs_and_when_it_does_not() {
    let daybook = Daybook::start().await;
    let messages = (0..50).map(|number| (0, format!("order {number} is paid")));
    write(&daybook, messages).await;
    let reply = daybook.get("/api/daybook/v1/usage?index=shop").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let running = reply.json();
    assert_eq!(
        (&running["total"]["documents"], &running["partial"]),
        (&json!(50), &json!(false))
    );
    assert_eq!(running["indices"][0]["index"], "shop");
    assert_eq!(running["services"][0]["service"], "shop");
    assert_eq!(
        running["services"][0]["stored_bytes"],
        running["total"]["stored_bytes"]
    );
    assert_eq!(running["templates"][0]["template"], "order <*> is paid");
    // Midnight may have passed meanwhile.
    let shard = running["shards"][0]["shard"].as_str().unwrap().to_owned();

    let data_dir = daybook.data_dir().display().to_string();
    let refused = run(&["inspect", &shard, "--data-dir", &data_dir]);
    assert_eq!(refused.status.code(), Some(1), "{}", stdout(&refused));
    let (_, _, home) = daybook.stop().await;

    let data_dir = home.data_dir().display().to_string();
    let told = run(&["inspect", &shard, "--json", "--data-dir", &data_dir]);
    let stopped: Value = serde_json::from_str(&stdout(&told)).unwrap();
    assert_eq!(
        stopped["total"]["raw_bytes"],
        running["shards"][0]["raw_bytes"]
    );
    let told = run(&["inspect", &shard, "--data-dir", &data_dir]);
    let text = stdout(&told);
    assert!(
        text.starts_with(&format!("{shard}: ")),
        "{text}{}",
        stderr(&told)
    );
    assert!(
        text.contains("  message\n") && text.contains("  order <*> is paid\n"),
        "{text}"
    );
    let wrong = run(&["inspect", "shop-1999.01.01", "--data-dir", &data_dir]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains(&shard), "{}", stderr(&wrong));
}
