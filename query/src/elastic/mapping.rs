//! Fields as a mapping: `_mapping`, and which of Elasticsearch's types a field of ours is shown as.
//!
//! A shard refuses no value for its type, so a field can hold several kinds. It is shown as one type: the one that
//! every value of it fits.
//!
//! | kinds in the shard        | type                                  |
//! |---------------------------|---------------------------------------|
//! | texts                     | `text` with the sub-field `keyword`   |
//! | only long texts           | `text`                                |
//! | whole numbers             | `long`                                |
//! | numbers                   | `double`                              |
//! | booleans                  | `boolean`                             |
//! | times                     | `date`                                |
//! | any other mix             | `text` with the sub-field `keyword`   |
//!
//! `@timestamp` is always a `date`. A path that has values and paths below it is shown as its own type, with what is
//! below as sub-fields: a tree in which a node is either a field or an object, as Elasticsearch's is.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use indexer::logs::FieldKinds;
use serde_json::{Map, Value, json};

use super::cat::is_listed;
use super::error::ElasticError;
use super::indices;
use super::params::Params;
use super::state::{ElasticState, ShardView};
use super::store::FieldMap;
use super::target::TargetOptions;

/// Paths are nested at most this deep; what is deeper stays a dotted name at the last level.
const DEPTH_MAX: usize = 64;

/// Longer texts are not in `keyword`: what Elasticsearch's default mapping says.
const IGNORE_ABOVE: u32 = 256;

type Reply = Result<Json<Value>, ElasticError>;

/// The type a field is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FieldType {
    /// Words, and the whole text as `keyword`.
    TextAndKeyword,
    /// Words only.
    Text,
    Long,
    Double,
    Boolean,
    Date,
}

impl FieldType {
    /// The type that every value fits; `None` when there is no value.
    pub(super) fn of(path: &str, kinds: FieldKinds) -> Option<FieldType> {
        if path == "@timestamp" {
            return Some(FieldType::Date);
        }
        let has_number = kinds.integer || kinds.float;
        let kind_count = [
            kinds.text || kinds.full_text,
            has_number,
            kinds.boolean,
            kinds.time,
        ];
        match (
            kind_count.iter().filter(|is_there| **is_there).count(),
            kinds,
        ) {
            (0, _) => None,
            (2.., _) => Some(FieldType::TextAndKeyword),
            (_, FieldKinds { text: true, .. }) => Some(FieldType::TextAndKeyword),
            (
                _,
                FieldKinds {
                    full_text: true, ..
                },
            ) => Some(FieldType::Text),
            (_, FieldKinds { float: true, .. }) => Some(FieldType::Double),
            (_, FieldKinds { integer: true, .. }) => Some(FieldType::Long),
            (_, FieldKinds { boolean: true, .. }) => Some(FieldType::Boolean),
            _ => Some(FieldType::Date),
        }
    }

    /// Elasticsearch's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            FieldType::TextAndKeyword | FieldType::Text => "text",
            FieldType::Long => "long",
            FieldType::Double => "double",
            FieldType::Boolean => "boolean",
            FieldType::Date => "date",
        }
    }

    /// Whether it can be aggregated and sorted by under its own name, as dashboards understand the type.
    pub(super) fn is_aggregatable(self) -> bool {
        !matches!(self, FieldType::TextAndKeyword | FieldType::Text)
    }

    fn to_json(self) -> Map<String, Value> {
        let mut field = Map::from_iter([("type".to_owned(), Value::from(self.name()))]);
        if self == FieldType::TextAndKeyword {
            let keyword = json!({ "keyword": { "type": "keyword", "ignore_above": IGNORE_ABOVE } });
            field.insert("fields".to_owned(), keyword);
        }
        field
    }
}

/// `{"properties":{…}}` of the fields of a shard.
pub(super) fn mappings_of(fields: &FieldMap) -> Value {
    let mut root = Node::default();
    for (path, kinds) in fields {
        if let Some(field_type) = FieldType::of(path, *kinds) {
            root.insert(path, field_type);
        }
    }
    json!({ "properties": root.properties() })
}

