//! Who is this file? Decides whether a file nobody knows holds a content of its own or one that is known.
//!
//! Rotation makes new files of old bytes: `copytruncate` copies, gzip compresses, moving to another disk does both.
//! Their lines must not be read twice, and what was not read yet must be read from them. A content is known by its
//! first bytes and by the CRC of all that was read of it; while its file is there, both are compared directly.
//!
//! Short files often are alike without being copies (a banner, `done`). Below [`HEAD_BYTES`] a file counts as a
//! copy only together with what a rotation does: its model is truncated within [`COPY_GRACE`], or it is compressed.

use std::cmp::Reverse;
use std::time::Duration;

use event::Timestamp;

use super::content::{End, FileKey, Fingerprint, Stat};
use super::encoding::Encoding;
use super::life::{HEAD_BYTES, Life, Start};
use super::tailed_file::{After, Role, TailedFile, is_over};
use super::tailer::{POLL_EVERY, SCAN_EVERY, Tailer};

/// Between copying and truncating a short file there is at most this long; a logrotate run does both at once.
const COPY_GRACE: Duration = Duration::from_secs(5);
/// A compressed file that breaks off is still being written until it did not change for this long.
const BROKEN_OFF_WAITS: Duration = Duration::from_secs(60);
/// A turn of an inspection takes this many bytes, so that other files are read meanwhile.
const INSPECTION_BYTES: usize = 1 << 20;

/// As many bytes tell a compressed file from a plain one.
const GZIP_MAGIC_BYTES: u64 = 2;

/// A file that is being looked at.
pub(super) struct Newcomer {
    /// When a scan found it.
    pub(super) found_at: Timestamp,
    /// When it was first looked at with something in it; later than `found_at` when reading was paused.
    pub(super) since: Timestamp,
    /// Lives it is known not to hold.
    pub(super) rejected: Vec<u64>,
    pub(super) inspection: Option<Inspection>,
    /// The life it was like when it was last compared, too short to be sure.
    pub(super) alike: Option<u64>,
    /// Whether it was there at the very first start and is read from its end.
    pub(super) starts_at_end: bool,
}

/// Reads a file to see whether it holds what was read of a life when the inspection began.
pub(super) struct Inspection {
    life: u64,
    base: u64,
    offset: u64,
    crc_wanted: u32,
    crc: crc32fast::Hasher,
    position: u64,
}

/// What a look at a newcomer showed.
struct Sight<'a> {
    /// Its first bytes, at most [`HEAD_BYTES`].
    head: &'a [u8],
    stat: Stat,
    is_plain: bool,
    now: Timestamp,
}

enum Judgement {
    New,
    Hold,
    CopyOf(u64),
    Inspect(u64),
    Unneeded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Same,
    Different,
    /// One of them is changing; ask again.
    Unclear,
}

impl Newcomer {
    pub(super) fn new(since: Timestamp) -> Newcomer {
        Newcomer {
            found_at: since,
            since,
            rejected: Vec::new(),
            inspection: None,
            alike: None,
            starts_at_end: false,
        }
    }
}

impl Tailer {
    /// One turn of a newcomer.
    pub(super) fn examine(&mut self, file: &mut TailedFile, now: Timestamp) -> After {
        let stat = match self.look(file, now) {
            Ok(stat) => stat,
            Err(after) => return after,
        };
        let Role::Newcomer(mut newcomer) = std::mem::replace(&mut file.role, Role::Unneeded) else {
            return After::Keep(0);
        };
        if stat.size == 0 && (stat.is_unlinked || !file.is_listed) {
            return After::Lose;
        }
        if stat.size < GZIP_MAGIC_BYTES {
            // Opened now it would pass for plain for good.
            self.close(file);
            (newcomer.found_at, newcomer.since) = (now, now);
            file.role = Role::Newcomer(newcomer);
            file.next_check = now.plus(POLL_EVERY);
            return After::Keep(0);
        }
        if file.seen.is_none() {
            newcomer.since = now;
        }
        let is_changed = file.seen.is_none_or(|seen| !stat.is_unchanged_since(&seen));
        let has_old_decoder = file.seen.is_some() && !file.is_plain();
        if is_changed {
            file.seen = Some(stat);
            file.changed_at = now;
        }
        if is_changed && has_old_decoder {
            // It does not see what is added behind its end.
            self.close(file);
            newcomer.inspection = None;
            file.role = Role::Newcomer(newcomer);
            file.next_check = now.plus(POLL_EVERY);
            return After::Keep(0);
        }
        if let Some(inspection) = newcomer.inspection.take() {
            return self.inspect(file, newcomer, inspection, now);
        }
        let mut head = Vec::new();
        let read = match &mut file.content {
            Some(content) => content.read_at(0, HEAD_BYTES, &mut head),
            None => Ok(End::More),
        };
        let end = match read {
            Ok(end) => end,
            Err(error) => {
                file.role = Role::Newcomer(newcomer);
                return self.put_off(file, &error, now);
            }
        };
        let is_being_written =
            end == End::BrokenOff && !is_over(now, file.changed_at, BROKEN_OFF_WAITS);
        if is_being_written && stat.is_unlinked {
            return After::Lose;
        }
        if head.is_empty() || is_being_written {
            file.next_check = now.plus(POLL_EVERY);
            file.role = Role::Newcomer(newcomer);
            return After::Keep(0);
        }
        if newcomer.starts_at_end {
            return self.begin_at_end(file, &head, &stat);
        }
        let sight = Sight {
            head: &head,
            stat,
            is_plain: file.is_plain(),
            now,
        };
        match self.judge(file, &mut newcomer, &sight) {
            Judgement::New => {
                file.role = Role::Follows(self.begin(file, &head));
                file.next_check = now;
                // The reader that follows tells a first look from later ones.
                file.seen = None;
                After::Keep(1)
            }
            Judgement::Hold => {
                // It takes seconds, and there may be thousands of them.
                file.next_check = now.plus(SCAN_EVERY);
                file.role = Role::Newcomer(newcomer);
                After::Keep(0)
            }
            Judgement::CopyOf(life) => {
                file.role = Role::CopyOf(life);
                After::Keep(1)
            }
            Judgement::Inspect(life) => {
                newcomer.inspection = self
                    .lives
                    .get(&life)
                    .map(|it| Inspection::of(life, it, file));
                file.role = Role::Newcomer(newcomer);
                After::Keep(1)
            }
            Judgement::Unneeded => After::Keep(0),
        }
    }

