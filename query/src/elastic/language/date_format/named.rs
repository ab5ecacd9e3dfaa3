//! The names Elasticsearch gives to formats, with or without `strict_`, in snake case or camel case.

use super::Alternative;
use super::pattern::Pattern;

/// One alternative: a known name, else a Java pattern.
pub(super) fn alternative(text: &str) -> Result<Alternative, String> {
    let name = snake_case(text);
    let name = name.strip_prefix("strict_").unwrap_or(&name);
    match name {
        "epoch_millis" => return Ok(Alternative::EpochMillis),
        "epoch_second" => return Ok(Alternative::EpochSecond),
        // The shape a mapping declares is not known here; ISO is what it would be.
        "date_optional_time" | "iso8601" | "use_field_mapping" => {
            return Ok(Alternative::OptionalTime { nanos: false });
        }
        "date_optional_time_nanos" => return Ok(Alternative::OptionalTime { nanos: true }),
        _ => {}
    }
    let known = PATTERNS.iter().find(|(known, _)| *known == name);
    let looks_like_a_name = text.contains('_') && known.is_none();
    if looks_like_a_name {
        return Err("no such format".to_owned());
    }
    let pattern = known.map_or(text, |(_, pattern)| pattern);
    Pattern::parse(pattern).map(Alternative::Pattern)
}

/// `dateHourMinute` as `date_hour_minute`; Java patterns come out garbled, but equal to no name.
fn snake_case(text: &str) -> String {
    if text.contains('_') {
        return text.to_owned();
    }
    let mut snake = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

const PATTERNS: &[(&str, &str)] = &[
    ("basic_date", "yyyyMMdd"),
    ("basic_date_time", "yyyyMMdd'T'HHmmss.SSSXX"),
    ("basic_date_time_no_millis", "yyyyMMdd'T'HHmmssXX"),
    ("basic_ordinal_date", "yyyyDDD"),
    ("basic_ordinal_date_time", "yyyyDDD'T'HHmmss.SSSXX"),
    ("basic_ordinal_date_time_no_millis", "yyyyDDD'T'HHmmssXX"),
    ("basic_time", "HHmmss.SSSXX"),
    ("basic_time_no_millis", "HHmmssXX"),
    ("basic_t_time", "'T'HHmmss.SSSXX"),
    ("basic_t_time_no_millis", "'T'HHmmssXX"),
    ("basic_week_date", "xxxx'W'wwe"),
    ("basic_week_date_time", "xxxx'W'wwe'T'HHmmss.SSSXX"),
    ("basic_week_date_time_no_millis", "xxxx'W'wwe'T'HHmmssXX"),
    ("date", "yyyy-MM-dd"),
    ("date_hour", "yyyy-MM-dd'T'HH"),
    ("date_hour_minute", "yyyy-MM-dd'T'HH:mm"),
    ("date_hour_minute_second", "yyyy-MM-dd'T'HH:mm:ss"),
    (
        "date_hour_minute_second_fraction",
        "yyyy-MM-dd'T'HH:mm:ss.SSS",
    ),
    (
        "date_hour_minute_second_millis",
        "yyyy-MM-dd'T'HH:mm:ss.SSS",
    ),
    ("date_time", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"),
    ("date_time_no_millis", "yyyy-MM-dd'T'HH:mm:ssXXX"),
    ("hour", "HH"),
    ("hour_minute", "HH:mm"),
    ("hour_minute_second", "HH:mm:ss"),
    ("hour_minute_second_fraction", "HH:mm:ss.SSS"),
    ("hour_minute_second_millis", "HH:mm:ss.SSS"),
    ("ordinal_date", "yyyy-DDD"),
    ("ordinal_date_time", "yyyy-DDD'T'HH:mm:ss.SSSXXX"),
    ("ordinal_date_time_no_millis", "yyyy-DDD'T'HH:mm:ssXXX"),
    ("t_time", "'T'HH:mm:ss.SSSXXX"),
    ("t_time_no_millis", "'T'HH:mm:ssXXX"),
    ("time", "HH:mm:ss.SSSXXX"),
    ("time_no_millis", "HH:mm:ssXXX"),
    ("week_date", "xxxx-'W'ww-e"),
    ("week_date_time", "xxxx-'W'ww-e'T'HH:mm:ss.SSSXXX"),
    ("week_date_time_no_millis", "xxxx-'W'ww-e'T'HH:mm:ssXXX"),
    ("weekyear", "xxxx"),
    ("weekyear_week", "xxxx-'W'ww"),
    ("weekyear_week_day", "xxxx-'W'ww-e"),
    ("year", "yyyy"),
    ("year_month", "yyyy-MM"),
    ("year_month_day", "yyyy-MM-dd"),
];
