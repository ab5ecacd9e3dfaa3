//! Any bytes as an OTLP logs request in Protobuf: no panic, every record is kept or counted, every document is one JSON
//! object within its limit. What another reader of Protobuf takes, ours takes too, with as many records.

#![no_main]

use collector::source::otlp::{Format, Terms, read_logs};
use event::{IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use serde_json::value::RawValue;

/// Small, so that small inputs are cut too.
const EVENT_BYTES_MAX: usize = 500;

fuzz_target!(|body: &[u8]| {
    let terms = |event_bytes_max| Terms {
        index: IndexName::default_index(),
        received: Timestamp::from_nanos(1_795_428_000_000_000_000),
        event_bytes_max,
        request_bytes_max: 1 << 24,
    };
    let read = read_logs(Format::Protobuf, body, terms(EVENT_BYTES_MAX));
    let other = ExportLogsServiceRequest::decode(body).ok();
    let Ok(documents) = read else {
        // Small inputs are not too much.
        assert!(other.is_none() || body.len() > 4096, "{:?}", read.err());
        return;
    };
    if let Some(other) = other {
        let scopes = other
            .resource_logs
            .iter()
            .flat_map(|resource| &resource.scope_logs);
        let count: usize = scopes.map(|scope| scope.log_records.len()).sum();
        assert_eq!(
            (documents.record_count, documents.malformed_count),
            (count as u64, 0)
        );
    }
    let kept = documents.events.len() as u64;
    let refused = documents.malformed_count + documents.too_large_count;
    assert_eq!(documents.record_count, kept + refused);
    assert_eq!(documents.first_problem.is_some(), refused > 0);
    for event in &documents.events {
        assert!(event.source.len() <= EVENT_BYTES_MAX);
        assert!(event.source.starts_with(b"{\"@timestamp\":\""));
        assert!(serde_json::from_slice::<&RawValue>(&event.source).is_ok());
    }
    // What is larger than the limit was too large or cut, nothing else.
    let Ok(whole) = read_logs(Format::Protobuf, body, terms(1 << 20)) else {
        return;
    };
    assert_eq!(whole.record_count, documents.record_count);
    assert_eq!(whole.malformed_count, documents.malformed_count);
    let longer = whole
        .events
        .iter()
        .filter(|event| event.source.len() > EVENT_BYTES_MAX);
    assert_eq!(
        longer.count() as u64 + whole.too_large_count,
        documents.truncated_count + documents.too_large_count
    );
});
