//! Times in syslog messages: RFC 3339, and the old form that names neither year nor zone.

use std::time::Duration;

use event::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// How far a sender's clock may be ahead.
const FAST_MAX: Duration = Duration::from_secs(24 * 3600);

/// What times without a year or a zone are completed with.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: TimeZone,
    /// When the message arrived, UTC.
    now: Timestamp,
    /// The last time that was completed, and what became of it: most messages share their second with the one before.
    last: Option<(Civil, Timestamp)>,
}

/// A time as the old form writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: Option<i16>,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
}

impl Clock {
    /// For messages of senders whose clocks show the time of `zone`.
    pub fn new(zone: TimeZone) -> Clock {
        Clock {
            zone,
            now: Timestamp::default(),
            last: None,
        }
    }

    /// Sets when the next messages arrived, UTC.
    pub fn set(&mut self, now: Timestamp) {
        // The year of `last` was chosen for another moment.
        if self.now != now {
            self.last = None;
        }
        self.now = now;
    }

    /// When the present message arrived, UTC.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Reads `Nov 23 10:00:00`, also with a year behind the day or the time, with a fraction, with one digit for the
    /// day; answers what is behind it, too.
    ///
    /// Without a year it is the latest one that does not bring the time more than a day past the arrival: December's last
    /// lines arrive in January, a clock may be fast, and a queue may have waited for months. A time that the zone has twice, when clocks are set back, is the one nearer
    /// to the arrival; one it lacks is moved forward by the gap.
    pub fn read_old<'a>(&mut self, text: &'a str) -> Option<(Timestamp, &'a str)> {
        let (civil, nanos, rest) = civil_of(text)?;
        let whole = match self.last {
            Some((last, time)) if last == civil => time,
            _ => {
                let time = self.complete(civil)?;
                self.last = Some((civil, time));
                time
            }
        };
        let nanos = whole.nanos().checked_add(i64::from(nanos))?;
        Some((Timestamp::from_nanos(nanos), rest))
    }

    fn complete(&self, civil: Civil) -> Option<Timestamp> {
        if let Some(year) = civil.year {
            return self.instant(civil, year);
        }
        let now = jiff::Timestamp::from_nanosecond(i128::from(self.now.nanos())).ok()?;
        let year = self.zone.to_datetime(now).year();
        let latest = self.now.plus(FAST_MAX);
        // Eight years, for 29 February around 2100.
        let years = (year - 8..=year + 1).rev();
        let mut times = years.filter_map(|year| self.instant(civil, year));
        times.find(|time| *time <= latest)
    }

    fn instant(&self, civil: Civil, year: i16) -> Option<Timestamp> {
        let date = Date::new(year, civil.month, civil.day).ok()?;
        // A leap second is the last one of its minute: no clock of ours has a 60th.
        let time = Time::new(civil.hour, civil.minute, civil.second.min(59), 0).ok()?;
        let civil = DateTime::from_parts(date, time);
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        if let AmbiguousOffset::Fold { before, after } = ambiguous.offset() {
            let both = [before, after].into_iter();
            let instants = both.filter_map(|offset| at_offset(offset, civil));
            return instants.min_by_key(|time| time.nanos().abs_diff(self.now.nanos()));
        }
        timestamp_of(ambiguous.compatible().ok()?)
    }
}

/// Reads the RFC 3339 time at the beginning of a text, up to a blank; answers what is behind it, too.
pub fn read_rfc3339(text: &str) -> Option<(Timestamp, &str)> {
    let end = text.find(' ').unwrap_or(text.len());
    let token = &text[..end];
    // The lenient reader takes dates alone, too; those are no syslog times.
    let has_time = token.len() >= 19 && matches!(token.as_bytes()[10], b'T' | b't');
    let time = has_time
        .then(|| Timestamp::parse_iso(token).ok())
        .flatten()?;
    Some((time, &text[end..]))
}

