//! Reads the values of a field for a block of documents, column by column.

use std::fmt::Debug;
use std::ops::Range;

use indexer::logs::{ShardReader, ValueColumn};
use tantivy::columnar::{Column, ColumnIndex};
use tantivy::{DateTime, DocId};

use super::AggregateError;
use super::expression::Expression;

/// The name under which a shard's own name is a field.
pub(super) const INDEX_FIELD: &str = "_index";

/// Values of a block: `values[i]` belongs to the document at `positions[i]` of the block.
///
/// Positions ascend; a document with several values stands there several times.
pub(super) struct Block<T> {
    pub positions: Vec<u32>,
    pub values: Vec<T>,
    rows: Vec<u32>,
}

impl<T> Default for Block<T> {
    fn default() -> Block<T> {
        Block {
            positions: Vec::new(),
            values: Vec::new(),
            rows: Vec::new(),
        }
    }
}

impl<T: PartialOrd + Copy + Default + Debug + Send + Sync + 'static> Block<T> {
    /// Reads the values of `docs`, which may name a document several times.
    pub fn read(&mut self, column: &Column<T>, docs: &[DocId]) {
        self.positions.clear();
        self.rows.clear();
        match &column.index {
            ColumnIndex::Empty { .. } => {}
            ColumnIndex::Full => {
                self.positions.extend(0..docs.len() as u32);
                self.values.resize(docs.len(), T::default());
                column.values.get_vals(docs, &mut self.values);
                return;
            }
            index => {
                for (position, doc) in docs.iter().enumerate() {
                    for row in index.value_row_ids(*doc) {
                        self.positions.push(position as u32);
                        self.rows.push(row);
                    }
                }
            }
        }
        self.values.resize(self.rows.len(), T::default());
        column.values.get_vals(&self.rows, &mut self.values);
    }

    /// Reads the values of all documents of a range, without their positions; `false` when a document may have several.
    pub fn read_range(&mut self, column: &Column<T>, docs: Range<DocId>) -> bool {
        let rows = match &column.index {
            ColumnIndex::Empty { .. } => 0..0,
            ColumnIndex::Multivalued(_) => return false,
            index => index.docid_range_to_rowids(docs),
        };
        self.values.resize(rows.len(), T::default());
        column
            .values
            .get_range(u64::from(rows.start), &mut self.values);
        true
    }
}

/// What a number of a column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ValueKind {
    /// Whole numbers.
    #[default]
    Integer,
    /// Numbers with a fraction, or both sorts.
    Float,
    /// 1 and 0.
    Bool,
    /// Milliseconds since 1970.
    Time,
}

/// What stands for an event's number before and after it is read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NumberSource {
    /// The field.
    pub field: String,
    /// The value of events that have none; without it they are left out.
    pub missing: Option<f64>,
    /// Computes the value to use from `_value`.
    pub script: Option<Expression>,
}

/// The numbers of one field in one segment. Texts among its values are left out.
pub(super) struct Numbers {
    columns: Vec<NumberColumn>,
    missing: Option<f64>,
    script: Option<Expression>,
    is_answered: Vec<bool>,
}

enum NumberColumn {
    Integer(Column<i64>, Block<i64>),
    Unsigned(Column<u64>, Block<u64>),
    Float(Column<f64>, Block<f64>),
    Bool(Column<bool>, Block<bool>),
    Time(Column<DateTime>, Block<DateTime>),
}

impl Numbers {
    pub fn open(
        shard: &ShardReader,
        segment: usize,
        source: &NumberSource,
    ) -> Result<Numbers, AggregateError> {
        let columns = shard.columns(segment, &source.field)?;
        Ok(Numbers::new(columns, source))
    }

    pub fn new(columns: Vec<ValueColumn>, source: &NumberSource) -> Numbers {
        let columns = columns.into_iter().filter_map(|column| {
            Some(match column {
                ValueColumn::Text(_) => return None,
                ValueColumn::Integer(column) => NumberColumn::Integer(column, Block::default()),
                ValueColumn::Unsigned(column) => NumberColumn::Unsigned(column, Block::default()),
                ValueColumn::Float(column) => NumberColumn::Float(column, Block::default()),
                ValueColumn::Bool(column) => NumberColumn::Bool(column, Block::default()),
                ValueColumn::Time(column) => NumberColumn::Time(column, Block::default()),
            })
        });
        Numbers {
            columns: columns.collect(),
            missing: source.missing,
            script: source.script.clone(),
            is_answered: Vec::new(),
        }
    }

    /// What the numbers mean; `None` when the segment has none.
    pub fn kind(&self) -> Option<ValueKind> {
        let kinds = self.columns.iter().map(|column| match column {
            NumberColumn::Integer(..) | NumberColumn::Unsigned(..) => ValueKind::Integer,
            NumberColumn::Float(..) => ValueKind::Float,
            NumberColumn::Bool(..) => ValueKind::Bool,
            NumberColumn::Time(..) => ValueKind::Time,
        });
        kinds.max()
    }

    /// Calls `each` with the position in the block and the number, for every value; column after column.
    pub fn for_each(&mut self, docs: &[DocId], mut each: impl FnMut(usize, f64)) {
        let script = self.script.clone();
        let mut scripted = |position: usize, value: f64| match &script {
            None => each(position, value),
            Some(script) => {
                let value = script.evaluate_value(value);
                if !value.is_nan() {
                    each(position, value);
                }
            }
        };
        let Some(missing) = self.missing else {
            for column in &mut self.columns {
                column.for_each(docs, &mut scripted);
            }
            return;
        };
        self.is_answered.clear();
        self.is_answered.resize(docs.len(), false);
        for column in &mut self.columns {
            let is_answered = &mut self.is_answered;
            column.for_each(docs, &mut |position, value| {
                is_answered[position] = true;
                scripted(position, value);
            });
        }
        for (position, is_answered) in self.is_answered.iter().enumerate() {
            if !is_answered {
                scripted(position, missing);
            }
        }
    }
}

impl NumberColumn {
    fn for_each(&mut self, docs: &[DocId], each: &mut impl FnMut(usize, f64)) {
        fn go<T: PartialOrd + Copy + Default + Debug + Send + Sync + 'static>(
            column: &Column<T>,
            block: &mut Block<T>,
            docs: &[DocId],
            each: &mut impl FnMut(usize, f64),
            number: impl Fn(T) -> f64,
        ) {
            block.read(column, docs);
            for (position, value) in block.positions.iter().zip(&block.values) {
                each(*position as usize, number(*value));
            }
        }
        match self {
            NumberColumn::Integer(column, block) => go(column, block, docs, each, |v| v as f64),
            NumberColumn::Unsigned(column, block) => go(column, block, docs, each, |v| v as f64),
            NumberColumn::Float(column, block) => go(column, block, docs, each, |v| v),
            NumberColumn::Bool(column, block) => {
                go(column, block, docs, each, |v| f64::from(u8::from(v)));
            }
            NumberColumn::Time(column, block) => {
                go(column, block, docs, each, |v| millis(v) as f64);
            }
        }
    }
}

/// Whole milliseconds since 1970, rounded down.
pub(super) fn millis(time: DateTime) -> i64 {
    time.into_timestamp_nanos().div_euclid(1_000_000)
}
