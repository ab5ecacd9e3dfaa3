//! `Leaf::Ids`: the event has one of these ids.

use tantivy::schema::Term;

use super::{Matches, Work, columns};

pub(super) fn matches(work: &Work, wanted: &[String]) -> tantivy::Result<Matches> {
    let id_field = work.segment.fields.id;
    let mut parts = vec![
        work.any_of(
            wanted
                .iter()
                .map(|id| Term::from_field_text(id_field, id))
                .collect(),
        )?,
    ];
    for id in wanted {
        let Some(position) = work.shard.ids.position_of(id) else {
            continue;
        };
        // The event at this position may have been sent with an id of its own: then this is not its id.
        if let Matches::Documents(set) =
            columns::in_range(work, work.segment.positions(), position.0..=position.0)?
        {
            let is_ours = (0..work.segment.document_count())
                .find(|doc| set.contains(*doc))
                .map(|doc| work.segment.stored(doc).map(|stored| stored.id.is_none()))
                .transpose()?;
            if is_ours == Some(true) {
                parts.push(Matches::Documents(set));
            }
        }
    }
    work.union(parts)
}
