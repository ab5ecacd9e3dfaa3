//! Any bytes as the engine's answer to a question for logs: no panic, the same however they are cut, every line within
//! its limit, and nothing held that is not given back.

#![no_main]

use collector::source::docker::frames::{Demultiplexer, Held, Line, Output};
use libfuzzer_sys::fuzz_target;

/// Small, so that small inputs are cut too.
const LINE_BYTES_MAX: usize = 64;

fuzz_target!(|input: (u8, &[u8])| {
    let (pieces, bytes) = input;
    let lines = read(bytes, usize::from(pieces).max(1));
    assert_eq!(lines, read(bytes, usize::MAX));
    let raw: usize = lines.iter().flatten().map(|line| line.raw_bytes).sum();
    assert!(raw <= bytes.len());
    for line in lines.iter().flatten() {
        assert!(line.text.len() <= LINE_BYTES_MAX);
    }
});

/// `None` when the bytes are refused.
fn read(bytes: &[u8], pieces: usize) -> Option<Vec<Line>> {
    let held = Held::at_most(1 << 20);
    let mut demultiplexer = Demultiplexer::new(LINE_BYTES_MAX, &held);
    let mut output = Output::default();
    for piece in bytes.chunks(pieces) {
        demultiplexer.push(piece, &mut output).ok()?;
        demultiplexer.oldest_unfinished();
    }
    demultiplexer.finish(&mut output);
    Some(output.lines)
}
