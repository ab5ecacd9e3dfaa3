//! Several files made one, when tantivy merges segments: their documents one after the other, without the deleted ones.
//!
//! Numbers, booleans and times are read and encoded again: of numbers the kind and the scale may change. Texts go
//! through tantivy's merge, which joins the sorted dictionaries and never looks at a text per value.

use std::collections::BTreeSet;
use std::io::{self, Write};

use tantivy::DateTime;
use tantivy::columnar::{
    Column, ColumnIndex, ColumnarReader, MergeRowOrder, RowAddr, ShuffleMergeOrder,
    StackMergeOrder, merge_columnar,
};
use tantivy::directory::OwnedBytes;
use tantivy::fastfield::AliveBitSet;

use super::documents::Documents;
use super::encode::{
    Numbers, columnar_without_texts, encode_bools, encode_numbers, encode_times, open_columnar,
    texts_of,
};
use super::file::{ColumnKind, FileWriter, NOT_SCALED, PathSummary};
use super::is_too_distinct;
use super::reader::ColumnsFile;
use crate::logs::reader::ValueColumn;

/// A segment to be merged.
#[derive(Clone, Copy)]
pub struct MergeInput<'a> {
    /// Its columns.
    pub file: &'a ColumnsFile,
    /// The documents to keep; `None` keeps all.
    pub alive: Option<&'a AliveBitSet>,
    /// Makes the texts of a path that has no column, as a columnar with one column named [`TEXTS_NAME`](super::TEXTS_NAME).
    pub made_texts: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
}

/// Writes the columns of `inputs` as those of one segment.
///
/// Texts of a path that is too distinct in one input have no column in the merged file either, unless the path is one of
/// `exact`: those keep or get their column however distinct they are. Memory: the values of one path, and 24 bytes per document when some are deleted.
///
/// # Errors
/// An input is damaged or cannot be read, `out` cannot be written, a column is longer than 4 GiB.
pub fn merge(inputs: &[MergeInput], exact: &[String], out: &mut dyn Write) -> io::Result<()> {
    let merge = Merge::new(inputs)?;
    let mut file = FileWriter::new(out);
    let paths: BTreeSet<&str> = inputs
        .iter()
        .flat_map(|input| input.file.paths().map(|(path, _)| path))
        .collect();
    for path in paths {
        let is_exact = exact.iter().any(|exact| exact == path);
        merge.path(path, is_exact, &mut file)?;
    }
    file.finish(merge.document_count)
}

struct Merge<'a> {
    inputs: Vec<Input<'a>>,
    /// Where merged documents come from; `None` when none is deleted.
    origins: Option<Vec<RowAddr>>,
    document_count: u32,
}

struct Input<'a> {
    file: &'a ColumnsFile,
    alive: Option<&'a AliveBitSet>,
    made_texts: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    numbers: Renumbering,
    /// Stands for the texts of paths that this input does not have.
    without_texts: ColumnarReader,
}

/// Which document becomes which.
enum Renumbering {
    /// All are kept; the first one gets this number.
    Offset(u32),
    /// By old number; `None` was deleted.
    Each(Vec<Option<u32>>),
}

impl Renumbering {
    fn of(&self, doc: u32) -> Option<u32> {
        match self {
            Renumbering::Offset(offset) => Some(offset + doc),
            Renumbering::Each(numbers) => numbers[doc as usize],
        }
    }
}

/// Values of one kind on their way into a merged column.
struct Collected<T> {
    documents: Documents,
    values: T,
}

