//! One search request: body and URL parameters, read as tolerantly as clients need.
//!
//! What changes the answer and cannot be done is refused; what only changes speed, scores or explanations is ignored.

use std::time::Duration;

use event::Timestamp;
use serde_json::{Map, Value, json};

use super::highlight::Highlight;
use super::hit_fields::HitFields;
use super::sort::Sort;
use super::source_filter::SourceFilter;
use crate::elastic::aggregations::{self, AggregationContext, AggregationRequest};
use crate::elastic::error::{Cause, ElasticError, RESULT_WINDOW_MAX};
use crate::elastic::language::dsl::{self, QueryContext};
use crate::elastic::language::lenient;
use crate::elastic::params::Params;
use crate::logs::execute::Answer;
use crate::logs::filter::Filter;
use crate::logs::plan::{Count, Plan};

/// How many hits are told where the request does not say.
const SIZE_DEFAULT: u64 = 10;

/// How far hits are counted where the request does not say.
const TRACK_TOTAL_HITS_DEFAULT: u64 = 10_000;

/// A request, ready to be run and answered.
pub(super) struct SearchRequest {
    pub plan: Plan,
    pub sort: Sort,
    pub source: SourceFilter,
    pub fields: HitFields,
    pub highlight: Option<Highlight>,
    pub timeout: Option<Duration>,
    pub has_metadata: bool,
    pub has_version: bool,
    pub has_sequence_number: bool,
    pub total_as_integer: bool,
    pub allows_partial: bool,
    tracks_scores: bool,
    typed_keys: bool,
    aggregations: AggregationRequest,
}

/// What a request depends on beside itself.
pub(super) struct RequestContext<'a> {
    pub now: Timestamp,
    /// The names of the indices searched; errors of the query language name them.
    pub indices: &'a [String],
}

/// The body of a request as an object; nothing is an empty one.
pub(super) fn parse_body(body: &[u8]) -> Result<Map<String, Value>, ElasticError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body).map_err(|error| ElasticError::json_parse(&error))? {
        Value::Object(object) => Ok(object),
        other => Err(ElasticError::parsing(
            format!("Expected [START_OBJECT] but found [{other}]"),
            1,
            1,
        )),
    }
}

/// The filter of a request: `query` of the body, or `q` of the URL.
pub(super) fn parse_query(
    body: &Map<String, Value>,
    params: &Params,
    context: &RequestContext<'_>,
) -> Result<Filter, ElasticError> {
    if let Some(text) = params.text("q") {
        let mut query = json!({"query": text});
        for (param, option) in [
            ("df", "default_field"),
            ("default_operator", "default_operator"),
        ] {
            if let Some(value) = params.text(param) {
                query[option] = value.into();
            }
        }
        return parse_dsl(&json!({ "query_string": query }), context);
    }
    match body.get("query") {
        None | Some(Value::Null) => Ok(Filter::All),
        Some(query) => parse_dsl(query, context),
    }
}

fn parse_dsl(query: &Value, context: &RequestContext<'_>) -> Result<Filter, ElasticError> {
    let query_context = QueryContext { now: context.now };
    dsl::parse(query, &query_context).map_err(|error| error.into_elastic(context.indices))
}

