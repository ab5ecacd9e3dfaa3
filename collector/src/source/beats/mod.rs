//! The Beats protocol, lumberjack version 2, as Filebeat, the other Beats, Elastic Agent and Logstash's output speak it.
//!
//! ```text
//! 32 57 | count                          a window of so many events follows
//! 32 4a | sequence | length | JSON       an event
//! 32 43 | length | zlib of frames        events, compressed
//! 32 41 | sequence                       ours: everything up to this event is durable
//! ```
//!
//! Numbers have four bytes, the highest first. A window is acknowledged when all of it is durable; until then a sender
//! hears every five seconds that we are there (sequence 0), because it would send the window again otherwise.

use std::net::SocketAddr;
use std::sync::Arc;

use event::{Document, Event, IndexName, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::body::{Encoding, inflate_within};
use crate::listener::connection::Connection;
use crate::listener::conversation::{Dialogue, INFLATED_BYTES_MAX, PART_BYTES, Turn, converse};
use crate::listener::reception::Written;
use crate::listener::seats::{SeatLimits, Seats};
use crate::listener::service::Service;
use crate::listener::{Listening, check_names, tls};
use crate::pipeline::Pipeline;
use crate::source::{SourceParts, index_name};

#[cfg(test)]
mod tests;

/// The names its listeners may have in `listen:`.
pub const LISTENERS: [&str; 1] = [BEATS];
const BEATS: &str = "beats";

const VERSION: u8 = b'2';
const WINDOW: u8 = b'W';
const JSON: u8 = b'J';
const COMPRESSED: u8 = b'C';
const ACK: u8 = b'A';

/// The largest frame as it is sent.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// What a refused event counts in a part: more than its place in the list of refusals, which grows by doubling.
const REFUSAL_BYTES: usize = 4 * size_of::<&str>();

/// Frames are worked on together up to this size, or the end of their window.
const TURN_BYTES: usize = 1 << 20;

/// `type: beats` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names of listeners: `beats`.
    #[serde(default = "default_listen")]
    pub listen: Vec<String>,
    /// The index of its events; `logs` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline its events go through.
    #[serde(
        default,
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
    /// With it all connections are TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<tls::Settings>,
}

/// What all events of a source have in common.
pub struct Stamp {
    /// Where they go.
    pub index: IndexName,
    /// The steps, when there are any.
    pub pipeline: Option<Arc<Pipeline>>,
    /// `limits.event`.
    pub event_bytes_max: usize,
}

/// Listens for one entry under `sources:`.
pub struct BeatsSource {
    service: Service,
    stamp: Arc<Stamp>,
}

impl Settings {
    /// Checks everything that can be checked without opening an address or a file.
    ///
    /// # Errors
    /// The setting and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        check_names(&self.listen, "beats", &LISTENERS)?;
        index_name(self.index.as_ref())
            .map(|_| ())
            .map_err(|problem| ("index", problem))
    }
}

impl BeatsSource {
    /// Joins a source; nothing is read before [`BeatsSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`]; or a file of `tls` cannot be used.
    pub fn new(
        settings: &Settings,
        parts: SourceParts,
        mut listening: Listening,
    ) -> Result<BeatsSource, String> {
        settings
            .check()
            .map_err(|(setting, problem)| format!("{setting}: {problem}"))?;
        let stamp = Stamp {
            index: index_name(settings.index.as_ref())?,
            pipeline: parts.steps(),
            event_bytes_max: listening.message_bytes_max,
        };
        listening.sockets.secure(BEATS, settings.tls.as_ref())?;
        Ok(BeatsSource {
            service: Service::new(parts, listening, SeatLimits::default()),
            stamp: Arc::new(stamp),
        })
    }

    /// Its connections, for the metrics.
    pub fn seats(&self) -> Seats {
        self.service.seats()
    }

