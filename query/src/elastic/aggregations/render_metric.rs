//! Results of metrics as compact JSON.

use event::Timestamp;

use crate::logs::aggregate::{
    AggregationResult, GeoCentre, Moment, Moments, Quantiles, SortValue, TopEntry, ValueKind,
};

use super::number::{double_text, write_double, write_optional_double, write_text};
use super::presentation::{PercentilesStyle, Presentation, Style};
use super::render::comma;

impl Presentation {
    /// The members of a metric's object.
    pub(super) fn metric(&self, out: &mut String, result: &AggregationResult) {
        match (result, &self.style) {
            (AggregationResult::Moments(moments), Style::Value(moment)) => {
                self.moment(out, moments, *moment);
            }
            (AggregationResult::Moments(moments), style) => {
                self.stats(out, moments);
                if let Style::ExtendedStats { sigma } | Style::ExtendedStatsBucket { sigma } = style
                {
                    extended_stats(out, moments, *sigma);
                }
            }
            (AggregationResult::Count(count), _) => out.push_str(&format!("\"value\":{count}")),
            (AggregationResult::Number(value), _) => self.value(out, *value, false),
            (AggregationResult::Derivative { value, normalized }, _) => {
                self.value(out, *value, false);
                if let Some(normalized) = normalized {
                    out.push_str(",\"normalized_value\":");
                    write_optional_double(out, *normalized);
                }
            }
            (AggregationResult::Quantiles(quantiles), Style::Percentiles(style)) => {
                self.percentiles(out, quantiles, style);
            }
            (AggregationResult::Quantiles(quantiles), Style::PercentileRanks(style)) => {
                let ranks = style
                    .at
                    .iter()
                    .map(|value| (*value, quantiles.rank(*value)));
                self.values_at(out, ranks.collect(), style.keyed, false);
            }
            (AggregationResult::Percentiles(values), style) => {
                let keyed = !matches!(style, Style::PercentilesBucket { keyed: false });
                self.values_at(out, values.clone(), keyed, false);
            }
            (AggregationResult::Top { entries, .. }, Style::TopMetrics { fields }) => {
                top_metrics(out, entries, fields);
            }
            (AggregationResult::Geo(points), Style::GeoBounds) => geo_bounds(out, points.as_ref()),
            (AggregationResult::Geo(points), _) => geo_centroid(out, points.as_ref()),
            _ => out.push_str("\"value\":null"),
        }
    }

    /// `"value":…` and, where it has a text, `"value_as_string":…`.
    pub(super) fn value(&self, out: &mut String, value: Option<f64>, is_time: bool) {
        out.push_str("\"value\":");
        write_optional_double(out, value);
        let text = value.and_then(|value| self.number_text(value, is_time));
        if let Some(text) = text {
            out.push_str(",\"value_as_string\":");
            write_text(out, &text);
        }
    }

    /// The empty sum is 0; other moments of nothing are null.
    fn moment(&self, out: &mut String, moments: &Moments, moment: Moment) {
        let value = match moment {
            Moment::Sum => Some(moments.sum()),
            _ if moments.count == 0 => None,
            Moment::Average => Some(moments.average()),
            Moment::Min => Some(moments.min),
            Moment::Max => Some(moments.max),
        };
        let is_time = moments.kind == Some(ValueKind::Time) && moments.count > 0;
        self.value(out, value, is_time);
    }

    fn stats(&self, out: &mut String, moments: &Moments) {
        let known = |value: f64| (moments.count > 0).then_some(value);
        let values = [
            ("min", known(moments.min)),
            ("max", known(moments.max)),
            ("avg", known(moments.average())),
            ("sum", Some(moments.sum())),
        ];
        out.push_str(&format!("\"count\":{}", moments.count));
        for (name, value) in values {
            out.push_str(&format!(",\"{name}\":"));
            write_optional_double(out, value);
        }
        let is_time = moments.kind == Some(ValueKind::Time);
        for (name, value) in values {
            let text = known(0.0).and(value);
            if let Some(text) = text.and_then(|value| self.number_text(value, is_time)) {
                out.push_str(&format!(",\"{name}_as_string\":"));
                write_text(out, &text);
            }
        }
    }

    fn percentiles(&self, out: &mut String, quantiles: &Quantiles, style: &PercentilesStyle) {
        let is_time = quantiles.kind() == Some(ValueKind::Time);
        let values = style
            .at
            .iter()
            .map(|percent| (*percent, quantiles.percentile(*percent)));
        self.values_at(out, values.collect(), style.keyed, is_time);
    }

