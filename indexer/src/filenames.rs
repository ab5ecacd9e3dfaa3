//! Every file and folder name the indexer writes, in one place.
//!
//! Names that senders chose never become path parts as they are: an index name is encoded, so that it can neither
//! leave its folder nor clash with another one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use event::{Day, IndexName};

use crate::logs::ShardId;

/// The folder of all shards, below the data directory.
pub const LOGS: &str = "logs";

/// The file that holds a shard's format version.
pub const SHARD_FORMAT: &str = "format";
/// The same while it is being written.
pub const SHARD_FORMAT_BEGUN: &str = "format.begun";

/// The catalog, below the data directory.
pub const CATALOG: &str = "catalog.db";

/// What a deleted shard's folder is called until it is gone.
const DELETED_SUFFIX: &str = ".deleted";

/// What the folder of a shard that could not be opened is called.
const DAMAGED_SUFFIX: &str = ".damaged";

/// What the copy of a shard is called while the shard is converted to a newer format.
const CONVERTING_SUFFIX: &str = ".converting";

/// What a shard is called after its copy is whole and until the copy has its name.
const REPLACED_SUFFIX: &str = ".replaced";

/// The longest file name a file system takes.
const NAME_BYTES_MAX: usize = 255;

/// The folder of a shard.
pub fn shard_folder(data_dir: &Path, id: &ShardId) -> PathBuf {
    index_folder(data_dir, &id.index).join(id.day.to_string())
}

/// The folder of an index.
pub fn index_folder(data_dir: &Path, index: &IndexName) -> PathBuf {
    data_dir.join(LOGS).join(encode(index.as_str()))
}

/// What a shard's folder is renamed to before its files are removed.
pub fn deleted_folder(shard_folder: &Path) -> PathBuf {
    with_suffix(shard_folder, DELETED_SUFFIX, 0)
}

/// Where a shard is converted to a newer format; garbage at every start.
pub fn converting_folder(shard_folder: &Path) -> PathBuf {
    with_suffix(shard_folder, CONVERTING_SUFFIX, 0)
}

/// Where a shard of an older format is while its copy takes its name.
pub fn replaced_folder(shard_folder: &Path) -> PathBuf {
    with_suffix(shard_folder, REPLACED_SUFFIX, 0)
}

/// Where the state of a shard is that counts: its folder, unless a kill came while it was being replaced.
pub fn counting_folder(data_dir: &Path, id: &ShardId) -> PathBuf {
    let folder = shard_folder(data_dir, id);
    let replaced = replaced_folder(&folder);
    match !folder.exists() && replaced.exists() {
        true => replaced,
        false => folder,
    }
}

/// Removes what deletions and conversions that a kill cut short have left.
///
/// # Errors
/// A folder cannot be listed or removed.
pub fn remove_garbage(data_dir: &Path) -> std::io::Result<()> {
    for index_entry in std::fs::read_dir(data_dir.join(LOGS))? {
        let index_entry = index_entry?;
        if !index_entry.file_type()?.is_dir() {
            continue;
        }
        for day_entry in std::fs::read_dir(index_entry.path())? {
            let day_entry = day_entry?;
            let name = day_entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(DELETED_SUFFIX) || name.ends_with(CONVERTING_SUFFIX) {
                std::fs::remove_dir_all(day_entry.path())?;
            }
        }
    }
    Ok(())
}

/// Where a shard that cannot be opened is set aside; the first such name that is free.
pub fn damaged_folder(shard_folder: &Path) -> PathBuf {
    (0..)
        .map(|number| with_suffix(shard_folder, DAMAGED_SUFFIX, number))
        .find(|path| !path.exists())
        .unwrap_or_default()
}

fn with_suffix(folder: &Path, suffix: &str, number: u32) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    match number {
        0 => folder.with_file_name(format!("{name}{suffix}")),
        number => folder.with_file_name(format!("{name}{suffix}-{number}")),
    }
}

/// All shards that have a folder, be it one that is being replaced.
///
/// # Errors
/// The folders cannot be listed.
pub fn list_shards(data_dir: &Path) -> std::io::Result<Vec<ShardId>> {
    let mut shards = Vec::new();
    let indices = match std::fs::read_dir(data_dir.join(LOGS)) {
        Ok(indices) => indices,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(shards),
        Err(error) => return Err(error),
    };
    for index_entry in indices {
        let index_entry = index_entry?;
        let name = index_entry.file_name();
        let Some(index) = name
            .to_str()
            .and_then(decode)
            .and_then(|name| IndexName::parse(&name).ok())
        else {
            continue;
        };
        if !index_entry.file_type()?.is_dir() {
            continue;
        }
        for day_entry in std::fs::read_dir(index_entry.path())? {
            let day_name = day_entry?.file_name();
            let day = day_name
                .to_str()
                .map(|name| name.strip_suffix(REPLACED_SUFFIX).unwrap_or(name));
            if let Some(day) = day.and_then(Day::parse) {
                shards.push(ShardId {
                    index: index.clone(),
                    day,
                });
            }
        }
    }
    shards.sort();
    shards.dedup();
    Ok(shards)
}

/// Letters, digits, `-`, `_` and inner dots stay; every other byte is written `%XX`. A name that gets too long keeps its
/// beginning and a hash; then the name cannot be read back from the folder, so such names are refused beforehand.
fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let stays = byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'-' | b'_')
            || (byte == b'.' && at > 0);
        if stays {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Whether the folder of this index has a name that the file system takes.
pub fn fits(index: &IndexName) -> bool {
    encode(index.as_str()).len() <= NAME_BYTES_MAX
}

fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for (name, expected) in [
            ("logs", "logs"),
            (".kibana_1", "%2Ekibana_1"),
            ("a..b", "a..b"),
            ("größe", "gr%C3%B6%C3%9Fe"),
            ("a%2fb", "a%252fb"),
        ] {
            assert_eq!(encode(name), expected);
            assert_eq!(decode(expected).as_deref(), Some(name));
        }
    }

    proptest! {
        #[test]
        fn every_name_is_one_path_part_and_comes_back(name in "[^A-Z]{1,40}") {
            if let Ok(index) = IndexName::parse(&name) {
                let encoded = encode(index.as_str());
                prop_assert!(!encoded.contains('/') && !encoded.starts_with('.'));
                let decoded = decode(&encoded);
                prop_assert_eq!(decoded.as_deref(), Some(index.as_str()));
            }
        }
    }
}
