//! Results as compact JSON, in the order of Elasticsearch's keys.

use crate::logs::aggregate::{
    AggregationResult, Aggregations, Bucket, Buckets, Key, Kind, Results, TopEntry, ValueKind,
};
use serde_json::Value;

use super::number::{double_text, write_double, write_text};
use super::presentation::{CompositeSource, Presentation, RangeStyle, Style, time_text};

/// Writes one hit of `top_hits` as JSON. Beside the event it gets the body of the aggregation, whose `_source`,
/// `fields` and `highlight` say what to write.
pub type RenderHit<'a> = dyn Fn(&TopEntry, &Value) -> String + 'a;

/// Walks request, presentation and results together.
pub(super) struct Renderer<'a> {
    pub typed_keys: bool,
    pub hit: &'a RenderHit<'a>,
}

impl Renderer<'_> {
    pub fn render(
        &self,
        request: &Aggregations,
        presentations: &[Presentation],
        results: &Results,
    ) -> String {
        let mut out = String::from("{");
        self.level(&mut out, request, presentations, results);
        out.push('}');
        out
    }

    /// `"name":{…}` for each result, after what stands before; writes the commas it needs.
    fn level(
        &self,
        out: &mut String,
        request: &Aggregations,
        presentations: &[Presentation],
        results: &Results,
    ) {
        let named = request.0.iter().zip(presentations).zip(&results.0);
        for (((name, aggregation), presentation), result) in named {
            let Some(result) = result else {
                continue;
            };
            if let Style::Invisible = presentation.style {
                continue;
            }
            comma(out);
            if self.typed_keys {
                let typed = format!(
                    "{}#{name}",
                    type_name(presentation, &aggregation.kind, result)
                );
                write_text(out, &typed);
            } else {
                write_text(out, name);
            }
            out.push_str(":{");
            if let Some(meta) = &presentation.meta {
                out.push_str("\"meta\":");
                out.push_str(&meta.to_string());
                out.push(',');
            }
            self.body(
                out,
                &aggregation.children,
                presentation,
                presentations,
                result,
            );
            out.push('}');
        }
    }

    fn body(
        &self,
        out: &mut String,
        children: &Aggregations,
        presentation: &Presentation,
        siblings: &[Presentation],
        result: &AggregationResult,
    ) {
        let level = Level {
            renderer: self,
            children,
            presentation,
        };
        match result {
            AggregationResult::Buckets(buckets) => level.buckets(out, buckets),
            AggregationResult::Single { count, results } => {
                out.push_str(&format!("\"doc_count\":{count}"));
                self.level(out, children, &presentation.children, results);
            }
            AggregationResult::Top { entries, count } => match &presentation.style {
                Style::TopHits { from, options } => {
                    self.top_hits(
                        out,
                        entries.get(*from..).unwrap_or_default(),
                        *count,
                        options,
                    );
                }
                _ => presentation.metric(out, result),
            },
            AggregationResult::Extreme {
                value,
                keys,
                kind,
                of,
            } => {
                presentation.value(out, *value, false);
                out.push_str(",\"keys\":[");
                for key in keys {
                    comma(out);
                    let sibling = siblings.get(*of);
                    write_text(out, &key_text(key, *kind, sibling));
                }
                out.push(']');
            }
            _ => presentation.metric(out, result),
        }
    }

    fn top_hits(&self, out: &mut String, entries: &[TopEntry], count: u64, options: &Value) {
        out.push_str(&format!(
            "\"hits\":{{\"total\":{{\"value\":{count},\"relation\":\"eq\"}},\"max_score\":null,\"hits\":["
        ));
        for entry in entries {
            comma(out);
            out.push_str(&(self.hit)(entry, options));
        }
        out.push_str("]}");
    }
}

/// One aggregation of many buckets.
struct Level<'a> {
    renderer: &'a Renderer<'a>,
    children: &'a Aggregations,
    presentation: &'a Presentation,
}

