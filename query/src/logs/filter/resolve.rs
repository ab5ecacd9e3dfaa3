//! Resolving a filter for one shard or segment: what is known beforehand becomes yes or no, and the rest is made small.

use std::collections::BTreeMap;

use indexer::logs::{Field, FieldKinds, Leaf, Pattern, ShardReader};
use regex::Regex;

use super::{Filter, TimeRange};

/// How many fields one wildcard may stand for; a document with thousands of fields shall not make thousands of queries.
const EXPANDED_FIELDS_MAX: usize = 1024;

/// What is known about the events of a shard or segment before looking at them.
pub struct Scope<'a> {
    /// The index's name and the shard's.
    pub names: [String; 2],
    /// The time of its events; empty when it has none.
    pub time_range: TimeRange,
    /// The paths its events have, asked for only when a filter needs them.
    pub fields: &'a dyn Fn() -> BTreeMap<String, FieldKinds>,
}

impl Scope<'_> {
    /// Calls `work` with what is known about a whole shard, or about a part of it with events in `time_range` only.
    pub fn with<T>(
        shard: &ShardReader,
        time_range: TimeRange,
        work: impl FnOnce(&Scope<'_>) -> T,
    ) -> T {
        let fields = || shard.fields();
        let scope = Scope {
            names: [shard.id().index.as_str().to_owned(), shard.name()],
            time_range,
            fields: &fields,
        };
        work(&scope)
    }
}

impl Filter {
    /// This filter for events of `scope`: no [`Filter::Index`], no [`Filter::AnyField`], and only those
    /// [`Filter::During`] that hold for some events and not for others.
    pub fn resolve(&self, scope: &Scope<'_>) -> Filter {
        if scope.time_range.is_empty() {
            return Filter::None;
        }
        self.resolve_within(scope)
    }

    fn resolve_within(&self, scope: &Scope<'_>) -> Filter {
        match self {
            Filter::All => Filter::All,
            Filter::None => Filter::None,
            Filter::And(of) => and(of, scope),
            Filter::AtLeast { minimum, of } => at_least(*minimum, of, scope),
            Filter::Not(inner) => inner.resolve_within(scope).negate(),
            Filter::Leaf(leaf) => Filter::Leaf(leaf.clone()),
            Filter::During(range) if range.covers(scope.time_range) => Filter::All,
            Filter::During(range) if !range.overlaps(scope.time_range) => Filter::None,
            Filter::During(range) => Filter::During(*range),
            Filter::Index(pattern) => match scope.names.iter().any(|name| fits(pattern, name)) {
                true => Filter::All,
                false => Filter::None,
            },
            Filter::AnyField { paths, of } => any_field(paths, of, scope),
        }
    }

    /// This filter asked of the field `path`, where [`Field::Any`] and an empty [`Leaf::Exists`] stand for it.
    fn of_field(&self, path: &str) -> Filter {
        let named = |field: &Field| match field {
            Field::Any => Field::Named(path.to_owned()),
            other => other.clone(),
        };
        match self {
            Filter::And(of) => Filter::And(of.iter().map(|one| one.of_field(path)).collect()),
            Filter::AtLeast { minimum, of } => Filter::AtLeast {
                minimum: *minimum,
                of: of.iter().map(|one| one.of_field(path)).collect(),
            },
            Filter::Not(inner) => Filter::Not(Box::new(inner.of_field(path))),
            Filter::Leaf(leaf) => Filter::Leaf(match leaf {
                Leaf::Words(field, text) => Leaf::Words(named(field), text.clone()),
                Leaf::Equals(field, value) => Leaf::Equals(named(field), value.clone()),
                Leaf::WordPattern(field, pattern) => {
                    Leaf::WordPattern(named(field), pattern.clone())
                }
                Leaf::ValuePattern(field, pattern) => {
                    Leaf::ValuePattern(named(field), pattern.clone())
                }
                Leaf::Range(field, lower, upper) => {
                    Leaf::Range(named(field), lower.clone(), upper.clone())
                }
                Leaf::Exists(known) if known.is_empty() => Leaf::Exists(path.to_owned()),
                other => other.clone(),
            }),
            other => other.clone(),
        }
    }
}

/// Nested ands become one, time ranges their intersection; a condition that never holds ends it.
fn and(of: &[Filter], scope: &Scope<'_>) -> Filter {
    let mut range = TimeRange::ALL;
    let mut rest = Vec::with_capacity(of.len());
    for filter in of {
        match filter.resolve_within(scope) {
            Filter::All => {}
            Filter::None => return Filter::None,
            Filter::During(other) => range = range.intersection(other),
            Filter::And(inner) => {
                for one in inner {
                    match one {
                        Filter::During(other) => range = range.intersection(other),
                        other => rest.push(other),
                    }
                }
            }
            other => rest.push(other),
        }
    }
    if range.is_empty() {
        return Filter::None;
    }
    if range != TimeRange::ALL {
        rest.push(Filter::During(range));
    }
    Filter::all(rest)
}

fn at_least(minimum: usize, of: &[Filter], scope: &Scope<'_>) -> Filter {
    let mut minimum = minimum;
    let mut rest = Vec::with_capacity(of.len());
    for filter in of {
        if minimum == 0 {
            return Filter::All;
        }
        match filter.resolve_within(scope) {
            Filter::All => minimum -= 1,
            Filter::None => {}
            other => rest.push(other),
        }
    }
    match minimum {
        0 => Filter::All,
        minimum if minimum > rest.len() => Filter::None,
        minimum if minimum == rest.len() => and(&rest, scope),
        1 => Filter::any(rest),
        minimum => Filter::AtLeast { minimum, of: rest },
    }
}

