//! From the bytes of a request to events, and to items that remember what the reply has to say of each.
//!
//! Documents are slices of the body, not copies. A bad item becomes a refusal of its own and leaves its neighbours
//! alone; only what makes the lines themselves unreadable refuses the whole request.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use event::{Day, Event, IndexName, IndexNameError, Operation, Timestamp, WriteTarget};

use super::super::taken_through;
use super::action::{Action, Verb};
use super::document;
use crate::pipeline::Pipeline;

/// The most items of one request. Each costs some hundred bytes beside its own, so that without a bound a request
/// of tiny documents would take many times its size. Shippers send thousands at most.
pub const ITEMS_MAX: usize = 262_144;

/// About what an item takes in memory beside its document: event, outcome and reply.
const ITEM_BYTES: usize = 400;

/// How much of an index name a refusal repeats: no name that could be right is longer.
const NAME_CHARS_SHOWN: usize = 255;

/// Elasticsearch's bound on `_id`.
const ID_BYTES_MAX: usize = 512;

/// How many missing indices an error names.
const NAMED_PROBLEMS_MAX: usize = 20;

/// The items of a request, in its order, and the events of those that are not refused yet.
#[derive(Debug)]
pub struct BulkRequest {
    /// For [`event::Append`].
    pub events: Vec<Event>,
    /// One per action.
    pub items: Vec<Item>,
}

impl BulkRequest {
    /// About what it and its reply take in memory beside the body.
    pub fn memory_bytes(&self) -> usize {
        let refused = self.items.iter().map(|item| match &item.state {
            ItemState::Sent { .. } | ItemState::Dropped { .. } => 0,
            // Held once and written into the reply once.
            ItemState::Refused(refusal) => 2 * (refusal.index.len() + refusal.reason.len()),
        });
        self.items.len() * ITEM_BYTES + refused.sum::<usize>()
    }

    /// Takes documents through pipelines: `pick` answers the one for the name in an action. Answers what the documents that
    /// were made anew take in memory.
    pub fn take_through(
        &mut self,
        pick: impl Fn(Option<&str>) -> Option<Arc<Pipeline>>,
        received: Timestamp,
        event_bytes_max: usize,
    ) -> usize {
        let mut made_bytes = 0;
        // Actions mostly name one, or none, for all.
        let (mut last_name, mut last) = (None, pick(None));
        let mut events = std::mem::take(&mut self.events).into_iter();
        for item in &mut self.items {
            let ItemState::Sent { index, day } = &mut item.state else {
                continue;
            };
            let Some(event) = events.next() else {
                break;
            };
            if last_name != item.pipeline {
                last_name.clone_from(&item.pipeline);
                last = pick(last_name.as_deref());
            }
            let Some(pipeline) = last
                .as_ref()
                .filter(|_| event.operation != Operation::Delete)
            else {
                self.events.push(event);
                continue;
            };
            let index_before = index.clone();
            match taken_through(pipeline, event, received) {
                Err(reason) => {
                    item.state = ItemState::Dropped {
                        index: index_before,
                        reason,
                    };
                }
                Ok(event) if event.source.len() > event_bytes_max => {
                    item.state = ItemState::Refused(too_large(
                        index_before.as_str(),
                        event.source.len(),
                        event_bytes_max,
                    ));
                }
                Ok(event) => {
                    *index = event.index.clone();
                    *day = Some(Day::of(event.timestamp));
                    made_bytes += event.source.len();
                    self.events.push(event);
                }
            }
        }
        made_bytes
    }
}

/// One action of a request.
#[derive(Debug)]
pub struct Item {
    /// What was asked for; the reply echoes it.
    pub verb: Verb,
    /// The sender's id, for outcomes that do not carry one.
    pub id: Option<Box<str>>,
    /// The pipeline the sender asks for.
    pub pipeline: Option<Box<str>>,
    /// What is known before the journal answers.
    pub state: ItemState,
}

/// What is known of an item before the journal answers.
#[derive(Debug)]
pub enum ItemState {
    /// It is the next event.
    Sent {
        /// The index without a day.
        index: IndexName,
        /// The day the event belongs to, as far as we know it.
        day: Option<Day>,
    },
    /// A step of its pipeline dropped it.
    Dropped {
        /// The index it was to go to.
        index: IndexName,
        /// For the ledger.
        reason: &'static str,
    },
    /// It is refused.
    Refused(Box<Refusal>),
}

