//! Bucket aggregations: from JSON to the engine's request.

use indexer::logs::Leaf;
use jiff::tz::TimeZone;
use regex::Regex;
use serde_json::{Map, Value};

use crate::elastic::error::ElasticError;
use crate::elastic::language::date_format::{DateFormat, Fill};
use crate::elastic::language::date_math::DateContext;
use crate::elastic::language::lucene_regex;
use crate::logs::aggregate::{
    Cells, Composite, DateHistogram, Filters, GeoGrid, Histogram, Interval, Key, Kind, NumberRange,
    NumberSource, Order, OrderBy, Ranges, Rounding, Source, SourceKind, Terms, TermsFilter,
};
use crate::logs::filter::Filter;

use super::body::{Body, is_descending, key_of, lenient_number};
use super::number::double_text;
use super::presentation::{CompositeSource, KindAndStyle, RangeStyle, Style, time_text};
use super::{AggregationContext, interval, shape};

/// `terms` has this many buckets when the request says nothing.
const TERMS_SIZE_DEFAULT: usize = 10;
const COMPOSITE_SIZE_DEFAULT: usize = 10;
const GEO_GRID_SIZE_DEFAULT: usize = 10_000;
const GEOHASH_PRECISION_DEFAULT: u64 = 5;
const GEOTILE_PRECISION_DEFAULT: u64 = 7;
/// The most filters or ranges one aggregation may have: each costs a test per event.
const FILTERS_MAX: usize = 1024;

/// `None`: not a bucket aggregation.
pub(super) fn parse(
    body: &Body<'_>,
    context: &AggregationContext<'_>,
) -> Result<Option<KindAndStyle>, ElasticError> {
    Ok(Some(match body.kind {
        "date_histogram" => date_histogram(body, context)?,
        "histogram" => histogram(body)?,
        "terms" => terms(body)?,
        "filters" => filters(body, context)?,
        "filter" => {
            let query = Value::Object(body.map.clone());
            (
                Kind::Filter((context.filter)(&query)?),
                Style::Single("filter"),
            )
        }
        "missing" => missing(body)?,
        "global" => (Kind::Global, Style::Single("global")),
        // Objects inside lists are not events of their own here, so nesting changes nothing but the count.
        "nested" => {
            let path = body.text("path")?.unwrap_or_default();
            (
                Kind::Filter(Filter::Leaf(Leaf::Exists(path))),
                Style::Single("nested"),
            )
        }
        "reverse_nested" => (Kind::Filter(Filter::All), Style::Single("reverse_nested")),
        // Every event is in our sample.
        "sampler" | "diversified_sampler" => (Kind::Filter(Filter::All), Style::Single("sampler")),
        "random_sampler" => (Kind::Filter(Filter::All), Style::Single("random_sampler")),
        "range" => range(body)?,
        "date_range" => date_range(body, context)?,
        "geohash_grid" | "geotile_grid" => geo_grid(body)?,
        "composite" => composite(body, context)?,
        _ => return Ok(None),
    }))
}

fn date_histogram(
    body: &Body<'_>,
    context: &AggregationContext<'_>,
) -> Result<KindAndStyle, ElasticError> {
    let missing = body.value("missing");
    let missing = missing.map(|value| body.millis("missing", value, context));
    let request = DateHistogram {
        field: body.required_field()?,
        rounding: rounding(body)?,
        missing: missing.transpose()?,
        min_count: body.count("min_doc_count")?.unwrap_or(0),
        extended_bounds: body.time_bounds("extended_bounds", context)?,
        hard_bounds: body.time_bounds("hard_bounds", context)?,
        order: histogram_order(body)?,
    };
    let keyed = body.boolean("keyed")?.unwrap_or(false);
    Ok((Kind::DateHistogram(request), Style::DateHistogram { keyed }))
}

fn rounding(body: &Body<'_>) -> Result<Rounding, ElasticError> {
    let offset_ms = match body.text("offset")? {
        None => 0,
        Some(text) => interval::parse_millis(&text)
            .ok_or_else(|| body.invalid("offset", "must be a length of time as [+6h]"))?,
    };
    Ok(Rounding::new(
        date_interval(body)?,
        body.time_zone()?,
        offset_ms,
    ))
}

