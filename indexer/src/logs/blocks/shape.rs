//! Documents without their values: what stands where.

use std::fmt::Write as _;

use super::super::flatten::{LeafValue, flatten};
use super::block::GroupPlan;
use super::number::{Cursor, push_number};
use super::{BARE, BlockError, ID, MARK_MAX, TEMPLATE, TEXT, TIME_FIRST, WHOLE};

/// What was cut out at a mark of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// The sender's id, which is no part of the document.
    Id,
    /// A text.
    Text,
    /// A number, `true`, `false` or `null`.
    Bare,
    /// The document itself.
    Whole,
    /// A text with a template; its variables are slots of their own.
    Template,
    /// The event's time in RFC 3339, UTC, with so many digits of a second; needs no slot.
    Time(u8),
}

impl MarkKind {
    /// What a mark stands for; `byte` is at most [`MARK_MAX`].
    pub fn of(byte: u8) -> MarkKind {
        match byte {
            ID => MarkKind::Id,
            TEXT => MarkKind::Text,
            BARE => MarkKind::Bare,
            WHOLE => MarkKind::Whole,
            TEMPLATE => MarkKind::Template,
            time => MarkKind::Time(3 * (time - TIME_FIRST)),
        }
    }
}

/// One mark of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What was cut out.
    pub kind: MarkKind,
    /// The number of the value's path; `None` for what is no leaf.
    pub path: Option<u32>,
}

/// The marks of a shape in order, their paths numbered by `number`; `None` when leaves and marks are not the same, as
/// below the greatest depth.
pub fn marks_of(shape: &[u8], number: &mut dyn FnMut(&str) -> u32) -> Option<Vec<Mark>> {
    let kinds = shape.iter().filter(|byte| **byte <= MARK_MAX);
    let mut marks: Vec<Mark> = kinds
        .map(|byte| Mark {
            kind: MarkKind::of(*byte),
            path: None,
        })
        .collect();
    if marks.iter().any(|mark| mark.kind == MarkKind::Whole) {
        return Some(marks);
    }
    // The same document with the number of each mark for its value.
    let mut numbered = String::with_capacity(shape.len() + 4 * marks.len());
    let mut at = 0;
    for part in shape.chunk_by(|a, b| *a > MARK_MAX && *b > MARK_MAX) {
        match part {
            [ID] => at += 1,
            [byte] if *byte <= MARK_MAX => {
                write!(numbered, "{at}").ok()?;
                at += 1;
            }
            text => numbered.push_str(std::str::from_utf8(text).ok()?),
        }
    }
    let mut is_odd = false;
    let mut visited = 0;
    flatten(&numbered, &mut |path, value| {
        let mark = match value {
            LeafValue::Integer(at) => usize::try_from(at).ok().and_then(|at| marks.get_mut(at)),
            _ => None,
        };
        match mark {
            Some(mark) if mark.path.is_none() => mark.path = Some(number(path)),
            _ => is_odd = true,
        }
        visited += 1;
    });
    let leaf_count = marks
        .iter()
        .filter(|mark| mark.kind != MarkKind::Id)
        .count();
    (!is_odd && visited == leaf_count).then_some(marks)
}

/// The shapes of a segment.
pub struct Shapes {
    bytes: Vec<u8>,
    shapes: Vec<Shape>,
    paths: Vec<String>,
}

/// One shape.
pub struct Shape {
    start: usize,
    end: usize,
    /// Of its groups, as if templates had no variables.
    plan: GroupPlan,
    has_template: bool,
    /// Its marks, in order.
    pub marks: Vec<Mark>,
}

impl Shapes {
    /// Writes shapes.
    pub fn write<'s>(shapes: impl ExactSizeIterator<Item = &'s [u8]> + Clone, out: &mut Vec<u8>) {
        push_number(out, shapes.len());
        for shape in shapes.clone() {
            push_number(out, shape.len());
        }
        for shape in shapes {
            out.extend_from_slice(shape);
        }
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read(section: &[u8]) -> Result<Shapes, BlockError> {
        let mut cursor = Cursor::new(section);
        let count = cursor.count()?;
        let mut lengths = Vec::with_capacity(count);
        for _ in 0..count {
            lengths.push(cursor.number()?);
        }
        let start = cursor.at();
        let mut read = Shapes {
            bytes: Vec::new(),
            shapes: Vec::with_capacity(count),
            paths: Vec::new(),
        };
        let mut numbers = rustc_hash::FxHashMap::default();
        for len in lengths {
            let at = cursor.at() - start;
            let text = cursor.take(len)?;
            let paths = &mut read.paths;
            let marks = marks_of(text, &mut |path| match numbers.get(path) {
                Some(number) => *number,
                None => {
                    let number = paths.len() as u32;
                    numbers.insert(path.to_owned(), number);
                    paths.push(path.to_owned());
                    number
                }
            });
            let marks = marks.ok_or(BlockError::Damaged("a shape"))?;
            let kinds = || marks.iter().map(|mark| mark.kind);
            read.shapes.push(Shape {
                start: at,
                end: at + len,
                plan: GroupPlan::new(read.shapes.len() as u32, kinds(), 0),
                has_template: kinds().any(|kind| kind == MarkKind::Template),
                marks,
            });
        }
        read.bytes = section[start..cursor.at()].to_vec();
        Ok(read)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// One of them.
    pub fn shape(&self, number: u32) -> &Shape {
        &self.shapes[number as usize]
    }

    /// The slots of a group of a shape and a template with so many variables.
    pub fn plan(&self, number: u32, variables: usize) -> GroupPlan {
        let shape = self.shape(number);
        match shape.has_template {
            true => shape.plan.with_variables(variables),
            false => shape.plan,
        }
    }

    /// Its text: the document with marks for values.
    pub fn text(&self, number: u32) -> &[u8] {
        let shape = &self.shapes[number as usize];
        &self.bytes[shape.start..shape.end]
    }

    /// The dotted paths of leaves; marks name them by their place here.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(shape: &str) -> Option<Vec<String>> {
        let mut paths = Vec::new();
        let marks = marks_of(shape.as_bytes(), &mut |path| {
            paths.push(path.to_owned());
            paths.len() as u32 - 1
        })?;
        Some(
            marks
                .iter()
                .map(|mark| {
                    mark.path
                        .map_or("-".to_owned(), |at| paths[at as usize].clone())
                })
                .collect(),
        )
    }

    #[test]
    fn marks_have_the_paths_of_their_leaves() {
        assert_eq!(
            paths("\0{\"@timestamp\":\u{6},\"a\":{\"b\":[\u{1},\u{2}],\"c.d\":\u{4}},\"a\":{\"b\":\u{1}},\"e\":[]}").unwrap(),
            ["-", "@timestamp", "a.b", "a.b", "a.c.d", "a.b"]
        );
        assert_eq!(paths("\u{3}").unwrap(), ["-"]);
        let deep = format!("{}\u{1}{}", "[".repeat(300), "]".repeat(300));
        assert_eq!(paths(&deep), None);
    }
}
