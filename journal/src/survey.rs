//! Looks through a whole journal directory: which records are whole, where they end, what is damaged and what it cost.
//!
//! Changes nothing. What `Local::open` and `verify` know, they know from here.
//!
//! Bytes that are no record are one of three things, and the difference is exact:
//! - *damage*, when something written later proves that they were durable: a record of a later group in the same
//!   segment, an end mark, or a next segment (segments change between groups only);
//! - a *torn tail*, when nothing does: at the end of the last segment, never acknowledged;
//! - a *stale tail*, at the end of an earlier segment and beyond where the next one begins: what was left behind by
//!   a failed fsync, never acknowledged either, and of no interest.

use std::path::{Path, PathBuf};

use event::Position;

use crate::Error;
use crate::file_system::FileSystem;
use crate::record::SEGMENT_HEADER_BYTES;
use crate::scan::{Found, Hole, Scanner, read_segment_header};
use crate::segment;

/// How many places of damage are listed for one segment; further ones are added to the last. The sums stay exact,
/// and a disk full of rot does not fill the memory.
const HOLES_LISTED_MAX: usize = 1000;

/// A place in the journal that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file it is in, or the file behind it where a whole file is missing.
    pub segment: String,
    /// Where the damaged bytes begin in that file.
    pub offset: u64,
    /// How many bytes are damaged; 0 where they are missing.
    pub bytes: u64,
    /// The position of the first lost event.
    pub first: Position,
    /// How many positions are lost: exact.
    pub events_lost: u64,
    /// What happened.
    pub cause: Cause,
}

/// What happened to a damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A segment's header is damaged. Its records are not, so nothing is lost by this alone.
    SegmentHeader,
    /// Bytes were changed.
    Changed,
    /// The end of a segment, or whole segments, are missing.
    Missing,
    /// The shards know positions that the journal does not have: its newest part is missing. What the shards had
    /// not yet taken from it is lost; how much of `events_lost` that is cannot be known here.
    EndsEarly,
}

/// What is in a journal directory.
pub(crate) struct Survey {
    /// In order of position.
    pub segments: Vec<SurveyedSegment>,
    /// In order of position.
    pub damage: Vec<Damage>,
    /// Bytes at the end of the last segment that were never acknowledged.
    pub torn_tail_bytes: u64,
}

/// What is in one segment file.
pub(crate) struct SurveyedSegment {
    pub path: PathBuf,
    pub name: String,
    pub first: Position,
    pub has_header: bool,
    /// Where the records of the segment before ended when this one was made.
    pub previous_end: Position,
    pub file_bytes: u64,
    /// Where the last whole record ends in the file.
    pub valid_bytes: u64,
    /// Where the last whole record ends.
    pub end: Position,
    pub records: u64,
    pub events: u64,
    pub ends_with_mark: bool,
    /// Holes that are followed by a record of a later group.
    proven_holes: Vec<Hole>,
    /// Holes after which no such record came, and what was counted before the first of them.
    unproven_holes: Vec<Hole>,
    counts_before_unproven: (u64, u64),
}

impl Survey {
    /// Reads all segments in `dir` from end to end.
    ///
    /// # Errors
    /// A file cannot be read at all, or a newer Daybook wrote it. Damage is no error.
    pub fn take(file_system: &dyn FileSystem, dir: &Path) -> Result<Survey, Error> {
        let names = file_system
            .file_names(dir)
            .map_err(|error| Error::io("list", dir, error))?;
        let mut firsts: Vec<Position> = names
            .iter()
            .filter_map(|name| segment::first_of(name))
            .collect();
        firsts.sort_unstable();
        let mut segments = Vec::with_capacity(firsts.len());
        for first in firsts {
            segments.push(SurveyedSegment::begin(file_system, dir, first)?);
        }
        for at in 0..segments.len() {
            let limit = segments.get(at + 1).map(|next| next.previous_end);
            segments[at].scan(file_system, limit.unwrap_or(Position(u64::MAX)))?;
        }
        let torn_tail_bytes = segments
            .last_mut()
            .map_or(0, SurveyedSegment::cut_torn_tail);
        let mut damage = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            segment.add_damage(segments.get(at + 1), &mut damage);
        }
        Ok(Survey {
            segments,
            damage,
            torn_tail_bytes,
        })
    }

    /// The position of the next event.
    pub fn end(&self) -> Position {
        self.segments.last().map_or(Position::ZERO, |last| last.end)
    }

    /// Where the records end: before [`Survey::end`] when the last segment is empty and skips positions.
    pub fn records_end(&self) -> Position {
        match self.segments.last() {
            Some(last) if last.end == last.first => last.previous_end,
            _ => self.end(),
        }
    }
}

