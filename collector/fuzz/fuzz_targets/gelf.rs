//! Any bytes as GELF datagrams and as a GELF stream: no panic, every message is an event or counted, every event is a
//! JSON object.

#![no_main]

use std::sync::Arc;

use collector::listener::reception::{Decoder, Written};
use collector::source::gelf::GelfDecoder;
use collector::source::gelf::document::Stamp;
use event::{Document, IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first() else {
        return;
    };
    let peer = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
    let stamp = Arc::new(Stamp {
        index: IndexName::default_index(),
        pipeline: None,
    });
    let mut datagrams = GelfDecoder::new(Arc::clone(&stamp), 300);
    datagrams.arrived(Timestamp::from_nanos(1_795_428_000_000_000_000));
    for datagram in rest.chunks(usize::from(*length).max(1)) {
        datagrams.datagram(peer, datagram);
    }
    datagrams.datagrams_end();
    check(datagrams.take());

    let mut stream = GelfDecoder::new(stamp, 300);
    stream.arrived(Timestamp::from_nanos(1_795_428_000_000_000_000));
    let used = stream.stream(peer, rest);
    stream.stream_end(&rest[used..]);
    check(stream.take());
});

fn check(written: Written) {
    let counted = written.events.len() + written.rejected.len();
    assert_eq!(written.received as usize, counted);
    for event in written.events {
        Document::parse(&event.source).expect("an event is a JSON object");
    }
}