    /// One turn of a copy: takes over when its life is without a file.
    pub(super) fn stand_by(
        &mut self,
        file: &mut TailedFile,
        life_id: u64,
        now: Timestamp,
    ) -> After {
        file.next_check = now.plus(POLL_EVERY);
        let Some(life) = self.lives.get(&life_id) else {
            file.role = Role::Unneeded;
            return After::Keep(0);
        };
        if life.lost_at.is_some() {
            self.take_over(file, life_id, now);
            return After::Keep(1);
        }
        match self.look(file, now) {
            Ok(stat) if stat.is_unlinked => After::Lose,
            Ok(stat) if file.seen.is_some_and(|seen| stat.is_unchanged_since(&seen)) => {
                // Opened again in case it is needed; a standing-by file needs no place among the open ones, unless
                // its name may go away before it takes over.
                if is_over(now, file.changed_at, BROKEN_OFF_WAITS) && file.is_listed {
                    self.close(file);
                    file.next_check = now.plus(SCAN_EVERY);
                }
                After::Keep(0)
            }
            Ok(_) => {
                file.role = Role::Newcomer(Newcomer::new(now));
                file.next_check = now;
                After::Keep(0)
            }
            Err(after) => after,
        }
    }

    fn begin(&mut self, file: &TailedFile, head: &[u8]) -> u64 {
        let id = self.next_life;
        self.next_life += 1;
        let mut life = Life::new(file.key, file.path.clone(), Fingerprint::of(head));
        life.start = Start::of(head);
        self.lives.insert(id, life);
        self.claim(file.key, id);
        id
    }

    fn begin_at_end(&mut self, file: &mut TailedFile, head: &[u8], stat: &Stat) -> After {
        let Some(content) = file.content.as_mut().filter(|content| !content.is_gzip()) else {
            file.role = Role::Unneeded;
            return After::Keep(0);
        };
        let mut tail = Vec::new();
        let tail_length = stat.size.min(super::life::ANCHOR_BYTES as u64) as usize;
        let from = stat.size - tail_length as u64;
        let is_read = content
            .read_at(from, tail_length, &mut tail)
            .is_ok_and(|end| end == End::More);
        let id = self.begin(file, head);
        if let (true, Some(life)) = (is_read, self.lives.get_mut(&id)) {
            life.base = stat.size;
            life.offset = stat.size;
            life.anchor = Fingerprint::of(&tail);
            life.mark = Encoding::of_mark(head).map(|(encoding, _)| encoding);
            let encoding = life.mark.unwrap_or(self.rules.framer.encoding);
            life.is_skipping = !encoding.ends_with(&tail, b'\n');
            life.is_changed = true;
        }
        file.role = Role::Follows(id);
        file.seen = None;
        After::Keep(1)
    }

    fn take_over(&mut self, file: &mut TailedFile, life_id: u64, now: Timestamp) {
        if let Some(life) = self.lives.get_mut(&life_id) {
            life.lost_at = None;
            life.is_truncated = false;
            life.is_finished = false;
            life.is_changed = true;
        }
        self.claim(file.key, life_id);
        // What was seen of it stays: it was compared already, and a decoder need not start over.
        file.role = Role::Follows(life_id);
        file.is_head_checked = file.content.is_some();
        file.is_drained = false;
        file.next_check = now;
    }

