//! `GET /api/daybook/v1/patterns`: what the messages are, how often, since when.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use event::Timestamp;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{ApiState, cut, limit, refuse_unknown, time};
use crate::elastic::aggregations::interval::parse_millis;
use crate::elastic::language::dsl::{self, QueryContext};
use crate::elastic::params::Params;
use crate::logs::filter::{Filter, TimeRange};
use crate::logs::patterns::{Pattern, PatternsAnswer, PatternsQuestion};

const PARAMS: [&str; 7] = [
    "query",
    "start",
    "end",
    "step",
    "limit",
    "new_since",
    "gone_since",
];

/// How many patterns are told.
const LIMIT_DEFAULT: usize = 100;

/// How many buckets of time there may be, and about how many there are without a `step`.
const BUCKETS_MAX: i64 = 1_000;
const BUCKETS_DEFAULT: i64 = 60;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Steps that people read well.
const STEPS: [i64; 17] = [
    SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
];

pub(super) fn routes(state: ApiState) -> Router {
    Router::new()
        .route("/api/daybook/v1/patterns", get(patterns))
        .with_state(state)
}

async fn patterns(State(state): State<ApiState>, params: Params) -> Result<Json<Value>, ApiError> {
    refuse_unknown(&params, &PARAMS)?;
    let now = (state.clock)();
    let span = Span::parse(&params, now)?;
    let limit = limit(&params, LIMIT_DEFAULT)?;
    let resolved = state.resolve(&params)?;
    let query = params.text("query").unwrap_or_default().to_owned();
    // Regular expressions to compile take their time.
    let parsed = tokio::task::spawn_blocking(move || parse_query(&query, now));
    let filter = parsed.await.map_err(ApiError::internal)??;
    let question = PatternsQuestion {
        filter,
        range: TimeRange::until(span.start, span.end),
        step_nanos: span.step_nanos,
        new_since: span.new_since,
        gone_since: span.gone_since,
        limit,
    };
    let budget = state.limits.budget(None);
    let asked = question.ask(&state.executor, resolved.search_target(), budget);
    Ok(Json(reply(&span, &asked.await?)))
}

fn parse_query(query: &str, now: Timestamp) -> Result<Filter, ApiError> {
    if query.trim().is_empty() {
        return Ok(Filter::All);
    }
    let query = json!({ "query_string": { "query": query } });
    Ok(dsl::parse(&query, &QueryContext { now })?)
}

/// The times of a question.
struct Span {
    start: Timestamp,
    end: Timestamp,
    step_nanos: i64,
    new_since: Option<Timestamp>,
    gone_since: Option<Timestamp>,
}

impl Span {
    fn parse(params: &Params, now: Timestamp) -> Result<Span, ApiError> {
        let new_since = time(params, "new_since", now)?;
        let gone_since = time(params, "gone_since", now)?;
        let end = time(params, "end", now)?.unwrap_or(now);
        // What is new shows only against some time before.
        let earliest = [Some(end), new_since, gone_since]
            .into_iter()
            .flatten()
            .min();
        let hour_before =
            |time: Timestamp| Timestamp::from_nanos(time.nanos().saturating_sub(HOUR));
        let start = match time(params, "start", now)? {
            Some(start) => start,
            None => hour_before(earliest.unwrap_or(end)),
        };
        if start >= end {
            return Err(ApiError::bad_request("[start] must be before [end]"));
        }
        for (name, time) in [("new_since", new_since), ("gone_since", gone_since)] {
            if time.is_some_and(|time| time <= start || time > end) {
                return Err(ApiError::bad_request(format!(
                    "[{name}] must lie between [start] and [end]: patterns before and after it are compared"
                )));
            }
        }
        let step_nanos = step(params, start, end)?;
        Ok(Span {
            start,
            end,
            step_nanos,
            new_since,
            gone_since,
        })
    }

    /// The numbers of the first and the last bucket.
    fn buckets(&self) -> (i64, i64) {
        bucket_numbers(self.start, self.end, self.step_nanos)
    }
}

fn bucket_numbers(start: Timestamp, end: Timestamp, step_nanos: i64) -> (i64, i64) {
    let number = |nanos: i64| nanos.div_euclid(step_nanos);
    (number(start.nanos()), number(end.nanos() - 1))
}