    fn values_at(
        &self,
        out: &mut String,
        values: Vec<(f64, Option<f64>)>,
        keyed: bool,
        is_time: bool,
    ) {
        out.push_str("\"values\":");
        out.push(if keyed { '{' } else { '[' });
        for (at, value) in values {
            let text = value.and_then(|value| self.number_text(value, is_time));
            comma(out);
            if keyed {
                let name = double_text(at);
                write_text(out, &name);
                out.push(':');
                write_optional_double(out, value);
                if let Some(text) = text {
                    out.push(',');
                    write_text(out, &format!("{name}_as_string"));
                    out.push(':');
                    write_text(out, &text);
                }
            } else {
                out.push_str("{\"key\":");
                write_double(out, at);
                out.push_str(",\"value\":");
                write_optional_double(out, value);
                if let Some(text) = text {
                    out.push_str(",\"value_as_string\":");
                    write_text(out, &text);
                }
                out.push('}');
            }
        }
        out.push(if keyed { '}' } else { ']' });
    }
}

/// What `extended_stats` has beyond `stats`.
fn extended_stats(out: &mut String, moments: &Moments, sigma: f64) {
    let is_empty = moments.count == 0;
    let write = |out: &mut String, name: &str, value: f64| {
        comma(out);
        out.push_str(&format!("\"{name}\":"));
        if is_empty {
            out.push_str("null");
        } else {
            write_double(out, value);
        }
    };
    let population = moments.variance();
    let sampling = moments.variance_sampling();
    let (deviation, deviation_sampling) = (population.sqrt(), sampling.sqrt());
    let average = moments.average();
    write(out, "sum_of_squares", moments.sum_of_squares());
    write(out, "variance", population);
    write(out, "variance_population", population);
    write(out, "variance_sampling", sampling);
    write(out, "std_deviation", deviation);
    write(out, "std_deviation_population", deviation);
    write(out, "std_deviation_sampling", deviation_sampling);
    out.push_str(",\"std_deviation_bounds\":{");
    let bounds = [
        ("upper", average + sigma * deviation),
        ("lower", average - sigma * deviation),
        ("upper_population", average + sigma * deviation),
        ("lower_population", average - sigma * deviation),
        ("upper_sampling", average + sigma * deviation_sampling),
        ("lower_sampling", average - sigma * deviation_sampling),
    ];
    for (name, bound) in bounds {
        write(out, name, bound);
    }
    out.push('}');
}

fn top_metrics(out: &mut String, entries: &[TopEntry], fields: &[String]) {
    out.push_str("\"top\":[");
    for entry in entries {
        comma(out);
        out.push_str("{\"sort\":[");
        for value in &entry.sort {
            comma(out);
            sort_value(out, value.as_ref());
        }
        out.push_str("],\"metrics\":{");
        for (field, value) in fields.iter().zip(&entry.metrics) {
            comma(out);
            write_text(out, field);
            out.push(':');
            sort_value(out, value.as_ref());
        }
        out.push_str("}}");
    }
    out.push(']');
}

/// Times are told as texts here, as Elasticsearch does.
fn sort_value(out: &mut String, value: Option<&SortValue>) {
    match value {
        None => out.push_str("null"),
        Some(SortValue::Integer(value)) => out.push_str(&value.to_string()),
        Some(SortValue::Float(value)) => write_double(out, *value),
        Some(SortValue::Bool(value)) => out.push_str(&value.to_string()),
        Some(SortValue::Text(text)) => write_text(out, text),
        Some(SortValue::Time(millis)) => match Timestamp::from_millis(*millis) {
            Some(timestamp) => write_text(out, &timestamp.to_rfc3339_millis()),
            None => out.push_str(&millis.to_string()),
        },
    }
}

fn point(out: &mut String, name: &str, (latitude, longitude): (f64, f64)) {
    comma(out);
    out.push_str(&format!("\"{name}\":{{\"lat\":"));
    write_double(out, latitude);
    out.push_str(",\"lon\":");
    write_double(out, longitude);
    out.push('}');
}

/// Nothing at all when there are no points, as in Elasticsearch.
fn geo_bounds(out: &mut String, points: Option<&GeoCentre>) {
    if let Some(points) = points {
        out.push_str("\"bounds\":{");
        point(out, "top_left", points.top_left);
        point(out, "bottom_right", points.bottom_right);
        out.push('}');
    }
}

fn geo_centroid(out: &mut String, points: Option<&GeoCentre>) {
    match points {
        None => out.push_str("\"count\":0"),
        Some(points) => {
            point(out, "location", points.centre);
            out.push_str(&format!(",\"count\":{}", points.count));
        }
    }
}