impl SearchRequest {
    /// Reads a request. Parameters of the URL win over the body.
    ///
    /// # Errors
    /// 400 for what cannot be understood or is not supported.
    pub fn parse(
        body: &Map<String, Value>,
        params: &Params,
        context: &RequestContext<'_>,
    ) -> Result<SearchRequest, ElasticError> {
        refuse_unsupported(body, params)?;
        let option = |name: &str| match params.text(name) {
            Some(text) => Some(Value::from(text)),
            None => body.get(name).filter(|value| !value.is_null()).cloned(),
        };
        let flag = |name: &str| match option(name) {
            None => Ok(false),
            Some(value) => lenient::boolean(&value).ok_or_else(|| refuse(name, &value)),
        };
        let query = parse_query(body, params, context)?;
        let sort = match params.text("sort") {
            Some(text) => Sort::parse_url(text)?,
            None => Sort::parse(body.get("sort").unwrap_or(&Value::Null))?,
        };
        let from = whole("from", option("from"))?.unwrap_or(0);
        let size = whole("size", option("size"))?.unwrap_or(SIZE_DEFAULT);
        let search_after = sort.search_after(body.get("search_after").unwrap_or(&Value::Null))?;
        if search_after.is_some() && from > 0 {
            return Err(ElasticError::illegal_argument(
                "`from` parameter must be set to 0 when `search_after` is used",
            ));
        }
        if from.saturating_add(size) > RESULT_WINDOW_MAX {
            return Err(ElasticError::result_window(from.saturating_add(size)));
        }
        let aggregations = parse_aggregations(body, context)?;
        let post_filter = match body.get("post_filter").filter(|value| !is_nothing(value)) {
            Some(query) => Some(parse_dsl(query, context)?),
            None => None,
        };
        let highlight = match body.get("highlight") {
            Some(value) => {
                let own_query = value.get("highlight_query");
                let own_query = own_query
                    .map(|query| parse_dsl(query, context))
                    .transpose()?;
                Highlight::parse(value, own_query.as_ref().unwrap_or(&query))?
            }
            None => None,
        };
        let has_metadata = stored_fields(option("stored_fields")) != Some(StoredFields::None);
        let terminate_after = whole("terminate_after", option("terminate_after"))?;
        Ok(SearchRequest {
            plan: Plan {
                filter: query,
                post_filter,
                order: sort.order(),
                search_after,
                from: usize::try_from(from).unwrap_or(usize::MAX),
                size: usize::try_from(size).unwrap_or(usize::MAX),
                count: count(option("track_total_hits"))?,
                terminate_after: terminate_after.filter(|limit| *limit > 0),
                aggregations: aggregations.aggregations.clone(),
            },
            source: source(body, params, &option)?,
            fields: fields(body, params)?,
            highlight,
            timeout: duration("timeout", option("timeout"))?,
            has_metadata,
            has_version: flag("version")?,
            has_sequence_number: flag("seq_no_primary_term")?,
            total_as_integer: params.flag("rest_total_hits_as_int", false)?,
            allows_partial: params.flag("allow_partial_search_results", true)?,
            tracks_scores: flag("track_scores")?,
            typed_keys: params.flag("typed_keys", false)?,
            sort,
            aggregations,
        })
    }

    /// Whether hits tell a score. All scores are 1.0: logs have an order, not a relevance.
    pub fn has_scores(&self) -> bool {
        self.sort.is_empty() || self.sort.has_score() || self.tracks_scores
    }

    /// The value of `aggregations` in the reply.
    pub fn render_aggregations(&self, answer: &Answer) -> String {
        self.aggregations.render(
            &answer.aggregations,
            self.typed_keys,
            &super::top_hit::render,
        )
    }
}

fn refuse_unsupported(body: &Map<String, Value>, params: &Params) -> Result<(), ElasticError> {
    let is_set = |name: &str| body.get(name).is_some_and(|value| !is_nothing(value));
    for name in ["collapse", "knn", "suggest", "slice", "pit", "retriever"] {
        if is_set(name) {
            return Err(ElasticError::illegal_argument(format!(
                "[{name}] is not supported by this server"
            )));
        }
    }
    if params.text("scroll").is_some() {
        return Err(ElasticError::illegal_argument(
            "[scroll] is not supported by this server; page with [search_after]",
        ));
    }
    let has_script = is_set("script_fields")
        || body
            .get("runtime_mappings")
            .and_then(Value::as_object)
            .is_some_and(|fields| fields.values().any(|field| field.get("script").is_some()));
    if has_script {
        return Err(ElasticError::cause(
            http::StatusCode::BAD_REQUEST,
            Cause::new("script_exception", "scripted fields are not supported"),
        ));
    }
    Ok(())
}

fn parse_aggregations(
    body: &Map<String, Value>,
    context: &RequestContext<'_>,
) -> Result<AggregationRequest, ElasticError> {
    let value = body.get("aggs").or_else(|| body.get("aggregations"));
    let Some(value) = value.filter(|value| !is_nothing(value)) else {
        return Ok(AggregationRequest::default());
    };
    let filter = |query: &Value| parse_dsl(query, context);
    let aggregation_context = AggregationContext {
        now: context.now,
        filter: &filter,
    };
    aggregations::parse(value, &aggregation_context)
}

