//! The data directory as a whole: one process at a time, one format, and where we listen.
//!
//! ```text
//! DATA_DIR/daybook.lock     held (flock) by the process that works here; holds its id, for people
//! DATA_DIR/format           one integer, the layout's version
//! DATA_DIR/listeners.json   {"http":"127.0.0.1:8365", ...}; there while the process runs
//! DATA_DIR/reserve          room for a start on a full disk
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use crate::settings::Service;

/// The layout this program writes.
const FORMAT: u32 = 1;

const LOCK: &str = "daybook.lock";
const FORMAT_FILE: &str = "format";
const LISTENERS: &str = "listeners.json";

/// A data directory that is ours until this value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    is_new: bool,
    // Closing the file gives up the lock.
    _lock: File,
}

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// Rights, a missing parent, a full disk.
    #[error("cannot {what} {path}: {source}; choose another directory with --data-dir or data_dir")]
    Unusable {
        /// What failed: `create`.
        what: &'static str,
        /// On what.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is no data directory.
    #[error(
        "{path} is no data directory of daybook: it has no file format; check the path behind --data-dir"
    )]
    NotOurs {
        /// The directory.
        path: String,
    },
    /// Another process works here.
    #[error(
        "{path} is in use by another daybook (process {pid}); stop it, or choose another directory with --data-dir"
    )]
    InUse {
        /// The directory.
        path: String,
        /// The other's process id, as far as it is known.
        pid: String,
    },
    /// A newer Daybook wrote it.
    #[error(
        "{path} has format {found} and this daybook knows formats up to {FORMAT}; start the newer daybook that wrote it"
    )]
    Newer {
        /// The directory.
        path: String,
        /// Its format.
        found: u32,
    },
    /// The format file holds no number.
    #[error(
        "{path} should hold one number and holds {found:?}; write 1 into it if this is a data directory of daybook"
    )]
    NoFormat {
        /// The format file.
        path: String,
        /// Its beginning.
        found: String,
    },
}

impl DataDirectory {
    /// Takes a directory, making it when it is not there.
    ///
    /// # Errors
    /// See [`DataDirectoryError`].
    pub fn open(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
        fs::create_dir_all(path).map_err(unusable("create", path))?;
        DataDirectory::take(path)
    }

    /// Takes a directory that is a data directory already.
    ///
    /// # Errors
    /// See [`DataDirectoryError`].
    pub fn open_existing(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
        // Before the lock, which would leave a file in a directory of somebody else.
        if !path.join(FORMAT_FILE).is_file() {
            return Err(DataDirectoryError::NotOurs {
                path: path.display().to_string(),
            });
        }
        DataDirectory::take(path)
    }

