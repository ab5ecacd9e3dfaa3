//! `Leaf::Exists`: there is a value under this path or below it.

use tantivy::schema::Term;

use super::{Matches, Work, columns};
use crate::logs::document::TIMESTAMP_PATH;
use crate::logs::segment::is_at_or_under;

pub(super) fn matches(work: &Work, name: &str) -> tantivy::Result<Matches> {
    let path = work.segment.resolve(name);
    if path == TIMESTAMP_PATH {
        return Ok(Matches::All);
    }
    let mut parts = Vec::new();
    for column_path in work.segment.column_paths_under(path) {
        for column in work.segment.columns(column_path)? {
            parts.push(columns::with_value(work, &column)?);
        }
    }
    let has = work.segment.fields.has;
    let full_texts = work
        .segment
        .full_texts()
        .iter()
        .filter(|known| is_at_or_under(known, path));
    parts.push(
        work.any_of(
            full_texts
                .map(|known| Term::from_field_text(has, known))
                .collect(),
        )?,
    );
    work.union(parts)
}
