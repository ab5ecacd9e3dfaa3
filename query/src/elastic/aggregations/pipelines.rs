//! Pipeline aggregations: from JSON to the engine's request.

use serde_json::Value;

use crate::elastic::error::ElasticError;
use crate::logs::aggregate::pipeline::{GapPolicy, Path, Summary};
use crate::logs::aggregate::{CalendarUnit, Expression, Kind, Pipeline};

use super::body::{Body, is_descending, lenient_number};
use super::metrics::{PERCENTS_DEFAULT, sigma};
use super::presentation::{KindAndStyle, Style};
use super::{interval, script};

/// The window of `moving_avg` when the request says nothing.
const MOVING_AVERAGE_WINDOW_DEFAULT: usize = 5;
/// The largest window: as many buckets as there can be.
const WINDOW_MAX: usize = crate::logs::aggregate::BUCKETS_MAX;

/// `None`: not a pipeline aggregation.
pub(super) fn parse(body: &Body<'_>) -> Result<Option<KindAndStyle>, ElasticError> {
    let (pipeline, style) = match body.kind {
        "derivative" => derivative(body)?,
        "cumulative_sum" => {
            let path = path(body)?;
            (Pipeline::CumulativeSum { path }, Style::PipelineNumber)
        }
        "serial_diff" => serial_difference(body)?,
        "moving_fn" => moving_function(body)?,
        "moving_avg" => moving_average(body)?,
        "bucket_script" => bucket_script(body)?,
        "bucket_selector" => bucket_selector(body)?,
        "bucket_sort" => bucket_sort(body)?,
        "sum_bucket" => siblings(body, Summary::Sum, Style::PipelineNumber)?,
        "avg_bucket" => siblings(body, Summary::Average, Style::PipelineNumber)?,
        "min_bucket" => siblings(body, Summary::Min, Style::Extreme)?,
        "max_bucket" => siblings(body, Summary::Max, Style::Extreme)?,
        "stats_bucket" => siblings(body, Summary::Stats, Style::StatsBucket)?,
        "extended_stats_bucket" => {
            let sigma = sigma(body)?;
            siblings(body, Summary::Stats, Style::ExtendedStatsBucket { sigma })?
        }
        "percentiles_bucket" => {
            let percents = body.numbers("percents")?;
            let percents = percents.unwrap_or_else(|| PERCENTS_DEFAULT.to_vec());
            let keyed = body.boolean("keyed")?.unwrap_or(true);
            let style = Style::PercentilesBucket { keyed };
            siblings(body, Summary::Percentiles(percents), style)?
        }
        _ => return Ok(None),
    };
    Ok(Some((Kind::Pipeline(pipeline), style)))
}

fn derivative(body: &Body<'_>) -> Result<(Pipeline, Style), ElasticError> {
    let unit = match body.text("unit")?.filter(|unit| !unit.is_empty()) {
        None => None,
        Some(unit) => {
            let millis = unit_millis(&unit);
            Some(millis.ok_or_else(|| body.invalid("unit", "must be a length of time as [1s]"))?)
        }
    };
    let pipeline = Pipeline::Derivative {
        path: path(body)?,
        unit,
        gaps: gaps(body)?,
    };
    Ok((pipeline, Style::Derivative))
}

/// Calendar units have their usual length; a month is 30 days and a year 365.
fn unit_millis(text: &str) -> Option<f64> {
    const DAY_MS: f64 = 86_400_000.0;
    let millis = match interval::parse_calendar(text) {
        Some(CalendarUnit::Second) => 1_000.0,
        Some(CalendarUnit::Minute) => 60_000.0,
        Some(CalendarUnit::Hour) => 3_600_000.0,
        Some(CalendarUnit::Day) => DAY_MS,
        Some(CalendarUnit::Week) => 7.0 * DAY_MS,
        Some(CalendarUnit::Month) => 30.0 * DAY_MS,
        Some(CalendarUnit::Quarter) => 91.0 * DAY_MS,
        Some(CalendarUnit::Year) => 365.0 * DAY_MS,
        None => interval::parse_millis(text)? as f64,
    };
    (millis > 0.0).then_some(millis)
}

fn serial_difference(body: &Body<'_>) -> Result<(Pipeline, Style), ElasticError> {
    let lag = body.size("lag", 1)?;
    if lag == 0 {
        return Err(body.invalid("lag", "must be at least 1"));
    }
    let pipeline = Pipeline::SerialDifference {
        path: path(body)?,
        lag,
        gaps: gaps(body)?,
    };
    Ok((pipeline, Style::PipelineNumber))
}

fn window(body: &Body<'_>, default: Option<usize>) -> Result<usize, ElasticError> {
    let window = match (body.count("window")?, default) {
        (Some(window), _) => usize::try_from(window).unwrap_or(usize::MAX),
        (None, Some(default)) => default,
        (None, None) => return Err(body.invalid("window", "is needed")),
    };
    if !(1..=WINDOW_MAX).contains(&window) {
        let problem = format!("must be between 1 and {WINDOW_MAX}");
        return Err(body.invalid("window", &problem));
    }
    Ok(window)
}

fn moving_function(body: &Body<'_>) -> Result<(Pipeline, Style), ElasticError> {
    let pipeline = Pipeline::MovingFunction {
        path: path(body)?,
        window: window(body, None)?,
        shift: body.number("shift")?.unwrap_or(0.0) as i64,
        script: script::parse(body, &[])?,
        gaps: gaps(body)?,
    };
    Ok((pipeline, Style::PipelineNumber))
}