/// One level of a path: a field, an object, or both.
#[derive(Debug, Default)]
struct Node {
    field_type: Option<FieldType>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn insert(&mut self, path: &str, field_type: FieldType) {
        let mut node = self;
        for name in path.splitn(DEPTH_MAX, '.') {
            node = node.children.entry(name.to_owned()).or_default();
        }
        node.field_type = Some(field_type);
    }

    fn properties(&self) -> Map<String, Value> {
        let children = self.children.iter();
        children
            .map(|(name, child)| (name.clone(), child.to_json()))
            .collect()
    }

    fn to_json(&self) -> Value {
        let Some(field_type) = self.field_type else {
            return json!({ "properties": self.properties() });
        };
        let mut field = field_type.to_json();
        if !self.children.is_empty() {
            let sub_fields = field.entry("fields").or_insert_with(|| json!({}));
            if let Value::Object(sub_fields) = sub_fields {
                self.add_below("", sub_fields);
            }
        }
        Value::Object(field)
    }

    /// Everything below as sub-fields, which have no levels: `b.c` is one name.
    fn add_below(&self, prefix: &str, sub_fields: &mut Map<String, Value>) {
        for (name, child) in &self.children {
            let path = match prefix {
                "" => name.clone(),
                prefix => format!("{prefix}.{name}"),
            };
            if let Some(field_type) = child.field_type {
                let field = json!({ "type": field_type.name() });
                sub_fields.insert(path.clone(), field);
            }
            child.add_below(&path, sub_fields);
        }
    }
}

/// The routes of `_mapping`.
pub fn routes(state: ElasticState) -> Router {
    let mut router = Router::new();
    for name in ["_mapping", "_mappings"] {
        router = router
            .route(&format!("/{name}"), get(mapping_of_all))
            .route(
                &format!("/{name}/field/{{fields}}"),
                get(field_mapping_of_all),
            )
            .route(
                &format!("/{{target}}/{name}"),
                get(mapping_of).put(put_mapping).post(put_mapping),
            )
            .route(
                &format!("/{{target}}/{name}/{{type}}"),
                axum::routing::put(put_typed_mapping),
            )
            .route(
                &format!("/{{target}}/{name}/field/{{fields}}"),
                get(field_mapping_of),
            );
    }
    router.with_state(state)
}

async fn mapping_of_all(State(state): State<ElasticState>, params: Params) -> Reply {
    mapping(&state, "*", &params).await
}

async fn mapping_of(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    mapping(&state, &target, &params).await
}

async fn mapping(state: &ElasticState, target: &str, params: &Params) -> Reply {
    let mappings = all_mappings(state, target, params).await?;
    let entries = mappings
        .into_iter()
        .map(|(name, mappings)| (name, json!({ "mappings": mappings })));
    Ok(Json(Value::Object(entries.collect())))
}

/// The mappings of what a target names, by concrete name.
async fn all_mappings(
    state: &ElasticState,
    target: &str,
    params: &Params,
) -> Result<Vec<(String, Value)>, ElasticError> {
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let views = state.fields(resolved.shards()).await?;
    let mut mappings: Vec<(String, Value)> = views.iter().map(mappings_of_shard).collect();
    for name in resolved.created {
        let stored = indices::stored_mappings(state, &name);
        mappings.push((name, stored));
    }
    Ok(mappings)
}

pub(super) fn mappings_of_shard(view: &ShardView<FieldMap>) -> (String, Value) {
    (view.name(), mappings_of(&view.answer))
}

async fn field_mapping_of_all(
    State(state): State<ElasticState>,
    Path(fields): Path<String>,
    params: Params,
) -> Reply {
    field_mapping(&state, "*", &fields, &params).await
}

async fn field_mapping_of(
    State(state): State<ElasticState>,
    Path((target, fields)): Path<(String, String)>,
    params: Params,
) -> Reply {
    field_mapping(&state, &target, &fields, &params).await
}