fn count(track_total_hits: Option<Value>) -> Result<Count, ElasticError> {
    let Some(value) = track_total_hits else {
        return Ok(Count::UpTo(TRACK_TOTAL_HITS_DEFAULT));
    };
    match (lenient::boolean(&value), lenient::integer(&value)) {
        (Some(true), _) => Ok(Count::Exactly),
        (Some(false), _) => Ok(Count::Nothing),
        // -1 is how the Java client spells true.
        (None, Some(-1)) => Ok(Count::Exactly),
        (None, Some(limit)) if limit >= 0 => Ok(Count::UpTo(limit.unsigned_abs())),
        _ => Err(refuse("track_total_hits", &value)),
    }
}

fn source(
    body: &Map<String, Value>,
    params: &Params,
    option: &dyn Fn(&str) -> Option<Value>,
) -> Result<SourceFilter, ElasticError> {
    let owned = |name: &str| -> Vec<String> {
        let list = params.list(name).unwrap_or_default();
        list.into_iter().map(str::to_owned).collect()
    };
    let (includes, excludes) = (owned("_source_includes"), owned("_source_excludes"));
    if !includes.is_empty() || !excludes.is_empty() {
        return SourceFilter::of(&includes, &excludes);
    }
    if let Some(text) = params.text("_source") {
        return SourceFilter::parse_url(text);
    }
    if let Some(value) = body.get("_source") {
        return SourceFilter::parse(value);
    }
    // Who lists stored fields does not get the source, unless it is asked for.
    Ok(match stored_fields(option("stored_fields")) {
        None | Some(StoredFields::All) => SourceFilter::default(),
        Some(StoredFields::None | StoredFields::Listed) => SourceFilter::off(),
    })
}

#[derive(PartialEq)]
enum StoredFields {
    All,
    None,
    Listed,
}

fn stored_fields(value: Option<Value>) -> Option<StoredFields> {
    let names = lenient::texts(&value?)?;
    if names.iter().any(|name| name == "_none_") {
        return Some(StoredFields::None);
    }
    let has_all = names.iter().any(|name| name == "*" || name == "_source");
    Some(if has_all || names.is_empty() {
        StoredFields::All
    } else {
        StoredFields::Listed
    })
}

/// `fields` go before `docvalue_fields`, and those before a list of stored fields.
fn fields(body: &Map<String, Value>, params: &Params) -> Result<HitFields, ElasticError> {
    let mut fields = HitFields::default();
    for name in ["fields", "docvalue_fields"] {
        match params.list(name) {
            Some(names) => fields.add(&json!(names))?,
            None => fields.add(body.get(name).unwrap_or(&Value::Null))?,
        }
    }
    let stored = match params.list("stored_fields") {
        Some(names) => Some(json!(names)),
        None => body.get("stored_fields").cloned(),
    };
    if stored_fields(stored.clone()) == Some(StoredFields::Listed) {
        fields.add(&stored.unwrap_or(Value::Null))?;
    }
    Ok(fields)
}

fn whole(name: &str, value: Option<Value>) -> Result<Option<u64>, ElasticError> {
    let Some(value) = value else {
        return Ok(None);
    };
    match lenient::integer(&value) {
        Some(number) if number >= 0 => Ok(Some(number.unsigned_abs())),
        Some(number) => Err(ElasticError::illegal_argument(format!(
            "[{name}] parameter cannot be negative, found [{number}]"
        ))),
        None => Err(refuse(name, &value)),
    }
}

/// `30s`, `500ms`, `1m`; a bare number is milliseconds, and -1 is none.
fn duration(name: &str, value: Option<Value>) -> Result<Option<Duration>, ElasticError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let text = lenient::text(&value).ok_or_else(|| refuse(name, &value))?;
    let digits = text.trim_start_matches('-');
    let split = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let (number, unit) = digits.split_at(split);
    let number: u64 = number.parse().map_err(|_| refuse(name, &value))?;
    if text.starts_with('-') {
        return Ok(None);
    }
    let nanos_per_unit: u64 = match unit.trim() {
        "" | "ms" => 1_000_000,
        "nanos" => 1,
        "micros" => 1_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(refuse(name, &value)),
    };
    Ok(Some(Duration::from_nanos(
        number.saturating_mul(nanos_per_unit),
    )))
}

fn refuse(name: &str, value: &Value) -> ElasticError {
    ElasticError::illegal_argument(format!("Failed to parse value [{value}] of [{name}]"))
}

/// What clients always send, wanted or not: `{}`, `[]`, null.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}
