//! The body of an engine's log answer to lines; a pure function of its bytes, however they are cut.
//!
//! Without a terminal it is a sequence of frames: one byte for the stream (1 stdout, 2 stderr, 3 the engine's own
//! trouble), three zeros, the length (u32, big endian), then the time, a blank and the message with its `\n`. With a
//! terminal it is just that text, line after line. See "Stream format" in the API's documentation of
//! `ContainerAttach`.
//!
//! The engine cuts lines after 16 KiB. Pieces have the same time; only the last ends in `\n`. With a terminal the pieces
//! stand behind each other without anything between but the time again. A line that ends without `\n` is the last one
//! a container wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event::Timestamp;

use super::cursor::Channel;

const HEADER_BYTES: usize = 8;
/// The engine cuts longer lines.
const PIECE_BYTES: usize = 16 << 10;
/// `2026-11-25T21:41:29.979633486Z ` are 31 bytes; an offset instead of `Z` makes it 36.
const TIME_BYTES_MAX: usize = 40;
/// What one unfinished line may always hold, however much is held in all: one piece and some.
const LINE_BYTES_FREE: usize = 32 << 10;
/// What the engine says in the stream of a terminal when it cannot read its own files.
const TROUBLE: &[u8] = b"Error grabbing logs: ";

/// One line a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where to.
    pub channel: Channel,
    /// When the engine took it; `None` when the engine did not say so.
    pub time: Option<Timestamp>,
    /// Its text, without its end.
    pub text: Vec<u8>,
    /// Whether it was longer than allowed; the rest is gone.
    pub is_cut: bool,
    /// Bytes it had, with its end.
    pub raw_bytes: usize,
}

impl Line {
    /// Adds a piece, as far as there is room.
    pub fn append(&mut self, piece: &[u8], bytes_max: usize) {
        if !self.is_cut {
            self.text.extend_from_slice(piece);
            shorten(self, bytes_max);
        }
    }
}

/// What came out of some bytes.
#[derive(Debug, Default)]
pub struct Output {
    /// Whole lines, in the order of the log.
    pub lines: Vec<Line>,
    /// What the engine said about trouble of its own, at most one.
    pub trouble: Option<String>,
}

/// The bytes are no log answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("frame of unknown kind {0}")]
pub struct FrameError(u8);

