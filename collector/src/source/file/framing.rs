//! Where events begin and end in the bytes of a file.
//!
//! A pure function of the bytes from the start of an event on: nothing is kept between calls, so an event that is not
//! complete yet is simply looked at again once more bytes are there, also after a restart.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::entries;
use crate::transform::multiline::{Multiline, Side};

/// Code units for `\r\n` behind the longest line.
const LINE_END_UNITS: usize = 2;
/// Room for them and one more, in the widest units.
const LINE_END_BYTES_MAX: usize = 6;

/// What a file consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Lines of text.
    #[default]
    Lines,
    /// Entries of systemd's journal, as `journalctl --output=export` writes them.
    JournaldExport,
}

/// Cuts bytes into events.
#[derive(Debug, Clone)]
pub struct Framer {
    /// What the files consist of.
    pub format: Format,
    /// Of files that do not say it themselves.
    pub encoding: Encoding,
    /// Lines, and joined events, of more bytes in the file are cut.
    pub event_bytes_max: usize,
    /// The rule by which lines are joined.
    pub multiline: Option<Multiline>,
}

/// What stands at the beginning of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An event.
    Event {
        /// Its text, without the last line's end.
        text: Range<usize>,
        /// Bytes it takes, with the line's end.
        consumed: usize,
        /// The line is longer than allowed: what follows up to its end belongs to it and is to be skipped.
        is_cut: bool,
    },
    /// The byte order mark at a file's start: what follows it is of this encoding.
    Mark {
        /// What it says.
        encoding: Encoding,
        /// Bytes it takes.
        consumed: usize,
    },
    /// Bytes that are no event: a blank line, or the zeros an interrupted writer leaves behind.
    Skipped(usize),
    /// More bytes are needed. Never the answer to [`Framer::window_bytes`] or more.
    Incomplete,
}

/// What is to become of an event that more bytes could still belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flush {
    /// It waits.
    Nothing,
    /// Its complete lines are an event, a half line waits.
    CompleteLines,
    /// It is an event as it stands.
    Everything,
}

enum Line {
    Complete { text: Range<usize>, end: usize },
    TooLong,
    Incomplete,
}

impl Framer {
    /// How many bytes are always enough to find the end of an event.
    pub fn window_bytes(&self) -> usize {
        match self.format {
            Format::Lines => self.event_bytes_max.saturating_add(LINE_END_BYTES_MAX),
            Format::JournaldExport => entries::window_bytes(self.event_bytes_max),
        }
    }

    /// Looks at the bytes from the start of an event on, which lies at `offset` in the file. `encoding` is the file's:
    /// the settings' one until there was a [`Frame::Mark`].
    pub fn next(&self, bytes: &[u8], encoding: Encoding, offset: u64, flush: Flush) -> Frame {
        if self.format == Format::JournaldExport {
            return entries::next(bytes, self.window_bytes(), flush);
        }
        if let Some(frame) = leading_rubbish(bytes, encoding, offset, flush) {
            return frame;
        }
        let lines = Lines {
            bytes,
            encoding,
            event_bytes_max: self.event_bytes_max,
            flush,
        };
        match lines.line(0) {
            Line::Incomplete => Frame::Incomplete,
            Line::TooLong => {
                let end = encoding.cut_at(bytes, self.event_bytes_max);
                Frame::Event {
                    text: 0..end,
                    consumed: end,
                    is_cut: true,
                }
            }
            Line::Complete { text, end } if text.is_empty() => Frame::Skipped(end),
            // Between stack traces, blanks alone are no event either.
            Line::Complete { text, end }
                if self.multiline.as_ref().is_some_and(|multiline| {
                    multiline.bridges_blank_lines
                        && Multiline::is_blank(&encoding.decode(&bytes[text.clone()]).0)
                }) =>
            {
                Frame::Skipped(end)
            }
            Line::Complete { text, end } => match &self.multiline {
                None => Frame::Event {
                    text,
                    consumed: end,
                    is_cut: false,
                },
                Some(multiline) => self.join(multiline, &lines, text, end),
            },
        }
    }

    /// Bytes of what was cut, from `offset` on, up to and with its end, and whether it ends with them.
    pub fn rest(
        &self,
        bytes: &[u8],
        encoding: Encoding,
        offset: u64,
        flush: Flush,
    ) -> (usize, bool) {
        if self.format == Format::JournaldExport {
            return entries::rest(bytes, flush);
        }
        let unit = encoding.unit_bytes();
        let stray = stray_bytes(encoding, offset).min(bytes.len());
        match encoding.find_line_feed(&bytes[stray..]) {
            Some(at) => (stray + at + unit, true),
            None => {
                let whole = (bytes.len() - stray) / unit * unit;
                (stray + whole, false)
            }
        }
    }

