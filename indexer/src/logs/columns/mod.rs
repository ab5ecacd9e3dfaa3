//! The columns of one segment in a file of our own: values by dotted path and document, typed.
//!
//! [`ColumnsWriter`] collects the values of a segment being written, [`ColumnsFile`] reads a file, [`merge()`] makes one
//! of several. A path has up to four columns, one per kind: numbers (all its numbers in one, as tantivy coerces them:
//! `i64`, else `u64`, else `f64`), texts, booleans and times.
//!
//! Why not tantivy's fast JSON field: it gives every text a column. Here the number of distinct texts of a path in
//! the segment decides (see [`is_too_distinct`]), because a column of texts that hardly repeat is a second copy of them.
//!
//! ```text
//! file      = column* directory footer
//! column    = numbers | texts
//! numbers   = index values index_length:u32           tantivy's column index (V2) and u64 codecs
//! texts     = a tantivy columnar (V2) with one column, named ""
//! directory = path*, ascending by name
//! path      = name_length:u32 name flags:u8 text_count:u64 distinct_text_count:u64 column_count:u8 entry*
//! entry     = kind:u8 decimals:u8 length:u64 checksum:u64
//! footer    = directory_length:u64 path_count:u32 document_count:u32 checksum:u64 version:u8 magic:[u8; 7]
//! ```
//!
//! Numbers are little-endian. The columns lie in the order of the entries without a gap, so an entry needs no offset.
//! `decimals` is k for a float column that stores the integers value * 10^k, and 255 for all others. A column's
//! checksum is the XXH3 of its bytes; the footer's covers the directory and what is before it in the footer.
//!
//! What must hold: tantivy's readers trust their bytes and panic on wrong ones, so no byte reaches them before its
//! checksum was found right. A checksum is computed when a column is first opened, not when the file is.

mod decimal;
mod documents;
mod encode;
mod file;
mod merge;
mod reader;
mod text_set;
mod writer;

pub use encode::TEXTS_NAME;
pub use file::{ColumnKind, PathSummary};
pub use merge::{MergeInput, merge};
pub use reader::ColumnsFile;
pub use writer::{ColumnsWriter, PathNumber};

/// A text must occur this often on average to be worth a dictionary: with fewer occurrences the dictionary outweighs
/// the ordinals, and there is little to group by.
const TEXT_OCCURRENCES_MIN: u64 = 8;

/// Paths with fewer distinct texts keep their column, however few texts there are yet: a thousand hosts or pods are to be
/// grouped by, and a segment of a few seconds must not decide against that for those it is merged into.
const DISTINCT_TEXTS_KEPT: u64 = 1024;

