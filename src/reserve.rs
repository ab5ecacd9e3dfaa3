//! A few MiB kept back on the data directory's disk, so that daybook can start, and searches go on, on a disk that
//! something has filled to the brim.
//!
//! `DATA_DIR/reserve` is written while there is plenty of room, and removed by a start that finds none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What is kept back. A start writes some hundred KiB: the lock, SQLite's working files, a journal segment's head.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// The reserve is written when this many times its size is free.
const ROOM_FACTOR: u64 = 8;

const RESERVE: &str = "reserve";

/// Removes the reserve when there is less room than it takes. Answers whether it did.
///
/// # Errors
/// It cannot be removed.
pub fn use_when_full(data_dir: &Path) -> io::Result<bool> {
    if free_bytes(data_dir).is_none_or(|free| free >= RESERVE_BYTES) {
        return Ok(false);
    }
    match fs::remove_file(data_dir.join(RESERVE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the reserve when it is missing and there is plenty of room. Blocking.
///
/// # Errors
/// It cannot be written.
pub fn keep(data_dir: &Path) -> io::Result<()> {
    let path = data_dir.join(RESERVE);
    let has_room = free_bytes(data_dir).is_some_and(|free| free >= ROOM_FACTOR * RESERVE_BYTES);
    if !has_room || path.exists() {
        return Ok(());
    }
    let block = vec![0xDB; 64 * 1024];
    let mut file = File::create(&path)?;
    for _ in 0..RESERVE_BYTES / block.len() as u64 {
        file.write_all(&block)?;
    }
    Ok(())
}

/// How much of the disk's free room is owed to the reserve, in bytes.
pub fn missing_bytes(data_dir: &Path) -> u64 {
    match data_dir.join(RESERVE).exists() {
        true => 0,
        false => RESERVE_BYTES,
    }
}

fn free_bytes(data_dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(data_dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
