//! The folder of one shard, as tantivy sees it: files appear at once, and become durable only when asked.
//!
//! tantivy syncs every file and its `meta.json` on each commit. To make events searchable within a second that would be
//! an fsync storm for files that live for seconds, and it would buy nothing: the journal has the events already.
//! So here a commit only changes the `meta.json` in memory, and [`ShardDirectory::persist`] makes one state of it
//! durable: it syncs the files that state names, then replaces `meta.json` on disk. A kill in between leaves the
//! older state, and the journal continues from the position inside it.
//!
//! What must hold: a file that the `meta.json` on disk names, or the one being persisted, is never deleted, whatever
//! tantivy's garbage collection says. Its deletion waits until a later state is durable.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, META_LOCK, MmapDirectory, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};

const META: &str = "meta.json";
const MANAGED: &str = ".managed.json";
const META_BEING_WRITTEN: &str = "meta.json.new";

/// The folder of one shard. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub struct ShardDirectory {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    reader: MmapDirectory,
    // Held for memory operations only; files are synced outside of it.
    state: Mutex<State>,
    // One persist at a time; held while files are synced.
    persisting: Mutex<()>,
    meta_lock: Arc<MetaLock>,
}

/// Keeps tantivy's garbage collection away while a reader goes from `meta.json` to its files.
#[derive(Default)]
struct MetaLock {
    is_held: Mutex<bool>,
    released: Condvar,
}

struct MetaLockGuard(Arc<MetaLock>);

impl Drop for MetaLockGuard {
    fn drop(&mut self) {
        *self
            .0
            .is_held
            .lock()
            .expect("no holder of this lock panics") = false;
        self.0.released.notify_one();
    }
}

#[derive(Default)]
struct State {
    /// The newest `meta.json`, perhaps not on disk yet.
    meta: Option<Vec<u8>>,
    /// The payload of the `meta.json` that was on disk at the opening.
    payload_when_opened: Option<String>,
    /// tantivy's list of its files; never on disk, made anew at each opening.
    managed: Option<Vec<u8>>,
    /// Files written but not synced.
    unsynced: HashSet<PathBuf>,
    /// What `meta.json` on disk names.
    durable: NamedFiles,
    /// What the `meta.json` being persisted names.
    becoming_durable: NamedFiles,
    /// Files tantivy deleted but `durable` or `becoming_durable` still names.
    doomed: HashSet<PathBuf>,
}

/// The files that a `meta.json` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct NamedFiles {
    /// Segment ids as file names begin with them, and the opstamp of the deletions file if there is one.
    segments: Vec<(String, Option<u64>)>,
}

/// What a state of the shard says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persisted {
    /// The payload of the commit.
    pub payload: Option<String>,
}

#[derive(serde::Deserialize)]
struct Meta {
    segments: Vec<MetaSegment>,
    payload: Option<String>,
}

#[derive(serde::Deserialize)]
struct MetaSegment {
    segment_id: String,
    deletes: Option<MetaDeletes>,
}

#[derive(serde::Deserialize)]
struct MetaDeletes {
    opstamp: u64,
}

impl ShardDirectory {
    /// Opens the folder, which must exist, and removes the files of states that never became durable.
    ///
    /// # Errors
    /// The folder cannot be read or `meta.json` is damaged.
    pub fn open(path: &Path) -> io::Result<ShardDirectory> {
        ShardDirectory::open_and(path, |file| std::fs::remove_file(path.join(file)))
    }

    /// Opens the folder as [`ShardDirectory::open`] does but leaves every file where it is.
    ///
    /// # Errors
    /// As [`ShardDirectory::open`].
    pub fn open_untouched(path: &Path) -> io::Result<ShardDirectory> {
        ShardDirectory::open_and(path, |_| Ok(()))
    }

