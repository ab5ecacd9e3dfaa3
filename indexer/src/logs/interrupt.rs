//! Who watches over work on a shard: told what it costs, asked whether it may go on.

/// Tells work on a shard to stop: asked before each frame that is read, and every some thousand documents.
pub trait Interrupt: Send + Sync {
    /// Whether to stop now. Once it says so, it goes on saying so.
    fn is_interrupted(&self) -> bool;

    /// Told how many bytes of documents were decompressed for this work. What lies decompressed in a cache costs nothing.
    fn decoded(&self, _bytes: u64) {}

    /// Told when a document could not be read while candidates were checked: the answer is incomplete.
    fn failed(&self, message: &str);
}

/// Work goes on to its end.
pub struct Never;

impl Interrupt for Never {
    fn is_interrupted(&self) -> bool {
        false
    }

    fn failed(&self, message: &str) {
        tracing::error!(message, "a document cannot be read");
    }
}
