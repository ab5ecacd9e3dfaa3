//! Any bytes as a push in either of Loki's formats: no panic, every entry is kept, refused or dropped, and every kept
//! one is a JSON object within the limit.

#![no_main]

use collector::source::gathered::{Terms, no_steps};
use collector::source::loki_push::{Format, read};
use event::{IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

const EVENT_BYTES_MAX: usize = 500;

fuzz_target!(|body: &[u8]| {
    for format in [Format::Protobuf, Format::Json] {
        let terms = Terms {
            index: IndexName::default_index(),
            received: Timestamp::from_nanos(1_795_428_000_000_000_000),
            event_bytes_max: EVENT_BYTES_MAX,
            pipeline: no_steps("loki_push"),
        };
        let Ok(gathered) = read(format, body, terms) else {
            continue;
        };
        let kept = gathered.events.len() as u64;
        assert_eq!(gathered.received, kept + gathered.refused_count());
        for event in &gathered.events {
            assert!(event.source.len() <= EVENT_BYTES_MAX);
            assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&event.source).is_ok());
        }
    }
});
