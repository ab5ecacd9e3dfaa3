//! `buckets_path`: how a pipeline names what it computes from.
//!
//! ```text
//! a>b.c   a[95.0]   a['key']>b   _count   _key   a._bucket_count
//! ```

use super::super::results::{AggregationResult, Bucket, Buckets, Results};
use super::super::{AggregateError, Aggregations, Key, Kind, Moment};

/// A path from a bucket down to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    elements: Vec<String>,
}

/// What one element of a path means among some aggregations.
struct Step<'a> {
    position: usize,
    /// What stands in brackets or after the dot.
    detail: Option<&'a str>,
}

impl Path {
    /// Reads a path; whether what it names exists shows when it is used.
    pub fn parse(text: &str) -> Path {
        let mut elements = vec![String::new()];
        let mut is_in_brackets = false;
        for character in text.trim().chars() {
            match character {
                '>' if !is_in_brackets => elements.push(String::new()),
                _ => {
                    is_in_brackets = match character {
                        '[' => true,
                        ']' => false,
                        _ => is_in_brackets,
                    };
                    if let Some(element) = elements.last_mut() {
                        element.push(character);
                    }
                }
            }
        }
        for element in &mut elements {
            *element = element.trim().to_owned();
        }
        Path {
            text: text.to_owned(),
            elements,
        }
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of events of the bucket itself.
    pub fn is_count(&self) -> bool {
        self.elements == ["_count"]
    }

    /// The key of the bucket itself.
    pub fn is_key(&self) -> bool {
        self.elements == ["_key"]
    }

    /// Which aggregation of a level it begins with; `None` when that is the bucket itself.
    pub(in super::super) fn first_position(&self, request: &Aggregations) -> Option<usize> {
        let first = self.elements.first()?;
        step(first, request).map(|step| step.position)
    }

    /// The number it leads to from a bucket; `None` where there is none.
    pub(in super::super) fn value(
        &self,
        bucket: &Bucket,
        request: &Aggregations,
    ) -> Result<Option<f64>, AggregateError> {
        match self.elements.as_slice() {
            [only] if only == "_count" => Ok(Some(bucket.count as f64)),
            [only] if only == "_key" => Ok(bucket.key.as_f64()),
            elements => self.descend(elements, &bucket.results, request),
        }
    }

    /// The number it leads to among results.
    pub(in super::super) fn value_among(
        &self,
        results: &Results,
        request: &Aggregations,
    ) -> Result<Option<f64>, AggregateError> {
        self.descend(&self.elements, results, request)
    }

    fn descend(
        &self,
        elements: &[String],
        results: &Results,
        request: &Aggregations,
    ) -> Result<Option<f64>, AggregateError> {
        let (step, aggregation) = self.step(elements, request)?;
        let Some(result) = results.0.get(step.position).and_then(Option::as_ref) else {
            return Ok(None);
        };
        let rest = elements.get(1..).unwrap_or_default();
        match result {
            AggregationResult::Single { count, results } => match (rest, step.detail) {
                ([], _) => Ok(Some(*count as f64)),
                ([only], _) if only == "_count" => Ok(Some(*count as f64)),
                (rest, _) => self.descend(rest, results, &aggregation.children),
            },
            AggregationResult::Buckets(buckets) => {
                let is_number_of_buckets =
                    step.detail == Some("_bucket_count") || rest == ["_bucket_count"];
                if is_number_of_buckets {
                    return Ok(Some(buckets.buckets.len() as f64));
                }
                let Some(key) = step.detail else {
                    return Err(self.error("names many buckets where one number is needed"));
                };
                match buckets.buckets.iter().find(|bucket| is_key(bucket, key)) {
                    None => Ok(None),
                    Some(bucket) => match rest {
                        [] => Ok(Some(bucket.count as f64)),
                        [only] if only == "_count" => Ok(Some(bucket.count as f64)),
                        rest => self.descend(rest, &bucket.results, &aggregation.children),
                    },
                }
            }
            result => match number(&aggregation.kind, result, step.detail) {
                Some(value) => Ok(value),
                None => Err(self.error("must lead to a single number")),
            },
        }
    }

    /// Key and number of each bucket of the aggregation it begins with; and that aggregation's place.
    pub(super) fn values_of_buckets<'a>(
        &self,
        results: &'a Results,
        request: &Aggregations,
    ) -> Result<(usize, Vec<BucketValue<'a>>, Option<&'a Buckets>), AggregateError> {
        let (step, aggregation) = self.step(&self.elements, request)?;
        let rest = &self.elements[1..];
        match results.0.get(step.position).and_then(Option::as_ref) {
            None => Ok((step.position, Vec::new(), None)),
            Some(AggregationResult::Buckets(buckets)) => {
                let mut values = Vec::with_capacity(buckets.buckets.len());
                let inner = Path {
                    text: self.text.clone(),
                    elements: rest.to_vec(),
                };
                for bucket in &buckets.buckets {
                    let value = if rest.is_empty() {
                        Some(bucket.count as f64)
                    } else {
                        inner.value(bucket, &aggregation.children)?
                    };
                    values.push(BucketValue {
                        key: &bucket.key,
                        count: bucket.count,
                        is_count: inner.is_count() || rest.is_empty(),
                        value,
                    });
                }
                Ok((step.position, values, Some(buckets)))
            }
            Some(AggregationResult::Single { results, .. }) if !rest.is_empty() => {
                let inner = Path {
                    text: self.text.clone(),
                    elements: rest.to_vec(),
                };
                let (_, values, buckets) =
                    inner.values_of_buckets(results, &aggregation.children)?;
                Ok((step.position, values, buckets))
            }
            Some(_) => Err(self.error("must begin with an aggregation of many buckets")),
        }
    }

