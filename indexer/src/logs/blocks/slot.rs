//! The values of one place over the documents of a group, and the forms they are written in.

use super::number::{Cursor, push_number};
use super::{BlockError, FORM_DICTIONARY, FORM_LENGTHS, FORM_LINES};

/// Fewer rows are not worth a dictionary.
const DICTIONARY_ROWS_MIN: usize = 32;

/// A dictionary pays when values come this often on average.
const DICTIONARY_REPEATS_MIN: usize = 4;

/// Codes of a dictionary are one byte, or two where there are more values than that can tell apart.
const DICTIONARY_LEN_MAX: usize = 8 * 1024;
const SHORT_CODES_MAX: usize = 256;

/// The values of a slot that is being filled: each ends with a line feed, unless one of them has a line feed itself.
#[derive(Default)]
pub struct SlotBuilder {
    bytes: Vec<u8>,
    /// Lengths, kept only from the first value with a line feed on.
    lengths: Option<Vec<u32>>,
    rows: u32,
    first_len: usize,
    is_one: bool,
}

impl SlotBuilder {
    /// Adds the value of the next row.
    pub fn push(&mut self, value: &[u8]) {
        if self.rows == 0 {
            self.first_len = value.len();
            self.is_one = true;
        } else {
            self.is_one = self.is_one && self.bytes[..self.first_len] == *value;
        }
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
        self.rows += 1;
        if let Some(lengths) = &mut self.lengths {
            lengths.push(value.len() as u32);
        }
    }

    /// Adds the value of the next row, which may hold line feeds.
    pub fn push_any(&mut self, value: &[u8]) {
        if self.lengths.is_none() && memchr::memchr(b'\n', value).is_some() {
            let mut lengths = Vec::with_capacity(self.rows as usize + 1);
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &self.bytes) {
                lengths.push((end - start) as u32);
                start = end + 1;
            }
            self.lengths = Some(lengths);
        }
        self.push(value);
    }

    /// Begins anew, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths = None;
        self.rows = 0;
    }

    /// Gives back memory that was needed once.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.bytes.shrink_to(bytes);
    }

    /// The value that all rows have; `None` when there are several.
    pub fn one(&self) -> Option<&[u8]> {
        (self.is_one && self.rows > 0).then(|| &self.bytes[..self.first_len])
    }

    /// Calls `visit` with each value, in order of rows.
    pub fn for_each<'s>(&'s self, mut visit: impl FnMut(&'s [u8])) {
        let mut start = 0;
        match &self.lengths {
            Some(lengths) => {
                for len in lengths {
                    let end = start + *len as usize;
                    visit(&self.bytes[start..end]);
                    start = end + 1;
                }
            }
            None => {
                for end in memchr::memchr_iter(b'\n', &self.bytes) {
                    visit(&self.bytes[start..end]);
                    start = end + 1;
                }
            }
        }
    }

    /// Writes the values behind what is in `out` and answers the form; `visit` is told each value that a search
    /// may ask for, repeated ones less often.
    pub fn write<'s>(&'s self, out: &mut Vec<u8>, mut visit: impl FnMut(&'s [u8])) -> u8 {
        if let Some(lengths) = &self.lengths {
            for len in lengths {
                push_number(out, *len as usize);
            }
            self.for_each(|value| {
                out.extend_from_slice(value);
                visit(value);
            });
            return FORM_LENGTHS;
        }
        if let Some((values, codes)) = self.dictionary() {
            let count = values.len();
            push_number(out, count);
            for value in values {
                out.extend_from_slice(value);
                out.push(b'\n');
                visit(value);
            }
            // Two bytes each are written as two runs, low ones first.
            out.extend(codes.iter().map(|code| *code as u8));
            if count > SHORT_CODES_MAX {
                out.extend(codes.iter().map(|code| (*code >> 8) as u8));
            }
            return FORM_DICTIONARY;
        }
        out.extend_from_slice(&self.bytes);
        self.for_each(visit);
        FORM_LINES
    }

    /// Writes the values behind what is in `out`, never as a dictionary, and answers the form.
    pub fn write_lines(&self, out: &mut Vec<u8>) -> u8 {
        match &self.lengths {
            Some(_) => self.write(out, |_| ()),
            None => {
                out.extend_from_slice(&self.bytes);
                FORM_LINES
            }
        }
    }

    /// The distinct values and for each row which one it has, where that pays.
    fn dictionary(&self) -> Option<(Vec<&[u8]>, Vec<u16>)> {
        let rows = self.rows as usize;
        if rows < DICTIONARY_ROWS_MIN {
            return None;
        }
        let len_max = (rows / DICTIONARY_REPEATS_MIN).min(DICTIONARY_LEN_MAX);
        let mut known: rustc_hash::FxHashMap<&[u8], u16> = rustc_hash::FxHashMap::default();
        let mut values: Vec<&[u8]> = Vec::new();
        let mut codes = Vec::with_capacity(rows);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &self.bytes) {
            let value = &self.bytes[start..end];
            start = end + 1;
            let code = match known.get(value) {
                Some(code) => *code,
                None if values.len() >= len_max => return None,
                None => {
                    let code = values.len() as u16;
                    known.insert(value, code);
                    values.push(value);
                    code
                }
            };
            codes.push(code);
        }
        Some((values, codes))
    }
}

