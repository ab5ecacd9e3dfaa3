//! The events of one push request on their way into a batch: through the pipeline, within the limit, counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Document, Event, IndexName, Outcome, SourceLedger, Timestamp};

use crate::body::BodyError;
use crate::pipeline::Pipeline;

/// What the events of one request may take in memory: those of a log file as large as a request, of lines of 100 bytes.
/// Of the smallest events there are, a request could hold thirty times as much, and a compressed one is itself small.
pub const MEMORY_BYTES_MAX: usize = match cfg!(test) {
    true => 4 << 20,
    false => 192 << 20,
};

/// The text of an event may be this many times as long as the event: escapes and names take room.
const TEXT_OF_EVENT_MAX: usize = 8;

/// What all events of a request have in common.
#[derive(Clone)]
pub struct Terms {
    /// Where they go, unless a pipeline sends them elsewhere.
    pub index: IndexName,
    /// When the request arrived, UTC.
    pub received: Timestamp,
    /// The most bytes of one event: `limits.event`.
    pub event_bytes_max: usize,
    /// What they go through; one without steps for those that stay as they are.
    pub pipeline: Arc<Pipeline>,
}

/// The events so far, and what became of the others.
pub struct Gathered {
    terms: Terms,
    /// What is stored, in the sender's order.
    pub events: Vec<Event>,
    /// Everything that came, refused and dropped ones among it.
    pub received: u64,
    /// Refused events, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Events that steps dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The first refusal in words, for the sender.
    pub first_problem: Option<String>,
    /// What `events` take in memory.
    memory_bytes: usize,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(terms: Terms) -> Gathered {
        Gathered {
            terms,
            events: Vec::new(),
            received: 0,
            refused: BTreeMap::new(),
            dropped: BTreeMap::new(),
            first_problem: None,
            memory_bytes: 0,
        }
    }

    /// What all events have in common.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Adds one event. Its time is `@timestamp`, else the arrival. Answers whether it is stored.
    pub fn push(&mut self, document: &mut Document) -> bool {
        let index = self.terms.index.clone();
        self.push_to(document, &index, None)
    }

    /// Adds one event for an index of its own; one with an `id` is stored once, however often it is sent.
    pub fn push_to(
        &mut self,
        document: &mut Document,
        index: &IndexName,
        id: Option<Box<str>>,
    ) -> bool {
        let made = self
            .terms
            .pipeline
            .event(document, index, self.terms.received);
        let mut event = match made {
            Ok(event) => event,
            Err(reason) => {
                self.received += 1;
                *self.dropped.entry(reason).or_default() += 1;
                return false;
            }
        };
        if event.source.len() > self.terms.event_bytes_max {
            let problem = format!(
                "the event has {} bytes, more than {} (limits.event)",
                event.source.len(),
                self.terms.event_bytes_max
            );
            self.refuse("too_large", problem);
            return false;
        }
        self.received += 1;
        event.id = id;
        self.memory_bytes += event.byte_size() + size_of::<Event>();
        self.events.push(event);
        true
    }

    /// Whether the text of an event is so long that the event cannot be within the limit; then it is refused, and need not be read.
    pub fn refuse_by_length(&mut self, text_bytes: usize) -> bool {
        let bytes_max = self.terms.event_bytes_max.saturating_mul(TEXT_OF_EVENT_MAX);
        let is_hopeless = text_bytes > bytes_max;
        if is_hopeless {
            let problem = format!(
                "the event has {text_bytes} bytes, far more than {} (limits.event)",
                self.terms.event_bytes_max
            );
            self.refuse("too_large", problem);
        }
        is_hopeless
    }

    /// Whether there are too many events for one request. Reading on is of no use.
    pub fn is_over(&self) -> bool {
        self.memory_bytes > MEMORY_BYTES_MAX
    }

    /// Refuses a request with too many events.
    ///
    /// # Errors
    /// [`BodyError::TooManyEvents`].
    pub fn check_memory(&self) -> Result<(), BodyError> {
        match self.is_over() {
            false => Ok(()),
            true => Err(BodyError::TooManyEvents {
                memory_bytes_max: MEMORY_BYTES_MAX,
            }),
        }
    }

