//! The books: per source, what came in and what became of it.
//!
//! received = stored + rejected + dropped + in flight, at every moment. A source counts what it receives and what
//! it refuses or drops itself; the intake counts what the store refuses; the indexer counts what is stored.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// All sources' books. Cheap to share; one per process.
#[derive(Debug, Default)]
pub struct Ledger {
    sources: Mutex<BTreeMap<Arc<str>, Arc<SourceLedger>>>,
}

/// The books of one source.
#[derive(Debug, Default)]
pub struct SourceLedger {
    received: AtomicU64,
    received_bytes: AtomicU64,
    accepted: AtomicU64,
    stored: AtomicU64,
    // Short locks, once per refused event or batch, never across an await.
    rejected: Mutex<BTreeMap<String, u64>>,
    dropped: Mutex<BTreeMap<String, u64>>,
}

/// What is kept of one source's books over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Events made durable in the journal.
    pub accepted: u64,
    /// Events that reached a shard.
    pub stored: u64,
    /// Bytes taken from senders.
    pub received_bytes: u64,
    /// Events refused, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Events dropped by our own doing, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// One source's books as they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceTotals {
    /// The source's name as in the settings.
    pub source: String,
    /// Events taken from senders.
    pub received: u64,
    /// Bytes taken from senders, decompressed.
    pub received_bytes: u64,
    /// Events made durable in the journal.
    pub accepted: u64,
    /// Events that reached a shard: they can be found.
    pub stored: u64,
    /// Events refused, by reason; their senders were told.
    pub rejected: BTreeMap<String, u64>,
    /// Events dropped by our own doing, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Events received but neither stored nor rejected nor dropped yet.
    pub in_flight: u64,
}

impl Ledger {
    /// Empty books.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// The books of the source with this name, opened when they are new.
    pub fn source(&self, name: &str) -> Arc<SourceLedger> {
        let mut sources = self.sources.lock().expect("no holder of this lock panics");
        match sources.get(name) {
            Some(source) => Arc::clone(source),
            None => {
                let source = Arc::new(SourceLedger::default());
                sources.insert(Arc::from(name), Arc::clone(&source));
                source
            }
        }
    }

    /// All books, by name.
    pub fn totals(&self) -> Vec<SourceTotals> {
        let sources = self
            .sources
            .lock()
            .expect("no holder of this lock panics")
            .clone();
        sources
            .iter()
            .map(|(name, source)| source.totals(name))
            .collect()
    }
}

impl SourceLedger {
    /// Counts events taken from a sender, before anything else is done with them.
    pub fn received(&self, events: u64, bytes: u64) {
        self.received.fetch_add(events, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts events the journal has made durable.
    pub fn accepted(&self, events: u64) {
        self.accepted.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that reached a shard.
    pub fn stored(&self, events: u64) {
        self.stored.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts refused events; `reason` is short and stable, for instance `malformed`.
    pub fn rejected(&self, reason: &str, events: u64) {
        add(&self.rejected, reason, events);
    }

    /// Counts events dropped by our own doing; `reason` is short and stable, for instance `sampled`.
    pub fn dropped(&self, reason: &str, events: u64) {
        add(&self.dropped, reason, events);
    }

    /// Puts counts of an earlier process under the present ones. What was in flight then was never answered,
    /// so it is not counted as received: its sender sends it again.
    pub fn restore(&self, counts: &SourceCounts) {
        let refused: u64 = counts
            .rejected
            .values()
            .chain(counts.dropped.values())
            .sum();
        self.received
            .fetch_add(counts.accepted + refused, Ordering::Relaxed);
        self.received_bytes
            .fetch_add(counts.received_bytes, Ordering::Relaxed);
        self.accepted.fetch_add(counts.accepted, Ordering::Relaxed);
        self.stored.fetch_add(counts.stored, Ordering::Relaxed);
        for (reason, events) in &counts.rejected {
            self.rejected(reason, *events);
        }
        for (reason, events) in &counts.dropped {
            self.dropped(reason, *events);
        }
    }

    fn totals(&self, name: &str) -> SourceTotals {
        // What leaves is read before what enters, so that a moment's view never shows more out than in.
        let stored = self.stored.load(Ordering::Relaxed);
        let rejected = self
            .rejected
            .lock()
            .expect("no holder of this lock panics")
            .clone();
        let dropped = self
            .dropped
            .lock()
            .expect("no holder of this lock panics")
            .clone();
        let accepted = self.accepted.load(Ordering::Relaxed);
        let received = self.received.load(Ordering::Relaxed);
        let gone = stored + rejected.values().sum::<u64>() + dropped.values().sum::<u64>();
        SourceTotals {
            source: name.to_owned(),
            received,
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            accepted,
            stored,
            in_flight: received.saturating_sub(gone),
            rejected,
            dropped,
        }
    }
}

fn add(counts: &Mutex<BTreeMap<String, u64>>, reason: &str, events: u64) {
    if events == 0 {
        return;
    }
    let mut counts = counts.lock().expect("no holder of this lock panics");
    match counts.get_mut(reason) {
        Some(count) => *count += events,
        None => {
            counts.insert(reason.to_owned(), events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_balance_and_survive_a_restart() {
        let ledger = Ledger::new();
        let nginx = ledger.source("nginx");
        nginx.received(10, 1000);
        nginx.accepted(7);
        nginx.stored(5);
        nginx.rejected("malformed", 1);
        nginx.dropped("sampled", 1);
        let totals = ledger.totals().remove(0);
        assert_eq!(
            (totals.received, totals.stored, totals.in_flight),
            (10, 5, 3)
        );

        let restarted = Ledger::new();
        restarted.source("nginx").restore(&SourceCounts {
            accepted: totals.accepted,
            stored: totals.stored,
            received_bytes: totals.received_bytes,
            rejected: totals.rejected,
            dropped: totals.dropped,
        });
        let totals = restarted.totals().remove(0);
        assert_eq!(
            (totals.received, totals.stored, totals.in_flight),
            (9, 5, 2)
        );
    }
}
