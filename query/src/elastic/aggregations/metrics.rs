//! Metric aggregations: from JSON to the engine's request.

use serde_json::{Map, Value};

use crate::elastic::error::ElasticError;
use crate::logs::aggregate::{
    CARDINALITY_PRECISION_DEFAULT, CARDINALITY_PRECISION_MAX, GeoPoints, Kind, Moment,
    NumberSource, SortField, TopHits, TopMetrics,
};

use super::body::{Body, is_descending};
use super::presentation::{KindAndStyle, PercentilesStyle, Style};
use super::{interval, script};

/// How many standard deviations the bounds of `extended_stats` are away when the request says nothing.
pub(super) const SIGMA_DEFAULT: f64 = 2.0;
/// What `percentiles` tells when the request says nothing.
pub(super) const PERCENTS_DEFAULT: [f64; 7] = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];
/// How deep `top_hits` may reach per bucket; Elasticsearch's `max_inner_result_window`.
const TOP_HITS_MAX: usize = 100;
const TOP_HITS_SIZE_DEFAULT: usize = 3;
/// How many events `top_metrics` may tell per bucket, a little more than Elasticsearch allows.
const TOP_METRICS_MAX: usize = 100;

/// `None`: not a metric aggregation.
pub(super) fn parse(body: &Body<'_>) -> Result<Option<KindAndStyle>, ElasticError> {
    Ok(Some(match body.kind {
        "avg" => moment(body, Moment::Average)?,
        "sum" => moment(body, Moment::Sum)?,
        "min" => moment(body, Moment::Min)?,
        "max" => moment(body, Moment::Max)?,
        "stats" => moments(body, None, SIGMA_DEFAULT, Style::Stats)?,
        "extended_stats" => {
            let sigma = sigma(body)?;
            moments(body, None, sigma, Style::ExtendedStats { sigma })?
        }
        "value_count" => {
            let kind = Kind::ValueCount {
                field: body.required_field()?,
                has_missing: body.value("missing").is_some(),
            };
            (kind, Style::Count("value_count"))
        }
        "cardinality" => {
            let precision = body.size("precision_threshold", CARDINALITY_PRECISION_DEFAULT)?;
            let kind = Kind::Cardinality {
                field: body.required_field()?,
                missing: body.missing_key()?,
                precision: precision.min(CARDINALITY_PRECISION_MAX),
            };
            (kind, Style::Count("cardinality"))
        }
        "percentiles" => {
            let percents = body.numbers("percents")?;
            let percents = percents.unwrap_or_else(|| PERCENTS_DEFAULT.to_vec());
            if percents
                .iter()
                .any(|percent| !(0.0..=100.0).contains(percent))
            {
                return Err(body.invalid("percents", "must lie between 0 and 100"));
            }
            let style = Style::Percentiles(percentiles_style(body, percents)?);
            (Kind::Quantiles(number_source(body)?), style)
        }
        "percentile_ranks" => {
            let values = body.numbers("values")?;
            let values = values.ok_or_else(|| body.invalid("values", "is needed"))?;
            let style = Style::PercentileRanks(percentiles_style(body, values)?);
            (Kind::Quantiles(number_source(body)?), style)
        }
        "rate" => rate(body)?,
        "top_metrics" => top_metrics(body)?,
        "top_hits" => top_hits(body)?,
        "geo_bounds" => (geo_points(body)?, Style::GeoBounds),
        "geo_centroid" => (geo_points(body)?, Style::GeoCentroid),
        _ => return Ok(None),
    }))
}

fn moment(body: &Body<'_>, value: Moment) -> Result<KindAndStyle, ElasticError> {
    moments(body, Some(value), SIGMA_DEFAULT, Style::Value(value))
}

fn moments(
    body: &Body<'_>,
    value: Option<Moment>,
    sigma: f64,
    style: Style,
) -> Result<KindAndStyle, ElasticError> {
    let source = number_source(body)?;
    let kind = Kind::Moments {
        source,
        value,
        sigma,
    };
    Ok((kind, style))
}

/// The field, the value of events that have none, and the script; the script may name the field.
pub(super) fn number_source(body: &Body<'_>) -> Result<NumberSource, ElasticError> {
    let (script, script_field) = match script::parse_metric(body)? {
        Some((script, field)) => (Some(script), field),
        None => (None, None),
    };
    let field = match (body.field()?, script_field) {
        (Some(field), _) | (None, Some(field)) => field,
        (None, None) => body.required_field()?,
    };
    Ok(NumberSource {
        field,
        missing: body.number("missing")?,
        script,
    })
}

