//! Joins lines that belong to one event: stack traces, dumps, continued statements.
//!
//! It only answers whether a line belongs together with its neighbour; the file source, which must know where the
//! event ends in the file, does the joining.

use std::time::Duration;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

/// Longer events are cut between two lines; Filebeat's figure.
const LINES_MAX: usize = 500;
/// An event nothing is added to for this long is complete; Filebeat's figure.
const FLUSH_AFTER_SECONDS: u64 = 5;

/// `multiline: { start: '^\d{4}-' }`, or Filebeat's `pattern`, `negate` and `match`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A line that fits begins an event; all others continue it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// A line that fits belongs to its neighbour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether it is the lines that do not fit `pattern` that belong to their neighbour.
    #[serde(default)]
    pub negate: bool,
    /// Which neighbour.
    #[serde(default, rename = "match")]
    pub side: Side,
    /// The most lines of one event; further ones begin a new event.
    #[serde(default = "lines_max")]
    pub lines_max: usize,
    /// An event nothing is added to for this many seconds is complete.
    #[serde(default = "flush_after_seconds")]
    pub flush_after_seconds: u64,
}

/// Which neighbour a line belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// It stands after the line it belongs to.
    #[default]
    After,
    /// It stands before the line it belongs to.
    Before,
}

/// The rule, ready to use.
#[derive(Debug, Clone)]
pub struct Multiline {
    pattern: Regex,
    negate: bool,
    /// Which neighbour a joining line belongs to.
    pub side: Side,
    /// The most lines of one event.
    pub lines_max: usize,
    /// How long an event waits for more lines.
    pub flush_after: Duration,
}

impl Multiline {
    /// Compiles the pattern.
    ///
    /// # Errors
    /// What is wrong with the settings, as a sentence.
    pub fn compile(settings: &Settings) -> Result<Multiline, String> {
        let (pattern, negate, side) = match (&settings.start, &settings.pattern) {
            (Some(start), None) => (start, true, Side::After),
            (None, Some(pattern)) => (pattern, settings.negate, settings.side),
            _ => {
                return Err(
                    "multiline needs either start or pattern, for instance start: '^\\d{4}-'"
                        .to_owned(),
                );
            }
        };
        if settings.lines_max == 0 {
            return Err("multiline.lines_max is 0; write at least 1".to_owned());
        }
        let compiled = Regex::new(pattern)
            .map_err(|error| format!("multiline pattern {pattern:?}: {error}"))?;
        Ok(Multiline {
            pattern: compiled,
            negate,
            side,
            lines_max: settings.lines_max,
            flush_after: Duration::from_secs(settings.flush_after_seconds),
        })
    }

    /// Whether the line belongs to its neighbour: the one before it for [`Side::After`], else the one behind it.
    pub fn joins(&self, line: &[u8]) -> bool {
        self.pattern.is_match(line) != self.negate
    }
}

fn lines_max() -> usize {
    LINES_MAX
}

fn flush_after_seconds() -> u64 {
    FLUSH_AFTER_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_short_for_what_does_not_fit_belongs_to_the_line_before() {
        let settings: Settings = serde_json::from_str(r#"{"start":"^\\d"}"#).unwrap();
        let multiline = Multiline::compile(&settings).unwrap();
        assert_eq!(multiline.side, Side::After);
        assert!(!multiline.joins(b"2026 begins"));
        assert!(multiline.joins(b"  at x \xff"));
    }

    #[test]
    fn mistakes_are_named() {
        for (settings, part) in [
            ("{}", "either start or pattern"),
            (r#"{"start":"a","pattern":"b"}"#, "either start or pattern"),
            (r#"{"pattern":"("}"#, "multiline pattern \"(\""),
            (r#"{"pattern":"a","lines_max":0}"#, "lines_max"),
        ] {
            let settings: Settings = serde_json::from_str(settings).unwrap();
            let problem = Multiline::compile(&settings).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