/// The first place in bytes where something wanted is.
pub type Find<'f> = dyn Fn(&[u8]) -> Option<usize> + 'f;

/// The values of a slot that was read.
#[derive(Clone, Copy)]
pub struct SlotValues<'a> {
    form: u8,
    bytes: &'a [u8],
    rows: usize,
}

impl<'a> SlotValues<'a> {
    /// The values of `rows` documents.
    pub fn new(form: u8, bytes: &'a [u8], rows: usize) -> SlotValues<'a> {
        SlotValues { form, bytes, rows }
    }

    /// Lines one of which is the value of a row, and which one: those of the rows, or those of a dictionary. A caller may keep
    /// an index of them, one for all rows. `None` where values are written with their lengths.
    pub fn line_of(&self, row: usize) -> Result<Option<(&'a [u8], usize)>, BlockError> {
        match self.form {
            FORM_LINES => Ok(Some((self.bytes, row))),
            FORM_DICTIONARY => {
                let mut cursor = Cursor::new(self.bytes);
                let runs = 1 + usize::from(cursor.count()? > SHORT_CODES_MAX);
                let codes_start = self.bytes.len().checked_sub(runs * self.rows);
                let codes_start = codes_start.ok_or(NO_ROW)?;
                let values = self.bytes.get(cursor.at()..codes_start).ok_or(NO_ROW)?;
                let (low, high) = self.bytes[codes_start..].split_at(self.rows);
                let dictionary = Dictionary {
                    values: Vec::new(),
                    low,
                    high,
                };
                Ok(Some((values, dictionary.code(row).ok_or(NO_ROW)?)))
            }
            _ => Ok(None),
        }
    }

    /// The bytes of all values, in whatever form.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The value of one row. Walks over those before it.
    pub fn get(&self, row: usize) -> Result<&'a [u8], BlockError> {
        match self.form {
            FORM_LINES => line(self.bytes, row),
            FORM_DICTIONARY => {
                let dictionary = self.dictionary()?;
                dictionary.value(dictionary.code(row).ok_or(NO_ROW)?)
            }
            FORM_LENGTHS => {
                let mut found = Err(NO_ROW);
                let mut at = 0;
                self.by_lengths(|value| {
                    if at == row {
                        found = Ok(value);
                    }
                    at += 1;
                })?;
                found
            }
            _ => Err(UNKNOWN_FORM),
        }
    }

    /// Calls `visit` with each row and its value, in order.
    pub fn for_each(&self, mut visit: impl FnMut(usize, &'a [u8])) -> Result<(), BlockError> {
        let mut row = 0;
        match self.form {
            FORM_LINES => {
                let mut start = 0;
                for end in memchr::memchr_iter(b'\n', self.bytes).take(self.rows) {
                    visit(row, &self.bytes[start..end]);
                    start = end + 1;
                    row += 1;
                }
            }
            FORM_DICTIONARY => {
                let dictionary = self.dictionary()?;
                while let Some(code) = dictionary.code(row) {
                    visit(row, dictionary.value(code)?);
                    row += 1;
                }
            }
            FORM_LENGTHS => self.by_lengths(|value| {
                visit(row, value);
                row += 1;
            })?,
            _ => return Err(UNKNOWN_FORM),
        }
        (row == self.rows).then_some(()).ok_or(NO_ROW)
    }

    /// Calls `found` with each row whose value fits. `finder` gives, from a byte on, the first place where a fitting
    /// value has something that each of them has; without it every value is asked.
    pub fn rows_where(
        &self,
        finder: Option<&Find>,
        fits: &mut dyn FnMut(&[u8]) -> bool,
        found: &mut dyn FnMut(usize),
    ) -> Result<(), BlockError> {
        match (self.form, finder) {
            (FORM_DICTIONARY, _) => {
                let dictionary = self.dictionary()?;
                let mut any = false;
                let mut fitting = Vec::with_capacity(dictionary.values.len());
                for value in &dictionary.values {
                    let fits = finder.is_none_or(|find| find(value).is_some()) && fits(value);
                    fitting.push(fits);
                    any |= fits;
                }
                for row in 0..if any { self.rows } else { 0 } {
                    let code = dictionary.code(row).ok_or(NO_ROW)?;
                    if *fitting.get(code).ok_or(NO_ROW)? {
                        found(row);
                    }
                }
                Ok(())
            }
            (FORM_LINES, Some(find)) => {
                let bytes = self.bytes;
                let (mut at, mut row) = (0, 0);
                while let Some(offset) = bytes.get(at..).and_then(find) {
                    let hit = at + offset;
                    row += memchr::memchr_iter(b'\n', &bytes[at..hit]).count();
                    let start =
                        memchr::memrchr(b'\n', &bytes[at..hit]).map_or(at, |lf| at + lf + 1);
                    let end = hit + memchr::memchr(b'\n', &bytes[hit..]).ok_or(NO_ROW)?;
                    if row < self.rows && fits(&bytes[start..end]) {
                        found(row);
                    }
                    row += 1;
                    at = end + 1;
                }
                Ok(())
            }
            _ => self.for_each(|row, value| {
                if finder.is_none_or(|find| find(value).is_some()) && fits(value) {
                    found(row);
                }
            }),
        }
    }

    fn dictionary(&self) -> Result<Dictionary<'a>, BlockError> {
        let mut cursor = Cursor::new(self.bytes);
        let len = cursor.count()?;
        if len > DICTIONARY_LEN_MAX {
            return Err(NO_ROW);
        }
        let mut values = Vec::with_capacity(len);
        let mut start = cursor.at();
        for _ in 0..len {
            let end = start + memchr::memchr(b'\n', &self.bytes[start..]).ok_or(NO_ROW)?;
            values.push(&self.bytes[start..end]);
            start = end + 1;
        }
        let codes = &self.bytes[start..];
        let runs = 1 + usize::from(len > SHORT_CODES_MAX);
        if codes.len() != runs * self.rows {
            return Err(NO_ROW);
        }
        let (low, high) = codes.split_at(self.rows);
        Ok(Dictionary { values, low, high })
    }

