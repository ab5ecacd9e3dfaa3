//! The event's time as we spell it, which a document need not keep.

use super::cut::Value;

/// Room for [`write_time`].
pub const TIME_BYTES_MAX: usize = 30;

/// Writes a time, in nanoseconds since 1970, as RFC 3339, UTC, with 0, 3, 6 or 9 digits of a second; empty for years
/// that have not four digits and for times with more digits.
pub fn write_time(timestamp: i64, digits: u8, room: &mut [u8; TIME_BYTES_MAX]) -> &[u8] {
    let (seconds, nanos) = (
        timestamp.div_euclid(1_000_000_000),
        timestamp.rem_euclid(1_000_000_000),
    );
    let fraction_unit = 10_i64.pow(9 - u32::from(digits));
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(day);
    if nanos % fraction_unit != 0 || !(0..=9_999).contains(&year) {
        return &[];
    }
    let mut at = 0;
    let mut put = |number: i64, len: u32, end: &[u8]| {
        for place in (0..len).rev() {
            room[at] = b'0' + (number / 10_i64.pow(place) % 10) as u8;
            at += 1;
        }
        room[at..at + end.len()].copy_from_slice(end);
        at += end.len();
    };
    put(year, 4, b"-");
    put(month, 2, b"-");
    put(day, 2, b"T");
    put(second / 3_600, 2, b":");
    put(second / 60 % 60, 2, b":");
    match digits {
        0 => put(second % 60, 2, b"Z"),
        _ => {
            put(second % 60, 2, b".");
            put(nanos / fraction_unit, u32::from(digits), b"Z");
        }
    }
    &room[..at]
}

/// Which of the values is the event's time as we would write it ourselves, and with how many digits of a second.
pub fn own_time(
    document: &[u8],
    values: &[Value],
    shape: &[u8],
    timestamp: i64,
) -> Option<(usize, u8)> {
    const KEY: &[u8] = b"\"@timestamp\":";
    for (at, value) in values.iter().enumerate() {
        let digits = match value.range.len() {
            20 => 0,
            24 => 3,
            27 => 6,
            30 => 9,
            _ => continue,
        };
        let before = &document[..value.range.start - usize::from(value.is_text)];
        // Some programs write a blank behind the colon.
        let is_candidate = value.is_text && before.trim_ascii_end().ends_with(KEY);
        if !is_candidate {
            continue;
        }
        let before = &shape[..value.mark];
        let is_top = before
            .iter()
            .filter(|byte| matches!(byte, b'{' | b'['))
            .count()
            == 1;
        let mut time = [0; TIME_BYTES_MAX];
        if is_top && document[value.range.clone()] == *write_time(timestamp, digits, &mut time) {
            return Some((at, digits));
        }
        return None;
    }
    None
}

/// Year, month and day of a day since 1970-01-01, by the Gregorian calendar.
fn civil_date(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the day that comes and goes is the last one.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use event::Timestamp;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_written_as_everybody_else_writes_them(nanos in any::<i64>()) {
            let mut room = [0; TIME_BYTES_MAX];
            let millis = nanos - nanos.rem_euclid(1_000_000);
            let time = Timestamp::from_nanos(millis);
            let expected = jiff::Timestamp::from_millisecond(time.millis()).unwrap();
            let expected = format!("{expected:.3}");
            prop_assert_eq!(std::str::from_utf8(write_time(millis, 3, &mut room)).unwrap(), expected);
            let expected = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap();
            let expected = format!("{expected:.9}");
            prop_assert_eq!(std::str::from_utf8(write_time(nanos, 9, &mut room)).unwrap(), expected);
        }
    }

    #[test]
    fn a_time_with_more_digits_is_not_written_with_less() {
        let mut room = [0; TIME_BYTES_MAX];
        assert_eq!(write_time(1_500_000_000, 0, &mut room), b"");
        assert_eq!(
            write_time(1_500_000_000, 3, &mut room),
            b"1970-01-01T00:00:01.500Z"
        );
        assert_eq!(
            write_time(1_000_000_000, 0, &mut room),
            b"1970-01-01T00:00:01Z"
        );
    }
}
