//! Our own logs and traces: the section `telemetry`.

use std::collections::BTreeMap;

use collector::secret::Secret;
use tracing_subscriber::EnvFilter;

use super::findings::Findings;
use super::node::Value;
use super::section::Section;

/// What Daybook tells about itself, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetrySettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives as `info,journal=debug`. Reloadable.
    pub log_level: String,
    /// How lines on stderr look.
    pub log_format: LogFormat,
    /// Where own traces and logs are sent besides.
    pub otlp: Option<OtlpExport>,
}

/// How own log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where own traces and logs are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpExport {
    /// `http://127.0.0.1:4318` (the paths `/v1/traces` and `/v1/logs` are added) or `http://127.0.0.1:4317` for gRPC.
    pub endpoint: String,
    /// Which of the two.
    pub protocol: OtlpProtocol,
    /// Sent with every request.
    pub headers: BTreeMap<String, Secret>,
    /// Whether traces are sent.
    pub traces: bool,
    /// Whether logs are sent.
    pub logs: bool,
}

/// The two ways OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Protobuf over HTTP.
    Http,
    /// gRPC.
    Grpc,
}

impl Default for TelemetrySettings {
    fn default() -> TelemetrySettings {
        TelemetrySettings {
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            otlp: None,
        }
    }
}

impl LogFormat {
    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

impl OtlpProtocol {
    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            OtlpProtocol::Http => "http",
            OtlpProtocol::Grpc => "grpc",
        }
    }
}

/// Reads the section over what `telemetry` holds already.
pub fn read(mut section: Section<'_>, telemetry: &mut TelemetrySettings, findings: &Findings) {
    section.scalar("log_level", &mut telemetry.log_level, |text| {
        match EnvFilter::builder().parse(text) {
            Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
            _ => Err(format!(
                "{text:?} is no level; write error, warn, info, debug or trace, or for instance info,journal=debug"
            )),
        }
    });
    section.scalar("log_format", &mut telemetry.log_format, |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("{other:?} is no format; write text or json")),
    });
    if let Some(node) = section.node("otlp") {
        let key = section.path_of("otlp");
        let is_off = matches!(&node.value, Value::Text(text) if text == "off");
        telemetry.otlp = match is_off {
            true => None,
            false => Section::of(node, &key, findings).and_then(|otlp| read_otlp(otlp, findings)),
        };
    }
    section.finish();
}

fn read_otlp(mut section: Section<'_>, findings: &Findings) -> Option<OtlpExport> {
    let mut otlp = OtlpExport {
        endpoint: String::new(),
        protocol: OtlpProtocol::Http,
        headers: BTreeMap::new(),
        traces: true,
        logs: true,
    };
    section.scalar("endpoint", &mut otlp.endpoint, endpoint);
    section.scalar("protocol", &mut otlp.protocol, |text| match text {
        "http" => Ok(OtlpProtocol::Http),
        "grpc" => Ok(OtlpProtocol::Grpc),
        other => Err(format!("{other:?} is no protocol; write http or grpc")),
    });
    section.scalar("traces", &mut otlp.traces, truth);
    section.scalar("logs", &mut otlp.logs, truth);
    if let Some(headers) = section.section("headers") {
        for (name, node) in headers.entries() {
            match Secret::parse(&node.scalar_text().unwrap_or_default()) {
                Ok(secret) => {
                    otlp.headers.insert(name.name.clone(), secret);
                }
                Err(problem) => {
                    findings.mistake(Some(node.place), &headers.path_of(&name.name), problem);
                }
            }
        }
    }
    if section.node("endpoint").is_none() {
        let problem =
            "the key endpoint is missing; write for instance endpoint: http://127.0.0.1:4318";
        findings.mistake(None, &section.path_of("endpoint"), problem);
    }
    section.finish();
    Some(otlp)
}

fn endpoint(text: &str) -> Result<String, String> {
    let is_url =
        reqwest::Url::parse(text).is_ok_and(|url| url.scheme() == "http" && url.has_host());
    match is_url {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err(format!(
            "{text:?} is no http:// address; write for instance http://127.0.0.1:4318 (https is not built yet)"
        )),
    }
}

fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}
