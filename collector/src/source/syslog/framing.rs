//! Where one message of a stream ends and the next begins (RFC 6587), decided anew for every message.
//!
//! ```text
//! 21 <13>1 - - - - - - hi<13>Nov 23 10:00:00 host app: by line\n<13>by NUL\0
//! ^^ octet counting       ^ until LF or NUL
//! ```
//!
//! A message that begins with a number, a blank and `<` is counted; anything else goes to the next LF or NUL. What
//! is cut and how does not depend on the pieces in which the bytes arrive.

use std::ops::Range;

use memchr::memchr2;

/// Numbers of more digits are no length.
const LENGTH_DIGITS_MAX: usize = 8;

/// Finds messages in the bytes of one connection. Holds no bytes itself.
#[derive(Debug)]
pub struct Deframer {
    bytes_max: usize,
    skipping: Skipping,
    /// How far the present message was searched for its end already.
    searched: usize,
}

/// The rest of a message that was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipping {
    No,
    /// So many bytes.
    Count(usize),
    /// To the next LF or NUL.
    ToDelimiter,
}

/// One step through a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes at the buffer's beginning that are done with.
    pub used: usize,
    /// A message, when there is a whole one, or as much of it as we take.
    pub frame: Option<Frame>,
}

/// A message within a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it is, without length and delimiter.
    pub range: Range<usize>,
    /// It is longer; the rest is left out.
    pub is_cut: bool,
}

enum Start {
    /// Not enough bytes to tell.
    Unclear,
    Counted {
        header: usize,
        length: usize,
    },
    Delimited,
}

impl Deframer {
    /// Messages of more than `bytes_max` bytes are cut.
    pub fn new(bytes_max: usize) -> Deframer {
        Deframer {
            bytes_max: bytes_max.max(1),
            skipping: Skipping::No,
            searched: 0,
        }
    }

    /// Looks for the next message at the beginning of `buffer`. Nothing used and no frame: more bytes are needed.
    ///
    /// The next call gets the buffer without the bytes used.
    pub fn step(&mut self, buffer: &[u8]) -> Step {
        if let Some(step) = self.skip(buffer) {
            return step;
        }
        // Delimiters without a message before them: a NUL behind an LF, a line end behind a counted message.
        let blank = buffer
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r' | 0))
            .count();
        if blank > 0 && self.searched == 0 {
            return Step {
                used: blank,
                frame: None,
            };
        }
        match start_of(buffer) {
            Start::Unclear => nothing(),
            Start::Counted { header, length } => self.counted(buffer, header, length),
            Start::Delimited => self.delimited(buffer),
        }
    }

    /// What is left when the sender has closed: a last line without an end, or a counted message that lacks some.
    pub fn finish(&mut self, buffer: &[u8]) -> Option<Frame> {
        if self.skipping != Skipping::No || buffer.is_empty() {
            return None;
        }
        if let Start::Counted { header, .. } = start_of(buffer) {
            return (header < buffer.len()).then_some(Frame {
                range: header..buffer.len(),
                is_cut: true,
            });
        }
        let end = buffer.len() - usize::from(buffer.ends_with(b"\r"));
        (end > 0).then_some(Frame {
            range: 0..end,
            is_cut: false,
        })
    }

    fn skip(&mut self, buffer: &[u8]) -> Option<Step> {
        let used = match self.skipping {
            Skipping::No => return None,
            Skipping::Count(count) => {
                let used = count.min(buffer.len());
                self.skipping = match count - used {
                    0 => Skipping::No,
                    left => Skipping::Count(left),
                };
                used
            }
            Skipping::ToDelimiter => match memchr2(b'\n', 0, buffer) {
                Some(at) => {
                    self.skipping = Skipping::No;
                    at + 1
                }
                None => buffer.len(),
            },
        };
        Some(Step { used, frame: None })
    }

    fn counted(&mut self, buffer: &[u8], header: usize, length: usize) -> Step {
        let taken = length.min(self.bytes_max);
        let end = header + taken;
        if buffer.len() < end {
            return nothing();
        }
        let is_cut = taken < length;
        if is_cut {
            self.skipping = Skipping::Count(length - taken);
        }
        Step {
            used: end,
            frame: Some(Frame {
                range: header..end,
                is_cut,
            }),
        }
    }

    fn delimited(&mut self, buffer: &[u8]) -> Step {
        let window = buffer.len().min(self.bytes_max + 1);
        let from = self.searched.min(window);
        match memchr2(b'\n', 0, &buffer[from..window]) {
            Some(at) => {
                let end = from + at;
                self.searched = 0;
                let is_crlf = end > 0 && buffer[end] == b'\n' && buffer[end - 1] == b'\r';
                Step {
                    used: end + 1,
                    frame: Some(Frame {
                        range: 0..end - usize::from(is_crlf),
                        is_cut: false,
                    }),
                }
            }
            None if buffer.len() > self.bytes_max => {
                self.searched = 0;
                self.skipping = Skipping::ToDelimiter;
                Step {
                    used: self.bytes_max,
                    frame: Some(Frame {
                        range: 0..self.bytes_max,
                        is_cut: true,
                    }),
                }
            }
            None => {
                self.searched = window;
                nothing()
            }
        }
    }
}