/// Why an item is refused.
#[derive(Debug)]
pub struct Refusal {
    /// The name the sender wrote to.
    pub index: String,
    /// The item's status.
    pub status: u16,
    /// What Elasticsearch calls such an error.
    pub error_type: &'static str,
    /// For the sender.
    pub reason: String,
    /// What the ledger counts it under.
    pub counted_as: &'static str,
}

/// Why a whole request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nothing was sent.
    #[error("request body is required")]
    Empty,
    /// Only blank lines were sent.
    #[error("Validation Failed: 1: no requests added;")]
    NoActions,
    /// A line that should be an action is none, so that nothing behind it can be understood.
    #[error("Malformed action/metadata line [{line}], {problem}")]
    MalformedAction {
        /// From 1, counting every line.
        line: usize,
        /// In Elasticsearch's words.
        problem: String,
    },
    /// Neither the path nor the action names an index.
    #[error("Validation Failed: {problems}")]
    IndexMissing {
        /// `1: index is missing;`, repeated and counted.
        problems: String,
    },
    /// More than [`ITEMS_MAX`] items.
    #[error("the request has more than {ITEMS_MAX} items, send smaller batches")]
    TooManyItems,
}

/// What a request's items have in common.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The index in the request's path.
    pub path_index: Option<String>,
    /// When the request arrived: the time of documents that carry none.
    pub received: Timestamp,
    /// `limits.event`.
    pub event_bytes_max: usize,
}

/// A refused request, and how many events it had as far as it was read.
#[derive(Debug)]
pub struct Unreadable {
    /// Why.
    pub error: RequestError,
    /// At least 1.
    pub event_count: u64,
}

/// Reads the body of `_bulk`.
///
/// # Errors
/// See [`RequestError`]; nothing of the request is to be stored then.
pub fn read_bulk(body: &Bytes, terms: Terms) -> Result<BulkRequest, Unreadable> {
    let mut reader = Reader::new(terms);
    let outcome = reader.read_lines(body);
    let event_count = (reader.request.items.len() as u64).max(1);
    let error = match outcome {
        Err(error) => error,
        Ok(()) if reader.missing_indices > 0 => RequestError::IndexMissing {
            problems: (1..=reader.missing_indices.min(NAMED_PROBLEMS_MAX))
                .map(|n| format!("{n}: index is missing;"))
                .collect(),
        },
        Ok(()) if body.is_empty() => RequestError::Empty,
        Ok(()) if reader.request.items.is_empty() => RequestError::NoActions,
        Ok(()) => return Ok(reader.request),
    };
    Err(Unreadable { error, event_count })
}

/// Takes one document, or one delete, that a request is all about.
pub fn read_single(
    verb: Verb,
    id: Option<String>,
    is_conditional: bool,
    document: Bytes,
    terms: Terms,
) -> BulkRequest {
    let action = Action {
        verb,
        index: None,
        pipeline: None,
        id: id.map(Cow::Owned),
        is_conditional,
    };
    let mut reader = Reader::new(terms);
    reader.admit(&action, document);
    reader.request
}

struct Reader<'a> {
    terms: Terms,
    request: BulkRequest,
    missing_indices: usize,
    /// Shippers write to one index at a time: its name is checked once.
    target: Option<(Cow<'a, str>, Result<WriteTarget, IndexNameError>)>,
}

