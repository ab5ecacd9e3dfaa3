//! The values of a segment being written.

use std::io::{self, Write};

use tantivy::DateTime;

use super::documents::{Documents, push_counted};
use super::encode::{Numbers, encode_bools, encode_numbers, encode_texts, encode_times};
use super::file::{ColumnKind, FileWriter, NOT_SCALED, PathSummary};
use super::is_too_distinct;
use super::text_set::TextSet;

/// A path of one [`ColumnsWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathNumber(u32);

/// Collects the values of a segment in memory, then writes them.
///
/// The documents of each path must ascend; a document may have several values of a path, whose order is kept within a
/// kind.
#[derive(Default)]
pub struct ColumnsWriter {
    path_names: TextSet,
    /// By path number.
    paths: Vec<PathValues>,
    memory_bytes: usize,
}

/// The values of one path.
#[derive(Default)]
struct PathValues {
    has_full_text: bool,
    text_count: u64,
    texts: Texts,
    numbers: Option<Box<NumberValues>>,
    bools: Option<Box<Values<bool>>>,
    times: Option<Box<Values<DateTime>>>,
}

#[derive(Default)]
enum Texts {
    #[default]
    None,
    InColumn(Box<TextValues>),
    TooDistinct,
}

#[derive(Default)]
struct TextValues {
    set: TextSet,
    documents: Documents,
    ordinals: Vec<u32>,
}

struct NumberValues {
    documents: Documents,
    numbers: Numbers,
}

struct Values<T> {
    documents: Documents,
    values: Vec<T>,
}

impl ColumnsWriter {
    /// The number of a path, for the methods below.
    pub fn path(&mut self, path: &str) -> PathNumber {
        let number = self.path_names.intern(path, &mut self.memory_bytes);
        if number as usize == self.paths.len() {
            push_counted(
                &mut self.paths,
                PathValues::default(),
                &mut self.memory_bytes,
            );
        }
        PathNumber(number)
    }

    /// Adds a text; whether it gets a column is decided by how many there are.
    pub fn text(&mut self, path: PathNumber, doc: u32, text: &str) {
        let memory = &mut self.memory_bytes;
        let path = &mut self.paths[path.0 as usize];
        path.text_count += 1;
        let values = match &mut path.texts {
            Texts::InColumn(values) => values,
            Texts::TooDistinct => return,
            none => {
                *memory += size_of::<TextValues>();
                *none = Texts::InColumn(Box::default());
                let Texts::InColumn(values) = none else {
                    return;
                };
                values
            }
        };
        let ordinal = values.set.intern(text, memory);
        values.documents.push(doc, memory);
        push_counted(&mut values.ordinals, ordinal, memory);
        if is_too_distinct(path.text_count, values.set.len() as u64) {
            *memory -= values.memory_bytes();
            path.texts = Texts::TooDistinct;
        }
    }

    /// Notes that the path has a text that gets no column by its nature.
    pub fn slot_text(&mut self, path: PathNumber) {
        self.paths[path.0 as usize].has_full_text = true;
    }

    /// Adds a whole number.
    pub fn integer(&mut self, path: PathNumber, doc: u32, number: i64) {
        let (numbers, memory) = self.numbers(path, doc);
        numbers.push_integer(number, memory);
    }

    /// Adds a whole number that may be above `i64::MAX`.
    pub fn unsigned(&mut self, path: PathNumber, doc: u32, number: u64) {
        let (numbers, memory) = self.numbers(path, doc);
        numbers.push_unsigned(number, memory);
    }

    /// Adds a number.
    pub fn float(&mut self, path: PathNumber, doc: u32, number: f64) {
        let (numbers, memory) = self.numbers(path, doc);
        numbers.push_float(number, memory);
    }

    fn numbers(&mut self, path: PathNumber, doc: u32) -> (&mut Numbers, &mut usize) {
        let memory = &mut self.memory_bytes;
        let values = self.paths[path.0 as usize].numbers.get_or_insert_with(|| {
            *memory += size_of::<NumberValues>();
            Box::new(NumberValues {
                documents: Documents::default(),
                numbers: Numbers::Integers(Vec::new()),
            })
        });
        values.documents.push(doc, memory);
        (&mut values.numbers, memory)
    }

    /// Adds a boolean.
    pub fn bool(&mut self, path: PathNumber, doc: u32, value: bool) {
        let path = &mut self.paths[path.0 as usize];
        Values::push(&mut path.bools, doc, value, &mut self.memory_bytes);
    }

