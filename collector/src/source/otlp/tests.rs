//! The source as its clients see it: HTTP in both encodings and a real gRPC client, a fake journal behind it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use event::{AppendError, RetryAfter, SourceTotals, Timestamp};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tower::ServiceExt;

use super::status::{RetryInfo, Status};
use super::{Otlp, Settings};
use crate::body;
use crate::pipeline::Pipeline;
use crate::source::PushContext;
use crate::source::fake::FakeJournal;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json; charset=utf-8";

struct Fixture {
    journal: Arc<FakeJournal>,
    context: PushContext,
    otlp: Arc<Otlp>,
}

struct Reply {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(body::Settings::default())
    }

    fn through(steps: &str) -> Fixture {
        let settings = serde_json::from_str(steps).unwrap();
        let pipeline = Pipeline::compile("tidy", &settings).unwrap();
        let fixture = Fixture::new();
        let (settings, context) = (Settings::default(), fixture.context.clone());
        Fixture {
            otlp: Otlp::new(settings, Some(Arc::new(pipeline)), context),
            ..fixture
        }
    }

    fn with(bodies: body::Settings) -> Fixture {
        let journal = Arc::new(FakeJournal::default());
        let context = journal.context_with(bodies);
        let otlp = Otlp::new(Settings::default(), None, context.clone());
        Fixture {
            journal,
            context,
            otlp,
        }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<AxumBody>) -> Reply {
        let mut request = Request::builder().method("POST").uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let router: Router = self.otlp.http_routes();
        let request = request.body(body.into()).unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    fn client(&self) -> LogsServiceClient<Router> {
        LogsServiceClient::new(self.otlp.grpc_routes())
    }

    fn documents(&self) -> Vec<serde_json::Value> {
        let events = self.journal.events();
        events
            .iter()
            .map(|event| serde_json::from_slice(&event.source).unwrap())
            .collect()
    }

    fn totals(&self) -> SourceTotals {
        self.context.ledger.totals().remove(0)
    }
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        body: Some(AnyValue {
            value: Some(Value::StringValue(message.to_owned())),
        }),
        attributes: vec![KeyValue {
            key: "n".to_owned(),
            value: Some(AnyValue {
                value: Some(Value::IntValue(7)),
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: records,
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn log_records_go_through_the_pipeline_of_the_source() {
    let fixture = Fixture::through(
        r#"{"steps":[{"drop":{},"when":{"field":"message","equals":"noise"}},{"redact":{"presets":["email"]}}]}"#,
    );
    let body = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"mail to ada@example.org"}},{"body":{"stringValue":"noise"}}]}]}]}"#;
    let reply = fixture
        .post("/v1/logs", &[("content-type", JSON)], body)
        .await;
    assert_eq!(
        (reply.status, &reply.body[..]),
        (StatusCode::OK, &b"{}"[..])
    );
    let events = fixture.journal.events();
    assert_eq!(events.len(), 1);
    let source = String::from_utf8_lossy(&events[0].source);
    assert!(source.contains("mail to <email>"), "{source}");
    let totals = fixture.totals();
    assert_eq!(
        (totals.received, totals.dropped["dropped_by_pipeline"]),
        (2, 1)
    );
}

#[tokio::test]
async fn http_takes_both_encodings_compressed_or_not_and_answers_in_kind() {
    let fixture = Fixture::new();
    let protobuf = request(vec![record("hello")]).encode_to_vec();
    let json = serde_json::to_vec(&request(vec![record("hello")])).unwrap();
    for path in ["/v1/logs", "/otlp/v1/logs"] {
        let cases = [
            (PROTOBUF, "", protobuf.clone(), ""),
            (PROTOBUF, "gzip", gzip(&protobuf), ""),
            (
                PROTOBUF,
                "zstd",
                zstd::encode_all(&protobuf[..], 1).unwrap(),
                "",
            ),
            (JSON, "", json.clone(), "{}"),
            (JSON, "GZIP", gzip(&json), "{}"),
        ];
        for (content_type, encoding, body, expected) in cases {
            let headers = [
                ("content-type", content_type),
                ("content-encoding", encoding),
            ];
            let reply = fixture.post(path, &headers, body).await;
            assert_eq!(reply.status, StatusCode::OK, "{content_type} {encoding}");
            assert_eq!(reply.text(), expected);
            let answered = reply.headers["content-type"].to_str().unwrap();
            assert!(content_type.starts_with(answered));
        }
    }
    let documents = fixture.documents();
    assert_eq!(documents.len(), 10);
    for document in documents {
        assert_eq!(document["message"], "hello");
        assert_eq!(document["n"], 7);
        assert_eq!(document["@timestamp"], "2026-11-23T10:00:00.000Z");
    }
    assert_eq!(
        (fixture.totals().received, fixture.totals().in_flight),
        (10, 10)
    );
}

