//! Which shards an index expression names: `logs`, `logs-2026.11.*,-logs-2026.11.02`, `<logs-{now/d}>`, `_all`.
//!
//! A pure function of the expression, the names that exist, and the time. Besides the shards' own names
//! (`logs-2026.11.23`) there are virtual ones, cut finer or wider than a day; see [`period`].

mod date_math;
mod pattern;
mod period;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{Day, IndexName, Timestamp};
use http::StatusCode;
use indexer::logs::ShardId;
use xxhash_rust::xxh3::xxh3_128;

use super::error::{Cause, ElasticError};
use crate::logs::execute::SearchTarget;
use crate::logs::filter::TimeRange;
pub(super) use pattern::Pattern;
use period::{ALL_HOURS, Period};

/// The flags that come with an index expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetOptions {
    /// Skip concrete names that do not exist, instead of answering 404.
    pub ignore_unavailable: bool,
    /// Take an expression that matches nothing as no shards, instead of answering 404.
    pub allow_no_indices: bool,
    /// Wildcards match open indices, which all of ours are; without it wildcards match nothing.
    pub expand_open: bool,
    /// Wildcards also match names that begin with a dot.
    pub expand_hidden: bool,
}

impl Default for TargetOptions {
    fn default() -> TargetOptions {
        TargetOptions {
            ignore_unavailable: false,
            allow_no_indices: true,
            expand_open: true,
            expand_hidden: false,
        }
    }
}

impl TargetOptions {
    /// The same with `expand_wildcards` as a comma list of `open`, `closed`, `hidden`, `none`, `all`.
    ///
    /// # Errors
    /// 400 for any other word.
    pub fn expand_wildcards(mut self, list: &str) -> Result<TargetOptions, ElasticError> {
        (self.expand_open, self.expand_hidden) = (false, false);
        for word in list.split(',').map(str::trim) {
            match word {
                "open" => self.expand_open = true,
                "hidden" => self.expand_hidden = true,
                "closed" => {}
                "none" => (self.expand_open, self.expand_hidden) = (false, false),
                "all" => (self.expand_open, self.expand_hidden) = (true, true),
                _ => {
                    return Err(ElasticError::illegal_argument(format!(
                        "No valid expand wildcard value [{word}], expected open, closed, hidden, none or all"
                    )));
                }
            }
        }
        Ok(self)
    }
}

/// A shard to read, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The shard.
    pub shard: ShardId,
    /// Only its events in this time; `None` is all of them.
    pub time_slice: Option<TimeSlice>,
}

/// A stretch of time, UTC: `start` belongs to it, `end` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSlice {
    /// The first moment.
    pub start: Timestamp,
    /// The moment after the last.
    pub end: Timestamp,
}

/// The shards that `expression` names, where nothing but shards exists: no aliases, no empty indices.
/// See [`Names::resolve`].
///
/// # Errors
/// As [`Names::resolve`].
pub fn resolve(
    expression: &str,
    options: &TargetOptions,
    known: &[ShardId],
    now: Timestamp,
) -> Result<Vec<Target>, ElasticError> {
    let names = Names::new(known.iter().cloned());
    Ok(names.resolve(expression, options, now)?.targets)
}

/// The 22 characters Elasticsearch would call the index's unique id: made from the name, so that it never changes.
pub fn index_uuid(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(xxh3_128(name.as_bytes()).to_be_bytes())
}

/// Everything a name can mean at one moment.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The days of each index, ascending.
    days: BTreeMap<IndexName, Vec<Day>>,
    /// Names a client created that have no event yet.
    created: BTreeSet<String>,
    /// Alias to the concrete names it stands for.
    aliases: BTreeMap<String, BTreeSet<String>>,
}

/// What an expression names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// By index, day and time; one shard may come in several slices, which neither overlap nor touch.
    pub targets: Vec<Target>,
    /// Names that were created and have no event yet: they exist, and are empty.
    pub created: Vec<String>,
}