fn step(params: &Params, start: Timestamp, end: Timestamp) -> Result<i64, ApiError> {
    let count = |step_nanos: i64| {
        let (first, last) = bucket_numbers(start, end, step_nanos);
        last.saturating_sub(first).saturating_add(1)
    };
    let Some(text) = params.text("step").filter(|text| !text.is_empty()) else {
        let fitting = STEPS
            .into_iter()
            .find(|step| count(*step) <= BUCKETS_DEFAULT + 1);
        let days = count(DAY).div_euclid(BUCKETS_DEFAULT) + 1;
        return Ok(fitting.unwrap_or(days.saturating_mul(DAY)));
    };
    let millis = parse_millis(text).filter(|millis| *millis > 0);
    let nanos = millis.and_then(|millis| millis.checked_mul(1_000_000));
    let nanos = nanos.ok_or_else(|| {
        ApiError::bad_request(format!(
            "[step] is no length of time: [{text}]; write for instance 30s, 5m or 1h"
        ))
    })?;
    match count(nanos) <= BUCKETS_MAX {
        true => Ok(nanos),
        false => Err(ApiError::bad_request(format!(
            "more than {BUCKETS_MAX} buckets of time; ask for a longer [step] or a shorter time"
        ))),
    }
}

fn reply(span: &Span, answer: &PatternsAnswer) -> Value {
    let (first, last) = span.buckets();
    let start = |bucket: i64| Timestamp::from_nanos(bucket.saturating_mul(span.step_nanos));
    let starts: Vec<String> = (first..=last)
        .map(|bucket| start(bucket).to_rfc3339())
        .collect();
    let patterns = answer.patterns.iter();
    let patterns: Vec<Value> = patterns
        .map(|pattern| shown(pattern, answer.total, (first, last)))
        .collect();
    let failures = answer.search.failures.iter();
    let failures: Vec<Value> = failures
        .map(|failure| json!({ "shard": failure.shard, "reason": failure.message }))
        .collect();
    json!({
        "start": span.start.to_rfc3339(),
        "end": span.end.to_rfc3339(),
        "step_ms": span.step_nanos / 1_000_000,
        "total": answer.total,
        "without_template": answer.without_template,
        "pattern_count": answer.pattern_count,
        "buckets": starts,
        "patterns": patterns,
        "partial": answer.is_partial(),
        "timed_out": answer.search.timed_out || answer.search.behind.is_some(),
        "failures": failures,
    })
}

fn shown(pattern: &Pattern, total: u64, (first, last): (i64, i64)) -> Value {
    let found = &pattern.found;
    let mut counts = vec![0; (last - first + 1) as usize];
    for (bucket, count) in &found.buckets {
        let at = usize::try_from(bucket - first).ok();
        if let Some(counted) = at.and_then(|at| counts.get_mut(at)) {
            *counted += count;
        }
    }
    json!({
        "pattern": cut(&pattern.text),
        "field": pattern.field,
        "count": found.count,
        "share": found.count as f64 / total.max(1) as f64,
        "counts": counts,
        "first_seen": found.first_seen.to_rfc3339(),
        "last_seen": found.last_seen.to_rfc3339(),
        "templates": pattern.template_count,
        "example": pattern.example.as_deref().map(cut),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_428_000 * SECOND;

    fn span(params: &str) -> Result<Span, ApiError> {
        let params = Params::of(&format!("/x?{params}").parse().unwrap());
        Span::parse(&params, Timestamp::from_nanos(NOW))
    }

    #[test]
    fn the_last_hour_by_the_minute_is_asked_for_by_default() {
        let span = span("").unwrap();
        assert_eq!(span.end.nanos() - span.start.nanos(), HOUR);
        assert_eq!((span.end.nanos(), span.step_nanos), (NOW, MINUTE));
        assert_eq!(span.buckets().1 - span.buckets().0 + 1, 60);
    }

    #[test]
    fn steps_follow_the_length_of_time() {
        for (params, expected) in [
            ("start=now-1m", SECOND),
            ("start=now-6h", 10 * MINUTE),
            ("start=now-1d", 30 * MINUTE),
            ("start=now-30d", 12 * HOUR),
            ("start=now-365d", 7 * DAY),
            ("start=now-1d&step=1h30m", 90 * MINUTE),
        ] {
            assert_eq!(span(params).unwrap().step_nanos, expected, "{params}");
        }
    }

    #[test]
    fn what_is_new_is_compared_with_the_hour_before() {
        let span = span("new_since=now-3h").unwrap();
        assert_eq!(NOW - span.start.nanos(), 4 * HOUR);
        assert_eq!(NOW - span.new_since.unwrap().nanos(), 3 * HOUR);
    }

    #[test]
    fn times_that_make_no_sense_are_refused() {
        for params in [
            "start=tomorrow",
            "start=now&end=now-1h",
            "step=0",
            "step=often",
            "start=now-1d&step=1s",
            "start=now-1h&new_since=now-2h",
            "start=now-1h&gone_since=now%2B2h",
        ] {
            assert!(span(params).is_err(), "{params}");
        }
    }
}
