//! Short decimals as scaled integers: a float at random costs 8 bytes, `0.25` among `0.01..10` ten bits.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use tantivy::columnar::ColumnValues;

/// The powers of ten a value may be scaled by. Nanoseconds as seconds have nine decimals.
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Whole numbers below are exact as floats, so `integer / power` is the float nearest to the decimal, as parsing it
/// gave.
const INTEGER_LIMIT: f64 = (1_u64 << 53) as f64;

/// How many values are converted at a time.
const CHUNK: usize = 64;

/// The values as integers and the number of decimals they are scaled by; `None` when a value would come back with
/// other bits.
pub fn scaled(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut decimals = 0;
    for value in values {
        while integer_of(*value, POWERS[decimals]).is_none() {
            decimals += 1;
            if decimals == POWERS.len() {
                return None;
            }
        }
    }
    let power = POWERS[decimals];
    let integers: Option<Vec<i64>> = values
        .iter()
        .map(|value| integer_of(*value, power))
        .collect();
    Some((decimals as u8, integers?))
}

fn integer_of(value: f64, power: f64) -> Option<i64> {
    let product = value * power;
    let is_in_range = product.abs() < INTEGER_LIMIT;
    if !is_in_range {
        return None;
    }
    // Rounds as `round` does, without a call.
    let integer = (product + 0.5_f64.copysign(product)) as i64;
    let is_same = (integer as f64 / power).to_bits() == value.to_bits();
    is_same.then_some(integer)
}

/// The floats of a column that stores `integers` for them; `None` when there is no such scale.
pub fn unscaled(
    integers: Arc<dyn ColumnValues<i64>>,
    decimals: u8,
) -> Option<Arc<dyn ColumnValues<f64>>> {
    let power = *POWERS.get(usize::from(decimals))?;
    Some(Arc::new(Unscaled { integers, power }))
}

struct Unscaled {
    integers: Arc<dyn ColumnValues<i64>>,
    power: f64,
}

impl Unscaled {
    fn value(&self, integer: i64) -> f64 {
        integer as f64 / self.power
    }

