//! Which files there are: new ones are taken in, oldest first, renamed ones are found again, those that have gone are let go.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::DirEntryExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use event::Timestamp;

use super::content::{FileKey, Stat};
use super::newcomer::Newcomer;
use super::tailed_file::{RENAMED_IS_KEPT, Role, TailedFile, is_over};
use super::tailer::{FILES_MAX, Tailer};

/// Contents no file holds any more are remembered up to this many, to know them again when they come back
/// compressed; a day of rotations every five minutes is 288.
const LOST_LIVES_MAX: usize = 4096;
/// Compressed in ways we do not read; their bytes are no lines.
const UNREADABLE_ENDINGS: [&str; 6] = ["bz2", "xz", "zst", "zip", "lz4", "7z"];

impl Tailer {
    pub(super) fn scan(&mut self, now: Timestamp) {
        let is_first = self.last_scan.is_none();
        let listed = self.listed_files();
        for file in self.files.values_mut() {
            file.is_listed = false;
        }
        let mut unknown: Vec<(i128, PathBuf, Stat)> = Vec::new();
        for (path, stat) in listed {
            match self.files.get_mut(&stat.key) {
                // The first path of several to one file.
                Some(file) if file.is_listed => {}
                Some(file) => {
                    file.path = path;
                    file.is_listed = true;
                    file.renamed_at = None;
                }
                None => unknown.push((stat.modified_nanos, path, stat)),
            }
        }
        // Oldest first, so that the events of rotated files come in their order.
        unknown.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        for (_, path, stat) in unknown {
            if !self.files.contains_key(&stat.key) {
                self.add(path, &stat, is_first, now);
            }
        }
        let renamed = self.find_renamed(now);
        let gone: Vec<FileKey> = self
            .files
            .values()
            .filter(|file| !file.is_listed && file.content.is_none())
            .filter(|file| !renamed.contains(&file.key))
            .map(|file| file.key)
            .collect();
        for key in gone {
            if let Some(file) = self.files.remove(&key) {
                self.lose(file, now);
            }
        }
        self.ring.retain(|key| self.files.contains_key(key));
        if is_first {
            self.mark_unfollowed_lives_lost(now);
        }
        self.forget_oldest_lives();
        self.counts
            .files
            .store(self.files.len() as u64, Ordering::Relaxed);
    }

    /// Finds closed files that were renamed out of the patterns, in the folder where they were: a line may have been
    /// written since our last look, and a writer that was not told yet goes on writing. They are looked at by their new
    /// name for a while. One that was moved to another folder is not found.
    fn find_renamed(&mut self, now: Timestamp) -> HashSet<FileKey> {
        let mut of_folder: HashMap<PathBuf, HashMap<u64, FileKey>> = HashMap::new();
        for file in self.files.values() {
            let is_missed = !file.is_listed && file.content.is_none();
            let is_over = file
                .renamed_at
                .is_some_and(|at| is_over(now, at, RENAMED_IS_KEPT));
            if let (true, false, Some(_), Some(folder)) =
                (is_missed, is_over, file.followed(), file.path.parent())
            {
                let keys = of_folder.entry(folder.to_owned()).or_default();
                keys.insert(file.key.inode, file.key);
            }
        }
        let mut found = HashSet::new();
        for (folder, keys) in of_folder {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let Some(key) = keys.get(&entry.ino()) else {
                    continue;
                };
                let path = entry.path();
                let is_same = Stat::of_path(&path).is_ok_and(|stat| stat.key == *key);
                if is_same && let Some(file) = self.files.get_mut(key) {
                    file.path = path;
                    file.renamed_at.get_or_insert(now);
                    file.next_check = now;
                    found.insert(*key);
                }
            }
        }
        found
    }

    fn listed_files(&mut self) -> Vec<(PathBuf, Stat)> {
        let mut paths = Vec::new();
        for glob in &self.rules.include {
            glob.collect_into(&mut paths);
        }
        paths.sort_unstable();
        paths.dedup();
        let is_readable = |path: &PathBuf| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            !ending.is_some_and(|ending| UNREADABLE_ENDINGS.contains(&ending))
        };
        paths
            .into_iter()
            .filter(is_readable)
            .filter(|path| !self.rules.exclude.iter().any(|glob| glob.matches(path)))
            .filter_map(|path| {
                let stat = Stat::of_path(&path).ok()?;
                stat.is_regular.then_some((path, stat))
            })
            .collect()
    }

    fn add(&mut self, path: PathBuf, stat: &Stat, is_first_scan: bool, now: Timestamp) {
        let key = stat.key;
        if self.files.len() >= FILES_MAX {
            if !std::mem::replace(&mut self.is_overfull, true) {
                tracing::warn!(path = %path.display(), files_max = FILES_MAX, "too many log files; this one and others are not followed: narrow the include patterns");
            }
            return;
        }
        let own = self.lives.iter().filter(|(_, life)| life.key == key);
        let own: Vec<(u64, bool)> = own.map(|(id, life)| (*id, life.is_truncated)).collect();
        // Those that were truncated are not in it any more, and of the others there is one.
        let current = own.iter().rfind(|(_, is_truncated)| !is_truncated);
        let current = current.map(|(id, _)| *id);
        let role = match current {
            Some(id) => {
                if let Some(life) = self.lives.get_mut(&id) {
                    life.lost_at = None;
                }
                Role::Follows(id)
            }
            None => Role::Newcomer(Newcomer {
                rejected: own.iter().map(|(id, _)| *id).collect(),
                starts_at_end: is_first_scan && self.rules.starts_at_end,
                ..Newcomer::new(now)
            }),
        };
        self.ring.push_back(key);
        if is_first_scan {
            self.backlog.push_back((key, stat.size));
        }
        self.files.insert(
            key,
            TailedFile {
                key,
                path,
                content: None,
                role,
                is_listed: true,
                renamed_at: None,
                seen: None,
                changed_at: now,
                next_check: now,
                is_drained: false,
                has_half_line: false,
                is_in_backlog: is_first_scan,
                is_head_checked: false,
            },
        );
    }

    fn mark_unfollowed_lives_lost(&mut self, now: Timestamp) {
        let followed: HashSet<u64> = self
            .files
            .values()
            .filter_map(TailedFile::followed)
            .collect();
        for (id, life) in &mut self.lives {
            if !followed.contains(id) {
                life.lost_at = Some(now);
            }
        }
    }

    fn forget_oldest_lives(&mut self) {
        let lost = self.lives.iter().filter(|(_, life)| life.lost_at.is_some());
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        let surplus = lost.len().saturating_sub(LOST_LIVES_MAX);
        for id in &lost[..surplus] {
            self.lives.remove(id);
            self.forgotten.push(*id);
        }
    }
}
