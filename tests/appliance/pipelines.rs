//! Pipelines in the running appliance: dead letters and their way back, shipped pipelines, detection.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Daybook, Home, run, stderr, stdout, until};

fn settings(home: &Home, pattern: &str) -> String {
    format!(
        "sources:\n  shop: {{ type: file, include: ['{}/*.log'], pipeline: shop, index: shop }}\n\
         pipelines:\n  shop: {{ on_error: dead_letter, steps: [ {{ grok: {{ pattern: '{pattern}' }} }} ] }}\n",
        home.data_dir().with_file_name("in").display()
    )
}

async fn until_found(daybook: &Daybook, target: &str, count: u64) {
    until("the events are found", async || {
        daybook.refresh().await;
        (daybook.count(&format!("{target}*"), "*").await == count).then_some(())
    })
    .await;
}

async fn hits(daybook: &Daybook, target: &str) -> Vec<Value> {
    let answer = daybook.search(target, r#"{"size":100}"#).await.json();
    answer["hits"]["hits"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

async fn sources(daybook: &Daybook, target: &str) -> Vec<Value> {
    let hits = hits(daybook, target).await;
    hits.iter().map(|hit| hit["_source"].clone()).collect()
}

#[tokio::test]
async fn dead_letters_come_back_once_through_the_corrected_pipeline() {
    let home = Home::new();
    let folder = home.data_dir().with_file_name("in");
    fs::create_dir_all(&folder).unwrap();
    let lines = "paid 1\nfailed 2\npaid 3\nfailed 4\nnonsense\n";
    fs::write(folder.join("a.log"), lines).unwrap();
    home.write_sources(&settings(&home, "^paid %{INT:order:int}$"));
    let daybook = Daybook::start_at(home).await;
    until_found(&daybook, "shop", 2).await;
    until_found(&daybook, "dead-letter", 3).await;
    let metrics = daybook.get("/metrics").await.text;
    let figure = "daybook_pipeline_dead_letters_total{pipeline=\"shop\"} 3";
    assert!(metrics.contains(figure), "{metrics}");

    let corrected = daybook.home().data_dir().with_file_name("corrected.yaml");
    let pattern = "^(?:paid|failed) %{INT:order:int}$";
    fs::write(&corrected, settings(daybook.home(), pattern)).unwrap();
    let data_dir = daybook.data_dir().display().to_string();
    let replay = |more: &[&str]| {
        let config = corrected.display().to_string();
        let mut arguments = vec!["pipeline", "replay", "--config", &config];
        arguments.extend(["--data-dir", &data_dir]);
        arguments.extend(more);
        let output = run(&arguments);
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, said, _) = replay(&["--dry-run"]);
    let expected =
        "would be: 2 stored, 0 had been stored before, 0 dropped by their pipeline, 1 left\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));

    // The settings name the data directory, as those of a server do.
    let own = daybook.home().data_dir().with_file_name("own.yaml");
    let text = fs::read_to_string(&corrected).unwrap();
    fs::write(&own, format!("data_dir: {data_dir}\n{text}")).unwrap();
    let own = own.display().to_string();
    let output = run(&["pipeline", "replay", "--config", &own, "--dry-run"]);
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    let output = run(&["pipeline", "replay", "--config", &own, "--pipeline", "gone"]);
    assert!(
        stderr(&output).contains("there is no pipeline"),
        "{}",
        stderr(&output)
    );

    // A replay that was killed between storing an event and removing its letter has left both.
    let letter = hits(&daybook, "dead-letter")
        .await
        .into_iter()
        .find(|hit| hit["_source"]["message"] == "failed 2")
        .unwrap();
    let action = json!({ "create": { "_index": "shop", "_id": format!("replayed-{}", letter["_id"].as_str().unwrap()) } });
    let event =
        json!({ "@timestamp": letter["_source"]["@timestamp"], "message": "failed 2", "order": 2 });
    let body = format!("{action}\n{event}\n");
    let reply = daybook.post("/_bulk", "application/x-ndjson", body).await;
    assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);

    let (code, said, told) = replay(&[]);
    let expected = "1 stored, 1 had been stored before, 0 dropped by their pipeline, 1 left\n";
    assert_eq!((code, said.as_str()), (Some(1), expected));
    let problem = "1 left: pipeline shop, step 1 (grok): no pattern fits field message";
    assert!(told.contains(problem), "{told}");

    until_found(&daybook, "shop", 4).await;
    until_found(&daybook, "dead-letter", 1).await;
    let (_, said, _) = replay(&["--pipeline", "shop"]);
    assert!(said.starts_with("0 stored, 0 had been"), "{said}");
    let found = sources(&daybook, "shop").await;
    let mut orders: Vec<i64> = found
        .iter()
        .filter_map(|event| event["order"].as_i64())
        .collect();
    orders.sort_unstable();
    assert_eq!(orders, [1, 2, 3, 4]);
}

#[tokio::test]
async fn lines_nobody_configured_are_looked_into_and_those_of_a_shipped_pipeline_cut() {
    let home = Home::new();
    let folder = home.data_dir().with_file_name("in");
    fs::create_dir_all(&folder).unwrap();
    let line = r#"{"level":"WARN","msg":"slow","took":0.470}"#;
    fs::write(folder.join("auto.log"), format!("{line}\n")).unwrap();
    fs::write(folder.join("plain.log"), format!("{line}\n")).unwrap();
    fs::write(
        folder.join("redis.log"),
        "1:M 25 Nov 2026 22:01:36.604 # WARNING Memory overcommit must be enabled!\n",
    )
    .unwrap();
    let folder = folder.display();
    home.write_sources(&format!(
        "sources:\n  a: {{ type: file, include: ['{folder}/auto.log'], index: a }}\n  \
         b: {{ type: file, include: ['{folder}/plain.log'], index: b, pipeline: none }}\n  \
         c: {{ type: file, include: ['{folder}/redis.log'], index: c, pipeline: redis }}\nindices: {{ default: {{ retention: off }} }}\n"
    ));
    let daybook = Daybook::start_at(home).await;
    for (index, expected) in [
        (
            "a",
            json!({ "message": line, "log.level": "warn", "level": "WARN", "msg": "slow", "took": 0.47 }),
        ),
        (
            "b",
            json!({ "message": line, "log.level": null, "level": null }),
        ),
        (
            "c",
            json!({ "log.level": "warn", "redis.role": "M", "service.name": "redis", "@timestamp": "2026-11-25T22:01:36.604Z" }),
        ),
    ] {
        until_found(&daybook, index, 1).await;
        let found = sources(&daybook, index).await.remove(0);
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(found[field], *value, "{index} {field}: {found}");
        }
    }
}

#[test]
fn a_pipeline_is_tried_on_lines() {
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "printf 'caf\\351\\r\\nWARNING:shop:no money\\n' | '{}' pipeline test python",
            env!("CARGO_BIN_EXE_daybook")
        ))
        .output()
        .unwrap();
    assert!(
        stdout(&output).contains(r#""log.level":"warn""#),
        "{} {}",
        stdout(&output),
        stderr(&output)
    );
    let unknown = run(&["pipeline", "test", "pyton"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("there is no pipeline \"pyton\""));
}

#[tokio::test]
async fn a_files_lines_are_cut_where_its_settings_say() {
    let home = Home::new();
    let folder = home.data_dir().with_file_name("in");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.log"), format!("{}\n", "x".repeat(300))).unwrap();
    home.write_sources(&format!(
        "sources:\n  short: {{ type: file, include: ['{0}/*.log'], pipeline: none, index: short, max_line_bytes: 100 }}\n  \
         whole: {{ type: file, include: ['{0}/*.log'], pipeline: none, index: whole }}\n",
        folder.display()
    ));
    let daybook = Daybook::start_at(home).await;
    for (index, length) in [("short", 100), ("whole", 300)] {
        until_found(&daybook, index, 1).await;
        let found = sources(&daybook, index).await;
        let message = found[0]["message"].as_str().unwrap();
        assert_eq!(message.len(), length, "{index}");
    }
}