    fn judge(
        &mut self,
        file: &mut TailedFile,
        newcomer: &mut Newcomer,
        sight: &Sight<'_>,
    ) -> Judgement {
        for (id, carrier) in self.candidates(file, newcomer, sight.head) {
            let Some(life) = self.lives.get(&id) else {
                continue;
            };
            let judgement = match carrier {
                None => {
                    judge_lost(id, life, file, newcomer, sight).map(|is_wanted| match is_wanted {
                        true => Judgement::Inspect(id),
                        false => Judgement::Unneeded,
                    })
                }
                Some(carrier) => self.judge_alive(id, carrier, file, newcomer, sight),
            };
            match judgement {
                Some(judgement) => return judgement,
                None => newcomer.rejected.push(id),
            }
        }
        Judgement::New
    }

    /// Lives whose first bytes could be the newcomer's, those read furthest first, with the file that holds them.
    fn candidates(
        &self,
        file: &TailedFile,
        newcomer: &Newcomer,
        head: &[u8],
    ) -> Vec<(u64, Option<FileKey>)> {
        let mut hash_of_length = std::collections::HashMap::new();
        let mut found = Vec::new();
        for (id, life) in &self.lives {
            if life.head.length == 0
                || !life.start.may_be_of(head)
                || newcomer.rejected.contains(id)
            {
                continue;
            }
            let length = usize::from(life.head.length);
            let is_carried = life.lost_at.is_none() && life.key != file.key;
            let is_alike = match head.get(..length) {
                Some(start) => {
                    let hash = *hash_of_length
                        .entry(length)
                        .or_insert_with(|| Fingerprint::of(start).hash);
                    hash == life.head.hash
                }
                // Too short to tell, except by looking into the other file.
                None => is_carried,
            };
            if is_alike {
                let carrier = is_carried.then_some(life.key);
                found.push((Reverse(life.offset), *id, carrier));
            }
        }
        found.sort_unstable_by_key(|(offset, id, _)| (*offset, *id));
        found
            .into_iter()
            .map(|(_, id, carrier)| (id, carrier))
            .collect()
    }

    fn judge_alive(
        &mut self,
        id: u64,
        carrier: FileKey,
        file: &mut TailedFile,
        newcomer: &mut Newcomer,
        sight: &Sight<'_>,
    ) -> Option<Judgement> {
        let is_short = sight.stat.size < HEAD_BYTES as u64;
        let is_through = is_over(sight.now, newcomer.since, COPY_GRACE);
        let is_like_another = newcomer.alike.is_some_and(|alike| alike != id);
        if is_like_another && is_short && is_through {
            // That one is looked at; the thousand others that are like both need not be.
            return None;
        }
        let (head, now) = (sight.head, sight.now);
        let Some(mut model) = self.files.remove(&carrier) else {
            return Some(Judgement::Hold);
        };
        let is_model_open = self.look(&mut model, now).is_ok();
        let is_model_plain = model.is_plain();
        let judgement = if !is_model_open {
            Some(Judgement::Hold)
        } else if sight.is_plain && is_model_plain {
            match self.compare(id, &mut model, file, head, &sight.stat) {
                Likeness::Different => None,
                Likeness::Unclear => Some(Judgement::Hold),
                Likeness::Same if sight.stat.size >= HEAD_BYTES as u64 => {
                    Some(Judgement::CopyOf(id))
                }
                Likeness::Same if is_over(now, newcomer.since, COPY_GRACE) => None,
                Likeness::Same => {
                    newcomer.alike = Some(id);
                    Some(Judgement::Hold)
                }
            }
        } else if self
            .lives
            .get(&id)
            .is_some_and(|life| head.len() < usize::from(life.head.length))
        {
            None
        } else if !model.is_drained {
            // What it holds at its end is what the newcomer is to be measured by.
            Some(Judgement::Hold)
        } else {
            Some(Judgement::Inspect(id))
        };
        self.files.insert(carrier, model);
        judgement
    }

