//! Checkpoints: how far a source has read, kept so that a crash neither loses nor doubles anything.
//!
//! A source puts changes of its progress into the batch that made them (`event::Batch::checkpoint`), so both are
//! durable in one journal record or neither is. The owner of the journal's reader calls [`CheckpointStore::note`]
//! for every record in the journal's order, and [`CheckpointStore::write`] before it lets a segment go. At start it
//! opens the store, notes what the journal still holds, and hands [`CheckpointStore::entries`] to the source.
//!
//! A checkpoint is a list of keys with new values, or without one for those that are over. Later ones win; noting a
//! stretch of the journal again, from anywhere up to its end, therefore changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};

const CHECKPOINT_VERSION: u8 = 1;
const FILE_MAGIC: &[u8; 8] = b"DBCKPT1\n";

/// A source's progress: what its keys and values mean is the source's own business.
pub type Entries = BTreeMap<Bytes, Bytes>;

/// Writes a checkpoint: a version, then for each entry key length (u16), value length (u32), key and value; the
/// length `u32::MAX` says that the key is over.
pub fn encode<'a>(changes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Bytes {
    let mut out = vec![CHECKPOINT_VERSION];
    for (key, value) in changes {
        put_entry(&mut out, key, value);
    }
    Bytes::from(out)
}

/// Applies a checkpoint to a source's entries. Answers `false`, with nothing changed, when it is none of ours.
pub fn apply(checkpoint: &[u8], entries: &mut Entries) -> bool {
    let Some((&CHECKPOINT_VERSION, mut rest)) = checkpoint.split_first() else {
        return false;
    };
    let mut changes = Vec::new();
    while !rest.is_empty() {
        match take_entry(&mut rest) {
            Some(change) => changes.push(change),
            None => return false,
        }
    }
    for (key, value) in changes {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
    }
    true
}

/// The newest checkpoints of all sources, and the small file they are kept in.
///
/// One per process; it belongs to whoever lets the journal's segments go.
#[derive(Debug)]
pub struct CheckpointStore {
    path: PathBuf,
    sources: BTreeMap<String, Entries>,
    is_written: bool,
}

impl CheckpointStore {
    /// Opens the file, which need not exist.
    ///
    /// A damaged file is set aside as `*.damaged` with an error in the log: the journal still holds what it holds,
    /// and files whose place is forgotten are read again from their beginning.
    ///
    /// # Errors
    /// The file cannot be read, or not be set aside.
    pub fn open(path: &Path) -> io::Result<CheckpointStore> {
        let mut store = CheckpointStore {
            path: path.to_owned(),
            sources: BTreeMap::new(),
            is_written: true,
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(store),
            Err(error) => return Err(error),
        };
        match decode_file(&bytes) {
            Some(sources) => store.sources = sources,
            None => {
                let aside = path.with_extension("damaged");
                fs::rename(path, &aside)?;
                tracing::error!(path = %path.display(), aside = %aside.display(), "the checkpoint file is damaged and was set aside; files it knew may be read again");
            }
        }
        Ok(store)
    }

    /// Takes in the checkpoint of one journal record; to be called in the journal's order.
    pub fn note(&mut self, source: &str, checkpoint: &[u8]) {
        if !self.sources.contains_key(source) {
            self.sources.insert(source.to_owned(), Entries::new());
        }
        let Some(entries) = self.sources.get_mut(source) else {
            return;
        };
        match apply(checkpoint, entries) {
            true => self.is_written = false,
            false => {
                tracing::error!(
                    source,
                    bytes = checkpoint.len(),
                    "a checkpoint in the journal is not readable and was passed over"
                );
            }
        }
    }

    /// What a source is to continue from.
    pub fn entries(&self, source: &str) -> Entries {
        self.sources.get(source).cloned().unwrap_or_default()
    }

