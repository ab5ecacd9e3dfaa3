//! The shapes and paths of a segment that is being written, and their numbers.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::shape::{Mark, marks_of};

/// Above these a segment learns no more shapes: further documents are one value.
const SHAPES_MAX: usize = 2_048;
const SHAPES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Shapes by their numbers in the writer.
#[derive(Default)]
pub struct KnownShapes {
    numbers: FxHashMap<Box<[u8]>, u32>,
    shapes: Vec<KnownShape>,
    bytes: usize,
    in_file: u32,
}

struct KnownShape {
    text: Box<[u8]>,
    /// `None` when its leaves cannot be told apart: such a document is stored whole.
    marks: Option<Arc<[Mark]>>,
    /// Its number in the file; those without marks, and those nobody uses, have none.
    file_number: Option<u32>,
}

/// Paths by their numbers.
#[derive(Default)]
pub struct KnownPaths {
    numbers: FxHashMap<Arc<str>, u32>,
    paths: Vec<Arc<str>>,
}

impl KnownPaths {
    /// The number of a path, a new one when it was not known.
    pub fn number(&mut self, path: &str) -> u32 {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        let number = self.paths.len() as u32;
        let path: Arc<str> = path.into();
        self.numbers.insert(Arc::clone(&path), number);
        self.paths.push(path);
        number
    }

    /// The path with a number that was given.
    pub fn path(&self, number: u32) -> &Arc<str> {
        &self.paths[number as usize]
    }
}

impl KnownShapes {
    /// The number of a shape; `None` when it is new and there is no room for it.
    pub fn number(&mut self, shape: &[u8], paths: &mut KnownPaths) -> Option<u32> {
        if let Some(number) = self.numbers.get(shape) {
            return Some(*number);
        }
        let is_full =
            self.shapes.len() >= SHAPES_MAX || self.bytes + shape.len() > SHAPES_BYTES_MAX;
        (!is_full).then(|| self.learn(shape, paths))
    }

    /// The number of a shape that is needed, room or not.
    pub fn certain_number(&mut self, shape: &[u8], paths: &mut KnownPaths) -> u32 {
        match self.numbers.get(shape) {
            Some(number) => *number,
            None => self.learn(shape, paths),
        }
    }

    fn learn(&mut self, shape: &[u8], paths: &mut KnownPaths) -> u32 {
        let number = self.shapes.len() as u32;
        self.numbers.insert(shape.into(), number);
        self.bytes += shape.len();
        self.shapes.push(KnownShape {
            text: shape.into(),
            marks: marks_of(shape, &mut |path| paths.number(path)).map(Arc::from),
            file_number: None,
        });
        number
    }

    /// The marks of a shape; `None` when its leaves cannot be told apart.
    pub fn marks(&self, number: u32) -> Option<Arc<[Mark]>> {
        self.shapes[number as usize].marks.clone()
    }

    /// The number of a shape in the file, where it gets its place when it is first asked for.
    pub fn number_in_file(&mut self, number: u32) -> u32 {
        let file_number = &mut self.shapes[number as usize].file_number;
        *file_number.get_or_insert_with(|| {
            self.in_file += 1;
            self.in_file - 1
        })
    }

    /// The shapes that have a place in the file, in order.
    pub fn in_file(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let shapes = self.shapes.iter();
        let mut in_file: Vec<_> = shapes
            .filter_map(|shape| Some((shape.file_number?, &*shape.text)))
            .collect();
        in_file.sort_unstable();
        in_file.into_iter().map(|(_, text)| text)
    }

    /// About how much memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        2 * self.bytes
    }
}
