//! `_search`, `_msearch`, `_count`: HTTP in front of the log engine.

mod highlight;
mod hit_fields;
mod leaves;
mod multi;
mod reply;
mod request;
mod sort;
mod source_filter;
mod top_hit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use event::{RetryAfter, Timestamp};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::error::ElasticError;
use super::params::Params;
use super::target::{Names, Resolved, TargetOptions};
use crate::limits::{Budget, Stop};
use crate::logs::execute::{Answer, Executor, SearchError};
use crate::logs::plan::{Count, Plan};
use request::{RequestContext, SearchRequest, parse_body, parse_query};

/// How many searches of one `_msearch` are at work at the same time: enough to keep the threads busy.
const AT_ONCE_MAX: usize = 8;

/// What searches need. Cheap to clone.
#[derive(Clone)]
pub struct SearchService {
    executor: Executor,
    names: Arc<dyn Fn() -> Names + Send + Sync>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    limits: SearchLimits,
}

/// What one search may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// How long it may take; a request may ask for less.
    pub time: Duration,
    /// How much memory its results may take, in bytes.
    pub memory_bytes_max: u64,
    /// How many bytes of documents it may decompress.
    pub decoded_bytes_max: u64,
}

impl SearchLimits {
    /// A budget that starts now, for a request that asked for a `timeout` or not.
    pub fn budget(&self, timeout: Option<Duration>) -> Budget {
        let time = timeout.map_or(self.time, |timeout| timeout.min(self.time));
        Budget::new(time, self.memory_bytes_max).decoding_at_most(self.decoded_bytes_max)
    }
}

impl SearchService {
    /// Searches with `executor`. `names` tells what index names mean at the moment, `clock` the time.
    pub fn new(
        executor: Executor,
        names: Arc<dyn Fn() -> Names + Send + Sync>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        limits: SearchLimits,
    ) -> SearchService {
        SearchService {
            executor,
            names,
            clock,
            limits,
        }
    }

    /// Searches the executor's shards, which are all there is: no aliases, no empty indices.
    pub fn of_shards(executor: Executor, limits: SearchLimits) -> SearchService {
        let shards = Arc::clone(executor.shards());
        let names = Arc::new(move || Names::new(shards.shard_ids()));
        SearchService::new(executor, names, Arc::new(Timestamp::now), limits)
    }
}

/// The routes of this resource; to be wrapped by [`super::envelope::layer`].
pub fn routes(service: SearchService) -> Router {
    Router::new()
        .route("/_search", get(search_all).post(search_all))
        .route("/{target}/_search", get(search).post(search))
        .route("/_msearch", get(multi_search_all).post(multi_search_all))
        .route("/{target}/_msearch", get(multi_search).post(multi_search))
        .route("/_count", get(count_all).post(count_all))
        .route("/{target}/_count", get(count).post(count))
        .route("/_search/scroll", post(no_scroll).get(no_scroll))
        .with_state(service)
}

async fn search_all(
    State(service): State<SearchService>,
    params: Params,
    body: Bytes,
) -> Result<Response, ElasticError> {
    service.search(String::new(), params, body).await
}

async fn search(
    State(service): State<SearchService>,
    Path(target): Path<String>,
    params: Params,
    body: Bytes,
) -> Result<Response, ElasticError> {
    service.search(target, params, body).await
}

async fn multi_search_all(
    State(service): State<SearchService>,
    params: Params,
    body: Bytes,
) -> Result<Response, ElasticError> {
    service.multi_search("", params, body).await
}

async fn multi_search(
    State(service): State<SearchService>,
    Path(target): Path<String>,
    params: Params,
    body: Bytes,
) -> Result<Response, ElasticError> {
    service.multi_search(&target, params, body).await
}

async fn count_all(
    State(service): State<SearchService>,
    params: Params,
    body: Bytes,
) -> Result<Response, ElasticError> {
    service.count("", &params, &body).await
}

async fn count(
    State(service): State<SearchService>,
    Path(target): Path<String>,
    params: Params,
    body: Bytes,
) -> Result<Response, ElasticError> {
    service.count(&target, &params, &body).await
}

async fn no_scroll() -> ElasticError {
    ElasticError::illegal_argument(
        "[scroll] is not supported by this server; page with [search_after]",
    )
}

impl SearchService {
    async fn search(
        &self,
        expression: String,
        params: Params,
        body: Bytes,
    ) -> Result<Response, ElasticError> {
        let started = Instant::now();
        let options = params.target_options(TargetOptions::default())?;
        let body = parse_body(&body)?;
        let (request, answer) = self.run(&expression, options, body, &params).await?;
        let written =
            blocking(move || reply::write_search(&request, &answer, started.elapsed(), None));
        Ok(json(written.await?))
    }