    /// Takes windows until `shutdown`; what is being made durable by then is still acknowledged.
    pub async fn run(self, shutdown: CancellationToken) {
        let stamp = self.stamp;
        let dialogue = move |connection: &Connection| {
            BeatsDialogue::new(Arc::clone(&stamp), connection.peer())
        };
        converse(self.service, dialogue, shutdown).await;
    }
}

/// Our side of one connection.
pub struct BeatsDialogue {
    stamp: Arc<Stamp>,
    peer: SocketAddr,
    /// Events of the present window, and how many of them came.
    window: u32,
    came: u32,
    last_sequence: u32,
    /// How much of the present bytes was taken, in earlier parts.
    taken: usize,
    /// The compressed frame that is being taken apart.
    inner: Option<Inner>,
}

/// A decompressed frame.
struct Inner {
    frames: Vec<u8>,
    taken: usize,
}

/// How far some frames were taken.
enum Taken {
    All,
    Part,
}

/// A frame at the beginning of some bytes.
enum Frame<'a> {
    Window(u32),
    Json { sequence: u32, json: &'a [u8] },
    Compressed(&'a [u8]),
}

impl BeatsDialogue {
    /// A conversation that has not begun.
    pub fn new(stamp: Arc<Stamp>, peer: SocketAddr) -> BeatsDialogue {
        BeatsDialogue {
            stamp,
            peer,
            window: 0,
            came: 0,
            last_sequence: 0,
            taken: 0,
            inner: None,
        }
    }

    /// Takes frames one behind the other, until there is enough for one part; `Err` when one is not as the protocol has them.
    fn take(&mut self, frames: &[u8], written: &mut Written, now: Timestamp) -> Result<Taken, ()> {
        let mut written_bytes = 0;
        while written_bytes < PART_BYTES {
            // Taken out, so that its frames can be looked at while we change.
            let mut inner = self.inner.take();
            let is_inner = inner.is_some();
            let (source, at) = match &mut inner {
                Some(inner) => (inner.frames.as_slice(), &mut inner.taken),
                None => (frames, &mut self.taken),
            };
            if *at == source.len() {
                if is_inner {
                    continue;
                }
                self.taken = 0;
                return Ok(Taken::All);
            }
            let Ok(Some((frame, length))) = frame_of(&source[*at..]) else {
                return Err(());
            };
            *at += length;
            match frame {
                Frame::Window(count) => (self.window, self.came) = (count, 0),
                Frame::Json { sequence, json } => {
                    self.came = self.came.saturating_add(1);
                    self.last_sequence = sequence;
                    written_bytes += self.event(json, written, now);
                }
                // One within another is a bomb.
                Frame::Compressed(_) if is_inner => return Err(()),
                Frame::Compressed(zlib) => {
                    let frames = inflate_within(Encoding::Deflate, zlib, INFLATED_BYTES_MAX);
                    let frames = frames.map_err(|_| ())?;
                    inner = Some(Inner { frames, taken: 0 });
                }
            }
            self.inner = inner;
        }
        Ok(Taken::Part)
    }

    /// Answers about how much memory what became of it takes.
    fn event(&self, json: &[u8], written: &mut Written, now: Timestamp) -> usize {
        written.received += 1;
        written.received_bytes += json.len() as u64;
        if json.len() > self.stamp.event_bytes_max {
            written.rejected.push("too_large");
            return REFUSAL_BYTES;
        }
        let Ok(mut document) = Document::parse(json) else {
            written.rejected.push("malformed");
            return REFUSAL_BYTES;
        };
        // What the sender tells its receiver, not what it has to say.
        document.remove("@metadata");
        let index = &self.stamp.index;
        if let Some(pipeline) = &self.stamp.pipeline {
            return match pipeline.event(&mut document, index, now) {
                Ok(event) => written.push(event),
                Err(reason) => {
                    written.dropped.push(reason);
                    REFUSAL_BYTES
                }
            };
        }
        let claimed = document.get_str("@timestamp");
        let claimed = claimed.and_then(|text| Timestamp::parse_lenient(&text).ok());
        if claimed.is_none() && document.get("@timestamp").is_none() {
            document.set_str("@timestamp", &now.to_rfc3339());
        }
        let source = document.to_bytes();
        written.push(Event::create(index.clone(), claimed.unwrap_or(now), source))
    }
}

impl Dialogue for BeatsDialogue {
    /// All whole frames up to the end of the window, or some.
    fn whole(&mut self, buffer: &[u8]) -> Result<Option<usize>, &'static str> {
        let (mut length, mut came, mut window) = (0, self.came, self.window);
        while length < TURN_BYTES {
            let (frame, frame_length) = match frame_of(&buffer[length..]) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                // What is before it is whole, and heard first.
                Err(_) if length > 0 => break,
                Err(reason) => return Err(reason),
            };
            length += frame_length;
            match frame {
                Frame::Window(count) => (window, came) = (count, 0),
                Frame::Json { .. } => came = came.saturating_add(1),
                // How many events are in it is known later.
                Frame::Compressed(_) => break,
            }
            if came >= window && window > 0 {
                break;
            }
        }
        Ok((length > 0).then_some(length))
    }

    fn hear(&mut self, bytes: &[u8], now: Timestamp) -> Turn {
        let mut turn = Turn {
            waits: true,
            ..Turn::default()
        };
        match self.take(bytes, &mut turn.written, now) {
            Ok(Taken::All) => {}
            Ok(Taken::Part) => {
                turn.is_part = true;
                return turn;
            }
            Err(()) => {
                tracing::debug!(peer = %self.peer, "a frame that cannot be read, closed");
                turn.written.received += 1;
                turn.written.rejected.push("malformed");
                turn.closes = true;
                return turn;
            }
        }
        if self.window > 0 && self.came >= self.window {
            turn.answer = ack(self.last_sequence);
            (self.window, self.came) = (0, 0);
        }
        turn
    }

    fn inflates(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while let Ok(Some((frame, length))) = frame_of(rest) {
            if matches!(frame, Frame::Compressed(_)) {
                return true;
            }
            rest = &rest[length..];
        }
        false
    }

    fn inflated_bytes(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.frames.len())
    }

    fn still_here(&self) -> Vec<u8> {
        ack(0)
    }
}