#[tokio::test]
async fn an_empty_request_is_fine() {
    let fixture = Fixture::new();
    for path in ["/v1/logs", "/v1/metrics", "/v1/traces"] {
        for (content_type, body) in [(PROTOBUF, ""), (JSON, "{}"), (JSON, "")] {
            let headers = [("content-type", content_type)];
            let reply = fixture.post(path, &headers, body).await;
            assert_eq!(reply.status, StatusCode::OK, "{path} {content_type}");
        }
    }
    assert!(fixture.journal.batches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn records_that_cannot_be_kept_are_a_partial_success() {
    let fixture = Fixture::new();
    *fixture.journal.oldest.lock().unwrap() = Some(Timestamp::parse_iso("2026").unwrap());
    let old = LogRecord {
        time_unix_nano: 1,
        ..record("old")
    };
    let body = request(vec![record("new"), old.clone(), old]).encode_to_vec();
    let headers = [("content-type", PROTOBUF)];
    let reply = fixture.post("/v1/logs", &headers, body).await;
    assert_eq!(reply.status, StatusCode::OK);
    let response = ExportLogsServiceResponse::decode(&reply.body[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 2);
    assert_eq!(
        partial.error_message,
        "2 log records rejected, first: the event is older than its index keeps"
    );

    let body = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{"flags":"x"}]}]}]}"#;
    let reply = fixture
        .post("/v1/logs", &[("content-type", JSON)], body)
        .await;
    let expected = r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"1 log records rejected, first: not a log record"#;
    assert!(reply.text().starts_with(expected), "{}", reply.text());
    assert_eq!(fixture.totals().rejected["malformed"], 1);
}

#[tokio::test]
async fn errors_are_a_status_in_the_encoding_of_the_request() {
    let fixture = Fixture::with(body::Settings {
        bytes_max: 1000,
        ..body::Settings::default()
    });
    let too_large = vec![b' '; 1001];
    let cases = [
        (
            PROTOBUF,
            "",
            b"\x0a\x05".to_vec(),
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
        ),
        (
            JSON,
            "",
            b"{".to_vec(),
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
        ),
        (
            JSON,
            "gzip",
            b"{}".to_vec(),
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
        ),
        (
            JSON,
            "br",
            b"{}".to_vec(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::Unimplemented,
        ),
        (
            JSON,
            "",
            too_large.clone(),
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::ResourceExhausted,
        ),
        (
            PROTOBUF,
            "gzip",
            gzip(&too_large),
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::ResourceExhausted,
        ),
        (
            "text/plain",
            "",
            b"x".to_vec(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::InvalidArgument,
        ),
    ];
    for (content_type, encoding, body, http_status, code) in cases {
        let headers = [
            ("content-type", content_type),
            ("content-encoding", encoding),
        ];
        let reply = fixture.post("/v1/logs", &headers, body).await;
        assert_eq!(reply.status, http_status, "{content_type} {encoding}");
        let told = if content_type == JSON {
            let status: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(!status["message"].as_str().unwrap().is_empty());
            status["code"].as_i64().unwrap() as i32
        } else {
            Status::decode(&reply.body[..]).unwrap().code
        };
        assert_eq!(told, code as i32, "{content_type} {encoding}");
    }
    assert_eq!(fixture.totals().in_flight, 0);
}

#[tokio::test]
async fn a_full_journal_is_told_to_both_transports_with_a_delay() {
    let fixture = Fixture::new();
    *fixture.journal.refuse_with.lock().unwrap() = Some(AppendError::Full {
        message: "95% of 4 GiB".to_owned(),
        retry_after: RetryAfter(Duration::from_secs(3)),
    });
    let message = request(vec![record("a"), record("b")]);
    let headers = [("content-type", PROTOBUF)];
    let reply = fixture
        .post("/v1/logs", &headers, message.encode_to_vec())
        .await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.headers["retry-after"], "3");

    let error = fixture.client().export(message.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let status = Status::decode(error.details()).unwrap();
    assert_eq!(status.code, Code::Unavailable as i32);
    let detail = &status.details[0];
    assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let retry_info = RetryInfo::decode(&detail.value[..]).unwrap();
    assert_eq!(retry_info.retry_delay.unwrap().seconds, 3);

    *fixture.journal.refuse_with.lock().unwrap() = Some(AppendError::Stopping);
    let reply = fixture
        .post("/v1/logs", &headers, message.encode_to_vec())
        .await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fixture.totals().rejected["journal_full"], 4);
    assert_eq!(fixture.totals().rejected["stopping"], 2);
}

#[tokio::test]
async fn a_grpc_client_is_served_plain_and_compressed() {
    let fixture = Fixture::new();
    let message = request(vec![record("over gRPC")]);
    for encoding in [
        None,
        Some(CompressionEncoding::Gzip),
        Some(CompressionEncoding::Zstd),
    ] {
        let mut client = fixture.client();
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding);
        }
        let response = client.export(message.clone()).await.unwrap();
        assert_eq!(response.into_inner(), ExportLogsServiceResponse::default());
    }
    let empty = ExportLogsServiceRequest::default();
    assert!(fixture.client().export(empty).await.is_ok());
    let documents = fixture.documents();
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[2]["message"], "over gRPC");
}

