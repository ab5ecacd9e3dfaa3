//! What can go wrong with a journal, cut by what the caller does next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why an append, an open or a read failed. Cheap to clone: one failed fsync answers a whole group of appends.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The bound of the settings is reached. Passes when the index has caught up.
    #[error(
        "the journal holds {bytes} of at most {bytes_max} bytes; it takes more when the index has caught up"
    )]
    Full {
        /// Bytes in all segment files.
        bytes: u64,
        /// The setting `journal.max_size`.
        bytes_max: u64,
    },
    /// The disk, or the quota, has no room. Passes when there is room again, without a restart.
    #[error("no room left on the disk to {action} {}; free some", path.display())]
    DiskFull {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The disk failed. The next append tries anew, in a new segment.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The record can never be stored. Split the batch.
    #[error("a record of {bytes} bytes is larger than {bytes_max}; split the batch")]
    TooLarge {
        /// What the record would occupy on disk.
        bytes: u64,
        /// The largest that is taken.
        bytes_max: u64,
    },
    /// A newer Daybook wrote this directory. Start that one again.
    #[error(
        "{} has {what} {found}, this daybook reads up to {supported}; start a newer daybook",
        path.display()
    )]
    NewerFormat {
        /// The segment file.
        path: PathBuf,
        /// Which number is too new: `format` or `codec`.
        what: &'static str,
        /// The number found.
        found: u32,
        /// The highest that is known here.
        supported: u32,
    },
    /// All 2^53 positions are given away, or the position to go on from is beyond them.
    #[error("position {next} is beyond the last one, {max}; start with a new data directory")]
    OutOfPositions {
        /// The position that the next event would get.
        next: u64,
        /// The highest position.
        max: u64,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl Error {
    /// The error of a failed call to the file system.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
                action,
                path,
                source: Arc::new(source),
            },
            _ => Error::Io {
                action,
                path,
                source: Arc::new(source),
            },
        }
    }
}
