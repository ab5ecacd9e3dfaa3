//! Columns as bytes that tantivy's readers take, and back.
//!
//! tantivy's own `ColumnarWriter` hashes every value's column name and every text again and keeps values in a list of
//! tagged bytes. We have the ordinals already, so its parts are used one by one: dictionary, index, values.

use std::io;
use std::sync::Arc;

use tantivy::DateTime;
use tantivy::columnar::column_index::{
    SerializableColumnIndex, SerializableOptionalIndex, open_column_index, serialize_column_index,
};
use tantivy::columnar::column_values::{
    CodecType, load_u64_based_column_values, serialize_u64_based_column_values,
};
use tantivy::columnar::{
    Cardinality, Column, ColumnType, ColumnarReader, ColumnarWriter, DynamicColumn,
    MonotonicallyMappableToU64, StrColumn, Version,
};
use tantivy::directory::{FileSlice, OwnedBytes};
use tantivy_sstable::{Dictionary, RangeSSTable, VoidSSTable};

use super::decimal::{scaled, unscaled};
use super::documents::{Documents, push_counted};
use super::file::{ColumnEntry, ColumnKind, NOT_SCALED};
use super::text_set::TextSet;
use crate::logs::reader::ValueColumn;

/// The end of a tantivy columnar of its version 2.
const COLUMNAR_V2_FOOTER: [u8; 8] = [2, 0, 0, 0, 2, 113, 119, 66];

/// The name of the one column in a columnar of texts.
pub const TEXTS_NAME: &str = "";

/// For numbers and times, which often lie near a line. Trying it costs a few nanoseconds a value.
const NUMBER_CODECS: [CodecType; 2] = [CodecType::Bitpacked, CodecType::BlockwiseLinear];

/// For ordinals and booleans, which do not.
const ORDINAL_CODECS: [CodecType; 1] = [CodecType::Bitpacked];

/// The numbers of a path, coerced as tantivy does.
pub enum Numbers {
    Integers(Vec<i64>),
    /// Some are above `i64::MAX`, none is negative.
    Unsigned(Vec<u64>),
    /// Some are floats, or some are above `i64::MAX` and others negative.
    Floats(Vec<f64>),
}

impl Numbers {
    pub fn push_integer(&mut self, number: i64, memory_bytes: &mut usize) {
        match self {
            Numbers::Integers(numbers) => push_counted(numbers, number, memory_bytes),
            Numbers::Unsigned(numbers) => match u64::try_from(number) {
                Ok(number) => push_counted(numbers, number, memory_bytes),
                Err(_) => self.push_float(number as f64, memory_bytes),
            },
            Numbers::Floats(numbers) => push_counted(numbers, number as f64, memory_bytes),
        }
    }

    pub fn push_unsigned(&mut self, number: u64, memory_bytes: &mut usize) {
        if let Ok(number) = i64::try_from(number) {
            return self.push_integer(number, memory_bytes);
        }
        if let Numbers::Integers(numbers) = self {
            // Collecting in place keeps the allocation, here and below.
            let numbers = std::mem::take(numbers);
            *self = match numbers.iter().all(|number| *number >= 0) {
                true => Numbers::Unsigned(numbers.into_iter().map(i64::cast_unsigned).collect()),
                false => Numbers::Floats(numbers.into_iter().map(|number| number as f64).collect()),
            };
        }
        match self {
            Numbers::Unsigned(numbers) => push_counted(numbers, number, memory_bytes),
            _ => self.push_float(number as f64, memory_bytes),
        }
    }

    pub fn push_float(&mut self, number: f64, memory_bytes: &mut usize) {
        match self {
            Numbers::Floats(numbers) => return push_counted(numbers, number, memory_bytes),
            Numbers::Integers(numbers) => {
                let numbers = std::mem::take(numbers).into_iter();
                *self = Numbers::Floats(numbers.map(|number| number as f64).collect());
            }
            Numbers::Unsigned(numbers) => {
                let numbers = std::mem::take(numbers).into_iter();
                *self = Numbers::Floats(numbers.map(|number| number as f64).collect());
            }
        }
        self.push_float(number, memory_bytes);
    }
}