fn date_interval(body: &Body<'_>) -> Result<Interval, ElasticError> {
    let fixed = body.text("fixed_interval")?;
    let calendar = body.text("calendar_interval")?;
    let legacy = body.text("interval")?;
    let invalid = |text: &str, what: &str| {
        ElasticError::illegal_argument(format!(
            "The supplied interval [{text}] could not be parsed as a {what} interval."
        ))
    };
    match (fixed, calendar, legacy) {
        (Some(fixed), None, None) => {
            interval::parse_fixed(&fixed).ok_or_else(|| invalid(&fixed, "fixed"))
        }
        (None, Some(calendar), None) => interval::parse_calendar(&calendar)
            .map(Interval::Calendar)
            .ok_or_else(|| invalid(&calendar, "calendar")),
        (None, None, Some(legacy)) => {
            interval::parse_legacy(&legacy).ok_or_else(|| invalid(&legacy, "fixed or calendar"))
        }
        (None, None, None) => Err(ElasticError::illegal_argument(format!(
            "Invalid interval specified, must be non-null and non-empty: aggregation [{}] needs [fixed_interval] or [calendar_interval]",
            body.aggregation
        ))),
        _ => Err(ElasticError::illegal_argument(format!(
            "Cannot use more than one of [interval], [fixed_interval] and [calendar_interval] in aggregation [{}]",
            body.aggregation
        ))),
    }
}

/// By key ascending is how histograms come anyway.
fn histogram_order(body: &Body<'_>) -> Result<Vec<Order>, ElasticError> {
    let order = body.order()?;
    let is_natural = matches!(
        order.as_slice(),
        [Order {
            by: OrderBy::Key,
            descending: false
        }]
    );
    Ok(if is_natural { Vec::new() } else { order })
}

fn histogram(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let interval = body.number("interval")?.filter(|interval| *interval > 0.0);
    let interval = interval.ok_or_else(|| body.invalid("interval", "must be a number above 0"))?;
    let request = Histogram {
        source: super::metrics::number_source(body)?,
        interval,
        offset: body.number("offset")?.unwrap_or(0.0),
        min_count: body.count("min_doc_count")?.unwrap_or(0),
        extended_bounds: body.number_bounds("extended_bounds")?,
        hard_bounds: body.number_bounds("hard_bounds")?,
        order: histogram_order(body)?,
    };
    let keyed = body.boolean("keyed")?.unwrap_or(false);
    Ok((Kind::Histogram(request), Style::Histogram { keyed }))
}

fn terms(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let mut order = body.order()?;
    if order.is_empty() {
        order.push(Order {
            by: OrderBy::Count,
            descending: true,
        });
    }
    let size = body.size("size", TERMS_SIZE_DEFAULT)?;
    if size == 0 {
        return Err(body.invalid("size", "must be greater than 0"));
    }
    let request = Terms {
        field: body.required_field()?,
        size,
        min_count: body.count("min_doc_count")?.unwrap_or(1),
        missing: body.missing_key()?,
        filter: terms_filter(body)?,
        order,
    };
    let shows_error = body.boolean("show_term_doc_count_error")?.unwrap_or(false);
    Ok((Kind::Terms(request), Style::Terms { shows_error }))
}

fn terms_filter(body: &Body<'_>) -> Result<TermsFilter, ElasticError> {
    let mut filter = TermsFilter::default();
    match body.value("include") {
        None => {}
        Some(Value::String(pattern)) if pattern.is_empty() => {}
        Some(Value::String(pattern)) => filter.include = Some(regex(body, "include", pattern)?),
        Some(Value::Array(values)) => filter.include_keys = Some(keys(body, "include", values)?),
        Some(Value::Object(map)) => filter.partition = Some(partition(body, map)?),
        Some(_) => return Err(body.invalid("include", "must be a pattern or a list")),
    }
    match body.value("exclude") {
        None => {}
        Some(Value::String(pattern)) if pattern.is_empty() => {}
        Some(Value::String(pattern)) => filter.exclude = Some(regex(body, "exclude", pattern)?),
        Some(Value::Array(values)) => filter.exclude_keys = keys(body, "exclude", values)?,
        Some(_) => return Err(body.invalid("exclude", "must be a pattern or a list")),
    }
    Ok(filter)
}

fn regex(body: &Body<'_>, name: &str, pattern: &str) -> Result<Regex, ElasticError> {
    let compiled = lucene_regex::translate(pattern, true)
        .and_then(|regex| Regex::new(&format!("^(?:{regex})$")).map_err(|error| error.to_string()));
    compiled.map_err(|problem| body.invalid(name, &format!("is not a valid pattern ({problem})")))
}