impl SurveyedSegment {
    fn begin(
        file_system: &dyn FileSystem,
        dir: &Path,
        first: Position,
    ) -> Result<SurveyedSegment, Error> {
        let path = segment::path_of(dir, first);
        let failed = |error| Error::io("open", &path, error);
        let file = file_system.open_to_read(&path).map_err(failed)?;
        let file_bytes = file.byte_len().map_err(failed)?;
        let header = read_segment_header(&*file, &path, first)?;
        Ok(SurveyedSegment {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path,
            first,
            has_header: header.is_some(),
            // Positions are skipped at open only after a loss; without the header the name says nearly always the same.
            previous_end: header.map_or(first, |header| header.previous_end),
            file_bytes,
            valid_bytes: file_bytes.min(SEGMENT_HEADER_BYTES as u64),
            end: first,
            records: 0,
            events: 0,
            ends_with_mark: false,
            proven_holes: Vec::new(),
            unproven_holes: Vec::new(),
            counts_before_unproven: (0, 0),
        })
    }

    fn scan(&mut self, file_system: &dyn FileSystem, limit: Position) -> Result<(), Error> {
        let file = file_system
            .open_to_read(&self.path)
            .map_err(|error| Error::io("open", &self.path, error))?;
        let mut scanner =
            Scanner::new(file, self.path.clone(), self.first, self.file_bytes).with_limit(limit);
        while let Some(found) = scanner.next()? {
            self.take_record(found);
        }
        Ok(())
    }

    fn take_record(&mut self, found: Found) {
        if let Some(hole) = found.hole {
            if self.unproven_holes.is_empty() {
                self.counts_before_unproven = (self.records, self.events);
            }
            push_bounded(&mut self.unproven_holes, hole);
        }
        let header = found.header;
        // The holes stand before this record. When its group began behind the first of them, they were durable.
        let is_proof = self
            .unproven_holes
            .first()
            .is_some_and(|hole| header.begins_group() || header.group_first > hole.first);
        if is_proof {
            for hole in self.unproven_holes.drain(..) {
                push_bounded(&mut self.proven_holes, hole);
            }
        }
        if !header.is_end_mark() {
            self.records += 1;
            self.events += u64::from(header.count);
        }
        self.ends_with_mark = header.is_end_mark();
        self.end = header.end();
        self.valid_bytes = found.offset + header.record_bytes();
    }

    /// Whether bytes between its records are damaged.
    pub fn has_holes(&self) -> bool {
        !self.proven_holes.is_empty()
    }

    /// Whether bytes between its records or behind them are none.
    pub fn has_damage(&self) -> bool {
        let hole_count = self.proven_holes.len() + self.unproven_holes.len();
        hole_count > 0 || self.valid_bytes < self.file_bytes
    }

    /// Of the last segment: leaves out everything from the first hole on that nothing proves to have been durable.
    /// Answers how many bytes that is.
    fn cut_torn_tail(&mut self) -> u64 {
        if let Some(hole) = self.unproven_holes.first() {
            self.end = hole.first;
            self.valid_bytes = hole.offset;
            (self.records, self.events) = self.counts_before_unproven;
            self.unproven_holes.clear();
        }
        let torn_bytes = self.file_bytes - self.valid_bytes;
        self.ends_with_mark &= torn_bytes == 0;
        torn_bytes
    }

    fn add_damage(&self, next: Option<&SurveyedSegment>, damage: &mut Vec<Damage>) {
        if !self.has_header {
            damage.push(Damage {
                segment: self.name.clone(),
                offset: 0,
                bytes: self.file_bytes.min(SEGMENT_HEADER_BYTES as u64),
                first: self.first,
                events_lost: 0,
                cause: Cause::SegmentHeader,
            });
        }
        // The unproven ones of all but the last segment are proven by the segment behind it.
        for hole in self.proven_holes.iter().chain(&self.unproven_holes) {
            damage.push(Damage::of_hole(&self.name, hole));
        }
        let events_lost = next.map_or(0, |next| next.previous_end.0.saturating_sub(self.end.0));
        if events_lost > 0 {
            let bytes = self.file_bytes - self.valid_bytes;
            damage.push(Damage {
                segment: self.name.clone(),
                offset: self.valid_bytes,
                bytes,
                first: self.end,
                events_lost,
                cause: if bytes > 0 {
                    Cause::Changed
                } else {
                    Cause::Missing
                },
            });
        }
    }
}

impl Damage {
    /// The damage that a hole between two records is.
    pub(crate) fn of_hole(segment: &str, hole: &Hole) -> Damage {
        Damage {
            segment: segment.to_owned(),
            offset: hole.offset,
            bytes: hole.bytes,
            first: hole.first,
            events_lost: hole.events_lost,
            cause: Cause::Changed,
        }
    }
}

fn push_bounded(holes: &mut Vec<Hole>, hole: Hole) {
    let is_list_full = holes.len() >= HOLES_LISTED_MAX;
    match holes.last_mut() {
        Some(last) if is_list_full => {
            last.bytes += hole.bytes;
            last.events_lost += hole.events_lost;
        }
        _ => holes.push(hole),
    }
}
