//! Writes groups of records: reserve, write, one fsync, then publish and answer.
//!
//! The only one that writes to segments. Nothing is published or answered before its fsync succeeded, and after a
//! failure nothing of the group stays. [`Writer`] has no thread of its own, so that tests drive it step by step.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use event::Position;

use crate::Error;
use crate::queue::{Append, Queue};
use crate::record::{
    POSITION_LIMIT, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES,
};
use crate::segment::{ActiveSegment, is_no_room};
use crate::state::Shared;

/// Records are copied together up to here, so that a group is few large writes; larger parts are written as they are.
const WRITE_BYTES: usize = 1 << 20;

/// Makes appends durable.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub dir: PathBuf,
    /// A segment that is this long gets no further group.
    pub segment_bytes: u64,
    pub bytes_max: u64,
    /// `None` before the first append, and after a failure that makes the last segment untrustworthy.
    pub active: Option<ActiveSegment>,
    /// Where the records end. Less than the shared end while positions skipped at open have no record behind them:
    /// an empty segment that is made anew must say the same.
    pub records_end: Position,
    /// Whether nothing was appended since the last end mark.
    pub is_marked: bool,
}

impl Writer {
    /// Writes groups until the queue is closed and empty, then the end mark.
    pub fn run(mut self, queue: &Queue) {
        while let Some(group) = queue.take_group() {
            self.commit(group);
        }
        self.close();
    }