async fn field_mapping(state: &ElasticState, target: &str, fields: &str, params: &Params) -> Reply {
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let views = state.fields(resolved.shards()).await?;
    let mut reply = Map::new();
    for view in views {
        let mut found = Map::new();
        for (path, kinds) in view.answer.iter() {
            let Some(field_type) = FieldType::of(path, *kinds) else {
                continue;
            };
            let mut add = |full_name: String, field: Value| {
                if is_listed(fields, &full_name) {
                    let last = full_name.rsplit('.').next().unwrap_or_default().to_owned();
                    let entry = json!({ "full_name": full_name, "mapping": { last: field } });
                    found.insert(full_name, entry);
                }
            };
            add(path.clone(), Value::Object(field_type.to_json()));
            let keyword = format!("{path}.keyword");
            let has_keyword =
                field_type == FieldType::TextAndKeyword && !view.answer.contains_key(&keyword);
            if has_keyword {
                add(
                    keyword,
                    json!({ "type": "keyword", "ignore_above": IGNORE_ABOVE }),
                );
            }
        }
        reply.insert(view.name(), json!({ "mappings": found }));
    }
    for name in resolved.created {
        reply.insert(name, json!({ "mappings": {} }));
    }
    Ok(Json(Value::Object(reply)))
}

/// Kept for an index that was created and is empty yet; events bring their own fields.
async fn put_mapping(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
    body: Bytes,
) -> Reply {
    indices::store_mapping(&state, &target, &params, &body).await
}

