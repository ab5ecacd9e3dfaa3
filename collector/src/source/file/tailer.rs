//! Follows files: which bytes come next, and of which file.
//!
//! A synchronous state machine. Every call of [`Tailer::read`] does a bounded amount of work at a given time; nobody
//! here sleeps, and polling is the only truth. What was read is told by [`Tailer::take_checkpoint`]; a tailer made
//! from the checkpoints of durable batches goes on exactly behind their last line.
//!
//! A file plays one role at a time: a newcomer nobody knows yet (see [`super::newcomer`]), the carrier of a life it
//! is read for, a copy that stands by in case the carrier goes, or one whose bytes were all read elsewhere.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use event::Timestamp;

use super::content::{Content, End, FileKey, Fingerprint, Stat};
use super::framing::{Flush, Frame, Framer};
use super::glob::Glob;
use super::life::{HEAD_BYTES, Life, Start};
use super::newcomer::Newcomer;
use crate::source::checkpoint::{self, Entries};

/// The patterns are looked through this often, and files that are quiet are looked at.
pub const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Files that grew lately are looked at this often.
pub const POLL_EVERY: Duration = Duration::from_millis(100);
/// A file is quiet when it did not grow for this long. Until then it is also watched for a replacement that left
/// size and time of change alone.
const QUIET_AFTER: Duration = Duration::from_secs(10);
/// The half last line of a file that is still written to is taken as it stands after this long.
const LIVE_HALF_LINE_WAITS: Duration = Duration::from_secs(60);
/// The half last line of a rotated or deleted file is taken as it stands after this long.
const ROTATED_HALF_LINE_WAITS: Duration = Duration::from_secs(5);
/// A deleted file is let go when it did not grow for this long: its writer may not have noticed yet.
const DELETED_IS_KEPT: Duration = Duration::from_secs(5);
/// A file that was renamed out of the patterns is let go when it did not grow for this long.
const RENAMED_IS_KEPT: Duration = Duration::from_secs(60);
/// A file that cannot be opened is tried again after this long.
const UNREADABLE_WAITS: Duration = Duration::from_secs(10);
/// A clock that was set back must not stop the reading: longer waits than any of ours are over.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Followed files per source; more are a mistake in the patterns and would make every scan slow.
const FILES_MAX: usize = 20_000;
/// Contents no file holds any more are remembered up to this many, to know them again when they come back
/// compressed; a day of rotations every five minutes is 288.
const LOST_LIVES_MAX: usize = 4096;
/// Compressed in ways we do not read; their bytes are no lines.
const UNREADABLE_ENDINGS: [&str; 6] = ["bz2", "xz", "zst", "zip", "lz4", "7z"];

/// What is followed and how.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Files whose path fits one of these are followed,
    pub include: Vec<Glob>,
    /// except those that fit one of these.
    pub exclude: Vec<Glob>,
    /// How bytes become events.
    pub framer: Framer,
    /// Whether files that exist at the very first start are read from their end.
    pub starts_at_end: bool,
    /// One turn of one file takes this many bytes, then the next file has its turn.
    pub turn_bytes: usize,
    /// One call of [`Tailer::read`] takes about this many bytes.
    pub batch_bytes: usize,
    /// At most this many files are held open; others are opened for their turn.
    pub open_files_max: usize,
    /// A file that did not grow for this long is closed, and opened again when it grows.
    pub close_idle_after: Duration,
}

/// One event as it lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its text in UTF-8 as far as it is any, without the last line's end; joined events contain line ends. Of files of
    /// another format the bytes as they lie there.
    pub text: &'a [u8],
    /// The path its content was first seen under.
    pub path: &'a Path,
    /// Where it begins in the (decompressed) content.
    pub offset: u64,
    /// Bytes it takes there, with the line's end.
    pub raw_bytes: usize,
    /// Whether it was longer than allowed and its rest is skipped.
    pub is_cut: bool,
}

