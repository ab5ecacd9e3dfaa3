//! What an application does with the Rust SDK of OpenTelemetry: numbered log records, then a sample and a span.
//! Started by `otlp_clients.py` as `otlp_rust TRANSPORT COMPRESSION ENDPOINT TAG COUNT`; fails when the exporter does.
//! What the SDK says about itself goes to stderr.

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, SpanId, TraceFlags, TraceId, Tracer, TracerProvider};
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

/// Records between two flushes: below the 2048 at which the SDK's queue begins to drop.
const BATCH: u64 = 1000;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How it is sent.
struct Way {
    transport: String,
    compression: Option<Compression>,
    endpoint: String,
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [transport, compression, endpoint, tag, count] = arguments.as_slice() else {
        return Err("usage: otlp_rust grpc|http|json none|gzip|zstd ENDPOINT TAG COUNT".into());
    };
    let way = Way {
        transport: transport.clone(),
        compression: match compression.as_str() {
            "none" => None,
            name => Some(name.parse()?),
        },
        endpoint: endpoint.clone(),
    };
    // The transport gRPC needs a runtime around it, the blocking client of the others must not have one.
    let runtime = tokio::runtime::Runtime::new()?;
    let entered = (way.transport == "grpc").then(|| runtime.enter());
    let resource = Resource::builder()
        .with_service_name("rust-shop")
        .with_attribute(KeyValue::new("service.instance.id", tag.clone()))
        .build();

    send_logs(&way, &resource, tag, count.parse()?)?;
    send_sample(&way, &resource)?;
    send_span(&way, &resource)?;
    drop(entered);
    Ok(())
}

fn send_logs(way: &Way, resource: &Resource, tag: &str, count: u64) -> Result<()> {
    let exporter = match way.transport.as_str() {
        "grpc" => {
            let builder = LogExporter::builder()
                .with_tonic()
                .with_endpoint(&way.endpoint);
            match way.compression {
                Some(compression) => builder.with_compression(compression).build()?,
                None => builder.build()?,
            }
        }
        _ => {
            let builder = LogExporter::builder()
                .with_http()
                .with_protocol(way.http_protocol())
                .with_endpoint(format!("{}/v1/logs", way.endpoint));
            match way.compression {
                Some(compression) => builder.with_compression(compression).build()?,
                None => builder.build()?,
            }
        }
    };
    let provider = SdkLoggerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.clone())
        .build();
    let logger = provider.logger("shop.till");
    let start = SystemTime::now() - Duration::from_secs(60);
    for number in 0..count {
        let mut record = logger.create_log_record();
        record.set_event_name("shop.paid");
        record.set_timestamp(start + Duration::from_millis(number));
        record.set_severity_number(Severity::Error);
        record.set_severity_text("ERROR");
        record.set_body(format!("no money {number}").into());
        record.add_attribute("tag", tag.to_owned());
        record.add_attribute("number", number as i64);
        record.add_attribute("price", 9.5);
        record.add_attribute("is_paid", false);
        record.add_attribute(
            "goods",
            AnyValue::ListAny(Box::new(vec!["bread".into(), "butter".into()])),
        );
        let customer = HashMap::from([(Key::new("name"), AnyValue::from("Ada"))]);
        record.add_attribute("customer", AnyValue::Map(Box::new(customer)));
        record.set_trace_context(
            TraceId::from(0x5b8e_fff7_9803_8103_d269_b633_813f_c60c),
            SpanId::from(0xeee1_9b7e_c3c1_b174),
            Some(TraceFlags::SAMPLED),
        );
        logger.emit(record);
        if number % BATCH == BATCH - 1 {
            provider.force_flush()?;
        }
    }
    Ok(provider.shutdown()?)
}

fn send_sample(way: &Way, resource: &Resource) -> Result<()> {
    let exporter = match way.transport.as_str() {
        "grpc" => MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&way.endpoint)
            .build()?,
        _ => MetricExporter::builder()
            .with_http()
            .with_protocol(way.http_protocol())
            .with_endpoint(format!("{}/v1/metrics", way.endpoint))
            .build()?,
    };
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(exporter)
        .with_resource(resource.clone())
        .build();
    provider
        .meter("shop.till")
        .u64_counter("payments")
        .build()
        .add(1, &[]);
    Ok(provider.shutdown()?)
}

fn send_span(way: &Way, resource: &Resource) -> Result<()> {
    let exporter = match way.transport.as_str() {
        "grpc" => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&way.endpoint)
            .build()?,
        _ => SpanExporter::builder()
            .with_http()
            .with_protocol(way.http_protocol())
            .with_endpoint(format!("{}/v1/traces", way.endpoint))
            .build()?,
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.clone())
        .build();
    provider.tracer("shop.till").start("pay").end();
    Ok(provider.shutdown()?)
}

impl Way {
    fn http_protocol(&self) -> Protocol {
        match self.transport.as_str() {
            "json" => Protocol::HttpJson,
            _ => Protocol::HttpBinary,
        }
    }
}
