//! `Leaf::Ids`: the event has one of these ids.

use tantivy::schema::{IndexRecordOption, Term};
use tantivy::{DocSet, TERMINATED};

use super::Work;
use super::parts::{Few, Part};
use crate::logs::segment::unreadable;

pub(super) fn parts(work: &Work, wanted: &[String]) -> tantivy::Result<Vec<Box<dyn Part>>> {
    let segment = work.segment;
    let inverted = segment.reader.inverted_index(segment.fields.id)?;
    let mut found = Vec::new();
    for id in wanted {
        work.check()?;
        let term = Term::from_field_text(segment.fields.id, id);
        if let Some(mut documents) = inverted.read_postings(&term, IndexRecordOption::Basic)? {
            while documents.doc() != TERMINATED {
                found.push(documents.doc());
                documents.advance();
            }
        }
        let Some(position) = work.shard.ids.position_of(id) else {
            continue;
        };
        let at_position = segment.at_position(position);
        // The event at this position may have been sent with an id of its own: then this is not its id.
        if let Some(doc) = at_position
            && !segment.blocks().has_id(doc).map_err(unreadable)?
        {
            found.push(doc);
        }
    }
    found.sort_unstable();
    found.dedup();
    let mut parts: Vec<Box<dyn Part>> = Vec::new();
    if !found.is_empty() {
        parts.push(Box::new(Few(found)));
    }
    Ok(parts)
}
