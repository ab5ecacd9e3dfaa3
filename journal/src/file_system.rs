//! The few calls to the operating system that a journal makes, behind a trait: tests put a file system in its place
//! that loses power, fills up and fails (`model.rs`).

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::Errno;

/// Directories and names. What a call changed is durable after [`FileSystem::sync_dir`] alone.
pub trait FileSystem: Send + Sync {
    /// Makes a directory with its parents, durably; it may exist already.
    ///
    /// # Errors
    /// As the system says; so for every call below.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a directory, in no order. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// As the system says.
    fn file_names(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a new file for reading and writing.
    ///
    /// # Errors
    /// As the system says, `AlreadyExists` among it.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading alone.
    ///
    /// # Errors
    /// As the system says.
    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in one step, in place of the file that had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name. Open files stay readable.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says; then nothing is known about the names.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file, read and written at offsets. What was written is durable after a sync alone.
pub trait File: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system says; so for every call below.
    fn byte_len(&self) -> io::Result<u64>;

    /// Reads at most `buffer.len()` bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As the system says; a part may be written then.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Takes room on the disk for `bytes` bytes from `offset` on; the length stays. Does nothing where the file
    /// system cannot do it.
    ///
    /// # Errors
    /// As the system says, above all that there is no room.
    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()>;

    /// Cuts the file, and gives back the room reserved behind its end.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, byte_len: u64) -> io::Result<()>;

    /// Makes the content durable, and as much of the length as is needed to read it.
    ///
    /// # Errors
    /// As the system says. Then nothing is known about what was written since the last sync, and a further sync
    /// that succeeds proves nothing about it.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content and length durable, also a length that shrank.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn sync_all(&self) -> io::Result<()>;

    /// Drops what the system keeps of the synced content in memory: the next read asks the disk.
    ///
    /// # Errors
    /// As the system says.
    fn forget_cached(&self) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFileSystem;

impl FileSystem for LocalFileSystem {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        if !parent.is_dir() {
            self.create_dir(parent)?;
        }
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_dir(parent),
        }
    }

    fn file_names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(fs::File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

impl File for fs::File {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(self, FallocateFlags::KEEP_SIZE, offset, bytes) {
                Err(Errno::INTR) => {}
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn set_len(&self, byte_len: u64) -> io::Result<()> {
        fs::File::set_len(self, byte_len)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        fs::File::sync_all(self)
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(self, 0, None, Advice::DontNeed)?)
    }
}