    /// The first integer of the column's range whose value does not satisfy `is_before`, which holds for the smaller
    /// ones only; one past the range when all do.
    fn partition_point(&self, is_before: impl Fn(f64) -> bool) -> i64 {
        let mut low = self.integers.min_value();
        let mut high = self.integers.max_value() + 1;
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.value(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl ColumnValues<f64> for Unscaled {
    fn get_val(&self, row: u32) -> f64 {
        self.value(self.integers.get_val(row))
    }

    fn get_vals(&self, rows: &[u32], output: &mut [f64]) {
        assert_eq!(rows.len(), output.len());
        let mut integers = [0; CHUNK];
        for (rows, output) in rows.chunks(CHUNK).zip(output.chunks_mut(CHUNK)) {
            let integers = &mut integers[..rows.len()];
            self.integers.get_vals(rows, integers);
            for (output, integer) in output.iter_mut().zip(integers) {
                *output = self.value(*integer);
            }
        }
    }

    fn get_vals_opt(&self, rows: &[u32], output: &mut [Option<f64>]) {
        assert_eq!(rows.len(), output.len());
        let mut integers = [0; CHUNK];
        for (rows, output) in rows.chunks(CHUNK).zip(output.chunks_mut(CHUNK)) {
            let integers = &mut integers[..rows.len()];
            self.integers.get_vals(rows, integers);
            for (output, integer) in output.iter_mut().zip(integers) {
                *output = Some(self.value(*integer));
            }
        }
    }

    fn get_range(&self, start: u64, output: &mut [f64]) {
        let mut integers = [0; CHUNK];
        let mut start = start;
        for output in output.chunks_mut(CHUNK) {
            let integers = &mut integers[..output.len()];
            self.integers.get_range(start, integers);
            for (output, integer) in output.iter_mut().zip(integers) {
                *output = self.value(*integer);
            }
            start += output.len() as u64;
        }
    }

    fn get_row_ids_for_value_range(
        &self,
        range: RangeInclusive<f64>,
        rows: Range<u32>,
        hits: &mut Vec<u32>,
    ) {
        // A bound that is NaN is neither reached nor passed, so nothing is found, as by comparing the values.
        let first = self.partition_point(|value| value < *range.start() || range.start().is_nan());
        let end = self.partition_point(|value| value <= *range.end());
        if first < end {
            self.integers
                .get_row_ids_for_value_range(first..=end - 1, rows, hits);
        } else {
            hits.clear();
        }
    }

    fn min_value(&self) -> f64 {
        self.value(self.integers.min_value())
    }

    fn max_value(&self) -> f64 {
        self.value(self.integers.max_value())
    }

    fn num_vals(&self) -> u32 {
        self.integers.num_vals()
    }

    fn iter<'a>(&'a self) -> Box<dyn Iterator<Item = f64> + 'a> {
        Box::new(self.integers.iter().map(|integer| self.value(integer)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tantivy::columnar::column_values::{
        CodecType, load_u64_based_column_values, serialize_u64_based_column_values,
    };
    use tantivy::directory::OwnedBytes;

    use super::*;

    fn column(integers: &[i64]) -> Arc<dyn ColumnValues<i64>> {
        let mut bytes = Vec::new();
        serialize_u64_based_column_values(&integers, &[CodecType::Bitpacked], &mut bytes).unwrap();
        load_u64_based_column_values(OwnedBytes::new(bytes)).unwrap()
    }

    #[test]
    fn takes_short_decimals_and_no_others() {
        assert_eq!(scaled(&[1.5, 2.0, -0.25]), Some((2, vec![150, 200, -25])));
        assert_eq!(scaled(&[0.0, 7.0]), Some((0, vec![0, 7])));
        assert_eq!(scaled(&[0.000000001]), Some((9, vec![1])));
        assert_eq!(scaled(&[0.1, 9007199254740991.0]), None);
        for value in [
            -0.0,
            f64::NAN,
            f64::INFINITY,
            1.0 / 3.0,
            1e-10,
            9007199254740992.0,
        ] {
            assert_eq!(scaled(&[value]), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn comes_back_with_the_same_bits_and_finds_the_same_rows(
            decimals in 0..10_u32,
            integers in prop::collection::vec(-(1_i64 << 40)..1 << 40, 1..200),
            bounds in (-2e12..2e12, -2e12..2e12),
            picked in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let power = 10_f64.powi(decimals as i32);
            let values: Vec<f64> = integers.iter().map(|integer| *integer as f64 / power).collect();
            let (decimals, integers) = scaled(&values).unwrap();
            let column = unscaled(column(&integers), decimals).unwrap();

            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&column.iter().collect::<Vec<_>>()), bits(&values));
            let mut read = vec![0.0; values.len()];
            column.get_range(0, &mut read);
            prop_assert_eq!(bits(&read), bits(&values));
            let rows: Vec<u32> = (0..values.len() as u32).rev().collect();
            column.get_vals(&rows, &mut read);
            let mut optional = vec![None; values.len()];
            column.get_vals_opt(&rows, &mut optional);
            read.reverse();
            prop_assert_eq!(bits(&read), bits(&values));
            prop_assert_eq!(optional[0].map(f64::to_bits), values.last().map(|value| value.to_bits()));

            let own = (values[picked.0.index(values.len())], values[picked.1.index(values.len())]);
            let scaled_bounds = (bounds.0 / power, bounds.1 / power);
            for (from, to) in [bounds, scaled_bounds, own, (f64::NAN, 1e300), (0.0, f64::NAN), (f64::MIN, f64::MAX)] {
                let mut found = Vec::new();
                column.get_row_ids_for_value_range(from..=to, 0..values.len() as u32, &mut found);
                let expected: Vec<u32> = (0..values.len() as u32)
                    .filter(|row| (from..=to).contains(&values[*row as usize]))
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