fn any_field(paths: &[String], of: &Filter, scope: &Scope<'_>) -> Filter {
    let patterns: Vec<Regex> = paths
        .iter()
        .filter_map(|path| wildcard_regex(path))
        .collect();
    let fields = (scope.fields)();
    let fitting: Vec<Filter> = fields
        .keys()
        .filter(|path| patterns.iter().any(|pattern| pattern.is_match(path)))
        .take(EXPANDED_FIELDS_MAX)
        .map(|path| of.of_field(path).resolve_within(scope))
        .collect();
    at_least(1, &fitting, scope)
}

fn fits(pattern: &Pattern, name: &str) -> bool {
    match pattern {
        Pattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
        Pattern::Wildcard(wildcard) => {
            wildcard_regex(wildcard).is_some_and(|regex| regex.is_match(name))
        }
        Pattern::Regex(regex) => {
            Regex::new(&format!("^(?:{regex})$")).is_ok_and(|regex| regex.is_match(name))
        }
        Pattern::Fuzzy(text, _) => text == name,
    }
}

/// A wildcard pattern as a regular expression over the whole text; `None` when it is too large.
fn wildcard_regex(wildcard: &str) -> Option<Regex> {
    Regex::new(&format!("(?s)^{}$", wildcard_regex_text(wildcard))).ok()
}

/// A wildcard pattern in the syntax of regular expressions, without anchors.
pub(crate) fn wildcard_regex_text(wildcard: &str) -> String {
    let mut regex = String::with_capacity(wildcard.len() + 16);
    let mut chars = wildcard.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '\\' => {
                let next = chars.next().unwrap_or('\\');
                regex.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            }
            other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    regex
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::Timestamp;

    fn words(text: &str) -> Filter {
        Filter::Leaf(Leaf::Words(Field::Any, text.to_owned()))
    }

    fn words_of(path: &str, text: &str) -> Filter {
        Filter::Leaf(Leaf::Words(Field::Named(path.to_owned()), text.to_owned()))
    }

    fn during(first: i64, last: i64) -> Filter {
        Filter::During(TimeRange {
            first: Timestamp::from_nanos(first),
            last: Timestamp::from_nanos(last),
        })
    }

    fn resolve(filter: &Filter) -> Filter {
        let fields = || {
            let paths = ["k8s.pod.name", "k8s.node", "message"];
            paths
                .iter()
                .map(|path| ((*path).to_owned(), FieldKinds::default()))
                .collect()
        };
        filter.resolve(&Scope {
            names: ["logs".to_owned(), "logs-2026.11.23".to_owned()],
            time_range: TimeRange {
                first: Timestamp::from_nanos(100),
                last: Timestamp::from_nanos(200),
            },
            fields: &fields,
        })
    }

    #[test]
    fn time_that_covers_the_shard_costs_nothing_and_other_time_ends_the_search() {
        assert_eq!(
            resolve(&Filter::all(vec![during(0, 500), words("a")])),
            words("a")
        );
        assert_eq!(
            resolve(&Filter::all(vec![during(0, 99), words("a")])),
            Filter::None
        );
        assert_eq!(resolve(&during(100, 200)), Filter::All);
        assert_eq!(
            resolve(&Filter::And(vec![
                during(0, 150),
                Filter::And(vec![words("a"), during(120, 500)]),
            ])),
            Filter::And(vec![words("a"), during(120, 150)])
        );
        assert_eq!(
            resolve(&Filter::And(vec![during(0, 120), during(130, 500)])),
            Filter::None
        );
        assert_eq!(resolve(&during(0, 99).negate()), Filter::All);
    }

    #[test]
    fn index_conditions_become_yes_or_no() {
        let index = |name: &str| Filter::Index(Pattern::Wildcard(name.to_owned()));
        assert_eq!(resolve(&index("logs")), Filter::All);
        assert_eq!(resolve(&index("logs-2026.*")), Filter::All);
        assert_eq!(resolve(&index("nginx-*")), Filter::None);
        assert_eq!(
            resolve(&Filter::any(vec![
                Filter::all(vec![index("nginx"), words("a")]),
                words("b")
            ])),
            words("b")
        );
    }

    #[test]
    fn field_wildcards_ask_every_field_that_fits() {
        let filter = Filter::AnyField {
            paths: vec!["k8s.*".to_owned()],
            of: Box::new(words("x")),
        };
        assert_eq!(
            resolve(&filter),
            Filter::any(vec![
                words_of("k8s.node", "x"),
                words_of("k8s.pod.name", "x")
            ])
        );
        let none = Filter::AnyField {
            paths: vec!["nothing.*".to_owned()],
            of: Box::new(words("x")),
        };
        assert_eq!(resolve(&none), Filter::None);
        let exists = Filter::AnyField {
            paths: vec!["mess?ge".to_owned()],
            of: Box::new(Filter::Leaf(Leaf::Exists(String::new()))),
        };
        assert_eq!(
            resolve(&exists),
            Filter::Leaf(Leaf::Exists("message".to_owned()))
        );
    }

    #[test]
    fn counts_of_conditions_survive_what_is_known() {
        let at_least = |minimum, of| Filter::AtLeast { minimum, of };
        assert_eq!(
            resolve(&at_least(
                2,
                vec![Filter::All, words("a"), words("b"), Filter::None]
            )),
            Filter::any(vec![words("a"), words("b")])
        );
        assert_eq!(
            resolve(&at_least(2, vec![words("a"), words("b"), Filter::None])),
            Filter::And(vec![words("a"), words("b")])
        );
        assert_eq!(
            resolve(&at_least(3, vec![words("a"), words("b")])),
            Filter::None
        );
        assert_eq!(resolve(&at_least(0, vec![words("a")])), Filter::All);
    }
}
