//! `_field_caps`: which fields there are over several indices, of which types, and what can be done with them.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cat::is_listed;
use super::error::ElasticError;
use super::mapping::FieldType;
use super::params::Params;
use super::state::{ElasticState, ShardView};
use super::store::FieldMap;
use super::target::TargetOptions;

type Reply = Result<Json<Value>, ElasticError>;

/// The routes of `_field_caps`.
pub fn routes(state: ElasticState) -> Router {
    Router::new()
        .route("/_field_caps", get(of_all).post(of_all))
        .route("/{target}/_field_caps", get(of_target).post(of_target))
        .with_state(state)
}

async fn of_all(State(state): State<ElasticState>, params: Params, body: Bytes) -> Reply {
    field_caps(&state, "*", &params, &body).await
}

async fn of_target(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
    body: Bytes,
) -> Reply {
    field_caps(&state, &target, &params, &body).await
}

/// What a request asks for.
struct Wanted {
    /// Comma list of names and wildcards.
    fields: String,
    types: Option<BTreeSet<String>>,
    has_metadata: bool,
    has_ordinary: bool,
    has_parents: bool,
    has_sub_fields: bool,
    has_unmapped: bool,
}

/// `fields` may come in the body; `index_filter` and `runtime_mappings` may too and change nothing.
#[derive(Deserialize)]
struct RequestBody {
    fields: Option<OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Wanted {
    fn of(params: &Params, body: &[u8]) -> Result<Wanted, ElasticError> {
        let is_empty = body.iter().all(u8::is_ascii_whitespace);
        let from_body = match is_empty {
            true => None,
            false => {
                let body: RequestBody = serde_json::from_slice(body)
                    .map_err(|error| ElasticError::json_parse(&error))?;
                body.fields
            }
        };
        let fields = match (params.text("fields"), from_body) {
            (Some(fields), _) => fields.to_owned(),
            (None, Some(OneOrMore::One(field))) => field,
            (None, Some(OneOrMore::More(fields))) => fields.join(","),
            (None, None) => "*".to_owned(),
        };
        let filters = params.list("filters").unwrap_or_default();
        let types = params.list("types").filter(|types| !types.is_empty());
        Ok(Wanted {
            fields,
            types: types.map(|types| types.into_iter().map(str::to_owned).collect()),
            has_metadata: !filters.contains(&"-metadata"),
            has_ordinary: !filters.contains(&"+metadata"),
            has_parents: !filters.contains(&"-parent"),
            has_sub_fields: !filters.contains(&"-multifield"),
            has_unmapped: params.flag("include_unmapped", false)?,
        })
    }

    fn is_wanted(&self, name: &str, type_name: &str) -> bool {
        let is_type = self
            .types
            .as_ref()
            .is_none_or(|types| types.contains(type_name));
        is_type && is_listed(&self.fields, name)
    }
}

/// What can be done with the fields of one name and type, and where they are.
struct Capability {
    is_searchable: bool,
    is_aggregatable: bool,
    is_metadata: bool,
    /// Positions in the list of indices, ascending.
    indices: Vec<usize>,
}

/// By field, then by type.
type Capabilities = BTreeMap<String, BTreeMap<&'static str, Capability>>;

async fn field_caps(state: &ElasticState, target: &str, params: &Params, body: &[u8]) -> Reply {
    let wanted = Wanted::of(params, body)?;
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let shards = resolved.shards();
    let mut indices: Vec<String> = shards
        .iter()
        .map(|shard| shard.index.shard_name(shard.day))
        .collect();
    let views = state.fields(shards).await?;
    let capabilities = capabilities_of(&views, &indices, &wanted);
    indices.extend(resolved.created);
    let fields = capabilities
        .into_iter()
        .map(|(name, by_type)| (name, shown(by_type, &indices, wanted.has_unmapped)));
    let fields: Map<String, Value> = fields.collect();
    Ok(Json(json!({ "indices": indices, "fields": fields })))
}

fn capabilities_of(
    views: &[ShardView<FieldMap>],
    indices: &[String],
    wanted: &Wanted,
) -> Capabilities {
    let mut capabilities = Capabilities::new();
    for view in views {
        let name = view.name();
        let Some(at) = indices.iter().position(|index| *index == name) else {
            continue;
        };
        if wanted.has_ordinary {
            add_fields(view, at, wanted, &mut capabilities);
        }
        if wanted.has_metadata {
            add_metadata(at, wanted, &mut capabilities);
        }
    }
    capabilities
}

fn add_fields(
    view: &ShardView<FieldMap>,
    at: usize,
    wanted: &Wanted,
    capabilities: &mut Capabilities,
) {
    let fields = &view.answer;
    let mut parents = BTreeSet::new();
    for (path, kinds) in fields.iter() {
        let Some(field_type) = FieldType::of(path, *kinds) else {
            continue;
        };
        let type_name = field_type.name();
        add(
            capabilities,
            path,
            type_name,
            at,
            (true, field_type.is_aggregatable()),
            wanted,
        );
        let keyword = format!("{path}.keyword");
        let has_keyword = wanted.has_sub_fields
            && field_type == FieldType::TextAndKeyword
            && !fields.contains_key(&keyword);
        if has_keyword {
            add(capabilities, &keyword, "keyword", at, (true, true), wanted);
        }
        let dots = path.match_indices('.').map(|(dot, _)| &path[..dot]);
        // A deep path has as many parents as levels; no dashboard shows more of them.
        parents.extend(dots.take(PARENTS_MAX).filter(|parent| !parent.is_empty()));
    }
    if !wanted.has_parents {
        return;
    }
    for parent in parents
        .into_iter()
        .filter(|parent| !fields.contains_key(*parent))
    {
        add(capabilities, parent, "object", at, (false, false), wanted);
    }
}

/// The most parents of one path that are listed as objects.
const PARENTS_MAX: usize = 64;

fn add_metadata(at: usize, wanted: &Wanted, capabilities: &mut Capabilities) {
    let metadata = [
        ("_id", (true, false)),
        ("_index", (true, true)),
        ("_source", (false, false)),
    ];
    for (name, can) in metadata {
        add(capabilities, name, name, at, can, wanted);
        if let Some(capability) = capabilities
            .get_mut(name)
            .and_then(|types| types.get_mut(name))
        {
            capability.is_metadata = true;
        }
    }
}

/// `can`: whether it is searchable, and whether it is aggregatable.
fn add(
    capabilities: &mut Capabilities,
    name: &str,
    type_name: &'static str,
    at: usize,
    can: (bool, bool),
    wanted: &Wanted,
) {
    if !wanted.is_wanted(name, type_name) {
        return;
    }
    let by_type = match capabilities.get_mut(name) {
        Some(by_type) => by_type,
        None => capabilities.entry(name.to_owned()).or_default(),
    };
    let capability = by_type.entry(type_name).or_insert(Capability {
        is_searchable: can.0,
        is_aggregatable: can.1,
        is_metadata: false,
        indices: Vec::new(),
    });
    if capability.indices.last() != Some(&at) {
        capability.indices.push(at);
    }
}

/// The indices are told only where types differ between them: that is what a dashboard calls a conflict.
fn shown(
    by_type: BTreeMap<&'static str, Capability>,
    indices: &[String],
    has_unmapped: bool,
) -> Value {
    let mapped: BTreeSet<usize> = by_type
        .values()
        .flat_map(|capability| capability.indices.clone())
        .collect();
    let is_metadata = by_type.values().any(|capability| capability.is_metadata);
    let names = |positions: &mut dyn Iterator<Item = usize>| -> Vec<&str> {
        positions
            .filter_map(|at| indices.get(at).map(String::as_str))
            .collect()
    };
    let unmapped = names(&mut (0..indices.len()).filter(|at| !mapped.contains(at)));
    let shows_unmapped = has_unmapped && !unmapped.is_empty() && !is_metadata;
    let is_conflict = by_type.len() > 1 || shows_unmapped;
    let mut shown = Map::new();
    for (type_name, capability) in &by_type {
        let mut entry = capability_json(type_name, capability);
        if is_conflict {
            let names = names(&mut capability.indices.iter().copied());
            entry.insert("indices".to_owned(), json!(names));
        }
        shown.insert((*type_name).to_owned(), Value::Object(entry));
    }
    if shows_unmapped {
        let capability = Capability {
            is_searchable: false,
            is_aggregatable: false,
            is_metadata: false,
            indices: Vec::new(),
        };
        let mut entry = capability_json("unmapped", &capability);
        entry.insert("indices".to_owned(), json!(unmapped));
        shown.insert("unmapped".to_owned(), Value::Object(entry));
    }
    Value::Object(shown)
}

fn capability_json(type_name: &str, capability: &Capability) -> Map<String, Value> {
    Map::from_iter([
        ("type".to_owned(), type_name.into()),
        ("metadata_field".to_owned(), capability.is_metadata.into()),
        ("searchable".to_owned(), capability.is_searchable.into()),
        ("aggregatable".to_owned(), capability.is_aggregatable.into()),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn fields_of_several_days_with_their_conflict() {
        let world = World::new();
        let caps = world.fetch_json("/logs/_field_caps?fields=*").await;
        assert_eq!(
            caps["indices"],
            json!(["logs-2026.11.22", "logs-2026.11.23"])
        );
        let fields = &caps["fields"];
        let can = |name: &str, is_metadata: bool, searchable: bool, aggregatable: bool| json!({ name: {"type": name, "metadata_field": is_metadata, "searchable": searchable, "aggregatable": aggregatable} });
        assert_eq!(fields["@timestamp"], can("date", false, true, true));
        assert_eq!(fields["message"], can("text", false, true, false));
        assert_eq!(fields["message.keyword"], can("keyword", false, true, true));
        assert_eq!(fields["kubernetes"], can("object", false, false, false));
        assert_eq!(fields["kubernetes.pod"], can("object", false, false, false));
        assert_eq!(fields["_id"], can("_id", true, true, false));
        assert_eq!(fields["_index"], can("_index", true, true, true));
        assert_eq!(fields["_source"], can("_source", true, false, false));
        assert_eq!(
            fields["code"].to_string(),
            concat!(
                r#"{"long":{"type":"long","metadata_field":false,"searchable":true,"aggregatable":true,"indices":["logs-2026.11.22"]},"#,
                r#""text":{"type":"text","metadata_field":false,"searchable":true,"aggregatable":false,"indices":["logs-2026.11.23"]}}"#
            )
        );
    }

    #[tokio::test]
    async fn fields_are_chosen_by_name_type_and_filter() {
        let world = World::new();
        let cases = [
            ("fields=mess*", "message message.keyword"),
            ("fields=code,bytes", "bytes code"),
            (
                "fields=*&filters=-metadata,-parent,-multifield",
                "@timestamp bytes code kubernetes.pod.name message",
            ),
            ("fields=*&filters=%2Bmetadata", "_id _index _source"),
            (
                "fields=*&types=date,object",
                "@timestamp kubernetes kubernetes.pod",
            ),
            ("fields=nothing", ""),
        ];
        for (query, expected) in cases {
            let caps = world.fetch_json(&format!("/_field_caps?{query}")).await;
            let fields = caps["fields"].as_object().unwrap();
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            assert_eq!(names.join(" "), expected, "{query}");
        }
        for body in [
            r#"{"fields":["code"],"index_filter":{}}"#,
            r#"{"fields":"code"}"#,
        ] {
            let reply = world.call("POST", "/_field_caps", body).await.json();
            assert_eq!(reply["fields"].as_object().unwrap().len(), 1, "{body}");
        }
    }

    #[tokio::test]
    async fn unmapped_fields_are_told_when_asked_for() {
        let world = World::new();
        let caps = world
            .fetch_json("/_field_caps?fields=bytes,_id&include_unmapped")
            .await;
        assert_eq!(
            caps["fields"]["bytes"]["long"]["indices"],
            json!(["nginx-2026.11.23"])
        );
        assert_eq!(
            caps["fields"]["bytes"]["unmapped"]["indices"],
            json!(["logs-2026.11.22", "logs-2026.11.23"])
        );
        assert!(caps["fields"]["_id"].get("unmapped").is_none());
    }

    #[tokio::test]
    async fn dashboards_hear_that_nothing_matches() {
        let world = World::new();
        let uri = "/missing*/_field_caps?fields=*&ignore_unavailable=true&allow_no_indices=false";
        let reply = world.fetch(uri).await;
        assert_eq!(reply.status, 404);
        assert_eq!(reply.json()["error"]["type"], "index_not_found_exception");
        let caps = world.fetch_json("/missing*/_field_caps?fields=*").await;
        assert_eq!(caps, json!({ "indices": [], "fields": {} }));
        assert_eq!(world.call("POST", "/_field_caps", "{").await.status, 400);
    }
}
