//! Any bytes as a message of Fluentd's forward protocol: no panic, the end of a value is found in any pieces, every entry is
//! an event or counted, and every event is a JSON object.

#![no_main]

use collector::source::fluent_forward::message::{Arrival, Stamp, read};
use collector::source::fluent_forward::msgpack::EndFinder;
use event::{Document, IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else {
        return;
    };
    let whole = EndFinder::default().end(bytes);
    let mut finder = EndFinder::default();
    let mut in_pieces = Ok(None);
    let piece = usize::from(*piece).max(1);
    for arrived in (piece..bytes.len() + piece).step_by(piece) {
        in_pieces = finder.end(&bytes[..arrived.min(bytes.len())]);
        if in_pieces != Ok(None) {
            break;
        }
    }
    assert_eq!(in_pieces, whole);

    let stamp = Stamp {
        index: IndexName::default_index(),
        pipeline: None,
        event_bytes_max: 300,
    };
    let arrival = Arrival {
        peer: [192, 0, 2, 1].into(),
        now: Timestamp::from_nanos(1_795_428_000_000_000_000),
    };
    if let Ok(message) = read(bytes, &stamp, arrival) {
        let written = message.written;
        let counted = written.events.len() + written.rejected.len();
        assert_eq!(written.received as usize, counted);
        for event in written.events {
            Document::parse(&event.source).expect("an event is a JSON object");
        }
    }
});
