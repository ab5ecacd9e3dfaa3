//! Looks a journal over that no process has open, and repairs it: for `daybook check`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use event::Position;

use crate::Error;
use crate::file_system::{File, FileSystem, LocalFileSystem};
use crate::record::{FORMAT_VERSION, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::scan::Scanner;
use crate::segment;
use crate::survey::{Damage, Survey, SurveyedSegment};

/// How much of a damaged stretch is copied at a time.
const COPY_BYTES: u64 = 256 << 10;

/// What is in a journal directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Segment files.
    pub segments: u64,
    /// Whole records.
    pub records: u64,
    /// Events in them: positions.
    pub events: u64,
    /// Bytes in all segment files.
    pub bytes: u64,
    /// Where the first segment begins.
    pub first: Position,
    /// Where the last whole record ends.
    pub end: Position,
    /// What is damaged, in order of position.
    pub damage: Vec<Damage>,
    /// Bytes at the end that were never acknowledged: usual after a crash, and no damage.
    pub torn_tail_bytes: u64,
}

impl Report {
    /// Whether everything that was accepted and not yet released is there.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }

    /// Positions that are lost.
    pub fn events_lost(&self) -> u64 {
        self.damage.iter().map(|damage| damage.events_lost).sum()
    }
}

/// Reads a whole journal and says what is in it. Changes nothing. No process may have it open for writing.
///
/// # Errors
/// The directory or a file cannot be read, or a newer Daybook wrote it. Damage is no error.
pub fn verify(dir: &Path) -> Result<Report, Error> {
    verify_on(&LocalFileSystem, dir)
}

/// Makes a journal sound again, so that [`verify`] finds nothing, and answers what was found before.
///
/// Damaged bytes are set aside into files `SEGMENT.OFFSET.damaged`, which nobody reads and the operator deletes.
/// Lost positions stay lost; every whole record stays where it is. May be interrupted and repeated.
///
/// # Errors
/// As [`verify`], or a file cannot be written.
pub fn repair(dir: &Path) -> Result<Report, Error> {
    repair_on(&LocalFileSystem, dir)
}

pub(crate) fn verify_on(file_system: &dyn FileSystem, dir: &Path) -> Result<Report, Error> {
    Ok(report_of(&Survey::take(file_system, dir)?))
}

pub(crate) fn repair_on(file_system: &dyn FileSystem, dir: &Path) -> Result<Report, Error> {
    let survey = Survey::take(file_system, dir)?;
    let report = report_of(&survey);
    for (at, segment) in survey.segments.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &survey.segments[before]);
        let previous_end = before.map_or(segment.previous_end, |before| before.end);
        // A gap that stands in two headers for ever would be reported for ever.
        let is_gap = previous_end < segment.previous_end;
        if !segment.has_header || segment.has_damage() || is_gap {
            rewrite(file_system, segment, previous_end)?;
        }
    }
    Ok(report)
}

fn report_of(survey: &Survey) -> Report {
    let segments = &survey.segments;
    Report {
        segments: segments.len() as u64,
        records: segments.iter().map(|segment| segment.records).sum(),
        events: segments.iter().map(|segment| segment.events).sum(),
        bytes: segments.iter().map(|segment| segment.file_bytes).sum(),
        first: segments
            .first()
            .map_or(Position::ZERO, |segment| segment.first),
        end: survey.end(),
        damage: survey.damage.clone(),
        torn_tail_bytes: survey.torn_tail_bytes,
    }
}

/// Writes a segment anew with its whole records alone, and what lay between them aside.
fn rewrite(
    file_system: &dyn FileSystem,
    segment: &SurveyedSegment,
    previous_end: Position,
) -> Result<(), Error> {
    let failed = |error| Error::io("open", &segment.path, error);
    let file = file_system.open_to_read(&segment.path).map_err(failed)?;
    if !segment.has_header {
        set_aside(
            file_system,
            &file,
            segment,
            0,
            segment.file_bytes.min(SEGMENT_HEADER_BYTES as u64),
        )?;
    }
    let header = SegmentHeader {
        version: FORMAT_VERSION,
        first: segment.first,
        previous_end,
    };
    let mut scan_error = None;
    let result = segment::create_durably(file_system, &segment.path, |rewritten| {
        rewritten.write_all_at(&header.encode(), 0)?;
        match copy_records(file_system, &file, segment, rewritten) {
            Ok(()) => Ok(()),
            Err(error) => {
                scan_error = Some(error);
                Err(io::Error::other("its records cannot be copied"))
            }
        }
    });
    match (scan_error, result) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(_)) => Ok(()),
    }
}

fn copy_records(
    file_system: &dyn FileSystem,
    file: &Arc<dyn File>,
    segment: &SurveyedSegment,
    rewritten: &dyn File,
) -> Result<(), Error> {
    let failed = |error| Error::io("write", &segment.path, error);
    // The survey says where the whole records end, so none beyond is met here.
    let mut scanner = Scanner::new(
        file.clone(),
        segment.path.clone(),
        segment.first,
        segment.valid_bytes,
    );
    let mut offset = SEGMENT_HEADER_BYTES as u64;
    while let Some(found) = scanner.next()? {
        if let Some(hole) = &found.hole {
            set_aside(file_system, file, segment, hole.offset, hole.bytes)?;
        }
        let header = found.header.encode(segment.first);
        rewritten.write_all_at(&header, offset).map_err(failed)?;
        offset += header.len() as u64;
        rewritten
            .write_all_at(&found.payload, offset)
            .map_err(failed)?;
        offset += found.payload.len() as u64;
    }
    let tail_bytes = segment.file_bytes - segment.valid_bytes;
    if tail_bytes > 0 {
        set_aside(file_system, file, segment, segment.valid_bytes, tail_bytes)?;
    }
    Ok(())
}

fn set_aside(
    file_system: &dyn FileSystem,
    file: &Arc<dyn File>,
    segment: &SurveyedSegment,
    offset: u64,
    bytes: u64,
) -> Result<(), Error> {
    let name = format!("{}.{offset}.damaged", segment.name);
    segment::create_durably(file_system, &segment.path.with_file_name(name), |aside| {
        let mut copied = 0;
        while copied < bytes {
            let mut chunk = vec![0; COPY_BYTES.min(bytes - copied) as usize];
            // What cannot be read stays blank.
            let read = file
                .read_at(&mut chunk, offset + copied)
                .unwrap_or(chunk.len());
            if read == 0 {
                break;
            }
            aside.write_all_at(&chunk[..read], copied)?;
            copied += read as u64;
        }
        Ok(())
    })?;
    Ok(())
}