fn nothing() -> Step {
    Step {
        used: 0,
        frame: None,
    }
}

fn start_of(buffer: &[u8]) -> Start {
    let mut length = 0;
    for (at, byte) in buffer.iter().enumerate() {
        match byte {
            // A length has no leading zero.
            b'0' if at == 0 => return Start::Delimited,
            b'0'..=b'9' if at < LENGTH_DIGITS_MAX => {
                length = length * 10 + usize::from(byte - b'0')
            }
            b' ' if at > 0 => {
                return match buffer.get(at + 1) {
                    None => Start::Unclear,
                    Some(b'<') => Start::Counted {
                        header: at + 1,
                        length,
                    },
                    Some(_) => Start::Delimited,
                };
            }
            _ => return Start::Delimited,
        }
    }
    Start::Unclear
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The messages of a stream that arrives in pieces of these lengths, over and over.
    fn frames(stream: &[u8], pieces: &[usize], bytes_max: usize) -> Vec<(Vec<u8>, bool)> {
        let mut deframer = Deframer::new(bytes_max);
        let (mut buffer, mut rest, mut frames) = (Vec::new(), stream, Vec::new());
        let mut pieces = pieces.iter().cycle();
        loop {
            loop {
                let step = deframer.step(&buffer);
                if let Some(frame) = &step.frame {
                    frames.push((buffer[frame.range.clone()].to_vec(), frame.is_cut));
                }
                if step.used == 0 {
                    break;
                }
                buffer.drain(..step.used);
            }
            assert!(buffer.len() <= bytes_max + 12, "{}", buffer.len());
            if rest.is_empty() {
                break;
            }
            // As much as fits, as a reader with a bounded buffer does.
            let piece = rest.len().min(*pieces.next().unwrap()).min(8);
            buffer.extend_from_slice(&rest[..piece]);
            rest = &rest[piece..];
        }
        if let Some(frame) = deframer.finish(&buffer) {
            frames.push((buffer[frame.range].to_vec(), frame.is_cut));
        }
        frames
    }

    fn texts(stream: &[u8]) -> Vec<String> {
        frames(stream, &[8], 100)
            .into_iter()
            .map(|(text, is_cut)| {
                format!(
                    "{}{}",
                    String::from_utf8(text).unwrap(),
                    if is_cut { "~" } else { "" }
                )
            })
            .collect()
    }

    #[test]
    fn each_message_tells_how_it_is_framed() {
        assert_eq!(
            texts(b"6 <1>a\nb<2>c\n<3>d\r\n8 <4>e f g\n<5>h\0\0<6>i"),
            ["<1>a\nb", "<2>c", "<3>d", "<4>e f g", "<5>h", "<6>i"]
        );
    }

    #[test]
    fn a_number_is_no_length_without_a_message_behind_it() {
        assert_eq!(
            texts(b"2026-11-23 x\n42 is it\n123456789 <1>a\n05 <1>a\n7\n"),
            ["2026-11-23 x", "42 is it", "123456789 <1>a", "05 <1>a", "7"]
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_next_is_whole() {
        let mut stream = format!("<1>{}\n<2>b\n", "x".repeat(300)).into_bytes();
        stream.extend_from_slice(format!("303 <3>{}<4>d\n", "y".repeat(300)).as_bytes());
        let seen = frames(&stream, &[5], 10);
        let expected: [(&[u8], bool); 4] = [
            (b"<1>xxxxxxx", true),
            (b"<2>b", false),
            (b"<3>yyyyyyy", true),
            (b"<4>d", false),
        ];
        assert_eq!(seen, expected.map(|(text, is_cut)| (text.to_vec(), is_cut)));
    }

    #[test]
    fn the_end_of_the_stream_ends_its_last_message() {
        assert_eq!(texts(b"<1>a"), ["<1>a"]);
        assert_eq!(texts(b"20 <1>a"), ["<1>a~"]);
        assert_eq!(texts(b"20 "), ["20 "]);
        assert_eq!(texts(b"\r\n\0"), Vec::<String>::new());
    }

    proptest! {
        /// The same messages, however the bytes are cut into pieces.
        #[test]
        fn pieces_do_not_matter(
            stream in proptest::collection::vec(prop_oneof![
                Just(b'\n'), Just(0u8), Just(b' '), Just(b'<'), Just(b'1'), Just(b'9'), Just(b'\r'), any::<u8>()
            ], 0..200),
            pieces in proptest::collection::vec(1usize..9, 1..20),
            bytes_max in 1usize..40,
        ) {
            prop_assert_eq!(frames(&stream, &pieces, bytes_max), frames(&stream, &[8], bytes_max));
        }

        /// Whatever is sent counted arrives as it was.
        #[test]
        fn counted_messages_are_kept_byte_for_byte(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10),
            pieces in proptest::collection::vec(1usize..9, 1..20),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for message in messages {
                let message = [b"<1>".as_slice(), &message].concat();
                stream.extend_from_slice(format!("{} ", message.len()).as_bytes());
                stream.extend_from_slice(&message);
                expected.push((message, false));
            }
            prop_assert_eq!(frames(&stream, &pieces, 1000), expected);
        }
    }
}
