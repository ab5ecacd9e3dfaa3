//! All values under a path, document by document.

use tantivy::DocId;
use tantivy::columnar::ColumnarWriter;

use super::leaves::Leaves;
use crate::logs::blocks::spelling::{bare_of, text_of};
use crate::logs::blocks::{BlocksFile, FramedSlot, MarkKind, OpenBlock, Row, Slot};
use crate::logs::columns::TEXTS_NAME;
use crate::logs::flatten::{LeafValue, flatten};
use crate::logs::plugin::time_in;
use crate::logs::schema::is_full_text;
use crate::logs::segment::unreadable;

/// Calls `visit` with each value under a path, by document.
pub fn visit_values(
    file: &BlocksFile,
    path: &str,
    visit: &mut dyn FnMut(DocId, &LeafValue),
) -> tantivy::Result<()> {
    let shapes = file.shapes().map_err(unreadable)?;
    let texts = file.texts().map_err(unreadable)?;
    let leaves = Leaves::of(shapes, Some(path));
    for (number, place) in file.places().iter().enumerate() {
        let open = OpenBlock::new(file, number).map_err(unreadable)?;
        // Where each value, as it is spelled, ends in `spelled`; by document and place in it.
        let mut spelled = Vec::new();
        let mut values: Vec<(u32, u32, MarkKind, std::ops::Range<usize>)> = Vec::new();
        for group in open.groups() {
            for leaf in &leaves.by_shape[group.plan.shape as usize] {
                let documents = open.documents_of(group).map_err(unreadable)?;
                let slot = leaf.slot_in(group);
                let mut push = |row: usize, value: &[u8], spelled: &mut Vec<u8>| {
                    let start = spelled.len();
                    spelled.extend_from_slice(value);
                    values.push((documents[row], leaf.slot, leaf.kind, start..spelled.len()));
                };
                let is_row_by_row = group.plan.is_packed || leaf.kind == MarkKind::Template;
                if is_row_by_row {
                    let mut reader = Row::new(&open, group, 0).map_err(unreadable)?;
                    let mut value = Vec::new();
                    for row in 0..documents.len() {
                        value.clear();
                        reader.go_to(row);
                        match leaf.kind {
                            MarkKind::Template => reader.message(&mut value),
                            _ => reader.value(slot, &mut value),
                        }
                        .map_err(unreadable)?;
                        push(row, &value, &mut spelled);
                    }
                    continue;
                }
                let place = open.slots().map_err(unreadable)?.slot(group, slot);
                match place {
                    // Was read row by row.
                    Slot::Packed(_) => {}
                    Slot::One(text) => {
                        for row in 0..documents.len() {
                            push(row, texts.text(text), &mut spelled);
                        }
                    }
                    Slot::Framed(FramedSlot { frame, .. }) => {
                        let frame = open.frame(frame).map_err(unreadable)?;
                        frame
                            .slot(place, documents.len())
                            .and_then(|values| {
                                values.for_each(|row, value| push(row, value, &mut spelled))
                            })
                            .map_err(unreadable)?;
                    }
                }
            }
        }
        values.sort_by_key(|(document, slot, ..)| (*document, *slot));
        for (document, _, kind, range) in values {
            let doc = place.first_document + document;
            let value = &spelled[range];
            match kind {
                MarkKind::Whole => {
                    flatten(&String::from_utf8_lossy(value), &mut |at, value| {
                        if at == path {
                            visit(doc, &value);
                        }
                    });
                }
                MarkKind::Bare => {
                    if let Some(value) = bare_of(value) {
                        visit(doc, &value);
                    }
                }
                _ => {
                    if let Some(text) = text_of(value) {
                        visit(doc, &LeafValue::Text(text));
                    }
                }
            }
        }
    }
    Ok(())
}

/// The texts of a path that its columns file has none of, as a columnar with one column named [`TEXTS_NAME`]: what
/// the column would be if it had one.
///
/// # Errors
/// The blocks are damaged.
pub fn made_texts(file: &BlocksFile, path: &str) -> tantivy::Result<Vec<u8>> {
    let mut writer = ColumnarWriter::default();
    visit_values(file, path, &mut |doc, value| {
        if let LeafValue::Text(text) = value
            && !is_full_text(path, text)
            && time_in(text).is_none()
        {
            writer.record_str(doc, TEXTS_NAME, text);
        }
    })?;
    let document_count = file.places().last().map_or(0, |place| place.end_document());
    let mut bytes = Vec::new();
    writer.serialize(document_count, None, &mut bytes)?;
    Ok(bytes)
}