/// What a file source saw besides events.
#[derive(Debug, Default)]
pub struct FileCounts {
    /// Files followed at the moment.
    pub files: AtomicU64,
    /// Files held open at the moment.
    pub open_files: AtomicU64,
    /// Lines longer than allowed, stored cut.
    pub cut_lines: AtomicU64,
    /// Bytes of those lines that were not stored.
    pub skipped_bytes: AtomicU64,
    /// Lines that were no text in their file's encoding, stored with replacement characters.
    pub invalid_utf8_lines: AtomicU64,
    /// Files found truncated or replaced in place, and read from their beginning.
    pub truncations: AtomicU64,
    /// Failed attempts to open or read a file.
    pub read_errors: AtomicU64,
}

/// The state of following the files of one source.
pub struct Tailer {
    pub(super) rules: Rules,
    pub(super) lives: BTreeMap<u64, Life>,
    pub(super) files: HashMap<FileKey, TailedFile>,
    /// Whose turn it is; holds every key of `files` once, and some that are gone.
    ring: VecDeque<FileKey>,
    /// Files that were there at the start and their sizes then, oldest first: the first one is read that far before the
    /// next one begins.
    backlog: VecDeque<(FileKey, u64)>,
    pub(super) next_life: u64,
    last_scan: Option<Timestamp>,
    /// Lives dropped since the last checkpoint.
    forgotten: Vec<u64>,
    pub(super) buffer: Vec<u8>,
    unreadable: HashSet<PathBuf>,
    /// Whether files are left out, which is said once.
    is_overfull: bool,
    pub(super) counts: Arc<FileCounts>,
}

/// One file we know by its inode.
pub(super) struct TailedFile {
    pub(super) key: FileKey,
    pub(super) path: PathBuf,
    pub(super) content: Option<Content>,
    pub(super) role: Role,
    /// Whether the last scan found a path to it.
    pub(super) is_listed: bool,
    /// When it was first found under a name outside of the patterns, while it was not open.
    renamed_at: Option<Timestamp>,
    pub(super) seen: Option<Stat>,
    pub(super) changed_at: Timestamp,
    pub(super) next_check: Timestamp,
    /// Whether everything complete was read when it was last looked at.
    pub(super) is_drained: bool,
    /// Whether half a line waits behind what was read.
    has_half_line: bool,
    /// Whether it waits for older files of the backlog.
    is_in_backlog: bool,
    /// Whether the open content is known to begin as its life does; for compressed ones, which are not checked at
    /// every turn. While a file is closed, another one may take its inode.
    pub(super) is_head_checked: bool,
}

pub(super) enum Role {
    Newcomer(Newcomer),
    Follows(u64),
    CopyOf(u64),
    Unneeded,
}

/// What a turn did.
pub(super) enum After {
    /// Bytes looked at; 0 lets the caller rest.
    Keep(u64),
    /// The file is not to be followed any more.
    Lose,
}

impl Tailer {
    /// Continues from these checkpoints; without any, it is the very first start.
    pub fn new(rules: Rules, recovered: &Entries, counts: Arc<FileCounts>) -> Tailer {
        let mut lives = BTreeMap::new();
        for (key, record) in recovered {
            let id = <[u8; 8]>::try_from(&key[..]).map(u64::from_be_bytes);
            match (id, Life::decode(record)) {
                (Ok(id), Some(life)) => {
                    lives.insert(id, life);
                }
                _ => tracing::error!(
                    bytes = record.len(),
                    "a file's checkpoint is not readable and was passed over"
                ),
            }
        }
        let next_life = lives.keys().next_back().map_or(0, |last| last + 1);
        let rules = Rules {
            starts_at_end: rules.starts_at_end && lives.is_empty(),
            ..rules
        };
        Tailer {
            rules,
            lives,
            files: HashMap::new(),
            ring: VecDeque::new(),
            backlog: VecDeque::new(),
            next_life,
            last_scan: None,
            forgotten: Vec::new(),
            buffer: Vec::new(),
            unreadable: HashSet::new(),
            is_overfull: false,
            counts,
        }
    }

