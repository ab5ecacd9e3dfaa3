//! Appends that wait for the writer: a bounded queue with async callers on one side and the journal's thread on the
//! other.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use event::Position;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::record::{RECORD_HEADER_BYTES, RecordHeader};
use crate::{Error, Kind, Payload};

/// One place in the queue. Every append takes at least one, so their number is bounded together with their bytes.
const PLACE_BYTES: usize = 4 << 10;
/// 64 MiB and 16,384 appends may wait or be written at a time: enough for the largest request, and for some
/// 100 ms of the fastest input while an fsync is slow. A larger append waits until it is alone.
const PLACES: usize = 16 << 10;
/// What one fsync covers at most, if no single append is larger: above some megabytes the share of the fsync in the
/// time is small, and the first ones in the group should not wait for the last.
const GROUP_BYTES_MAX: u64 = 16 << 20;

/// The queue.
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    state: Mutex<State>,
    arrived: Condvar,
}

struct State {
    waiting: VecDeque<Append>,
    is_closed: bool,
}

/// One append that waits for its answer.
pub(crate) struct Append {
    pub kind: Kind,
    pub count: NonZeroU32,
    pub payload: Payload,
    answer: oneshot::Sender<Result<Position, Error>>,
    /// Given back with the answer.
    _places: Option<OwnedSemaphorePermit>,
}

impl Append {
    /// An append and where its answer will come.
    pub fn new(
        kind: Kind,
        count: NonZeroU32,
        payload: Payload,
    ) -> (Append, oneshot::Receiver<Result<Position, Error>>) {
        let (answer, answered) = oneshot::channel();
        let append = Append {
            kind,
            count,
            payload,
            answer,
            _places: None,
        };
        (append, answered)
    }

    /// What it will occupy in a segment.
    pub fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + self.payload.byte_len()) as u64
    }

    /// Its record's header, still without position.
    pub fn header(&self) -> RecordHeader {
        let mut hasher = crc32fast::Hasher::new();
        for part in self.payload.parts() {
            hasher.update(part);
        }
        let payload_bytes =
            u32::try_from(self.payload.byte_len()).expect("large payloads are refused before");
        RecordHeader::of_payload(
            self.kind,
            self.count.get(),
            payload_bytes,
            hasher.finalize(),
        )
    }

    /// Answers it. Nobody may be waiting any more.
    pub fn answer(self, result: Result<Position, Error>) {
        let _ = self.answer.send(result);
    }
}

impl Queue {
    pub fn new() -> Queue {
        Queue {
            places: Arc::new(Semaphore::new(PLACES)),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                is_closed: false,
            }),
            arrived: Condvar::new(),
        }
    }

    /// Waits for a place, first come first served, and puts the append there.
    ///
    /// # Errors
    /// The queue is closed.
    pub async fn push(&self, mut append: Append) -> Result<(), Error> {
        let places = append
            .payload
            .byte_len()
            .div_ceil(PLACE_BYTES)
            .clamp(1, PLACES);
        let places = self.places.clone().acquire_many_owned(places as u32).await;
        append._places = Some(places.map_err(|_| Error::Closed)?);
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        state.waiting.push_back(append);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for appends and takes those that one fsync shall cover; `None` when the queue is closed and empty.
    pub fn take_group(&self) -> Option<Vec<Append>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.is_closed {
                return None;
            }
            state = self
                .arrived
                .wait(state)
                .expect("no holder of this lock panics");
        }
        let mut bytes = 0;
        let mut count = 0;
        for append in &state.waiting {
            bytes += append.record_bytes();
            if count > 0 && bytes > GROUP_BYTES_MAX {
                break;
            }
            count += 1;
        }
        Some(state.waiting.drain(..count).collect())
    }

    /// Takes no more; what waits is still written.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.places.close();
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}