    /// Makes everything noted so far durable, if it is not yet: a new file, fsynced, then renamed over the old one.
    ///
    /// # Errors
    /// Those of the file system; the old file is still whole then, and journal segments must not be let go.
    pub fn write(&mut self) -> io::Result<()> {
        if self.is_written {
            return Ok(());
        }
        let new_path = self.path.with_extension("new");
        let mut file = File::create(&new_path)?;
        file.write_all(&encode_file(&self.sources))?;
        file.sync_all()?;
        fs::rename(&new_path, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.is_written = true;
        Ok(())
    }
}

/// Magic, then per source name length (u16), name, bytes of its checkpoint (u64), checkpoint; CRC-32 of it all.
fn encode_file(sources: &BTreeMap<String, Entries>) -> Vec<u8> {
    let mut out = FILE_MAGIC.to_vec();
    for (name, entries) in sources {
        let pairs = entries
            .iter()
            .map(|(key, value)| (&key[..], Some(&value[..])));
        let checkpoint = encode(pairs);
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        out.put_u16(name.len() as u16);
        out.put_slice(name);
        out.put_u64(checkpoint.len() as u64);
        out.put_slice(&checkpoint);
    }
    out.put_u32(crc32fast::hash(&out));
    out
}

fn decode_file(bytes: &[u8]) -> Option<BTreeMap<String, Entries>> {
    let (body, mut crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc32fast::hash(body) != crc.get_u32() {
        return None;
    }
    let mut rest = body.strip_prefix(FILE_MAGIC)?;
    let mut sources = BTreeMap::new();
    while !rest.is_empty() {
        let length = usize::from(rest.try_get_u16().ok()?);
        let (name, tail) = rest.split_at_checked(length)?;
        rest = tail;
        let length = usize::try_from(rest.try_get_u64().ok()?).ok()?;
        let (checkpoint, tail) = rest.split_at_checked(length)?;
        rest = tail;
        let mut entries = Entries::new();
        if !apply(checkpoint, &mut entries) {
            return None;
        }
        sources.insert(String::from_utf8(name.to_vec()).ok()?, entries);
    }
    Some(sources)
}

fn put_entry(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    debug_assert!(key.len() <= usize::from(u16::MAX));
    out.put_u16(key.len() as u16);
    out.put_u32(value.map_or(u32::MAX, |value| value.len() as u32));
    out.put_slice(key);
    out.put_slice(value.unwrap_or_default());
}

fn take_entry(rest: &mut &[u8]) -> Option<(Bytes, Option<Bytes>)> {
    let key_length = usize::from(rest.try_get_u16().ok()?);
    let value_length = rest.try_get_u32().ok()?;
    let (key, tail) = rest.split_at_checked(key_length)?;
    *rest = tail;
    let key = Bytes::copy_from_slice(key);
    if value_length == u32::MAX {
        return Some((key, None));
    }
    let (value, tail) = rest.split_at_checked(value_length as usize)?;
    *rest = tail;
    Some((key, Some(Bytes::copy_from_slice(value))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set<'a>(key: &'a str, value: &'a str) -> (&'a [u8], Option<&'a [u8]>) {
        (key.as_bytes(), Some(value.as_bytes()))
    }

    #[test]
    fn the_newest_value_survives_a_restart_however_much_is_noted_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        let journal = [
            encode([set("a", "1"), set("b", "1")]),
            encode([set("a", "2")]),
            encode([(&b"b"[..], None), set("c", "")]),
            encode([set("a", "3")]),
        ];
        let mut all = CheckpointStore::open(&path).unwrap();
        journal.iter().for_each(|record| all.note("files", record));
        for written in 0..=journal.len() {
            let mut store = CheckpointStore::open(&path).unwrap();
            journal[..written]
                .iter()
                .for_each(|record| store.note("files", record));
            store.write().unwrap();
            for released in 0..=written {
                let mut restarted = CheckpointStore::open(&path).unwrap();
                journal[released..]
                    .iter()
                    .for_each(|record| restarted.note("files", record));
                assert_eq!(
                    restarted.entries("files"),
                    all.entries("files"),
                    "{written} {released}"
                );
            }
            fs::remove_file(&path).ok();
        }
        assert_eq!(all.entries("files").len(), 2);
        assert!(all.entries("other").is_empty());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        let mut store = CheckpointStore::open(&path).unwrap();
        store.note("files", &encode([set("a", "1")]));
        store.write().unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert!(
                CheckpointStore::open(&path)
                    .unwrap()
                    .entries("files")
                    .is_empty()
            );
            assert!(!path.exists() && path.with_extension("damaged").exists());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_applied_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut entries = Entries::new();
            if !apply(&bytes, &mut entries) {
                prop_assert!(entries.is_empty());
            }
            let _ = decode_file(&bytes);
        }
    }
}