    /// Compares the beginning of two plain files and the end of what both have.
    fn compare(
        &self,
        id: u64,
        model: &mut TailedFile,
        file: &mut TailedFile,
        head: &[u8],
        stat: &Stat,
    ) -> Likeness {
        let (Some(model), Some(own), Some(life)) =
            (&mut model.content, &mut file.content, self.lives.get(&id))
        else {
            return Likeness::Unclear;
        };
        let is_intact = |model: &mut super::content::Content| {
            let mut anchor = Vec::new();
            let length = usize::from(life.anchor.length);
            let from = life.offset - length as u64;
            let is_long_enough = model.stat().is_ok_and(|stat| stat.size >= life.offset);
            is_long_enough
                && model.read_at(from, length, &mut anchor).is_ok()
                && life.anchor.is_start_of(&anchor)
                && model
                    .read_at(0, usize::from(life.head.length), &mut anchor)
                    .is_ok()
                && life.head.is_start_of(&anchor)
        };
        if !is_intact(model) {
            return Likeness::Unclear;
        }
        let Ok(model_stat) = model.stat() else {
            return Likeness::Unclear;
        };
        let overlap = stat.size.min(model_stat.size);
        let start = overlap.min(head.len() as u64) as usize;
        let tail_from = overlap - overlap.min(HEAD_BYTES as u64);
        let tail_length = (overlap - tail_from) as usize;
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        let is_same_start = model.read_at(0, start, &mut theirs).is_ok() && theirs == head[..start];
        let is_same = is_same_start
            && model.read_at(tail_from, tail_length, &mut theirs).is_ok()
            && own.read_at(tail_from, tail_length, &mut ours).is_ok()
            && theirs == ours;
        match is_same {
            true if overlap > 0 => Likeness::Same,
            // It may have been truncated while we looked.
            _ if !is_intact(model) => Likeness::Unclear,
            _ => Likeness::Different,
        }
    }

    fn inspect(
        &mut self,
        file: &mut TailedFile,
        mut newcomer: Newcomer,
        mut inspection: Inspection,
        now: Timestamp,
    ) -> After {
        let mut buffer = std::mem::take(&mut self.buffer);
        let length =
            (inspection.offset - inspection.position).min(INSPECTION_BYTES as u64) as usize;
        let read = match &mut file.content {
            Some(content) => content.read_at(inspection.position, length, &mut buffer),
            None => Ok(End::OfFile),
        };
        inspection.take(&buffer);
        let count = buffer.len() as u64;
        self.buffer = buffer;
        let is_through = inspection.position >= inspection.offset;
        let is_match = is_through && inspection.crc.clone().finalize() == inspection.crc_wanted;
        match read {
            Err(error) => {
                file.role = Role::Newcomer(newcomer);
                return self.put_off(file, &error, now);
            }
            Ok(_) if is_match => {
                let is_lost = self
                    .lives
                    .get(&inspection.life)
                    .is_some_and(|life| life.lost_at.is_some());
                file.role = Role::CopyOf(inspection.life);
                if is_lost {
                    self.take_over(file, inspection.life, now);
                }
                return After::Keep(count + 1);
            }
            Ok(End::BrokenOff) if !is_over(now, file.changed_at, BROKEN_OFF_WAITS) => {
                file.next_check = now.plus(SCAN_EVERY);
            }
            Ok(End::More) if !is_through => newcomer.inspection = Some(inspection),
            Ok(_) => newcomer.rejected.push(inspection.life),
        }
        file.role = Role::Newcomer(newcomer);
        After::Keep(count)
    }
}

impl Inspection {
    fn of(id: u64, life: &Life, file: &TailedFile) -> Inspection {
        let is_plain = file.is_plain();
        Inspection {
            life: id,
            base: life.base,
            offset: life.offset,
            crc_wanted: life.crc,
            crc: crc32fast::Hasher::new(),
            // A compressed file has to be gone through anyway.
            position: if is_plain { life.base } else { 0 },
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let before_base = self
            .base
            .saturating_sub(self.position)
            .min(bytes.len() as u64);
        self.crc.update(&bytes[before_base as usize..]);
        self.position += bytes.len() as u64;
    }
}

/// Whether a newcomer may hold a life without a file: `Some(true)` is to be found out by reading it, `Some(false)`
/// means that all it can hold was read, `None` that it does not.
fn judge_lost(
    id: u64,
    life: &Life,
    file: &TailedFile,
    newcomer: &Newcomer,
    sight: &Sight<'_>,
) -> Option<bool> {
    if life.offset == 0 {
        return None;
    }
    if !sight.is_plain {
        return Some(true);
    }
    let is_within_grace = |a, b| !is_over(a, b, COPY_GRACE) && !is_over(b, a, COPY_GRACE);
    let is_near =
        |lost| is_within_grace(lost, newcomer.found_at) || is_within_grace(lost, newcomer.since);
    let is_just_truncated =
        life.is_truncated && (newcomer.alike == Some(id) || life.lost_at.is_some_and(is_near));
    let is_short = life.offset < HEAD_BYTES as u64;
    let is_same_by_name = life.key.inode == file.key.inode && life.path == file.path;
    if is_short && !is_just_truncated && !is_same_by_name {
        return None;
    }
    if sight.stat.size < life.offset {
        // The copy was made before the last lines we read were written; they were lost to it, not to us.
        let is_older_copy = life.is_truncated && sight.stat.size >= HEAD_BYTES as u64;
        return is_older_copy.then_some(false);
    }
    Some(true)
}
