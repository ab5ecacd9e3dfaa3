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

async fn sources(daybook: &Daybook, target: &str) -> Vec<Value> {
    let answer = daybook.search(target, r#"{"size":100}"#).await.json();
    let hits = answer["hits"]["hits"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    hits.iter().map(|hit| hit["_source"].clone()).collect()
}

#[tokio::test]
async fn dead_letters_come_back_once_through_the_corrected_pipeline() {
    let home = Home::new();
    let folder = home.data_dir().with_file_name("in");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.log"), "paid 1\nfailed 2\npaid 3\nnonsense\n").unwrap();
    home.write_sources(&settings(&home, "^paid %{INT:order:int}$"));
    let daybook = Daybook::start_at(home).await;
    until_found(&daybook, "shop", 2).await;
    until_found(&daybook, "dead-letter", 2).await;
    let metrics = daybook.get("/metrics").await.text;
    assert!(
        metrics.contains("daybook_pipeline_dead_letters_total{pipeline=\"shop\"} 2"),
        "{metrics}"
    );

    let corrected = daybook.home().data_dir().with_file_name("corrected.yaml");
    fs::write(
        &corrected,
        settings(daybook.home(), "^(?:paid|failed) %{INT:order:int}$"),
    )
    .unwrap();
    let data_dir = daybook.data_dir().display().to_string();
    let replay = |more: &[&str]| {
        let config = corrected.display().to_string();
        let mut arguments = vec![
            "pipeline",
            "replay",
            "--config",
            &config,
            "--data-dir",
            &data_dir,
        ];
        arguments.extend(more);
        let output = run(&arguments);
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, said, _) = replay(&["--dry-run"]);
    assert_eq!(
        (code, said.as_str()),
        (
            Some(1),
            "would be: 1 stored, 0 had been stored before, 0 dropped by their pipeline, 1 left\n"
        )
    );
    let (code, said, told) = replay(&[]);
    assert_eq!(
        (code, said.as_str()),
        (
            Some(1),
            "1 stored, 0 had been stored before, 0 dropped by their pipeline, 1 left\n"
        )
    );
    assert!(
        told.contains("1 left: pipeline shop, step 1 (grok): no pattern fits field message"),
        "{told}"
    );

    until_found(&daybook, "shop", 3).await;
    until_found(&daybook, "dead-letter", 1).await;
    let (_, said, _) = replay(&["--pipeline", "shop"]);
    assert!(said.starts_with("0 stored, "), "{said}");
    let mut orders: Vec<i64> = sources(&daybook, "shop")
        .await
        .iter()
        .filter_map(|event| event["order"].as_i64())
        .collect();
    orders.sort_unstable();
    assert_eq!(orders, [1, 2, 3]);
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
            "printf 'WARNING:shop:no money\\n' | '{}' pipeline test python",
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