    /// Hands out the next events, about `batch_bytes` of them, a turn per file. Answers how many bytes were looked
    /// at; 0 means that there is nothing to do before the next poll.
    pub fn read(&mut self, now: Timestamp, emit: &mut dyn FnMut(Line<'_>)) -> u64 {
        self.observe(now);
        let mut total = 0;
        loop {
            self.pass_over_gone_backlog();
            let mut round = 0;
            for _ in 0..self.ring.len() {
                if total + round >= self.rules.batch_bytes as u64 {
                    return total + round;
                }
                let Some(key) = self.ring.pop_front() else {
                    break;
                };
                if let Some(file) = self.files.remove(&key) {
                    round += self.turn(file, now, emit);
                }
            }
            total += round;
            if round == 0 {
                return total;
            }
        }
    }

    /// Looks for new, renamed and vanished files, when it is time to. Also done by [`Tailer::read`]; called alone
    /// while reading is paused, so that files which are rotated meanwhile are held open.
    pub fn observe(&mut self, now: Timestamp) {
        let is_due = self
            .last_scan
            .is_none_or(|last| is_over(now, last, SCAN_EVERY));
        if is_due {
            self.scan(now);
            self.last_scan = Some(now);
        }
    }

    /// What changed since the last call, for the batch that holds the events read since. Called for batches that
    /// have events; what changes without any waits for the next ones, and would be found out again after a crash.
    pub fn take_checkpoint(&mut self) -> Option<Bytes> {
        let mut changes: Vec<([u8; 8], Option<Bytes>)> = Vec::new();
        for id in self.forgotten.drain(..) {
            changes.push((id.to_be_bytes(), None));
        }
        for (id, life) in self.lives.iter_mut().filter(|(_, life)| life.is_changed) {
            life.is_changed = false;
            changes.push((id.to_be_bytes(), Some(life.encode())));
        }
        if changes.is_empty() {
            return None;
        }
        let entries = changes
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()));
        Some(checkpoint::encode(entries))
    }

    fn turn(
        &mut self,
        mut file: TailedFile,
        now: Timestamp,
        emit: &mut dyn FnMut(Line<'_>),
    ) -> u64 {
        let is_due = now >= file.next_check || is_over(file.next_check, now, LONGEST_WAIT);
        let first = self.backlog.front().filter(|(key, _)| *key == file.key);
        let size_at_start = first.map(|(_, size)| *size);
        let after = match &file.role {
            _ if !is_due => After::Keep(0),
            Role::Follows(_) if file.is_in_backlog && size_at_start.is_none() => {
                self.hold(&mut file, now);
                After::Keep(0)
            }
            Role::Newcomer(_) => self.examine(&mut file, now),
            Role::Follows(life) => {
                let life = *life;
                self.follow(&mut file, life, now, emit)
            }
            Role::CopyOf(life) => {
                let life = *life;
                self.stand_by(&mut file, life, now)
            }
            Role::Unneeded => self.ignore(&mut file, now),
        };
        let mut work = match after {
            After::Keep(work) => work,
            After::Lose => 0,
        };
        if let Some(size) = size_at_start
            && (work == 0 || self.is_read_up_to(&file, size))
        {
            // Through, or not to be read now; either way the next one begins, within this round.
            self.backlog.pop_front();
            file.is_in_backlog = false;
            let next = self.backlog.front();
            work = work.max(u64::from(next.is_some()));
            if let Some(next) = next.and_then(|(key, _)| self.files.get_mut(key)) {
                next.next_check = now;
            }
        }
        match after {
            After::Keep(_) => {
                self.ring.push_back(file.key);
                self.files.insert(file.key, file);
            }
            After::Lose => self.lose(file, now),
        }
        work
    }

    /// A file that is being written has no end; what it had at the start has one.
    fn is_read_up_to(&self, file: &TailedFile, size: u64) -> bool {
        let life = file.followed().and_then(|id| self.lives.get(&id));
        file.is_plain() && life.is_some_and(|life| life.offset >= size)
    }

    fn pass_over_gone_backlog(&mut self) {
        while let Some((first, _)) = self.backlog.front()
            && !self.files.contains_key(first)
        {
            self.backlog.pop_front();
        }
    }

    /// Keeps a file that waits for others open, as far as there is room: it may be deleted before its turn.
    fn hold(&mut self, file: &mut TailedFile, now: Timestamp) {
        let open_files = self.counts.open_files.load(Ordering::Relaxed);
        let has_room = open_files < self.rules.open_files_max as u64;
        if file.content.is_none() && has_room {
            // What cannot be opened now is told at its turn.
            drop(self.look(file, now));
        }
        file.next_check = now.plus(POLL_EVERY);
    }

    fn scan(&mut self, now: Timestamp) {
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

    /// Says that this life is in this file, and no other that was before.
    pub(super) fn claim(&mut self, key: FileKey, life_id: u64) {
        for (id, life) in &mut self.lives {
            if *id == life_id {
                life.is_changed |= life.key != key;
                life.key = key;
            } else if life.key == key && !life.is_truncated {
                life.key = FileKey::NONE;
                life.is_changed = true;
            }
        }
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

    fn lose(&mut self, mut file: TailedFile, now: Timestamp) {
        let stat = file.content.as_ref().map(Content::stat);
        let is_deleted = stat.is_some_and(|stat| stat.is_ok_and(|stat| stat.is_unlinked));
        self.close(&mut file);
        if let Some(life) = file.followed().and_then(|id| self.lives.get_mut(&id)) {
            life.lost_at = Some(now);
            if is_deleted {
                // Its inode will be given to another file, perhaps with the same first words.
                life.key = FileKey::NONE;
                life.is_changed = true;
            }
        }
    }

    pub(super) fn close(&self, file: &mut TailedFile) {
        if file.content.take().is_some() {
            self.counts.open_files.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Opens the file if it is not open, and asks the file system about it.
    ///
    /// # Errors
    /// It cannot be looked at now; what to do instead.
    pub(super) fn look(&mut self, file: &mut TailedFile, now: Timestamp) -> Result<Stat, After> {
        if let Some(content) = &file.content {
            return content
                .stat()
                .map_err(|error| self.put_off(file, &error, now));
        }
        match Content::open(&file.path) {
            Ok((content, stat)) if stat.key == file.key => {
                self.make_room_for_one_more();
                self.counts.open_files.fetch_add(1, Ordering::Relaxed);
                self.unreadable.remove(&file.path);
                file.content = Some(content);
                file.is_head_checked = false;
                Ok(stat)
            }
            // Renamed or deleted since the last scan; the next one knows.
            Ok(_) => {
                file.next_check = now.plus(POLL_EVERY);
                Err(After::Keep(0))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                file.next_check = now.plus(POLL_EVERY);
                Err(After::Keep(0))
            }
            Err(error) => Err(self.put_off(file, &error, now)),
        }
    }

    pub(super) fn put_off(
        &mut self,
        file: &mut TailedFile,
        error: &io::Error,
        now: Timestamp,
    ) -> After {
        self.counts.read_errors.fetch_add(1, Ordering::Relaxed);
        if self.unreadable.len() < FILES_MAX && self.unreadable.insert(file.path.clone()) {
            tracing::warn!(path = %file.path.display(), %error, "cannot read a log file; trying again every 10 s");
        }
        file.next_check = now.plus(UNREADABLE_WAITS);
        After::Keep(0)
    }

    fn make_room_for_one_more(&mut self) {
        let is_full =
            self.counts.open_files.load(Ordering::Relaxed) >= self.rules.open_files_max as u64;
        if !is_full {
            return;
        }
        // Those that scans still find can be opened again; the quietest of them go, several at a time, because with
        // thousands of files this is asked often.
        let mut open: Vec<(bool, Timestamp, FileKey)> = self
            .files
            .values()
            .filter(|file| file.is_listed && file.content.is_some())
            .map(|file| (!file.is_drained, file.changed_at, file.key))
            .collect();
        open.sort_unstable();
        let surplus = (self.rules.open_files_max / 8).max(1);
        for (_, _, key) in open.into_iter().take(surplus) {
            if let Some(mut file) = self.files.remove(&key) {
                self.close(&mut file);
                self.files.insert(file.key, file);
            }
        }
    }

    fn follow(
        &mut self,
        file: &mut TailedFile,
        life_id: u64,
        now: Timestamp,
        emit: &mut dyn FnMut(Line<'_>),
    ) -> After {
        let Some(mut life) = self.lives.remove(&life_id) else {
            file.role = Role::Newcomer(Newcomer::new(now));
            return After::Keep(0);
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let after = self.follow_life(file, &mut life, now, &mut buffer, emit);
        self.buffer = buffer;
        let after = match after {
            Ok(after) | Err(Odd::Later(after)) => after,
            Err(Odd::Replaced) if file.renamed_at.is_some() => {
                // Its inode was given to another file, which nobody asked us to read.
                life.lost_at = Some(now);
                life.key = FileKey::NONE;
                life.is_changed = true;
                self.close(file);
                file.role = Role::Unneeded;
                After::Lose
            }
            Err(Odd::Replaced) => {
                tracing::info!(path = %file.path.display(), "a log file was truncated or replaced; reading it from its beginning");
                self.counts.truncations.fetch_add(1, Ordering::Relaxed);
                self.close(file);
                life.is_truncated = true;
                life.is_changed = true;
                life.lost_at = Some(now);
                let rejected = vec![life_id];
                file.role = Role::Newcomer(Newcomer {
                    rejected,
                    ..Newcomer::new(now)
                });
                file.seen = None;
                file.is_drained = false;
                After::Keep(1)
            }
        };
        self.lives.insert(life_id, life);
        after
    }

    fn follow_life(
        &mut self,
        file: &mut TailedFile,
        life: &mut Life,
        now: Timestamp,
        buffer: &mut Vec<u8>,
        emit: &mut dyn FnMut(Line<'_>),
    ) -> Result<After, Odd> {
        if file.content.is_none() && file.may_stay_closed(now) {
            let is_quiet = is_over(now, file.changed_at, QUIET_AFTER);
            file.next_check = now.plus(if is_quiet { SCAN_EVERY } else { POLL_EVERY });
            return Ok(After::Keep(0));
        }
        let stat = self.look(file, now).map_err(Odd::Later)?;
        let is_first_look = file.seen.is_none();
        let is_changed = file.seen.is_none_or(|seen| !stat.is_unchanged_since(&seen));
        if is_changed {
            file.seen = Some(stat);
            file.changed_at = now;
            file.is_drained = false;
        }
        let Some(content) = &mut file.content else {
            return Ok(After::Keep(0));
        };
        let is_gzip = content.is_gzip();
        if is_gzip && is_changed && !is_first_look {
            // Its decoder has seen the old end.
            self.close(file);
            life.is_finished = false;
            return Ok(After::Keep(1));
        }
        if !is_gzip && stat.size < life.offset {
            return Err(Odd::Replaced);
        }
        if is_gzip
            && !std::mem::replace(&mut file.is_head_checked, true)
            && !is_head_of(life, content, buffer)
        {
            return Err(Odd::Replaced);
        }
        if is_gzip && life.is_finished {
            file.is_drained = true;
            self.close(file);
            return Ok(file.settle(&stat, true, now));
        }
        let flush = self.flush_of(file, life, &stat, now);
        let is_all_read = !is_gzip && stat.size == life.offset;
        if file.is_quiet(now) && (is_all_read || flush == Flush::Nothing) {
            file.has_half_line = !is_gzip && !is_all_read;
            let is_idle = is_over(now, file.changed_at, self.rules.close_idle_after);
            // By its name it can be opened again. Without one the descriptor is all there is.
            if is_idle && is_all_read && file.is_listed && !stat.is_unlinked {
                self.close(file);
            }
            return Ok(file.settle(&stat, is_all_read, now));
        }
        let (consumed, end, is_all_read) = self.take_turn(file, life, flush, buffer, emit)?;
        file.is_drained = end == End::OfFile;
        file.has_half_line = !is_gzip && !is_all_read;
        if is_gzip && end == End::OfFile && is_all_read && !life.is_finished {
            life.is_finished = true;
            life.is_changed = true;
        }
        if consumed > 0 {
            file.next_check = now;
            return Ok(After::Keep(consumed));
        }
        Ok(file.settle(&stat, is_all_read && end == End::OfFile, now))
    }

    /// Reads and hands out what one turn allows: bytes taken, why it ended, whether nothing waits for its rest.
    fn take_turn(
        &mut self,
        file: &mut TailedFile,
        life: &mut Life,
        flush: Flush,
        buffer: &mut Vec<u8>,
        emit: &mut dyn FnMut(Line<'_>),
    ) -> Result<(u64, End, bool), Odd> {
        let Some(content) = &mut file.content else {
            return Ok((0, End::More, false));
        };
        let is_gzip = content.is_gzip();
        let anchor = match is_gzip {
            true => 0,
            false => usize::from(life.anchor.length),
        };
        let mut wanted = self.rules.turn_bytes;
        loop {
            let from = life.offset - anchor as u64;
            let end = match content.read_at(from, anchor + wanted, buffer) {
                Ok(end) => end,
                Err(error) => {
                    tracing::debug!(path = %file.path.display(), %error, "reading a log file failed");
                    self.counts.read_errors.fetch_add(1, Ordering::Relaxed);
                    return Ok((0, End::BrokenOff, false));
                }
            };
            if !is_gzip && !life.anchor.is_start_of(buffer) {
                return Err(Odd::Replaced);
            }
            if !is_gzip {
                check_head(life, from, buffer, content)?;
            }
            let flush = match end {
                End::OfFile if is_gzip => Flush::Everything,
                End::OfFile | End::BrokenOff => flush,
                End::More => Flush::Nothing,
            };
            let consumed = self.hand_out(life, &buffer[anchor.min(buffer.len())..], flush, emit);
            let window = self.rules.framer.window_bytes();
            if consumed == 0 && end == End::More && wanted < window {
                wanted = window;
                continue;
            }
            let is_all_read = anchor + consumed >= buffer.len();
            if consumed > 0 {
                life.advance(&buffer[..anchor + consumed], consumed);
            }
            return Ok((consumed as u64, end, is_all_read));
        }
    }

    /// Hands out the events of the bytes at the life's offset; answers how many bytes they take.
    fn hand_out(
        &self,
        life: &mut Life,
        bytes: &[u8],
        flush: Flush,
        emit: &mut dyn FnMut(Line<'_>),
    ) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let framer = &self.rules.framer;
            let encoding = life.mark.unwrap_or(framer.encoding);
            let offset = life.offset + at as u64;
            if life.is_skipping {
                let (skipped, is_over) = framer.rest(&bytes[at..], encoding, offset, flush);
                self.counts
                    .skipped_bytes
                    .fetch_add(skipped as u64, Ordering::Relaxed);
                at += skipped;
                life.is_skipping = !is_over;
                if skipped == 0 {
                    break;
                }
                continue;
            }
            match framer.next(&bytes[at..], encoding, offset, flush) {
                Frame::Incomplete => break,
                Frame::Skipped(count) => at += count,
                Frame::Mark { encoding, consumed } => {
                    life.mark = Some(encoding);
                    at += consumed;
                }
                Frame::Event {
                    text,
                    consumed,
                    is_cut,
                } => {
                    let (text, has_errors) = encoding.decode(&bytes[at..][text]);
                    self.counts
                        .invalid_utf8_lines
                        .fetch_add(u64::from(has_errors), Ordering::Relaxed);
                    emit(Line {
                        text: &text,
                        path: &life.path,
                        offset,
                        raw_bytes: consumed,
                        is_cut,
                    });
                    at += consumed;
                    life.is_skipping = is_cut;
                    self.counts
                        .cut_lines
                        .fetch_add(u64::from(is_cut), Ordering::Relaxed);
                }
            }
        }
        at
    }

    fn flush_of(&self, file: &TailedFile, life: &Life, stat: &Stat, now: Timestamp) -> Flush {
        let is_live = file.is_listed && !stat.is_unlinked && file.path == life.path;
        let patience = match is_live {
            true => LIVE_HALF_LINE_WAITS,
            false => ROTATED_HALF_LINE_WAITS,
        };
        let joined = self.rules.framer.multiline.as_ref();
        if is_over(now, file.changed_at, patience) {
            Flush::Everything
        } else if joined.is_some_and(|rule| is_over(now, file.changed_at, rule.flush_after)) {
            Flush::CompleteLines
        } else {
            Flush::Nothing
        }
    }

    /// A file all of whose bytes were read elsewhere; when it is written to again it is another file to us.
    fn ignore(&mut self, file: &mut TailedFile, now: Timestamp) -> After {
        file.next_check = now.plus(SCAN_EVERY);
        self.close(file);
        if !file.is_path_unchanged() && file.is_listed {
            file.role = Role::Newcomer(Newcomer::new(now));
        }
        After::Keep(0)
    }
}

/// Why a file was not read this time.
enum Odd {
    /// Not now.
    Later(After),
    /// It holds another content than before.
    Replaced,
}

impl TailedFile {
    pub(super) fn followed(&self) -> Option<u64> {
        match self.role {
            Role::Follows(life) => Some(life),
            _ => None,
        }
    }

    /// Whether it is open and not compressed.
    pub(super) fn is_plain(&self) -> bool {
        self.content
            .as_ref()
            .is_some_and(|content| !content.is_gzip())
    }

    fn is_quiet(&self, now: Timestamp) -> bool {
        self.is_drained && is_over(now, self.changed_at, QUIET_AFTER)
    }

    /// Whether a file that is not open has nothing to read.
    fn may_stay_closed(&self, now: Timestamp) -> bool {
        // File systems count time in steps of some milliseconds: what is written a second later shows.
        let is_settled = self.is_drained && is_over(now, self.changed_at, SCAN_EVERY);
        let is_to_flush = self.has_half_line && is_over(now, self.changed_at, LIVE_HALF_LINE_WAITS);
        is_settled && !is_to_flush && self.is_path_unchanged()
    }

    fn is_path_unchanged(&self) -> bool {
        let (Some(seen), Ok(stat)) = (&self.seen, Stat::of_path(&self.path)) else {
            return false;
        };
        stat.key == self.key && stat.is_unchanged_since(seen)
    }

    /// There is nothing to read now: when to look again, or whether to let it go.
    fn settle(&mut self, stat: &Stat, is_all_read: bool, now: Timestamp) -> After {
        let patience = match stat.is_unlinked {
            true => DELETED_IS_KEPT,
            false => RENAMED_IS_KEPT,
        };
        let is_gone = stat.is_unlinked || !self.is_listed;
        if is_gone && is_all_read && is_over(now, self.changed_at, patience) {
            return After::Lose;
        }
        let wait = match is_over(now, self.changed_at, QUIET_AFTER) {
            true => SCAN_EVERY,
            false => POLL_EVERY,
        };
        self.next_check = now.plus(wait);
        After::Keep(0)
    }
}

/// Whether `wait` has passed between the two.
pub(super) fn is_over(now: Timestamp, since: Timestamp, wait: Duration) -> bool {
    now >= since.plus(wait)
}

fn is_head_of(life: &Life, content: &mut Content, buffer: &mut Vec<u8>) -> bool {
    let length = usize::from(life.head.length);
    // What cannot be read now is found out by the read that follows.
    content.read_at(0, length, buffer).is_err() || life.head.is_start_of(buffer)
}

/// Compares the first bytes with those known, and takes those of a young file into its fingerprint as they come.
///
/// Done at every turn: lines often end alike, so that the anchor may fit by accident in a file that was truncated
/// and has grown past its old length, but they hardly begin alike.
fn check_head(life: &mut Life, from: u64, buffer: &[u8], content: &mut Content) -> Result<(), Odd> {
    let mut start = Vec::new();
    let start = match from {
        0 if buffer.len() >= HEAD_BYTES => &buffer[..HEAD_BYTES],
        _ if content.read_at(0, HEAD_BYTES, &mut start).is_ok() => &start[..],
        // The next turn finds out.
        _ => return Ok(()),
    };
    if !life.head.is_start_of(start) {
        return Err(Odd::Replaced);
    }
    if start.len() > usize::from(life.head.length) {
        life.head = Fingerprint::of(start);
    }
    if life.start.is_short_of(start) {
        life.start = Start::of(start);
    }
    Ok(())
}
