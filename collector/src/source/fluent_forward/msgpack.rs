//! MessagePack as Fluentd's senders write it: the end of a value that arrives in pieces, and values as JSON text.
//!
//! Nothing is allocated for what a header announces, and nothing recurses deeper than [`DEPTH_MAX`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use event::Timestamp;
use rmp::Marker;

use crate::flat_json::push_string;

/// How deep values may be nested.
pub const DEPTH_MAX: usize = 64;

/// The extension type of Fluentd's time with nanoseconds.
const EVENT_TIME: i8 = 0;

/// What is wrong with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MsgpackError {
    /// They end within a value.
    #[error("the value is not whole")]
    Incomplete,
    /// They are no MessagePack, or not what was expected there.
    #[error("{0}")]
    Wrong(&'static str),
}

/// Finds the end of a value that arrives in pieces; goes on where it was, however often it is asked.
#[derive(Debug, Default)]
pub struct EndFinder {
    at: usize,
    /// Values that are still to come before the end; 0 before the first byte.
    missing: u64,
}

impl EndFinder {
    /// The length of the value at the beginning of `buffer`, once all of it is there. Then it begins anew.
    ///
    /// # Errors
    /// A byte that MessagePack never uses.
    pub fn end(&mut self, buffer: &[u8]) -> Result<Option<usize>, MsgpackError> {
        if self.missing == 0 {
            (self.at, self.missing) = (0, 1);
        }
        while self.missing > 0 {
            let mut reader = Reader {
                rest: buffer.get(self.at..).unwrap_or_default(),
            };
            let head = match reader.head() {
                Ok(head) => head,
                Err(MsgpackError::Incomplete) => return Ok(None),
                Err(error) => return Err(error),
            };
            let inner = match head {
                Head::Array(count) => u64::from(count),
                Head::Map(count) => 2 * u64::from(count),
                Head::Text(length) | Head::Binary(length) | Head::Extension(_, length) => {
                    if reader.take(length as usize).is_err() {
                        return Ok(None);
                    }
                    0
                }
                _ => 0,
            };
            self.at = buffer.len() - reader.rest.len();
            self.missing = self.missing - 1 + inner;
        }
        Ok(Some(self.at))
    }
}

/// The beginning of a value: all of it but for what is inside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head {
    /// `nil`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// So many bytes of text follow.
    Text(u32),
    /// So many bytes follow.
    Binary(u32),
    /// So many values follow.
    Array(u32),
    /// So many pairs follow.
    Map(u32),
    /// So many bytes of a type follow.
    Extension(i8, u32),
}

