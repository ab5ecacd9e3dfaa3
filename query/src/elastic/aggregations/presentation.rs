//! What the reply of each aggregation looks like, beside the engine's request and in the same shape.

use event::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::elastic::error::ElasticError;
use crate::elastic::language::date_format::{DateFormat, format_timestamp};
use crate::logs::aggregate::{Kind, Moment};

use super::number::double_text;

/// What the engine computes and how it is shown.
pub(super) type KindAndStyle = (Kind, Style);

/// How the result of one aggregation is written.
#[derive(Debug, Clone)]
pub(super) struct Presentation {
    /// Echoed as it came.
    pub meta: Option<Value>,
    /// How values are written as text; `None`: times in the default format, numbers not at all.
    pub format: Option<ValueFormat>,
    /// The zone that times are written in.
    pub zone: TimeZone,
    pub style: Style,
    pub children: Vec<Presentation>,
}

/// The shape of a result.
#[derive(Debug, Clone)]
pub(super) enum Style {
    DateHistogram {
        keyed: bool,
    },
    Histogram {
        keyed: bool,
    },
    Terms {
        shows_error: bool,
    },
    Filters {
        keyed: bool,
    },
    Single(&'static str),
    Ranges(RangeStyle),
    Composite {
        sources: Vec<CompositeSource>,
    },
    GeoGrid(&'static str),
    Value(Moment),
    Count(&'static str),
    Rate,
    Stats,
    ExtendedStats {
        sigma: f64,
    },
    Percentiles(PercentilesStyle),
    PercentileRanks(PercentilesStyle),
    TopMetrics {
        fields: Vec<String>,
    },
    TopHits {
        from: usize,
        options: Value,
    },
    GeoBounds,
    GeoCentroid,
    PipelineNumber,
    Derivative,
    Extreme,
    StatsBucket,
    ExtendedStatsBucket {
        sigma: f64,
    },
    PercentilesBucket {
        keyed: bool,
    },
    /// Changes buckets and has no result of its own.
    Invisible,
}

/// How ranges are written.
#[derive(Debug, Clone)]
pub(super) struct RangeStyle {
    pub keyed: bool,
    pub is_date: bool,
    /// The label of each range.
    pub labels: Vec<String>,
    /// From and to of each range.
    pub borders: Vec<(Option<f64>, Option<f64>)>,
}

/// How percentiles or ranks are written.
#[derive(Debug, Clone)]
pub(super) struct PercentilesStyle {
    pub keyed: bool,
    /// The percents, or the values whose ranks are asked for.
    pub at: Vec<f64>,
    pub is_hdr: bool,
}

/// How one part of a composite's key is written.
#[derive(Debug, Clone)]
pub(super) struct CompositeSource {
    pub name: String,
    pub format: Option<DateFormat>,
    pub zone: TimeZone,
    /// Histograms have doubles as keys.
    pub is_histogram: bool,
}

impl Style {
    pub fn takes_children(&self) -> bool {
        matches!(
            self,
            Style::DateHistogram { .. }
                | Style::Histogram { .. }
                | Style::Terms { .. }
                | Style::Filters { .. }
                | Style::Single(_)
                | Style::Ranges(_)
                | Style::Composite { .. }
                | Style::GeoGrid(_)
        )
    }
}

/// How a number is written as text.
#[derive(Debug, Clone)]
pub(super) enum ValueFormat {
    /// As a time; for numbers that are not times it means nothing.
    Date(DateFormat),
    /// As a decimal pattern of Java: `0.00`, `#,##0.0`, `0%`.
    Decimal(DecimalPattern),
}

/// The part of Java's decimal patterns that dashboards use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecimalPattern {
    prefix: String,
    suffix: String,
    fraction_min: usize,
    fraction_max: usize,
    integer_min: usize,
    is_grouped: bool,
    is_percent: bool,
}

impl ValueFormat {
    pub fn parse(format: &str) -> Result<ValueFormat, ElasticError> {
        if let Some(pattern) = DecimalPattern::parse(format) {
            return Ok(ValueFormat::Decimal(pattern));
        }
        let format = DateFormat::parse(format)
            .map_err(|error| ElasticError::illegal_argument(error.to_string()))?;
        Ok(ValueFormat::Date(format))
    }
}

impl Presentation {
    /// A time in milliseconds as text.
    pub fn time_text(&self, millis: f64) -> String {
        let default = DateFormat::default_format();
        let format = match &self.format {
            Some(ValueFormat::Date(format)) => format,
            _ => &default,
        };
        time_text(millis as i64, format, &self.zone)
    }

    /// A number as text, when it has a form of its own.
    pub fn number_text(&self, value: f64, is_time: bool) -> Option<String> {
        match &self.format {
            Some(ValueFormat::Decimal(pattern)) => Some(pattern.format(value)),
            _ if is_time => Some(self.time_text(value)),
            _ => None,
        }
    }
}

/// A time in milliseconds as text; outside the years we keep, the plain number.
pub(super) fn time_text(millis: i64, format: &DateFormat, zone: &TimeZone) -> String {
    match Timestamp::from_millis(millis) {
        Some(timestamp) => format_timestamp(timestamp, format, zone),
        None => millis.to_string(),
    }
}

impl DecimalPattern {
    /// `None` when it holds no digit place, or letters that only dates have.
    fn parse(pattern: &str) -> Option<DecimalPattern> {
        let is_place = |c: char| matches!(c, '#' | '0' | ',' | '.');
        let begin = pattern.find(is_place)?;
        let length = pattern[begin..].find(|c| !is_place(c));
        let end = length.map_or(pattern.len(), |length| begin + length);
        let (prefix, suffix) = (&pattern[..begin], &pattern[end..]);
        let places = &pattern[begin..end];
        let has_digits = places.contains(['0', '#']);
        let is_date = [prefix, suffix].iter().any(|text| {
            text.contains(|c: char| c.is_ascii_digit() || matches!(c, '/' | ':'))
                || text.contains("yy")
                || text.contains("epoch")
        });
        if !has_digits || is_date {
            return None;
        }
        let (integer, fraction) = places.split_once('.').unwrap_or((places, ""));
        let zeros = |text: &str| text.matches('0').count();
        Some(DecimalPattern {
            prefix: prefix.replace('\'', ""),
            suffix: suffix.replace('\'', ""),
            fraction_min: zeros(fraction),
            fraction_max: fraction.len(),
            integer_min: zeros(integer),
            is_grouped: integer.contains(','),
            is_percent: pattern.contains('%'),
        })
    }

    fn format(&self, value: f64) -> String {
        if !value.is_finite() {
            return double_text(value);
        }
        let value = if self.is_percent {
            value * 100.0
        } else {
            value
        };
        let digits = format!("{:.*}", self.fraction_max, value.abs());
        let (integer, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let kept = fraction.trim_end_matches('0').len().max(self.fraction_min);
        let fraction = &fraction[..kept.min(fraction.len())];
        let mut integer = integer.trim_start_matches('0').to_owned();
        while integer.len() < self.integer_min {
            integer.insert(0, '0');
        }
        if self.is_grouped {
            let mut at = integer.len();
            while at > 3 {
                at -= 3;
                integer.insert(at, ',');
            }
        }
        let is_zero = !digits.contains(|c: char| ('1'..='9').contains(&c));
        let sign = if value < 0.0 && !is_zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!(
            "{sign}{}{integer}{point}{fraction}{}",
            self.prefix, self.suffix
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_patterns_round_group_and_keep_zeros() {
        let cases = [
            ("0.00", 1234.567, "1234.57"),
            ("#,##0.0", 1_234_567.0, "1,234,567.0"),
            ("0%", 0.256, "26%"),
            ("#.##", 0.5, ".5"),
            ("0.0 'ms'", -2.25, "-2.2 ms"),
            ("000", 7.0, "007"),
        ];
        for (pattern, value, expected) in cases {
            let pattern = DecimalPattern::parse(pattern).unwrap();
            assert_eq!(pattern.format(value), expected);
        }
    }

    #[test]
    fn date_formats_are_no_decimal_patterns() {
        for format in [
            "yyyy-MM-dd",
            "epoch_millis",
            "yyyy-MM-dd'T'HH:mm:ss.SSSZZ",
            "HH:mm",
        ] {
            assert_eq!(DecimalPattern::parse(format), None, "{format}");
        }
    }
}
