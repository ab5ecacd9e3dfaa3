//! `_cat`: what exists, as tables for people and scripts.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;

use super::cat_table::{Cell, Column, Table, hidden, number, text};
use super::cluster::NODE_ID;
use super::error::ElasticError;
use super::params::Params;
use super::registry::Kind;
use super::state::ElasticState;
use super::target::{Pattern, TargetOptions, index_uuid};

type Reply = Result<Response, ElasticError>;

/// The routes of all tables.
pub fn routes(state: ElasticState) -> Router {
    Router::new()
        .route("/_cat", get(tables))
        .route("/_cat/indices", get(indices_of_all))
        .route("/_cat/indices/{target}", get(indices_of))
        .route("/_cat/shards", get(shards_of_all))
        .route("/_cat/shards/{target}", get(shards_of))
        .route("/_cat/count", get(count_of_all))
        .route("/_cat/count/{target}", get(count_of))
        .route("/_cat/aliases", get(all_aliases))
        .route("/_cat/aliases/{names}", get(aliases_named))
        .route("/_cat/templates", get(all_templates))
        .route("/_cat/templates/{names}", get(templates_named))
        .route("/_cat/health", get(health))
        .route("/_cat/nodes", get(nodes))
        .route("/_cat/plugins", get(plugins))
        .with_state(state)
}

async fn tables() -> &'static str {
    "=^.^=\n/_cat/aliases\n/_cat/count\n/_cat/health\n/_cat/indices\n/_cat/nodes\n/_cat/plugins\n/_cat/shards\n\
     /_cat/templates\n"
}

const INDICES: &[Column] = &[
    text("health", &["h"]),
    text("status", &["s"]),
    text("index", &["i", "idx"]),
    text("uuid", &["id"]),
    number("pri", &["p", "shards.primary"]),
    number("rep", &["r", "shards.replica"]),
    number("docs.count", &["dc", "docsCount"]),
    number("docs.deleted", &["dd", "docsDeleted"]),
    number("store.size", &["ss", "storeSize"]),
    number("pri.store.size", &[]),
    hidden(number("creation.date", &["cd"])),
    hidden(text("creation.date.string", &["cds"])),
];

async fn indices_of_all(state: State<ElasticState>, params: Params, headers: HeaderMap) -> Reply {
    indices(state.0, "*", &params, &headers).await
}

