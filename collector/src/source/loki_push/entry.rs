//! One stream and its entries, as both formats hand them over, and the event that an entry becomes.

use std::borrow::Cow;

use event::{Document, IndexName, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use super::super::gathered::{Gathered, Terms};
use super::labels::Labels;
use crate::level;

/// Labels from whose first the service's name is taken when nobody says it, in Loki's order.
const SERVICE_LABELS: [&str; 11] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "component",
    "workload",
    "job",
];

/// Why nothing of a push can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not of its format.
    #[error("{0}")]
    Malformed(String),
    /// It has no stream.
    #[error("error at least one valid stream is required for ingestion")]
    NoStreams,
}

/// One line of a stream.
pub struct Entry<'a> {
    /// Its time.
    pub timestamp: Timestamp,
    /// The line.
    pub line: Cow<'a, str>,
    /// Names and values beside the labels.
    pub metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Makes events of entries.
pub struct Reader {
    gathered: Gathered,
    index: IndexName,
    document: Document,
    stream_count: u64,
}

impl Reader {
    /// Nothing read yet.
    pub fn new(terms: Terms) -> Reader {
        Reader {
            index: terms.index.clone(),
            gathered: Gathered::new(terms),
            document: Document::new(),
            stream_count: 0,
        }
    }

    /// Notes that a stream begins.
    pub fn begin_stream(&mut self) {
        self.stream_count += 1;
    }

    /// Adds an entry of a stream.
    pub fn add(&mut self, labels: &Labels, entry: &Entry<'_>) {
        let document = &mut self.document;
        document.clear();
        document.set_str("@timestamp", &entry.timestamp.to_rfc3339());
        document.set_str("message", &entry.line);
        for (name, value) in &labels.pairs {
            set(document, name, value, "label");
        }
        for (name, value) in &entry.metadata {
            if !value.is_empty() {
                set(document, name, value, "metadata");
            }
        }
        if document.get("service.name").is_none()
            && let Some(service) = labels.service(SERVICE_LABELS)
        {
            document.set_str("service.name", service);
        }
        if document.get("log.level").is_none()
            && let Some(level) = level_of(labels, entry)
        {
            document.set_str("log.level", level);
        }
        let id = id_of(labels, entry);
        self.gathered
            .push_to(&mut self.document, &self.index, Some(id));
    }

    /// Whether the text of an entry, or of its labels, is too long for any event; then it is refused and need not be read.
    pub fn refuse_by_length(&mut self, text_bytes: usize) -> bool {
        self.gathered.refuse_by_length(text_bytes)
    }

    /// Whether there are too many entries for one request. Reading on is of no use.
    pub fn is_over(&self) -> bool {
        self.gathered.is_over()
    }

    /// Notes an entry that cannot be read.
    pub fn refuse(&mut self, reason: &'static str, problem: String) {
        self.gathered.refuse(reason, problem);
    }

    /// What was read.
    ///
    /// # Errors
    /// There was no stream.
    pub fn finish(self) -> Result<Gathered, Unreadable> {
        match self.stream_count {
            0 => Err(Unreadable::NoStreams),
            _ => Ok(self.gathered),
        }
    }
}

/// A name of ours, or one that a label has already, is kept under another: nothing a sender says is lost.
fn set(document: &mut Document, name: &str, value: &str, kind: &str) {
    match document.get(name) {
        None => document.set_str(name, value),
        Some(_) => document.set_str(&format!("{kind}.{name}"), value),
    }
}

/// By a label or metadata, else by the line.
fn level_of(labels: &Labels, entry: &Entry<'_>) -> Option<&'static str> {
    let label = labels
        .pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let metadata = entry
        .metadata
        .iter()
        .map(|(name, value)| (&**name, &**value));
    let named = label
        .chain(metadata)
        .filter(|(name, _)| level::is_key(name) || *name == "detected_level")
        .find_map(|(_, value)| level::named(value));
    named.or_else(|| level::detect(&entry.line))
}

/// The same for the same stream, time, line and metadata, so that an entry is stored once: 128 bits in hexadecimal.
fn id_of(labels: &Labels, entry: &Entry<'_>) -> Box<str> {
    let mut hasher = Xxh3::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for (name, value) in &labels.pairs {
        add(name);
        add(value);
    }
    add("");
    add(&entry.line);
    for (name, value) in &entry.metadata {
        add(name);
        add(value);
    }
    hasher.update(&entry.timestamp.nanos().to_le_bytes());
    format!("{:032x}", hasher.digest128()).into_boxed_str()
}
