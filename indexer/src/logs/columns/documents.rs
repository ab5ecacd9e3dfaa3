//! Which documents the values of a column belong to.

/// The documents of values, in the order of the values: ascending, a document once per value.
#[derive(Default)]
pub struct Documents {
    /// The first values belong to the documents 0, 1, 2 and so on, one each: most columns have nothing else.
    dense_count: u32,
    /// The documents of the values after these.
    rest: Vec<u32>,
}

impl Documents {
    /// The next value belongs to `doc`. Adds to `memory_bytes` what was allocated.
    pub fn push(&mut self, doc: u32, memory_bytes: &mut usize) {
        if self.rest.is_empty() && doc == self.dense_count {
            self.dense_count += 1;
        } else {
            push_counted(&mut self.rest, doc, memory_bytes);
        }
    }

    /// Whether each of so many documents has exactly one value.
    pub fn are_all(&self, document_count: u32) -> bool {
        self.rest.is_empty() && self.dense_count == document_count
    }

    /// The documents one by one.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.dense_count).chain(self.rest.iter().copied())
    }

    /// What it has allocated.
    pub fn memory_bytes(&self) -> usize {
        self.rest.capacity() * size_of::<u32>()
    }
}

/// Pushes, and adds to `memory_bytes` what the vector allocated for it.
pub fn push_counted<T>(values: &mut Vec<T>, value: T, memory_bytes: &mut usize) {
    if values.len() == values.capacity() {
        let before = values.capacity();
        values.reserve(1);
        *memory_bytes += (values.capacity() - before) * size_of::<T>();
    }
    values.push(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_pushed() {
        for docs in [&[0, 1, 2][..], &[0, 0, 1], &[1, 2], &[0, 1, 3, 3, 4], &[]] {
            let mut documents = Documents::default();
            let mut memory = 0;
            for doc in docs {
                documents.push(*doc, &mut memory);
            }
            assert_eq!(documents.iter().collect::<Vec<_>>(), docs);
            assert_eq!(documents.are_all(3), docs == [0, 1, 2]);
            assert_eq!(memory, documents.memory_bytes());
        }
    }
}