    fn join(
        &self,
        multiline: &Multiline,
        lines: &Lines<'_>,
        first: Range<usize>,
        first_end: usize,
    ) -> Frame {
        let joins = |line: &Range<usize>| {
            let (text, _) = lines.encoding.decode(&lines.bytes[line.clone()]);
            multiline.joins(&text)
        };
        let bridges = multiline.bridges_blank_lines;
        let is_blank = |line: &Range<usize>| {
            let (text, _) = lines.encoding.decode(&lines.bytes[line.clone()]);
            Multiline::is_blank(&text)
        };
        let joins_over_blank = |line: &Range<usize>| {
            let (text, _) = lines.encoding.decode(&lines.bytes[line.clone()]);
            multiline.joins_over_blank(&text)
        };
        let mut whole = Frame::Event {
            text: first.clone(),
            consumed: first_end,
            is_cut: false,
        };
        let goes_on_after = |line: &Range<usize>| match multiline.side {
            Side::After => true,
            Side::Before => joins(line),
        };
        let (mut last, mut end, mut is_behind_blank) = (first, first_end, false);
        for _ in 1..multiline.lines_max {
            if !goes_on_after(&last) {
                return whole;
            }
            let (text, next_end) = match lines.line(end) {
                Line::Complete { text, end } => (text, end),
                Line::TooLong => return whole,
                Line::Incomplete => {
                    let is_full = lines.bytes.len() >= self.window_bytes();
                    return match is_full || lines.flush >= Flush::CompleteLines {
                        true => whole,
                        false => Frame::Incomplete,
                    };
                }
            };
            if bridges && is_blank(&text) && text.end <= self.event_bytes_max {
                // Of the event once a line behind it is; if none comes, the event ends in front of it.
                (last, end, is_behind_blank) = (text, next_end, true);
                continue;
            }
            let belongs = match multiline.side {
                Side::After if is_behind_blank => joins_over_blank(&text),
                Side::After => joins(&text),
                Side::Before => true,
            };
            if !belongs || text.end > self.event_bytes_max {
                return whole;
            }
            whole = Frame::Event {
                text: 0..text.end,
                consumed: next_end,
                is_cut: false,
            };
            (last, end, is_behind_blank) = (text, next_end, false);
        }
        whole
    }
}

/// Bytes that begin with a whole code unit, as lines.
struct Lines<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
    event_bytes_max: usize,
    flush: Flush,
}

impl Lines<'_> {
    fn line(&self, start: usize) -> Line {
        let unit = self.encoding.unit_bytes();
        let longest = self.event_bytes_max / unit * unit + LINE_END_UNITS * unit;
        let window = &self.bytes[start..self.bytes.len().min(start + longest)];
        let (text, end) = match self.encoding.find_line_feed(window) {
            Some(at) => (start..start + at, start + at + unit),
            None if window.len() == longest => return Line::TooLong,
            // A half unit waits for its other half.
            None if self.flush == Flush::Everything && window.len() >= unit => {
                let end = start + window.len() / unit * unit;
                (start..end, end)
            }
            None => return Line::Incomplete,
        };
        let has_return = self.encoding.ends_with(&self.bytes[text.clone()], b'\r');
        let text = text.start..text.end - if has_return { unit } else { 0 };
        match text.len() > self.event_bytes_max {
            true => Line::TooLong,
            false => Line::Complete { text, end },
        }
    }
}

/// What stands in front of an event and is none, or that it cannot be told yet.
fn leading_rubbish(bytes: &[u8], encoding: Encoding, offset: u64, flush: Flush) -> Option<Frame> {
    if offset == 0 {
        if let Some((encoding, consumed)) = Encoding::of_mark(bytes) {
            return Some(Frame::Mark { encoding, consumed });
        }
        if Encoding::may_become_mark(bytes) && flush != Flush::Everything {
            return Some(Frame::Incomplete);
        }
    }
    if bytes.is_empty() {
        return Some(Frame::Incomplete);
    }
    let stray = stray_bytes(encoding, offset);
    if stray > 0 {
        return Some(Frame::Skipped(stray));
    }
    let unit = encoding.unit_bytes();
    if bytes.len() < unit {
        // Given up when it is known that nothing follows; the file may still prove that wrong.
        return Some(match flush {
            Flush::Everything => Frame::Skipped(bytes.len()),
            _ => Frame::Incomplete,
        });
    }
    // A writer that does not append leaves a hole of zeros behind when its file is truncated.
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count() / unit * unit;
    (zeros > 0).then_some(Frame::Skipped(zeros))
}

