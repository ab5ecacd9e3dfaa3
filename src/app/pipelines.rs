//! The pipelines of the sources: each is made ready once, whoever names it, and shows its figures.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use collector::pipeline::{AUTOMATIC, Library, Pipeline};

use crate::settings::{NO_PIPELINE, Settings};
use crate::telemetry::{FigureKind, Metrics};

/// All pipelines that sources may name.
#[derive(Clone)]
pub struct Pipelines {
    // Held while a pipeline is made ready, at the start only.
    library: Arc<Mutex<Library>>,
    automatic: Arc<Pipeline>,
    shown: Arc<Mutex<BTreeSet<String>>>,
    metrics: Metrics,
}

impl Pipelines {
    /// The pipelines of the settings and the shipped ones.
    pub fn new(settings: &Settings, metrics: Metrics) -> Pipelines {
        Pipelines {
            library: Arc::new(Mutex::new(settings.library())),
            automatic: Arc::new(Pipeline::automatic()),
            shown: Arc::default(),
            metrics,
        }
    }

    /// What the events of a source of lines go through: the pipeline it names, nothing for `none`, else detection.
    ///
    /// # Errors
    /// Why there is no such pipeline.
    pub fn of_source(&self, name: Option<&str>) -> Result<Option<Arc<Pipeline>>, String> {
        match name {
            None | Some(AUTOMATIC) => Ok(Some(Arc::clone(&self.automatic))),
            Some(name) => self.named(Some(name)),
        }
    }

    /// As [`Pipelines::of_source`] for sources whose events have fields already: without a name, nothing.
    ///
    /// # Errors
    /// Why there is no such pipeline.
    pub fn named(&self, name: Option<&str>) -> Result<Option<Arc<Pipeline>>, String> {
        let name = match name {
            None | Some(NO_PIPELINE) => return Ok(None),
            Some(AUTOMATIC) => return self.of_source(None),
            Some(name) => name,
        };
        let mut library = self.library.lock().expect("no holder of this lock panics");
        let pipeline = library.pipeline(name).map_err(|error| error.to_string())?;
        for ready in library.ready() {
            self.show(ready);
        }
        Ok(Some(pipeline))
    }

    fn show(&self, pipeline: &Arc<Pipeline>) {
        let mut shown = self.shown.lock().expect("no holder of this lock panics");
        if !shown.insert(pipeline.name().to_owned()) {
            return;
        }
        let (failed, dead) = (Arc::clone(pipeline), Arc::clone(pipeline));
        let figures = [
            self.metrics.observe_pipeline_rows(
                pipeline.name(),
                "daybook_pipeline_failures_total",
                "Events a step of the pipeline could not work on, by step and reason; they were kept.",
                &["step", "reason"],
                move || {
                    let rows = failed.failures().into_iter().map(|row| {
                        let step = format!("{} {}", row.step, row.kind);
                        (vec![step, row.reason.to_owned()], row.events as f64)
                    });
                    rows.collect()
                },
            ),
            self.metrics.observe_pipeline(
                pipeline.name(),
                FigureKind::Counter,
                "daybook_pipeline_dead_letters_total",
                "Events of the pipeline that went to the index dead-letter.",
                move || dead.dead_letters() as f64,
            ),
        ];
        for error in figures.into_iter().filter_map(Result::err) {
            tracing::error!(pipeline = pipeline.name(), %error, "a figure cannot be shown");
        }
    }
}
