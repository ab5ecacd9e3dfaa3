//! The source as its clients see it, a fake journal behind it. Requests are those of Splunk's documentation.

use ::event::{AppendError, RetryAfter};
use axum::body::to_bytes;
use http::Request;
use proptest::prelude::*;
use tower::ServiceExt;

use super::super::gathered::no_steps;
use super::*;
use crate::body;
use crate::source::fake::FakeJournal;

struct Fixture {
    journal: Arc<FakeJournal>,
    context: PushContext,
    router: Router,
}

fn fixture(tokens: &[&str]) -> Fixture {
    let journal = Arc::new(FakeJournal::default());
    let context = journal.context_with(body::Settings::default());
    let settings = Settings {
        source_name: Arc::from("splunk_hec"),
        index: IndexName::default_index(),
        event_bytes_max: 1000,
        lines_pipeline: Arc::new(Pipeline::automatic()),
        objects_pipeline: no_steps("splunk_hec"),
        tokens: tokens
            .iter()
            .map(|token| Secret::parse(token).unwrap())
            .collect(),
    };
    Fixture {
        journal,
        router: routes(settings, context.clone()),
        context,
    }
}

impl Fixture {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = Request::post(format!("/services/collector{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(AxumBody::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    fn sources(&self) -> Vec<String> {
        let events = self.journal.events();
        events
            .iter()
            .map(|event| format!("{} {}", event.index, String::from_utf8_lossy(&event.source)))
            .collect()
    }
}

#[tokio::test]
async fn events_and_raw_lines_are_taken() {
    let fixture = fixture(&[]);
    let body = r#"{"event":"ERROR no money","time":1795427999.5,"host":"web-1","sourcetype":"shop","fields":{"pod":"a"}}
        {"event":{"message":"paid","n":0.470,"source":"own"},"time":"1795427999123","source":"x","index":"shop"}{"event":7,"index":"Not Valid"}"#;
    let (status, reply) = fixture.post("/event", &[], body).await;
    assert_eq!((status, reply), (200, json!({"text":"Success","code":0})));
    let (status, _) = fixture
        .post(
            "/raw?host=web%2D2&sourcetype=a+b&index=raw",
            &[],
            "one\r\n\ntwo\n",
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        fixture.sources(),
        [
            r#"logs {"@timestamp":"2026-11-23T09:59:59.500Z","message":"ERROR no money","host.name":"web-1","sourcetype":"shop","pod":"a","log.level":"error"}"#,
            r#"logs {"@timestamp":"2026-11-23T10:00:00.000Z","message":"7"}"#,
            r#"shop {"@timestamp":"2026-11-23T09:59:59.123Z","message":"paid","n":0.470,"source":"own"}"#,
            r#"raw {"@timestamp":"2026-11-23T10:00:00.000Z","message":"one","host.name":"web-2","sourcetype":"a b"}"#,
            r#"raw {"@timestamp":"2026-11-23T10:00:00.000Z","message":"two","host.name":"web-2","sourcetype":"a b"}"#,
        ]
    );
}

#[tokio::test]
async fn the_first_wrong_event_is_told_and_its_neighbours_are_kept() {
    let fixture = fixture(&[]);
    for (body, code, number) in [
        (r#"{"event":"a"}{"time":1}{"event":"b"}"#, 12, 1),
        (r#"{"event":""}{"event":"c"}"#, 13, 0),
        (r#"{"event":"d"}{"event":"#, 6, 1),
        (r#"[1]"#, 6, 0),
    ] {
        let (status, reply) = fixture.post("", &[], body).await;
        let told = (
            status,
            reply["code"].as_u64(),
            reply["invalid-event-number"].as_u64(),
        );
        assert_eq!(told, (400, Some(code), Some(number)), "{body}: {reply}");
    }
    assert_eq!(fixture.sources().len(), 4);
    let totals = fixture.context.ledger.totals().remove(0);
    assert_eq!((totals.received, totals.rejected["malformed"]), (8, 4));
    let (status, reply) = fixture.post("", &[], " ").await;
    assert_eq!((status, reply["code"].as_u64()), (400, Some(5)));
}

#[tokio::test]
async fn tokens_are_asked_for_where_there_are_some() {
    let fixture = fixture(&["s3cret", "other"]);
    for (header, path, expected) in [
        (("x-none", ""), "/event", (401, 2)),
        (("authorization", "Splunk wrong"), "/event", (403, 4)),
        (("authorization", "Splunk s3cret"), "/event", (200, 0)),
        // x:other
        (("authorization", "Basic eDpvdGhlcg=="), "/event", (200, 0)),
        (("x-none", ""), "/event?token=s3cret", (200, 0)),
        (("authorization", "Splunk s3cre"), "/raw", (403, 4)),
    ] {
        let (status, reply) = fixture.post(path, &[header], r#"{"event":"x"}"#).await;
        assert_eq!(
            (status, reply["code"].as_u64()),
            (expected.0, Some(expected.1)),
            "{header:?} {path}"
        );
    }
    assert!(!format!("{:?}", Secret::parse("s3cret").unwrap()).contains("s3cret"));
}

#[tokio::test]
async fn what_is_durable_is_acknowledged() {
    let fixture = fixture(&[]);
    let channel = (
        "x-splunk-request-channel",
        "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba",
    );
    for id in 0..2 {
        let (_, reply) = fixture.post("/event", &[channel], r#"{"event":"x"}"#).await;
        assert_eq!(reply["ackId"].as_u64(), Some(id));
    }
    let (status, reply) = fixture
        .post("/ack", &[channel], r#"{"acks":[0,1,2]}"#)
        .await;
    assert_eq!(
        (status, reply),
        (200, json!({"acks":{"0":true,"1":true,"2":false}}))
    );
    let (status, reply) = fixture.post("/ack", &[], r#"{"acks":[0]}"#).await;
    assert_eq!((status, reply["code"].as_u64()), (400, Some(10)));

    *fixture.journal.refuse_with.lock().unwrap() = Some(AppendError::Full {
        message: "x".to_owned(),
        retry_after: RetryAfter::ONE_SECOND,
    });
    let (status, reply) = fixture.post("/event", &[channel], r#"{"event":"x"}"#).await;
    assert_eq!(
        (status, reply["code"].as_u64(), reply.get("ackId")),
        (503, Some(9), None)
    );
}

proptest! {
    #[test]
    fn any_body_is_taken_or_refused(body in "(\\{\"event\":[\"a1\\{\\}\\[,]{0,6}\\}?[\" ,]?){0,4}") {
        let terms = Terms {
            index: IndexName::default_index(),
            received: ::event::Timestamp::from_nanos(1_795_428_000_000_000_000),
            event_bytes_max: 1000,
            pipeline: no_steps("splunk_hec"),
        };
        let (gathered, problem) = read_events(body.as_bytes(), terms.clone(), no_steps("splunk_hec"));
        prop_assert_eq!(gathered.received, gathered.events.len() as u64 + gathered.refused_count());
        prop_assert_eq!(problem.is_some(), gathered.refused_count() > 0);
        read_raw(body.as_bytes(), &[], terms);
    }
}
