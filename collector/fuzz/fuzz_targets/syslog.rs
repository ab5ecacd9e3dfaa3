//! Any bytes as a syslog stream, cut into any pieces: no panic, the same messages however it is cut, and every message
//! one valid JSON object.

#![no_main]

use std::sync::Arc;

use collector::source::syslog::document::{Stamp, Writer};
use collector::source::syslog::framing::Deframer;
use collector::source::syslog::priority;
use event::{Document, IndexName, Timestamp};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

const MESSAGE_BYTES_MAX: usize = 300;

fuzz_target!(|input: &[u8]| {
    // The first byte says in which pieces the others arrive.
    let Some((piece, stream)) = input.split_first() else {
        return;
    };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(*piece).max(1)), whole);

    let stamp = Arc::new(Stamp {
        index: IndexName::default_index(),
        zone: TimeZone::UTC,
        pipeline: None,
        host_name: None,
        priority_fields: priority::field_texts(),
    });
    let mut writer = Writer::new(stamp);
    writer.arrived(Timestamp::from_nanos(1_795_428_000_000_000_000));
    writer.from([192, 0, 2, 1].into());
    for (message, is_cut) in &whole {
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        writer.push(message, *is_cut);
    }
    let written = writer.take();
    assert_eq!(written.events.len() as u64, written.received);
    for event in written.events {
        let document = Document::parse(&event.source).expect("an event is a JSON object");
        assert!(document.get("message").is_some());
    }
});

fn frames(stream: &[u8], piece: usize) -> Vec<(Vec<u8>, bool)> {
    let mut deframer = Deframer::new(MESSAGE_BYTES_MAX);
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let step = deframer.step(&buffer);
            if let Some(frame) = step.frame {
                frames.push((buffer[frame.range].to_vec(), frame.is_cut));
            }
            if step.used == 0 {
                break;
            }
            buffer.drain(..step.used);
        }
    }
    if let Some(frame) = deframer.finish(&buffer) {
        frames.push((buffer[frame.range].to_vec(), frame.is_cut));
    }
    frames
}