async fn indices_of(
    state: State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Reply {
    indices(state.0, &target, &params, &headers).await
}

/// The one table that shows names with a dot without being asked to: it is how people find them.
async fn indices(state: ElasticState, target: &str, params: &Params, headers: &HeaderMap) -> Reply {
    let options = TargetOptions {
        expand_hidden: true,
        ..TargetOptions::default()
    };
    let resolved = state.resolve(target, params, options)?;
    let mut rows = Vec::new();
    let mut unread = resolved.shards();
    for view in state.summaries(resolved.shards()).await? {
        unread.retain(|shard| *shard != view.shard);
        let summary = &view.answer;
        let created = Some(view.shard.day.start());
        rows.push(index_row(
            "green",
            &view.name(),
            summary.event_count,
            summary.byte_size,
            created,
        ));
    }
    for shard in unread {
        let name = shard.index.shard_name(shard.day);
        rows.push(index_row("red", &name, 0, 0, Some(shard.day.start())));
    }
    for name in &resolved.created {
        rows.push(index_row("green", name, 0, 0, None));
    }
    rows.sort_by(|a, b| a[2].partial_cmp(&b[2]).unwrap_or(std::cmp::Ordering::Equal));
    let columns = INDICES;
    Table { columns, rows }.into_reply(params, headers)
}

fn index_row(
    health: &str,
    name: &str,
    events: u64,
    bytes: u64,
    created: Option<event::Timestamp>,
) -> Vec<Cell> {
    let created_millis = created.and_then(|at| u64::try_from(at.millis()).ok());
    vec![
        word(health),
        word("open"),
        word(name),
        word(&index_uuid(name)),
        Cell::Number(1),
        Cell::Number(0),
        Cell::Number(events),
        Cell::Number(0),
        Cell::Bytes(bytes),
        Cell::Bytes(bytes),
        created_millis.map_or(Cell::Empty, Cell::Number),
        created.map_or(Cell::Empty, |at| Cell::Text(at.to_rfc3339_millis())),
    ]
}

const SHARDS: &[Column] = &[
    text("index", &["i", "idx"]),
    number("shard", &["s", "sh"]),
    text("prirep", &["p", "pr", "primaryOrReplica"]),
    text("state", &["st"]),
    number("docs", &["d", "dc"]),
    number("store", &["sto"]),
    text("ip", &[]),
    text("node", &["n"]),
];

async fn shards_of_all(state: State<ElasticState>, params: Params, headers: HeaderMap) -> Reply {
    shards(state.0, "*", &params, &headers).await
}

async fn shards_of(
    state: State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Reply {
    shards(state.0, &target, &params, &headers).await
}

async fn shards(state: ElasticState, target: &str, params: &Params, headers: &HeaderMap) -> Reply {
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let ip = ip_of(&state);
    let views = state.summaries(resolved.shards()).await?;
    let rows = views.iter().map(|view| {
        vec![
            Cell::Text(view.name()),
            Cell::Number(0),
            word("p"),
            word("STARTED"),
            Cell::Number(view.answer.event_count),
            Cell::Bytes(view.answer.byte_size),
            word(&ip),
            word(&state.settings().node_name),
        ]
    });
    let rows = rows.collect();
    let columns = SHARDS;
    Table { columns, rows }.into_reply(params, headers)
}

const COUNT: &[Column] = &[
    number("epoch", &["t", "time"]),
    text("timestamp", &["ts", "hms", "hhmmss"]),
    number("count", &["dc", "docs.count", "docsCount"]),
];

async fn count_of_all(state: State<ElasticState>, params: Params, headers: HeaderMap) -> Reply {
    count(state.0, "*", &params, &headers).await
}

async fn count_of(
    state: State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Reply {
    count(state.0, &target, &params, &headers).await
}

async fn count(state: ElasticState, target: &str, params: &Params, headers: &HeaderMap) -> Reply {
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let views = state.summaries(resolved.shards()).await?;
    let events = views.iter().map(|view| view.answer.event_count).sum();
    let [epoch, time] = now_cells(&state);
    let rows = vec![vec![epoch, time, Cell::Number(events)]];
    let columns = COUNT;
    Table { columns, rows }.into_reply(params, headers)
}

const ALIASES: &[Column] = &[
    text("alias", &["a"]),
    text("index", &["i", "idx"]),
    text("filter", &["f", "fi"]),
    text("routing.index", &["ri"]),
    text("routing.search", &["rs"]),
    text("is_write_index", &["w"]),
];

async fn all_aliases(state: State<ElasticState>, params: Params, headers: HeaderMap) -> Reply {
    aliases(&state.0, "*", &params, &headers)
}

async fn aliases_named(
    state: State<ElasticState>,
    Path(names): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Reply {
    aliases(&state.0, &names, &params, &headers)
}

fn aliases(state: &ElasticState, names: &str, params: &Params, headers: &HeaderMap) -> Reply {
    let mut rows = Vec::new();
    for (alias, members) in state.registry().entries(Kind::Alias) {
        if !is_listed(names, &alias) {
            continue;
        }
        for (member, properties) in members.as_object().into_iter().flatten() {
            let is_write_index = properties.get("is_write_index");
            rows.push(vec![
                word(&alias),
                word(member),
                word(if properties.get("filter").is_some() {
                    "*"
                } else {
                    "-"
                }),
                word("-"),
                word("-"),
                is_write_index.map_or(word("-"), |value| word(&value.to_string())),
            ]);
        }
    }
    let columns = ALIASES;
    Table { columns, rows }.into_reply(params, headers)
}

const TEMPLATES: &[Column] = &[
    text("name", &["n"]),
    text("index_patterns", &["t"]),
    text("order", &["o", "p"]),
    text("version", &["v"]),
    text("composed_of", &["c"]),
];

async fn all_templates(state: State<ElasticState>, params: Params, headers: HeaderMap) -> Reply {
    templates(&state.0, "*", &params, &headers)
}

async fn templates_named(
    state: State<ElasticState>,
    Path(names): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Reply {
    templates(&state.0, &names, &params, &headers)
}

fn templates(state: &ElasticState, names: &str, params: &Params, headers: &HeaderMap) -> Reply {
    let mut rows = Vec::new();
    for (kind, order_key) in [(Kind::Template, "order"), (Kind::IndexTemplate, "priority")] {
        for (name, body) in state.registry().entries(kind) {
            if !is_listed(names, &name) {
                continue;
            }
            let list = |key: &str| {
                let items = body[key].as_array().into_iter().flatten();
                let items: Vec<&str> = items.filter_map(|item| item.as_str()).collect();
                Cell::Text(format!("[{}]", items.join(", ")))
            };
            let optional = |key: &str| match &body[key] {
                serde_json::Value::Null => Cell::Empty,
                value => Cell::Text(value.to_string()),
            };
            rows.push(vec![
                word(&name),
                list("index_patterns"),
                optional(order_key),
                optional("version"),
                if kind == Kind::Template {
                    Cell::Empty
                } else {
                    list("composed_of")
                },
            ]);
        }
    }
    let columns = TEMPLATES;
    Table { columns, rows }.into_reply(params, headers)
}

const HEALTH: &[Column] = &[
    number("epoch", &["t", "time"]),
    text("timestamp", &["ts", "hms", "hhmmss"]),
    text("cluster", &["cl"]),
    text("status", &["st"]),
    number("node.total", &["nt", "nodeTotal"]),
    number("node.data", &["nd", "nodeData"]),
    number("shards", &["t", "sh", "shards.total", "shardsTotal"]),
    number("pri", &["p", "shards.primary", "shardsPrimary"]),
    number("relo", &["r", "shards.relocating", "shardsRelocating"]),
    number("init", &["i", "shards.initializing", "shardsInitializing"]),
    number("unassign", &["u", "shards.unassigned", "shardsUnassigned"]),
    number("pending_tasks", &["pt", "pendingTasks"]),
    text("max_task_wait_time", &["mtwt", "maxTaskWaitTime"]),
    text("active_shards_percent", &["asp", "activeShardsPercent"]),
];

async fn health(State(state): State<ElasticState>, params: Params, headers: HeaderMap) -> Reply {
    let shard_count: usize = state.names().days().values().map(Vec::len).sum();
    let [epoch, time] = now_cells(&state);
    let row = vec![
        epoch,
        time,
        word(&state.settings().cluster_name),
        word("green"),
        Cell::Number(1),
        Cell::Number(1),
        Cell::Number(shard_count as u64),
        Cell::Number(shard_count as u64),
        Cell::Number(0),
        Cell::Number(0),
        Cell::Number(0),
        Cell::Number(0),
        word("-"),
        word("100.0%"),
    ];
    let (columns, rows) = (HEALTH, vec![row]);
    Table { columns, rows }.into_reply(&params, &headers)
}

const NODES: &[Column] = &[
    text("ip", &["i"]),
    text("node.role", &["r", "role", "nodeRole"]),
    text("master", &["m"]),
    text("name", &["n"]),
    hidden(text("id", &["nodeId"])),
    hidden(text("version", &["v"])),
    hidden(text("http_address", &["http"])),
];

async fn nodes(State(state): State<ElasticState>, params: Params, headers: HeaderMap) -> Reply {
    let settings = state.settings();
    let version = super::version::Version::negotiate(&headers, &settings.version);
    let row = vec![
        word(&ip_of(&state)),
        word("dimr"),
        word("*"),
        word(&settings.node_name),
        word(NODE_ID),
        word(&version.number),
        word(&settings.publish_address),
    ];
    let (columns, rows) = (NODES, vec![row]);
    Table { columns, rows }.into_reply(&params, &headers)
}

const PLUGINS: &[Column] = &[
    text("name", &["n"]),
    text("component", &["c"]),
    text("version", &["v"]),
];

async fn plugins(params: Params, headers: HeaderMap) -> Reply {
    let (columns, rows) = (PLUGINS, Vec::new());
    Table { columns, rows }.into_reply(&params, &headers)
}

fn word(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// Seconds since 1970, and the time of day, UTC.
fn now_cells(state: &ElasticState) -> [Cell; 2] {
    let now = state.now();
    let seconds = u64::try_from(now.millis() / 1000).unwrap_or(0);
    let time_of_day = now
        .to_rfc3339_millis()
        .get(11..19)
        .unwrap_or_default()
        .to_owned();
    [Cell::Number(seconds), Cell::Text(time_of_day)]
}

fn ip_of(state: &ElasticState) -> String {
    let address = &state.settings().publish_address;
    let ip = address
        .rsplit_once(':')
        .map_or(address.as_str(), |(ip, _)| ip);
    ip.to_owned()
}

/// Whether a comma list of names and wildcards holds a name.
pub(super) fn is_listed(list: &str, name: &str) -> bool {
    let mut parts = list.split(',').map(str::trim);
    parts.any(|part| part == "_all" || Pattern::new(part).matches(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn indices_as_text_and_as_json() {
        let world = World::new();
        let uri = "/_cat/indices/logs-*?v&h=health,index,docs.count,store.size&s=index:desc";
        assert_eq!(
            world.fetch(uri).await.text,
            concat!(
                "health index           docs.count store.size\n",
                "green  logs-2026.11.23          1       512b\n",
                "green  logs-2026.11.22          2       12kb\n",
            )
        );
        let list = world
            .fetch_json("/_cat/indices?format=json&expand_wildcards=open")
            .await;
        assert_eq!(list.as_array().unwrap().len(), 3);
        let uuid = &list[0]["uuid"];
        assert_eq!(
            list[0],
            json!({"health": "green", "status": "open", "index": "logs-2026.11.22", "uuid": uuid, "pri": "1",
                "rep": "0", "docs.count": "2", "docs.deleted": "0", "store.size": "12kb", "pri.store.size": "12kb"})
        );
        assert_eq!(world.fetch("/_cat/indices/missing").await.status, 404);
        assert_eq!(world.fetch("/_cat/indices/missing*").await.text, "");
        assert_eq!(world.fetch("/_cat/indices?bytes=x").await.status, 400);
    }

    #[tokio::test]
    async fn a_broken_shard_is_red_and_the_rest_is_there() {
        let world = World::new();
        world.store.break_shard("logs-2026.11.22");
        let text = world.fetch("/_cat/indices?h=health,index").await.text;
        assert_eq!(
            text,
            "red   logs-2026.11.22\ngreen logs-2026.11.23\ngreen nginx-2026.11.23\n"
        );
    }

    #[tokio::test]
    async fn the_other_tables_answer() {
        let world = World::new();
        assert_eq!(world.fetch("/_cat/count/logs?h=count").await.text, "3\n");
        assert_eq!(
            world.fetch("/_cat/count?h=epoch,timestamp").await.text,
            "1795428000 10:00:00\n"
        );
        assert_eq!(
            world
                .fetch("/_cat/health?h=cluster,status,shards")
                .await
                .text,
            "daybook green 3\n"
        );
        assert_eq!(
            world.fetch("/_cat/nodes?h=ip,name,version").await.text,
            "127.0.0.1 daybook-1 8.17.0\n"
        );
        assert_eq!(
            world
                .fetch("/_cat/shards/nginx?h=index,prirep,docs")
                .await
                .text,
            "nginx-2026.11.23 p 0\n"
        );
        assert_eq!(world.fetch("/_cat/plugins").await.text, "");
        assert_eq!(
            world
                .fetch_json("/_cat/templates/kibana_index_template*?format=json")
                .await,
            json!([])
        );
        assert!(world.fetch("/_cat").await.text.contains("/_cat/indices"));
        assert!(
            world
                .fetch("/_cat/indices?help")
                .await
                .text
                .starts_with("health | h\n")
        );
    }

    #[tokio::test]
    async fn templates_and_aliases_that_were_put_are_listed() {
        let world = World::new();
        let template = r#"{"index_patterns":["filebeat-*"],"priority":150,"template":{}}"#;
        assert_eq!(
            world
                .call("PUT", "/_index_template/filebeat", template)
                .await
                .status,
            200
        );
        let list = world.fetch_json("/_cat/templates/file*?format=json").await;
        assert_eq!(
            list,
            json!([{"name": "filebeat", "index_patterns": "[filebeat-*]", "order": "150", "version": null, "composed_of": "[]"}])
        );
        assert_eq!(
            world.call("PUT", "/logs/_alias/all-logs", "").await.status,
            200
        );
        assert_eq!(
            world.fetch("/_cat/aliases?h=alias,index").await.text,
            "all-logs logs\n"
        );
    }
}
