//! `Leaf::Exists`: there is a value under this path or below it.

use super::has_text::HasText;
use super::parts::{All, Part};
use super::{Work, columns};
use crate::logs::document::TIMESTAMP_PATH;

pub(super) fn parts(work: &Work, name: &str) -> tantivy::Result<Vec<Box<dyn Part>>> {
    let path = work.segment.resolve(name);
    let mut parts: Vec<Box<dyn Part>> = Vec::new();
    if path == TIMESTAMP_PATH {
        parts.push(Box::new(All));
        return Ok(parts);
    }
    let mut has_slot_text = false;
    for known in work.segment.paths_under(path) {
        for column in work.segment.ready_columns(known)? {
            columns::with_value(&column, &mut parts);
        }
        let summary = work.segment.path(known);
        has_slot_text |= summary.is_some_and(|summary| summary.has_slot_text());
    }
    if has_slot_text {
        parts.push(Box::new(HasText::new(work.segment, path)?));
    }
    Ok(parts)
}
