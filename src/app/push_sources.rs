//! The routes of the sources that senders push to over HTTP, beside Elasticsearch's and OTLP's.
//!
//! They are there without an entry in the settings, under the name of their type.

use std::sync::Arc;

use axum::Router;
use collector::pipeline::Pipeline;
use collector::source::gathered::no_steps;
use collector::source::{PushContext, http, loki_push, splunk_hec};
use event::IndexName;

use super::pipelines::Pipelines;
use crate::settings::{Settings, Source};

/// All of them. One whose pipeline cannot work is left out, which is told: its senders are refused and wait.
pub fn routes(settings: &Settings, pipelines: &Pipelines, context: &PushContext) -> Router {
    let mut router = Router::new();
    let sources: [(&str, Build); 3] = [
        ("http", http_routes),
        ("loki_push", loki_routes),
        ("splunk_hec", splunk_routes),
    ];
    for (kind, build) in sources {
        let entry = settings
            .sources
            .iter()
            .find(|(_, source)| source.kind() == kind);
        let (name, source) = match entry {
            Some((name, source)) => (name.as_str(), Some(source)),
            None => (kind, None),
        };
        let parts = Parts {
            name: Arc::from(name),
            source,
            event_bytes_max: usize::try_from(settings.limits.event.0).unwrap_or(usize::MAX),
            pipelines,
        };
        match build(parts, context.clone()) {
            Ok(routes) => router = router.merge(routes),
            Err(problem) => tracing::error!(
                source = name,
                problem,
                "the source is not started; correct the settings and restart"
            ),
        }
    }
    router
}

type Build = fn(Parts<'_>, PushContext) -> Result<Router, String>;

/// What a source is built from.
struct Parts<'a> {
    name: Arc<str>,
    /// Its entry in the settings, when it has one.
    source: Option<&'a Source>,
    event_bytes_max: usize,
    pipelines: &'a Pipelines,
}

impl Parts<'_> {
    fn pipeline(&self) -> Option<&str> {
        self.source.and_then(Source::pipeline)
    }

    /// For events that are lines.
    fn of_lines(&self) -> Result<Arc<Pipeline>, String> {
        let pipeline = self.pipelines.of_source(self.pipeline())?;
        Ok(pipeline.unwrap_or_else(|| no_steps(&self.name)))
    }

    /// For events that are objects: without a pipeline they only get their level.
    fn of_objects(&self) -> Result<Arc<Pipeline>, String> {
        match self.pipeline() {
            None => Ok(Arc::new(Pipeline::automatic_for_objects())),
            Some(_) => self.of_fields(),
        }
    }

    /// For events that have fields already.
    fn of_fields(&self) -> Result<Arc<Pipeline>, String> {
        let pipeline = self.pipelines.named(self.pipeline())?;
        Ok(pipeline.unwrap_or_else(|| no_steps(&self.name)))
    }
}

fn http_routes(parts: Parts<'_>, context: PushContext) -> Result<Router, String> {
    let entry = match parts.source {
        Some(Source::Http(entry)) => entry.clone(),
        _ => http::EntrySettings::default(),
    };
    let settings = http::Settings {
        source_name: Arc::clone(&parts.name),
        index: index_of(entry.index.as_deref())?,
        event_bytes_max: parts.event_bytes_max,
        lines_pipeline: parts.of_lines()?,
        json_pipeline: parts.of_objects()?,
        time_field: entry.time_field,
    };
    Ok(http::routes(settings, context))
}

fn loki_routes(parts: Parts<'_>, context: PushContext) -> Result<Router, String> {
    let entry = match parts.source {
        Some(Source::LokiPush(entry)) => entry.clone(),
        _ => loki_push::EntrySettings::default(),
    };
    let settings = loki_push::Settings {
        source_name: Arc::clone(&parts.name),
        index: index_of(entry.index.as_deref())?,
        event_bytes_max: parts.event_bytes_max,
        pipeline: parts.of_fields()?,
    };
    Ok(loki_push::routes(settings, context))
}

fn splunk_routes(parts: Parts<'_>, context: PushContext) -> Result<Router, String> {
    let entry = match parts.source {
        Some(Source::SplunkHec(entry)) => entry.clone(),
        _ => splunk_hec::EntrySettings::default(),
    };
    let settings = splunk_hec::Settings {
        source_name: Arc::clone(&parts.name),
        index: index_of(entry.index.as_deref())?,
        event_bytes_max: parts.event_bytes_max,
        lines_pipeline: parts.of_lines()?,
        objects_pipeline: parts.of_objects()?,
        tokens: entry.tokens,
    };
    Ok(splunk_hec::routes(settings, context))
}

fn index_of(name: Option<&str>) -> Result<IndexName, String> {
    match name {
        None => Ok(IndexName::default_index()),
        Some(name) => IndexName::parse(name).map_err(|error| error.to_string()),
    }
}
