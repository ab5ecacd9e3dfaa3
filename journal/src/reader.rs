//! Follows the durable end: reads segment after segment and waits for more.
//!
//! Each reader has its own open file and one chunk of memory. It is held up by nobody and holds up nobody: what is
//! released while it reads is gone for it too, and it goes on at the first kept record.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use event::Position;

use crate::scan::{Found, Scanner};
use crate::segment;
use crate::state::{Shared, View};
use crate::survey::Damage;
use crate::{Error, Record, RecordReader};

/// A reader of the local journal.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// Records that end at or before it are not given out.
    position: Position,
    current: Option<Current>,
}

struct Current {
    serial: u64,
    name: String,
    scanner: Scanner,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, from: Position) -> Reader {
        Reader {
            shared,
            position: from,
            current: None,
        }
    }

    /// The next record that is durable already.
    fn next_durable(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let Some(view) = self.view() else {
                return Ok(None);
            };
            if self.current.is_none() && !self.open(&view)? {
                // It was released between the look and the opening.
                continue;
            }
            let Some(current) = self.current.as_mut() else {
                return Ok(None);
            };
            current.scanner.move_end(view.durable_bytes);
            let found = current.scanner.next().inspect_err(|_| {
                // The next call reads this segment anew, from its beginning.
                self.current = None;
            })?;
            if let Some(found) = found {
                if let Some(record) = self.take(found) {
                    return Ok(Some(record));
                }
                continue;
            }
            let next = self
                .shared
                .view_behind(view.serial)
                .filter(|_| view.is_finished);
            let Some(next) = next else {
                // What is missing before the end stays missing.
                self.position = self.position.max(view.end);
                return Ok(None);
            };
            self.current = None;
            self.open(&next)?;
        }
    }

    /// The segment to read from now.
    fn view(&mut self) -> Option<View> {
        let current = self.current.as_ref().map(|current| current.serial);
        let view = current.and_then(|serial| self.shared.view(serial));
        if view.is_some() {
            return view;
        }
        self.current = None;
        self.shared.view_of(self.position)
    }

    /// Answers whether the segment is still there.
    fn open(&mut self, view: &View) -> Result<bool, Error> {
        let file = match self.shared.file_system().open_to_read(&view.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_released = self.shared.view(view.serial).is_none();
                return match is_released {
                    true => Ok(false),
                    false => Err(Error::io("open", &view.path, error)),
                };
            }
            Err(error) => return Err(Error::io("open", &view.path, error)),
        };
        let name = segment::path_of(std::path::Path::new(""), view.first);
        self.current = Some(Current {
            serial: view.serial,
            name: name.to_string_lossy().into_owned(),
            scanner: Scanner::new(file, view.path.clone(), view.first, view.durable_bytes),
        });
        Ok(true)
    }

    /// The record, when it is one and wanted.
    fn take(&mut self, found: Found) -> Option<Record> {
        let segment = self.current.as_ref().map(|current| current.name.as_str());
        if let (Some(hole), Some(segment)) = (&found.hole, segment) {
            let damage = Damage::of_hole(segment, hole);
            if self.shared.note_damage(damage) {
                tracing::warn!(
                    segment,
                    offset = hole.offset,
                    bytes = hole.bytes,
                    events_lost = hole.events_lost,
                    "the journal was damaged since it was opened"
                );
            }
        }
        let header = found.header;
        if header.is_end_mark() || header.end() <= self.position {
            return None;
        }
        self.position = header.end();
        Some(Record {
            kind: header.kind(),
            first: header.first,
            count: header.count,
            payload: found.payload,
        })
    }
}

impl RecordReader for Reader {
    fn next(&mut self, wait: Duration) -> Result<Option<Record>, Error> {
        // Asked before reading: what was appended before the close is still given out.
        let mut is_closed = self.shared.is_closed();
        let mut is_first_look = true;
        loop {
            if let Some(record) = self.next_durable()? {
                return Ok(Some(record));
            }
            if is_closed {
                return Err(Error::Closed);
            }
            // The end moves also without a record for this reader; then the wait is over without one.
            if !is_first_look || !self.shared.wait_behind(self.position, wait) {
                return Ok(None);
            }
            is_first_look = false;
            is_closed = self.shared.is_closed();
        }
    }
}