/// Whether a path with so many texts, so many of them distinct, gets no column for them.
fn is_too_distinct(text_count: u64, distinct_text_count: u64) -> bool {
    distinct_text_count > DISTINCT_TEXTS_KEPT
        && distinct_text_count * TEXT_OCCURRENCES_MIN > text_count
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use tantivy::BitSet;
    use tantivy::columnar::Column;
    use tantivy::directory::{FileSlice, OwnedBytes};
    use tantivy::fastfield::{AliveBitSet, write_alive_bitset};

    use super::*;
    use crate::logs::reader::ValueColumn;

    /// Floats by their bits, so that NaN equals itself and the zeros differ.
    #[derive(Debug, Clone, PartialEq)]
    enum Value {
        Text(String),
        Integer(i64),
        Unsigned(u64),
        Float(u64),
        Bool(bool),
        Time(i64),
    }

    /// The values of a segment, by ascending document.
    #[derive(Debug, Clone, Default)]
    struct Segment {
        document_count: u32,
        values: Vec<(u32, &'static str, Value)>,
        full_texts: Vec<&'static str>,
    }

    /// What must be read of a path.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Contents {
        numbers: Vec<(u32, Value)>,
        texts: Vec<(u32, Value)>,
        bools: Vec<(u32, Value)>,
        times: Vec<(u32, Value)>,
        has_full_text: bool,
        is_too_distinct: bool,
        text_count: u64,
    }

    impl Contents {
        fn list_of(&mut self, value: &Value) -> &mut Vec<(u32, Value)> {
            match value {
                Value::Text(_) => &mut self.texts,
                Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) => &mut self.numbers,
                Value::Bool(_) => &mut self.bools,
                Value::Time(_) => &mut self.times,
            }
        }

        fn coerce(&mut self) {
            let numbers = || self.numbers.iter().map(|(_, number)| number);
            let has_float = numbers().any(|number| matches!(number, Value::Float(_)));
            let has_large = numbers()
                .any(|number| matches!(number, Value::Unsigned(n) if i64::try_from(*n).is_err()));
            let has_negative =
                numbers().any(|number| matches!(number, Value::Integer(n) if *n < 0));
            for (_, number) in &mut self.numbers {
                let wide = match number {
                    Value::Integer(n) => i128::from(*n),
                    Value::Unsigned(n) => i128::from(*n),
                    _ => continue,
                };
                *number = if has_float || (has_large && has_negative) {
                    Value::Float((wide as f64).to_bits())
                } else if has_large {
                    Value::Unsigned(wide as u64)
                } else {
                    Value::Integer(wide as i64)
                };
            }
        }

        fn judge_texts(&mut self) {
            self.is_too_distinct |= is_too_distinct(self.text_count, distinct(&self.texts));
            if self.is_too_distinct {
                self.texts.clear();
            }
        }

        fn is_empty(&self) -> bool {
            let lists = [&self.numbers, &self.texts, &self.bools, &self.times];
            lists.into_iter().all(Vec::is_empty) && !self.has_full_text && !self.is_too_distinct
        }
    }

    fn distinct(texts: &[(u32, Value)]) -> u64 {
        let distinct: BTreeSet<String> =
            texts.iter().map(|(_, text)| format!("{text:?}")).collect();
        distinct.len() as u64
    }

    fn contents(segment: &Segment) -> BTreeMap<&'static str, Contents> {
        let mut all: BTreeMap<&str, Contents> = BTreeMap::new();
        for (doc, path, value) in &segment.values {
            let contents = all.entry(path).or_default();
            contents.list_of(value).push((*doc, value.clone()));
            if matches!(value, Value::Text(_)) {
                contents.text_count += 1;
            }
        }
        for path in &segment.full_texts {
            all.entry(path).or_default().has_full_text = true;
        }
        for contents in all.values_mut() {
            contents.coerce();
            contents.judge_texts();
        }
        all
    }

    fn merged(segments: &[(Segment, Option<Vec<bool>>)]) -> BTreeMap<&'static str, Contents> {
        let mut all: BTreeMap<&str, Contents> = BTreeMap::new();
        // Deleted ones included.
        let mut text_counts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut first = 0;
        for (segment, alive) in segments {
            let is_kept = |doc: u32| alive.as_ref().is_none_or(|alive| alive[doc as usize]);
            let new_doc = |doc: u32| first + (0..doc).filter(|doc| is_kept(*doc)).count() as u32;
            for (path, contents) in contents(segment) {
                let merged = all.entry(path).or_default();
                merged.has_full_text |= contents.has_full_text;
                merged.is_too_distinct |= contents.is_too_distinct;
                *text_counts.entry(path).or_default() += contents.text_count;
                let lists = [
                    contents.numbers,
                    contents.texts,
                    contents.bools,
                    contents.times,
                ];
                for (doc, value) in lists.into_iter().flatten() {
                    let is_text = matches!(value, Value::Text(_));
                    if is_kept(doc) {
                        merged.list_of(&value).push((new_doc(doc), value));
                        merged.text_count += u64::from(is_text);
                    }
                }
            }
            first = new_doc(segment.document_count);
        }
        for (path, contents) in &mut all {
            if contents.is_too_distinct {
                contents.text_count = text_counts[path];
            }
            contents.coerce();
            contents.judge_texts();
        }
        all.retain(|_, contents| !contents.is_empty());
        all
    }

    fn write(segment: &Segment) -> Vec<u8> {
        let mut writer = ColumnsWriter::default();
        for (doc, path, value) in &segment.values {
            let path = writer.path(path);
            match value {
                Value::Text(text) => writer.text(path, *doc, text),
                Value::Integer(number) => writer.integer(path, *doc, *number),
                Value::Unsigned(number) => writer.unsigned(path, *doc, *number),
                Value::Float(bits) => writer.float(path, *doc, f64::from_bits(*bits)),
                Value::Bool(value) => writer.bool(path, *doc, *value),
                Value::Time(nanos) => writer.time(path, *doc, *nanos),
            }
        }
        for path in &segment.full_texts {
            let path = writer.path(path);
            writer.slot_text(path);
        }
        let mut bytes = Vec::new();
        writer.write(segment.document_count, &mut bytes).unwrap();
        bytes
    }

    fn open(bytes: Vec<u8>) -> Result<ColumnsFile, super::file::OpenError> {
        ColumnsFile::open(FileSlice::from(bytes))
    }

    fn read(file: &ColumnsFile) -> BTreeMap<String, Contents> {
        let mut all = BTreeMap::new();
        for (path, summary) in file.paths() {
            let mut contents = Contents {
                has_full_text: summary.has_full_text,
                is_too_distinct: summary.is_too_distinct,
                text_count: summary.text_count,
                ..Contents::default()
            };
            let columns = file.columns(path).unwrap();
            assert_eq!(columns.len(), summary.kinds().count());
            for (column, kind) in columns.into_iter().zip(summary.kinds()) {
                let (read_kind, values) = read_column(column, file.document_count());
                assert_eq!(read_kind, kind);
                if kind == ColumnKind::Text {
                    assert_eq!(distinct(&values), summary.distinct_text_count);
                }
                assert!(!values.is_empty());
                let list = contents.list_of(&values[0].1);
                *list = values;
            }
            all.insert(path.to_owned(), contents);
        }
        all
    }

    fn read_column(column: ValueColumn, document_count: u32) -> (ColumnKind, Vec<(u32, Value)>) {
        fn values<T>(
            column: &Column<T>,
            document_count: u32,
            value: impl Fn(T) -> Value,
        ) -> Vec<(u32, Value)>
        where
            T: PartialOrd + Copy + std::fmt::Debug + Send + Sync + 'static,
        {
            assert_eq!(column.num_docs(), document_count);
            let of_doc = |doc| column.values_for_doc(doc).map(move |found| (doc, found));
            (0..document_count)
                .flat_map(of_doc)
                .map(|(doc, found)| (doc, value(found)))
                .collect()
        }
        match column {
            ValueColumn::Integer(column) => (
                ColumnKind::Integer,
                values(&column, document_count, Value::Integer),
            ),
            ValueColumn::Unsigned(column) => (
                ColumnKind::Unsigned,
                values(&column, document_count, Value::Unsigned),
            ),
            ValueColumn::Float(column) => {
                let bits = |value: f64| Value::Float(value.to_bits());
                (ColumnKind::Float, values(&column, document_count, bits))
            }
            ValueColumn::Bool(column) => (
                ColumnKind::Bool,
                values(&column, document_count, Value::Bool),
            ),
            ValueColumn::Time(column) => {
                let nanos = |time: tantivy::DateTime| Value::Time(time.into_timestamp_nanos());
                (ColumnKind::Time, values(&column, document_count, nanos))
            }
            ValueColumn::Text(column) => {
                let text = |ordinal| {
                    let mut text = String::new();
                    assert!(column.ord_to_str(ordinal, &mut text).unwrap());
                    Value::Text(text)
                };
                (
                    ColumnKind::Text,
                    values(column.ords(), document_count, text),
                )
            }
        }
    }

    fn assert_same(read: BTreeMap<String, Contents>, expected: BTreeMap<&str, Contents>) {
        let expected: BTreeMap<String, Contents> = expected
            .into_iter()
            .map(|(path, contents)| (path.to_owned(), contents))
            .collect();
        assert_eq!(read, expected);
    }

    fn alive_bit_set(alive: &[bool]) -> AliveBitSet {
        let mut bits = BitSet::with_max_value(alive.len() as u32);
        for (doc, _) in (0..).zip(alive).filter(|(_, alive)| **alive) {
            bits.insert(doc);
        }
        let mut bytes = Vec::new();
        write_alive_bitset(&bits, &mut bytes).unwrap();
        AliveBitSet::open(OwnedBytes::new(bytes))
    }

    fn write_and_merge(segments: &[(Segment, Option<Vec<bool>>)]) -> ColumnsFile {
        let opened: Vec<(ColumnsFile, Option<AliveBitSet>)> = segments
            .iter()
            .map(|(segment, alive)| {
                let file = open(write(segment)).unwrap();
                (file, alive.as_deref().map(alive_bit_set))
            })
            .collect();
        let inputs: Vec<MergeInput> = opened
            .iter()
            .map(|(file, alive)| MergeInput {
                file,
                alive: alive.as_ref(),
                made_texts: &|_| panic!("nobody asked for them"),
            })
            .collect();
        let mut bytes = Vec::new();
        merge(&inputs, &[], &mut bytes).unwrap();
        open(bytes).unwrap()
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let short_decimal = (-5000..5000_i64, 0..4).prop_map(|(number, decimals)| {
            Value::Float((number as f64 / 10_f64.powi(decimals)).to_bits())
        });
        prop_oneof![
            4 => "[a-c]{0,2}".prop_map(Value::Text),
            1 => any::<String>().prop_map(Value::Text),
            3 => (-3..100_i64).prop_map(Value::Integer),
            1 => any::<i64>().prop_map(Value::Integer),
            1 => any::<u64>().prop_map(Value::Unsigned),
            2 => short_decimal,
            1 => any::<u64>().prop_map(Value::Float),
            1 => any::<bool>().prop_map(Value::Bool),
            1 => any::<i64>().prop_map(Value::Time),
        ]
    }

    fn any_segment() -> impl Strategy<Value = Segment> {
        // Paths that are mostly of one kind, and one of all kinds.
        let path = prop::sample::select(vec!["", "a", "a.b", "ab", "mixed", "é"]);
        let any_number = prop_oneof![
            (0..50_i64).prop_map(Value::Integer),
            (0..50_i64).prop_map(|n| Value::Float((n as f64 / 4.0).to_bits())),
        ];
        let value = prop_oneof![
            3 => (path, any_value()),
            1 => (Just("number"), any_number),
        ];
        // Unique texts, enough for the path to lose its column, or two of them in turn.
        let many = prop::option::weighted(0.3, (1000..1100_usize, any::<bool>()));
        let full_text = prop::option::of(prop::sample::select(vec!["a", "message"]));
        (
            1..60_u32,
            prop::collection::vec((any::<u32>(), value), 0..120),
            many,
            full_text,
        )
            .prop_map(|(document_count, values, many, full_text)| {
                let values = values.into_iter();
                let mut values: Vec<(u32, &'static str, Value)> = values
                    .map(|(doc, (path, value))| (doc % document_count, path, value))
                    .collect();
                if let Some((count, are_unique)) = many {
                    values.extend((0..count).map(|n| {
                        let text = if are_unique { n } else { n % 2 };
                        (
                            n as u32 % document_count,
                            "id",
                            Value::Text(text.to_string()),
                        )
                    }));
                }
                values.sort_by_key(|(doc, _, _)| *doc);
                Segment {
                    document_count,
                    values,
                    full_texts: full_text.into_iter().collect(),
                }
            })
    }

    fn any_alive(segment: Segment) -> impl Strategy<Value = (Segment, Option<Vec<bool>>)> {
        let alive = prop::collection::vec(any::<bool>(), segment.document_count as usize);
        (Just(segment), prop::option::of(alive))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        // Goal: what is read is what was written, whatever the mix of kinds, and after any merge.
        #[test]
        fn reads_what_was_written(segment in any_segment()) {
            let file = open(write(&segment)).unwrap();
            prop_assert_eq!(file.document_count(), segment.document_count);
            assert_same(read(&file), contents(&segment));
        }

        #[test]
        fn reads_what_was_merged(segments in prop::collection::vec(any_segment(), 1..4)) {
            let segments: Vec<_> = segments.into_iter().map(|segment| (segment, None)).collect();
            assert_same(read(&write_and_merge(&segments)), merged(&segments));
        }

        #[test]
        fn reads_what_was_merged_without_the_deleted(
            segments in prop::collection::vec(any_segment().prop_flat_map(any_alive), 1..4),
        ) {
            assert_same(read(&write_and_merge(&segments)), merged(&segments));
        }

        // Goal: a damaged byte is found before tantivy reads it, and the other columns still answer.
        #[test]
        fn a_damaged_byte_is_an_error(
            segment in any_segment(),
            at in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            let mut bytes = write(&segment);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            if let Ok(file) = open(bytes) {
                let damaged = file.paths().filter(|(path, _)| file.columns(path).is_err());
                prop_assert_eq!(damaged.count(), 1);
            }
        }

        #[test]
        fn a_file_cut_short_is_an_error(segment in any_segment(), at in any::<prop::sample::Index>()) {
            let mut bytes = write(&segment);
            bytes.truncate(at.index(bytes.len()));
            prop_assert!(open(bytes).is_err());
        }
    }

    fn texts(path: &'static str, texts: impl IntoIterator<Item = String>) -> Segment {
        let values: Vec<_> = (0..)
            .zip(texts)
            .map(|(doc, text)| (doc, path, Value::Text(text)))
            .collect();
        Segment {
            document_count: values.len() as u32,
            values,
            full_texts: Vec::new(),
        }
    }

    #[test]
    fn texts_that_hardly_repeat_get_no_column() {
        for (count, distinct, has_column) in [
            (1024, 1024, true),
            (1025, 1025, false),
            (8200, 1024, true),
            (4000, 4000, false),
        ] {
            let segment = texts("path", (0..count).map(|n| (n % distinct).to_string()));
            let file = open(write(&segment)).unwrap();
            let summary = file.path("path").unwrap();
            assert_eq!(
                summary.has_slot_text(),
                !has_column,
                "{distinct} of {count}"
            );
            assert_eq!(summary.kinds().count() == 1, has_column);
            assert_eq!(summary.text_count, count);
            assert_eq!(
                summary.distinct_text_count,
                if has_column { distinct } else { 0 }
            );
            assert_eq!(summary.bytes() > 0, has_column);
        }
    }

    #[test]
    fn texts_without_a_column_in_one_input_have_none_in_the_merged_file() {
        let unique = texts("path", (0..2000).map(|n| n.to_string()));
        let same = texts("path", (0..100_000).map(|n| (n % 2).to_string()));
        let file = write_and_merge(&[(same, None), (unique, None)]);
        let summary = file.path("path").unwrap();
        assert!(summary.is_too_distinct);
        assert_eq!(summary.text_count, 102_000);
        assert!(file.columns("path").unwrap().is_empty());
    }

    #[test]
    fn an_exact_path_gets_its_column_however_distinct_it_is() {
        let unique = texts("path", (0..2000).map(|n| n.to_string()));
        let few = texts("path", (0..100).map(|n| (n % 2).to_string()));
        let (unique_file, few_file) = (open(write(&unique)).unwrap(), open(write(&few)).unwrap());
        let made_texts = |path: &str| {
            let mut writer = tantivy::columnar::ColumnarWriter::default();
            for (doc, _, value) in &unique.values {
                let Value::Text(text) = value else { continue };
                writer.record_str(*doc, TEXTS_NAME, text);
            }
            assert_eq!(path, "path");
            let mut bytes = Vec::new();
            writer.serialize(2000, None, &mut bytes)?;
            Ok(bytes)
        };
        let input = |file| MergeInput {
            file,
            alive: None,
            made_texts: &made_texts,
        };
        let mut bytes = Vec::new();
        let inputs = [input(&few_file), input(&unique_file)];
        merge(&inputs, &["path".to_owned()], &mut bytes).unwrap();
        let merged = open(bytes).unwrap();
        let summary = merged.path("path").unwrap();
        assert!(!summary.has_slot_text());
        assert_eq!(
            (summary.text_count, summary.distinct_text_count),
            (2100, 2000)
        );
        let columns = merged.columns("path").unwrap();
        let ValueColumn::Text(column) = &columns[0] else {
            panic!("it has texts alone");
        };
        let mut text = String::new();
        let ordinal = column.ords().first(100 + 1999).unwrap();
        column.ord_to_str(ordinal, &mut text).unwrap();
        assert_eq!(text, "1999");
        // The next merge that does not ask for it drops it again.
        let mut bytes = Vec::new();
        merge(&[input(&merged)], &[], &mut bytes).unwrap();
        assert!(open(bytes).unwrap().path("path").unwrap().is_too_distinct);
    }

    #[test]
    fn small_segments_of_unique_texts_lose_their_column_when_merged() {
        let segment = |from: u32| texts("path", (from..from + 600).map(|n| n.to_string()));
        let file = write_and_merge(&[(segment(0), None)]);
        assert!(!file.path("path").unwrap().has_slot_text());
        let file = write_and_merge(&[(segment(0), None), (segment(600), None)]);
        assert!(file.path("path").unwrap().is_too_distinct);
    }

    #[test]
    fn full_texts_beside_short_ones_leave_the_column() {
        let mut segment = texts("path", ["a".to_owned()]);
        segment.full_texts.push("path");
        let file = write_and_merge(&[(segment, None), (texts("path", ["b".to_owned()]), None)]);
        let summary = file.path("path").unwrap();
        assert!(summary.has_slot_text() && summary.has_full_text && !summary.is_too_distinct);
        assert_eq!(summary.kinds().collect::<Vec<_>>(), [ColumnKind::Text]);
    }

    #[test]
    fn short_decimals_take_the_bytes_of_small_integers() {
        let mut writer = ColumnsWriter::default();
        let path = writer.path("seconds");
        for doc in 0..10_000 {
            writer.float(path, doc, f64::from(doc % 1000) / 100.0);
        }
        let mut bytes = Vec::new();
        writer.write(10_000, &mut bytes).unwrap();
        assert!(bytes.len() < 10_000 * 10 / 8 + 200, "{}", bytes.len());
    }

    #[test]
    fn finds_paths_below_a_path() {
        let paths = ["a", "a b", "a.b", "a.b.c", "a.c", "ab", "b"];
        let values = paths.map(|path| (0, path, Value::Bool(true)));
        let segment = Segment {
            document_count: 1,
            values: values.to_vec(),
            full_texts: Vec::new(),
        };
        let file = open(write(&segment)).unwrap();
        let under = |path| file.under(path).map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(under("a"), ["a", "a.b", "a.b.c", "a.c"]);
        assert_eq!(under("a.b"), ["a.b", "a.b.c"]);
        assert!(under("c").is_empty());
        assert!(file.columns("c").unwrap().is_empty());
    }

    #[test]
    fn ten_thousand_paths_with_a_value_each() {
        let mut writer = ColumnsWriter::default();
        for number in 0..10_000 {
            let path = writer.path(&format!("path.{number}"));
            match number % 3 {
                0 => writer.text(path, number, "value"),
                1 => writer.integer(path, number, 7),
                _ => writer.float(path, number, 0.5),
            }
        }
        let mut bytes = Vec::new();
        writer.write(10_000, &mut bytes).unwrap();
        let file = open(bytes).unwrap();
        assert_eq!(file.paths().count(), 10_000);
        for number in 0..10_000_u32 {
            let mut columns = file.columns(&format!("path.{number}")).unwrap();
            let (_, values) = read_column(columns.remove(0), 10_000);
            let expected = match number % 3 {
                0 => Value::Text("value".to_owned()),
                1 => Value::Integer(7),
                _ => Value::Float(0.5_f64.to_bits()),
            };
            assert_eq!(values, [(number, expected)]);
        }
    }

    #[test]
    fn a_segment_without_documents_and_values() {
        let file = open(write(&Segment::default())).unwrap();
        assert_eq!(file.document_count(), 0);
        assert_eq!(file.paths().count(), 0);
        let merged = write_and_merge(&[
            (Segment::default(), None),
            (Segment::default(), Some(Vec::new())),
        ]);
        assert_eq!(merged.paths().count(), 0);
    }
}
