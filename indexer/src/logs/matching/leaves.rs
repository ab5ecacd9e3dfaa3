//! Which values of the documents of a shape a question looks at.

use crate::logs::blocks::{Group, MarkKind, Shapes};

/// One leaf of the documents of a shape.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    pub kind: MarkKind,
    /// Its slot, as if the template had no variables.
    pub slot: u32,
    is_behind_template: bool,
    pub path: u32,
}

impl Leaf {
    pub(super) fn slot_in(&self, group: &Group) -> usize {
        let variables = match self.is_behind_template {
            true => group.plan.variables().len(),
            false => 0,
        };
        self.slot as usize + variables
    }
}

/// The leaves to look at, by shape; the one with a template, if there is one, is the first.
pub(super) struct Leaves {
    pub by_shape: Vec<Vec<Leaf>>,
    /// Where in whole documents.
    pub path: Option<String>,
}

impl Leaves {
    /// The leaves under `path`, or all.
    pub(super) fn of(shapes: &Shapes, path: Option<&str>) -> Leaves {
        let wanted: Vec<bool> = shapes
            .paths()
            .iter()
            .map(|known| path.is_none_or(|path| path == known))
            .collect();
        let by_shape = (0..shapes.len() as u32).map(|number| {
            let mut leaves = Vec::new();
            let (mut slot, mut is_behind_template) = (0, false);
            for mark in &shapes.shape(number).marks {
                let is_wanted = match mark.kind {
                    MarkKind::Whole => true,
                    MarkKind::Id | MarkKind::Time(_) => false,
                    _ => mark.path.is_some_and(|path| wanted[path as usize]),
                };
                if is_wanted {
                    leaves.push(Leaf {
                        kind: mark.kind,
                        slot,
                        is_behind_template,
                        path: mark.path.unwrap_or_default(),
                    });
                }
                match mark.kind {
                    MarkKind::Time(_) => {}
                    MarkKind::Template => is_behind_template = true,
                    _ => slot += 1,
                }
            }
            leaves.sort_by_key(|leaf: &Leaf| leaf.kind != MarkKind::Template);
            leaves
        });
        Leaves {
            by_shape: by_shape.collect(),
            path: path.map(str::to_owned),
        }
    }
}
