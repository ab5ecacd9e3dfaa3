//! Java's date patterns (`yyyy-MM-dd'T'HH:mm:ss.SSSXXX`): reading and writing.
//!
//! Letters as in java.time's `DateTimeFormatter`; `xxxx` with four letters is the week year that Elasticsearch's own
//! formats mean by it, fewer are an offset. English names. Offsets are read in every usual form, whatever the letter.

use event::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Parts;
use super::parts::Cursor;
use super::zone::parse_time_zone;

/// Brackets nest this deep at most; nobody writes more than two.
const DEPTH_MAX: usize = 8;

/// The longest pattern we take, in bytes.
const BYTES_MAX: usize = 256;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A pattern, ready to use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(Vec<Item>);

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Literal(String),
    Field(Letter, usize),
    Optional(Vec<Item>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Year,
    WeekYear,
    Quarter,
    Month,
    Day,
    DayOfYear,
    Week,
    WeekdayName,
    WeekdayNumber,
    HalfDay,
    Hour,
    HourFromOne,
    HalfDayHour,
    HalfDayHourFromZero,
    Minute,
    Second,
    Fraction,
    NanoOfSecond,
    MilliOfDay,
    Era,
    /// `X` (true: `Z` for UTC) and `x`.
    Offset(bool),
    /// `Z`.
    OffsetPlain,
    ZoneName,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong.
    pub fn parse(pattern: &str) -> Result<Pattern, String> {
        if pattern.len() > BYTES_MAX {
            return Err(format!("longer than {BYTES_MAX} bytes"));
        }
        let chars: Vec<char> = pattern.chars().collect();
        let mut at = 0;
        let items = parse_items(&chars, &mut at, 0)?;
        Ok(Pattern(items))
    }

    /// The pieces of a text that fits the whole pattern.
    pub fn read(&self, text: &str) -> Option<Parts> {
        let mut cursor = Cursor { rest: text };
        let mut parts = Parts::default();
        read_items(&self.0, &mut cursor, &mut parts)?;
        cursor.rest.is_empty().then_some(parts)
    }

    /// Writes a time as seen in `zone`.
    pub fn write(&self, timestamp: Timestamp, zone: &TimeZone) -> String {
        let (civil, offset_seconds) = civil(timestamp, zone);
        let moment = Moment {
            civil,
            offset_seconds,
            zone,
        };
        let mut out = String::with_capacity(32);
        write_items(&self.0, &moment, &mut out);
        out
    }
}

/// The wall clock in `zone` and its offset from UTC in seconds.
pub(super) fn civil(timestamp: Timestamp, zone: &TimeZone) -> (DateTime, i32) {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(timestamp.nanos()))
        .expect("every i64 of nanoseconds is within jiff's years");
    (zone.to_datetime(moment), zone.to_offset(moment).seconds())
}

/// The wall clock in `zone`.
pub(in super::super) fn civil_in(timestamp: Timestamp, zone: &TimeZone) -> DateTime {
    civil(timestamp, zone).0
}