impl<'a> Merge<'a> {
    fn new(inputs: &[MergeInput<'a>]) -> io::Result<Merge<'a>> {
        let mut origins = inputs
            .iter()
            .any(|input| input.alive.is_some())
            .then(Vec::new);
        let mut document_count: u32 = 0;
        let mut prepared = Vec::with_capacity(inputs.len());
        for (segment, input) in inputs.iter().enumerate() {
            let MergeInput {
                file,
                alive,
                made_texts,
            } = input;
            let first = document_count;
            let is_kept = |doc| alive.is_none_or(|alive| alive.is_alive(doc));
            let numbers = match alive {
                None => {
                    document_count = first
                        .checked_add(file.document_count())
                        .ok_or_else(|| io::Error::other("too many documents in one segment"))?;
                    Renumbering::Offset(first)
                }
                Some(_) => {
                    let mut number = |doc| {
                        let number = is_kept(doc).then_some(document_count)?;
                        document_count += 1;
                        Some(number)
                    };
                    Renumbering::Each((0..file.document_count()).map(&mut number).collect())
                }
            };
            if let Some(origins) = &mut origins {
                let kept = (0..file.document_count()).filter(|doc| is_kept(*doc));
                origins.extend(kept.map(|doc| RowAddr {
                    segment_ord: segment as u32,
                    row_id: doc,
                }));
            }
            prepared.push(Input {
                file,
                alive: *alive,
                made_texts: *made_texts,
                numbers,
                without_texts: columnar_without_texts(file.document_count())?,
            });
        }
        Ok(Merge {
            inputs: prepared,
            origins,
            document_count,
        })
    }

    fn path(&self, path: &str, is_exact: bool, file: &mut FileWriter) -> io::Result<()> {
        let summaries = || self.inputs.iter().filter_map(|input| input.file.path(path));
        let mut summary = PathSummary {
            has_full_text: summaries().any(|summary| summary.has_full_text),
            is_too_distinct: !is_exact && summaries().any(|summary| summary.is_too_distinct),
            text_count: summaries().map(|summary| summary.text_count).sum(),
            ..PathSummary::default()
        };
        let mut columns = Vec::new();
        for input in &self.inputs {
            for column in input.file.columns_but_texts(path)? {
                columns.push((&input.numbers, column));
            }
        }
        let mut buffer = Vec::new();
        if let Some(numbers) = merge_numbers(&columns) {
            let (kind, decimals) = encode_numbers(
                &numbers.documents,
                &numbers.values,
                self.document_count,
                &mut buffer,
            )?;
            file.column(kind, decimals, &buffer)?;
        }
        if !summary.is_too_distinct {
            self.texts(path, is_exact, &mut summary, file)?;
        }
        if let Some(bools) = merge_bools(&columns) {
            buffer.clear();
            encode_bools(
                &bools.documents,
                &bools.values,
                self.document_count,
                &mut buffer,
            )?;
            file.column(ColumnKind::Bool, NOT_SCALED, &buffer)?;
        }
        if let Some(times) = merge_times(&columns) {
            buffer.clear();
            encode_times(
                &times.documents,
                &times.values,
                self.document_count,
                &mut buffer,
            )?;
            file.column(ColumnKind::Time, NOT_SCALED, &buffer)?;
        }
        file.end_path(path, &summary);
        Ok(())
    }

    /// Merges the texts of a path and counts them.
    fn texts(
        &self,
        path: &str,
        is_exact: bool,
        summary: &mut PathSummary,
        file: &mut FileWriter,
    ) -> io::Result<()> {
        let mut opened = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let has_none = |summary: &PathSummary| summary.is_too_distinct;
            opened.push(match input.file.path(path).is_some_and(has_none) {
                true => Some(open_columnar(OwnedBytes::new((input.made_texts)(path)?))?),
                false => input.file.texts(path)?,
            });
        }
        if opened.iter().all(Option::is_none) {
            return Ok(());
        }
        let columnars: Vec<&ColumnarReader> = opened
            .iter()
            .zip(&self.inputs)
            .map(|(texts, input)| texts.as_ref().unwrap_or(&input.without_texts))
            .collect();
        let mut bytes = Vec::new();
        merge_columnar(&columnars, &[], self.row_order(&columnars), &mut bytes)?;

        let bytes = OwnedBytes::new(bytes);
        let merged = open_columnar(bytes.clone())?;
        if merged.num_columns() == 0 {
            // All of them were deleted.
            summary.text_count = 0;
            return Ok(());
        }
        let texts = texts_of(&merged)?;
        summary.text_count = u64::from(texts.ords().values.num_vals());
        let distinct_text_count = texts.num_terms() as u64;
        if !is_exact && is_too_distinct(summary.text_count, distinct_text_count) {
            summary.is_too_distinct = true;
            return Ok(());
        }
        summary.distinct_text_count = distinct_text_count;
        file.column(ColumnKind::Text, NOT_SCALED, &bytes)
    }

    /// tantivy takes it by value, for each path anew.
    fn row_order(&self, columnars: &[&ColumnarReader]) -> MergeRowOrder {
        let Some(origins) = &self.origins else {
            return StackMergeOrder::stack(columnars).into();
        };
        let alive_bitsets = self
            .inputs
            .iter()
            .map(|input| input.alive.map(|alive| alive.bitset().clone()));
        MergeRowOrder::Shuffled(ShuffleMergeOrder {
            new_row_id_to_old_row_id: origins.clone(),
            alive_bitsets: alive_bitsets.collect(),
        })
    }
}

type InputColumn<'a> = (&'a Renumbering, ValueColumn);