async fn put_typed_mapping(
    State(state): State<ElasticState>,
    Path((target, _)): Path<(String, String)>,
    params: Params,
    body: Bytes,
) -> Reply {
    indices::store_mapping(&state, &target, &params, &body).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, kinds};
    use super::*;

    fn mapped(fields: &[(&str, &str)]) -> String {
        let fields = fields.iter();
        let fields = fields.map(|(path, letters)| ((*path).to_owned(), kinds(letters)));
        mappings_of(&fields.collect())["properties"].to_string()
    }

    #[test]
    fn kinds_become_the_type_that_every_value_fits() {
        let text = r#"{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}}"#;
        let cases = [
            ("t", text),
            ("tT", text),
            ("T", r#"{"type":"text"}"#),
            ("i", r#"{"type":"long"}"#),
            ("f", r#"{"type":"double"}"#),
            ("if", r#"{"type":"double"}"#),
            ("b", r#"{"type":"boolean"}"#),
            ("d", r#"{"type":"date"}"#),
            ("it", text),
            ("iT", text),
            ("bi", text),
            ("df", text),
        ];
        for (letters, expected) in cases {
            assert_eq!(
                mapped(&[("x", letters)]),
                format!(r#"{{"x":{expected}}}"#),
                "{letters}"
            );
        }
        assert_eq!(mapped(&[("x", "")]), "{}");
        assert_eq!(
            mapped(&[("@timestamp", "t")]),
            r#"{"@timestamp":{"type":"date"}}"#
        );
    }

    #[test]
    fn dotted_paths_are_nested() {
        assert_eq!(
            mapped(&[
                ("kubernetes.pod.name", "i"),
                ("kubernetes.pod-ip", "b"),
                ("kubernetes.host", "T")
            ]),
            concat!(
                r#"{"kubernetes":{"properties":{"host":{"type":"text"},"#,
                r#""pod":{"properties":{"name":{"type":"long"}}},"pod-ip":{"type":"boolean"}}}}"#
            )
        );
    }

    #[test]
    fn a_field_with_fields_below_keeps_them_as_sub_fields() {
        assert_eq!(
            mapped(&[
                ("a", "i"),
                ("a-z", "i"),
                ("a.b", "t"),
                ("a.b.c", "i"),
                ("a.keyword", "b")
            ]),
            concat!(
                r#"{"a":{"type":"long","fields":{"b":{"type":"text"},"b.c":{"type":"long"},"keyword":{"type":"boolean"}}},"#,
                r#""a-z":{"type":"long"}}"#
            )
        );
    }

    /// As Grafana walks a mapping: every node is a field with a type, or an object with properties.
    fn is_valid(node: &Value) -> bool {
        let below = |key: &str| {
            node[key]
                .as_object()
                .is_none_or(|map| map.values().all(is_valid))
        };
        let is_field = node["type"].is_string() && node.get("properties").is_none();
        let is_object = node.get("type").is_none() && node["properties"].is_object();
        (is_field || is_object) && below("properties") && below("fields")
    }

    proptest! {
        #[test]
        fn any_paths_make_a_valid_tree(paths in proptest::collection::vec(("[ab.]{0,6}", "[tTifbd]{0,3}"), 0..12)) {
            let fields = paths.iter().map(|(path, letters)| (path.clone(), kinds(letters)));
            let mappings = mappings_of(&fields.collect());
            prop_assert!(is_valid(&mappings), "{}", mappings);
        }
    }

    #[test]
    fn a_very_long_path_does_not_overflow_the_stack() {
        let path = "a.".repeat(100_000);
        let mapped = mapped(&[(&path, "i")]);
        assert!(mapped.len() > path.len());
    }

    #[tokio::test]
    async fn grafana_finds_the_fields_of_a_day_or_404() {
        let world = World::new();
        let mapping = world.fetch_json("/logs-2026.11.23/_mapping").await;
        let properties = &mapping["logs-2026.11.23"]["mappings"]["properties"];
        assert_eq!(properties["@timestamp"]["type"], "date");
        assert_eq!(
            properties["message"]["fields"]["keyword"]["type"],
            "keyword"
        );
        assert_eq!(
            properties["kubernetes"]["properties"]["pod"]["properties"]["name"]["type"],
            "text"
        );

        assert_eq!(world.fetch("/logs-1999.01.01/_mapping").await.status, 404);
        assert_eq!(world.fetch("/logs-1999*/_mapping").await.text, "{}");
        let all = world.fetch_json("/_mapping").await;
        let names: Vec<&String> = all.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["logs-2026.11.22", "logs-2026.11.23", "nginx-2026.11.23"]
        );
    }

    #[tokio::test]
    async fn single_fields_are_shown_with_their_full_name() {
        let world = World::new();
        let fields = world
            .fetch_json("/nginx/_mapping/field/by*,@timestamp")
            .await;
        assert_eq!(
            fields["nginx-2026.11.23"]["mappings"],
            json!({
                "@timestamp": {"full_name": "@timestamp", "mapping": {"@timestamp": {"type": "date"}}},
                "bytes": {"full_name": "bytes", "mapping": {"bytes": {"type": "long"}}},
            })
        );
        let fields = world
            .fetch_json("/logs-2026.11.23/_mapping/field/*.keyword")
            .await;
        let found = fields["logs-2026.11.23"]["mappings"].as_object().unwrap();
        assert_eq!(
            found["message.keyword"]["mapping"]["keyword"]["type"],
            "keyword"
        );
    }

    #[tokio::test]
    async fn a_mapping_put_before_any_event_comes_back() {
        let world = World::new();
        world
            .call(
                "PUT",
                "/fresh",
                r#"{"mappings":{"properties":{"a":{"type":"keyword"}}}}"#,
            )
            .await;
        let body = r#"{"properties":{"b":{"type":"long"}},"dynamic":"strict"}"#;
        assert_eq!(world.call("PUT", "/fresh/_mapping", body).await.status, 200);
        assert_eq!(
            world.fetch_json("/fresh/_mapping").await,
            json!({"fresh": {"mappings": {"properties": {"a": {"type": "keyword"}, "b": {"type": "long"}}, "dynamic": "strict"}}})
        );
        let body = r#"{"properties":{"a":{"type":"long"}}}"#;
        assert_eq!(
            world.call("PUT", "/fresh/_mapping/_doc", body).await.status,
            400
        );
        assert_eq!(
            world.call("PUT", "/missing/_mapping", body).await.status,
            404
        );
    }
}
