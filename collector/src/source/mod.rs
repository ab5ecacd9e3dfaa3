//! Where events enter, one file or folder per protocol.

pub mod beats;
pub mod checkpoint;
pub mod delivery;
pub mod docker;
pub mod elastic_bulk;
#[cfg(test)]
pub(crate) mod fake;
pub mod file;
pub mod fluent_forward;
pub mod gathered;
pub mod gelf;
pub mod http;
pub mod journald;
pub mod kafka;
pub mod loki_push;
pub mod otlp;
mod protobuf;
pub mod splunk_hec;
pub mod syslog;

use std::sync::Arc;

use event::{Ack, Append, AppendError, Batch, Event, Ledger, SourceLedger, Timestamp};

use crate::body::{BodyReader, Reservation};
use crate::cpu::CpuPermits;
use crate::pipeline::Pipeline;
use checkpoint::Entries;

/// What the sources that senders push to need from the rest of the appliance.
#[derive(Clone)]
pub struct PushContext {
    /// Makes batches durable.
    pub append: Arc<dyn Append>,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// Reads request bodies; shared by all sources, because it bounds them together.
    pub bodies: BodyReader,
    /// Permits for work on large bodies; shared by all sources.
    pub cpu: CpuPermits,
    /// The clock, UTC: what an event's arrival is read from.
    pub now: fn() -> Timestamp,
}

/// What a source that is started, rather than routed to, is joined to: those that read, pull, or listen themselves.
pub struct SourceParts {
    /// Its name in the settings.
    pub name: Arc<str>,
    /// The pipeline its settings name.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Where its events become durable.
    pub append: Arc<dyn Append>,
    /// Its books.
    pub ledger: Arc<SourceLedger>,
    /// For `host.name`.
    pub host_name: Option<String>,
    /// Where it stopped, from [`checkpoint::CheckpointStore::entries`] after everything the journal holds was noted.
    pub recovered: Entries,
    /// The clock, UTC: what an event's arrival is read from.
    pub now: fn() -> Timestamp,
}

/// A push source's way to the journal and to its own page of the books.
#[derive(Clone)]
struct Intake {
    source: Arc<str>,
    ledger: Arc<SourceLedger>,
    append: Arc<dyn Append>,
}

impl Intake {
    fn new(source: &Arc<str>, context: &PushContext) -> Intake {
        Intake {
            source: Arc::clone(source),
            ledger: context.ledger.source(source),
            append: Arc::clone(&context.append),
        }
    }

    /// Makes the events durable; counts them as rejected when that fails, because the sender is told no.
    ///
    /// It goes on to its end when the sender hangs up meanwhile: the journal may have taken the events by then,
    /// and the books must say what became of them. `reservation` is held as long.
    async fn store(
        &self,
        received: Timestamp,
        events: Vec<Event>,
        reservation: Reservation,
    ) -> Result<Ack, AppendError> {
        if events.is_empty() {
            return Ok(Ack {
                outcomes: Vec::new(),
            });
        }
        let batch = Batch::new(Arc::clone(&self.source), received, events);
        let (append, ledger) = (Arc::clone(&self.append), Arc::clone(&self.ledger));
        let task = tokio::spawn(async move {
            let event_count = batch.events.len() as u64;
            let outcome = append.append(batch).await;
            if let Err(error) = &outcome {
                ledger.rejected(reason_of(error), event_count);
            }
            drop(reservation);
            outcome
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(AppendError::Stopping),
        }
    }

    /// Counts a request whose events could not even be counted as one refused event.
    fn count_unread_request(&self, reason: &str, bytes: u64) {
        self.ledger.received(1, bytes);
        self.ledger.rejected(reason, 1);
    }
}

fn reason_of(error: &AppendError) -> &'static str {
    match error {
        AppendError::Full { .. } => "journal_full",
        AppendError::DiskFull { .. } => "disk_full",
        AppendError::Unavailable { .. } => "journal_unavailable",
        AppendError::Stopping => "stopping",
    }
}