    fn by_lengths(&self, mut visit: impl FnMut(&'a [u8])) -> Result<(), BlockError> {
        let mut cursor = Cursor::new(self.bytes);
        let mut lengths = Vec::with_capacity(self.rows.min(self.bytes.len()));
        for _ in 0..self.rows {
            lengths.push(cursor.number()?);
        }
        for len in lengths {
            visit(cursor.take(len)?);
        }
        Ok(())
    }
}

/// Distinct values, and which of them each row has.
struct Dictionary<'a> {
    values: Vec<&'a [u8]>,
    low: &'a [u8],
    /// Empty where one byte tells them apart.
    high: &'a [u8],
}

impl<'a> Dictionary<'a> {
    fn code(&self, row: usize) -> Option<usize> {
        let low = *self.low.get(row)?;
        let high = self.high.get(row).copied().unwrap_or_default();
        Some(usize::from(u16::from_le_bytes([low, high])))
    }

    fn value(&self, code: usize) -> Result<&'a [u8], BlockError> {
        self.values.get(code).copied().ok_or(NO_ROW)
    }
}

const NO_ROW: BlockError = BlockError::Damaged("a slot has not the rows of its group");
const UNKNOWN_FORM: BlockError = BlockError::Damaged("a slot of unknown form");

/// The `row`th of lines that each end with a line feed.
pub fn line(bytes: &[u8], row: usize) -> Result<&[u8], BlockError> {
    let mut ends = memchr::memchr_iter(b'\n', bytes);
    let start = match row {
        0 => 0,
        row => ends.nth(row - 1).ok_or(NO_ROW)? + 1,
    };
    let end = ends.next().ok_or(NO_ROW)?;
    Ok(&bytes[start..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_come_back_whatever_their_form(
            pool in prop::collection::vec("[ab\n]{0,3}", 1..8),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..120),
        ) {
            let values: Vec<&[u8]> = picks.iter().map(|pick| pick.get(&pool).as_bytes()).collect();
            let mut builder = SlotBuilder::default();
            for value in &values {
                builder.push_any(value);
            }
            let mut bytes = Vec::new();
            let mut told = std::collections::BTreeSet::new();
            let form = builder.write(&mut bytes, |value| { told.insert(value); });
            prop_assert_eq!(told, values.iter().copied().collect());
            let slot = SlotValues::new(form, &bytes, values.len());
            let mut read = Vec::new();
            slot.for_each(|_, value| read.push(value)).unwrap();
            prop_assert_eq!(&read, &values);
            for (row, value) in values.iter().enumerate() {
                prop_assert_eq!(slot.get(row).unwrap(), *value);
                if let Some((lines, number)) = slot.line_of(row).unwrap() {
                    prop_assert_eq!(line(lines, number).unwrap(), *value);
                }
            }
            let one = values.iter().all(|value| value == &values[0]);
            prop_assert_eq!(builder.one(), one.then_some(values[0]));
            let find = |bytes: &[u8]| memchr::memchr(b'a', bytes);
            for finder in [None, Some(&find as &dyn Fn(&[u8]) -> Option<usize>)] {
                let mut found = Vec::new();
                let mut fits = |value: &[u8]| value.contains(&b'a');
                slot.rows_where(finder, &mut fits, &mut |row| found.push(row)).unwrap();
                let expected: Vec<usize> = (0..values.len()).filter(|row| values[*row].contains(&b'a')).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn damaged_slots_are_errors(form in 0..8_u8, bytes in prop::collection::vec(any::<u8>(), 0..60), rows in 0..80_usize) {
            let slot = SlotValues::new(form, &bytes, rows);
            let _ = slot.get(rows / 2);
            let _ = slot.for_each(|_, _| ());
            let _ = slot.rows_where(None, &mut |_| true, &mut |_| ());
        }
    }
}