    fn open_and(
        path: &Path,
        leave: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<ShardDirectory> {
        let reader =
            MmapDirectory::open(path).map_err(|error| io::Error::other(error.to_string()))?;
        let meta = match std::fs::read(path.join(META)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (durable, payload_when_opened) = match &meta {
            Some(bytes) => parse_meta(bytes)?,
            None => Default::default(),
        };
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let name = PathBuf::from(entry?.file_name());
            if durable.names(&name) {
                kept.push(name);
            } else if is_ours(&name) {
                leave(&name)?;
            }
        }
        let managed = serde_json::to_vec(&kept).map_err(io::Error::other)?;
        let state = State {
            meta,
            managed: Some(managed),
            payload_when_opened,
            durable,
            ..State::default()
        };
        Ok(ShardDirectory {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                reader,
                state: Mutex::new(state),
                persisting: Mutex::new(()),
                meta_lock: Arc::default(),
            }),
        })
    }

    /// Makes the newest committed state durable and says which it is. Blocks while files are synced.
    ///
    /// # Errors
    /// A file cannot be synced or written. The state on disk is the older one then, and files that failed to sync
    /// must not be trusted: open the shard anew from disk.
    pub fn persist(&self) -> io::Result<Persisted> {
        let _one_at_a_time = self
            .inner
            .persisting
            .lock()
            .expect("no holder of this lock panics");
        let (meta, named, payload, files) = {
            let mut state = self.state();
            let Some(meta) = state.meta.clone() else {
                return Ok(Persisted::default());
            };
            let (named, payload) = parse_meta(&meta)?;
            state.becoming_durable = named.clone();
            let files: Vec<PathBuf> = state
                .unsynced
                .iter()
                .filter(|file| named.names(file))
                .cloned()
                .collect();
            (meta, named, payload, files)
        };
        let written = self.write_durably(&meta, &files);
        let mut state = self.state();
        state.becoming_durable = NamedFiles::default();
        if let Err(error) = written {
            // The rename may have been done and only its sync have failed: then disk names either set of files.
            state.durable.segments.extend(named.segments);
            return Err(error);
        }
        state.durable = named;
        for file in &files {
            state.unsynced.remove(file);
        }
        let State {
            doomed, durable, ..
        } = &mut *state;
        doomed.retain(|file| {
            let is_needed = durable.names(file);
            if !is_needed {
                // A file that cannot be removed now is removed at the next opening.
                let _ = std::fs::remove_file(self.inner.path.join(file));
            }
            is_needed
        });
        Ok(Persisted { payload })
    }

    /// The payload of the state that was on disk when this was opened.
    pub fn payload_when_opened(&self) -> Option<String> {
        self.state().payload_when_opened.clone()
    }

    /// The payload of the state on disk.
    ///
    /// # Errors
    /// `meta.json` cannot be read or is damaged.
    pub fn payload_on_disk(path: &Path) -> io::Result<Option<String>> {
        match std::fs::read(path.join(META)) {
            Ok(bytes) => Ok(parse_meta(&bytes)?.1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many segments the state on disk has.
    ///
    /// # Errors
    /// As [`ShardDirectory::payload_on_disk`].
    pub fn segments_on_disk(path: &Path) -> io::Result<usize> {
        match std::fs::read(path.join(META)) {
            Ok(bytes) => Ok(parse_meta(&bytes)?.0.segments.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn write_durably(&self, meta: &[u8], files: &[PathBuf]) -> io::Result<()> {
        for file in files {
            File::open(self.inner.path.join(file))?.sync_data()?;
        }
        let folder = File::open(&self.inner.path)?;
        folder.sync_all()?;
        let new_path = self.inner.path.join(META_BEING_WRITTEN);
        let mut new_file = File::create(&new_path)?;
        new_file.write_all(meta)?;
        new_file.sync_all()?;
        std::fs::rename(&new_path, self.inner.path.join(META))?;
        folder.sync_all()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .expect("no holder of this lock panics")
    }
}

impl NamedFiles {
    fn names(&self, file: &Path) -> bool {
        let Some(name) = file.to_str() else {
            return false;
        };
        let Some((segment, rest)) = name.split_once('.') else {
            return false;
        };
        self.segments.iter().any(|(id, deletes)| {
            id == segment
                && match rest.strip_suffix(".del") {
                    Some(opstamp) => opstamp.parse().ok() == *deletes && deletes.is_some(),
                    None => true,
                }
        })
    }
}

/// Whether a file is one that tantivy or we wrote: nothing else in the folder is ever touched.
fn is_ours(file: &Path) -> bool {
    let Some(name) = file.to_str() else {
        return false;
    };
    let segment = name.split('.').next().unwrap_or_default();
    let is_segment_file =
        segment.len() == 32 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_segment_file || name == META_BEING_WRITTEN || name == MANAGED
}

fn parse_meta(bytes: &[u8]) -> io::Result<(NamedFiles, Option<String>)> {
    let meta: Meta = serde_json::from_slice(bytes).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{META} is damaged: {error}"),
        )
    })?;
    let segments = meta
        .segments
        .into_iter()
        .map(|segment| {
            (
                segment.segment_id.replace('-', ""),
                segment.deletes.map(|deletes| deletes.opstamp),
            )
        })
        .collect();
    Ok((NamedFiles { segments }, meta.payload))
}

impl std::fmt::Debug for ShardDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShardDirectory({:?})", self.inner.path)
    }
}