pub(super) fn sigma(body: &Body<'_>) -> Result<f64, ElasticError> {
    match body.number("sigma")? {
        None => Ok(SIGMA_DEFAULT),
        Some(sigma) if sigma >= 0.0 => Ok(sigma),
        Some(_) => Err(body.invalid("sigma", "must be at least 0")),
    }
}

fn percentiles_style(body: &Body<'_>, at: Vec<f64>) -> Result<PercentilesStyle, ElasticError> {
    Ok(PercentilesStyle {
        keyed: body.boolean("keyed")?.unwrap_or(true),
        at,
        is_hdr: body.value("hdr").is_some(),
    })
}

fn rate(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let unit = match body.text("unit")?.filter(|unit| !unit.is_empty()) {
        None => None,
        Some(unit) => {
            let known = interval::parse_calendar(&unit);
            Some(known.ok_or_else(|| body.invalid("unit", "must be a unit as [second] or [day]"))?)
        }
    };
    let has_numbers = body.field()?.is_some() || body.value("script").is_some();
    let source = has_numbers.then(|| number_source(body)).transpose()?;
    let kind = Kind::Rate {
        source,
        counts_values: body.text("mode")?.as_deref() == Some("value_count"),
        unit,
    };
    Ok((kind, Style::Rate))
}

fn top_metrics(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let metrics = match body.value("metrics") {
        Some(Value::Array(metrics)) => metrics.as_slice(),
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => return Err(body.invalid("metrics", "must be a list of {\"field\":…}")),
    };
    let field = |metric: &Value| metric.get("field")?.as_str().map(str::to_owned);
    let fields: Option<Vec<String>> = metrics.iter().map(field).collect();
    let fields = fields.ok_or_else(|| body.invalid("metrics", "must name a [field] each"))?;
    let size = body.size("size", 1)?;
    if !(1..=TOP_METRICS_MAX).contains(&size) {
        let problem = format!("must be between 1 and {TOP_METRICS_MAX}");
        return Err(body.invalid("size", &problem));
    }
    let request = TopMetrics {
        sort: sort(body)?,
        fields: fields.clone(),
        size,
    };
    Ok((Kind::TopMetrics(request), Style::TopMetrics { fields }))
}

fn top_hits(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let from = body.size("from", 0)?;
    let size = body.size("size", TOP_HITS_SIZE_DEFAULT)?;
    if from.saturating_add(size) > TOP_HITS_MAX {
        return Err(ElasticError::illegal_argument(format!(
            "Top hits result window is too large, the top hits aggregator [{}]'s from + size must be less than or equal to: [{TOP_HITS_MAX}] but was [{}]",
            body.aggregation,
            from.saturating_add(size)
        )));
    }
    let request = TopHits {
        sort: sort(body)?,
        from,
        size,
    };
    let style = Style::TopHits {
        from,
        options: Value::Object(body.map.clone()),
    };
    Ok((Kind::TopHits(request), style))
}

/// `"f"`, `{"f":"desc"}`, `{"f":{"order":"desc"}}`, or a list of these. Scores are all equal and the stored order is
/// the last criterion anyway, so `_score` and `_doc` say nothing.
fn sort(body: &Body<'_>) -> Result<Vec<SortField>, ElasticError> {
    let entries = match body.value("sort") {
        None => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    let mut fields = Vec::new();
    for entry in entries {
        match entry {
            Value::String(field) => fields.push((field.clone(), false)),
            Value::Object(map) => fields.extend(sort_object(body, map)?),
            _ => return Err(body.invalid("sort", "must hold fields or objects")),
        }
    }
    let fields = fields.into_iter();
    let is_told = |field: &(String, bool)| !matches!(field.0.as_str(), "_score" | "_doc");
    let fields = fields.filter(is_told);
    Ok(fields
        .map(|(field, descending)| SortField { field, descending })
        .collect())
}

fn sort_object(
    body: &Body<'_>,
    map: &Map<String, Value>,
) -> Result<Vec<(String, bool)>, ElasticError> {
    map.iter()
        .map(|(field, direction)| match is_descending(direction) {
            Some(descending) => Ok((field.clone(), descending)),
            None => Err(body.invalid("sort", "goes either asc or desc")),
        })
        .collect()
}

fn geo_points(body: &Body<'_>) -> Result<Kind, ElasticError> {
    let field = body.required_field()?;
    Ok(Kind::GeoPoints(GeoPoints { field }))
}