    fn take(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
        let lock = lock(path)?;
        let is_new = check_format(path)?;
        let directory = DataDirectory {
            path: path.to_owned(),
            is_new,
            _lock: lock,
        };
        // A killed process leaves its listeners behind; nobody must take them for ours.
        directory.remove_listeners()?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was empty of everything ours.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Writes where we listen: a text for each service, a list where it has several addresses.
    ///
    /// # Errors
    /// The disk is full or read-only.
    pub fn write_listeners(
        &self,
        listeners: &[(Service, SocketAddr)],
    ) -> Result<(), DataDirectoryError> {
        let mut content = Map::new();
        for (service, address) in listeners {
            let address = json!(address.to_string());
            let several = match content.remove(service.name()) {
                None => address,
                Some(Value::Array(mut addresses)) => {
                    addresses.push(address);
                    Value::Array(addresses)
                }
                Some(first) => json!([first, address]),
            };
            content.insert(service.name().to_owned(), several);
        }
        let path = self.path.join(LISTENERS);
        let text = format!("{}\n", Value::Object(content));
        // Readers poll for this file and must never see half of it.
        let written = self.path.join("listeners.json.new");
        fs::write(&written, text).map_err(unusable("write", &written))?;
        fs::rename(&written, &path).map_err(unusable("write", &path))
    }

    /// Says that nobody listens any more.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn remove_listeners(&self) -> Result<(), DataDirectoryError> {
        let path = self.path.join(LISTENERS);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unusable("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// The HTTP address of the process that works on a data directory, if one does.
pub fn running_http_address(path: &Path) -> Option<String> {
    let text = fs::read(path.join(LISTENERS)).ok()?;
    let listeners: Value = serde_json::from_slice(&text).ok()?;
    let http = listeners.get(Service::Http.name())?;
    let address = http.as_str().or_else(|| http.get(0)?.as_str())?;
    Some(address.to_owned())
}

fn lock(path: &Path) -> Result<File, DataDirectoryError> {
    let lock_path = path.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(unusable("open", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(DataDirectoryError::InUse {
                path: path.display().to_string(),
                pid: match pid.trim() {
                    "" => "unknown".to_owned(),
                    pid => pid.to_owned(),
                },
            });
        }
        Err(error) => return Err(unusable("lock", &lock_path)(error.into())),
    }
    let write_pid = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(unusable("write", &lock_path))?;
    Ok(file)
}

/// Whether the directory is new; it has our format afterwards.
fn check_format(path: &Path) -> Result<bool, DataDirectoryError> {
    let format_path = path.join(FORMAT_FILE);
    let text = match fs::read_to_string(&format_path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_format(path).map_err(unusable("write", &format_path))?;
            return Ok(true);
        }
        Err(error) => return Err(unusable("read", &format_path)(error)),
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > FORMAT => Err(DataDirectoryError::Newer {
            path: path.display().to_string(),
            found,
        }),
        // There is no older format yet; the upgrade comes with the second one.
        Ok(_) => Ok(false),
        Err(_) => Err(DataDirectoryError::NoFormat {
            path: format_path.display().to_string(),
            found: text.chars().take(40).collect(),
        }),
    }
}

/// Durable before anything else is written: data without a format could not be told from foreign files.
fn write_format(path: &Path) -> io::Result<()> {
    let written = path.join("format.new");
    let mut file = File::create(&written)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    fs::rename(&written, path.join(FORMAT_FILE))?;
    File::open(path)?.sync_all()
}

fn unusable(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirectoryError {
    let path = path.display().to_string();
    move |source| DataDirectoryError::Unusable { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDirectory::open(&path).unwrap();
        assert!(first.is_new());
        let error = DataDirectory::open(&path).unwrap_err().to_string();
        let pid = format!("(process {})", std::process::id());
        assert!(
            error.contains("is in use by another daybook") && error.contains(&pid),
            "{error}"
        );
        drop(first);
        assert!(!DataDirectory::open(&path).unwrap().is_new());
    }

    #[test]
    fn a_foreign_directory_is_left_alone() {
        let foreign = tempfile::tempdir().unwrap();
        let error = DataDirectory::open_existing(foreign.path()).unwrap_err();
        assert!(
            error.to_string().contains("no data directory of daybook"),
            "{error}"
        );
        assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_newer_or_unknown_format_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(directory.path()).unwrap());
        let format = directory.path().join("format");
        assert_eq!(fs::read_to_string(&format).unwrap(), "1\n");
        for (content, part) in [
            ("2\n", "has format 2"),
            ("x", "holds \"x\""),
            ("", "holds \"\""),
        ] {
            fs::write(&format, content).unwrap();
            let error = DataDirectory::open(directory.path())
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{error}");
            assert_eq!(fs::read_to_string(&format).unwrap(), content);
        }
    }

    #[test]
    fn listeners_are_told_while_somebody_listens() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let directory = DataDirectory::open(path).unwrap();
        assert_eq!(running_http_address(path), None);
        directory
            .write_listeners(&[
                (Service::Http, address(1)),
                (Service::OtlpGrpc, address(2)),
                (Service::OtlpGrpc, address(3)),
                (Service::OtlpGrpc, address(4)),
            ])
            .unwrap();
        assert_eq!(
            fs::read_to_string(path.join("listeners.json")).unwrap(),
            "{\"http\":\"127.0.0.1:1\",\"otlp_grpc\":[\"127.0.0.1:2\",\"127.0.0.1:3\",\"127.0.0.1:4\"]}\n"
        );
        assert_eq!(running_http_address(path).as_deref(), Some("127.0.0.1:1"));
        // As after a kill: the file is left, the lock is not.
        drop(directory);
        let next = DataDirectory::open(path).unwrap();
        assert_eq!(running_http_address(path), None);
        next.remove_listeners().unwrap();
    }
}
