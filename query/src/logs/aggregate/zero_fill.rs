//! Fills the gaps of histograms with empty buckets.

/// An optional lowest and highest value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds<T> {
    /// The lowest; `None` is open.
    pub min: Option<T>,
    /// The highest; `None` is open.
    pub max: Option<T>,
}

impl<T: PartialOrd + Copy> Bounds<T> {
    /// Whether a bucket that begins here lies within; the upper bound is exclusive.
    pub fn has(&self, start: T) -> bool {
        let is_low_enough = self.max.is_none_or(|max| start < max);
        is_low_enough && self.min.is_none_or(|min| start >= min)
    }
}

/// Which starts a histogram must show, besides those it has: from the first to the last.
///
/// `present` are the starts it has, ascending; `bounds` are already rounded to starts.
pub(super) fn span<T: PartialOrd + Copy>(
    present: &[T],
    bounds: Option<Bounds<T>>,
) -> Option<(T, T)> {
    let bounds = bounds.unwrap_or(Bounds {
        min: None,
        max: None,
    });
    let lower = |a: T, b: T| if b < a { b } else { a };
    let higher = |a: T, b: T| if b > a { b } else { a };
    let first = match (present.first().copied(), bounds.min) {
        (Some(first), Some(min)) => lower(first, min),
        (first, min) => first.or(min).or(bounds.max)?,
    };
    let last = match (present.last().copied(), bounds.max) {
        (Some(last), Some(max)) => higher(last, max),
        (last, max) => last.or(max).or(bounds.min)?,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(min: Option<i64>, max: Option<i64>) -> Option<Bounds<i64>> {
        Some(Bounds { min, max })
    }

    #[test]
    fn bounds_widen_but_never_narrow() {
        assert_eq!(span(&[3, 5], None), Some((3, 5)));
        assert_eq!(span(&[3, 5], bounds(Some(1), Some(9))), Some((1, 9)));
        assert_eq!(span(&[3, 5], bounds(Some(4), Some(4))), Some((3, 5)));
        assert_eq!(span(&[], bounds(Some(1), Some(9))), Some((1, 9)));
        assert_eq!(span::<i64>(&[], None), None);
        assert_eq!(span(&[], bounds(Some(9), Some(1))), None);
    }

    #[test]
    fn a_hard_bound_excludes_what_begins_at_its_end() {
        let hard = Bounds {
            min: Some(1),
            max: Some(3),
        };
        assert_eq!(
            [0, 1, 2, 3].map(|start| hard.has(start)),
            [false, true, true, false]
        );
    }
}
