//! `GET /api/daybook/v1/usage`: what fills the shards, by index, day, service and field.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use indexer::logs::{FieldUsage, Usage};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::{ApiState, limit, refuse_unknown};
use crate::elastic::params::Params;
use crate::logs::patterns::shown_template;
use crate::logs::usage::{ShardSize, UsageAnswer, usage_of};

/// How long the lists of services, fields and templates are.
const LIMIT_DEFAULT: usize = 50;

pub(super) fn routes(state: ApiState) -> Router {
    Router::new()
        .route("/api/daybook/v1/usage", get(usage))
        .with_state(state)
}

async fn usage(State(state): State<ApiState>, params: Params) -> Result<Json<Value>, ApiError> {
    refuse_unknown(&params, &["limit"])?;
    let limit = limit(&params, LIMIT_DEFAULT)?;
    let shards = state.resolve(&params)?.shards();
    let budget = state.limits.budget(None);
    let answer = usage_of(&state.executor, shards, budget).await?;
    Ok(Json(reply(&answer, limit)))
}

/// What fills shards, as JSON; lists have at most `limit` entries, the largest ones.
pub fn reply(answer: &UsageAnswer, limit: usize) -> Value {
    let total = &answer.total;
    let mut indices: BTreeMap<&str, Sizes> = BTreeMap::new();
    for shard in &answer.shards {
        let of_index = indices.entry(shard.id.index.as_str()).or_default();
        of_index.add(Sizes::of_shard(shard));
    }
    let indices = indices
        .into_iter()
        .map(|(index, sizes)| with("index", index, sizes.to_json()));
    let failures = answer.failures.iter();
    let failures: Vec<Value> = failures
        .map(|failure| json!({ "shard": failure.shard, "reason": failure.message }))
        .collect();
    let parts: Map<String, Value> = Usage::PARTS
        .into_iter()
        .map(|name| {
            let bytes = total.parts.get(name).copied().unwrap_or_default();
            (name.to_owned(), bytes.into())
        })
        .collect();
    json!({
        "total": Sizes::of(total).to_json(),
        "parts": parts,
        "indices": indices.collect::<Vec<_>>(),
        "shards": answer.shards.iter().map(shown_shard).collect::<Vec<_>>(),
        "service_count": total.services.len(),
        "services": services(total, limit),
        "field_count": total.fields.len(),
        "fields": fields(total, limit),
        "template_count": total.templates.len(),
        "templates": templates(total, limit),
        "has_forgotten": total.has_forgotten,
        "partial": answer.is_partial(),
        "timed_out": answer.timed_out,
        "failures": failures,
    })
}

/// The sizes of something that has documents.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    documents: u64,
    raw_bytes: u64,
    stored_bytes: u64,
}

impl Sizes {
    fn of(usage: &Usage) -> Sizes {
        Sizes {
            documents: usage.documents,
            raw_bytes: usage.raw_bytes,
            stored_bytes: usage.stored_bytes,
        }
    }

    fn of_shard(shard: &ShardSize) -> Sizes {
        Sizes {
            documents: shard.documents,
            raw_bytes: shard.raw_bytes,
            stored_bytes: shard.stored_bytes,
        }
    }

    fn add(&mut self, other: Sizes) {
        self.documents += other.documents;
        self.raw_bytes += other.raw_bytes;
        self.stored_bytes += other.stored_bytes;
    }

    fn to_json(self) -> Value {
        json!({
            "documents": self.documents,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "ratio": ratio(self.stored_bytes, self.raw_bytes),
        })
    }
}

/// Stored bytes for each byte that was sent; nothing when nothing was.
fn ratio(stored_bytes: u64, raw_bytes: u64) -> Option<f64> {
    let ratio = stored_bytes as f64 / raw_bytes as f64;
    ratio.is_finite().then_some((ratio * 1e4).round() / 1e4)
}

/// An object with one more key, before all others.
fn with(name: &str, value: impl Into<Value>, object: Value) -> Value {
    let mut named = Map::from_iter([(name.to_owned(), value.into())]);
    if let Value::Object(object) = object {
        named.extend(object);
    }
    Value::Object(named)
}

fn shown_shard(shard: &ShardSize) -> Value {
    let (name, index) = (shard.id.name(), shard.id.index.as_str());
    let day = name.get(index.len() + 1..).unwrap_or_default();
    let object = with("day", day, Sizes::of_shard(shard).to_json());
    let object = with("index", index, object);
    with("shard", name, object)
}

