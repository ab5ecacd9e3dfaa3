//! Any bytes as an export stream of the journal: no panic, the same however they are cut, every value within its limit,
//! and never more than came in.

#![no_main]

use collector::source::journald::export::{Decoder, Entry};
use libfuzzer_sys::fuzz_target;

/// Small, so that small inputs are cut too.
const VALUE_BYTES_MAX: usize = 64;

fuzz_target!(|input: (u8, &[u8])| {
    let (pieces, bytes) = input;
    let entries = read(bytes, usize::from(pieces).max(1));
    assert_eq!(entries, read(bytes, usize::MAX));
    let Some(entries) = entries else {
        return;
    };
    let raw: usize = entries.iter().map(|entry| entry.raw_bytes).sum();
    assert!(raw <= bytes.len());
    for entry in &entries {
        assert!(!entry.fields.is_empty());
        let values: usize = entry.fields.iter().map(|field| field.value.len()).sum();
        assert!(values <= 4 * VALUE_BYTES_MAX);
    }
});

/// `None` when the bytes are refused.
fn read(bytes: &[u8], pieces: usize) -> Option<Vec<Entry>> {
    let (mut decoder, mut entries) = (Decoder::new(VALUE_BYTES_MAX), Vec::new());
    for piece in bytes.chunks(pieces) {
        decoder.push(piece, &mut entries).ok()?;
    }
    Some(entries)
}
