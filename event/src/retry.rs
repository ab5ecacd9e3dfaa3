//! How long a sender should wait before it tries again.

use std::time::Duration;

/// A wait that is told to senders as HTTP `Retry-After` or gRPC `RetryInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// One second: what a sender should wait when the queue before it is full.
    pub const ONE_SECOND: RetryAfter = RetryAfter(Duration::from_secs(1));

    /// The wait in whole seconds, at least one, as HTTP's `Retry-After` writes it.
    pub fn whole_seconds(self) -> u64 {
        self.0.as_secs().max(1)
    }
}
