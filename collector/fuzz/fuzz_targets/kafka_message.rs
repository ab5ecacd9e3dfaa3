//! Any bytes as a message of Kafka, with a key and headers: no panic, every event is a JSON object that says where it
//! comes from and is no larger than allowed. And any bytes as checkpoints of its places.

#![no_main]

use collector::source::checkpoint::{self, Entries};
use collector::source::gathered::no_steps;
use collector::source::kafka::message::{Made, Maker, Record};
use collector::source::kafka::place;
use event::{Document, IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

const EVENT_BYTES_MAX: usize = 2000;

fuzz_target!(|input: &[u8]| {
    let Some((split, rest)) = input.split_first() else {
        return;
    };
    let (around, value) = rest.split_at(usize::from(*split).min(rest.len()));
    let received = Timestamp::from_nanos(1_795_428_000_000_000_000);
    let headers = around.split(|byte| *byte == b'\n').map(|header| {
        let mut parts = header.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default());
        (name.into_owned(), parts.next())
    });
    let record = Record {
        topic: "fuzz",
        partition: 0,
        offset: i64::MAX,
        time: around
            .first_chunk()
            .and_then(|millis| Timestamp::from_millis(i64::from_be_bytes(*millis))),
        key: Some(around),
        headers: headers.collect(),
        value: Some(value),
    };
    let maker = Maker {
        index: IndexName::default_index(),
        pipeline: no_steps("fuzz"),
        event_bytes_max: EVENT_BYTES_MAX,
    };
    match maker.make(&record, received).0 {
        Made::Event(event) => {
            assert!(event.source.len() <= EVENT_BYTES_MAX);
            let document = Document::parse(&event.source).expect("an event is a JSON object");
            assert!(document.get("kafka.offset").is_some());
        }
        Made::Rejected(reason) => assert_eq!(reason, "too_large"),
        Made::Dropped(reason) => panic!("{reason}"),
    }

    let mut entries = Entries::new();
    if checkpoint::apply(rest, &mut entries) {
        let places = place::recovered(&entries);
        let mut again = Entries::new();
        assert!(checkpoint::apply(
            &place::checkpoint_of(&places),
            &mut again
        ));
        assert_eq!(place::recovered(&again), places);
    }
});