/// `+01:00`, `+0100`; `Z` for UTC when `z_for_utc`.
pub(super) fn offset_text(seconds: i32, with_colon: bool, z_for_utc: bool) -> String {
    if seconds == 0 && z_for_utc {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let colon = if with_colon { ":" } else { "" };
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

fn parse_items(chars: &[char], at: &mut usize, depth: usize) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while let Some(&c) = chars.get(*at) {
        match c {
            '\'' => items.push(Item::Literal(quoted(chars, at)?)),
            '[' if depth >= DEPTH_MAX => return Err("brackets nest too deep".to_owned()),
            '[' => {
                *at += 1;
                items.push(Item::Optional(parse_items(chars, at, depth + 1)?));
                if chars.get(*at) != Some(&']') {
                    return Err("[ without ]".to_owned());
                }
                *at += 1;
            }
            ']' if depth > 0 => return Ok(items),
            ']' => return Err("] without [".to_owned()),
            '{' | '}' | '#' => return Err(format!("Pattern includes reserved character: '{c}'")),
            c if c.is_ascii_alphabetic() => {
                let width = chars[*at..].iter().take_while(|next| **next == c).count();
                items.push(Item::Field(letter(c, width)?, width));
                *at += width;
            }
            c => {
                items.push(Item::Literal(c.to_string()));
                *at += 1;
            }
        }
    }
    Ok(items)
}

/// Text between quotes; two quotes are one, alone and inside.
fn quoted(chars: &[char], at: &mut usize) -> Result<String, String> {
    *at += 1;
    if chars.get(*at) == Some(&'\'') {
        *at += 1;
        return Ok("'".to_owned());
    }
    let mut text = String::new();
    while let Some(&c) = chars.get(*at) {
        *at += 1;
        if c != '\'' {
            text.push(c);
        } else if chars.get(*at) == Some(&'\'') {
            text.push('\'');
            *at += 1;
        } else {
            return Ok(text);
        }
    }
    Err("Pattern ends with an incomplete string literal".to_owned())
}

fn letter(c: char, width: usize) -> Result<Letter, String> {
    let letter = match c {
        'y' | 'u' => Letter::Year,
        'Y' => Letter::WeekYear,
        'x' if width == 4 => Letter::WeekYear,
        'Q' | 'q' => Letter::Quarter,
        'M' | 'L' => Letter::Month,
        'd' => Letter::Day,
        'D' => Letter::DayOfYear,
        'w' => Letter::Week,
        'E' => Letter::WeekdayName,
        'e' | 'c' if width >= 3 => Letter::WeekdayName,
        'e' | 'c' => Letter::WeekdayNumber,
        'a' => Letter::HalfDay,
        'H' => Letter::Hour,
        'k' => Letter::HourFromOne,
        'h' => Letter::HalfDayHour,
        'K' => Letter::HalfDayHourFromZero,
        'm' => Letter::Minute,
        's' => Letter::Second,
        'S' => Letter::Fraction,
        'n' => Letter::NanoOfSecond,
        'A' => Letter::MilliOfDay,
        'G' => Letter::Era,
        'X' => Letter::Offset(true),
        'x' => Letter::Offset(false),
        'Z' if width == 5 => Letter::Offset(true),
        'Z' => Letter::OffsetPlain,
        'z' | 'V' | 'v' | 'O' => Letter::ZoneName,
        _ => return Err(format!("Unknown pattern letter: {c}")),
    };
    let width_max = match letter {
        Letter::Fraction | Letter::NanoOfSecond | Letter::MilliOfDay | Letter::Year => 9,
        _ => 5,
    };
    if width > width_max {
        return Err(format!("Too many pattern letters: {c}"));
    }
    Ok(letter)
}

fn read_items(items: &[Item], cursor: &mut Cursor<'_>, parts: &mut Parts) -> Option<()> {
    for (at, item) in items.iter().enumerate() {
        match item {
            Item::Literal(text) => cursor.take(text).then_some(())?,
            Item::Field(letter, width) => {
                // `yyyyMMdd`: a number directly before another one takes exactly its width.
                let is_adjacent = matches!(items.get(at + 1), Some(Item::Field(next, next_width))
                    if next.is_number(*next_width));
                read_field(*letter, *width, is_adjacent, cursor, parts)?;
            }
            Item::Optional(items) => {
                let (mut inner_cursor, mut inner_parts) = (*cursor, parts.clone());
                if read_items(items, &mut inner_cursor, &mut inner_parts).is_some() {
                    (*cursor, *parts) = (inner_cursor, inner_parts);
                }
            }
        }
    }
    Some(())
}

impl Letter {
    fn is_number(self, width: usize) -> bool {
        match self {
            Letter::Month | Letter::Quarter => width <= 2,
            Letter::WeekdayName
            | Letter::HalfDay
            | Letter::Era
            | Letter::Offset(_)
            | Letter::OffsetPlain
            | Letter::ZoneName => false,
            _ => true,
        }
    }
}

fn read_field(
    letter: Letter,
    width: usize,
    is_adjacent: bool,
    cursor: &mut Cursor<'_>,
    parts: &mut Parts,
) -> Option<()> {
    let widest = |most: usize| if is_adjacent { width } else { most.max(width) };
    let two = widest(2);
    match letter {
        Letter::Year if width == 2 => parts.year = Some(2000 + cursor.digits(2, 2)?),
        Letter::Year => parts.year = Some(cursor.digits(width, widest(9))?),
        Letter::WeekYear => parts.week_year = Some(cursor.digits(width, widest(4))?),
        Letter::Month if width >= 3 => {
            parts.month = Some(read_name(cursor, &MONTHS, width)?);
        }
        Letter::Month => parts.month = Some(cursor.digits(width, two)?),
        Letter::Quarter => {
            let quarter = cursor.digits(1, 2)?;
            if parts.month.is_none() {
                parts.month = Some((quarter - 1) * 3 + 1);
            }
        }
        Letter::Day => parts.day = Some(cursor.digits(width, two)?),
        Letter::DayOfYear => parts.day_of_year = Some(cursor.digits(width, widest(3))?),
        Letter::Week => parts.week = Some(cursor.digits(width, two)?),
        Letter::WeekdayName => {
            // Says nothing that the date does not say; only beside a week it chooses the day.
            parts.weekday = Some(read_name(cursor, &WEEKDAYS, width)?);
        }
        Letter::WeekdayNumber => parts.weekday = Some(cursor.digits(1, 1)?),
        Letter::HalfDay => {
            let head = cursor.rest.get(..2)?;
            parts.is_afternoon = match head.to_ascii_uppercase().as_str() {
                "AM" => Some(false),
                "PM" => Some(true),
                _ => return None,
            };
            cursor.rest = &cursor.rest[2..];
        }
        Letter::Hour => parts.hour = Some(cursor.digits(width.min(2), two)?),
        Letter::HourFromOne => parts.hour = Some(cursor.digits(width.min(2), two)? % 24),
        Letter::HalfDayHour => parts.half_day_hour = Some(cursor.digits(width.min(2), two)?),
        Letter::HalfDayHourFromZero => {
            let hour = cursor.digits(width.min(2), two)?;
            parts.half_day_hour = Some(if hour == 0 { 12 } else { hour });
        }
        Letter::Minute => parts.minute = Some(cursor.digits(width.min(2), two)?),
        Letter::Second => parts.second = Some(cursor.digits(width.min(2), two)?),
        Letter::Fraction => parts.fraction = Some(cursor.fraction()?),
        Letter::NanoOfSecond => parts.fraction = Some((cursor.digits(1, 9)?, 9)),
        Letter::MilliOfDay => parts.milli_of_day = Some(cursor.digits(1, 9)?),
        Letter::Era => {
            let is_known = ["AD", "CE", "BC"].iter().any(|era| cursor.take(era));
            is_known.then_some(())?;
        }
        Letter::Offset(_) | Letter::OffsetPlain => parts.zone = Some(cursor.offset()?),
        Letter::ZoneName => parts.zone = Some(read_zone(cursor)?),
    }
    Some(())
}

/// A name, short (three letters) when the pattern has three letters or fewer, case ignored. Counts from 1.
fn read_name(cursor: &mut Cursor<'_>, names: &[&str], width: usize) -> Option<i64> {
    for (at, name) in names.iter().enumerate() {
        let wanted = if width <= 3 { &name[..3] } else { name };
        let is_next = cursor
            .rest
            .get(..wanted.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(wanted));
        if is_next {
            cursor.rest = &cursor.rest[wanted.len()..];
            return Some(at as i64 + 1);
        }
    }
    None
}

fn read_zone(cursor: &mut Cursor<'_>) -> Option<TimeZone> {
    if cursor.rest.starts_with(['+', '-']) {
        return cursor.offset();
    }
    let length = cursor
        .rest
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"/_+-:".contains(byte))
        .count();
    let (head, tail) = cursor.rest.split_at(length);
    let zone = parse_time_zone(head)?;
    cursor.rest = tail;
    Some(zone)
}

