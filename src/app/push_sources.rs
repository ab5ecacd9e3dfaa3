//! The sources that senders push to over HTTP, and what the settings say of them.
//!
//! They are there without an entry in the settings, under the name of their type.

use std::sync::Arc;

use axum::Router;
use collector::pipeline::Pipeline;
use collector::source::gathered::no_steps;
use collector::source::otlp::{self, Otlp};
use collector::source::{PushContext, elastic_bulk, http, loki_push, splunk_hec};
use event::{IndexName, Refresh};

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
        let parts = Parts::of(kind, settings, pipelines);
        let name = Arc::clone(&parts.name);
        match build(parts, context.clone()) {
            Ok(routes) => router = router.merge(routes),
            Err(problem) => tracing::error!(
                source = &*name,
                problem,
                "the source is not started; correct the settings and restart"
            ),
        }
    }
    router
}

/// Elasticsearch's writes.
///
/// # Errors
/// Its pipeline cannot work.
pub fn bulk_routes(
    settings: &Settings,
    pipelines: &Pipelines,
    context: PushContext,
    refresh: Arc<dyn Refresh>,
) -> anyhow::Result<Router> {
    let parts = Parts::of("elastic_bulk", settings, pipelines);
    let library = pipelines.clone();
    let own = parts.pipelines.named(parts.pipeline());
    let pipelines = elastic_bulk::Pipelines {
        own: own.map_err(anyhow::Error::msg)?,
        named: Arc::new(move |name| library.named(Some(name)).ok().flatten()),
    };
    let settings = elastic_bulk::Settings {
        source_name: parts.name,
        event_bytes_max: parts.event_bytes_max,
    };
    Ok(elastic_bulk::routes(settings, pipelines, context, refresh))
}

/// OTLP over both transports.
///
/// # Errors
/// Its pipeline cannot work.
pub fn otlp(
    settings: &Settings,
    pipelines: &Pipelines,
    context: PushContext,
) -> anyhow::Result<Arc<Otlp>> {
    let parts = Parts::of("otlp", settings, pipelines);
    let index = match parts.source {
        Some(Source::Otlp(entry)) => entry.index.as_deref(),
        _ => None,
    };
    let pipeline = parts.pipelines.named(parts.pipeline());
    let settings = otlp::Settings {
        index: index_of(index).map_err(anyhow::Error::msg)?,
        source_name: Arc::clone(&parts.name),
        event_bytes_max: parts.event_bytes_max,
    };
    Ok(Otlp::new(
        settings,
        pipeline.map_err(anyhow::Error::msg)?,
        context,
    ))
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

impl<'a> Parts<'a> {
    /// Of the one entry of this type, or of none.
    fn of(kind: &str, settings: &'a Settings, pipelines: &'a Pipelines) -> Parts<'a> {
        let entry = settings
            .sources
            .iter()
            .find(|(_, source)| source.kind() == kind);
        Parts {
            name: Arc::from(entry.map_or(kind, |(name, _)| name.as_str())),
            source: entry.map(|(_, source)| source),
            event_bytes_max: usize::try_from(settings.limits.event.0).unwrap_or(usize::MAX),
            pipelines,
        }
    }

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
