//! Own traces and logs to an OTLP endpoint, Daybook's own included.
//!
//! Exporting to oneself must not feed itself: every export carries [`SELF_HEADER`], and what the server does for
//! such a request is [`suppressed`], so it makes no spans and logs that would be exported in turn. Two Daybooks that
//! export to each other are quiet for the same reason. Lines on stderr are not affected.

use std::collections::HashMap;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use bytes::Bytes;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;
use crate::settings::{OtlpExport, OtlpProtocol};

/// Marks a request as an export of a Daybook's own telemetry.
pub const SELF_HEADER: &str = "x-daybook-self";

/// One export may take this long; the next one waits meanwhile and newer events queue up, at most 2048 of them
/// (the SDK's bound), before they are dropped.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Crates whose spans and events are ours. Those of the HTTP client and its like would tell of the export itself.
const OWN_CRATES: [&str; 6] = [
    "daybook",
    "event",
    "collector",
    "journal",
    "indexer",
    "query",
];

/// The running exporters.
pub struct Export {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// Runs `future` so that nothing it does on its own task is exported.
pub fn suppressed<F: Future>(future: F) -> impl Future<Output = F::Output> {
    future.with_context(Context::current().with_telemetry_suppressed())
}

impl Export {
    /// Starts a thread of its own per signal.
    ///
    /// # Errors
    /// The endpoint or a header is refused.
    pub fn start(settings: &OtlpExport) -> Result<Export, TelemetryError> {
        let refused = |problem: String| TelemetryError::Export {
            endpoint: settings.endpoint.clone(),
            problem,
        };
        let resource = Resource::builder()
            .with_service_name("daybook")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let mut export = Export {
            traces: None,
            logs: None,
        };
        if settings.traces {
            let exporter = span_exporter(settings).map_err(refused)?;
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource.clone());
            export.traces = Some(provider.build());
        }
        if settings.logs {
            let exporter = log_exporter(settings).map_err(refused)?;
            let provider = SdkLoggerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource);
            export.logs = Some(provider.build());
        }
        Ok(export)
    }

    /// The layers that feed the exporters: spans and events of our own at `info` and above.
    pub fn layers<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let traces = self.traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("daybook"))
                .with_location(false)
                .with_threads(false)
        });
        let logs = self.logs.as_ref().map(OpenTelemetryTracingBridge::new);
        let is_exported = dynamic_filter_fn(|metadata, _| {
            let target = metadata.target();
            let own_crate = target.split("::").next().unwrap_or(target);
            *metadata.level() <= Level::INFO
                && OWN_CRATES.contains(&own_crate)
                && !Context::is_current_telemetry_suppressed()
        });
        Layer::and_then(traces, logs)
            .with_filter(is_exported)
            .boxed()
    }

    /// Sends what is waiting. Blocks, but not longer than `time` per signal.
    pub fn stop(self, time: Duration) {
        // A failure here is not logged: nobody would export it, and the endpoint may be ourselves, stopped already.
        if let Some(traces) = self.traces {
            let _ = traces.shutdown_with_timeout(time);
        }
        if let Some(logs) = self.logs {
            let _ = logs.shutdown_with_timeout(time);
        }
    }
}

fn span_exporter(settings: &OtlpExport) -> Result<SpanExporter, String> {
    let exporter = match settings.protocol {
        OtlpProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", settings.endpoint))
            .with_timeout(EXPORT_TIMEOUT)
            .with_headers(headers(settings))
            .with_http_client(ClientOnRuntime::new())
            .build(),
        OtlpProtocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(settings.endpoint.clone())
            .with_timeout(EXPORT_TIMEOUT)
            .with_metadata(metadata(settings)?)
            .build(),
    };
    exporter.map_err(|error| error.to_string())
}

fn log_exporter(settings: &OtlpExport) -> Result<LogExporter, String> {
    let exporter = match settings.protocol {
        OtlpProtocol::Http => LogExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/logs", settings.endpoint))
            .with_timeout(EXPORT_TIMEOUT)
            .with_headers(headers(settings))
            .with_http_client(ClientOnRuntime::new())
            .build(),
        OtlpProtocol::Grpc => LogExporter::builder()
            .with_tonic()
            .with_endpoint(settings.endpoint.clone())
            .with_timeout(EXPORT_TIMEOUT)
            .with_metadata(metadata(settings)?)
            .build(),
    };
    exporter.map_err(|error| error.to_string())
}

fn headers(settings: &OtlpExport) -> HashMap<String, String> {
    let mut headers: HashMap<String, String> = settings
        .headers
        .iter()
        .map(|(name, secret)| (name.clone(), secret.expose().to_owned()))
        .collect();
    headers.insert(SELF_HEADER.to_owned(), "1".to_owned());
    headers
}

fn metadata(settings: &OtlpExport) -> Result<MetadataMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers(settings) {
        let key = HeaderName::from_str(&name).map_err(|_| format!("{name:?} is no header name"))?;
        let value = HeaderValue::from_str(&value).map_err(|_| {
            format!("the value of header {name} holds characters no header may have")
        })?;
        map.insert(key, value);
    }
    Ok(MetadataMap::from_headers(map))
}

/// The exporters' threads have no runtime of their own; their requests are carried by ours.
#[derive(Debug)]
struct ClientOnRuntime {
    runtime: Handle,
    client: reqwest::Client,
}

impl ClientOnRuntime {
    fn new() -> ClientOnRuntime {
        ClientOnRuntime {
            runtime: Handle::current(),
            client: reqwest::Client::new(),
        }
    }
}

#[async_trait]
impl HttpClient for ClientOnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(suppressed(async move {
            tokio::time::timeout(EXPORT_TIMEOUT, client.send_bytes(request)).await
        }));
        sent.await??
    }
}
