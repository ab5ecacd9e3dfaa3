//! What can go wrong when files are written, cut by what the caller does next.

/// An error of the indexer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shard's writer failed, for instance because the disk is full. Nothing is lost: wait, then read the journal
    /// again from where [`crate::Indexer::take_resume_from`] says.
    #[error("cannot write shard {shard}: {message}")]
    Stalled {
        /// The shard's name.
        shard: String,
        /// What failed.
        message: String,
    },
    /// A file is of a format that only a newer Daybook knows. Start that one, or remove the file.
    #[error(
        "{path} has format {found}, this daybook knows up to {known}; start a newer daybook on this data directory"
    )]
    NewerFormat {
        /// Which folder or file.
        path: String,
        /// Its format.
        found: u32,
        /// The newest format we know.
        known: u32,
    },
    /// A shard cannot be opened; it was set aside under the given name, and a new one begins.
    #[error("shard {shard} is damaged ({message}); it was set aside as {set_aside}")]
    Damaged {
        /// The shard's name.
        shard: String,
        /// What is damaged.
        message: String,
        /// The folder's new name.
        set_aside: String,
    },
    /// A shard of an older format could not be converted at start; the log said why then. It is as it was.
    #[error("shard {shard} is of an older format and waits to be converted at the next start")]
    Unconverted {
        /// The shard's name.
        shard: String,
    },
    /// The catalog cannot be read or written.
    #[error("catalog.db: {0}")]
    Catalog(#[from] rusqlite::Error),
    /// The data directory cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    /// An I/O error on a path.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.display().to_string();
        move |source| Error::Io { path, source }
    }
}
