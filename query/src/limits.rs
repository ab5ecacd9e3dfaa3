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
    cancelled: Arc<AtomicBool>,
}

/// Why a query stopped before its end. What it found until then is a partial answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Its time was up.
    #[error("the query ran out of time")]
    OutOfTime,
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
            cancelled: Arc::default(),
        }
    }

    /// Answers whether the query may go on. Cheap; call it once per block.
    ///
    /// # Errors
    /// The time is up, or the client left.
    pub fn check(&self) -> Result<(), Stop> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::OutOfTime);
        }
        Ok(())
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