impl<'a> Reader<'a> {
    fn new(terms: Terms) -> Reader<'a> {
        let target = terms
            .path_index
            .clone()
            .map(|name| (WriteTarget::parse(&name), name))
            .map(|(target, name)| (Cow::Owned(name), target));
        Reader {
            terms,
            request: BulkRequest {
                events: Vec::new(),
                items: Vec::new(),
            },
            missing_indices: 0,
            target,
        }
    }

    fn read_lines(&mut self, body: &'a Bytes) -> Result<(), RequestError> {
        let mut lines = Lines {
            body,
            at: 0,
            number: 0,
        };
        // Most shippers repeat one action line before every document: it is read once.
        let mut repeated: Option<(&'a [u8], Action<'a>)> = None;
        while let Some(line) = lines.next() {
            if line.is_empty() {
                continue;
            }
            if self.request.items.len() == ITEMS_MAX {
                return Err(RequestError::TooManyItems);
            }
            let action = match &repeated {
                Some((text, action)) if *text == line => action,
                _ => {
                    let action =
                        Action::parse(line).map_err(|problem| RequestError::MalformedAction {
                            line: lines.number,
                            problem,
                        })?;
                    &repeated.insert((line, action)).1
                }
            };
            let document = match action.verb {
                Verb::Delete => Bytes::new(),
                _ => lines
                    .next()
                    .map_or_else(Bytes::new, |line| body.slice_ref(line)),
            };
            self.admit(action, document);
        }
        Ok(())
    }

    /// Adds one item, and its event when nothing speaks against it.
    fn admit(&mut self, action: &Action<'a>, document: Bytes) {
        let state = match self.event_of(action, document) {
            Ok(event) => {
                let day = match event.operation {
                    Operation::Delete => None,
                    _ => Some(Day::of(event.timestamp)),
                };
                let index = event.index.clone();
                self.request.events.push(event);
                ItemState::Sent { index, day }
            }
            Err(refusal) => ItemState::Refused(refusal),
        };
        self.request.items.push(Item {
            verb: action.verb,
            id: action.id.as_deref().map(Box::from),
            pipeline: action.pipeline.as_deref().map(Box::from),
            state,
        });
    }

    fn event_of(&mut self, action: &Action<'a>, document: Bytes) -> Result<Event, Box<Refusal>> {
        let Terms {
            received,
            event_bytes_max,
            ..
        } = self.terms;
        let Some(target) = self.target_of(action) else {
            self.missing_indices += 1;
            // The whole request is refused in the end; this item only keeps the count.
            return Err(refusal("", 400, "", "missing_index", String::new()));
        };
        let (name, target) = (target.0.as_ref(), target.1.as_ref());
        let target = target.map_err(|error| {
            let shown: String = error.name.chars().take(NAME_CHARS_SHOWN).collect();
            let reason = format!("Invalid index name [{shown}], {}", error.problem);
            let error_type = "invalid_index_name_exception";
            refusal(name, 400, error_type, "invalid_index", reason)
        })?;
        check_request(action, name)?;
        let operation = match action.verb {
            Verb::Index if action.id.is_some() => Operation::Index,
            // Without an id there is nothing to replace.
            Verb::Index | Verb::Create => Operation::Create,
            Verb::Delete => Operation::Delete,
            Verb::Update => {
                let reason = "[update] is not supported, send the whole document with [index]";
                return Err(invalid(name, "unsupported", reason.to_owned()));
            }
        };
        let timestamp = match operation {
            Operation::Delete => None,
            _ => check_document(action, name, &document, event_bytes_max)?,
        };
        let day_start = target.day.filter(|_| operation == Operation::Delete);
        Ok(Event {
            index: target.index.clone(),
            id: action.id.as_deref().map(Box::from),
            timestamp: timestamp.or(day_start.map(Day::start)).unwrap_or(received),
            operation,
            source: document,
        })
    }

    fn target_of(
        &mut self,
        action: &Action<'a>,
    ) -> Option<&(Cow<'a, str>, Result<WriteTarget, IndexNameError>)> {
        let name = match (&action.index, &self.terms.path_index) {
            (Some(name), _) => name.as_ref(),
            (None, Some(name)) => name.as_str(),
            (None, None) => return None,
        };
        let is_known = self.target.as_ref().is_some_and(|(known, _)| known == name);
        if !is_known {
            let target = WriteTarget::parse(name);
            let name = match &action.index {
                Some(name) => name.clone(),
                None => Cow::Owned(name.to_owned()),
            };
            self.target = Some((name, target));
        }
        self.target.as_ref()
    }
}

fn check_request(action: &Action<'_>, index: &str) -> Result<(), Box<Refusal>> {
    let problem = match &action.id {
        Some(id) if id.is_empty() => "if _id is specified it must not be empty".to_owned(),
        Some(id) if id.len() > ID_BYTES_MAX => format!(
            "id [{}...] is too long, must be no longer than {ID_BYTES_MAX} bytes but was: {}",
            id.chars().take(64).collect::<String>(),
            id.len()
        ),
        None if action.verb == Verb::Delete => "id is missing".to_owned(),
        _ if action.is_conditional => {
            let reason = "[if_seq_no] and [if_primary_term] are not supported on log events";
            return Err(invalid(index, "unsupported", reason.to_owned()));
        }
        _ => return Ok(()),
    };
    Err(invalid(index, "invalid_id", problem))
}