    /// Adds a time in nanoseconds since 1970, UTC.
    pub fn time(&mut self, path: PathNumber, doc: u32, nanos: i64) {
        let path = &mut self.paths[path.0 as usize];
        let time = DateTime::from_timestamp_nanos(nanos);
        Values::push(&mut path.times, doc, time, &mut self.memory_bytes);
    }

    /// How much memory the values take. While they are written the largest column takes about as much again.
    pub fn memory_bytes(&self) -> usize {
        size_of::<ColumnsWriter>() + self.memory_bytes
    }

    /// Writes the file of a segment with so many documents.
    ///
    /// # Errors
    /// `out` cannot be written, or a column is longer than 4 GiB.
    pub fn write(self, document_count: u32, out: &mut dyn Write) -> io::Result<()> {
        let mut file = FileWriter::new(out);
        let mut buffer = Vec::new();
        let mut paths = self.paths;
        for number in self.path_names.sorted() {
            let values = std::mem::take(&mut paths[number as usize]);
            let name = self.path_names.get(number);
            values.write(name, document_count, &mut file, &mut buffer)?;
        }
        file.finish(document_count)
    }
}

impl PathValues {
    fn write(
        self,
        name: &str,
        document_count: u32,
        file: &mut FileWriter,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut summary = PathSummary {
            has_full_text: self.has_full_text,
            is_too_distinct: matches!(self.texts, Texts::TooDistinct),
            text_count: self.text_count,
            ..PathSummary::default()
        };
        if let Some(values) = self.numbers {
            buffer.clear();
            let (kind, decimals) =
                encode_numbers(&values.documents, &values.numbers, document_count, buffer)?;
            file.column(kind, decimals, buffer)?;
        }
        if let Texts::InColumn(values) = self.texts {
            buffer.clear();
            let values = *values;
            summary.distinct_text_count = values.set.len() as u64;
            encode_texts(
                &values.documents,
                values.ordinals,
                values.set,
                document_count,
                buffer,
            )?;
            file.column(ColumnKind::Text, NOT_SCALED, buffer)?;
        }
        if let Some(bools) = self.bools {
            buffer.clear();
            encode_bools(&bools.documents, &bools.values, document_count, buffer)?;
            file.column(ColumnKind::Bool, NOT_SCALED, buffer)?;
        }
        if let Some(times) = self.times {
            buffer.clear();
            encode_times(&times.documents, &times.values, document_count, buffer)?;
            file.column(ColumnKind::Time, NOT_SCALED, buffer)?;
        }
        file.end_path(name, &summary);
        Ok(())
    }
}

impl TextValues {
    /// What it has allocated, itself included.
    fn memory_bytes(&self) -> usize {
        size_of::<TextValues>()
            + self.set.memory_bytes()
            + self.documents.memory_bytes()
            + self.ordinals.capacity() * size_of::<u32>()
    }
}

impl<T> Values<T> {
    fn push(values: &mut Option<Box<Values<T>>>, doc: u32, value: T, memory_bytes: &mut usize) {
        let values = values.get_or_insert_with(|| {
            *memory_bytes += size_of::<Values<T>>();
            Box::new(Values {
                documents: Documents::default(),
                values: Vec::new(),
            })
        });
        values.documents.push(doc, memory_bytes);
        push_counted(&mut values.values, value, memory_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_values_take_and_free_again_without_a_column() {
        let mut writer = ColumnsWriter::default();
        let path = writer.path("id");
        for doc in 0..1024 {
            writer.text(path, doc, &format!("{doc:032}"));
        }
        let payload_bytes = 1024 * (32 + size_of::<u32>());
        let memory_bytes = writer.memory_bytes();
        assert!((payload_bytes..payload_bytes * 3).contains(&memory_bytes));

        writer.text(path, 1024, "one too many");
        assert!(writer.memory_bytes() < 1024, "{}", writer.memory_bytes());

        let path = writer.path("number");
        let before = writer.memory_bytes();
        for doc in 0..100_000 {
            writer.integer(path, doc, 1);
        }
        let memory_bytes = writer.memory_bytes() - before;
        assert!(
            (800_000..1_600_000).contains(&memory_bytes),
            "{memory_bytes}"
        );
        writer.float(path, 100_000, 0.5);
        assert_eq!(writer.memory_bytes() - before, memory_bytes);
    }
}
