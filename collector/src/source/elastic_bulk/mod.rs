//! Elasticsearch `_bulk` and single-document writes.
//!
//! A request's body becomes one batch; the reply is written when the batch is durable and says of every item, in the
//! request's order, what became of it.

mod action;
mod document;
mod plain;
mod reply;
mod request;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{post, put};
use bytes::Bytes;
use event::{Ack, Outcome, Refresh, Timestamp};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use self::action::Verb;
use self::reply::ErrorReply;
use super::{Intake, PushContext};
use crate::body::{Body, Reservation};
use crate::pipeline::Pipeline;

// Public for benches and fuzz targets.
pub use self::request::{BulkRequest, Item, ItemState, Terms, Unreadable, read_bulk};

/// Types of old clients in `/{index}/{type}`. Only these: any other second segment may be another protocol's path.
/// rsyslog's own default is `events`.
const DOCUMENT_TYPES: [&str; 2] = ["events", "doc"];

/// What a sender asks for who wants no pipeline.
const NO_PIPELINE: &str = "_none";

/// `type: elastic_bulk` under `sources:` in the settings file. The source is there without an entry, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntrySettings {
    /// The pipeline of documents whose sender asks for none; without it they stay byte for byte.
    #[serde(
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
}

/// A pipeline by its name in the settings, or a shipped one.
pub type Named = Arc<dyn Fn(&str) -> Option<Arc<Pipeline>> + Send + Sync>;

/// What documents go through.
#[derive(Clone)]
pub struct Pipelines {
    /// Those whose sender asks for none that is known.
    pub own: Option<Arc<Pipeline>>,
    /// Those a sender may ask for with `pipeline`.
    pub named: Named,
}

/// How the source behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The source's name in the books.
    pub source_name: Arc<str>,
    /// The most bytes of one document: `limits.event`.
    pub event_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            source_name: Arc::from("elastic_bulk"),
            event_bytes_max: 1024 * 1024,
        }
    }
}

struct ElasticBulk {
    settings: Settings,
    pipelines: Pipelines,
    intake: Intake,
    refresh: Arc<dyn Refresh>,
}

/// The routes of the source. Path parameters are called `index`, `id` and `type`: routers that are merged with this
/// one must call them the same.
pub fn routes(
    settings: Settings,
    pipelines: Pipelines,
    context: PushContext,
    refresh: Arc<dyn Refresh>,
) -> Router {
    let source = Arc::new(ElasticBulk {
        intake: Intake::new(&settings.source_name, context),
        settings,
        pipelines,
        refresh,
    });
    let mut router = Router::new();
    for path in [
        "/_bulk",
        "/{target}/_bulk",
        "/{target}/_doc/_bulk",
        "/{target}/{type}/_bulk",
    ] {
        router = router
            .route(path, post(bulk).put(bulk))
            .route(&format!("{path}/"), post(bulk).put(bulk));
    }
    for document_type in DOCUMENT_TYPES {
        router = router.route(&format!("/{{target}}/{document_type}"), post(add_document));
    }
    router
        .route("/{target}/_doc", post(add_document))
        .route("/{target}/_doc/", post(add_document))
        .route(
            "/{target}/_doc/{id}",
            put(add_document).post(add_document).delete(delete_document),
        )
        .route(
            "/{target}/_create/{id}",
            put(create_document).post(create_document),
        )
        .with_state(source)
}

type PathNames = Result<Path<Names>, PathRejection>;

#[derive(serde::Deserialize)]
struct Names {
    target: Option<String>,
    id: Option<String>,
}

async fn bulk(
    State(source): State<Arc<ElasticBulk>>,
    names: PathNames,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    let outcome = source.bulk(names, query, &headers, body).await;
    outcome.unwrap_or_else(ErrorReply::into_response)
}

/// With an id in the path it stores under that id.
async fn add_document(
    State(source): State<Arc<ElasticBulk>>,
    names: PathNames,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    source
        .single(Verb::Index, names, query, &headers, body)
        .await
        .unwrap_or_else(ErrorReply::into_response)
}

async fn create_document(
    State(source): State<Arc<ElasticBulk>>,
    names: PathNames,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    source
        .single(Verb::Create, names, query, &headers, body)
        .await
        .unwrap_or_else(ErrorReply::into_response)
}

async fn delete_document(
    State(source): State<Arc<ElasticBulk>>,
    names: PathNames,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    source
        .single(Verb::Delete, names, query, &headers, body)
        .await
        .unwrap_or_else(ErrorReply::into_response)
}