impl Level<'_> {
    fn buckets(&self, out: &mut String, buckets: &Buckets) {
        match &self.presentation.style {
            Style::Terms { shows_error } => {
                out.push_str(&format!(
                    "\"doc_count_error_upper_bound\":0,\"sum_other_doc_count\":{},",
                    buckets.other_count
                ));
                self.list(out, buckets, |out, bucket| {
                    self.key(out, &bucket.key, buckets.kind);
                    out.push_str(&format!("\"doc_count\":{}", bucket.count));
                    if *shows_error {
                        out.push_str(",\"doc_count_error_upper_bound\":0");
                    }
                });
            }
            Style::DateHistogram { keyed } => {
                let name = |bucket: &Bucket| self.time_text(bucket);
                self.list_or_map(out, buckets, *keyed, name, |out, bucket| {
                    out.push_str("\"key_as_string\":");
                    write_text(out, &self.time_text(bucket));
                    let millis = bucket.key.as_f64().unwrap_or_default() as i64;
                    out.push_str(&format!(",\"key\":{millis},\"doc_count\":{}", bucket.count));
                });
            }
            Style::Histogram { keyed } => {
                let text = |bucket: &Bucket| {
                    let value = bucket.key.as_f64().unwrap_or_default();
                    self.presentation.number_text(value, false)
                };
                let name = |bucket: &Bucket| {
                    text(bucket)
                        .unwrap_or_else(|| double_text(bucket.key.as_f64().unwrap_or_default()))
                };
                self.list_or_map(out, buckets, *keyed, name, |out, bucket| {
                    if let Some(text) = text(bucket) {
                        out.push_str("\"key_as_string\":");
                        write_text(out, &text);
                        out.push(',');
                    }
                    out.push_str("\"key\":");
                    write_double(out, bucket.key.as_f64().unwrap_or_default());
                    out.push_str(&format!(",\"doc_count\":{}", bucket.count));
                });
            }
            Style::Filters { keyed } => {
                let name = |bucket: &Bucket| label(bucket);
                self.list_or_map(out, buckets, *keyed, name, |out, bucket| {
                    out.push_str(&format!("\"doc_count\":{}", bucket.count));
                });
            }
            Style::Ranges(style) => self.ranges(out, buckets, style),
            Style::GeoGrid(_) => self.list(out, buckets, |out, bucket| {
                out.push_str("\"key\":");
                write_text(out, &label(bucket));
                out.push_str(&format!(",\"doc_count\":{}", bucket.count));
            }),
            Style::Composite { sources } => self.composite(out, buckets, sources),
            _ => out.push_str("\"buckets\":[]"),
        }
    }

    fn ranges(&self, out: &mut String, buckets: &Buckets, style: &RangeStyle) {
        let name = |bucket: &Bucket| label(bucket);
        self.list_or_map(out, buckets, style.keyed, name, |out, bucket| {
            if !style.keyed {
                out.push_str("\"key\":");
                write_text(out, &label(bucket));
                out.push(',');
            }
            let (from, to) = borders(bucket, style);
            for (name, border) in [("from", from), ("to", to)] {
                if let Some(border) = border {
                    out.push_str(&format!("\"{name}\":"));
                    write_double(out, border);
                    out.push(',');
                    if let Some(text) = self.presentation.number_text(border, style.is_date) {
                        out.push_str(&format!("\"{name}_as_string\":"));
                        write_text(out, &text);
                        out.push(',');
                    }
                }
            }
            out.push_str(&format!("\"doc_count\":{}", bucket.count));
        });
    }

    fn composite(&self, out: &mut String, buckets: &Buckets, sources: &[CompositeSource]) {
        if let Some(after) = &buckets.after {
            out.push_str("\"after_key\":");
            composite_key(out, after, sources);
            out.push(',');
        }
        self.list(out, buckets, |out, bucket| {
            out.push_str("\"key\":");
            composite_key(out, &bucket.key, sources);
            out.push_str(&format!(",\"doc_count\":{}", bucket.count));
        });
    }

    fn list(&self, out: &mut String, buckets: &Buckets, head: impl FnMut(&mut String, &Bucket)) {
        self.list_or_map(out, buckets, false, |_| String::new(), head);
    }

    fn list_or_map(
        &self,
        out: &mut String,
        buckets: &Buckets,
        keyed: bool,
        name: impl Fn(&Bucket) -> String,
        mut head: impl FnMut(&mut String, &Bucket),
    ) {
        out.push_str("\"buckets\":");
        out.push(if keyed { '{' } else { '[' });
        for bucket in &buckets.buckets {
            comma(out);
            if keyed {
                write_text(out, &name(bucket));
                out.push(':');
            }
            out.push('{');
            head(out, bucket);
            let children = &self.presentation.children;
            self.renderer
                .level(out, self.children, children, &bucket.results);
            out.push('}');
        }
        out.push(if keyed { '}' } else { ']' });
    }

    /// `"key":…,` and `"key_as_string":…,` of a term.
    fn key(&self, out: &mut String, key: &Key, kind: Option<ValueKind>) {
        out.push_str("\"key\":");
        let text = match key {
            Key::Text(text) => {
                write_text(out, text);
                None
            }
            Key::Bool(truth) => {
                out.push(if *truth { '1' } else { '0' });
                Some(truth.to_string())
            }
            Key::Time(millis) => {
                out.push_str(&millis.to_string());
                Some(self.presentation.time_text(*millis as f64))
            }
            key => {
                out.push_str(&number_key_text(key, kind));
                let value = key.as_f64().unwrap_or_default();
                self.presentation.number_text(value, false)
            }
        };
        out.push(',');
        if let Some(text) = text {
            out.push_str("\"key_as_string\":");
            write_text(out, &text);
            out.push(',');
        }
    }

    fn time_text(&self, bucket: &Bucket) -> String {
        self.presentation
            .time_text(bucket.key.as_f64().unwrap_or_default())
    }
}

