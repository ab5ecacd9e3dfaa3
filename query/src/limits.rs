//! Budgets: how long and how much one query may take, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one query may use. Checked per block of documents; shared by all threads that work on the query.
#[derive(Debug, Clone)]
pub struct Budget {
    deadline: Instant,
    memory_bytes_max: u64,
    memory_bytes: Arc<AtomicU64>,
    decoded_bytes_max: u64,
    decoded_bytes: Arc<AtomicU64>,
    cancelled: Arc<AtomicBool>,
    /// Some check failed: what is found from then on may be wrong.
    stopped: Arc<AtomicBool>,
}

/// Why a query stopped before its end. What it found until then is a partial answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Its time was up.
    #[error("the query ran out of time")]
    OutOfTime,
    /// It decompressed all the bytes it may.
    #[error("the query decompressed as much as it may")]
    ReadEnough,
    /// It would need more memory than it may have.
    #[error("the query needs more memory than it may have")]
    OutOfMemory,
    /// The client left.
    #[error("the query was cancelled")]
    Cancelled,
}

impl Budget {
    /// A budget that starts now.
    pub fn new(time: Duration, memory_bytes_max: u64) -> Budget {
        Budget {
            deadline: Instant::now() + time,
            memory_bytes_max,
            memory_bytes: Arc::default(),
            decoded_bytes_max: u64::MAX,
            decoded_bytes: Arc::default(),
            cancelled: Arc::default(),
            stopped: Arc::default(),
        }
    }

    /// The same budget, for a query that may decompress no more than so many bytes and what one frame has beyond.
    pub fn decoding_at_most(self, bytes: u64) -> Budget {
        Budget {
            decoded_bytes_max: bytes,
            ..self
        }
    }

    /// The same bounds and deadline for another piece of the same work, that counts and ends for itself.
    pub fn again(&self) -> Budget {
        Budget {
            memory_bytes: Arc::default(),
            decoded_bytes: Arc::default(),
            cancelled: Arc::default(),
            stopped: Arc::default(),
            ..*self
        }
    }

    /// Answers whether the query may go on. Cheap; call it once per frame or block. Once it fails, it fails for ever.
    ///
    /// # Errors
    /// The time is up, enough was decompressed, or the client left.
    pub fn check(&self) -> Result<(), Stop> {
        let stop = if self.cancelled.load(Ordering::Relaxed) {
            Stop::Cancelled
        } else if self.decoded_bytes() > self.decoded_bytes_max {
            Stop::ReadEnough
        } else if Instant::now() >= self.deadline {
            Stop::OutOfTime
        } else {
            return Ok(());
        };
        self.stopped.store(true, Ordering::Relaxed);
        Err(stop)
    }

    /// Fails when some [`Budget::check`] failed, on whatever thread: cheap enough to be called for every few documents.
    /// A scorer that was stopped looks like one that is at its end, so this is asked before its documents are taken.
    ///
    /// # Errors
    /// As [`Budget::check`].
    pub fn check_stopped(&self) -> Result<(), Stop> {
        match self.stopped.load(Ordering::Relaxed) {
            true => self.check(),
            false => Ok(()),
        }
    }

    /// Counts bytes that were decompressed for the query.
    pub fn count_decoded(&self, bytes: u64) {
        self.decoded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes were decompressed for the query until now.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes.load(Ordering::Relaxed)
    }

    /// Takes `bytes` of the memory budget, for as long as the query lives.
    ///
    /// # Errors
    /// There is not that much left.
    pub fn take_memory(&self, bytes: u64) -> Result<(), Stop> {
        let used = self.memory_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.memory_bytes_max {
            Err(Stop::OutOfMemory)
        } else {
            Ok(())
        }
    }

    /// Tells the query to stop at its next check.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