impl ElasticBulk {
    async fn bulk(
        &self,
        names: PathNames,
        query: Option<String>,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Result<Response, ErrorReply> {
        let began = Instant::now();
        let parameters = Parameters::of(query.as_deref());
        let names = names_of(names)?;
        let received = (self.intake.now)();
        let Body {
            bytes,
            mut reservation,
        } = self.intake.read_body(headers, body).await?;
        let body_bytes = bytes.len();
        let terms = self.terms(names.target, received);
        let asked = (self.pipelines.clone(), parameters.pipeline.clone());
        let event_bytes_max = self.settings.event_bytes_max;
        let read = self
            .intake
            .cpu
            .run(body_bytes, move || {
                let request = request::read_bulk(&bytes, terms)?;
                Ok(through(request, asked, received, event_bytes_max))
            })
            .await;
        let (request, made_bytes) = read.map_err(|unreadable: Unreadable| {
            let ledger = &self.intake.ledger;
            ledger.received(unreadable.event_count, body_bytes as u64);
            ledger.rejected("malformed", unreadable.event_count);
            ErrorReply::from(unreadable.error)
        })?;
        if !reservation.grow(request.memory_bytes() + made_bytes) {
            self.intake.count_unread_request("busy", body_bytes as u64);
            return Err(self.intake.bodies.busy().into());
        }
        let (items, outcomes) = self
            .store(request, received, body_bytes, reservation)
            .await?;
        self.refresh_when_asked(&parameters).await;
        let response = self
            .intake
            .cpu
            .run(body_bytes, move || {
                reply::bulk_response(began.elapsed().as_millis(), &items, &outcomes)
            })
            .await;
        Ok(response)
    }

    async fn single(
        &self,
        verb: Verb,
        names: PathNames,
        query: Option<String>,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Result<Response, ErrorReply> {
        let parameters = Parameters::of(query.as_deref());
        let names = names_of(names)?;
        let verb = match verb {
            Verb::Index if parameters.is_create => Verb::Create,
            verb => verb,
        };
        let received = (self.intake.now)();
        let Body { bytes, reservation } = self.intake.read_body(headers, body).await?;
        let document = match verb {
            Verb::Delete => Bytes::new(),
            _ => bytes.slice_ref(bytes.trim_ascii()),
        };
        let terms = self.terms(names.target, received);
        let body_bytes = bytes.len();
        let is_conditional = parameters.is_conditional;
        let asked = (self.pipelines.clone(), parameters.pipeline.clone());
        let event_bytes_max = self.settings.event_bytes_max;
        let (request, _) = self
            .intake
            .cpu
            .run(body_bytes, move || {
                let request = request::read_single(verb, names.id, is_conditional, document, terms);
                through(request, asked, received, event_bytes_max)
            })
            .await;
        let (items, outcomes) = self
            .store(request, received, body_bytes, reservation)
            .await?;
        self.refresh_when_asked(&parameters).await;
        match items.first() {
            Some(item) => Ok(reply::single_response(item, &outcomes)),
            None => Err(ErrorReply::bad_request("index is missing".to_owned())),
        }
    }

    /// Counts the request in the books and makes what is good of it durable.
    async fn store(
        &self,
        request: BulkRequest,
        received: Timestamp,
        body_bytes: usize,
        reservation: Reservation,
    ) -> Result<(Vec<Item>, Vec<Outcome>), ErrorReply> {
        let BulkRequest { events, items } = request;
        let ledger = &self.intake.ledger;
        ledger.received(items.len() as u64, body_bytes as u64);
        for item in &items {
            match &item.state {
                ItemState::Refused(refusal) => ledger.rejected(refusal.counted_as, 1),
                ItemState::Dropped { reason, .. } => ledger.dropped(reason, 1),
                ItemState::Sent { .. } => {}
            }
        }
        let Ack { outcomes } = self.intake.store(received, events, reservation).await?;
        Ok((items, outcomes))
    }

    async fn refresh_when_asked(&self, parameters: &Parameters) {
        if parameters.wants_refresh {
            self.refresh.refresh().await;
        }
    }

    fn terms(&self, path_index: Option<String>, received: Timestamp) -> Terms {
        Terms {
            path_index,
            received,
            event_bytes_max: self.settings.event_bytes_max,
        }
    }
}

/// The request with its documents as their pipelines made them, and what those take in memory beside the body.
fn through(
    mut request: BulkRequest,
    (pipelines, parameter): (Pipelines, Option<String>),
    received: Timestamp,
    event_bytes_max: usize,
) -> (BulkRequest, usize) {
    let is_asked = |item: &Item| item.pipeline.is_some();
    let is_untouched =
        pipelines.own.is_none() && parameter.is_none() && !request.items.iter().any(is_asked);
    if is_untouched {
        return (request, 0);
    }
    let pick = |name: Option<&str>| match name.or(parameter.as_deref()) {
        Some(NO_PIPELINE) => None,
        // Modules of Beats name pipelines that Elasticsearch would have been given before.
        Some(name) => (pipelines.named)(name).or_else(|| pipelines.own.clone()),
        None => pipelines.own.clone(),
    };
    let made_bytes = request.take_through(pick, received, event_bytes_max);
    (request, made_bytes)
}

fn names_of(names: PathNames) -> Result<Names, ErrorReply> {
    names
        .map(|Path(names)| names)
        .map_err(|rejection| ErrorReply::bad_request(rejection.body_text()))
}

/// The parameters of the URL that change anything; the others are accepted and ignored.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameters {
    wants_refresh: bool,
    is_create: bool,
    is_conditional: bool,
    pipeline: Option<String>,
}

impl Parameters {
    fn of(query: Option<&str>) -> Parameters {
        let mut parameters = Parameters::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                ("refresh", value) => parameters.wants_refresh = value != "false",
                ("op_type", value) => parameters.is_create = value == "create",
                ("pipeline", name) if !name.is_empty() => {
                    parameters.pipeline = Some(name.to_owned());
                }
                ("if_seq_no" | "if_primary_term", _) => parameters.is_conditional = true,
                _ => {}
            }
        }
        parameters
    }
}

#[cfg(test)]
mod tests;
