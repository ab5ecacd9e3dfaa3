//! Counts of texts that nobody has read yet, for finding the most frequent of very many.
//!
//! A segment counts texts by their ordinals in its dictionary. To name them all costs more than to count them, and nearly
//! all of them are cut off afterwards. So they are kept as they are until all segments are there, and only those are named
//! that may be among the first `size`: the `size`-th best of what is surely known is a bound, and a text that reaches it has in
//! one of the segments at least that segment's part of it. The answer is exact.

use std::fmt;
use std::ops::Range;

use rustc_hash::FxHashMap;
use tantivy::columnar::StrColumn;

use super::AggregateError;
use super::key::Key;
use super::partial::PartialBucket;

/// Counts of one segment.
#[derive(Clone)]
pub(super) struct Unnamed {
    column: StrColumn,
    shard: String,
    /// Ordinal and number of events, by ordinal.
    counts: Vec<(u64, u64)>,
    total: u64,
}

impl Unnamed {
    /// Counts by ordinal, in any order.
    pub fn new(column: StrColumn, shard: String, mut counts: Vec<(u64, u64)>) -> Unnamed {
        counts.sort_unstable();
        Unnamed {
            column,
            shard,
            total: counts.iter().map(|(_, count)| count).sum(),
            counts,
        }
    }

    /// About how many bytes it occupies.
    pub fn byte_size(&self) -> usize {
        size_of::<(u64, u64)>() * self.counts.len()
    }

    fn all(&self) -> Vec<u64> {
        self.counts.iter().map(|(_, count)| *count).collect()
    }

    /// The texts that come so often.
    fn names(&self, wanted: Range<u64>) -> Result<Vec<(Key, u64)>, AggregateError> {
        let wanted = self
            .counts
            .iter()
            .filter(|(_, count)| wanted.contains(count));
        let (ordinals, counts): (Vec<u64>, Vec<u64>) = wanted.copied().unzip();
        let mut named = Vec::with_capacity(ordinals.len());
        let mut counts = counts.into_iter();
        self.column
            .dictionary()
            .sorted_ords_to_term_cb(&ordinals, |text| {
                let key = Key::Text(String::from_utf8_lossy(text).into());
                named.extend(counts.next().map(|count| (key, count)));
            })
            .map_err(|error| self.unreadable(&error))?;
        Ok(named)
    }

    fn count_of(&self, text: &str) -> Result<u64, AggregateError> {
        let ordinal = self.column.dictionary().term_ord(text);
        let Some(ordinal) = ordinal.map_err(|error| self.unreadable(&error))? else {
            return Ok(0);
        };
        let place = self.counts.binary_search_by_key(&ordinal, |(at, _)| *at);
        Ok(place.map_or(0, |place| self.counts[place].1))
    }

    fn unreadable(&self, error: &dyn fmt::Display) -> AggregateError {
        AggregateError::Read(indexer::logs::ReadError {
            shard: self.shard.clone(),
            message: error.to_string(),
        })
    }
}

impl fmt::Debug for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnamed({}, {} texts)", self.shard, self.counts.len())
    }
}

