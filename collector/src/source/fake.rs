//! A journal that remembers what it was given and decides ids as the real one does.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use event::{Ack, Append, AppendError, Batch, Ledger, Operation, Outcome, Position, Timestamp};

use super::{PushContext, SourceParts};
use crate::body::{BodyReader, Settings};
use crate::cpu::CpuPermits;
use crate::listener::{Listening, SharedMemory, Sockets};

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

    /// What a source of this name is joined to.
    pub fn parts(self: &Arc<FakeJournal>, name: &str, ledger: &Ledger) -> SourceParts {
        SourceParts {
            name: Arc::from(name),
            pipeline: None,
            append: Arc::clone(self) as Arc<dyn Append>,
            ledger: ledger.source(name),
            host_name: Some("here".to_owned()),
            recovered: Default::default(),
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

/// What a source that listens needs beside.
pub fn listening(sockets: Sockets) -> Listening {
    Listening {
        sockets,
        cpu: CpuPermits::new(2),
        memory: SharedMemory::new(64 << 20),
        connections_max: 1000,
        message_bytes_max: 10_000,
    }
}

/// 2026-11-23T10:00:00Z.
pub fn fixed_now() -> Timestamp {
    Timestamp::from_nanos(1_795_428_000_000_000_000)
}
