//! Any bytes as a `_bulk` body: no panic, an item for every action, and every accepted document is a part of the body
//! that serde_json can walk.

#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use collector::source::elastic_bulk::{ItemState, Terms, read_bulk};
use event::{Operation, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const EVENT_BYTES_MAX: usize = 200;

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    // Without an index in the path, each action has to name one.
    for path_index in [Some("logs".to_owned()), None] {
        let terms = Terms {
            path_index,
            received: Timestamp::from_nanos(0),
            event_bytes_max: EVENT_BYTES_MAX,
        };
        check(&body, terms);
    }
});

fn check(body: &Bytes, terms: Terms) {
    let request = match read_bulk(body, terms) {
        Ok(request) => request,
        Err(unreadable) => {
            assert!(unreadable.event_count >= 1);
            assert!(!unreadable.error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(request.items.len(), action_count(body));
    let is_sent = |state: &ItemState| matches!(state, ItemState::Sent { .. });
    let sent = request.items.iter().filter(|item| is_sent(&item.state));
    assert_eq!(sent.clone().count(), request.events.len());
    for (event, item) in request.events.iter().zip(sent) {
        assert_eq!(event.id, item.id);
        if event.operation == Operation::Delete {
            assert!(event.id.is_some() && event.source.is_empty());
            continue;
        }
        assert!(event.source.len() <= EVENT_BYTES_MAX);
        assert!(event.source.starts_with(b"{") && event.source.ends_with(b"}"));
        assert!(body.as_ptr_range().contains(&event.source.as_ptr()));
        assert!(serde_json::from_slice::<&RawValue>(&event.source).is_ok());
    }
}

/// The actions of a body that can be read, counted in another way: only a delete has no document behind it.
fn action_count(body: &[u8]) -> usize {
    let mut lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut count = 0;
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        count += 1;
        let action: BTreeMap<String, &RawValue> =
            serde_json::from_slice(line).expect("the line was read as an action");
        if !action.contains_key("delete") {
            lines.next();
        }
    }
    count
}