impl Resolved {
    /// The shards, each once, in the order of the targets.
    pub fn shards(&self) -> Vec<ShardId> {
        let mut shards: Vec<ShardId> = self.targets.iter().map(|t| t.shard.clone()).collect();
        shards.dedup();
        shards
    }

    /// What a search looks through.
    pub fn search_target(&self) -> SearchTarget {
        let parts = self.targets.iter().map(|target| {
            let range = match target.time_slice {
                Some(slice) => TimeRange::until(slice.start, slice.end),
                None => TimeRange::ALL,
            };
            (target.shard.clone(), range)
        });
        SearchTarget(parts.collect())
    }
}

/// Per shard, which hours of its day are meant: one bit each. Union and difference are bit operations.
type Hours = BTreeMap<(IndexName, Day), u32>;

#[derive(Debug, Default)]
struct Chosen {
    hours: Hours,
    created: BTreeSet<String>,
}

impl Names {
    /// The shards that exist, in any order.
    pub fn new(shards: impl IntoIterator<Item = ShardId>) -> Names {
        let mut days: BTreeMap<IndexName, Vec<Day>> = BTreeMap::new();
        for shard in shards {
            days.entry(shard.index).or_default().push(shard.day);
        }
        for list in days.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        Names {
            days,
            ..Names::default()
        }
    }

    /// Adds names that were created; they count as long as no shard bears them.
    pub fn with_created(mut self, names: impl IntoIterator<Item = String>) -> Names {
        self.created = names
            .into_iter()
            .filter(|name| self.concrete_shards(name).is_empty())
            .collect();
        self
    }

    /// Adds aliases: each with the concrete names it stands for.
    pub fn with_aliases(
        mut self,
        aliases: impl IntoIterator<Item = (String, BTreeSet<String>)>,
    ) -> Names {
        self.aliases = aliases.into_iter().collect();
        self
    }

    /// The indices that have shards, with their days ascending.
    pub fn days(&self) -> &BTreeMap<IndexName, Vec<Day>> {
        &self.days
    }

    /// Whether a concrete name, not an alias, exists.
    pub fn is_index(&self, name: &str) -> bool {
        self.created.contains(name) || !self.concrete_shards(name).is_empty()
    }

    /// Whether the concrete name `inner` means nothing but what the concrete name `outer` means too: a day and its
    /// index, or the same name twice.
    pub(super) fn holds(&self, outer: &str, inner: &str) -> bool {
        let inner_hours = self.concrete_shards(inner);
        let outer_hours = self.concrete_shards(outer);
        let is_within = |(shard, hours): (_, &u32)| {
            outer_hours
                .get(shard)
                .is_some_and(|outer| hours & !outer == 0)
        };
        outer == inner || (!inner_hours.is_empty() && inner_hours.iter().all(is_within))
    }

    /// Whether an expression means an index or alias by its own name, and not only by the names of its days.
    ///
    /// # Errors
    /// 400 for broken date math.
    pub(super) fn is_named(
        &self,
        name: &str,
        expression: &str,
        options: &TargetOptions,
        now: Timestamp,
    ) -> Result<bool, ElasticError> {
        let (mut is_named, mut is_after_wildcard) = (false, false);
        for part in parts_of(expression) {
            let part = date_math::expand(part, now)?;
            let excluded = part.strip_prefix('-').filter(|_| is_after_wildcard);
            if let Some(excluded) = excluded {
                is_named &= !Pattern::new(excluded).matches(name);
            } else if Pattern::is_wildcard(&part) {
                is_after_wildcard = true;
                is_named |= is_visible(name, &part, options) && Pattern::new(&part).matches(name);
            } else {
                is_named |= part == name;
            }
        }
        Ok(is_named)
    }