/// Reads values from whole bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// What was not read yet.
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a beginning.
    ///
    /// # Errors
    /// It is not whole, or begins with a byte that is never used.
    pub fn head(&mut self) -> Result<Head, MsgpackError> {
        let marker = Marker::from_u8(self.take(1)?[0]);
        Ok(match marker {
            Marker::FixPos(value) => Head::Integer(value.into()),
            Marker::FixNeg(value) => Head::Integer(value.into()),
            Marker::Null => Head::Nil,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::U8 => Head::Integer(self.number::<1>()?.into()),
            Marker::U16 => Head::Integer(self.number::<2>()?.into()),
            Marker::U32 => Head::Integer(self.number::<4>()?.into()),
            Marker::U64 => Head::Integer(self.number::<8>()?.into()),
            Marker::I8 => Head::Integer((self.number::<1>()? as i8).into()),
            Marker::I16 => Head::Integer((self.number::<2>()? as i16).into()),
            Marker::I32 => Head::Integer((self.number::<4>()? as i32).into()),
            Marker::I64 => Head::Integer((self.number::<8>()? as i64).into()),
            Marker::F32 => Head::Float(f32::from_bits(self.number::<4>()? as u32).into()),
            Marker::F64 => Head::Float(f64::from_bits(self.number::<8>()?)),
            Marker::FixStr(length) => Head::Text(length.into()),
            Marker::Str8 => Head::Text(self.number::<1>()? as u32),
            Marker::Str16 => Head::Text(self.number::<2>()? as u32),
            Marker::Str32 => Head::Text(self.number::<4>()? as u32),
            Marker::Bin8 => Head::Binary(self.number::<1>()? as u32),
            Marker::Bin16 => Head::Binary(self.number::<2>()? as u32),
            Marker::Bin32 => Head::Binary(self.number::<4>()? as u32),
            Marker::FixArray(count) => Head::Array(count.into()),
            Marker::Array16 => Head::Array(self.number::<2>()? as u32),
            Marker::Array32 => Head::Array(self.number::<4>()? as u32),
            Marker::FixMap(count) => Head::Map(count.into()),
            Marker::Map16 => Head::Map(self.number::<2>()? as u32),
            Marker::Map32 => Head::Map(self.number::<4>()? as u32),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let length = self.number::<1>()? as u32;
                self.extension(length)?
            }
            Marker::Ext16 => {
                let length = self.number::<2>()? as u32;
                self.extension(length)?
            }
            Marker::Ext32 => {
                let length = self.number::<4>()? as u32;
                self.extension(length)?
            }
            Marker::Reserved => {
                return Err(MsgpackError::Wrong("a byte that MessagePack never uses"));
            }
        })
    }

    /// Reads the next bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], MsgpackError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(MsgpackError::Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a text, or bytes, which older senders use for texts.
    ///
    /// # Errors
    /// It is something else.
    pub fn bytes(&mut self) -> Result<&'a [u8], MsgpackError> {
        match self.head()? {
            Head::Text(length) | Head::Binary(length) => self.take(length as usize),
            _ => Err(MsgpackError::Wrong("expected a text")),
        }
    }

    /// Reads a time: EventTime, whole seconds, or seconds with a fraction. `None` for `nil` and what is no time.
    ///
    /// # Errors
    /// The bytes are no MessagePack.
    pub fn time(&mut self) -> Result<Option<Timestamp>, MsgpackError> {
        let start = *self;
        Ok(match self.head()? {
            Head::Integer(seconds) => i64::try_from(seconds)
                .ok()
                .and_then(|seconds| seconds.checked_mul(1_000_000_000))
                .map(Timestamp::from_nanos),
            Head::Float(seconds) if seconds.abs() < 9.2e9 => {
                Some(Timestamp::from_nanos((seconds * 1e9) as i64))
            }
            Head::Extension(EVENT_TIME, 8) => {
                let seconds = self.number::<4>()? as i64;
                let nanos = self.number::<4>()? as i64;
                Some(Timestamp::from_nanos(seconds * 1_000_000_000 + nanos))
            }
            _ => {
                *self = start;
                self.skip()?;
                None
            }
        })
    }

    /// Passes over a value.
    ///
    /// # Errors
    /// It is not whole.
    pub fn skip(&mut self) -> Result<&'a [u8], MsgpackError> {
        let length = EndFinder::default()
            .end(self.rest)?
            .ok_or(MsgpackError::Incomplete)?;
        self.take(length)
    }

    /// Reads a value and writes it as JSON text. `depth` counts the values around it.
    ///
    /// Bytes that are no UTF-8 are written as base64, keys as [`Reader::key`] says, numbers that JSON has not as `null`.
    /// The text is no more than some ten times as long as the bytes.
    ///
    /// # Errors
    /// It is not whole, or nested too deep.
    pub fn write_json(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), MsgpackError> {
        if depth > DEPTH_MAX {
            return Err(MsgpackError::Wrong("nested too deep"));
        }
        match self.head()? {
            Head::Nil => out.extend_from_slice(b"null"),
            Head::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            Head::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Head::Float(value) => {
                serde_json::to_writer(&mut *out, &value).expect("a number is written to memory");
            }
            Head::Text(length) | Head::Binary(length) => {
                push_text(out, self.take(length as usize)?)
            }
            Head::Extension(EVENT_TIME, 8) => {
                let seconds = self.number::<4>()? as i64;
                let nanos = self.number::<4>()? as i64;
                let time = Timestamp::from_nanos(seconds * 1_000_000_000 + nanos);
                push_string(out, &time.to_rfc3339());
            }
            Head::Extension(_, length) => {
                push_string(out, &STANDARD.encode(self.take(length as usize)?));
            }
            Head::Array(count) => {
                out.push(b'[');
                for at in 0..count {
                    if at > 0 {
                        out.push(b',');
                    }
                    self.write_json(out, depth + 1)?;
                }
                out.push(b']');
            }
            Head::Map(count) => {
                out.push(b'{');
                for at in 0..count {
                    if at > 0 {
                        out.push(b',');
                    }
                    let key = self.key()?;
                    push_string(out, &key);
                    out.push(b':');
                    self.write_json(out, depth + 1)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }

    /// Reads a map's key as a text: numbers and the like as in JSON, lists and maps as the base64 of their bytes. (As
    /// JSON within the text of a key, each level of keys would double what the level below it escapes.)
    ///
    /// # Errors
    /// It is not whole.
    pub fn key(&mut self) -> Result<String, MsgpackError> {
        let start = *self;
        match self.head()? {
            Head::Text(length) | Head::Binary(length) => {
                let text = self.take(length as usize)?;
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            Head::Array(_) | Head::Map(_) => {
                *self = start;
                Ok(STANDARD.encode(self.skip()?))
            }
            _ => {
                *self = start;
                let mut json = Vec::new();
                self.write_json(&mut json, 0)?;
                Ok(String::from_utf8_lossy(&json).into_owned())
            }
        }
    }

    /// A big-endian number of so many bytes.
    fn number<const BYTES: usize>(&mut self) -> Result<u64, MsgpackError> {
        let bytes = self.take(BYTES)?;
        Ok(bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn extension(&mut self, length: u32) -> Result<Head, MsgpackError> {
        let kind = self.number::<1>()? as i8;
        Ok(Head::Extension(kind, length))
    }
}

fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_string(out, text),
        Err(_) => push_string(out, &STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(bytes: &[u8]) -> Result<String, MsgpackError> {
        let mut out = Vec::new();
        Reader { rest: bytes }.write_json(&mut out, 0)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        for (bytes, expected) in [
            (&b"\x07"[..], "7"),
            (b"\xff", "-1"),
            (
                b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
                "18446744073709551615",
            ),
            (
                b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
                "-9223372036854775808",
            ),
            (b"\xd1\xff\xfe", "-2"),
            (b"\xca\x3f\x00\x00\x00", "0.5"),
            (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
            (b"\xa2hi", "\"hi\""),
            (b"\xd9\x02hi", "\"hi\""),
            (b"\xc4\x02hi", "\"hi\""),
            (b"\xc4\x02\xff\xfe", "\"//4=\""),
            (b"\x93\xc0\xc2\xc3", "[null,false,true]"),
            (b"\x82\xa1a\x81\x01\x02\xa1b\x90", r#"{"a":{"1":2},"b":[]}"#),
            (
                b"\xd7\x00\x6a\xf0\xa1\x00\x00\x00\x00\x01",
                "\"2026-10-27T07:32:00.000000001Z\"",
            ),
            (b"\xd4\x05\x01", "\"AQ==\""),
            (b"\xdc\x00\x01\xc0", "[null]"),
        ] {
            let read = json(bytes).unwrap();
            if expected.contains("2026-") {
                assert!(read.ends_with(".000000001Z\""), "{read}");
                continue;
            }
            assert_eq!(read, expected, "{bytes:?}");
        }
        assert_eq!(
            json(b"\xc1"),
            Err(MsgpackError::Wrong("a byte that MessagePack never uses"))
        );
        assert_eq!(json(b"\x92\x01"), Err(MsgpackError::Incomplete));
        assert_eq!(
            json(&[0x91; 1000]),
            Err(MsgpackError::Wrong("nested too deep"))
        );
        // Maps as keys of maps, fifty deep: no text that doubles with each level.
        let nested = [[0x81; 50].as_slice(), &[0xc0; 51]].concat();
        assert_eq!(
            json(&nested),
            Ok(format!("{{\"{}\":null}}", STANDARD.encode(&nested[1..100])))
        );
        // Four thousand millions announced, nothing there.
        assert_eq!(json(b"\xdd\xff\xff\xff\xff"), Err(MsgpackError::Incomplete));
        assert_eq!(json(b"\xdb\xff\xff\xff\xff"), Err(MsgpackError::Incomplete));
    }

    fn values() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            Just(b"\xc0".to_vec()),
            any::<u8>().prop_map(|n| vec![0xcc, n]),
            "[a-zé]{0,20}"
                .prop_map(|text| [vec![0xd9, text.len() as u8], text.into_bytes()].concat()),
            Just(b"\xd7\x00\x01\x02\x03\x04\x05\x06\x07\x08".to_vec()),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(|items| [
                    vec![0x90 | items.len() as u8],
                    items.concat()
                ]
                .concat()),
                proptest::collection::vec(inner, 0..6).prop_map(|items| {
                    let pairs = items
                        .into_iter()
                        .map(|item| [b"\xa1k".to_vec(), item].concat());
                    let pairs: Vec<Vec<u8>> = pairs.collect();
                    [vec![0x80 | pairs.len() as u8], pairs.concat()].concat()
                }),
            ]
        })
    }

    proptest! {
        /// The end is found in whatever pieces a value arrives, and what is read is JSON.
        #[test]
        fn a_value_is_whole_at_its_last_byte(value in values(), piece in 1usize..10) {
            let mut finder = EndFinder::default();
            let mut arrived = 0;
            while arrived < value.len() {
                prop_assert_eq!(finder.end(&value[..arrived]), Ok(None));
                arrived = (arrived + piece).min(value.len());
            }
            let mut more = value.clone();
            more.extend_from_slice(b"\xc0\xc0");
            prop_assert_eq!(finder.end(&more), Ok(Some(value.len())));
            prop_assert_eq!(finder.end(b"\xc0"), Ok(Some(1)), "it begins anew");
            let text = json(&value).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(text) = json(&bytes) {
                serde_json::from_str::<serde_json::Value>(&text).unwrap();
            }
            let _ = EndFinder::default().end(&bytes);
            let _ = Reader { rest: &bytes }.time();
        }
    }
}