    /// Notes an event that cannot be taken.
    pub fn refuse(&mut self, reason: &'static str, problem: String) {
        self.received += 1;
        *self.refused.entry(reason).or_default() += 1;
        self.first_problem.get_or_insert(problem);
    }

    /// Notes what the store refused of the events. The store enters that into the books itself.
    pub fn note(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            if let Outcome::Rejected { reason, message } = outcome {
                *self.refused.entry(reason).or_default() += 1;
                self.first_problem.get_or_insert(message);
            }
        }
    }

    /// Takes over what another one has of the same request.
    pub fn absorb(&mut self, other: Gathered) {
        self.memory_bytes += other.memory_bytes;
        self.events.extend(other.events);
        self.received += other.received;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        for (reason, count) in other.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
        self.first_problem = self.first_problem.take().or(other.first_problem);
    }

    /// How many were refused.
    pub fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }

    /// How many were dropped.
    pub fn dropped_count(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// About how many bytes the events hold.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Enters the request into the books.
    pub fn count(&self, ledger: &SourceLedger, bytes: usize) {
        ledger.received(self.received, bytes as u64);
        for (reason, count) in &self.refused {
            ledger.rejected(reason, *count);
        }
        for (reason, count) in &self.dropped {
            ledger.dropped(reason, *count);
        }
    }
}

/// The pipeline of a source that leaves its events as they are.
pub fn no_steps(name: &str) -> Arc<Pipeline> {
    let settings = crate::pipeline::Settings::default();
    let pipeline = Pipeline::compile(name, &settings);
    Arc::new(pipeline.expect("nothing can be wrong where there are no steps"))
}

#[cfg(test)]
mod tests {
    use event::Ledger;

    use super::*;

    #[test]
    fn the_events_of_one_request_take_so_much_memory_and_no_more() {
        let mut gathered = Gathered::new(Terms {
            index: IndexName::default_index(),
            received: Timestamp::from_nanos(1_795_428_000_000_000_000),
            event_bytes_max: 1 << 20,
            pipeline: no_steps("p"),
        });
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
        for _ in 0..4 {
            assert!(gathered.check_memory().is_ok());
            gathered.push(&mut Document::parse(text.as_bytes()).unwrap());
        }
        assert!(gathered.check_memory().is_ok());
        gathered.push(&mut Document::parse(text.as_bytes()).unwrap());
        let refused = gathered.check_memory().unwrap_err();
        assert_eq!(refused.status(), http::StatusCode::PAYLOAD_TOO_LARGE);
        assert!(!gathered.refuse_by_length(8 << 20));
        assert!(gathered.refuse_by_length((8 << 20) + 1));
    }

    #[test]
    fn everything_that_came_is_stored_refused_or_dropped() {
        let settings = r#"{"steps":[{"drop":{},"when":{"field":"a","equals":1}}]}"#;
        let pipeline = Pipeline::compile("p", &serde_json::from_str(settings).unwrap()).unwrap();
        let mut gathered = Gathered::new(Terms {
            index: IndexName::default_index(),
            received: Timestamp::from_nanos(1_795_428_000_000_000_000),
            event_bytes_max: 100,
            pipeline: Arc::new(pipeline),
        });
        for document in [
            r#"{"a":1}"#.to_owned(),
            r#"{"a":2}"#.to_owned(),
            format!("{{\"a\":\"{}\"}}", "x".repeat(100)),
        ] {
            gathered.push(&mut Document::parse(document.as_bytes()).unwrap());
        }
        gathered.refuse("malformed", "no".to_owned());
        let ledger = Ledger::new();
        gathered.count(&ledger.source("s"), 7);
        ledger.source("s").accepted(1);
        let totals = ledger.totals().remove(0);
        assert_eq!(
            (totals.received, totals.in_flight, gathered.events.len()),
            (4, 1, 1)
        );
        assert_eq!(
            totals.rejected.keys().collect::<Vec<_>>(),
            ["malformed", "too_large"]
        );
        assert_eq!(totals.dropped["dropped_by_pipeline"], 1);
        assert!(gathered.first_problem.unwrap().contains("limits.event"));
    }
}