/// Values may be written as texts whatever the field holds, so each stands for all it can spell.
fn keys(body: &Body<'_>, name: &str, values: &[Value]) -> Result<Vec<Key>, ElasticError> {
    let mut keys = Vec::with_capacity(values.len());
    for value in values {
        let key = key_of(value).ok_or_else(|| body.invalid(name, "must hold single values"))?;
        match &key {
            Key::Text(text) => {
                keys.extend(text.parse::<f64>().ok().map(Key::number));
                keys.extend(text.parse::<bool>().ok().map(Key::Bool));
            }
            _ => keys.push(Key::from(value.to_string().as_str())),
        }
        keys.push(key);
    }
    Ok(keys)
}

fn partition(body: &Body<'_>, map: &Map<String, Value>) -> Result<(u64, u64), ElasticError> {
    let number = |name: &str| map.get(name).and_then(lenient_number);
    match (number("partition"), number("num_partitions")) {
        (Some(part), Some(parts)) if part >= 0.0 && part < parts => Ok((part as u64, parts as u64)),
        _ => Err(body.invalid("include", "needs a [partition] below [num_partitions]")),
    }
}

fn filters(
    body: &Body<'_>,
    context: &AggregationContext<'_>,
) -> Result<KindAndStyle, ElasticError> {
    let (mut filters, keyed) = match body.value("filters") {
        Some(Value::Object(named)) => {
            let filters: Result<Vec<(String, Filter)>, ElasticError> = named
                .iter()
                .map(|(label, query)| Ok((label.clone(), (context.filter)(query)?)))
                .collect();
            (filters?, true)
        }
        Some(Value::Array(queries)) => {
            let filters: Result<Vec<(String, Filter)>, ElasticError> = queries
                .iter()
                .enumerate()
                .map(|(at, query)| Ok((at.to_string(), (context.filter)(query)?)))
                .collect();
            (filters?, false)
        }
        _ => return Err(body.invalid("filters", "must be an object or a list of queries")),
    };
    if filters.len() > FILTERS_MAX {
        let problem = format!("has more than {FILTERS_MAX} entries");
        return Err(body.invalid("filters", &problem));
    }
    if keyed {
        filters.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let other_key = body.text("other_bucket_key")?;
    let has_other = body.boolean("other_bucket")?.unwrap_or(other_key.is_some());
    let other = has_other.then(|| other_key.unwrap_or_else(|| "_other_".to_owned()));
    let request = Filters { filters, other };
    Ok((Kind::Filters(request), Style::Filters { keyed }))
}

fn missing(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let field = body.required_field()?;
    let filter = match body.value("missing") {
        // Every event has a value then.
        Some(_) => Filter::None,
        None => Filter::Leaf(Leaf::Exists(field)).negate(),
    };
    Ok((Kind::Filter(filter), Style::Single("missing")))
}

fn range(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let mut ranges = Vec::new();
    for entry in range_entries(body)? {
        let side = |name: &str| match entry.get(name).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => lenient_number(value)
                .map(Some)
                .ok_or_else(|| body.invalid(name, "must be a number")),
        };
        let (from, to) = (side("from")?, side("to")?);
        let text = |side: Option<f64>| side.map_or("*".to_owned(), double_text);
        let key = entry.get("key").and_then(Value::as_str);
        let key = key.map_or_else(|| format!("{}-{}", text(from), text(to)), str::to_owned);
        ranges.push(NumberRange { key, from, to });
    }
    ranges_kind(body, super::metrics::number_source(body)?, ranges, false)
}

fn date_range(
    body: &Body<'_>,
    context: &AggregationContext<'_>,
) -> Result<KindAndStyle, ElasticError> {
    let (format, zone) = (body.date_format()?, body.time_zone()?);
    let mut ranges = Vec::new();
    for entry in range_entries(body)? {
        let side = |name: &str| {
            let value = entry.get(name).filter(|value| !value.is_null());
            let millis = value.map(|value| date_side(body, value, &format, &zone, context));
            millis.transpose()
        };
        let (from, to) = (side("from")?, side("to")?);
        let text = |side: Option<i64>| {
            side.map_or("*".to_owned(), |millis| time_text(millis, &format, &zone))
        };
        let key = entry.get("key").and_then(Value::as_str);
        let key = key.map_or_else(|| format!("{}-{}", text(from), text(to)), str::to_owned);
        ranges.push(NumberRange {
            key,
            from: from.map(|millis| millis as f64),
            to: to.map(|millis| millis as f64),
        });
    }
    let missing = body.value("missing");
    let missing = missing.map(|value| body.millis("missing", value, context));
    let source = NumberSource {
        field: body.required_field()?,
        missing: missing.transpose()?.map(|millis| millis as f64),
        script: None,
    };
    ranges_kind(body, source, ranges, true)
}

