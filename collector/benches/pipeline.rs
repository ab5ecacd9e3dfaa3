//! How fast pipelines are: one event's document filled as the file source does, run, and written. One thread.
//!
//! Fixed lines; the figure is of the bytes of the lines.

use std::hint::black_box;

use collector::pipeline::{Pipeline, Settings};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{Document, IndexName, Timestamp};

const ACCESS: &str = r#"203.0.113.9 - - [23/Nov/2026:10:00:00 +0000] "GET /shop/item/4711?ref=list HTTP/1.1" 200 5120 "https://shop.example.org/list" "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0""#;
const JSON: &str = r#"{"time":"2026-11-23T10:00:00.123Z","level":"info","logger":"shop.cart","msg":"item added","order":4711,"user":"ada","took_ms":12.5,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}"#;
const LOGFMT: &str = r#"time=2026-11-23T10:00:00.123Z level=info logger=shop.cart msg="item added" order=4711 user=ada took_ms=12.5 trace_id=4bf92f3577b34da6a3ce929d0e0e4736"#;
const PLAIN: &str = "2026-11-23 10:00:00,123 INFO shop.cart: item 4711 added by ada after 12.5 ms in the shop on the corner of the street";

fn pipelines(criterion: &mut Criterion) {
    let arrived = Timestamp::from_nanos(1_795_428_000_000_000_000);
    let arrived_text = arrived.to_rfc3339();
    let index = IndexName::default_index();
    let cases: [(&str, &str, &str); 12] = [
        ("nothing, plain", r#"{}"#, PLAIN),
        ("detect, plain", r#"{"steps":[{"detect":{}}]}"#, PLAIN),
        ("detect, json", r#"{"steps":[{"detect":{}}]}"#, JSON),
        ("detect, logfmt", r#"{"steps":[{"detect":{}}]}"#, LOGFMT),
        ("detect, access log", r#"{"steps":[{"detect":{}}]}"#, ACCESS),
        ("json", r#"{"steps":[{"json":{}}]}"#, JSON),
        ("logfmt", r#"{"steps":[{"logfmt":{}}]}"#, LOGFMT),
        (
            "grok, access log",
            r#"{"steps":[{"grok":{"pattern":"%{COMBINEDAPACHELOG}"}}]}"#,
            ACCESS,
        ),
        (
            "regex",
            r#"{"steps":[{"regex":{"pattern":"^(?<time>\\S+ \\S+) (?<level>\\w+) (?<logger>[\\w.]+): (?<text>.*)$"}}]}"#,
            PLAIN,
        ),
        (
            "redact, nothing to hide",
            r#"{"steps":[{"redact":{"presets":["credit_card","email","bearer_token","api_key","ip_address"]}}]}"#,
            PLAIN,
        ),
        ("vrl, one field", r#"{"steps":[{"vrl":".n = 1"}]}"#, PLAIN),
        (
            "vrl, parse_json",
            r#"{"steps":[{"vrl":". |= object!(parse_json!(.message))"}]}"#,
            JSON,
        ),
    ];
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(20);
    for (name, settings, line) in cases {
        let settings: Settings = serde_json::from_str(settings).expect("right settings");
        let pipeline = Pipeline::compile("bench", &settings).expect("right steps");
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(name, |bencher| {
            let mut document = Document::new();
            bencher.iter(|| {
                document.clear();
                document.set_str("@timestamp", &arrived_text);
                document.set_str("message", line);
                document.set_str("log.file.path", "/var/log/shop/shop.log");
                document.set_value("log.offset", &4711);
                document.set_str("host.name", "web-1");
                black_box(pipeline.event(&mut document, &index, arrived))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pipelines);
criterion_main!(benches);