fn check_document(
    action: &Action<'_>,
    index: &str,
    document: &[u8],
    event_bytes_max: usize,
) -> Result<Option<Timestamp>, Box<Refusal>> {
    if document.len() > event_bytes_max {
        return Err(too_large(index, document.len(), event_bytes_max));
    }
    document::check(document).map_err(|problem| {
        let of_id = match &action.id {
            Some(id) => format!(" with id '{id}'"),
            None => String::new(),
        };
        let reason = format!(
            "[{}:{}] failed to parse document{of_id}: {}",
            problem.line, problem.column, problem.message
        );
        let error_type = "document_parsing_exception";
        refusal(index, 400, error_type, "malformed", reason)
    })
}

fn too_large(index: &str, bytes: usize, event_bytes_max: usize) -> Box<Refusal> {
    let reason = format!(
        "the document is {bytes} bytes long, more than the {event_bytes_max} bytes of limits.event"
    );
    let error_type = "illegal_argument_exception";
    refusal(index, 413, error_type, "too_large", reason)
}

fn invalid(index: &str, counted_as: &'static str, reason: String) -> Box<Refusal> {
    let error_type = "illegal_argument_exception";
    refusal(index, 400, error_type, counted_as, reason)
}

fn refusal(
    index: &str,
    status: u16,
    error_type: &'static str,
    counted_as: &'static str,
    reason: String,
) -> Box<Refusal> {
    Box::new(Refusal {
        index: index.chars().take(NAME_CHARS_SHOWN).collect(),
        status,
        error_type,
        reason,
        counted_as,
    })
}

