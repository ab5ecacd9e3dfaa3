//! Sends events to another index or into another pipeline: `route: { index: errors }` with a `when` beside it.
//!
//! With `pipeline` the event goes on there instead of in the rest of this one; with `index` alone it goes on here.

use std::sync::Arc;

use event::{Document, IndexName, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Lookup, Target, Transform, TransformError, Verdict};

/// `route: { index: errors, pipeline: tidy }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
}

/// The step, ready to run.
pub struct Route {
    target: Arc<Target>,
}

impl Route {
    /// Checks the index and finds the pipeline.
    ///
    /// # Errors
    /// Neither is given, the index cannot have that name, or the pipeline does not exist or leads back here.
    pub fn compile(settings: &Settings, pipelines: &mut Lookup<'_>) -> Result<Route, String> {
        if settings.index.is_none() && settings.pipeline.is_none() {
            return Err(
                "needs an index or a pipeline; write for instance route: { index: errors }"
                    .to_owned(),
            );
        }
        if let Some(index) = settings
            .index
            .as_deref()
            .filter(|index| index.contains("%{"))
        {
            return Err(format!(
                "index {index:?} is taken as it stands, without fields or dates in it; write a route with a when for each index (days are made by themselves)"
            ));
        }
        let index = settings.index.as_deref().map(IndexName::parse).transpose();
        let pipeline = settings.pipeline.as_deref().map(pipelines).transpose()?;
        Ok(Route {
            target: Arc::new(Target {
                index: index.map_err(|error| error.to_string())?,
                pipeline,
            }),
        })
    }
}

impl Transform for Route {
    fn apply(&self, _: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        Ok(Verdict::Route(Arc::clone(&self.target)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::step;

    #[test]
    fn targets_are_checked() {
        for (wrong, part) in [
            ("{}", "needs an index"),
            (r#"{"index":"A b"}"#, "invalid index name"),
            (r#"{"index":"shop-%{tenant}"}"#, "without fields or dates"),
            (r#"{"pipeline":"gone"}"#, "no pipeline is named gone"),
        ] {
            let problem = step(&format!("{{\"route\":{wrong}}}")).err().unwrap();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
