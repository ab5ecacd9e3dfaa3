//! Segment files: their names, how one is born, and the one that is written to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::Position;

use crate::Error;
use crate::file_system::{File, FileSystem};
use crate::record::{FORMAT_VERSION, POSITION_LIMIT, SEGMENT_HEADER_BYTES, SegmentHeader};

const SUFFIX: &str = ".journal";
const UNFINISHED_SUFFIX: &str = ".journal.new";
const NAME_DIGITS: usize = 20;
/// How far ahead room is taken on the disk: a full disk shows before a write and not in the midst of one, and the
/// file system is asked once per some hundred groups. Not a whole segment, so that small disks can be filled.
const RESERVE_BYTES: u64 = 4 << 20;

/// The file of the segment that begins at `first`.
pub(crate) fn path_of(dir: &Path, first: Position) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", first.0))
}

/// The first position that a file name tells; `None` when it is no segment's name.
pub(crate) fn first_of(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let first = digits.parse().ok().filter(|_| is_number)?;
    (first < POSITION_LIMIT).then_some(Position(first))
}

/// Whether a file of this name is a segment whose making was interrupted; it holds nothing that counts.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED_SUFFIX)
}

/// The name under which a segment is prepared before it takes its own.
pub(crate) fn unfinished_path_of(path: &Path) -> PathBuf {
    path.with_extension("journal.new")
}

/// Makes a file with `write`, durably: it appears under `path` only when its content is fsynced, in place of a file
/// that had the name. An open handle to that one goes on seeing the old content.
///
/// # Errors
/// As the system says; a file may or may not stand under `path` then.
pub(crate) fn create_durably(
    file_system: &dyn FileSystem,
    path: &Path,
    write: impl FnOnce(&dyn File) -> io::Result<()>,
) -> Result<Arc<dyn File>, Error> {
    let unfinished = unfinished_path_of(path);
    let failed = |error| Error::io("create", path, error);
    // A new file each time: after a failed fsync the old one's cached pages cannot be trusted.
    match file_system.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = file_system.create(&unfinished).map_err(failed)?;
    let result = write(&*file)
        .and_then(|()| file.sync_all())
        .and_then(|()| file_system.rename(&unfinished, path));
    if let Err(error) = result {
        let _ = file_system.remove(&unfinished);
        return Err(failed(error));
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    file_system
        .sync_dir(dir)
        .map_err(|error| Error::io("sync", dir, error))?;
    Ok(file)
}

/// The segment that is written to. Nobody else writes to its file.
pub(crate) struct ActiveSegment {
    file: Arc<dyn File>,
    path: PathBuf,
    first: Position,
    durable_bytes: u64,
    reserved_bytes: u64,
}

impl ActiveSegment {
    /// Makes a new one that begins at `first`; the records before it ended at `previous_end`.
    ///
    /// # Errors
    /// As [`create_durably`].
    pub fn create(
        file_system: &dyn FileSystem,
        dir: &Path,
        first: Position,
        previous_end: Position,
    ) -> Result<ActiveSegment, Error> {
        let path = path_of(dir, first);
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            first,
            previous_end,
        };
        let file = create_durably(file_system, &path, |file| {
            file.write_all_at(&header.encode(), 0)
        })?;
        Ok(ActiveSegment {
            file,
            path,
            first,
            durable_bytes: SEGMENT_HEADER_BYTES as u64,
            reserved_bytes: 0,
        })
    }

    /// Goes on with one that was found at open; all of its `durable_bytes` are whole and durable.
    pub fn resume(
        file: Arc<dyn File>,
        path: PathBuf,
        first: Position,
        durable_bytes: u64,
    ) -> ActiveSegment {
        ActiveSegment {
            file,
            path,
            first,
            durable_bytes,
            reserved_bytes: 0,
        }
    }

    /// Its file.
    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Where its file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The position it begins at.
    pub fn first(&self) -> Position {
        self.first
    }

    /// How long it is; all of this is durable.
    pub fn durable_bytes(&self) -> u64 {
        self.durable_bytes
    }

    /// Whether there are records in it.
    pub fn has_records(&self) -> bool {
        self.durable_bytes > SEGMENT_HEADER_BYTES as u64
    }

    /// Takes room for `bytes` more bytes, and some ahead where there is that much.
    pub fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let wanted_end = self.durable_bytes + bytes;
        if wanted_end <= self.reserved_bytes {
            return Ok(());
        }
        let ahead = bytes.max(RESERVE_BYTES);
        let taken = match self.file.reserve(self.durable_bytes, ahead) {
            Err(error) if is_no_room(&error) && ahead > bytes => {
                self.file.reserve(self.durable_bytes, bytes).map(|()| bytes)
            }
            result => result.map(|()| ahead),
        }?;
        self.reserved_bytes = self.durable_bytes + taken;
        Ok(())
    }

    /// Everything up to `durable_bytes` was written and fsynced.
    pub fn grow(&mut self, durable_bytes: u64) {
        self.durable_bytes = durable_bytes;
    }

    /// Cuts off what was written and not accepted, durably, so that it cannot come back.
    pub fn cut_back(&mut self) -> io::Result<()> {
        self.reserved_bytes = 0;
        self.file.set_len(self.durable_bytes)?;
        self.file.sync_all()
    }

    /// Gives back the room that was taken ahead.
    pub fn finish(&mut self) {
        if self.reserved_bytes > self.durable_bytes {
            self.reserved_bytes = 0;
            // What this fails to give back is given back with the file.
            let _ = self.file.set_len(self.durable_bytes);
        }
    }
}

/// Whether the disk or the quota is full, rather than broken.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_known_by_its_name() {
        let path = path_of(Path::new("journal"), Position(1234));
        assert_eq!(path, Path::new("journal/00000000000000001234.journal"));
        assert_eq!(
            first_of("00000000000000001234.journal"),
            Some(Position(1234))
        );
        for name in [
            "1234.journal",
            "0000000000000000+234.journal",
            "00000000000000001234.journal.new",
            "00000000000000001234.journal.40.damaged",
            "18446744073709551615.journal",
            "daybook.lock",
        ] {
            assert_eq!(first_of(name), None, "{name}");
        }
        assert!(is_unfinished("00000000000000001234.journal.new"));
        assert_eq!(
            unfinished_path_of(&path),
            Path::new("journal/00000000000000001234.journal.new")
        );
    }
}
