//! Follows files: which bytes come next, and of which file.
//!
//! A synchronous state machine. Every call of [`Tailer::read`] does a bounded amount of work at a given time; nobody
//! here sleeps, and polling is the only truth. What was read is told by [`Tailer::take_checkpoint`]; a tailer made
//! from the checkpoints of durable batches goes on exactly behind their last line.
//!
//! Here is whose turn it is and what is held open; [`super::scan`] finds the files, [`super::newcomer`] tells who they
//! are, [`super::carrier`] reads them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use event::Timestamp;

use super::content::{Content, FileKey, Stat};
use super::framing::Framer;
use super::glob::Glob;
use super::life::Life;
use super::newcomer::Newcomer;
use super::tailed_file::{After, Role, TailedFile, is_over};
use crate::source::checkpoint::{self, Entries};

/// The patterns are looked through this often, and files that are quiet are looked at.
pub const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Files that grew lately are looked at this often.
pub const POLL_EVERY: Duration = Duration::from_millis(100);
/// Followed files per source; more are a mistake in the patterns and would make every scan slow.
pub const FILES_MAX: usize = 20_000;
/// A file that cannot be opened is tried again after this long.
const UNREADABLE_WAITS: Duration = Duration::from_secs(10);
/// A clock that was set back must not stop the reading: longer waits than any of ours are over.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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
    pub(super) ring: VecDeque<FileKey>,
    /// Files that were there at the start and their sizes then, oldest first: the first one is read that far before the
    /// next one begins.
    pub(super) backlog: VecDeque<(FileKey, u64)>,
    pub(super) next_life: u64,
    pub(super) last_scan: Option<Timestamp>,
    /// Lives dropped since the last checkpoint.
    pub(super) forgotten: Vec<u64>,
    pub(super) buffer: Vec<u8>,
    pub(super) unreadable: HashSet<PathBuf>,
    /// Whether files are left out, which is said once.
    pub(super) is_overfull: bool,
    pub(super) counts: Arc<FileCounts>,
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

    pub(super) fn lose(&mut self, mut file: TailedFile, now: Timestamp) {
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
