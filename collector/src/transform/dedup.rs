//! Drops events that repeat an earlier one: `dedup: { fields: [message, host.name], window_seconds: 60 }`.
//!
//! The first one is kept; the others are counted as `duplicate`. Time is when events arrive.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{Transform, TransformError, Verdict, check_field, message_field};

/// `dedup: { fields: [message] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Events alike in all of these are the same.
    #[serde(default = "message_only")]
    pub fields: Vec<String>,
    /// How long after the first one a repetition is dropped.
    #[serde(default = "minute")]
    pub window_seconds: u64,
    /// So many different events are remembered, some 60 bytes each; beyond, the oldest are forgotten.
    #[serde(default = "entries_max")]
    pub entries_max: usize,
}

/// The step, ready to run.
pub struct Dedup {
    settings: Settings,
    window: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When an event first came, by 128 bits of what it says: two that differ are the same once in 10^38 pairs.
    first: HashMap<u128, Timestamp>,
    /// The same in the order of their coming.
    order: VecDeque<u128>,
}

impl Dedup {
    /// Checks the numbers and names.
    ///
    /// # Errors
    /// One is 0 or empty.
    pub fn compile(settings: &Settings) -> Result<Dedup, String> {
        if settings.window_seconds == 0 || settings.entries_max == 0 {
            return Err("window_seconds and entries_max must be at least 1".to_owned());
        }
        if settings.fields.is_empty() {
            return Err("fields is empty; write for instance fields: [message]".to_owned());
        }
        for field in &settings.fields {
            check_field(field)?;
        }
        Ok(Dedup {
            settings: settings.clone(),
            window: Duration::from_secs(settings.window_seconds),
            seen: Mutex::default(),
        })
    }

    fn key(&self, document: &Document) -> u128 {
        let mut hasher = Xxh3::new();
        for field in &self.settings.fields {
            // The byte that no JSON text has keeps `a|bc` from `ab|c`.
            hasher.update(document.get(field).unwrap_or("").as_bytes());
            hasher.update(&[0xff]);
        }
        hasher.digest128()
    }
}

impl Transform for Dedup {
    fn apply(
        &self,
        document: &mut Document,
        arrived: Timestamp,
    ) -> Result<Verdict, TransformError> {
        let key = self.key(document);
        let mut seen = self.seen.lock().expect("no holder of this lock panics");
        while let Some(oldest) = seen.order.front().copied() {
            let is_over = seen
                .first
                .get(&oldest)
                .is_none_or(|first| first.plus(self.window) <= arrived);
            if !is_over && seen.order.len() < self.settings.entries_max {
                break;
            }
            // A repetition must not make room for itself by forgetting what it repeats.
            if !is_over && seen.first.contains_key(&key) {
                break;
            }
            seen.order.pop_front();
            seen.first.remove(&oldest);
        }
        if seen.first.contains_key(&key) {
            return Ok(Verdict::Drop {
                reason: "duplicate",
            });
        }
        seen.first.insert(key, arrived);
        seen.order.push_back(key);
        Ok(Verdict::Keep)
    }
}

fn message_only() -> Vec<String> {
    vec![message_field()]
}

fn minute() -> u64 {
    60
}

fn entries_max() -> usize {
    10_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tried::{apply, arrived, step};

    #[test]
    fn a_repetition_within_the_window_is_dropped_and_memory_is_bounded() {
        let step =
            step(r#"{"dedup":{"fields":["m","h"],"window_seconds":10,"entries_max":2}}"#).unwrap();
        let passes = |message: &str, seconds: u64| {
            let document = format!("{{\"m\":\"{message}\",\"h\":1}}");
            apply(
                &*step,
                &document,
                arrived().plus(Duration::from_secs(seconds)),
            )
            .is_ok()
        };
        assert_eq!(
            [passes("a", 0), passes("a", 1), passes("b", 2)],
            [true, false, true]
        );
        assert_eq!([passes("a", 3), passes("b", 3)], [false, false]);
        // A third one makes the oldest forgotten.
        assert_eq!([passes("c", 4), passes("a", 5)], [true, true]);
        assert_eq!([passes("a", 14), passes("a", 15)], [false, true]);
    }

    #[test]
    fn settings_are_checked() {
        for wrong in [
            r#"{"window_seconds":0}"#,
            r#"{"fields":[]}"#,
            r#"{"entries_max":0}"#,
        ] {
            assert!(step(&format!("{{\"dedup\":{wrong}}}")).is_err(), "{wrong}");
        }
    }
}