fn civil_of(text: &str) -> Option<(Civil, i32, &str)> {
    let bytes = text.as_bytes();
    let month = MONTHS.iter().position(|name| {
        bytes
            .get(..3)
            .is_some_and(|head| head.eq_ignore_ascii_case(*name))
    })?;
    let mut cursor = Cursor { text, at: 3 };
    cursor.blanks()?;
    let day = cursor.number(2)?;
    cursor.blanks()?;
    let mut year = cursor.year();
    if year.is_some() {
        cursor.blanks()?;
    }
    let hour = cursor.number(2)?;
    cursor.take(b':')?;
    let minute = cursor.number(2)?;
    cursor.take(b':')?;
    let second = cursor.number(2)?;
    let nanos = cursor.fraction();
    if year.is_none() {
        let before = cursor.at;
        year = cursor.blanks().and_then(|()| cursor.year());
        let is_whole_word = matches!(cursor.peek(), None | Some(b' ' | b':'));
        if year.is_none() || !is_whole_word {
            year = None;
            cursor.at = before;
        }
    }
    let is_in_range = (1..=31).contains(&day) && hour <= 23 && minute <= 59 && second <= 60;
    is_in_range.then(|| {
        let civil = Civil {
            year,
            month: month as i8 + 1,
            day: day as i8,
            hour: hour as i8,
            minute: minute as i8,
            second: second as i8,
        };
        (civil, nanos, &text[cursor.at..])
    })
}

/// A reader of ASCII; `at` is always a character's border, because only ASCII is passed.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// One or two: the day has a blank in front when it has one digit.
    fn blanks(&mut self) -> Option<()> {
        self.take(b' ')?;
        self.take(b' ');
        Some(())
    }

    fn number(&mut self, digits_max: usize) -> Option<i16> {
        let mut value = 0;
        let mut digits = 0;
        while digits < digits_max
            && let Some(byte @ b'0'..=b'9') = self.peek()
        {
            value = value * 10 + i16::from(byte - b'0');
            self.at += 1;
            digits += 1;
        }
        (digits > 0).then_some(value)
    }

    /// Four digits that are a year of our time and not an hour: `2026`.
    fn year(&mut self) -> Option<i16> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let is_year =
            digits.iter().all(u8::is_ascii_digit) && matches!(&digits[..2], b"19" | b"20");
        if !is_year {
            return None;
        }
        self.number(4)
    }

    /// `.123456`, as nanoseconds; what is finer is left out.
    fn fraction(&mut self) -> i32 {
        let has_digit = |at: usize| self.text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        if !matches!(self.peek(), Some(b'.' | b',')) || !has_digit(self.at + 1) {
            return 0;
        }
        self.at += 1;
        let (mut nanos, mut unit) = (0, 100_000_000);
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            nanos += i32::from(byte - b'0') * unit;
            unit /= 10;
            self.at += 1;
        }
        nanos
    }
}

fn at_offset(offset: Offset, civil: DateTime) -> Option<Timestamp> {
    timestamp_of(offset.to_timestamp(civil).ok()?)
}