/// Bytes of unfinished lines, of all containers together; at its bound lines are cut early.
#[derive(Debug)]
pub struct Held {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Held {
    /// Nothing held yet.
    pub fn at_most(bytes_max: usize) -> Arc<Held> {
        Arc::new(Held {
            bytes: AtomicUsize::new(0),
            bytes_max,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = held + bytes <= self.bytes_max;
        if !fits {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

/// The state between two reads.
pub struct Demultiplexer {
    framing: Framing,
    unfinished: [Unfinished; 2],
    terminal: Unfinished,
    line_bytes_max: usize,
}

enum Framing {
    /// The first byte tells: a kind of frame, or the digit a time begins with.
    Unknown,
    Header {
        bytes: [u8; HEADER_BYTES],
        filled: usize,
    },
    Payload {
        kind: u8,
        left: usize,
        /// The time, as far as it has come; `None` once it is read.
        time: Option<Vec<u8>>,
    },
    Terminal,
}

impl Demultiplexer {
    /// Before the first byte of an answer.
    pub fn new(line_bytes_max: usize, held: &Arc<Held>) -> Demultiplexer {
        let unfinished = |line_bytes_max| Unfinished {
            line: None,
            ends: false,
            line_bytes_max,
            held: Arc::clone(held),
            held_bytes: 0,
        };
        // The time stands in a terminal's text until the line is whole; it and its repetitions are no part of it.
        let times = (line_bytes_max / PIECE_BYTES + 1) * TIME_BYTES_MAX;
        Demultiplexer {
            framing: Framing::Unknown,
            unfinished: [unfinished(line_bytes_max), unfinished(line_bytes_max)],
            terminal: unfinished(line_bytes_max + times),
            line_bytes_max,
        }
    }

    /// The time of the oldest line that has begun and not ended.
    pub fn oldest_unfinished(&self) -> Option<Timestamp> {
        let terminal = self.terminal.line.as_ref().and_then(|line| {
            let (time, _) = split_time(&line.text);
            time
        });
        let lines = self.unfinished.iter().filter_map(|open| open.line.as_ref());
        lines.filter_map(|line| line.time).chain(terminal).min()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They are no log answer.
    pub fn push(&mut self, mut bytes: &[u8], output: &mut Output) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            match &mut self.framing {
                Framing::Unknown if bytes[0] <= 3 => {
                    self.framing = Framing::Header {
                        bytes: [0; HEADER_BYTES],
                        filled: 0,
                    };
                }
                Framing::Unknown => self.framing = Framing::Terminal,
                Framing::Terminal => bytes = self.push_terminal(bytes, output),
                Framing::Header {
                    bytes: header,
                    filled,
                } => {
                    let taken = bytes.len().min(HEADER_BYTES - *filled);
                    header[*filled..*filled + taken].copy_from_slice(&bytes[..taken]);
                    *filled += taken;
                    bytes = &bytes[taken..];
                    if *filled == HEADER_BYTES {
                        let header = *header;
                        self.begin_payload(header, output)?;
                    }
                }
                Framing::Payload { .. } => bytes = self.push_payload(bytes, output),
            }
        }
        Ok(())
    }

    /// The container has ended: what has begun is whole.
    pub fn finish(&mut self, output: &mut Output) {
        for open in &mut self.unfinished {
            output.lines.extend(open.finish());
        }
        if let Some(line) = self.terminal.finish() {
            finish_terminal(line, self.line_bytes_max, output);
        }
    }

    fn begin_payload(
        &mut self,
        header: [u8; HEADER_BYTES],
        output: &mut Output,
    ) -> Result<(), FrameError> {
        let kind = header[0];
        if kind > 3 {
            return Err(FrameError(kind));
        }
        let [_, _, _, _, a, b, c, d] = header;
        self.framing = Framing::Payload {
            kind,
            left: u32::from_be_bytes([a, b, c, d]) as usize,
            time: Some(Vec::new()),
        };
        self.end_payload_when_over(output);
        Ok(())
    }

    /// Takes bytes of the frame under way; answers those behind it.
    fn push_payload<'a>(&mut self, bytes: &'a [u8], output: &mut Output) -> &'a [u8] {
        let Framing::Payload { kind, left, time } = &mut self.framing else {
            return bytes;
        };
        let (mut now, behind) = bytes.split_at(bytes.len().min(*left));
        *left -= now.len();
        if *kind == 3 {
            let text = String::from_utf8_lossy(&now[..now.len().min(500)]);
            output.trouble.get_or_insert(text.trim_end().to_owned());
        } else {
            let open = &mut self.unfinished[usize::from(*kind == 2)];
            let channel = match kind {
                2 => Channel::Stderr,
                _ => Channel::Stdout,
            };
            if let Some(prefix) = time {
                // The time may come in pieces, too; nothing else is kept twice.
                let blank = memchr::memchr(b' ', &now[..now.len().min(TIME_BYTES_MAX)]);
                let taken = blank.map_or(now.len().min(TIME_BYTES_MAX), |at| at + 1);
                prefix.extend_from_slice(&now[..taken]);
                now = &now[taken..];
                let is_whole = blank.is_some()
                    || prefix.len() >= TIME_BYTES_MAX
                    || *left == 0 && now.is_empty();
                if is_whole {
                    let (read, text) = split_time(prefix);
                    output.lines.extend(open.begin(channel, read));
                    open.push(text);
                    *time = None;
                }
            }
            if time.is_none() {
                open.push(now);
            }
        }
        self.end_payload_when_over(output);
        behind
    }

    fn end_payload_when_over(&mut self, output: &mut Output) {
        let Framing::Payload { kind, left: 0, .. } = self.framing else {
            return;
        };
        let open = &mut self.unfinished[usize::from(kind == 2)];
        if kind != 3 && open.ends {
            output.lines.extend(open.finish());
        }
        self.framing = Framing::Header {
            bytes: [0; HEADER_BYTES],
            filled: 0,
        };
    }

    /// Takes bytes up to the end of a line; answers those behind it.
    fn push_terminal<'a>(&mut self, bytes: &'a [u8], output: &mut Output) -> &'a [u8] {
        let (now, behind) = match memchr::memchr(b'\n', bytes) {
            Some(at) => bytes.split_at(at + 1),
            None => (bytes, &[][..]),
        };
        if self.terminal.line.is_none() {
            self.terminal.begin(Channel::Stdout, None);
        }
        self.terminal.push(now);
        if self.terminal.ends
            && let Some(line) = self.terminal.finish()
        {
            finish_terminal(line, self.line_bytes_max, output);
        }
        behind
    }
}

/// A line that may go on.
struct Unfinished {
    line: Option<Line>,
    /// Whether the last byte was a line's end.
    ends: bool,
    line_bytes_max: usize,
    held: Arc<Held>,
    held_bytes: usize,
}

impl Unfinished {
    /// A message begins. Answers the line before it when the message is no further piece of it.
    fn begin(&mut self, channel: Channel, time: Option<Timestamp>) -> Option<Line> {
        let goes_on = self
            .line
            .as_ref()
            .is_some_and(|line| line.time == time && time.is_some());
        if goes_on {
            return None;
        }
        let before = self.finish();
        self.line = Some(Line {
            channel,
            time,
            text: Vec::new(),
            is_cut: false,
            raw_bytes: 0,
        });
        before
    }

