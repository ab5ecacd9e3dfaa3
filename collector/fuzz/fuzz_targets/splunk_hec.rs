//! Any bytes as events and as raw lines of Splunk's collector, and as a body of the source `http`: no panic, everything
//! is kept, refused or dropped.

#![no_main]

use std::sync::Arc;

use collector::pipeline::Pipeline;
use collector::source::gathered::{Gathered, Terms, no_steps};
use collector::source::http;
use collector::source::splunk_hec::{read_events, read_raw};
use event::{IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let terms = || Terms {
        index: IndexName::default_index(),
        received: Timestamp::from_nanos(1_795_428_000_000_000_000),
        event_bytes_max: 500,
        pipeline: Arc::new(Pipeline::automatic()),
    };
    let (events, problem) = read_events(body, terms(), no_steps("hec"));
    check(&events);
    assert!(problem.is_none() || events.refused_count() > 0);
    check(&read_raw(body, &[], terms()));
    for format in [http::Format::Lines, http::Format::Objects, http::Format::Array] {
        check(&http::read(format, body, "time", terms()));
    }
});

fn check(gathered: &Gathered) {
    let kept = gathered.events.len() as u64;
    assert_eq!(gathered.received, kept + gathered.refused_count() + gathered.dropped_count());
    for event in &gathered.events {
        assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&event.source).is_ok());
    }
}
