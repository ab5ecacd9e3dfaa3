//! Any bytes as a `_bulk` body: no panic, and every accepted document is a part of the body that serde_json can walk.

#![no_main]

use bytes::Bytes;
use collector::source::elastic_bulk::{Terms, read_bulk};
use event::{Operation, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    let terms = Terms {
        path_index: Some("logs".to_owned()),
        received: Timestamp::from_nanos(0),
        event_bytes_max: 1000,
    };
    let Ok(request) = read_bulk(&body, terms) else {
        return;
    };
    assert!(request.events.len() <= request.items.len());
    for event in request.events {
        if event.operation == Operation::Delete {
            assert!(event.id.is_some() && event.source.is_empty());
        } else {
            assert!(event.source.starts_with(b"{") && event.source.ends_with(b"}"));
            let walked = serde_json::from_slice::<&serde_json::value::RawValue>(&event.source);
            assert!(walked.is_ok());
        }
    }
});
