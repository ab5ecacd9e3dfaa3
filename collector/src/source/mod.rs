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
pub mod host;
pub mod http;
pub mod journald;
pub mod kafka;
pub mod loki_push;
pub mod otlp;
mod protobuf;
mod refusal;
pub mod splunk_hec;
pub mod syslog;

use std::sync::Arc;

use ::http::HeaderMap;
use axum::body::Body as AxumBody;
use event::{
    Ack, Append, AppendError, Batch, Document, Event, IndexName, Ledger, SourceLedger, Timestamp,
};

use crate::body::{Body, BodyError, BodyReader, Reservation};
use crate::cpu::CpuPermits;
use crate::pipeline::Pipeline;
use checkpoint::Entries;
use gathered::Gathered;
use refusal::Refusal;

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

impl SourceParts {
    /// The pipeline, unless it has no steps.
    fn steps(&self) -> Option<Arc<Pipeline>> {
        let pipeline = self.pipeline.clone();
        pipeline.filter(|pipeline| !pipeline.is_empty())
    }
}

/// The setting `index` of a source; `logs` without it.
fn index_name(setting: Option<&String>) -> Result<IndexName, String> {
    match setting {
        None => Ok(IndexName::default_index()),
        Some(name) => IndexName::parse(name).map_err(|error| error.to_string()),
    }
}

/// Takes an event that was made already through a pipeline; its id and what is to be done with it stay.
///
/// # Errors
/// A step dropped the event; the reason is for the ledger.
fn taken_through(
    pipeline: &Pipeline,
    event: Event,
    received: Timestamp,
) -> Result<Event, &'static str> {
    let Ok(mut document) = Document::parse(&event.source) else {
        return Ok(event);
    };
    let made = pipeline.event(&mut document, &event.index, received)?;
    Ok(Event {
        id: event.id,
        operation: event.operation,
        ..made
    })
}

/// A push source's way from a request to the journal and to its own page of the books.
#[derive(Clone)]
struct Intake {
    source: Arc<str>,
    ledger: Arc<SourceLedger>,
    append: Arc<dyn Append>,
    bodies: BodyReader,
    cpu: CpuPermits,
    now: fn() -> Timestamp,
}

impl Intake {
    fn new(source: &Arc<str>, context: PushContext) -> Intake {
        Intake {
            source: Arc::clone(source),
            ledger: context.ledger.source(source),
            append: context.append,
            bodies: context.bodies,
            cpu: context.cpu,
            now: context.now,
        }
    }

    /// The body of a request, or the request is counted as refused.
    async fn read_body(&self, headers: &HeaderMap, body: AxumBody) -> Result<Body, BodyError> {
        self.counted(self.bodies.read(headers, body).await)
    }

    /// The same for a body that was read in another way.
    fn counted(&self, read: Result<Body, BodyError>) -> Result<Body, BodyError> {
        if let Err(error) = &read {
            self.count_unread_request(error.reason(), 0);
        }
        read
    }

    /// Counts what a request of `body_bytes` holds and makes its events durable; those that the store refuses are
    /// among the refused ones then. `reservation` is the body's.
    async fn keep(
        &self,
        gathered: &mut Gathered,
        body_bytes: usize,
        mut reservation: Reservation,
    ) -> Result<(), Refusal> {
        if let Err(error) = gathered.check_memory() {
            self.count_unread_request(error.reason(), body_bytes as u64);
            return Err(error.into());
        }
        if !reservation.grow(gathered.memory_bytes()) {
            self.count_unread_request("busy", body_bytes as u64);
            return Err(self.bodies.busy().into());
        }
        gathered.count(&self.ledger, body_bytes);
        let received = gathered.terms().received;
        let events = std::mem::take(&mut gathered.events);
        let ack = self.store(received, events, reservation).await?;
        gathered.note(ack.outcomes);
        Ok(())
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