    /// What `expression` names: a comma list of names, aliases, wildcards, exclusions (`-a*`, behind a wildcard only)
    /// and date math. Empty, `*` and `_all` are everything that is not hidden. `now` is UTC.
    ///
    /// # Errors
    /// 404 `index_not_found_exception` for what is missing, as the options say; 400 for broken date math and for
    /// names that begin with `_`.
    pub fn resolve(
        &self,
        expression: &str,
        options: &TargetOptions,
        now: Timestamp,
    ) -> Result<Resolved, ElasticError> {
        let mut chosen = Chosen::default();
        let mut is_after_wildcard = false;
        let parts = parts_of(expression);
        for part in &parts {
            let name = date_math::expand(part, now)?;
            let excluded = name.strip_prefix('-').filter(|_| is_after_wildcard);
            if let Some(excluded) = excluded {
                chosen.remove(self.excluded(excluded));
                continue;
            }
            if Pattern::is_wildcard(&name) {
                is_after_wildcard = true;
                let matching = self.matching(&name, options);
                if matching.is_empty() && !options.allow_no_indices {
                    return Err(ElasticError::index_not_found(&name));
                }
                chosen.add(matching);
                continue;
            }
            match self.concrete(&name)? {
                Some(found) => chosen.add(found),
                None if options.ignore_unavailable => {}
                None => return Err(ElasticError::index_not_found(&name)),
            }
        }
        if chosen.is_empty() && !options.allow_no_indices {
            return Err(ElasticError::index_not_found(&parts.join(",")));
        }
        Ok(chosen.into_resolved())
    }

    /// What one name without wildcards stands for; `None` when nothing bears it.
    fn concrete(&self, name: &str) -> Result<Option<Chosen>, ElasticError> {
        if let Some(members) = self.aliases.get(name) {
            let mut chosen = Chosen::default();
            for member in members {
                chosen.add(self.index(member));
            }
            return Ok(Some(chosen));
        }
        let chosen = self.index(name);
        if !chosen.is_empty() {
            return Ok(Some(chosen));
        }
        if name.starts_with('_') {
            return Err(ElasticError::invalid_index_name(
                name,
                "must not start with '_'.",
            ));
        }
        Ok(None)
    }

    fn index(&self, name: &str) -> Chosen {
        let hours = self.concrete_shards(name);
        let is_created = hours.is_empty() && self.created.contains(name);
        Chosen {
            hours,
            created: is_created.then(|| name.to_owned()).into_iter().collect(),
        }
    }

    /// The shards of an index, of a day of it, or of another period of it. The name of an index goes before a
    /// period of another one.
    fn concrete_shards(&self, name: &str) -> Hours {
        if let Some((index, days)) = self.days.get_key_value(name) {
            return whole(index, days);
        }
        let Some((index, suffix)) = name.rsplit_once('-') else {
            return Hours::new();
        };
        let Some((index, days)) = self.days.get_key_value(index) else {
            return Hours::new();
        };
        Period::readings(suffix)
            .map(|period| in_period(index, days, &period))
            .find(|hours| !hours.is_empty())
            .unwrap_or_default()
    }

    fn excluded(&self, name: &str) -> Chosen {
        if !Pattern::is_wildcard(name) {
            return self.concrete(name).ok().flatten().unwrap_or_default();
        }
        let everything = TargetOptions {
            expand_hidden: true,
            ..TargetOptions::default()
        };
        self.matching(name, &everything)
    }

    fn matching(&self, wildcard: &str, options: &TargetOptions) -> Chosen {
        let mut chosen = Chosen::default();
        if !options.expand_open && !options.expand_hidden {
            return chosen;
        }
        let pattern = Pattern::new(wildcard);
        let is_visible = |name: &str| is_visible(name, wildcard, options);
        for (index, days) in &self.days {
            if is_visible(index.as_str()) {
                chosen.hours.extend(matching_days(&pattern, index, days));
            }
        }
        for (alias, members) in &self.aliases {
            if is_visible(alias) && pattern.matches(alias) {
                for member in members {
                    chosen.add(self.index(member));
                }
            }
        }
        let created = self.created.iter();
        let matching = created.filter(|name| is_visible(name) && pattern.matches(name));
        chosen.created.extend(matching.cloned());
        chosen
    }
}

