//! Numbers and lists of them as bytes: unsigned LEB128, and a cursor that never reads beyond the end.

use super::BlockError;

const ENDS_EARLY: BlockError = BlockError::Damaged("it ends early");

/// Writes a number behind what is in `out`.
pub fn push_number(out: &mut Vec<u8>, number: usize) {
    let mut number = number as u64;
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads what was written, from front to back.
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// How many bytes lie before it.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], BlockError> {
        let end = self.at.checked_add(len).ok_or(ENDS_EARLY)?;
        let taken = self.bytes.get(self.at..end).ok_or(ENDS_EARLY)?;
        self.at = end;
        Ok(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, BlockError> {
        Ok(self.take(1)?[0])
    }

    /// The next number.
    pub fn number(&mut self) -> Result<usize, BlockError> {
        let mut number = 0_usize;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ENDS_EARLY)
    }

    /// The next number, which fits 32 bits.
    pub fn small(&mut self) -> Result<u32, BlockError> {
        u32::try_from(self.number()?).map_err(|_| ENDS_EARLY)
    }

    /// How many things follow that take at least one byte each.
    pub fn count(&mut self) -> Result<usize, BlockError> {
        let count = self.number()?;
        let room = self.bytes.len() - self.at;
        (count <= room).then_some(count).ok_or(ENDS_EARLY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_ends_are_noticed() {
        let numbers = [0, 1, 127, 128, 300, 1 << 40];
        let mut bytes = Vec::new();
        for number in numbers {
            push_number(&mut bytes, number);
        }
        let mut cursor = Cursor::new(&bytes);
        for number in numbers {
            assert_eq!(cursor.number(), Ok(number));
        }
        assert!(cursor.number().is_err());
        assert!(Cursor::new(&[0x80; 20]).number().is_err());
        assert!(Cursor::new(&[200, 1, 0]).count().is_err());
    }
}