/// The lines of a body, each without the white space around it.
struct Lines<'a> {
    body: &'a [u8],
    at: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The last line needs no end.
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.body[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at = (self.at + length + 1).min(self.body.len());
        self.number += 1;
        Some(rest[..length].trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::fake::fixed_now;

    fn terms(path_index: Option<&str>) -> Terms {
        Terms {
            path_index: path_index.map(str::to_owned),
            received: fixed_now(),
            event_bytes_max: 100,
        }
    }

    fn read(body: &str) -> BulkRequest {
        read_bulk(&Bytes::from(body.to_owned()), terms(Some("logs"))).unwrap()
    }

    fn refused(item: &Item) -> Option<(u16, &str, &str)> {
        match &item.state {
            ItemState::Refused(refusal) => {
                Some((refusal.status, refusal.error_type, &refusal.reason))
            }
            ItemState::Sent { .. } | ItemState::Dropped { .. } => None,
        }
    }

    #[test]
    fn documents_are_slices_of_the_body_as_they_were_sent() {
        let body = Bytes::from_static(
            b"{\"create\":{}}\r\n{\"a\": 1.50 }\r\n\n{\"index\":{\"_id\":\"7\",\"_index\":\"web-2026.11.20\"}}\n{\"@timestamp\":\"2026-11-21\"}\n{\"delete\":{\"_id\":\"8\",\"_index\":\"web-2026.11.20\"}}",
        );
        let request = read_bulk(&body, terms(Some("logs"))).unwrap();
        let [first, second, third] = &request.events[..] else {
            panic!("three events, got {}", request.events.len())
        };
        assert_eq!(first.source, "{\"a\": 1.50 }");
        assert!(body.as_ptr_range().contains(&first.source.as_ptr()));
        assert_eq!(first.timestamp, fixed_now());
        assert_eq!(
            (first.index.as_str(), first.operation, &first.id),
            ("logs", Operation::Create, &None)
        );
        assert_eq!(
            (
                second.index.as_str(),
                second.operation,
                second.id.as_deref()
            ),
            ("web", Operation::Index, Some("7"))
        );
        assert_eq!(second.timestamp.to_rfc3339(), "2026-11-21T00:00:00.000Z");
        assert_eq!(
            (third.operation, third.id.as_deref(), third.source.len()),
            (Operation::Delete, Some("8"), 0)
        );
        assert_eq!(third.timestamp.to_rfc3339(), "2026-11-20T00:00:00.000Z");
    }

    #[test]
    fn a_bad_item_leaves_its_neighbours_alone() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100));
        let request = read(&format!(
            "{{\"index\":{{}}}}\n{{\"n\":0}}\n\
             {{\"index\":{{\"_id\":\"x2\"}}}}\n{{\"n\":1,}}\n\
             {{\"index\":{{\"_index\":\"No\"}}}}\n{{\"n\":2}}\n\
             {{\"create\":{{}}}}\n{long}\n\
             {{\"update\":{{\"_id\":\"1\"}}}}\n{{\"doc\":{{}}}}\n\
             {{\"delete\":{{}}}}\n\
             {{\"index\":{{\"_id\":\"\"}}}}\n{{}}\n\
             {{\"index\":{{\"_id\":\"1\",\"if_seq_no\":1}}}}\n{{}}\n\
             {{\"index\":{{}}}}\n{{\"n\":8}}\n\
             {{\"index\":{{}}}}"
        ));
        let statuses: Vec<u16> = request
            .items
            .iter()
            .map(|item| refused(item).map_or(0, |refused| refused.0))
            .collect();
        assert_eq!(statuses, [0, 400, 400, 413, 400, 400, 400, 400, 0, 400]);
        assert_eq!(request.events.len(), 2);
        assert_eq!(request.events[1].source, "{\"n\":8}");
        assert_eq!(
            refused(&request.items[1]),
            Some((
                400,
                "document_parsing_exception",
                "[1:8] failed to parse document with id 'x2': trailing comma"
            ))
        );
        assert_eq!(
            refused(&request.items[2]),
            Some((
                400,
                "invalid_index_name_exception",
                "Invalid index name [No], must be lowercase"
            ))
        );
    }

    #[test]
    fn a_request_whose_lines_cannot_be_told_apart_is_refused_as_a_whole() {
        for (body, path_index, message) in [
            ("", Some("logs"), "request body is required"),
            (
                "\n\r\n",
                Some("logs"),
                "Validation Failed: 1: no requests added;",
            ),
            (
                "{\"index\":{}}\n{}\n{\"a\":1}\n{}\n",
                Some("logs"),
                "Malformed action/metadata line [3], expected field [create], [delete], [index] or [update] but found [a]",
            ),
            (
                "{\"index\":{}}\n{}\n{\"create\":{}}\n{}\n",
                None,
                "Validation Failed: 1: index is missing;2: index is missing;",
            ),
        ] {
            let body = Bytes::from_static(body.as_bytes());
            let unreadable = read_bulk(&body, terms(path_index)).unwrap_err();
            assert_eq!(unreadable.error.to_string(), message);
            assert!(unreadable.event_count >= 1);
        }
    }

    #[test]
    fn what_refusals_repeat_counts_as_memory() {
        let body = Bytes::from("{\"create\":{}}\n{}\n".repeat(100));
        let sent = read_bulk(&body, terms(Some("logs"))).unwrap();
        assert_eq!(sent.memory_bytes(), 100 * ITEM_BYTES);
        let long = "Ü".repeat(10_000);
        let refused = read_bulk(&body, terms(Some(&long))).unwrap();
        let shown_bytes = 2 * NAME_CHARS_SHOWN;
        assert!(refused.memory_bytes() > 100 * (ITEM_BYTES + 4 * shown_bytes));
        assert!(refused.memory_bytes() < 100 * (ITEM_BYTES + 4 * shown_bytes + 200));
    }

    #[test]
    fn a_request_of_too_many_items_is_refused() {
        let line = "{\"delete\":{\"_id\":\"1\"}}\n";
        let body = Bytes::from(line.repeat(ITEMS_MAX + 1));
        let unreadable = read_bulk(&body, terms(Some("logs"))).unwrap_err();
        assert_eq!(unreadable.error, RequestError::TooManyItems);
        let body = body.slice(line.len()..);
        assert_eq!(
            read_bulk(&body, terms(Some("logs"))).unwrap().items.len(),
            ITEMS_MAX
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_bulk(&Bytes::from(body), terms(Some("logs")));
        }

        /// Whatever the documents are, they come out in order and byte for byte.
        #[test]
        fn any_documents_are_kept_as_sent(values in proptest::collection::vec("[a-z\u{e9} \\\\u0041\\\\n]{0,20}", 1..20)) {
            let documents: Vec<String> = values
                .iter()
                .map(|value| format!("{{\"m\":\"{}\"}}", value.replace('\\', "\\\\")))
                .collect();
            let body: String = documents.iter().map(|d| format!("{{\"create\":{{}}}}\n{d}\n")).collect();
            let request = read(&body);
            let stored: Vec<&[u8]> = request.events.iter().map(|event| &event.source[..]).collect();
            let sent: Vec<&[u8]> = documents.iter().map(String::as_bytes).collect();
            prop_assert_eq!(stored, sent);
        }
    }
}