struct Moment<'a> {
    civil: DateTime,
    offset_seconds: i32,
    zone: &'a TimeZone,
}

fn write_items(items: &[Item], moment: &Moment<'_>, out: &mut String) {
    for item in items {
        match item {
            Item::Literal(text) => out.push_str(text),
            Item::Field(letter, width) => write_field(*letter, *width, moment, out),
            Item::Optional(items) => write_items(items, moment, out),
        }
    }
}

fn write_field(letter: Letter, width: usize, moment: &Moment<'_>, out: &mut String) {
    let civil = moment.civil;
    let week = civil.iso_week_date();
    let hour = i64::from(civil.hour());
    let number = match letter {
        Letter::Year if width == 2 => i64::from(civil.year()).rem_euclid(100),
        Letter::Year => i64::from(civil.year()),
        Letter::WeekYear => i64::from(week.year()),
        Letter::Month if width >= 3 => {
            return push_name(MONTHS[civil.month() as usize - 1], width, out);
        }
        Letter::Month => i64::from(civil.month()),
        Letter::Quarter => (i64::from(civil.month()) - 1) / 3 + 1,
        Letter::Day => i64::from(civil.day()),
        Letter::DayOfYear => i64::from(civil.day_of_year()),
        Letter::Week => i64::from(week.week()),
        Letter::WeekdayName => {
            let weekday = civil.weekday().to_monday_zero_offset();
            return push_name(WEEKDAYS[weekday as usize], width, out);
        }
        Letter::WeekdayNumber => i64::from(civil.weekday().to_monday_one_offset()),
        Letter::HalfDay => return out.push_str(if hour < 12 { "AM" } else { "PM" }),
        Letter::Hour => hour,
        Letter::HourFromOne => (hour + 23) % 24 + 1,
        Letter::HalfDayHour => (hour + 11) % 12 + 1,
        Letter::HalfDayHourFromZero => hour % 12,
        Letter::Minute => i64::from(civil.minute()),
        Letter::Second => i64::from(civil.second()),
        Letter::Fraction => {
            let digits = format!("{:09}", civil.subsec_nanosecond());
            return out.push_str(&digits[..width.min(9)]);
        }
        Letter::NanoOfSecond => i64::from(civil.subsec_nanosecond()),
        Letter::MilliOfDay => {
            let seconds = hour * 3600 + i64::from(civil.minute()) * 60 + i64::from(civil.second());
            seconds * 1000 + i64::from(civil.subsec_nanosecond()) / 1_000_000
        }
        Letter::Era => return out.push_str("AD"),
        Letter::Offset(z_for_utc) => {
            return push_offset(moment.offset_seconds, width, z_for_utc, out);
        }
        Letter::OffsetPlain => {
            return out.push_str(&offset_text(moment.offset_seconds, false, false));
        }
        Letter::ZoneName => return out.push_str(&zone_name(moment)),
    };
    out.push_str(&format!("{number:0width$}"));
}

fn push_name(name: &str, width: usize, out: &mut String) {
    let letters = if width <= 3 { 3 } else { name.len() };
    out.push_str(&name[..letters]);
}

/// One letter: hours, minutes only where there are some; two and four: no colon; three and five: colon.
fn push_offset(seconds: i32, width: usize, z_for_utc: bool, out: &mut String) {
    let with_colon = matches!(width, 3 | 5);
    let text = offset_text(seconds, with_colon, z_for_utc);
    let is_whole_hours = width == 1 && text.ends_with("00");
    let length = if is_whole_hours { 3 } else { text.len() };
    out.push_str(&text[..length]);
}

fn zone_name(moment: &Moment<'_>) -> String {
    match moment.zone.iana_name() {
        Some(name) => name.to_owned(),
        None => offset_text(moment.offset_seconds, true, true),
    }
}
