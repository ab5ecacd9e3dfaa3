//! Lets so many events of a kind pass in a time: `throttle: { key: host.name, limit: 1000, period_seconds: 60 }`.
//!
//! The others are dropped and counted as `throttled`. Time is when events arrive, so that an old file read at once
//! is throttled, too.

use std::collections::HashMap;
use std::sync::Mutex;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Transform, TransformError, Verdict, check_field};

/// `throttle: { limit: 1000 }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Each value of this field is a kind; without it all events are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// So many events of a kind pass in each period.
    pub limit: u64,
    /// The period.
    #[serde(default = "minute")]
    pub period_seconds: u64,
    /// So many kinds are told apart in one period; all further ones are one kind.
    #[serde(default = "keys_max")]
    pub keys_max: usize,
}

/// The step, ready to run.
pub struct Throttle {
    settings: Settings,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// The number of the period since 1970.
    period: i64,
    /// Events of each kind in the period, by the hash of its value.
    by_key: HashMap<u64, u64>,
    /// Events of all kinds beyond those.
    others: u64,
}

impl Throttle {
    /// Checks the numbers.
    ///
    /// # Errors
    /// One of them is 0, or the key is empty.
    pub fn compile(settings: &Settings) -> Result<Throttle, String> {
        if settings.limit == 0 || settings.period_seconds == 0 || settings.keys_max == 0 {
            return Err("limit, period_seconds and keys_max must be at least 1".to_owned());
        }
        if let Some(key) = &settings.key {
            check_field(key)?;
        }
        Ok(Throttle {
            settings: settings.clone(),
            counts: Mutex::default(),
        })
    }
}

impl Transform for Throttle {
    fn apply(
        &self,
        document: &mut Document,
        arrived: Timestamp,
    ) -> Result<Verdict, TransformError> {
        let value = self
            .settings
            .key
            .as_deref()
            .and_then(|key| document.get(key));
        let key = value.map_or(0, |value| xxh3_64(value.as_bytes()));
        let seconds = i64::try_from(self.settings.period_seconds).unwrap_or(i64::MAX);
        let period = arrived.nanos().div_euclid(1_000_000_000) / seconds;

        let mut counts = self.counts.lock().expect("no holder of this lock panics");
        // Batches that are worked on at once may arrive in either order around the turn; an older one counts here.
        if period > counts.period {
            counts.period = period;
            counts.by_key.clear();
            counts.others = 0;
        }
        let has_room =
            counts.by_key.len() < self.settings.keys_max || counts.by_key.contains_key(&key);
        let count = match has_room {
            true => counts.by_key.entry(key).or_default(),
            false => &mut counts.others,
        };
        *count += 1;
        match *count > self.settings.limit {
            true => Ok(Verdict::Drop {
                reason: "throttled",
            }),
            false => Ok(Verdict::Keep),
        }
    }
}

fn minute() -> u64 {
    60
}

fn keys_max() -> usize {
    10_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tried::{apply, arrived, step};

    #[test]
    fn so_many_of_each_kind_pass_in_each_period() {
        let step =
            step(r#"{"throttle":{"key":"host","limit":2,"period_seconds":10,"keys_max":2}}"#)
                .unwrap();
        let passes = |host: &str, seconds: u64| {
            let document = format!("{{\"host\":\"{host}\"}}");
            apply(
                &*step,
                &document,
                arrived().plus(Duration::from_secs(seconds)),
            )
            .is_ok()
        };
        assert_eq!(
            [passes("a", 0), passes("a", 1), passes("a", 2)],
            [true, true, false]
        );
        assert_eq!([passes("b", 3), passes("b", 3)], [true, true]);
        // Further hosts share one allowance: the table does not grow.
        assert_eq!(
            [passes("c", 4), passes("d", 4), passes("e", 4)],
            [true, true, false]
        );
        assert_eq!([passes("a", 10), passes("e", 10)], [true, true]);
    }

    #[test]
    fn numbers_are_checked() {
        for wrong in [
            r#"{"limit":0}"#,
            r#"{"limit":1,"period_seconds":0}"#,
            r#"{"limit":1,"key":""}"#,
        ] {
            assert!(
                step(&format!("{{\"throttle\":{wrong}}}")).is_err(),
                "{wrong}"
            );
        }
    }
}
