//! Durations as people write them: `500ms`, `30s`, `1h30m`, `7d`, `2w`.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration: numbers with units, largest first, as Prometheus writes them. `0` needs no unit.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write for instance 30s, 1h30m or 7d");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut millis: u64 = 0;
    let mut units_left = &UNITS[..];
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let at = units_left
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(units_left[at].1).ok_or_else(wrong)?;
        millis = millis.checked_add(part).ok_or_else(wrong)?;
        units_left = &units_left[at + 1..];
        rest = behind;
    }
    match text.trim() {
        "" => Err(wrong()),
        _ => Ok(Duration::from_millis(millis)),
    }
}

/// Writes a duration so that it is read back as the same one; below a millisecond is cut off.
pub fn write(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Years and weeks are only read: 30d is easier to compare with 365d than 4w2d with 1y.
    for (unit, factor) in &UNITS[2..] {
        let count = millis / factor;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
        millis %= factor;
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("7d", 7 * 86_400_000),
            ("2w", 14 * 86_400_000),
            ("1y", 365 * 86_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5h",
            "-1s",
            "30m1h",
            "1h1h",
            "1 h",
            "1x",
            "99999999999999y",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for millis in [
            0,
            1,
            999,
            1000,
            30_000,
            5_400_000,
            30 * 86_400_000,
            93_784_005,
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&write(duration)), Ok(duration));
        }
        assert_eq!(write(Duration::from_secs(30 * 86_400)), "30d");
    }
}