    fn push(&mut self, bytes: &[u8]) {
        let (Some(line), Some(last)) = (&mut self.line, bytes.last()) else {
            return;
        };
        line.raw_bytes += bytes.len();
        self.ends = *last == b'\n';
        if line.is_cut {
            return;
        }
        // Its end does not count: a line of just the allowed length is whole.
        let room = (self.line_bytes_max + 2).saturating_sub(line.text.len());
        let kept = bytes.len().min(room);
        let is_free = line.text.len() + kept <= LINE_BYTES_FREE;
        if !is_free && !self.held.take(kept) {
            line.is_cut = true;
            return;
        }
        if !is_free {
            self.held_bytes += kept;
        }
        line.text.extend_from_slice(&bytes[..kept]);
        line.is_cut = kept < bytes.len();
        if line.is_cut {
            cut(&mut line.text, self.line_bytes_max);
        }
    }

    fn finish(&mut self) -> Option<Line> {
        let mut line = self.line.take()?;
        self.held
            .bytes
            .fetch_sub(self.held_bytes, Ordering::Relaxed);
        self.held_bytes = 0;
        if !line.is_cut && self.ends {
            line.text.pop();
            if line.text.last() == Some(&b'\r') {
                line.text.pop();
            }
        }
        self.ends = false;
        shorten(&mut line, self.line_bytes_max);
        Some(line)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.held
            .bytes
            .fetch_sub(self.held_bytes, Ordering::Relaxed);
    }
}

fn shorten(line: &mut Line, bytes_max: usize) {
    if line.text.len() > bytes_max {
        cut(&mut line.text, bytes_max);
        line.is_cut = true;
    }
}

/// Cuts to `bytes_max`, but not inside a character.
fn cut(text: &mut Vec<u8>, bytes_max: usize) {
    let mut end = bytes_max.min(text.len());
    let is_continuation = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let boundary = (end.saturating_sub(3)..=end)
        .rev()
        .find(|at| !is_continuation(*at));
    end = boundary.filter(|at| *at > 0).unwrap_or(end);
    text.truncate(end);
}

/// The time before a message, and the message.
fn split_time(bytes: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let Some(at) = memchr::memchr(b' ', &bytes[..bytes.len().min(TIME_BYTES_MAX)]) else {
        return (None, bytes);
    };
    // A date alone would be a time, too, and a line may begin with one.
    let text = std::str::from_utf8(&bytes[..at]).ok();
    let text = text.filter(|text| text.len() >= 20 && text.as_bytes()[10] == b'T');
    match text.and_then(|text| Timestamp::parse_iso(text).ok()) {
        Some(time) => (Some(time), &bytes[at + 1..]),
        None => (None, bytes),
    }
}

/// Takes the time, and its repetitions at each piece, out of a terminal's line.
fn finish_terminal(mut line: Line, line_bytes_max: usize, output: &mut Output) {
    let (time, message) = split_time(&line.text);
    let prefix_bytes = line.text.len() - message.len();
    if time.is_none() && line.text.starts_with(TROUBLE) {
        let text = String::from_utf8_lossy(&line.text)
            .chars()
            .take(500)
            .collect();
        output.trouble.get_or_insert(text);
        return;
    }
    if prefix_bytes > 0 {
        // No line can hold its own time by chance: it is taken, to the nanosecond, after the line was written.
        let (prefix, message) = line.text.split_at(prefix_bytes);
        let mut text = Vec::with_capacity(message.len());
        let mut from = 0;
        for at in memchr::memmem::find_iter(message, prefix) {
            text.extend_from_slice(&message[from..at]);
            from = at + prefix_bytes;
        }
        text.extend_from_slice(&message[from..]);
        let removed = line.text.len() - text.len();
        line.raw_bytes = line.raw_bytes.saturating_sub(removed);
        line.text = text;
    }
    line.time = time;
    shorten(&mut line, line_bytes_max);
    output.lines.push(line);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T1: &str = "2026-11-25T21:41:30.235728702Z";
    const T2: &str = "2026-11-25T21:41:30.260424688Z";

    fn frame(kind: u8, payload: &str) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frame.extend_from_slice(payload.as_bytes());
        frame
    }

