//! Where events begin and end in the bytes of a file.
//!
//! A pure function of the bytes from the start of an event on: nothing is kept between calls, so an event that is not
//! complete yet is simply looked at again once more bytes are there, also after a restart.

use std::ops::Range;

use crate::transform::multiline::{Multiline, Side};

const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];
/// Room for `\r\n` behind the longest line.
const LINE_END_BYTES: usize = 2;

/// Cuts bytes into events.
#[derive(Debug, Clone)]
pub struct Framer {
    /// Lines, and joined events, of more bytes are cut.
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
    /// Bytes that are no event: a blank line, a byte order mark, or the zeros an interrupted writer leaves behind.
    Skipped(usize),
    /// More bytes are needed. Never the answer to `event_bytes_max` + 3 bytes or more.
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
        self.event_bytes_max + LINE_END_BYTES + 1
    }

    /// Looks at the bytes from the start of an event on.
    pub fn next(&self, bytes: &[u8], is_file_start: bool, flush: Flush) -> Frame {
        if let Some(skipped) = self.leading_rubbish(bytes, is_file_start, flush) {
            return skipped;
        }
        match self.line(bytes, 0, flush) {
            Line::Incomplete => Frame::Incomplete,
            Line::TooLong => self.cut(bytes),
            Line::Complete { text, end } if text.is_empty() => Frame::Skipped(end),
            Line::Complete { text, end } => match &self.multiline {
                None => Frame::Event {
                    text,
                    consumed: end,
                    is_cut: false,
                },
                Some(multiline) => self.join(multiline, bytes, text, end, flush),
            },
        }
    }

    /// Bytes up to and with the end of the line they begin in; all of them and `false` when it does not end here.
    pub fn rest_of_line(bytes: &[u8]) -> (usize, bool) {
        match memchr::memchr(b'\n', bytes) {
            Some(at) => (at + 1, true),
            None => (bytes.len(), false),
        }
    }

    fn leading_rubbish(&self, bytes: &[u8], is_file_start: bool, flush: Flush) -> Option<Frame> {
        if is_file_start && bytes.starts_with(BYTE_ORDER_MARK) {
            return Some(Frame::Skipped(BYTE_ORDER_MARK.len()));
        }
        let could_become_mark = is_file_start && BYTE_ORDER_MARK.starts_with(bytes);
        if bytes.is_empty() || (could_become_mark && flush != Flush::Everything) {
            return Some(Frame::Incomplete);
        }
        // A writer that does not append leaves a hole of zeros behind when its file is truncated.
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        (zeros > 0).then_some(Frame::Skipped(zeros))
    }

    fn line(&self, bytes: &[u8], start: usize, flush: Flush) -> Line {
        let longest = self.event_bytes_max + LINE_END_BYTES;
        let window = &bytes[start..bytes.len().min(start + longest)];
        let (text, end) = match memchr::memchr(b'\n', window) {
            Some(at) => (start..start + at, start + at + 1),
            None if window.len() == longest => return Line::TooLong,
            None if flush == Flush::Everything && !window.is_empty() => {
                (start..bytes.len(), bytes.len())
            }
            None => return Line::Incomplete,
        };
        let has_return = bytes[text.clone()].last() == Some(&b'\r');
        let text = text.start..text.end - usize::from(has_return);
        match text.len() > self.event_bytes_max {
            true => Line::TooLong,
            false => Line::Complete { text, end },
        }
    }

    fn cut(&self, bytes: &[u8]) -> Frame {
        let mut end = self.event_bytes_max.min(bytes.len());
        // Not inside a character, when it is one.
        let is_continuation = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let boundary = (end.saturating_sub(3)..=end)
            .rev()
            .find(|at| !is_continuation(*at));
        end = boundary.filter(|at| *at > 0).unwrap_or(end);
        Frame::Event {
            text: 0..end,
            consumed: end,
            is_cut: true,
        }
    }

    fn join(
        &self,
        multiline: &Multiline,
        bytes: &[u8],
        first: Range<usize>,
        first_end: usize,
        flush: Flush,
    ) -> Frame {
        let mut whole = Frame::Event {
            text: first.clone(),
            consumed: first_end,
            is_cut: false,
        };
        let goes_on_after = |line: &Range<usize>| match multiline.side {
            Side::After => true,
            Side::Before => multiline.joins(&bytes[line.clone()]),
        };
        let (mut last, mut end) = (first, first_end);
        for _ in 1..multiline.lines_max {
            if !goes_on_after(&last) {
                return whole;
            }
            let (text, next_end) = match self.line(bytes, end, flush) {
                Line::Complete { text, end } => (text, end),
                Line::TooLong => return whole,
                Line::Incomplete => {
                    let is_full = bytes.len() >= self.window_bytes();
                    return match is_full || flush >= Flush::CompleteLines {
                        true => whole,
                        false => Frame::Incomplete,
                    };
                }
            };
            let belongs = match multiline.side {
                Side::After => multiline.joins(&bytes[text.clone()]),
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
            (last, end) = (text, next_end);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::multiline::Settings;
    use proptest::prelude::*;

    fn framer(event_bytes_max: usize, multiline: Option<&str>) -> Framer {
        Framer {
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
        while at < bytes.len() {
            if is_skipping {
                let (skipped, is_over) = Framer::rest_of_line(&bytes[at..]);
                (at, is_skipping) = (at + skipped, !is_over);
                continue;
            }
            match framer.next(&bytes[at..], at == 0, flush) {
                Frame::Event {
                    text,
                    consumed,
                    is_cut,
                } => {
                    let text = &bytes[at..][text];
                    found.push(String::from_utf8_lossy(text).into_owned());
                    (at, is_skipping) = (at + consumed, is_cut);
                }
                Frame::Skipped(count) => at += count,
                Frame::Incomplete => break,
            }
        }
        (found, bytes.len() - at)
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
            rule in proptest::option::of(prop_oneof![Just(r#"{"pattern":"^ "}"#), Just(r#"{"pattern":"b$","match":"before"}"#)]),
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
    }
}
