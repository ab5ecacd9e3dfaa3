//! Drops events: `drop: {}` with a `when` beside it. The ledger counts them as `dropped_by_pipeline`.

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict};

/// `drop: {}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

/// The step, ready to run.
pub struct Drop;

impl Drop {
    /// Nothing can be wrong.
    pub fn compile(_: &Settings) -> Drop {
        Drop
    }
}

impl Transform for Drop {
    fn apply(&self, _: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        Ok(Verdict::Drop {
            reason: "dropped_by_pipeline",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::run;

    #[test]
    fn everything_is_dropped() {
        assert_eq!(
            run(r#"{"drop":{}}"#, "{}").unwrap_err(),
            "dropped: dropped_by_pipeline"
        );
    }
}
