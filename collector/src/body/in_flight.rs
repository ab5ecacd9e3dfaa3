//! The bytes of all requests that are being received or worked on, and their common bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on the bytes that all requests together hold in memory. Cheap to clone; one per process.
#[derive(Debug, Clone)]
pub struct InFlight(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: AtomicU64,
}

/// The bytes one request holds; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    in_flight: InFlight,
    bytes: u64,
}

impl InFlight {
    /// At most `limit` bytes over all requests.
    pub fn new(limit: u64) -> InFlight {
        InFlight(Arc::new(Shared {
            limit,
            used: AtomicU64::new(0),
        }))
    }

    /// A reservation of nothing yet.
    pub fn reserve_nothing(&self) -> Reservation {
        Reservation {
            in_flight: self.clone(),
            bytes: 0,
        }
    }

    /// The bytes held by requests now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The most that requests may hold together.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }
}

impl Reservation {
    /// Takes `more` bytes, at once or not at all: `false` means they would pass the bound.
    ///
    /// It never waits: requests that wait for each other's bytes could wait forever. And it is always granted to a
    /// request that is alone: its own limits bound it, and otherwise it could be told to try again forever.
    #[must_use]
    pub fn grow(&mut self, more: usize) -> bool {
        let shared = &self.in_flight.0;
        let more = more as u64;
        let own = self.bytes;
        let taken = shared
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let sum = used.checked_add(more)?;
                (sum <= shared.limit || used == own).then_some(sum)
            });
        if taken.is_ok() {
            self.bytes += more;
        }
        taken.is_ok()
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives `fewer` bytes back, at most what it holds.
    pub fn shrink(&mut self, fewer: usize) {
        let fewer = (fewer as u64).min(self.bytes);
        self.bytes -= fewer;
        self.in_flight.0.used.fetch_sub(fewer, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight
            .0
            .used
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_one_bound_and_give_back_what_they_took() {
        let in_flight = InFlight::new(100);
        let mut first = in_flight.reserve_nothing();
        let mut second = in_flight.reserve_nothing();
        assert!(first.grow(60));
        assert!(!second.grow(50), "110 bytes do not fit into 100");
        assert!(second.grow(40));
        first.shrink(10);
        assert!(second.grow(10));
        assert_eq!(in_flight.used(), 100);
        drop(first);
        assert_eq!(in_flight.used(), 50);
        assert!(second.grow(1000), "it is alone");
        drop(second);
        assert_eq!(in_flight.used(), 0);
    }
}