/// Encodes numbers; gives their kind and the decimals of its entry.
pub fn encode_numbers(
    documents: &Documents,
    numbers: &Numbers,
    document_count: u32,
    out: &mut Vec<u8>,
) -> io::Result<(ColumnKind, u8)> {
    let (kind, decimals) = match numbers {
        Numbers::Integers(_) => (ColumnKind::Integer, NOT_SCALED),
        Numbers::Unsigned(_) => (ColumnKind::Unsigned, NOT_SCALED),
        Numbers::Floats(numbers) => match scaled(numbers) {
            Some((decimals, integers)) => {
                encode(documents, &integers, &NUMBER_CODECS, document_count, out)?;
                return Ok((ColumnKind::Float, decimals));
            }
            None => (ColumnKind::Float, NOT_SCALED),
        },
    };
    match numbers {
        Numbers::Integers(numbers) => {
            encode(documents, numbers, &NUMBER_CODECS, document_count, out)
        }
        Numbers::Unsigned(numbers) => {
            encode(documents, numbers, &NUMBER_CODECS, document_count, out)
        }
        Numbers::Floats(numbers) => encode(documents, numbers, &NUMBER_CODECS, document_count, out),
    }?;
    Ok((kind, decimals))
}

/// Encodes times.
pub fn encode_times(
    documents: &Documents,
    times: &[DateTime],
    document_count: u32,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    encode(documents, times, &NUMBER_CODECS, document_count, out)
}

/// Encodes booleans.
pub fn encode_bools(
    documents: &Documents,
    bools: &[bool],
    document_count: u32,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    encode(documents, bools, &ORDINAL_CODECS, document_count, out)
}

/// Encodes texts, given by their ordinals in `set`.
pub fn encode_texts(
    documents: &Documents,
    mut ordinals: Vec<u32>,
    set: TextSet,
    document_count: u32,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let start = out.len();
    let mut dictionary = Dictionary::<VoidSSTable>::builder(&mut *out)?;
    let mut ranks = vec![0; set.len()];
    for (rank, ordinal) in set.sorted().into_iter().enumerate() {
        dictionary.insert(set.get(ordinal), &())?;
        ranks[ordinal as usize] = rank as u32;
    }
    dictionary.finish()?;
    drop(set);
    let dictionary_length = length_u32(out.len() - start)?;
    for ordinal in &mut ordinals {
        *ordinal = ranks[*ordinal as usize];
    }
    encode(documents, &ordinals, &ORDINAL_CODECS, document_count, out)?;
    out.extend(dictionary_length.to_le_bytes());
    end_columnar(start, document_count, out)
}

/// Makes a text column that begins at `start` a columnar.
fn end_columnar(start: usize, document_count: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let column_length = (out.len() - start) as u64;
    let mut columns = Dictionary::<RangeSSTable>::builder(Vec::new())?;
    // The name, its end, the type.
    columns.insert([0, ColumnType::Str.to_code()], &(0..column_length))?;
    let columns = columns.finish()?;
    out.extend(&columns);
    out.extend((columns.len() as u64).to_le_bytes());
    out.extend(document_count.to_le_bytes());
    out.extend(COLUMNAR_V2_FOOTER);
    Ok(())
}

/// A columnar for documents without texts.
pub fn columnar_without_texts(document_count: u32) -> io::Result<ColumnarReader> {
    let mut bytes = Vec::new();
    ColumnarWriter::default().serialize(document_count, None, &mut bytes)?;
    ColumnarReader::open(bytes)
}

fn encode<T: MonotonicallyMappableToU64>(
    documents: &Documents,
    values: &[T],
    codecs: &[CodecType],
    document_count: u32,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let start = out.len();
    encode_index(documents, document_count, out)?;
    let index_length = length_u32(out.len() - start)?;
    serialize_u64_based_column_values(&values, codecs, out)?;
    out.extend(index_length.to_le_bytes());
    Ok(())
}