impl Directory for ShardDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.inner.reader.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let mut state = self.state();
        if state.durable.names(path) || state.becoming_durable.names(path) {
            state.doomed.insert(path.to_owned());
            return Ok(());
        }
        state.unsynced.remove(path);
        match std::fs::remove_file(self.inner.path.join(path)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DeleteError::FileDoesNotExist(path.to_owned()))
            }
            Err(error) => Err(DeleteError::IoError {
                io_error: Arc::new(error),
                filepath: path.to_owned(),
            }),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        if path == Path::new(META) {
            return Ok(self.state().meta.is_some());
        }
        self.inner.reader.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.inner.path.join(path));
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.to_owned()),
            _ => OpenWriteError::wrap_io_error(error, path.to_owned()),
        })?;
        self.state().unsynced.insert(path.to_owned());
        Ok(BufWriter::new(Box::new(UnsyncedFile(file))))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let state = self.state();
        let held = match path.to_str() {
            Some(META) => &state.meta,
            Some(MANAGED) => &state.managed,
            _ => {
                drop(state);
                return self.inner.reader.atomic_read(path);
            }
        };
        held.clone()
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        match path.to_str() {
            Some(META) => state.meta = Some(data.to_vec()),
            Some(MANAGED) => state.managed = Some(data.to_vec()),
            _ => {
                return Err(io::Error::other(format!(
                    "unexpected atomic write of {}",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// The writer's lock is always granted: the data directory's own keeps other processes out, and a shard has one writer
    /// by design. The lock on `meta.json` is a real one, between the threads of this process.
    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        if lock.filepath != META_LOCK.filepath {
            return Ok(DirectoryLock::from(Box::new(())));
        }
        let meta_lock = Arc::clone(&self.inner.meta_lock);
        let mut is_held = meta_lock
            .is_held
            .lock()
            .expect("no holder of this lock panics");
        while *is_held {
            is_held = meta_lock
                .released
                .wait(is_held)
                .expect("no holder of this lock panics");
        }
        *is_held = true;
        drop(is_held);
        Ok(DirectoryLock::from(Box::new(MetaLockGuard(meta_lock))))
    }

    /// Never calls back: readers are renewed by the shard itself after each commit.
    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// A file that is not synced when it is closed.
struct UnsyncedFile(File);

impl Write for UnsyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl TerminatingWrite for UnsyncedFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.0.flush()
    }
}
