//! `Leaf::Ids`: the event has one of these ids.

use tantivy::TERMINATED;
use tantivy::schema::Term;

use super::{Matches, Work, columns};

pub(super) fn matches(work: &Work, wanted: &[String]) -> tantivy::Result<Matches> {
    let id_field = work.segment.fields.id;
    let terms = wanted.iter().map(|id| Term::from_field_text(id_field, id));
    let mut parts = vec![work.any_of(terms.collect())?];
    for id in wanted {
        let Some(position) = work.shard.ids.position_of(id) else {
            continue;
        };
        let at_position =
            columns::in_range(work, work.segment.positions(), position.0..=position.0)?;
        let doc = at_position.into_scorer(work.segment.document_count()).doc();
        // The event at this position may have been sent with an id of its own: then this is not its id.
        if doc != TERMINATED && work.segment.stored(doc)?.id.is_none() {
            let mut set = work.empty_set();
            set.insert(doc);
            parts.push(Matches::Documents(set));
        }
    }
    work.union(parts)
}
