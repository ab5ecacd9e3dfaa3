//! Time zones as requests write them: IANA names and fixed offsets.

use jiff::tz::{Offset, TimeZone};

/// Reads `Europe/Berlin`, `UTC`, `Z`, `+01:00`, `-0330`, `+5`, `GMT+1` or `UTC-03:30`.
///
/// `None`: there is no such zone, or the offset is beyond 18 hours.
pub fn parse_time_zone(text: &str) -> Option<TimeZone> {
    if matches!(text, "Z" | "z" | "UTC" | "GMT" | "UT") {
        return Some(TimeZone::UTC);
    }
    let offset_text = ["UTC", "GMT", "UT"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    if offset_text.starts_with(['+', '-']) {
        let seconds = offset_seconds(offset_text)?;
        return Some(Offset::from_seconds(seconds).ok()?.to_time_zone());
    }
    // The database is asked by file name on some systems: only what can be a zone's name goes there.
    let is_name = !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    if !is_name {
        return None;
    }
    TimeZone::get(text).ok()
}

/// `+1`, `+01`, `+0100`, `+01:00`, `+01:00:00` in seconds, at most 18 hours either way.
pub(super) fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: String = match rest.len() {
        1 => format!("0{rest}"),
        _ => rest.replace(':', ""),
    };
    let is_shaped = matches!(digits.len(), 2 | 4 | 6)
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(rest.len(), 1 | 2 | 4 | 5 | 6 | 8);
    if !is_shaped {
        return None;
    }
    let two = |at: usize| -> i32 { digits.get(at..at + 2).map_or(0, |d| d.parse().unwrap_or(0)) };
    let (hours, minutes, seconds) = (two(0), two(2), two(4));
    if hours > 18 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(sign * (hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_names_are_zones() {
        let cases = [
            ("UTC", Some(0)),
            ("Z", Some(0)),
            ("+01:00", Some(3600)),
            ("-0330", Some(-12_600)),
            ("+5", Some(18_000)),
            ("GMT+1", Some(3600)),
            ("UTC-03:30", Some(-12_600)),
            ("Asia/Tokyo", Some(32_400)),
            ("+19:00", None),
            ("+1:0", None),
            ("Mars/Olympus", None),
            ("../../etc/passwd", None),
            ("", None),
            ("+é", None),
        ];
        let now = jiff::Timestamp::from_second(1_795_428_000).unwrap();
        for (text, seconds) in cases {
            let zone = parse_time_zone(text);
            assert_eq!(
                zone.map(|zone| zone.to_offset(now).seconds()),
                seconds,
                "{text}"
            );
        }
    }
}