/// Adds to `by_key` the buckets that may be among the `size` with most events, with all their events. Answers how many
/// events all buckets have together.
///
/// # Errors
/// A dictionary cannot be read.
pub(super) fn name_most_frequent(
    by_key: &mut FxHashMap<Key, PartialBucket>,
    unnamed: &[Unnamed],
    size: usize,
) -> Result<u64, AggregateError> {
    let named: u64 = by_key.values().map(|bucket| bucket.count).sum();
    let total = named + unnamed.iter().map(|counts| counts.total).sum::<u64>();
    // What is surely known: buckets with a name, and the first of each segment.
    let mut known: FxHashMap<Key, u64> = by_key
        .iter()
        .map(|(key, bucket)| (key.clone(), bucket.count))
        .collect();
    let mut first = Vec::with_capacity(unnamed.len());
    for counts in unnamed {
        let count_min = place_of(counts.all(), size).max(1);
        let names = counts.names(count_min..u64::MAX)?;
        for (key, count) in &names {
            *known.entry(key.clone()).or_default() += count;
        }
        first.push((names, count_min));
    }
    let bound = place_of(known.values().copied().collect(), size);
    // A text that reaches the bound has, in one segment at least, its part of it by the size of the segment.
    let parts: Vec<u64> = unnamed
        .iter()
        .map(|counts| {
            let weight = u128::from(counts.total) * u128::from(bound);
            (weight.div_ceil(u128::from(total.max(1))) as u64).max(1)
        })
        .collect();
    // What each candidate has, and in which segments it reached its part.
    let mut candidates: FxHashMap<Key, (u64, Vec<usize>)> = by_key
        .iter()
        .map(|(key, bucket)| (key.clone(), (bucket.count, Vec::new())))
        .collect();
    for (at, (names, count_min)) in first.into_iter().enumerate() {
        let others = unnamed[at].names(parts[at]..count_min)?;
        let all = names.into_iter().chain(others);
        for (key, count) in all.filter(|(_, count)| *count >= parts[at]) {
            let (sum, seen_in) = candidates.entry(key).or_default();
            *sum += count;
            seen_in.push(at);
        }
    }
    // More is known by now.
    let sums = candidates.values().map(|(sum, _)| *sum);
    let bound = bound.max(place_of(sums.collect(), size));
    for (key, (mut count, seen_in)) in candidates {
        let unseen = (0..unnamed.len()).filter(|at| !seen_in.contains(at));
        let unseen: Vec<usize> = unseen.filter(|at| parts[*at] > 1).collect();
        if let Key::Text(text) = &key {
            let more: u64 = unseen.iter().map(|at| parts[*at] - 1).sum();
            if count + more < bound {
                by_key.remove(&key);
                continue;
            }
            for at in unseen {
                count += unnamed[at].count_of(text)?;
            }
        }
        by_key.entry(key).or_default().count = count;
    }
    Ok(total)
}

/// The count at a place, most first; 0 when there are fewer.
fn place_of(mut counts: Vec<u64>, size: usize) -> u64 {
    match size.checked_sub(1) {
        Some(place) if place < counts.len() => {
            *counts.select_nth_unstable_by(place, |a, b| b.cmp(a)).1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tantivy::columnar::{ColumnarReader, ColumnarWriter, DynamicColumn};
    use tantivy::directory::FileSlice;

    use super::*;

    fn segment(counts: &[(String, u64)]) -> Unnamed {
        let mut writer = ColumnarWriter::default();
        for (doc, (text, _)) in counts.iter().enumerate() {
            writer.record_str(doc as u32, "text", text);
        }
        let mut bytes = Vec::new();
        writer
            .serialize(counts.len() as u32, None, &mut bytes)
            .unwrap();
        let columnar = ColumnarReader::open(FileSlice::from(bytes)).unwrap();
        let handle = columnar.read_columns("text").unwrap().remove(0);
        let DynamicColumn::Str(column) = handle.open().unwrap() else {
            panic!("texts make a column of texts");
        };
        let counts = counts.iter().map(|(text, count)| {
            let ordinal = column.dictionary().term_ord(text).unwrap().unwrap();
            (ordinal, *count)
        });
        let counts = counts.collect();
        Unnamed::new(column, "logs-2026.11.23".to_owned(), counts)
    }

    /// Most first, then by text.
    fn first(counts: FxHashMap<Key, u64>, size: usize) -> Vec<(u64, Key)> {
        let mut sorted: Vec<(u64, Key)> = counts.into_iter().map(|(key, n)| (n, key)).collect();
        sorted.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        sorted.truncate(size);
        sorted
    }

    proptest! {
        #[test]
        fn the_most_frequent_are_those_of_counting_all(
            segments in prop::collection::vec(
                prop::collection::btree_map("[a-d]{1,3}", 1_u64..40, 1..30), 1..5),
            named in prop::collection::btree_map("[a-d]{1,2}", 1_u64..40, 0..5),
            size in 1_usize..8,
        ) {
            let mut all: FxHashMap<Key, u64> = FxHashMap::default();
            let mut by_key: FxHashMap<Key, PartialBucket> = FxHashMap::default();
            for (text, count) in &named {
                let key = Key::from(text.as_str());
                *all.entry(key.clone()).or_default() += count;
                by_key.entry(key).or_default().count += count;
            }
            let mut unnamed = Vec::new();
            for counts in segments {
                for (text, count) in &counts {
                    *all.entry(Key::from(text.as_str())).or_default() += count;
                }
                unnamed.push(segment(&counts.into_iter().collect::<Vec<_>>()));
            }
            let expected_total: u64 = all.values().sum();
            let total = name_most_frequent(&mut by_key, &unnamed, size).unwrap();
            prop_assert_eq!(total, expected_total);
            let found = by_key.into_iter().map(|(key, bucket)| (key, bucket.count)).collect();
            prop_assert_eq!(first(found, size), first(all, size));
        }
    }
}