fn merge_numbers(columns: &[InputColumn]) -> Option<Collected<Numbers>> {
    let mut documents = Documents::default();
    let mut numbers = Numbers::Integers(Vec::new());
    let mut is_empty = true;
    for (renumbering, column) in columns {
        let mut is_kept = |doc| {
            let Some(doc) = renumbering.of(doc) else {
                return false;
            };
            documents.push(doc, &mut 0);
            is_empty = false;
            true
        };
        match column {
            ValueColumn::Integer(column) => for_each(column, |doc, number| {
                if is_kept(doc) {
                    numbers.push_integer(number, &mut 0);
                }
            }),
            ValueColumn::Unsigned(column) => for_each(column, |doc, number| {
                if is_kept(doc) {
                    numbers.push_unsigned(number, &mut 0);
                }
            }),
            ValueColumn::Float(column) => for_each(column, |doc, number| {
                if is_kept(doc) {
                    numbers.push_float(number, &mut 0);
                }
            }),
            ValueColumn::Text(_) | ValueColumn::Bool(_) | ValueColumn::Time(_) => {}
        }
    }
    let collected = Collected {
        documents,
        values: numbers,
    };
    (!is_empty).then_some(collected)
}

fn merge_bools(columns: &[InputColumn]) -> Option<Collected<Vec<bool>>> {
    let mut collected = Collected::default();
    for (renumbering, column) in columns {
        if let ValueColumn::Bool(column) = column {
            collected.append(column, renumbering);
        }
    }
    collected.if_any()
}

fn merge_times(columns: &[InputColumn]) -> Option<Collected<Vec<DateTime>>> {
    let mut collected = Collected::default();
    for (renumbering, column) in columns {
        if let ValueColumn::Time(column) = column {
            collected.append(column, renumbering);
        }
    }
    collected.if_any()
}

impl<T> Default for Collected<Vec<T>> {
    fn default() -> Self {
        Collected {
            documents: Documents::default(),
            values: Vec::new(),
        }
    }
}

impl<T: PartialOrd + Copy + std::fmt::Debug + Send + Sync + 'static> Collected<Vec<T>> {
    fn append(&mut self, column: &Column<T>, renumbering: &Renumbering) {
        for_each(column, |doc, value| {
            if let Some(doc) = renumbering.of(doc) {
                self.documents.push(doc, &mut 0);
                self.values.push(value);
            }
        });
    }

    fn if_any(self) -> Option<Self> {
        (!self.values.is_empty()).then_some(self)
    }
}

/// Calls `visit` with each value and its document, in order.
fn for_each<T>(column: &Column<T>, mut visit: impl FnMut(u32, T))
where
    T: PartialOrd + Copy + std::fmt::Debug + Send + Sync + 'static,
{
    match &column.index {
        ColumnIndex::Empty { .. } => {}
        ColumnIndex::Full => {
            for (doc, value) in (0..).zip(column.values.iter()) {
                visit(doc, value);
            }
        }
        ColumnIndex::Optional(index) => {
            for (doc, value) in index.iter_non_null_docs().zip(column.values.iter()) {
                visit(doc, value);
            }
        }
        ColumnIndex::Multivalued(index) => {
            for doc in index.iter_non_null_docs() {
                for value in column.values_for_doc(doc) {
                    visit(doc, value);
                }
            }
        }
    }
}