fn encode_index(documents: &Documents, document_count: u32, out: &mut Vec<u8>) -> io::Result<()> {
    if documents.are_all(document_count) {
        serialize_column_index(SerializableColumnIndex::Full, out)?;
        return Ok(());
    }
    // The documents that have values, and where the values of each begin.
    let mut rows: Vec<u32> = Vec::new();
    let mut offsets: Vec<u32> = Vec::new();
    let mut value_count = 0;
    for doc in documents.iter() {
        match rows.last() {
            Some(last) if *last == doc => {}
            last => {
                assert!(last.is_none_or(|last| *last < doc) && doc < document_count);
                rows.push(doc);
                offsets.push(value_count);
            }
        }
        value_count = value_count
            .checked_add(1)
            .ok_or_else(|| io::Error::other("too many values of one path"))?;
    }
    let is_single = rows.len() == value_count as usize;
    let code_at = out.len();
    let optional = SerializableOptionalIndex {
        non_null_row_ids: Box::new(&rows[..]),
        num_rows: document_count,
    };
    serialize_column_index(SerializableColumnIndex::Optional(optional), out)?;
    if is_single {
        return Ok(());
    }
    // tantivy's type for an index of several values cannot be named from outside. Its bytes: another code, the same
    // optional index, the offsets, the length of the optional index.
    out[code_at] = Cardinality::Multivalued as u8;
    let optional_length = length_u32(out.len() - code_at - 1)?;
    offsets.push(value_count);
    let codecs = [CodecType::Bitpacked, CodecType::Linear];
    serialize_u64_based_column_values(&&offsets[..], &codecs, out)?;
    out.extend(optional_length.to_le_bytes());
    Ok(())
}

fn length_u32(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| io::Error::other("a column is longer than 4 GiB"))
}

/// Opens a column; its bytes must have been checked.
pub fn decode(entry: &ColumnEntry, bytes: OwnedBytes) -> io::Result<ValueColumn> {
    Ok(match entry.kind {
        ColumnKind::Integer => ValueColumn::Integer(decode_values(bytes)?),
        ColumnKind::Unsigned => ValueColumn::Unsigned(decode_values(bytes)?),
        ColumnKind::Float if entry.decimals == NOT_SCALED => {
            ValueColumn::Float(decode_values(bytes)?)
        }
        ColumnKind::Float => {
            let Column { index, values } = decode_values(bytes)?;
            let values = unscaled(values, entry.decimals)
                .ok_or_else(|| io::Error::other("too many decimals"))?;
            ValueColumn::Float(Column { index, values })
        }
        ColumnKind::Text => ValueColumn::Text(texts_of(&open_columnar(bytes)?)?),
        ColumnKind::Bool => ValueColumn::Bool(decode_values(bytes)?),
        ColumnKind::Time => ValueColumn::Time(decode_values(bytes)?),
    })
}

/// Opens a columnar; its bytes must have been checked.
pub fn open_columnar(bytes: OwnedBytes) -> io::Result<ColumnarReader> {
    ColumnarReader::open(FileSlice::new(Arc::new(bytes)))
}

/// The texts in a columnar of ours.
pub fn texts_of(columnar: &ColumnarReader) -> io::Result<StrColumn> {
    let texts = columnar.read_columns(TEXTS_NAME)?;
    match texts.first().map(|column| column.open()).transpose()? {
        Some(DynamicColumn::Str(column)) => Ok(column),
        _ => Err(io::Error::other("a column of texts without texts")),
    }
}

fn decode_values<T: MonotonicallyMappableToU64>(bytes: OwnedBytes) -> io::Result<Column<T>> {
    let (body, index_length) = bytes.rsplit(size_of::<u32>());
    let index_length = index_length
        .as_slice()
        .try_into()
        .map(u32::from_le_bytes)
        .map_err(io::Error::other)?;
    let (index, values) = body.split(index_length as usize);
    Ok(Column {
        index: open_column_index(index, Version::V2)?,
        values: load_u64_based_column_values(values)?,
    })
}
