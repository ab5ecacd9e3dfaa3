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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arc_swap::ArcSwap;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::{any, get};
    use http_body_util::{BodyExt, Full};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::server::{Admission, Listener, Server};
    use crate::settings::Service;
    use crate::telemetry::Metrics;

    /// What an OTLP endpoint answers on success, for both transports: gRPC wants an empty message and a status behind it.
    fn success(request: &Request<Body>) -> Response<Body> {
        let is_grpc = request.uri().path().ends_with("/Export");
        if !is_grpc {
            return Response::new(Body::empty());
        }
        let trailers = HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let message = Full::new(Bytes::from_static(&[0; 5]));
        let body = message.with_trailers(async { Some(Ok(trailers)) });
        let mut response = Response::new(Body::new(body));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }

    /// A Daybook in small: its server, its spans, a receiver that logs what it does, and an exporter that sends to it.
    async fn check_that_exporting_to_oneself_converges(protocol: OtlpProtocol) {
        let exports = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&exports);
        let receive = move |request: Request<Body>| async move {
            counted.fetch_add(1, Ordering::Relaxed);
            tracing::info!("took an export");
            success(&request)
        };
        let router = Router::new()
            .route(
                "/",
                get(|| async { tracing::info!("took a stranger's request") }),
            )
            .fallback(any(receive));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(Service::Http, address).unwrap();
        let url = format!("http://{}", listener.address());
        let listeners = vec![(listener, Arc::new(ArcSwap::from_pointee(router)))];
        let metrics = Metrics::new(Arc::default()).unwrap();
        let _server = Server::start(listeners, Admission::new(100, 100), &metrics);
        let export = Export::start(&OtlpExport {
            endpoint: url.clone(),
            protocol,
            headers: BTreeMap::new(),
            traces: true,
            logs: true,
        })
        .unwrap();
        // The test's runtime has one thread, so this covers the server's tasks too.
        let subscriber = tracing_subscriber::registry().with(export.layers());
        let _guard = tracing::subscriber::set_default(subscriber);
        let flush = || {
            let (traces, logs) = (export.traces.clone().unwrap(), export.logs.clone().unwrap());
            tokio::task::spawn_blocking(move || {
                traces.force_flush().unwrap();
                logs.force_flush().unwrap();
            })
        };

        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200);
        flush().await.unwrap();
        let of_the_stranger = exports.load(Ordering::Relaxed);
        assert_eq!(of_the_stranger, 2, "its span and its log were exported");
        for _ in 0..5 {
            flush().await.unwrap();
        }
        assert_eq!(
            exports.load(Ordering::Relaxed),
            of_the_stranger,
            "the exports themselves made none"
        );

        reqwest::get(&url).await.unwrap();
        flush().await.unwrap();
        assert_eq!(
            exports.load(Ordering::Relaxed),
            4,
            "strangers are still told of"
        );
        tokio::task::spawn_blocking(move || export.stop(Duration::from_secs(1)))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn exporting_to_oneself_converges_over_http() {
        check_that_exporting_to_oneself_converges(OtlpProtocol::Http).await;
    }

    #[tokio::test]
    async fn exporting_to_oneself_converges_over_grpc() {
        check_that_exporting_to_oneself_converges(OtlpProtocol::Grpc).await;
    }
}