    fn read(
        bytes: &[u8],
        pieces: usize,
        line_bytes_max: usize,
        ends: bool,
    ) -> (Vec<String>, Output) {
        let held = Held::at_most(1 << 20);
        let mut demultiplexer = Demultiplexer::new(line_bytes_max, &held);
        let mut output = Output::default();
        for piece in bytes.chunks(pieces) {
            demultiplexer.push(piece, &mut output).unwrap();
        }
        if ends {
            demultiplexer.finish(&mut output);
        }
        let lines = output.lines.iter().map(|line| {
            let time = line.time.map_or(0, |time| time.nanos() % 1000);
            let cut = if line.is_cut { " cut" } else { "" };
            format!(
                "{} {time} {:?}{cut}",
                line.channel.name(),
                String::from_utf8_lossy(&line.text)
            )
        });
        (lines.collect(), output)
    }

    fn no_terminal() -> Vec<u8> {
        [
            frame(1, &format!("{T1} aaa")),
            frame(2, &format!("{T2} err\n")),
            frame(1, &format!("{T1} bbb")),
            frame(1, &format!("{T1} c\n")),
            frame(1, &format!("{T1} of the same time\n")),
            frame(1, &format!("{T2} \n")),
            frame(3, "Error grabbing logs: EOF\n"),
            frame(2, &format!("{T1} no end")),
            frame(2, &format!("{T2} other\r\n")),
            frame(1, "no time\n"),
            frame(1, ""),
            frame(1, &format!("{T2} last")),
        ]
        .concat()
    }

