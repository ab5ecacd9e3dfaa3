//! How the bytes of a file are text: what ends a line in them, and what they say as UTF-8.
//!
//! Decoding itself is `encoding_rs`'s. Lines are cut before they are decoded, so that offsets and checkpoints stay those
//! of the file. A position inside a UTF-16 file counts from the file's beginning: code units never lie across it.

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};
use serde::{Deserialize, Serialize};

/// What a file's bytes stand for, when it does not begin with a byte order mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Encoding {
    /// UTF-8; what is not is replaced and counted.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, the low byte first, as Windows writes it.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, the high byte first.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// One byte a character. As browsers read it: 0x80 to 0x9F are what Windows-1252 has there (`€`, quotes), which
    /// files called Latin-1 do contain, and not control characters, which they do not.
    #[serde(rename = "latin-1")]
    Latin1,
}

/// The byte order marks. That of UTF-16 is the beginning of none of the others.
const MARKS: [(&[u8], Encoding); 3] = [
    (&[0xEF, 0xBB, 0xBF], Encoding::Utf8),
    (&[0xFF, 0xFE], Encoding::Utf16Le),
    (&[0xFE, 0xFF], Encoding::Utf16Be),
];

impl Encoding {
    /// The encoding that a file's first bytes name, and how many they are.
    pub fn of_mark(start: &[u8]) -> Option<(Encoding, usize)> {
        let named = MARKS.iter().find(|(mark, _)| start.starts_with(mark));
        named.map(|(mark, encoding)| (*encoding, mark.len()))
    }

    /// Whether more bytes could make a mark of a file's first bytes.
    pub fn may_become_mark(start: &[u8]) -> bool {
        let is_beginning = |mark: &[u8]| start.len() < mark.len() && mark.starts_with(start);
        MARKS.iter().any(|(mark, _)| is_beginning(mark))
    }

    /// Bytes of one code unit.
    pub fn unit_bytes(self) -> usize {
        match self {
            Encoding::Utf8 | Encoding::Latin1 => 1,
            Encoding::Utf16Le | Encoding::Utf16Be => 2,
        }
    }

