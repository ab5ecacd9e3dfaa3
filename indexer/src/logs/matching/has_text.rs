//! The documents that have a text, whatever it is.

use super::parts::{BlockSet, Part};
use crate::logs::blocks::{BlocksFile, MarkKind, OpenBlock, Row};
use crate::logs::flatten::{LeafValue, flatten};
use crate::logs::segment::{Segment, is_at_or_under, unreadable};

/// The documents that have a text at a path or below it.
pub(super) struct HasText {
    file: BlocksFile,
    path: String,
    /// By shape.
    have: Vec<Whether>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whether {
    No,
    Yes,
    /// A whole document in this slot.
    Ask(u32),
}

impl HasText {
    pub(super) fn new(segment: &Segment, path: &str) -> tantivy::Result<HasText> {
        let file = segment.blocks().clone();
        let shapes = file.shapes().map_err(unreadable)?;
        let is_wanted: Vec<bool> = shapes
            .paths()
            .iter()
            .map(|known| is_at_or_under(known, path))
            .collect();
        let have = (0..shapes.len() as u32).map(|number| {
            let marks = &shapes.shape(number).marks;
            let whole = marks.iter().position(|mark| mark.kind == MarkKind::Whole);
            let has_text = marks.iter().any(|mark| {
                matches!(mark.kind, MarkKind::Text | MarkKind::Template)
                    && mark.path.is_some_and(|path| is_wanted[path as usize])
            });
            match (whole, has_text) {
                (Some(slot), _) => Whether::Ask(slot as u32),
                (None, true) => Whether::Yes,
                (None, false) => Whether::No,
            }
        });
        let have = have.collect();
        Ok(HasText {
            file,
            path: path.to_owned(),
            have,
        })
    }
}

impl Part for HasText {
    fn mark(&mut self, number: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        let open = OpenBlock::new(&self.file, number).map_err(unreadable)?;
        let mut whole = Vec::new();
        for (at, group) in open.groups().iter().enumerate() {
            match self.have[group.plan.shape as usize] {
                Whether::No => {}
                Whether::Yes => whole.push(at as u16),
                Whether::Ask(slot) => {
                    let documents = open.documents_of(group).map_err(unreadable)?;
                    for (row, document) in documents.iter().enumerate() {
                        let mut source = Vec::new();
                        let reader = Row::new(&open, group, row).map_err(unreadable)?;
                        reader
                            .value(slot as usize, &mut source)
                            .map_err(unreadable)?;
                        let mut has = false;
                        flatten(&String::from_utf8_lossy(&source), &mut |path, value| {
                            has |= matches!(value, LeafValue::Text(_))
                                && is_at_or_under(path, &self.path);
                        });
                        if has {
                            set.insert_own(*document);
                        }
                    }
                }
            }
        }
        set.insert_groups(&open, &whole)
    }

    fn cost(&self) -> u64 {
        10_000
    }
}
