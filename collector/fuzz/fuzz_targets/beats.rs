//! Any bytes as a Beats connection, cut into any pieces: no panic, and the same events and answers however it is cut.

#![no_main]

use std::sync::Arc;

use collector::listener::conversation::Dialogue;
use collector::source::beats::{BeatsDialogue, Stamp};
use event::{Document, IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((piece, stream)) = input.split_first() else {
        return;
    };
    let whole = heard(stream, stream.len().max(1));
    assert_eq!(heard(stream, usize::from(*piece).max(1)), whole);
});

fn heard(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let stamp = Stamp {
        index: IndexName::default_index(),
        pipeline: None,
        event_bytes_max: 300,
    };
    let peer = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
    let mut dialogue = BeatsDialogue::new(Arc::new(stamp), peer);
    let (mut buffer, mut events, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Ok(Some(length)) = dialogue.whole(&buffer) {
            let now = Timestamp::from_nanos(1_795_428_000_000_000_000);
            let turn = dialogue.hear(&buffer[..length], now);
            if !turn.is_part {
                buffer.drain(..length);
            }
            for event in turn.written.events {
                Document::parse(&event.source).expect("an event is a JSON object");
                events.push(event.source.to_vec());
            }
            answers.extend_from_slice(&turn.answer);
            if turn.closes {
                return (events, answers);
            }
        }
    }
    (events, answers)
}
