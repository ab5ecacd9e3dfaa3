//! The last step of every source that is not waited for by a sender: hands a batch to the journal until it is taken.

use std::sync::Arc;
use std::time::Duration;

use event::{Append, AppendError, Batch, SourceLedger};
use tokio_util::sync::CancellationToken;

use super::SourceParts;

/// A batch with its books.
#[derive(Debug)]
pub struct CountedBatch {
    /// What is appended.
    pub batch: Batch,
    /// Events read, the dropped ones among them.
    pub received: u64,
    /// Bytes they took where they were read.
    pub received_bytes: u64,
    /// Why steps dropped events, one entry each.
    pub dropped: Vec<&'static str>,
}

/// One source's way to the journal. Batches go one at a time, in order.
#[derive(Clone)]
pub struct Delivery {
    append: Arc<dyn Append>,
    ledger: Arc<SourceLedger>,
    shutdown: CancellationToken,
}

impl Delivery {
    /// The way of the source joined to `parts`; it ends at `shutdown`.
    pub fn new(parts: &SourceParts, shutdown: CancellationToken) -> Delivery {
        Delivery {
            append: Arc::clone(&parts.append),
            ledger: Arc::clone(&parts.ledger),
            shutdown,
        }
    }

    /// Counts the batch, then appends it until it is durable; a journal that refuses pauses the source.
    /// `false` when the source is to stop first: then nothing of it was stored.
    ///
    /// A batch without events is only counted; its checkpoint goes nowhere, because the journal stores events.
    pub async fn send(&self, counted: CountedBatch) -> bool {
        let batch = counted.batch;
        self.ledger
            .received(counted.received, counted.received_bytes);
        for reason in counted.dropped {
            self.ledger.dropped(reason, 1);
        }
        if batch.events.is_empty() {
            return true;
        }
        let mut has_waited = false;
        loop {
            // Its events share their bytes: sending it again costs no copy of them.
            match self.append.append(batch.clone()).await {
                Ok(_) => {
                    if has_waited {
                        tracing::info!(source = %batch.source, "reading goes on");
                    }
                    return true;
                }
                Err(AppendError::Stopping) => return false,
                Err(error) => {
                    if !std::mem::replace(&mut has_waited, true) {
                        tracing::warn!(source = %batch.source, %error, "reading is paused");
                    }
                    if self.is_stopped_within(error.retry_after().0).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits, and answers early with `true` when the source is to stop.
    pub async fn is_stopped_within(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => true,
            () = tokio::time::sleep(wait) => false,
        }
    }
}
