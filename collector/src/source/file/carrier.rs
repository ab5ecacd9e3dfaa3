//! A file that carries a life: whether it still holds the same content, and its next lines.

use std::sync::atomic::Ordering;
use std::time::Duration;

use event::Timestamp;

use super::content::{Content, End, FileKey, Fingerprint, Stat};
use super::framing::{Flush, Frame};
use super::life::{HEAD_BYTES, Life, Start};
use super::newcomer::Newcomer;
use super::tailed_file::{After, LIVE_HALF_LINE_WAITS, QUIET_AFTER, Role, TailedFile, is_over};
use super::tailer::{Line, POLL_EVERY, SCAN_EVERY, Tailer};

/// The half last line of a rotated or deleted file is taken as it stands after this long.
const ROTATED_HALF_LINE_WAITS: Duration = Duration::from_secs(5);

/// Why a file was not read this time.
enum Odd {
    /// Not now.
    Later(After),
    /// It holds another content than before.
    Replaced,
}

impl Tailer {
    pub(super) fn follow(
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