/// The form before `moving_fn`: named models, and a window that ends with the bucket itself.
fn moving_average(body: &Body<'_>) -> Result<(Pipeline, Style), ElasticError> {
    let settings = body.object("settings")?;
    let setting = |name: &str, default: f64| {
        let value = settings.and_then(|settings| settings.get(name));
        value.and_then(lenient_number).unwrap_or(default)
    };
    let (alpha, beta, gamma) = (
        setting("alpha", 0.3),
        setting("beta", 0.1),
        setting("gamma", 0.3),
    );
    let is_multiplicative = settings
        .and_then(|settings| settings.get("type"))
        .is_some_and(|kind| kind == "mult");
    let model = body.text("model")?;
    let script = match model.as_deref().unwrap_or("simple") {
        "simple" => "MovingFunctions.unweightedAvg(values)".to_owned(),
        "linear" => "MovingFunctions.linearWeightedAvg(values)".to_owned(),
        "ewma" => format!("MovingFunctions.ewma(values, {alpha})"),
        "holt" => format!("MovingFunctions.holt(values, {alpha}, {beta})"),
        "holt_winters" => format!(
            "MovingFunctions.holtWinters(values, {alpha}, {beta}, {gamma}, {}, {is_multiplicative})",
            setting("period", 1.0)
        ),
        other => {
            let problem = format!("[{other}] is unknown");
            return Err(body.invalid("model", &problem));
        }
    };
    let script = Expression::parse(&script, &[])
        .map_err(|error| body.invalid("settings", &error.to_string()))?;
    let pipeline = Pipeline::MovingFunction {
        path: path(body)?,
        window: window(body, Some(MOVING_AVERAGE_WINDOW_DEFAULT))?,
        shift: 1,
        script,
        gaps: gaps(body)?,
    };
    Ok((pipeline, Style::PipelineNumber))
}

fn bucket_script(body: &Body<'_>) -> Result<(Pipeline, Style), ElasticError> {
    let paths = paths(body)?;
    let names: Vec<&str> = paths.iter().map(|(name, _)| name.as_str()).collect();
    let pipeline = Pipeline::BucketScript {
        script: script::parse(body, &names)?,
        paths,
        gaps: gaps(body)?,
    };
    Ok((pipeline, Style::PipelineNumber))
}

fn bucket_selector(body: &Body<'_>) -> Result<(Pipeline, Style), ElasticError> {
    let paths = paths(body)?;
    let names: Vec<&str> = paths.iter().map(|(name, _)| name.as_str()).collect();
    let pipeline = Pipeline::BucketSelector {
        script: script::parse(body, &names)?,
        paths,
        gaps: gaps(body)?,
    };
    Ok((pipeline, Style::Invisible))
}

fn bucket_sort(body: &Body<'_>) -> Result<(Pipeline, Style), ElasticError> {
    let entries = match body.value("sort") {
        None => &[],
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    let mut sort = Vec::new();
    for entry in entries {
        match entry {
            Value::String(path) => sort.push((Path::parse(path), false)),
            Value::Object(map) => {
                for (path, direction) in map {
                    let descending = is_descending(direction)
                        .ok_or_else(|| body.invalid("sort", "goes either asc or desc"))?;
                    sort.push((Path::parse(path), descending));
                }
            }
            _ => return Err(body.invalid("sort", "must hold paths or objects")),
        }
    }
    let pipeline = Pipeline::BucketSort {
        sort,
        from: body.size("from", 0)?,
        size: body
            .count("size")?
            .map(|size| usize::try_from(size).unwrap_or(usize::MAX)),
        gaps: gaps(body)?,
    };
    Ok((pipeline, Style::Invisible))
}

fn siblings(
    body: &Body<'_>,
    summary: Summary,
    style: Style,
) -> Result<(Pipeline, Style), ElasticError> {
    let pipeline = Pipeline::Siblings {
        path: path(body)?,
        summary,
        gaps: gaps(body)?,
    };
    Ok((pipeline, style))
}

/// The only path; a list of one is taken too.
fn path(body: &Body<'_>) -> Result<Path, ElasticError> {
    let path = match body.value("buckets_path") {
        Some(Value::String(path)) => Some(path),
        Some(Value::Array(paths)) if paths.len() == 1 => match &paths[0] {
            Value::String(path) => Some(path),
            _ => None,
        },
        _ => None,
    };
    match path {
        Some(path) => Ok(Path::parse(path)),
        None => Err(body.invalid("buckets_path", "must be a single path")),
    }
}

/// Named paths; a single one is called `_value`, those of a list `_value0`, `_value1` and so on.
fn paths(body: &Body<'_>) -> Result<Vec<(String, Path)>, ElasticError> {
    let wrong = || body.invalid("buckets_path", "must hold names and paths");
    match body.value("buckets_path") {
        Some(Value::String(path)) => Ok(vec![("_value".to_owned(), Path::parse(path))]),
        Some(Value::Array(paths)) => {
            let named = paths.iter().enumerate().map(|(at, path)| {
                let path = path.as_str().ok_or_else(wrong)?;
                Ok((format!("_value{at}"), Path::parse(path)))
            });
            named.collect()
        }
        Some(Value::Object(map)) => {
            let named = map.iter().map(|(name, path)| {
                let path = path.as_str().ok_or_else(wrong)?;
                Ok((name.clone(), Path::parse(path)))
            });
            named.collect()
        }
        _ => Err(wrong()),
    }
}

fn gaps(body: &Body<'_>) -> Result<GapPolicy, ElasticError> {
    match body.text("gap_policy")?.as_deref() {
        None | Some("" | "skip" | "none") => Ok(GapPolicy::Skip),
        Some("insert_zeros") => Ok(GapPolicy::InsertZeros),
        Some("keep_values") => Ok(GapPolicy::KeepValues),
        Some(other) => {
            let problem = format!("[{other}] is unknown, use skip, insert_zeros or keep_values");
            Err(body.invalid("gap_policy", &problem))
        }
    }
}
