//! Daybook's own API, for what no dialect has a question for: `/api/daybook/v1/*`.
//!
//! Names of indices, the query language and times are those of the Elasticsearch dialect. Answers are JSON objects, times
//! in them RFC 3339 in UTC.

mod error;
mod patterns;
pub mod usage;

use std::sync::Arc;

use axum::Router;
use event::Timestamp;

use crate::elastic::language::date_format::{DateFormat, Fill};
use crate::elastic::language::date_math::DateContext;
use crate::elastic::params::Params;
use crate::elastic::search::SearchLimits;
use crate::elastic::target::{Names, Resolved, TargetOptions};
use crate::logs::execute::Executor;
use error::ApiError;

/// What the resources need. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    executor: Executor,
    names: Arc<dyn Fn() -> Names + Send + Sync>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    limits: SearchLimits,
}

impl ApiState {
    /// Searches with `executor`. `names` tells what index names mean at the moment, `clock` the time.
    pub fn new(
        executor: Executor,
        names: Arc<dyn Fn() -> Names + Send + Sync>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        limits: SearchLimits,
    ) -> ApiState {
        ApiState {
            executor,
            names,
            clock,
            limits,
        }
    }

    /// What the parameter `index` names: an index, several with commas, or a pattern; everything without it.
    fn resolve(&self, params: &Params) -> Result<Resolved, ApiError> {
        let options = params.target_options(TargetOptions::default())?;
        let index = params.text("index").unwrap_or_default();
        Ok((self.names)().resolve(index, &options, (self.clock)())?)
    }
}

/// All resources.
pub fn routes(state: ApiState) -> Router {
    patterns::routes(state.clone()).merge(usage::routes(state))
}

/// Parameters that every resource with an `index` has.
const TARGET_PARAMS: [&str; 4] = [
    "index",
    "ignore_unavailable",
    "allow_no_indices",
    "expand_wildcards",
];

/// A mistyped parameter would change the answer in silence.
fn refuse_unknown(params: &Params, known: &[&str]) -> Result<(), ApiError> {
    let is_known = |name: &str| known.contains(&name) || TARGET_PARAMS.contains(&name);
    match params.names().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(ApiError::bad_request(format!(
            "there is no parameter [{name}]; there are {}, {}",
            TARGET_PARAMS.join(", "),
            known.join(", ")
        ))),
    }
}

/// Lists of an answer have at most this many entries.
const LIMIT_MAX: usize = 1_000;

/// The parameter `limit`: how many entries the lists of an answer have.
fn limit(params: &Params, default: usize) -> Result<usize, ApiError> {
    let Some(text) = params.text("limit") else {
        return Ok(default);
    };
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| ApiError::bad_request(format!("[limit] is a number from 1 to {LIMIT_MAX}")))
}

/// Longer messages and templates are cut, in characters.
const SHOWN_CHARS_MAX: usize = 2_000;

/// Stack traces and their kin, up to where they can be told apart.
fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A parameter that is a time: `now-1h`, RFC 3339, or milliseconds since 1970.
fn time(params: &Params, name: &str, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = params.text(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let context = DateContext {
        format: &DateFormat::default_format(),
        zone: &jiff::tz::TimeZone::UTC,
        now,
    };
    let read = context.read(text, Fill::Earliest);
    read.map(Some).map_err(|_| {
        ApiError::bad_request(format!(
            "[{name}] is no time: [{text}]; write for instance now-1h, 2026-11-23T10:00:00Z or milliseconds since 1970"
        ))
    })
}
