//! The settings in force as YAML, secrets as `***`.

use serde_json::{Map, Value, json};

use super::{Settings, write_period, yaml};

/// Writes every setting, defaults included. Without secrets in them, reading it back gives the same settings.
pub fn to_yaml(settings: &Settings) -> String {
    let limits = &settings.limits;
    let value = json!({
        "data_dir": settings.data_dir.display().to_string(),
        "listen": listen(settings),
        "limits": {
            "memory": limits.memory.to_string(),
            "disk": limits.disk.to_string(),
            "event": limits.event.to_string(),
            "request": limits.request.to_string(),
            "query_time": write_period(limits.query_time),
            "query_decoded": limits.query_decoded.to_string(),
        },
        "journal": { "fsync": "always", "max_size": settings.journal.max_size.to_string() },
        "sources": sources(settings),
        "pipelines": pipelines(settings),
        "indices": indices(settings),
        "telemetry": telemetry(settings),
    });
    yaml::write(&value)
}

fn listen(settings: &Settings) -> Value {
    let services = super::Service::ALL.iter().map(|service| {
        let value = match settings.listen.get(service).map(Vec::as_slice) {
            None | Some([]) => json!("off"),
            Some([address]) => json!(address.to_string()),
            Some(addresses) => addresses.iter().map(ToString::to_string).collect(),
        };
        (service.name().to_owned(), value)
    });
    Value::Object(services.collect())
}

fn sources(settings: &Settings) -> Value {
    let sources = settings.sources.iter().map(|(name, source)| {
        let mut entry = Map::from_iter([("type".to_owned(), json!(source.kind()))]);
        if let Value::Object(fields) = source.to_json() {
            entry.extend(fields);
        }
        (name.clone(), Value::Object(entry))
    });
    Value::Object(sources.collect())
}

fn pipelines(settings: &Settings) -> Value {
    let pipelines = settings.pipelines.iter();
    Value::Object(
        pipelines
            .map(|(name, pipeline)| (name.clone(), json!(pipeline)))
            .collect(),
    )
}

fn indices(settings: &Settings) -> Value {
    let indices = settings.indices.iter().map(|(pattern, index)| {
        let mut entry = json!({ "retention": index.retention_text() });
        if !index.exact.is_empty() {
            entry["exact"] = json!(index.exact);
        }
        (pattern.clone(), entry)
    });
    Value::Object(indices.collect())
}

fn telemetry(settings: &Settings) -> Value {
    let telemetry = &settings.telemetry;
    let otlp = match &telemetry.otlp {
        None => json!("off"),
        Some(otlp) => {
            let headers = otlp.headers.iter();
            let headers: Map<String, Value> = headers
                .map(|(name, secret)| (name.clone(), json!(secret.to_string())))
                .collect();
            json!({
                "endpoint": otlp.endpoint,
                "protocol": otlp.protocol.name(),
                "headers": headers,
                "traces": otlp.traces,
                "logs": otlp.logs,
            })
        }
    };
    json!({
        "log_level": telemetry.log_level,
        "log_format": telemetry.log_format.name(),
        "otlp": otlp,
    })
}