fn timestamp_of(instant: jiff::Timestamp) -> Option<Timestamp> {
    i64::try_from(instant.as_nanosecond())
        .ok()
        .map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(zone: &str, now: &str, text: &str) -> Option<(String, String)> {
        let mut clock = Clock::new(TimeZone::get(zone).unwrap());
        clock.set(Timestamp::parse_iso(now).unwrap());
        let (time, rest) = clock.read_old(text)?;
        // Once more from what it remembers.
        assert_eq!(clock.read_old(text), Some((time, rest)));
        Some((time.to_rfc3339(), rest.to_owned()))
    }

    #[test]
    fn the_year_is_the_latest_that_may_have_been() {
        for (now, text, expected) in [
            (
                "2026-11-23T10:00:01Z",
                "Nov 23 10:00:00",
                "2026-11-23T10:00:00.000Z",
            ),
            (
                "2027-01-01T00:00:02Z",
                "Dec 31 23:59:59",
                "2026-12-31T23:59:59.000Z",
            ),
            (
                "2026-12-31T23:59:58Z",
                "Jan  1 00:00:01",
                "2027-01-01T00:00:01.000Z",
            ),
            (
                "2027-01-01T00:00:02Z",
                "Jan  1 00:00:01",
                "2027-01-01T00:00:01.000Z",
            ),
            (
                "2027-03-01T00:00:02Z",
                "Feb 29 12:00:00",
                "2024-02-29T12:00:00.000Z",
            ),
            (
                "2028-03-01T00:00:02Z",
                "Feb 29 12:00:00",
                "2028-02-29T12:00:00.000Z",
            ),
        ] {
            assert_eq!(
                read("UTC", now, text).unwrap().0,
                expected,
                "{text} at {now}"
            );
        }
    }

    #[test]
    fn the_zone_is_the_senders() {
        let berlin = |now, text| read("Europe/Berlin", now, text).unwrap().0;
        assert_eq!(
            berlin("2026-11-23T10:00:00Z", "Nov 23 11:00:00"),
            "2026-11-23T10:00:00.000Z"
        );
        // New Year comes an hour earlier there.
        assert_eq!(
            berlin("2026-12-31T23:30:00Z", "Jan  1 00:30:00"),
            "2026-12-31T23:30:00.000Z"
        );
        // On 2026-10-25 clocks go from 03:00 back to 02:00: the arrival tells which 02:30 it was.
        assert_eq!(
            berlin("2026-10-25T00:31:00Z", "Oct 25 02:30:00"),
            "2026-10-25T00:30:00.000Z"
        );
        assert_eq!(
            berlin("2026-10-25T01:31:00Z", "Oct 25 02:30:00"),
            "2026-10-25T01:30:00.000Z"
        );
        // On 2026-03-29 there is no 02:30.
        assert_eq!(
            berlin("2026-03-29T01:30:00Z", "Mar 29 02:30:00"),
            "2026-03-29T01:30:00.000Z"
        );
    }

    #[test]
    fn devices_add_years_and_fractions() {
        for (text, expected, rest) in [
            (
                "Nov 23 10:00:00.123456 host",
                "2026-11-23T10:00:00.123456Z",
                " host",
            ),
            (
                "Nov  3 2025 10:00:00 host",
                "2025-11-03T10:00:00.000Z",
                " host",
            ),
            (
                "Nov 23 10:00:00 2025: %ASA",
                "2025-11-23T10:00:00.000Z",
                ": %ASA",
            ),
            ("nov 3 10:00:00: x", "2026-11-03T10:00:00.000Z", ": x"),
            ("Nov 23 10:00:60 host", "2026-11-23T10:00:59.000Z", " host"),
            (
                "Nov 23 10:00:00 2026-box",
                "2026-11-23T10:00:00.000Z",
                " 2026-box",
            ),
            ("Nov 23 20:26:00 host", "2026-11-23T20:26:00.000Z", " host"),
        ] {
            assert_eq!(
                read("UTC", "2026-11-23T10:00:00Z", text),
                Some((expected.to_owned(), rest.to_owned())),
                "{text}"
            );
        }
        for text in [
            "",
            "Nov",
            "Nov 32 10:00:00",
            "Nov 23",
            "Nov 23 24:00:00",
            "Nov 23 1é",
            "Nox 23 10:00:00",
        ] {
            assert_eq!(read("UTC", "2026-11-23T10:00:00Z", text), None, "{text}");
        }
    }

    #[test]
    fn rfc_3339_ends_at_a_blank() {
        let read = |text| read_rfc3339(text).map(|(time, rest)| (time.to_rfc3339(), rest));
        assert_eq!(
            read("2003-08-24T05:14:15.000003-07:00 host"),
            Some(("2003-08-24T12:14:15.000003Z".to_owned(), " host"))
        );
        assert_eq!(read("2003-08-24 05:14:15 host"), None);
        assert_eq!(read("2003-08-24T05:14 host"), None);
        assert_eq!(read("-"), None);
    }
}
