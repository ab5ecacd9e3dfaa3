//! Any bytes as an OTLP logs request in Json: no panic, every record is kept or counted, every document is one JSON
//! object within its limit.

#![no_main]

use collector::source::otlp::{Format, Terms, read_logs};
use event::{IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;
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
    let Ok(documents) = read_logs(Format::Json, body, terms(EVENT_BYTES_MAX)) else {
        return;
    };
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
    let Ok(whole) = read_logs(Format::Json, body, terms(1 << 20)) else {
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