fn date_side(
    body: &Body<'_>,
    value: &Value,
    format: &DateFormat,
    zone: &TimeZone,
    context: &AggregationContext<'_>,
) -> Result<i64, ElasticError> {
    match value {
        Value::String(text) => {
            let now = context.now;
            let dates = DateContext { format, zone, now };
            let time = dates.read(text, Fill::Earliest);
            time.map(|time| time.millis())
                .map_err(|error| ElasticError::date(&error.text, &error.format))
        }
        other => body.millis("ranges", other, context),
    }
}

fn range_entries<'a>(body: &Body<'a>) -> Result<Vec<&'a Map<String, Value>>, ElasticError> {
    let Some(Value::Array(entries)) = body.value("ranges") else {
        return Err(body.invalid("ranges", "must be a list of ranges"));
    };
    if entries.is_empty() || entries.len() > FILTERS_MAX {
        let problem = format!("must have between 1 and {FILTERS_MAX} entries");
        return Err(body.invalid("ranges", &problem));
    }
    let entries: Option<Vec<&Map<String, Value>>> = entries.iter().map(Value::as_object).collect();
    entries.ok_or_else(|| body.invalid("ranges", "must hold objects"))
}

/// Ranges come by their beginning, then by their end, whatever the order of the request.
fn ranges_kind(
    body: &Body<'_>,
    source: NumberSource,
    mut ranges: Vec<NumberRange>,
    is_date: bool,
) -> Result<KindAndStyle, ElasticError> {
    let low = |side: Option<f64>| side.unwrap_or(f64::NEG_INFINITY);
    let high = |side: Option<f64>| side.unwrap_or(f64::INFINITY);
    ranges.sort_by(|a, b| {
        let by_from = low(a.from).total_cmp(&low(b.from));
        by_from.then_with(|| high(a.to).total_cmp(&high(b.to)))
    });
    let style = RangeStyle {
        keyed: body.boolean("keyed")?.unwrap_or(false),
        is_date,
        labels: ranges.iter().map(|range| range.key.clone()).collect(),
        borders: ranges.iter().map(|range| (range.from, range.to)).collect(),
    };
    Ok((
        Kind::Ranges(Ranges { source, ranges }),
        Style::Ranges(style),
    ))
}

fn geo_grid(body: &Body<'_>) -> Result<KindAndStyle, ElasticError> {
    let precision = body.count("precision");
    let (cells, style) = match body.kind {
        "geotile_grid" => {
            let zoom = precision?.unwrap_or(GEOTILE_PRECISION_DEFAULT);
            if zoom > 29 {
                return Err(body.invalid("precision", "must be between 0 and 29"));
            }
            (Cells::Geotile(zoom as u8), Style::GeoGrid("geotile_grid"))
        }
        _ => {
            // A distance as `1km` is taken for the default; only lengths of the hash are supported.
            let length = precision
                .ok()
                .flatten()
                .unwrap_or(GEOHASH_PRECISION_DEFAULT);
            if !(1..=12).contains(&length) {
                return Err(body.invalid("precision", "must be between 1 and 12"));
            }
            (Cells::Geohash(length as u8), Style::GeoGrid("geohash_grid"))
        }
    };
    let request = GeoGrid {
        field: body.required_field()?,
        cells,
        within: geo_bounds(body)?,
        size: body.size("size", GEO_GRID_SIZE_DEFAULT)?,
    };
    Ok((Kind::GeoGrid(request), style))
}

type Corners = ((f64, f64), (f64, f64));

fn geo_bounds(body: &Body<'_>) -> Result<Option<Corners>, ElasticError> {
    let Some(bounds) = body.object("bounds")? else {
        return Ok(None);
    };
    let corner = |name: &str| {
        let corner = bounds.get(name)?;
        match corner {
            Value::Object(map) => Some((
                lenient_number(map.get("lat")?)?,
                lenient_number(map.get("lon")?)?,
            )),
            Value::Array(values) => Some((
                lenient_number(values.get(1)?)?,
                lenient_number(values.first()?)?,
            )),
            Value::String(text) => {
                let (latitude, longitude) = text.split_once(',')?;
                Some((
                    latitude.trim().parse().ok()?,
                    longitude.trim().parse().ok()?,
                ))
            }
            _ => None,
        }
    };
    match (corner("top_left"), corner("bottom_right")) {
        (Some(north_west), Some(south_east)) => Ok(Some((north_west, south_east))),
        _ => Err(body.invalid("bounds", "needs [top_left] and [bottom_right]")),
    }
}

