//! `bucket_sort`: orders and cuts the buckets around it.

use std::cmp::Ordering;

use super::super::results::Bucket;
use super::super::{AggregateError, Aggregations};
use super::{GapPolicy, Path, value_of};

/// Which buckets stay, after they are ordered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub from: usize,
    pub size: Option<usize>,
}

pub(super) fn run(
    sort: &[(Path, bool)],
    cut: Cut,
    gaps: GapPolicy,
    buckets: &mut Vec<Bucket>,
    request: &Aggregations,
) -> Result<(), AggregateError> {
    if !sort.is_empty() {
        order(sort, gaps, buckets, request)?;
    }
    let size = cut.size.unwrap_or(usize::MAX);
    let kept = buckets.drain(..).skip(cut.from).take(size).collect();
    *buckets = kept;
    Ok(())
}

/// Buckets that have none of the values are dropped, as Elasticsearch does.
fn order(
    sort: &[(Path, bool)],
    gaps: GapPolicy,
    buckets: &mut Vec<Bucket>,
    request: &Aggregations,
) -> Result<(), AggregateError> {
    let mut keyed: Vec<(Vec<SortKey>, Bucket)> = Vec::with_capacity(buckets.len());
    for bucket in buckets.drain(..) {
        let mut keys = Vec::with_capacity(sort.len());
        for (path, _) in sort {
            keys.push(SortKey::of(path, gaps, &bucket, request)?);
        }
        if keys.iter().any(|key| !key.is_gap()) {
            keyed.push((keys, bucket));
        }
    }
    keyed.sort_by(|(a, _), (b, _)| {
        let orders = a
            .iter()
            .zip(b)
            .zip(sort)
            .map(|((a, b), (_, descending))| a.compare(b, *descending));
        orders.fold(Ordering::Equal, Ordering::then)
    });
    *buckets = keyed.into_iter().map(|(_, bucket)| bucket).collect();
    Ok(())
}

enum SortKey {
    Number(f64),
    Key(super::super::key::Key),
}

impl SortKey {
    fn of(
        path: &Path,
        gaps: GapPolicy,
        bucket: &Bucket,
        request: &Aggregations,
    ) -> Result<SortKey, AggregateError> {
        if path.is_key() {
            return Ok(SortKey::Key(bucket.key.clone()));
        }
        let value = value_of(path, gaps, bucket, request)?;
        Ok(SortKey::Number(value.unwrap_or(f64::NAN)))
    }

    fn is_gap(&self) -> bool {
        matches!(self, SortKey::Number(value) if value.is_nan())
    }

    /// Gaps come last in either direction.
    fn compare(&self, other: &SortKey, descending: bool) -> Ordering {
        let order = match (self, other) {
            (SortKey::Key(a), SortKey::Key(b)) => a.cmp(b),
            (SortKey::Number(a), SortKey::Number(b)) => match (a.is_nan(), b.is_nan()) {
                (false, false) => a.total_cmp(b),
                (a, b) => return a.cmp(&b),
            },
            _ => Ordering::Equal,
        };
        if descending { order.reverse() } else { order }
    }
}