    #[test]
    fn frames_become_lines_however_they_are_cut() {
        let expected = [
            r#"stderr 688 "err""#,
            r#"stdout 702 "aaabbbc""#,
            r#"stdout 702 "of the same time""#,
            r#"stdout 688 """#,
            r#"stderr 702 "no end""#,
            r#"stderr 688 "other""#,
            r#"stdout 0 "no time""#,
            r#"stdout 688 "last""#,
        ];
        for pieces in [1, 2, 3, 7, 50, 1000] {
            let (lines, output) = read(&no_terminal(), pieces, 100, true);
            assert_eq!(lines, expected, "{pieces}");
            assert!(output.trouble.is_some());
            let raw: usize = output.lines.iter().map(|line| line.raw_bytes).sum();
            assert_eq!(raw, 4 + 8 + 17 + 1 + 6 + 7 + 8 + 4);
            let (lines, _) = read(&no_terminal(), pieces, 100, false);
            assert_eq!(lines, expected[..7], "the last one may go on");
        }
    }

    #[test]
    fn a_terminals_text_becomes_lines() {
        let text = format!(
            "{T1} out\r\n{T2} aaa{T2} bbb{T2} c\r\n{T1} \r\nError grabbing logs: EOF\n{T2} prompt> "
        );
        let expected = [
            r#"stdout 702 "out""#,
            r#"stdout 688 "aaabbbc""#,
            r#"stdout 702 """#,
            r#"stdout 688 "prompt> ""#,
        ];
        for pieces in [1, 5, 1000] {
            let (lines, output) = read(text.as_bytes(), pieces, 100, true);
            assert_eq!(lines, expected);
            assert!(output.trouble.is_some());
        }
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_its_neighbours_are_not() {
        let frames = [
            frame(1, &format!("{T1} 12345\n")),
            frame(1, &format!("{T1} 123456\n")),
            frame(1, &format!("{T2} 1234é")),
            frame(1, &format!("{T2} more\n")),
            frame(1, &format!("{T1} x\n")),
        ];
        let (lines, output) = read(&frames.concat(), 4, 5, true);
        assert_eq!(
            lines,
            [
                r#"stdout 702 "12345""#,
                r#"stdout 702 "12345" cut"#,
                r#"stdout 688 "1234" cut"#,
                r#"stdout 702 "x""#
            ]
        );
        assert_eq!(output.lines[2].raw_bytes, 11);
    }

    #[test]
    fn unfinished_lines_are_bounded_together() {
        let held = Held::at_most(100 << 10);
        let long = frame(1, &format!("{T1} {}", "x".repeat(80 << 10)));
        let mut output = Output::default();
        let mut readers: Vec<Demultiplexer> =
            (0..3).map(|_| Demultiplexer::new(1 << 20, &held)).collect();
        for reader in &mut readers {
            for piece in long.chunks(1000) {
                reader.push(piece, &mut output).unwrap();
            }
        }
        assert!(held.bytes.load(Ordering::Relaxed) <= 100 << 10);
        for reader in &mut readers {
            assert!(reader.oldest_unfinished().is_some());
            reader.finish(&mut output);
        }
        let cut: Vec<bool> = output.lines.iter().map(|line| line.is_cut).collect();
        assert_eq!(cut, [false, false, true]);
        assert_eq!(held.bytes.load(Ordering::Relaxed), 0);
    }

    proptest! {
        /// Any bytes give the same however they are cut, and never more text than came in.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(prop_oneof![0u8..5, Just(b' '), Just(b'\n'), Just(b'2')], 0..200),
            pieces in 1usize..50,
        ) {
            let run = |pieces: usize| {
                let held = Held::at_most(1 << 20);
                let mut demultiplexer = Demultiplexer::new(20, &held);
                let mut output = Output::default();
                let outcome: Result<(), FrameError> = bytes
                    .chunks(pieces)
                    .try_for_each(|piece| demultiplexer.push(piece, &mut output));
                demultiplexer.finish(&mut output);
                (outcome, output.lines)
            };
            let (outcome, lines) = run(pieces);
            prop_assert_eq!(&(outcome, lines.clone()), &run(usize::MAX));
            let text: usize = lines.iter().map(|line| line.text.len()).sum();
            prop_assert!(text <= bytes.len());
            prop_assert!(lines.iter().all(|line| line.text.len() <= 20));
        }
    }
}