    /// Where the first line ends in bytes that begin with a whole unit: the first byte of the line feed's unit.
    pub fn find_line_feed(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Encoding::Utf8 | Encoding::Latin1 => memchr::memchr(b'\n', bytes),
            Encoding::Utf16Le => memchr::memchr_iter(b'\n', bytes)
                .find(|at| at % 2 == 0 && bytes.get(at + 1) == Some(&0)),
            Encoding::Utf16Be => memchr::memchr_iter(b'\n', bytes)
                .find(|at| at % 2 == 1 && bytes[at - 1] == 0)
                .map(|at| at - 1),
        }
    }

    /// Whether whole units end with this ASCII character.
    pub fn ends_with(self, bytes: &[u8], ascii: u8) -> bool {
        match self {
            Encoding::Utf8 | Encoding::Latin1 => bytes.last() == Some(&ascii),
            Encoding::Utf16Le => bytes.ends_with(&[ascii, 0]),
            Encoding::Utf16Be => bytes.ends_with(&[0, ascii]),
        }
    }

    /// At most `length` bytes, in whole units and where possible in whole characters; at least one unit of them.
    pub fn cut_at(self, bytes: &[u8], length: usize) -> usize {
        let unit = self.unit_bytes();
        let length = length.min(bytes.len());
        let length = (length - length % unit).max(unit.min(bytes.len()));
        // That what follows belongs to the character before it.
        let goes_on_at = |at: usize| match self {
            Encoding::Latin1 => false,
            Encoding::Utf8 => bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80),
            Encoding::Utf16Le => bytes.get(at + 1).is_some_and(|high| high & 0xFC == 0xDC),
            Encoding::Utf16Be => bytes.get(at).is_some_and(|high| high & 0xFC == 0xDC),
        };
        let back = if unit == 1 { 3 } else { 2 };
        let mut candidates = (length.saturating_sub(back)..=length).rev().step_by(unit);
        let boundary = candidates.find(|at| !goes_on_at(*at));
        boundary.filter(|at| *at > 0).unwrap_or(length)
    }

    /// The bytes as UTF-8, and whether some of them stand for nothing. UTF-8 itself is handed on unseen.
    pub fn decode(self, bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
        let encoding = match self {
            Encoding::Utf8 => return (Cow::Borrowed(bytes), false),
            Encoding::Utf16Le => UTF_16LE,
            Encoding::Utf16Be => UTF_16BE,
            Encoding::Latin1 => WINDOWS_1252,
        };
        let (text, has_errors) = encoding.decode_without_bom_handling(bytes);
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        (text, has_errors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_feeds_are_units_and_not_bytes() {
        // U+0A0A and U+0A41 have the byte of a line feed in them.
        let le = b"\x0A\x0A\x41\x0A\x0A\x00";
        assert_eq!(Encoding::Utf16Le.find_line_feed(le), Some(4));
        let be = b"\x0A\x0A\x0A\x41\x00\x0A";
        assert_eq!(Encoding::Utf16Be.find_line_feed(be), Some(4));
        assert_eq!(Encoding::Utf16Le.find_line_feed(b"\x0A"), None);
    }

    #[test]
    fn marks_are_known_as_soon_as_they_are_whole() {
        assert_eq!(
            Encoding::of_mark(b"\xFF\xFEx"),
            Some((Encoding::Utf16Le, 2))
        );
        assert_eq!(
            Encoding::of_mark(b"\xEF\xBB\xBF"),
            Some((Encoding::Utf8, 3))
        );
        assert_eq!(Encoding::of_mark(b"\xEF\xBB"), None);
        for (start, expected) in [
            (&b"\xEF\xBB"[..], true),
            (&b"\xFE"[..], true),
            (&b"\xFE\xFF"[..], false),
            (&b"a"[..], false),
        ] {
            assert_eq!(Encoding::may_become_mark(start), expected, "{start:?}");
        }
    }

    #[test]
    fn a_cut_leaves_characters_whole() {
        let pair = [0x61, 0x00, 0x3D, 0xD8, 0x00, 0xDE];
        for (encoding, bytes, length, expected) in [
            (Encoding::Utf8, &b"a\xC3\xA9"[..], 2, 1),
            (Encoding::Utf8, &b"\x80\x80\x80\x80\x80"[..], 4, 4),
            (Encoding::Latin1, &b"a\xE9\xE9"[..], 2, 2),
            (Encoding::Utf16Le, &pair[..], 5, 2),
            (Encoding::Utf16Le, &pair[..], 1, 2),
            (Encoding::Utf16Le, &pair[..], 9, 6),
        ] {
            assert_eq!(
                encoding.cut_at(bytes, length),
                expected,
                "{encoding:?} {bytes:?}"
            );
        }
    }

    proptest! {
        /// What a text's bytes are decoded to is the text.
        #[test]
        fn text_is_read_as_it_was_written(text in "\\PC{0,20}") {
            let units: Vec<u16> = text.encode_utf16().collect();
            let le: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let be: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            for (encoding, bytes) in [(Encoding::Utf16Le, le), (Encoding::Utf16Be, be), (Encoding::Utf8, text.clone().into_bytes())] {
                let (decoded, has_errors) = encoding.decode(&bytes);
                prop_assert!(!has_errors);
                prop_assert_eq!(&decoded[..], text.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_decoded_and_cut(bytes in proptest::collection::vec(any::<u8>(), 0..40), length in 1usize..50) {
            for encoding in [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be, Encoding::Latin1] {
                let cut = encoding.cut_at(&bytes, length);
                prop_assert!(cut <= bytes.len() && (cut > 0 || bytes.is_empty()));
                let (text, _) = encoding.decode(&bytes);
                prop_assert!(encoding == Encoding::Utf8 || std::str::from_utf8(&text).is_ok());
            }
        }
    }
}