/// Whether a wildcard may match a name: those with a dot hide, unless the wildcard begins with one too.
fn is_visible(name: &str, wildcard: &str, options: &TargetOptions) -> bool {
    match name.starts_with('.') {
        true => options.expand_hidden || wildcard.starts_with('.'),
        false => options.expand_open,
    }
}

/// Cuts a list at its commas, but not within date math. Empty parts are nothing; nothing at all is everything.
fn parts_of(expression: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let parts = expression.split(|c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts: Vec<&str> = parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| if part == "_all" { "*" } else { part })
        .collect();
    if parts.is_empty() { vec!["*"] } else { parts }
}

fn whole(index: &IndexName, days: &[Day]) -> Hours {
    let keys = days.iter().map(|day| (index.clone(), *day));
    keys.map(|key| (key, ALL_HOURS)).collect()
}

fn in_period(index: &IndexName, days: &[Day], period: &Period) -> Hours {
    days_within(days, &period.days)
        .iter()
        .map(|day| ((index.clone(), *day), period.hours))
        .collect()
}

fn days_within<'a>(days: &'a [Day], range: &RangeInclusive<Day>) -> &'a [Day] {
    let from = days.partition_point(|day| day < range.start());
    let to = days.partition_point(|day| day <= range.end());
    &days[from..to.max(from)]
}

/// The days of one index that a wildcard names: all by the index's name, some by the shards' names, or some hours
/// when the pattern says more than a day (`logs-2026.11.23.1*`).
fn matching_days(pattern: &Pattern, index: &IndexName, days: &[Day]) -> Hours {
    if pattern.matches(index.as_str()) {
        return whole(index, days);
    }
    if !pattern.may_match_longer(&format!("{index}-")) {
        return Hours::new();
    }
    let mut hours = Hours::new();
    for day in days {
        let name = index.shard_name(*day);
        let mask = match pattern.matches(&name) {
            true => ALL_HOURS,
            false => matching_hours(pattern, &name),
        };
        if mask != 0 {
            hours.insert((index.clone(), *day), mask);
        }
    }
    hours
}

fn matching_hours(pattern: &Pattern, shard_name: &str) -> u32 {
    if !pattern.begins_with(&format!("{shard_name}.")) {
        return 0;
    }
    let matching = (0..24).filter(|hour| pattern.matches(&format!("{shard_name}.{hour:02}")));
    matching.fold(0, |mask, hour| mask | 1 << hour)
}

impl Chosen {
    fn is_empty(&self) -> bool {
        self.hours.is_empty() && self.created.is_empty()
    }

    fn add(&mut self, other: Chosen) {
        for (shard, hours) in other.hours {
            *self.hours.entry(shard).or_insert(0) |= hours;
        }
        self.created.extend(other.created);
    }

    fn remove(&mut self, other: Chosen) {
        for (shard, hours) in other.hours {
            if let Some(mine) = self.hours.get_mut(&shard) {
                *mine &= !hours;
            }
        }
        self.hours.retain(|_, hours| *hours != 0);
        self.created.retain(|name| !other.created.contains(name));
    }

    fn into_resolved(self) -> Resolved {
        let mut targets = Vec::with_capacity(self.hours.len());
        for ((index, day), hours) in self.hours {
            let shard = ShardId { index, day };
            if hours == ALL_HOURS {
                let time_slice = None;
                targets.push(Target { shard, time_slice });
                continue;
            }
            for time_slice in period::slices(day, hours) {
                targets.push(Target {
                    shard: shard.clone(),
                    time_slice: Some(time_slice),
                });
            }
        }
        let created = self.created.into_iter().collect();
        Resolved { targets, created }
    }
}

fn invalid_expression(expression: &str, problem: &str) -> ElasticError {
    ElasticError::cause(
        StatusCode::BAD_REQUEST,
        Cause::new(
            "parse_exception",
            format!("invalid dynamic name expression [{expression}]. {problem}"),
        ),
    )
}

#[cfg(test)]
mod tests;
