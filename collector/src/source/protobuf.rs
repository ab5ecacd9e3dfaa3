//! The wire format of protobuf, read in place: fields of a message one after the other, strings as slices of it.

use std::borrow::Cow;

/// Groups are obsolete and only read over; deeper ones are no one's honest message.
const GROUP_DEPTH_MAX: usize = 32;

/// The bytes are not of their encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// The fields of one message, in the order of the wire.
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// One field's value, as the wire has it.
#[derive(Debug, Clone, Copy)]
pub enum Field<'a> {
    /// An integer, a boolean, an enumeration.
    Varint(u64),
    /// A fixed64 or a double.
    Fixed64(u64),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// A fixed32 or a float.
    Fixed32(u32),
}

impl<'a> Fields<'a> {
    /// The fields of this message.
    pub fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field and its number.
    ///
    /// # Errors
    /// What comes is no field.
    pub fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Undecodable> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let (number, wire_type) = self.key()?;
            let field = match wire_type {
                0 => Field::Varint(self.varint()?),
                1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
                2 => Field::Bytes(self.length_delimited()?),
                5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
                3 => {
                    self.skip_group(number)?;
                    continue;
                }
                _ => return Err(malformed("an unknown wire type")),
            };
            return Ok(Some((number, field)));
        }
    }

    fn key(&mut self) -> Result<(u32, u8), Undecodable> {
        let key = u32::try_from(self.varint()?).map_err(|_| malformed("a field number"))?;
        if key >> 3 == 0 {
            return Err(malformed("field number 0"));
        }
        Ok((key >> 3, (key & 7) as u8))
    }

    fn varint(&mut self) -> Result<u64, Undecodable> {
        let mut value = 0u64;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(malformed("a variable-length integer"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| malformed("a number that ends early"))?;
        self.rest = tail;
        Ok(*head)
    }

    fn length_delimited(&mut self) -> Result<&'a [u8], Undecodable> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let (head, tail) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| malformed("a length beyond the end"))?;
        self.rest = tail;
        Ok(head)
    }

    fn skip_group(&mut self, number: u32) -> Result<(), Undecodable> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            let (number, wire_type) = self.key()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.length_delimited()?),
                5 => drop(self.array::<4>()?),
                3 if open.len() < GROUP_DEPTH_MAX => open.push(number),
                4 if number == *innermost => drop(open.pop()),
                _ => return Err(malformed("a group without its end")),
            }
        }
        Ok(())
    }
}

impl<'a> Field<'a> {
    /// The bytes of a string or a message.
    ///
    /// # Errors
    /// The field is of another type.
    pub fn bytes(self) -> Result<&'a [u8], Undecodable> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(malformed("a number where a message or a string belongs")),
        }
    }

    /// The text of a string.
    ///
    /// # Errors
    /// The field is of another type.
    pub fn text(self) -> Result<Cow<'a, str>, Undecodable> {
        let text = std::str::from_utf8(self.bytes()?);
        Ok(Cow::Borrowed(
            text.map_err(|_| malformed("a string that is not UTF-8"))?,
        ))
    }

    /// The number of an integer.
    ///
    /// # Errors
    /// The field is of another type.
    pub fn varint(self) -> Result<u64, Undecodable> {
        match self {
            Field::Varint(value) => Ok(value),
            _ => Err(malformed("another type where an integer belongs")),
        }
    }

    /// The eight bytes of a fixed64.
    ///
    /// # Errors
    /// The field is of another type.
    pub fn fixed64(self) -> Result<u64, Undecodable> {
        match self {
            Field::Fixed64(value) => Ok(value),
            _ => Err(malformed("another type where eight bytes belong")),
        }
    }

    /// The four bytes of a fixed32.
    ///
    /// # Errors
    /// The field is of another type.
    pub fn fixed32(self) -> Result<u32, Undecodable> {
        match self {
            Field::Fixed32(value) => Ok(value),
            _ => Err(malformed("another type where four bytes belong")),
        }
    }
}

/// The message is wrong here.
pub fn malformed(found: &str) -> Undecodable {
    Undecodable(format!("not valid protobuf: {found}"))
}