    /// Makes a group durable and answers each of its appends.
    pub fn commit(&mut self, group: Vec<Append>) {
        let group = self.refuse_what_has_no_room(group);
        if group.is_empty() {
            return;
        }
        match self.store(&group) {
            Ok(first) => answer_all(group, first),
            Err(error) => {
                tracing::warn!(%error, appends = group.len(), "the journal refused appends");
                for append in group {
                    append.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Writes the end mark, so that the next open knows that everything before it was accepted.
    pub fn close(&mut self) {
        let end = self.shared.end();
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.finish();
        if self.is_marked {
            return;
        }
        let mark = RecordHeader::end_mark(end).encode(active.first());
        let durable_bytes = active.durable_bytes() + RECORD_HEADER_BYTES as u64;
        let result = active.file().write_all_at(&mark, active.durable_bytes());
        match result.and_then(|()| active.file().sync_data()) {
            Ok(()) => {
                active.grow(durable_bytes);
                self.shared.grow(durable_bytes, end);
                self.is_marked = true;
            }
            // Without it the next open takes the last group's damage for a torn tail: no promise depends on it.
            Err(error) => {
                tracing::warn!(%error, "cannot mark the journal as closed");
                let _ = active.cut_back();
            }
        }
    }

    fn refuse_what_has_no_room(&mut self, group: Vec<Append>) -> Vec<Append> {
        let wanted = group_bytes(&group);
        let mut room = self.room();
        if wanted > room {
            self.give_up_released_segment();
            room = self.room();
        }
        let mut kept = Vec::with_capacity(group.len());
        for append in group {
            match self.refusal(&append, room) {
                Some(error) => append.answer(Err(error)),
                None => {
                    room -= append.record_bytes();
                    kept.push(append);
                }
            }
        }
        kept
    }

    fn refusal(&self, append: &Append, room: u64) -> Option<Error> {
        let bytes = append.record_bytes();
        // A record that fills the whole journal could be taken only when it is empty.
        let bytes_max = (RECORD_BYTES_MAX + RECORD_HEADER_BYTES) as u64;
        let bytes_max = bytes_max.min(self.bytes_max.saturating_sub(SEGMENT_HEADER_BYTES as u64));
        if bytes > bytes_max {
            return Some(Error::TooLarge { bytes, bytes_max });
        }
        let is_full = bytes > room;
        is_full.then(|| Error::Full {
            bytes: self.shared.bytes(),
            bytes_max: self.bytes_max,
        })
    }

    fn room(&self) -> u64 {
        let header_bytes = if self.needs_new_segment() {
            SEGMENT_HEADER_BYTES
        } else {
            0
        };
        self.bytes_max
            .saturating_sub(self.shared.bytes())
            .saturating_sub(header_bytes as u64)
    }

    /// The last segment is never deleted. When the journal is full and the readers are done with all of it, a new
    /// one takes its place; otherwise a full journal of one segment would stay full for ever.
    fn give_up_released_segment(&mut self) {
        let end = self.shared.end();
        let is_released = self.shared.released() >= end;
        let holds_bytes = self.shared.bytes() > SEGMENT_HEADER_BYTES as u64;
        if !is_released || !holds_bytes {
            return;
        }
        let result = match self
            .active
            .as_ref()
            .is_some_and(|active| !active.has_records())
        {
            true => Ok(()),
            false => self.begin_segment(),
        };
        match result {
            Ok(()) => self.shared.release(end),
            Err(error) => tracing::warn!(%error, "cannot begin a new journal segment"),
        }
    }

    /// Answers the position of the group's first event.
    fn store(&mut self, group: &[Append]) -> Result<Position, Error> {
        let first = self.shared.end();
        let events: u64 = group
            .iter()
            .map(|append| u64::from(append.count.get()))
            .sum();
        let end = first
            .0
            .checked_add(events)
            .filter(|end| *end <= POSITION_LIMIT);
        let end = Position(end.ok_or(Error::OutOfPositions {
            next: first.0,
            max: POSITION_LIMIT - 1,
        })?);
        if self.needs_new_segment() {
            self.begin_segment()?;
        }
        let Some(active) = self.active.as_mut() else {
            return Err(Error::Closed);
        };
        let bytes = group_bytes(group);
        // Nothing is written yet, so nothing is to be undone.
        let path = active.path().to_owned();
        active
            .reserve(bytes)
            .map_err(|error| Error::io("write", &path, error))?;
        if let Err(error) = write_records(active, group, first) {
            self.undo_write(&error);
            return Err(Error::io("write", &path, error));
        }
        if let Err(error) = active.file().sync_data() {
            self.abandon_segment();
            return Err(Error::io("sync", &path, error));
        }
        let durable_bytes = active.durable_bytes() + bytes;
        active.grow(durable_bytes);
        self.records_end = end;
        self.is_marked = false;
        self.shared.grow(durable_bytes, end);
        Ok(first)
    }

    fn needs_new_segment(&self) -> bool {
        self.active.as_ref().is_none_or(|active| {
            active.has_records() && active.durable_bytes() >= self.segment_bytes
        })
    }

    /// Everything in the last segment is durable, or abandoned: the new one's beginning says where it ends.
    fn begin_segment(&mut self) -> Result<(), Error> {
        let first = self.shared.end();
        if let Some(active) = self.active.as_mut() {
            active.finish();
        }
        let active = ActiveSegment::create(
            self.shared.file_system(),
            &self.dir,
            first,
            self.records_end,
        )?;
        self.shared.add_segment(first, active.path());
        self.is_marked = true;
        self.active = Some(active);
        Ok(())
    }

    /// A full disk is no reason to distrust what is durable: cut, and go on in the same file when there is room.
    fn undo_write(&mut self, error: &io::Error) {
        let is_cut = match self.active.as_mut() {
            Some(active) if is_no_room(error) => active.cut_back().is_ok(),
            _ => false,
        };
        if !is_cut {
            self.abandon_segment();
        }
    }

    /// After a failed fsync the system may show bytes that are not on the disk and never will be. The next group
    /// begins a new segment, and readers never get to what stands here behind the durable part.
    fn abandon_segment(&mut self) {
        if let Some(mut active) = self.active.take() {
            // Only to be tidy: whether it succeeds does not matter.
            let _ = active.cut_back();
        }
    }
}

fn group_bytes(group: &[Append]) -> u64 {
    group.iter().map(Append::record_bytes).sum()
}

fn answer_all(group: Vec<Append>, first: Position) {
    let mut position = first;
    for append in group {
        let count = u64::from(append.count.get());
        append.answer(Ok(position));
        position = position.plus(count);
    }
}

fn write_records(
    active: &ActiveSegment,
    group: &[Append],
    group_first: Position,
) -> io::Result<()> {
    let mut write = GroupWrite {
        active,
        offset: active.durable_bytes(),
        buffer: Vec::with_capacity(WRITE_BYTES.min(group_bytes(group) as usize)),
    };
    let mut first = group_first;
    for append in group {
        let header = RecordHeader {
            first,
            group_first,
            ..append.header()
        };
        write.part(&header.encode(active.first()))?;
        for part in append.payload.parts() {
            write.part(part)?;
        }
        first = header.end();
    }
    write.flush()
}

struct GroupWrite<'a> {
    active: &'a ActiveSegment,
    offset: u64,
    buffer: Vec<u8>,
}

impl GroupWrite<'_> {
    fn part(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > WRITE_BYTES {
            self.flush()?;
        }
        if bytes.len() < WRITE_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.active.file().write_all_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.active.file().write_all_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
