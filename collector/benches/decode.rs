//! How fast requests become events: `_bulk` split and validated, OTLP protobuf and JSON turned into documents.
//!
//! Bytes of the request per second, one thread. Run with `cargo bench -p collector --bench decode`.

use bytes::Bytes;
use collector::source::{elastic_bulk, otlp};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use event::{IndexName, Timestamp};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

const EVENTS: u64 = 4000;
const RECEIVED: Timestamp = Timestamp::from_nanos(1_795_428_000_000_000_000);

fn message(n: u64) -> String {
    let client = n.wrapping_mul(2_654_435_761) % 251;
    format!(
        "10.0.3.{client} - - [23/Nov/2026:10:00:00 +0000] \"GET /api/orders/{n}?page=2 HTTP/1.1\" 200 {}",
        n * 37 % 9000
    )
}

fn bulk_body(with_ids: bool) -> Bytes {
    let mut body = String::new();
    for n in 0..EVENTS {
        match with_ids {
            true => body.push_str(&format!(
                "{{\"index\":{{\"_index\":\"web-2026.11.23\",\"_id\":\"{n:020}\"}}}}\n"
            )),
            false => body.push_str("{\"create\":{\"_index\":\"web-2026.11.23\"}}\n"),
        }
        let document = serde_json::json!({
            "@timestamp": Timestamp::from_nanos(RECEIVED.nanos() + n as i64 * 1_000_000).to_rfc3339(),
            "message": message(n),
            "host": {"name": "web-3"},
            "http": {"request": {"method": "GET"}, "response": {"status_code": 200, "bytes": n * 37 % 9000}},
            "tags": ["nginx", "access"],
        });
        body.push_str(&document.to_string());
        body.push('\n');
    }
    Bytes::from(body)
}

fn otlp_request() -> ExportLogsServiceRequest {
    let pair = |key: &str, value: Value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    };
    let text = |text: &str| Value::StringValue(text.to_owned());
    let log_records = (0..EVENTS).map(|n| LogRecord {
        time_unix_nano: RECEIVED.nanos() as u64 + n,
        observed_time_unix_nano: RECEIVED.nanos() as u64 + n,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(message(n))),
        }),
        attributes: vec![
            pair("http.request.method", text("GET")),
            pair("http.response.status_code", Value::IntValue(200)),
            pair("url.path", text("/api/orders")),
        ],
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        ..Default::default()
    });
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![
                    pair("service.name", text("checkout")),
                    pair("service.instance.id", text("checkout-7f9c")),
                    pair("k8s.pod.name", text("checkout-7f9c-x2x")),
                ],
                ..Default::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "app.http".to_owned(),
                    ..Default::default()
                }),
                log_records: log_records.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
}

fn bulk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bulk");
    for (name, with_ids) in [("without_ids", false), ("with_ids", true)] {
        let body = bulk_body(with_ids);
        let terms = elastic_bulk::Terms {
            path_index: None,
            received: RECEIVED,
            event_bytes_max: 1 << 20,
        };
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || terms.clone(),
                |terms| elastic_bulk::read_bulk(&body, terms).map(|request| request.events.len()),
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
}

fn otlp_logs(criterion: &mut Criterion) {
    let request = otlp_request();
    let protobuf = request.encode_to_vec();
    let json = serde_json::to_vec(&request).unwrap_or_default();
    let terms = otlp::Terms {
        index: IndexName::default_index(),
        received: RECEIVED,
        event_bytes_max: 1 << 20,
        request_bytes_max: 64 << 20,
    };
    let mut group = criterion.benchmark_group("otlp");
    for (name, format, body) in [
        ("protobuf", otlp::Format::Protobuf, protobuf),
        ("json", otlp::Format::Json, json),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || terms.clone(),
                |terms| {
                    otlp::read_logs(format, &body, terms).map(|documents| documents.events.len())
                },
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, bulk, otlp_logs);
criterion_main!(benches);