    fn step<'a>(
        &self,
        elements: &'a [String],
        request: &'a Aggregations,
    ) -> Result<(Step<'a>, &'a super::super::Aggregation), AggregateError> {
        let found = elements.first().and_then(|element| step(element, request));
        match found {
            Some(step) => {
                let aggregation = &request.0[step.position].1;
                Ok((step, aggregation))
            }
            None => Err(AggregateError::Request(format!(
                "No aggregation found for path [{}]",
                self.text
            ))),
        }
    }

    fn error(&self, problem: &str) -> AggregateError {
        AggregateError::Request(format!("buckets_path [{}] {problem}", self.text))
    }
}

/// What one bucket of a sibling has.
pub(super) struct BucketValue<'a> {
    pub key: &'a Key,
    pub count: u64,
    pub is_count: bool,
    pub value: Option<f64>,
}

/// The whole element may be a name; else a name in front of a bracket or a dot.
fn step<'a>(element: &'a str, request: &Aggregations) -> Option<Step<'a>> {
    if let Some(position) = request.position(element) {
        return Some(Step {
            position,
            detail: None,
        });
    }
    if let Some((name, rest)) = element.split_once('[')
        && let Some(position) = request.position(name)
    {
        let inside = rest.split_once(']').map_or(rest, |(inside, _)| inside);
        let detail = Some(inside.trim_matches(['\'', '"']));
        return Some(Step { position, detail });
    }
    element.match_indices('.').find_map(|(at, _)| {
        let position = request.position(&element[..at])?;
        let detail = Some(&element[at + 1..]);
        Some(Step { position, detail })
    })
}

fn is_key(bucket: &Bucket, text: &str) -> bool {
    match &bucket.key {
        Key::Text(key) => **key == *text,
        Key::Bool(key) => text == if *key { "true" } else { "false" },
        key => key
            .as_f64()
            .is_some_and(|key| text.parse::<f64>() == Ok(key)),
    }
}

/// The number of a metric or one of its properties; `None` when there is no such property.
pub(super) fn number(
    kind: &Kind,
    result: &AggregationResult,
    detail: Option<&str>,
) -> Option<Option<f64>> {
    let detail = detail.filter(|detail| *detail != "value");
    match result {
        AggregationResult::Moments(moments) => {
            let value = match (kind, detail) {
                (Kind::Moments { value, .. }, None) => match value.as_ref()? {
                    Moment::Average => moments.average(),
                    Moment::Sum => moments.sum(),
                    Moment::Min => moments.min,
                    Moment::Max => moments.max,
                },
                (Kind::Moments { sigma, .. }, Some(detail)) => moments.property(detail, *sigma)?,
                (_, Some(detail)) => moments.property(detail, 2.0)?,
                (_, None) => return None,
            };
            Some(value.is_finite().then_some(value))
        }
        AggregationResult::Count(count) => Some(Some(*count as f64)),
        AggregationResult::Number(value) => Some(*value),
        AggregationResult::Extreme { value, .. } => Some(*value),
        AggregationResult::Derivative { value, normalized } => match detail {
            Some("normalized_value") => Some(normalized.flatten()),
            _ => Some(*value),
        },
        AggregationResult::Quantiles(quantiles) => {
            let percent: f64 = detail?.parse().ok()?;
            Some(quantiles.percentile(percent))
        }
        AggregationResult::Percentiles(values) => {
            let percent: f64 = detail?.parse().ok()?;
            let found = values.iter().find(|(known, _)| *known == percent)?;
            Some(found.1)
        }
        AggregationResult::Top { entries, .. } => {
            let Kind::TopMetrics(request) = kind else {
                return None;
            };
            let at = match detail {
                None => 0,
                Some(field) => request.fields.iter().position(|known| known == field)?,
            };
            let value = entries
                .first()
                .and_then(|entry| entry.metrics.get(at)?.as_ref());
            Some(value.and_then(|value| value.as_f64()))
        }
        AggregationResult::Buckets(_)
        | AggregationResult::Single { .. }
        | AggregationResult::Geo(_)
        | AggregationResult::Patterns(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_protect_what_they_hold() {
        let path = Path::parse("5_groupby['a>b'] > 5_inner.std_deviation");
        assert_eq!(path.elements, ["5_groupby['a>b']", "5_inner.std_deviation"]);
        assert!(Path::parse("_count").is_count());
    }
}
