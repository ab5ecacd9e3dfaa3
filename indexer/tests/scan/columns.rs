//! The values in columns, which sorting and aggregating read, compared with those of the documents.

use std::collections::BTreeMap;

use indexer::logs::{Snapshot, ValueColumn};

use super::document::{Document, Kind, Seen};

/// Compares the columns of every field of `paths`. Documents are told by their positions.
///
/// # Errors
/// What differs first.
pub fn compare<'a>(
    snapshot: &Snapshot,
    documents: &BTreeMap<u64, Document>,
    paths: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    for path in paths {
        let found = in_columns(snapshot, path);
        let expected = in_documents(documents, path);
        if let Some(position) = documents
            .keys()
            .find(|at| found.get(at) != expected.get(at))
        {
            return Err(format!(
                "columns of {path:?}: {:?} instead of {:?}\n{}",
                found.get(position),
                expected.get(position),
                documents[position].source
            ));
        }
    }
    Ok(())
}

/// What the columns have, by position: values spelled with their type, sorted.
fn in_columns(snapshot: &Snapshot, path: &str) -> BTreeMap<u64, Vec<String>> {
    let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for shard in &snapshot.shards {
        for (number, reader) in shard.searcher().segment_readers().iter().enumerate() {
            let columns = shard.columns(number, path).unwrap();
            for doc in reader.doc_ids_alive() {
                let values: Vec<String> = columns
                    .iter()
                    .flat_map(|column| values_of(column, doc))
                    .collect();
                if !values.is_empty() {
                    let position = shard.positions(number).first(doc).unwrap();
                    found.entry(position).or_default().extend(values);
                }
            }
        }
    }
    found.values_mut().for_each(|values| values.sort());
    found
}

fn values_of(column: &ValueColumn, doc: u32) -> Vec<String> {
    match column {
        ValueColumn::Text(column) => {
            let text_of = |ord| {
                let mut text = String::new();
                assert!(column.ord_to_str(ord, &mut text).unwrap());
                format!("text {text}")
            };
            column.term_ords(doc).map(text_of).collect()
        }
        ValueColumn::Integer(column) => column
            .values_for_doc(doc)
            .map(|value| spell(value as f64))
            .collect(),
        ValueColumn::Unsigned(column) => column
            .values_for_doc(doc)
            .map(|value| spell(value as f64))
            .collect(),
        ValueColumn::Float(column) => column.values_for_doc(doc).map(spell).collect(),
        ValueColumn::Bool(column) => column
            .values_for_doc(doc)
            .map(|value| format!("bool {value}"))
            .collect(),
        ValueColumn::Time(column) => column
            .values_for_doc(doc)
            .map(|time| format!("time {}", time.into_timestamp_nanos()))
            .collect(),
    }
}

/// Numbers of one field share a column, so their types may be widened.
fn spell(number: f64) -> String {
    format!("number {number:?}")
}

/// What the documents have, in the same form; full texts have no column.
fn in_documents(documents: &BTreeMap<u64, Document>, path: &str) -> BTreeMap<u64, Vec<String>> {
    let mut expected: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (position, document) in documents {
        for value in &document.values {
            if value.path != path || value.seen == Seen::PerhapsWithoutName {
                continue;
            }
            let spelled = match value.kind {
                Kind::Prose => continue,
                Kind::Keyword => format!("text {}", value.spelled),
                Kind::Time(time) => format!("time {}", time.nanos()),
                Kind::Integer(number) => spell(number as f64),
                Kind::Unsigned(number) => spell(number as f64),
                Kind::Float(number) => spell(number),
                Kind::Bool(truth) => format!("bool {truth}"),
            };
            expected.entry(*position).or_default().push(spelled);
        }
    }
    expected.values_mut().for_each(|values| values.sort());
    expected
}
