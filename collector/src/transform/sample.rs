//! Keeps one event of many: `sample: { rate: 10, field: trace.id }`. The others are counted as `sampled`.

use std::sync::atomic::{AtomicU64, Ordering};

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Transform, TransformError, Verdict};

/// Where the rate is kept, so that whoever counts can multiply.
const RATE_FIELD: &str = "sample.rate";

/// `sample: { rate: 10 }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// One of so many is kept.
    pub rate: u64,
    /// Events with the same value here are kept or dropped together, on every machine and at every time; those
    /// without it are kept. Without this setting it is every so manieth event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// The step, ready to run.
pub struct Sample {
    settings: Settings,
    seen: AtomicU64,
}

impl Sample {
    /// Checks the rate.
    ///
    /// # Errors
    /// It is 0.
    pub fn compile(settings: &Settings) -> Result<Sample, String> {
        if settings.rate == 0 {
            return Err("rate is 0; write 10 to keep one of ten".to_owned());
        }
        Ok(Sample {
            settings: settings.clone(),
            seen: AtomicU64::new(0),
        })
    }
}

impl Transform for Sample {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let number = match &self.settings.field {
            None => self.seen.fetch_add(1, Ordering::Relaxed),
            Some(field) => match document.get(field) {
                Some(value) => xxh3_64(value.as_bytes()),
                None => return Ok(Verdict::Keep),
            },
        };
        if !number.is_multiple_of(self.settings.rate) {
            return Ok(Verdict::Drop { reason: "sampled" });
        }
        document.set_value(RATE_FIELD, &self.settings.rate);
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::{apply, arrived, step};

    #[test]
    fn one_of_so_many_is_kept_and_says_so() {
        let by_count = step(r#"{"sample":{"rate":3}}"#).unwrap();
        let kept: Vec<bool> = (0..9)
            .map(|_| apply(&*by_count, "{}", arrived()).is_ok())
            .collect();
        assert_eq!(
            kept,
            [true, false, false, true, false, false, true, false, false]
        );

        let by_field = step(r#"{"sample":{"rate":4,"field":"trace.id"}}"#).unwrap();
        let is_kept = |n: u32| {
            apply(
                &*by_field,
                &format!("{{\"trace.id\":\"{n:032x}\"}}"),
                arrived(),
            )
        };
        let count = (0..4000).filter(|n| is_kept(*n).is_ok()).count();
        assert!((800..1200).contains(&count), "{count}");
        let same = (0..100).all(|n| is_kept(n).is_ok() == is_kept(n).is_ok());
        assert!(same);
        assert_eq!(apply(&*by_field, "{}", arrived()).unwrap(), "{}");
        let dropped = (0..100).find_map(|n| is_kept(n).err()).unwrap();
        assert_eq!(dropped, "dropped: sampled");
        assert!(
            (0..100)
                .find_map(|n| is_kept(n).ok())
                .unwrap()
                .contains("\"sample.rate\":4")
        );
        assert!(step(r#"{"sample":{"rate":0}}"#).is_err());
    }
}