fn ack(sequence: u32) -> Vec<u8> {
    [&[VERSION, ACK][..], &sequence.to_be_bytes()].concat()
}

/// The frame at the beginning and its length; `None` when it is not whole.
fn frame_of(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, &'static str> {
    let Some((head, rest)) = bytes.split_at_checked(2) else {
        return match bytes.first() {
            Some(&VERSION) | None => Ok(None),
            Some(_) => Err("not version 2 of the protocol"),
        };
    };
    if head[0] != VERSION {
        return Err("not version 2 of the protocol");
    }
    let number = |at: usize| {
        let bytes = rest.get(at..at + 4)?;
        Some(
            bytes
                .iter()
                .fold(0u32, |value, byte| value << 8 | u32::from(*byte)),
        )
    };
    let body = |at: usize, length: u32| -> Result<Option<&[u8]>, &'static str> {
        if length as usize > FRAME_BYTES_MAX {
            return Err("a frame of more than 16 MiB");
        }
        Ok(rest.get(at..at + length as usize))
    };
    Ok(match head[1] {
        WINDOW => number(0).map(|count| (Frame::Window(count), 6)),
        JSON => match (number(0), number(4)) {
            (Some(sequence), Some(length)) => {
                body(8, length)?.map(|json| (Frame::Json { sequence, json }, 10 + json.len()))
            }
            _ => None,
        },
        COMPRESSED => match number(0) {
            Some(length) => body(4, length)?.map(|zlib| (Frame::Compressed(zlib), 6 + zlib.len())),
            None => None,
        },
        _ => return Err("a frame that version 2 of the protocol does not have"),
    })
}

fn default_listen() -> Vec<String> {
    LISTENERS.map(str::to_owned).to_vec()
}
