//! Names of indices, as Elasticsearch allows them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::Day;

const BYTES_MAX: usize = 255;

/// The name of an index without a day: lower case, no blank, none of `\ / * ? " < > | , # :`, at most 255 bytes,
/// not beginning with `-`, `_` or `+`, not `.` or `..`.
///
/// Cheap to clone. These are Elasticsearch's rules for names; they also keep names apart from wildcards and paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexName(Arc<str>);

/// A name that no index can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid index name [{name}], {problem}")]
pub struct IndexNameError {
    /// The name as it was given, at most its first 255 characters.
    pub name: String,
    /// What is wrong with it, in Elasticsearch's words.
    pub problem: &'static str,
}

/// What a sender names when it writes: an index, perhaps with a day that is only a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTarget {
    /// The index without the day.
    pub index: IndexName,
    /// The day the sender put behind the name. The event's own time decides where it is stored.
    pub day: Option<Day>,
}

impl IndexName {
    /// Checks a name.
    ///
    /// # Errors
    /// The name breaks one of the rules above.
    pub fn parse(name: &str) -> Result<IndexName, IndexNameError> {
        match problem_of(name) {
            None => Ok(IndexName(Arc::from(name))),
            Some(problem) => Err(IndexNameError {
                name: name.chars().take(BYTES_MAX).collect(),
                problem,
            }),
        }
    }

    /// The index for events nobody named one for.
    pub fn default_index() -> IndexName {
        IndexName(Arc::from("logs"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the shard of one day, as clients see it: `logs-2026.11.23`.
    pub fn shard_name(&self, day: Day) -> String {
        format!("{}-{day}", self.0)
    }
}

impl WriteTarget {
    /// Reads a name a sender writes to; `logstash-2026.11.23` is the index `logstash` and a day.
    ///
    /// # Errors
    /// The name breaks one of the rules of [`IndexName`].
    pub fn parse(name: &str) -> Result<WriteTarget, IndexNameError> {
        let index = IndexName::parse(name)?;
        let with_day = name
            .len()
            .checked_sub(11)
            .filter(|at| *at > 0 && name.is_char_boundary(*at))
            .map(|at| name.split_at(at))
            .and_then(|(head, tail)| Some((head, Day::parse(tail.strip_prefix('-')?)?)));
        match with_day {
            Some((head, day)) => Ok(WriteTarget {
                index: IndexName(Arc::from(head)),
                day: Some(day),
            }),
            None => Ok(WriteTarget { index, day: None }),
        }
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for IndexName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn problem_of(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("must not be empty");
    }
    if name.len() > BYTES_MAX {
        return Some("must not be longer than 255 bytes");
    }
    if name == "." || name == ".." {
        return Some("must not be '.' or '..'");
    }
    if name.starts_with(['-', '_', '+']) {
        return Some("must not start with '_', '-', or '+'");
    }
    if name.contains(['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',']) {
        return Some("must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?]");
    }
    if name.contains(['#', ':']) {
        return Some("must not contain '#' or ':'");
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("must not contain control characters or white space");
    }
    if name.chars().any(char::is_uppercase) {
        return Some("must be lowercase");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_behind_the_name_is_recognised_and_not_doubled() {
        let target = WriteTarget::parse("logstash-2026.11.23").unwrap();
        assert_eq!(target.index.as_str(), "logstash");
        let day = target.day.unwrap();
        assert_eq!(target.index.shard_name(day), "logstash-2026.11.23");

        let target = WriteTarget::parse("filebeat-8.15.0-2026.11.23").unwrap();
        assert_eq!(target.index.as_str(), "filebeat-8.15.0");

        for name in [
            "logs",
            "logs-2026.11",
            "logs-2026.13.01",
            "logs2026.11.23",
            "é2026.11.23",
            ".kibana_1",
        ] {
            let target = WriteTarget::parse(name).unwrap();
            assert_eq!((target.index.as_str(), target.day), (name, None));
        }
    }

    #[test]
    fn names_that_could_leave_the_data_directory_are_refused() {
        for name in [
            "", ".", "..", "../x", "a/b", "a\\b", "a\0b", "A", "a b", "a*", "_x", "-x", "+x",
            "a,b", "a#b", "a:b", "a\n",
        ] {
            assert!(IndexName::parse(name).is_err(), "{name:?}");
            assert!(WriteTarget::parse(name).is_err(), "{name:?}");
        }
        assert!(IndexName::parse(&"a".repeat(256)).is_err());
    }
}