fn services(usage: &Usage, limit: usize) -> Vec<Value> {
    let mut services: Vec<_> = usage.services.iter().collect();
    services.sort_by_key(|(_, service)| Reverse(service.stored_bytes));
    let services = services.into_iter().take(limit);
    services
        .map(|(name, service)| {
            let sizes = Sizes {
                documents: service.documents,
                raw_bytes: service.raw_bytes,
                stored_bytes: service.stored_bytes,
            };
            // Documents without a service are no service of that name.
            let name = Some(name.as_str()).filter(|name| !name.is_empty());
            with("service", name, sizes.to_json())
        })
        .collect()
}

fn fields(usage: &Usage, limit: usize) -> Vec<Value> {
    let mut fields: Vec<(&String, &FieldUsage)> = usage.fields.iter().collect();
    fields.sort_by_key(|(_, field)| Reverse(field.stored_bytes()));
    let fields = fields.into_iter().take(limit);
    fields
        .map(|(path, field)| {
            json!({
                "field": path,
                "values": field.values,
                "stored_bytes": field.stored_bytes(),
                "value_bytes": field.frame_bytes,
                "filter_bytes": field.filter_bytes,
                "column_bytes": field.column_bytes,
                "plain_bytes": field.plain_bytes,
                "distinct_texts": field.distinct_texts,
                "too_distinct_for_a_column": field.is_too_distinct,
            })
        })
        .collect()
}

fn templates(usage: &Usage, limit: usize) -> Vec<Value> {
    let mut templates: Vec<_> = usage.templates.iter().collect();
    templates.sort_by_key(|(_, template)| Reverse(template.value_bytes));
    let templates = templates.into_iter().take(limit);
    templates
        .map(|((field, text), template)| {
            json!({
                "template": super::cut(&shown_template(text)),
                "field": field,
                "documents": template.documents,
                "raw_bytes": template.raw_bytes,
                "value_bytes": template.value_bytes,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use event::{Day, IndexName};
    use indexer::logs::{ServiceUsage, ShardId, TemplateUsage};

    use super::*;

    fn shard_of(index: &str, day: &str) -> ShardId {
        ShardId {
            index: IndexName::parse(index).unwrap(),
            day: Day::parse(day).unwrap(),
        }
    }

    fn usage(documents: u64) -> Usage {
        let mut usage = Usage {
            documents,
            raw_bytes: 100 * documents,
            stored_bytes: 10 * documents,
            ..Usage::default()
        };
        usage.parts.insert("frames", 6 * documents);
        let service = ServiceUsage {
            documents,
            raw_bytes: 100 * documents,
            stored_bytes: 10 * documents,
        };
        usage.services.insert(String::new(), service);
        for (path, frame_bytes) in [("a", 1), ("b", 5)] {
            let field = FieldUsage {
                values: documents,
                frame_bytes: frame_bytes * documents,
                distinct_texts: Some(documents),
                ..FieldUsage::default()
            };
            usage.fields.insert(path.to_owned(), field);
        }
        let template = TemplateUsage {
            documents,
            raw_bytes: 100 * documents,
            value_bytes: 6 * documents,
        };
        let key = ("a".to_owned(), "got \u{1}".to_owned());
        usage.templates.insert(key, template);
        usage
    }

    #[test]
    fn shards_are_summed_up() {
        let mut answer = UsageAnswer::default();
        answer.add(shard_of("logs", "2026.11.22"), usage(3));
        answer.add(shard_of("logs", "2026.11.23"), usage(4));
        answer.add(shard_of("nginx-x", "2026.11.23"), usage(1));
        let reply = reply(&answer, 1);
        let sizes = |documents: u64| json!({"documents": documents, "raw_bytes": 100 * documents, "stored_bytes": 10 * documents, "ratio": 0.1});
        assert_eq!(reply["total"], sizes(8));
        assert_eq!(reply["parts"]["frames"], 48);
        assert_eq!(reply["parts"]["maps"], 0);
        assert_eq!(reply["indices"][0], with("index", "logs", sizes(7)));
        assert_eq!(reply["indices"][1]["index"], "nginx-x");
        assert_eq!(reply["shards"][2]["day"], "2026.11.23");
        assert_eq!(reply["shards"][2]["shard"], "nginx-x-2026.11.23");
        assert_eq!(reply["services"][0], with("service", Value::Null, sizes(8)));
        assert_eq!(
            (
                &reply["field_count"],
                reply["fields"].as_array().unwrap().len()
            ),
            (&json!(2), 1)
        );
        assert_eq!(reply["fields"][0]["field"], "b");
        assert_eq!(reply["fields"][0]["stored_bytes"], 40);
        assert_eq!(reply["fields"][0]["distinct_texts"], 4);
        assert_eq!(reply["templates"][0]["template"], "got <*>");
        assert_eq!(reply["partial"], false);
    }

    #[test]
    fn nothing_has_no_ratio() {
        let reply = reply(&UsageAnswer::default(), 10);
        assert_eq!(reply["total"]["ratio"], Value::Null);
    }
}