fn composite(
    body: &Body<'_>,
    context: &AggregationContext<'_>,
) -> Result<KindAndStyle, ElasticError> {
    let Some(Value::Array(entries)) = body.value("sources") else {
        return Err(body.invalid("sources", "must be a list of sources"));
    };
    let mut sources = Vec::with_capacity(entries.len());
    let mut styles = Vec::with_capacity(entries.len());
    for entry in entries {
        let (source, style) = composite_source(body, entry)?;
        sources.push(source);
        styles.push(style);
    }
    if sources.is_empty() {
        return Err(body.invalid("sources", "must not be empty"));
    }
    let after = composite_after(body, &sources, &styles, context)?;
    let request = Composite {
        sources,
        size: body.size("size", COMPOSITE_SIZE_DEFAULT)?,
        after,
    };
    let style = Style::Composite { sources: styles };
    Ok((Kind::Composite(request), style))
}

fn composite_source(
    body: &Body<'_>,
    entry: &Value,
) -> Result<(Source, CompositeSource), ElasticError> {
    let only = |value: &Value| {
        let map = value.as_object().filter(|map| map.len() == 1)?;
        let (name, value) = map.iter().next()?;
        Some((name.clone(), value.clone()))
    };
    let wrong = || shape("[sources] must hold objects as {\"name\":{\"terms\":{\"field\":…}}}");
    let (name, definition) = only(entry).ok_or_else(wrong)?;
    let (kind_name, parameters) = only(&definition).ok_or_else(wrong)?;
    let map = parameters.as_object().ok_or_else(wrong)?;
    let source_body = Body {
        aggregation: body.aggregation,
        kind: &kind_name,
        map,
    };
    let kind = match kind_name.as_str() {
        "terms" => SourceKind::Terms,
        "histogram" => {
            let interval = source_body
                .number("interval")?
                .filter(|interval| *interval > 0.0);
            let interval = interval
                .ok_or_else(|| source_body.invalid("interval", "must be a number above 0"))?;
            SourceKind::Histogram { interval }
        }
        "date_histogram" => SourceKind::DateHistogram(rounding(&source_body)?),
        other => return Err(shape(format!("Unknown composite source type [{other}]"))),
    };
    let missing_first = match source_body.text("missing_order")?.as_deref() {
        Some("first") => Some(true),
        Some("last") => Some(false),
        _ => None,
    };
    let order = source_body.value("order").map(is_descending);
    let descending = match order {
        None => false,
        Some(Some(descending)) => descending,
        Some(None) => return Err(source_body.invalid("order", "goes either asc or desc")),
    };
    let has_format = source_body.value("format").is_some();
    let style = CompositeSource {
        name: name.clone(),
        format: has_format.then(|| source_body.date_format()).transpose()?,
        zone: source_body.time_zone()?,
        is_histogram: matches!(kind, SourceKind::Histogram { .. }),
    };
    let source = Source {
        name,
        field: source_body.required_field()?,
        kind,
        descending,
        has_missing: source_body.boolean("missing_bucket")?.unwrap_or(false),
        missing_first,
    };
    Ok((source, style))
}

/// The key of the page before; times come back as they were written.
fn composite_after(
    body: &Body<'_>,
    sources: &[Source],
    styles: &[CompositeSource],
    context: &AggregationContext<'_>,
) -> Result<Option<Vec<Option<Key>>>, ElasticError> {
    let Some(after) = body.object("after")? else {
        return Ok(None);
    };
    let mut keys = Vec::with_capacity(sources.len());
    for (source, style) in sources.iter().zip(styles) {
        let Some(value) = after.get(&source.name) else {
            let problem = format!("has no value for source [{}]", source.name);
            return Err(body.invalid("after", &problem));
        };
        let is_time = matches!(source.kind, SourceKind::DateHistogram(_));
        keys.push(match value {
            Value::Null => None,
            Value::Number(_) if is_time => lenient_number(value).map(|ms| Key::Time(ms as i64)),
            Value::String(text) if is_time => {
                let default = DateFormat::default_format();
                let dates = DateContext {
                    format: style.format.as_ref().unwrap_or(&default),
                    zone: &style.zone,
                    now: context.now,
                };
                let time = dates
                    .read(text, Fill::Earliest)
                    .map_err(|error| ElasticError::date(&error.text, &error.format))?;
                Some(Key::Time(time.millis()))
            }
            value => key_of(value),
        });
    }
    Ok(Some(keys))
}
