//! Any bytes as an OTLP logs request in Json: no panic, every document is one JSON object within its limit.

#![no_main]

use collector::source::otlp::{Format, Terms, read_logs};
use event::{IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

const EVENT_BYTES_MAX: usize = 2000;

fuzz_target!(|body: &[u8]| {
    let terms = Terms {
        index: IndexName::default_index(),
        received: Timestamp::from_nanos(1_795_428_000_000_000_000),
        event_bytes_max: EVENT_BYTES_MAX,
        request_bytes_max: 1 << 20,
    };
    let Ok(documents) = read_logs(Format::Json, body, terms) else {
        return;
    };
    for event in documents.events {
        assert!(event.source.len() <= EVENT_BYTES_MAX);
        assert!(event.source.starts_with(b"{\"@timestamp\":\""));
        let walked = serde_json::from_slice::<&serde_json::value::RawValue>(&event.source);
        assert!(walked.is_ok());
    }
});