#[tokio::test]
async fn a_grpc_message_over_the_limit_must_not_be_sent_again() {
    let fixture = Fixture::with(body::Settings {
        bytes_max: 1000,
        ..body::Settings::default()
    });
    let message = request(vec![record(&"x".repeat(2000))]);
    let mut zipping = fixture.client().send_compressed(CompressionEncoding::Gzip);
    for outcome in [
        fixture.client().export(message.clone()).await,
        zipping.export(message).await,
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        assert!(error.details().is_empty());
    }
    assert_eq!(fixture.totals().rejected["request_too_large"], 2);
}

#[tokio::test]
async fn broken_grpc_frames_are_answered_with_a_status() {
    let fixture = Fixture::new();
    for (encoding, frame, code) in [
        ("identity", &b""[..], Code::InvalidArgument),
        ("identity", &[0, 0, 0, 0, 9, 1], Code::InvalidArgument),
        ("identity", &[1, 0, 0, 0, 1, 0], Code::Internal),
        ("gzip", &[1, 0, 0, 0, 1, 0], Code::InvalidArgument),
        ("snappy", &[1, 0, 0, 0, 1, 0], Code::Unimplemented),
        ("identity", &[0, 0, 0, 0, 1, 7], Code::InvalidArgument),
    ] {
        let request = Request::post("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
            .header("content-type", "application/grpc+proto")
            .header("grpc-encoding", encoding)
            .body(AxumBody::from(frame))
            .unwrap();
        let response = fixture.otlp.grpc_routes().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let told = response.headers()["grpc-status"].to_str().unwrap();
        assert_eq!(told, (code as i32).to_string(), "{encoding} {frame:?}");
    }
}

#[tokio::test]
async fn metrics_and_traces_are_refused_point_by_point_and_never_in_silence() {
    let fixture = Fixture::new();
    let gauge = Gauge {
        data_points: vec![NumberDataPoint::default(); 3],
    };
    let metrics = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![Metric {
                    data: Some(metric::Data::Gauge(gauge)),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let mut client = MetricsServiceClient::new(fixture.otlp.grpc_routes());
    let response = client.export(metrics.clone()).await.unwrap().into_inner();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 3);
    assert!(partial.error_message.contains("does not store metrics"));
    let body = serde_json::to_vec(&metrics).unwrap();
    let headers = [("content-type", JSON)];
    let reply = fixture.post("/v1/metrics", &headers, body).await;
    assert!(
        reply.text().contains("\"rejectedDataPoints\":\"3\""),
        "{}",
        reply.text()
    );

    let traces = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![Span::default(); 2],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let headers = [("content-type", PROTOBUF)];
    let body = traces.encode_to_vec();
    let reply = fixture.post("/v1/traces", &headers, body).await;
    let response = ExportLogsServiceResponse::decode(&reply.body[..]).unwrap();
    assert_eq!(response.partial_success.unwrap().rejected_log_records, 2);

    let totals = fixture.totals();
    assert_eq!(totals.rejected["metrics_not_supported"], 6);
    assert_eq!(totals.rejected["traces_not_supported"], 2);
    assert_eq!((totals.received, totals.in_flight), (8, 0));
}