/// Bytes up to where a code unit begins: the other half of one whose first half was given up.
fn stray_bytes(encoding: Encoding, offset: u64) -> usize {
    let unit = encoding.unit_bytes();
    (unit - (offset % unit as u64) as usize) % unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::multiline::Settings;
    use proptest::prelude::*;

    fn framer(event_bytes_max: usize, multiline: Option<&str>) -> Framer {
        Framer {
            format: Format::Lines,
            encoding: Encoding::Utf8,
            event_bytes_max,
            multiline: multiline.map(|settings| {
                let settings: Settings = serde_json::from_str(settings).unwrap();
                Multiline::compile(&settings).unwrap()
            }),
        }
    }

    /// The events of the bytes, and what waits behind them.
    fn events(framer: &Framer, bytes: &[u8], flush: Flush) -> (Vec<String>, usize) {
        let (mut at, mut found, mut is_skipping) = (0, Vec::new(), false);
        let mut encoding = framer.encoding;
        while at < bytes.len() {
            let offset = at as u64;
            if is_skipping {
                let (skipped, is_over) = framer.rest(&bytes[at..], encoding, offset, flush);
                (at, is_skipping) = (at + skipped, !is_over);
                if skipped == 0 {
                    break;
                }
                continue;
            }
            match framer.next(&bytes[at..], encoding, offset, flush) {
                Frame::Event {
                    text,
                    consumed,
                    is_cut,
                } => {
                    let (text, _) = encoding.decode(&bytes[at..][text]);
                    found.push(String::from_utf8_lossy(&text).into_owned());
                    (at, is_skipping) = (at + consumed, is_cut);
                }
                Frame::Mark {
                    encoding: marked,
                    consumed,
                } => (at, encoding) = (at + consumed, marked),
                Frame::Skipped(count) => at += count,
                Frame::Incomplete => break,
            }
        }
        (found, bytes.len() - at)
    }

    fn utf_16le(text: &str) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| unit.to_le_bytes())
            .collect()
    }

    #[test]
    fn a_mark_says_how_a_file_is_read() {
        let framer = framer(100, None);
        let marked = utf_16le("\u{FEFF}one\r\nt\u{0A0A}o\n\n\0\0three\nhalf");
        let lines = ["one", "t\u{0A0A}o", "three"].map(str::to_owned).to_vec();
        assert_eq!(events(&framer, &marked, Flush::Nothing), (lines.clone(), 8));
        // Half of a code unit waits, and is given up at last.
        let broken = &marked[..marked.len() - 1];
        assert_eq!(events(&framer, broken, Flush::Nothing), (lines.clone(), 7));
        let all = [lines, vec!["hal".to_owned()]].concat();
        assert_eq!(events(&framer, broken, Flush::Everything), (all, 0));
    }

    #[test]
    fn lines_of_utf_16_are_cut_and_joined() {
        let mut framer = framer(10, Some(r#"{"pattern":"^ "}"#));
        framer.encoding = Encoding::Utf16Le;
        let text = utf_16le("A\n 1\nB\n1234\u{1F600}5\n1234567\nx\n");
        assert_eq!(
            events(&framer, &text, Flush::Everything).0,
            ["A\n 1", "B", "1234", "12345", "x"]
        );
    }

    #[test]
    fn a_stray_byte_does_not_shift_what_follows() {
        let mut framer = framer(100, None);
        framer.encoding = Encoding::Utf16Le;
        let bytes = utf_16le("?one\n");
        let frame = framer.next(&bytes[1..], Encoding::Utf16Le, 1, Flush::Nothing);
        assert_eq!(frame, Frame::Skipped(1));
        let rest = framer.rest(&bytes[1..], Encoding::Utf16Le, 1, Flush::Nothing);
        assert_eq!(rest, (bytes.len() - 1, true));
    }

    #[test]
    fn lines_end_in_every_way() {
        let framer = framer(100, None);
        let bytes = b"\xEF\xBB\xBFone\r\ntwo\n\n\0\0\0three\0x\n\r\nhalf";
        let lines = ["one", "two", "three\0x"].map(str::to_owned).to_vec();
        assert_eq!(events(&framer, bytes, Flush::Nothing), (lines.clone(), 4));
        assert_eq!(
            events(&framer, bytes, Flush::CompleteLines),
            (lines.clone(), 4)
        );
        let all = [lines, vec!["half".to_owned()]].concat();
        assert_eq!(events(&framer, bytes, Flush::Everything), (all, 0));
    }

    #[test]
    fn a_line_of_just_the_allowed_length_is_whole_and_a_longer_one_is_cut() {
        let framer = framer(5, None);
        let (found, _) = events(
            &framer,
            b"12345\n12345\r\n123456\n1234\xC3\xA9\nx\n",
            Flush::Nothing,
        );
        assert_eq!(found, ["12345", "12345", "12345", "1234", "x"]);
    }

    #[test]
    fn lines_are_joined_as_in_filebeat() {
        let cases = [
            (
                r#"{"start":"^[A-Z]"}"#,
                "A\n 1\n 2\nB\n",
                vec!["A\n 1\n 2"],
                vec!["B"],
            ),
            (
                r#"{"pattern":"^ "}"#,
                "A\n 1\n\nB\n",
                vec!["A\n 1"],
                vec!["B"],
            ),
            (
                r#"{"pattern":"\\\\$","match":"before"}"#,
                "a\\\nb\\\nc\nd\ne\\\n",
                vec!["a\\\nb\\\nc", "d"],
                vec!["e\\"],
            ),
            (
                r#"{"pattern":"^END","negate":true,"match":"before"}"#,
                "x\ny\nEND\nz\n",
                vec!["x\ny\nEND"],
                vec!["z"],
            ),
            (
                r#"{"preset":"go"}"#,
                "panic: x\r\n\r\ngoroutine 1 [running]:\r\n\r\n \r\nnext\r\n\r\n",
                vec!["panic: x\r\n\r\ngoroutine 1 [running]:"],
                vec!["next"],
            ),
        ];
        for (settings, text, complete, waiting) in cases {
            let framer = framer(100, Some(settings));
            assert_eq!(
                events(&framer, text.as_bytes(), Flush::Nothing).0,
                complete,
                "{settings}"
            );
            let all = [complete, waiting].concat();
            assert_eq!(
                events(&framer, text.as_bytes(), Flush::CompleteLines).0,
                all,
                "{settings}"
            );
        }
    }

    #[test]
    fn a_joined_event_is_bounded_and_nothing_of_it_is_lost() {
        let by_lines = framer(100, Some(r#"{"pattern":"^ ","lines_max":2}"#));
        assert_eq!(
            events(&by_lines, b"A\n 1\n 2\n 3\nB\n", Flush::Everything).0,
            ["A\n 1", " 2\n 3", "B"]
        );
        let by_bytes = framer(5, Some(r#"{"pattern":"^ "}"#));
        assert_eq!(
            events(&by_bytes, b"A\n 1\n 2\n 7777777\nB\n", Flush::Everything).0,
            ["A\n 1", " 2", " 7777", "B"]
        );
    }

    proptest! {
        /// However the bytes arrive, the events are the same, and a full window always holds one.
        #[test]
        fn pieces_give_the_same_events_as_the_whole(
            text in "[ab\\\\ \n\r\\x00]{0,60}",
            cut in 0usize..60,
            rule in proptest::option::of(prop_oneof![Just(r#"{"pattern":"^ "}"#), Just(r#"{"pattern":"b$","match":"before"}"#), Just(r#"{"preset":"go"}"#)]),
        ) {
            let framer = framer(6, rule);
            let bytes = text.as_bytes();
            let (whole, waiting) = events(&framer, bytes, Flush::Nothing);
            prop_assert!(waiting < framer.window_bytes());
            let cut = cut.min(bytes.len());
            // A cut inside an over-long line is the caller's to remember; here only whole events are compared.
            let (head, rest) = events(&framer, &bytes[..cut], Flush::Nothing);
            prop_assert!(whole.len() >= head.len());
            prop_assert_eq!(&whole[..head.len()], &head[..]);
            let _ = rest;
        }

        /// Lines cut out of the bytes and decoded are those of the text decoded as a whole, and a full window always
        /// holds something.
        #[test]
        fn lines_are_those_of_the_whole_text_decoded(
            text in "[ab\\u{e9}\\u{0a0a}\\u{0a41}\\u{1f600}\n\r]{0,40}",
            is_little in any::<bool>(),
            is_marked in any::<bool>(),
        ) {
            let mut framer = framer(1000, None);
            framer.encoding = if is_little { Encoding::Utf16Le } else { Encoding::Utf16Be };
            let marked = if is_marked { format!("\u{FEFF}{text}") } else { text.clone() };
            let bytes: Vec<u8> = marked
                .encode_utf16()
                .flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() })
                .collect();
            let lines: Vec<String> = text
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned())
                .filter(|line| !line.is_empty())
                .collect();
            if is_marked {
                // Without its mark the settings would have to say it.
                framer.encoding = Encoding::Utf8;
            }
            prop_assert_eq!(events(&framer, &bytes, Flush::Everything), (lines, 0));
            framer.event_bytes_max = 6;
            let (_, waiting) = events(&framer, &bytes, Flush::Nothing);
            prop_assert!(waiting < framer.window_bytes());
        }
    }
}