    /// Answers each search for itself; a mistake in one of them is told in its place.
    async fn multi_search(
        &self,
        expression: &str,
        params: Params,
        body: Bytes,
    ) -> Result<Response, ElasticError> {
        let started = Instant::now();
        let options = params.target_options(TargetOptions::default())?;
        let items = multi::parse(&body, expression, options)?;
        let mut replies: Vec<Vec<u8>> = Vec::new();
        replies.resize_with(items.len(), Vec::new);
        // Dropping the set, when the client leaves, cancels those at work.
        let mut searches = JoinSet::new();
        let mut waiting = items.into_iter().enumerate();
        loop {
            while searches.len() < AT_ONCE_MAX {
                let Some((number, item)) = waiting.next() else {
                    break;
                };
                let (service, params) = (self.clone(), params.clone());
                searches.spawn(async move { (number, service.search_item(item, &params).await) });
            }
            let Some(done) = searches.join_next().await else {
                break;
            };
            let (number, reply) = done.map_err(ended)?;
            replies[number] = reply;
        }
        let bytes: usize = replies.iter().map(|reply| reply.len() + 1).sum();
        let mut out = Vec::with_capacity(bytes + 64);
        let took = started.elapsed().as_millis();
        out.extend_from_slice(format!("{{\"took\":{took},\"responses\":[").as_bytes());
        out.extend_from_slice(&replies.join(&b','));
        out.extend_from_slice(b"]}");
        Ok(json(out))
    }

    async fn search_item(&self, item: multi::Item, params: &Params) -> Vec<u8> {
        let started = Instant::now();
        let found = match item.body {
            Ok(body) => self.run(&item.expression, item.options, body, params).await,
            Err(error) => Err(error),
        };
        let written = match found {
            Ok((request, answer)) => {
                blocking(move || {
                    reply::write_search(&request, &answer, started.elapsed(), Some(200))
                })
                .await
            }
            Err(error) => Err(error),
        };
        written.unwrap_or_else(|error| error.to_item_json().to_string().into_bytes())
    }

    async fn count(
        &self,
        expression: &str,
        params: &Params,
        body: &[u8],
    ) -> Result<Response, ElasticError> {
        let options = params.target_options(TargetOptions::default())?;
        let body = parse_body(body)?;
        let now = (self.clock)();
        let resolved = (self.names)().resolve(expression, &options, now)?;
        let indices = index_names(&resolved);
        let context = RequestContext {
            now,
            indices: &indices,
        };
        let plan = Plan {
            filter: parse_query(&body, params, &context)?,
            count: Count::Exactly,
            ..Plan::default()
        };
        let answer = self.execute(&resolved, plan, None).await?;
        Ok(json(reply::write_count(&answer)))
    }

    async fn run(
        &self,
        expression: &str,
        options: TargetOptions,
        body: Map<String, Value>,
        params: &Params,
    ) -> Result<(SearchRequest, Answer), ElasticError> {
        let now = (self.clock)();
        let resolved = (self.names)().resolve(expression, &options, now)?;
        let indices = index_names(&resolved);
        let params = params.clone();
        // A list of ten thousand ids, or regular expressions to compile, take their time.
        let parsed = blocking(move || {
            let context = RequestContext {
                now,
                indices: &indices,
            };
            SearchRequest::parse(&body, &params, &context)
        });
        let mut request = parsed.await??;
        let plan = request.plan.clone();
        let answer = self
            .execute(&resolved, plan, request.timeout.take())
            .await?;
        if !request.allows_partial {
            refuse_partial(&answer)?;
        }
        Ok((request, answer))
    }

    async fn execute(
        &self,
        resolved: &Resolved,
        plan: Plan,
        timeout: Option<Duration>,
    ) -> Result<Answer, ElasticError> {
        let budget = self.limits.budget(timeout);
        let found = self
            .executor
            .search(resolved.search_target(), Arc::new(plan), budget)
            .await;
        found.map_err(|error| match error {
            SearchError::Aggregate(error) => error.into(),
            SearchError::Stopped(Stop::OutOfMemory) => {
                let limit = self.limits.memory_bytes_max;
                ElasticError::circuit_breaking(limit.saturating_add(1), limit)
            }
            SearchError::Stopped(stop) => ElasticError::internal(stop.to_string()),
            SearchError::AllShardsFailed(failures) => all_failed(&failures),
            SearchError::Overloaded(_) => {
                ElasticError::rejected(error.to_string(), RetryAfter::ONE_SECOND)
            }
            SearchError::Internal(reason) => ElasticError::internal(reason),
        })
    }
}

/// Runs what may take more than a moment off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ElasticError> {
    tokio::task::spawn_blocking(work).await.map_err(ended)
}

fn ended(error: tokio::task::JoinError) -> ElasticError {
    ElasticError::internal(format!("a search ended early: {error}"))
}

fn index_names(resolved: &Resolved) -> Vec<String> {
    let shards = resolved.shards();
    let shards = shards.iter().map(|shard| shard.name());
    shards.chain(resolved.created.iter().cloned()).collect()
}

/// For clients that want the whole answer or none.
fn refuse_partial(answer: &Answer) -> Result<(), ElasticError> {
    if !answer.failures.is_empty() {
        return Err(all_failed(&answer.failures));
    }
    match answer.behind {
        _ if answer.timed_out => Err(all_failed(&[])),
        None => Ok(()),
        Some(waited) => Err(ElasticError::shard_unavailable(format!(
            "the index is {} s behind its input",
            waited.as_secs()
        ))),
    }
}

fn all_failed(failures: &[crate::logs::execute::ShardFailure]) -> ElasticError {
    if failures.is_empty() {
        return ElasticError::shard_unavailable("the search ran out of time");
    }
    let failures = failures.iter().map(reply::shard_failure).collect();
    ElasticError::all_shards_failed(StatusCode::SERVICE_UNAVAILABLE, failures)
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