/// From and to of a range, found by its label: a `bucket_sort` may have moved the bucket.
fn borders(bucket: &Bucket, style: &RangeStyle) -> (Option<f64>, Option<f64>) {
    let label = label(bucket);
    let found = style.labels.iter().position(|known| *known == label);
    found.map(|at| style.borders[at]).unwrap_or_default()
}

fn label(bucket: &Bucket) -> String {
    match &bucket.key {
        Key::Text(text) => text.to_string(),
        key => number_key_text(key, None),
    }
}

/// Whole numbers without a fraction, unless the field has other numbers as well.
fn number_key_text(key: &Key, kind: Option<ValueKind>) -> String {
    match key {
        Key::Integer(value) if kind != Some(ValueKind::Float) => value.to_string(),
        Key::Unsigned(value) if kind != Some(ValueKind::Float) => value.to_string(),
        key => double_text(key.as_f64().unwrap_or(f64::NAN)),
    }
}

/// A key as `max_bucket` names it, as the aggregation it belongs to would write it.
fn key_text(key: &Key, kind: Option<ValueKind>, of: Option<&Presentation>) -> String {
    match (key, of) {
        (Key::Text(text), _) => text.to_string(),
        (Key::Bool(truth), _) => truth.to_string(),
        (Key::Time(millis), Some(presentation)) => presentation.time_text(*millis as f64),
        (Key::Time(millis), None) => millis.to_string(),
        (key, _) => number_key_text(key, kind),
    }
}

fn composite_key(out: &mut String, key: &Key, sources: &[CompositeSource]) {
    let Key::Several(parts) = key else {
        out.push_str("{}");
        return;
    };
    out.push('{');
    for (part, source) in parts.iter().zip(sources) {
        comma(out);
        write_text(out, &source.name);
        out.push(':');
        match part {
            None => out.push_str("null"),
            Some(Key::Text(text)) => write_text(out, text),
            Some(Key::Bool(truth)) => out.push_str(&truth.to_string()),
            Some(Key::Time(millis)) => match &source.format {
                Some(format) => write_text(out, &time_text(*millis, format, &source.zone)),
                None => out.push_str(&millis.to_string()),
            },
            Some(key) => {
                let kind = source.is_histogram.then_some(ValueKind::Float);
                out.push_str(&number_key_text(key, kind));
            }
        }
    }
    out.push('}');
}

/// Before an element of a list or object, unless it is the first.
pub(super) fn comma(out: &mut String) {
    if !out.ends_with(['{', '[', ',', ':']) {
        out.push(',');
    }
}

/// What stands before `#` in typed keys.
fn type_name(presentation: &Presentation, kind: &Kind, result: &AggregationResult) -> &'static str {
    match &presentation.style {
        Style::DateHistogram { .. } => "date_histogram",
        Style::Histogram { .. } => "histogram",
        Style::Terms { .. } => terms_type(result),
        Style::Filters { .. } => "filters",
        Style::Ranges(style) if style.is_date => "date_range",
        Style::Ranges(_) => "range",
        Style::Composite { .. } => "composite",
        Style::Single(name) | Style::GeoGrid(name) | Style::Count(name) => name,
        Style::Value(moment) => moment.name(),
        Style::Rate => "rate",
        Style::Stats => "stats",
        Style::ExtendedStats { .. } => "extended_stats",
        Style::Percentiles(style) if style.is_hdr => "hdr_percentiles",
        Style::Percentiles(_) => "tdigest_percentiles",
        Style::PercentileRanks(style) if style.is_hdr => "hdr_percentile_ranks",
        Style::PercentileRanks(_) => "tdigest_percentile_ranks",
        Style::TopMetrics { .. } => "top_metrics",
        Style::TopHits { .. } => "top_hits",
        Style::GeoBounds => "geo_bounds",
        Style::GeoCentroid => "geo_centroid",
        Style::PipelineNumber => "simple_value",
        Style::Derivative => match kind {
            Kind::Pipeline(_) => "derivative",
            _ => "simple_value",
        },
        Style::Extreme => "bucket_metric_value",
        Style::StatsBucket => "stats_bucket",
        Style::ExtendedStatsBucket { .. } => "extended_stats_bucket",
        Style::PercentilesBucket { .. } => "percentiles_bucket",
        Style::Invisible => "simple_value",
    }
}

fn terms_type(result: &AggregationResult) -> &'static str {
    let AggregationResult::Buckets(buckets) = result else {
        return "umterms";
    };
    match (
        buckets.buckets.first().map(|bucket| &bucket.key),
        buckets.kind,
    ) {
        (None, _) => "umterms",
        (Some(Key::Text(_)), _) => "sterms",
        (Some(Key::Float(_)), _) | (_, Some(ValueKind::Float)) => "dterms",
        _ => "lterms",
    }
}
