//! The source as its clients see it, a fake journal behind it. Protobuf is written by structures of Loki's own numbers.

use axum::body::to_bytes;
use event::{AppendError, RetryAfter, Timestamp};
use http::Request;
use proptest::prelude::*;
use prost::Message;
use tower::ServiceExt;

use super::super::gathered::no_steps;
use super::*;
use crate::body;
use crate::source::fake::FakeJournal;

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct StreamAdapter {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryAdapter>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Time>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

struct Fixture {
    journal: Arc<FakeJournal>,
    context: PushContext,
    router: Router,
}

fn fixture() -> Fixture {
    let journal = Arc::new(FakeJournal::default());
    let context = journal.context_with(body::Settings {
        bytes_max: 1 << 20,
        ..body::Settings::default()
    });
    let settings = Settings {
        source_name: Arc::from("loki_push"),
        index: IndexName::default_index(),
        event_bytes_max: 1000,
        pipeline: no_steps("loki_push"),
    };
    Fixture {
        journal,
        router: routes(settings, context.clone()),
        context,
    }
}

impl Fixture {
    async fn post(&self, headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, String) {
        let mut request = Request::post("/loki/api/v1/push");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(AxumBody::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn sources(&self) -> Vec<String> {
        let events = self.journal.events();
        events
            .iter()
            .map(|event| String::from_utf8(event.source.to_vec()).unwrap())
            .collect()
    }
}

fn request(labels: &str, line: &str) -> PushRequest {
    PushRequest {
        streams: vec![StreamAdapter {
            labels: labels.to_owned(),
            entries: vec![EntryAdapter {
                timestamp: Some(Time {
                    seconds: 1_795_427_999,
                    nanos: 1,
                }),
                line: line.to_owned(),
                metadata: vec![Pair {
                    name: "trace_id".to_owned(),
                    value: "ab12".to_owned(),
                }],
            }],
            hash: 7,
        }],
    }
}

fn snappy(request: &PushRequest) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(&request.encode_to_vec())
        .unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[tokio::test]
async fn both_forms_are_the_same_event_and_what_is_sent_twice_is_stored_once() {
    let fixture = fixture();
    let protobuf = snappy(&request(
        r#"{app="shop", env="prod"}"#,
        "level=warn msg=\"no money\"",
    ));
    for _ in 0..2 {
        let answer = fixture
            .post(
                &[("content-type", "application/x-protobuf")],
                protobuf.clone(),
            )
            .await;
        assert_eq!(answer, (StatusCode::NO_CONTENT, String::new()));
    }
    let json = r#"{"streams":[{"stream":{"env":"prod","app":"shop"},"values":[["1795427999000000001","level=warn msg=\"no money\"",{"trace_id":"ab12"}]]}]}"#;
    assert_eq!(
        fixture.post(&[JSON], json.into()).await.0,
        StatusCode::NO_CONTENT
    );

    let events = fixture.journal.events();
    assert_eq!(events.len(), 3);
    assert!(
        events
            .iter()
            .all(|event| event == &events[0] && event.id.is_some())
    );
    assert_eq!(
        events[0].timestamp,
        Timestamp::from_nanos(1_795_427_999_000_000_001)
    );
    assert_eq!(
        fixture.sources()[0],
        r#"{"@timestamp":"2026-11-23T09:59:59.000000001Z","message":"level=warn msg=\"no money\"","app":"shop","env":"prod","trace_id":"ab12","service.name":"shop","log.level":"warn"}"#
    );
}

#[tokio::test]
async fn names_that_are_taken_are_kept_under_others() {
    let fixture = fixture();
    let json = r#"{"streams":[{"stream":{"message":"m","level":"ERROR","x":"1","empty":""},"values":[["1795427999000000000","it works",{"x":"2"}]]}]}"#;
    assert_eq!(
        fixture.post(&[JSON], json.into()).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        fixture.sources(),
        [
            r#"{"@timestamp":"2026-11-23T09:59:59.000Z","message":"it works","level":"ERROR","label.message":"m","x":"1","metadata.x":"2","log.level":"error"}"#
        ]
    );
}

#[tokio::test]
async fn a_bad_entry_does_not_harm_its_neighbours() {
    let fixture = fixture();
    let long = "x".repeat(2000);
    let json = format!(
        r#"{{"streams":[{{"stream":{{"app":"a"}},"values":[["soon","1"],["1795427999000000000",2],["1795427999000000000","{long}"],["1795427999000000000","good"]]}}]}}"#
    );
    let (status, text) = fixture.post(&[JSON], json.into()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        text.starts_with("the time soon is no number of nanoseconds"),
        "{text}"
    );
    assert_eq!(fixture.sources().len(), 1);

    let mut two = request("{app=", "lost");
    two.streams.extend(request(r#"{app="b"}"#, "kept").streams);
    let (status, text) = fixture.post(&[], snappy(&two)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.starts_with("error parsing labels {app=: "), "{text}");
    assert_eq!(fixture.sources().len(), 2);
    let totals = fixture.context.ledger.totals().remove(0);
    assert_eq!(
        (totals.received, totals.rejected.values().sum::<u64>()),
        (6, 4)
    );

    *fixture.journal.oldest.lock().unwrap() =
        Some(Timestamp::from_nanos(1_800_000_000_000_000_000));
    let (status, text) = fixture
        .post(&[], snappy(&request("{a=\"b\"}", "old")))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("older"), "{text}");
}

#[tokio::test]
async fn whole_requests_are_refused_with_the_codes_senders_know() {
    let fixture = fixture();
    let good = snappy(&request("{a=\"b\"}", "x"));
    let bomb = {
        // Announces 64 MiB in four bytes.
        let mut bomb = vec![0x80, 0x80, 0x80, 0x20];
        bomb.extend([0; 8]);
        bomb
    };
    let claim = vec![0x80, 0x80, 0x20, 0, 0];
    let mut deep = snap::raw::Encoder::new();
    let large = deep.compress_vec(&vec![0; 2 << 20]).unwrap();
    for (headers, body, expected) in [
        (
            vec![],
            snappy(&PushRequest { streams: vec![] }),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (vec![JSON], b"{}".to_vec(), StatusCode::UNPROCESSABLE_ENTITY),
        (vec![JSON], b"{".to_vec(), StatusCode::BAD_REQUEST),
        (
            vec![JSON, ("content-encoding", "br")],
            b"{}".to_vec(),
            StatusCode::BAD_REQUEST,
        ),
        (
            vec![("content-encoding", "gzip")],
            good.clone(),
            StatusCode::BAD_REQUEST,
        ),
        (vec![], b"not snappy".to_vec(), StatusCode::BAD_REQUEST),
        (vec![], bomb, StatusCode::PAYLOAD_TOO_LARGE),
        (vec![], claim, StatusCode::BAD_REQUEST),
        (vec![], large, StatusCode::PAYLOAD_TOO_LARGE),
        (
            vec![("content-encoding", "snappy")],
            good.clone(),
            StatusCode::NO_CONTENT,
        ),
    ] {
        let (status, text) = fixture.post(&headers, body).await;
        assert_eq!(status, expected, "{headers:?}: {text}");
    }
    *fixture.journal.refuse_with.lock().unwrap() = Some(AppendError::Full {
        message: "x".to_owned(),
        retry_after: RetryAfter::ONE_SECOND,
    });
    assert_eq!(
        fixture.post(&[], good).await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
    let totals = fixture.context.ledger.totals().remove(0);
    assert_eq!(totals.in_flight, 1, "the one that was stored");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for format in [Format::Protobuf, Format::Json] {
            let terms = Terms {
                index: IndexName::default_index(),
                received: Timestamp::from_nanos(1_795_428_000_000_000_000),
                event_bytes_max: 1000,
                pipeline: no_steps("loki_push"),
            };
            if let Ok(gathered) = read(format, &bytes, terms) {
                prop_assert_eq!(gathered.received, gathered.events.len() as u64 + gathered.refused_count());
            }
        }
    }
}
