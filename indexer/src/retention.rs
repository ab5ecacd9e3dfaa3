//! What is deleted, when: by age as each index says, and the oldest days when the disk's budget is nearly used.

use std::path::Path;
use std::time::Duration;

use event::{IndexName, Timestamp};

use crate::filenames;
use crate::logs::ShardId;

/// How long each index keeps its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// For indices no rule names.
    pub default: Duration,
    /// By name or by name with `*`; the longest pattern that fits decides.
    pub rules: Vec<(String, Duration)>,
}

/// What there is to decide about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSize {
    /// Which shard.
    pub id: ShardId,
    /// Its bytes on disk.
    pub bytes: u64,
}

impl Retention {
    /// How long an index keeps its events.
    pub fn of(&self, index: &IndexName) -> Duration {
        let fitting = self
            .rules
            .iter()
            .filter(|(pattern, _)| fits(pattern, index.as_str()));
        fitting
            .max_by_key(|(pattern, _)| pattern.len())
            .map_or(self.default, |(_, kept)| *kept)
    }

    /// The earliest time whose events an index keeps at `now`.
    pub fn earliest(&self, index: &IndexName, now: Timestamp) -> Timestamp {
        now.minus(self.of(index))
    }

    /// The shards that are too old at `now`: their whole day is.
    pub fn too_old<'s>(&self, shards: &'s [ShardSize], now: Timestamp) -> Vec<&'s ShardId> {
        let is_too_old = |id: &ShardId| id.day.end() <= self.earliest(&id.index, now);
        shards
            .iter()
            .map(|shard| &shard.id)
            .filter(|id| is_too_old(id))
            .collect()
    }
}

/// The shards to delete so that `excess` bytes become free: the oldest days first, of all indices alike, but never a day
/// that is not over at `now`.
pub fn oldest_to_free(shards: &[ShardSize], excess: u64, now: Timestamp) -> Vec<&ShardId> {
    let mut by_age: Vec<&ShardSize> = shards
        .iter()
        .filter(|shard| shard.id.day.end() <= now)
        .collect();
    by_age.sort_by_key(|shard| shard.id.day);
    let mut freed = 0;
    let mut chosen = Vec::new();
    for shard in by_age {
        if freed >= excess {
            break;
        }
        freed += shard.bytes;
        chosen.push(&shard.id);
    }
    chosen
}

/// The bytes of a shard's files; 0 when it has none.
pub fn shard_bytes(data_dir: &Path, id: &ShardId) -> u64 {
    folder_bytes(&filenames::shard_folder(data_dir, id))
}

/// The bytes of all files below a folder; what vanishes meanwhile counts as nothing.
pub fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Whether a name fits a pattern in which `*` stands for anything.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::Day;

    const DAY: Duration = Duration::from_secs(86_400);

    fn shard(index: &str, day: &str, bytes: u64) -> ShardSize {
        ShardSize {
            id: ShardId {
                index: IndexName::parse(index).unwrap(),
                day: Day::parse(day).unwrap(),
            },
            bytes,
        }
    }

    fn names(ids: Vec<&ShardId>) -> Vec<String> {
        ids.into_iter().map(ShardId::name).collect()
    }

    #[test]
    fn a_day_goes_when_all_of_it_is_too_old() {
        let retention = Retention {
            default: 2 * DAY,
            rules: vec![("audit-*".into(), 365 * DAY), ("audit-tmp*".into(), DAY)],
        };
        let now = Timestamp::parse_iso("2026-11-23T12:00:00Z").unwrap();
        let shards = [
            shard("logs", "2026.11.20", 1),
            shard("logs", "2026.11.21", 1),
            shard("audit-a", "2026.01.01", 1),
            shard("audit-tmp", "2026.11.21", 1),
            shard("audit-tmp", "2026.11.22", 1),
        ];
        assert_eq!(
            names(retention.too_old(&shards, now)),
            ["logs-2026.11.20", "audit-tmp-2026.11.21"]
        );
    }

    #[test]
    fn the_oldest_days_go_first_and_today_never() {
        let now = Timestamp::parse_iso("2026-11-23T12:00:00Z").unwrap();
        let shards = [
            shard("b", "2026.11.23", 100),
            shard("b", "2026.11.22", 10),
            shard("a", "2026.11.01", 5),
            shard("b", "2026.11.02", 5),
        ];
        assert_eq!(
            names(oldest_to_free(&shards, 6, now)),
            ["a-2026.11.01", "b-2026.11.02"]
        );
        assert_eq!(oldest_to_free(&shards, 1_000, now).len(), 3);
        assert!(oldest_to_free(&shards, 0, now).is_empty());
    }

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, expected) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("abc", "abc", true),
            ("ab", "abc", false),
            ("*", "x", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
