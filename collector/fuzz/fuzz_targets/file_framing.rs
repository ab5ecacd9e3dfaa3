//! Any bytes as a file: of every encoding, as lines, joined lines, or entries of an exported journal. No panic, nothing
//! handed out twice, what is decoded is text, and a full window always holds something.

#![no_main]

use collector::source::file::encoding::Encoding;
use collector::source::file::framing::{Flush, Format, Frame, Framer};
use collector::transform::multiline::{Multiline, Settings};
use libfuzzer_sys::fuzz_target;

/// Small, so that small inputs are cut too.
const EVENT_BYTES_MAX: usize = 16;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (kind, flush, bytes) = input;
    let encodings = [
        Encoding::Utf8,
        Encoding::Utf16Le,
        Encoding::Utf16Be,
        Encoding::Latin1,
    ];
    let is_joined = kind & 4 != 0;
    let multiline = is_joined.then(|| {
        let settings = Settings {
            pattern: Some("^ ".to_owned()),
            lines_max: 5,
            ..Settings::default()
        };
        Multiline::compile(&settings).expect("a right pattern")
    });
    let framer = Framer {
        format: if kind & 8 != 0 {
            Format::JournaldExport
        } else {
            Format::Lines
        },
        encoding: encodings[usize::from(kind & 3)],
        event_bytes_max: EVENT_BYTES_MAX,
        multiline,
    };
    let flush = [Flush::Nothing, Flush::CompleteLines, Flush::Everything][usize::from(flush % 3)];
    let (mut at, mut encoding, mut is_skipping) = (0, framer.encoding, false);
    while at < bytes.len() {
        let window = &bytes[at..bytes.len().min(at + framer.window_bytes())];
        if is_skipping {
            let (skipped, is_over) = framer.rest(window, encoding, at as u64, flush);
            assert!(skipped <= window.len());
            (at, is_skipping) = (at + skipped, !is_over);
            if skipped == 0 {
                break;
            }
            continue;
        }
        // Behind the window there is more, so nothing there is at its end.
        let is_last = at + window.len() == bytes.len();
        let flush = if is_last { flush } else { Flush::Nothing };
        match framer.next(window, encoding, at as u64, flush) {
            Frame::Event {
                text,
                consumed,
                is_cut,
            } => {
                assert!(consumed > 0 && consumed <= window.len() && text.end <= consumed);
                let (text, _) = encoding.decode(&window[text]);
                assert!(encoding == Encoding::Utf8 || std::str::from_utf8(&text).is_ok());
                (at, is_skipping) = (at + consumed, is_cut);
            }
            Frame::Mark {
                encoding: marked,
                consumed,
            } => {
                assert!(at == 0 && consumed > 0);
                (at, encoding) = (at + consumed, marked);
            }
            Frame::Skipped(count) => {
                assert!(count > 0);
                at += count;
            }
            Frame::Incomplete => {
                assert!(window.len() < framer.window_bytes());
                break;
            }
        }
    }
});
