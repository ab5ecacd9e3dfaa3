//! Where events enter, one file or folder per protocol.

pub mod checkpoint;
pub mod elastic_bulk;
pub mod file;
pub mod otlp;

use std::sync::Arc;

use event::{Ack, Append, AppendError, Batch, Event, Ledger, SourceLedger, Timestamp};

use crate::body::{BodyReader, Reservation};
use crate::cpu::CpuPermits;

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

#[cfg(test)]
mod fake {
    //! A journal that remembers what it was given and decides ids as the real one does.

    use std::collections::HashSet;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};

    use event::{Ack, Append, AppendError, Batch, Ledger, Operation, Outcome, Position, Timestamp};

    use super::PushContext;
    use crate::body::{BodyReader, Settings};
    use crate::cpu::CpuPermits;

    #[derive(Default)]
    pub struct FakeJournal {
        pub batches: Mutex<Vec<Batch>>,
        pub refuse_with: Mutex<Option<AppendError>>,
        /// Events before this time are rejected as too old.
        pub oldest: Mutex<Option<Timestamp>>,
        ids: Mutex<HashSet<String>>,
        next: Mutex<u64>,
    }

    impl FakeJournal {
        pub fn context_with(self: &Arc<FakeJournal>, bodies: Settings) -> PushContext {
            let cpu = CpuPermits::new(2);
            PushContext {
                append: Arc::clone(self) as Arc<dyn Append>,
                ledger: Arc::new(Ledger::new()),
                bodies: BodyReader::new(bodies, cpu.clone()),
                cpu,
                now: fixed_now,
            }
        }

        pub fn events(&self) -> Vec<event::Event> {
            let batches = self.batches.lock().unwrap();
            batches.iter().flat_map(|b| b.events.clone()).collect()
        }

        fn decide(&self, batch: &Batch) -> Vec<Outcome> {
            let mut ids = self.ids.lock().unwrap();
            let mut next = self.next.lock().unwrap();
            let oldest = *self.oldest.lock().unwrap();
            let mut outcomes = Vec::new();
            for event in &batch.events {
                if oldest.is_some_and(|oldest| event.timestamp < oldest) {
                    outcomes.push(Outcome::Rejected {
                        reason: "too_old",
                        message: "the event is older than its index keeps".to_owned(),
                    });
                    continue;
                }
                let position = Position(*next);
                let id: Box<str> = match &event.id {
                    Some(id) => id.clone(),
                    None => format!("made-{next}").into(),
                };
                let is_new = !ids.contains(&*id);
                outcomes.push(match event.operation {
                    Operation::Create if !is_new => Outcome::Conflict,
                    Operation::Delete if is_new => Outcome::NotFound,
                    Operation::Delete => {
                        ids.remove(&*id);
                        Outcome::Deleted { position, id }
                    }
                    Operation::Index if !is_new => Outcome::Updated { position, id },
                    _ => {
                        ids.insert(id.to_string());
                        Outcome::Created { position, id }
                    }
                });
                *next += 1;
            }
            outcomes
        }
    }

    impl Append for FakeJournal {
        fn append(
            &self,
            batch: Batch,
        ) -> Pin<Box<dyn Future<Output = Result<Ack, AppendError>> + Send + '_>> {
            Box::pin(async move {
                if let Some(error) = self.refuse_with.lock().unwrap().clone() {
                    return Err(error);
                }
                let outcomes = self.decide(&batch);
                self.batches.lock().unwrap().push(batch);
                Ok(Ack { outcomes })
            })
        }
    }

    /// 2026-11-23T10:00:00Z.
    pub fn fixed_now() -> Timestamp {
        Timestamp::from_nanos(1_795_428_000_000_000_000)
    }
}
