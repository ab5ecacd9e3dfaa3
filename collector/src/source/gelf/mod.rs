//! GELF over UDP (whole, chunked, compressed) and TCP (each message ended by a NUL).
//!
//! [`chunks`] puts large messages together, [`document`] makes events. As with syslog nothing is acknowledged: senders
//! over TCP are read as fast as the journal takes it, and what is lost of datagrams is counted.
//! Protocol: Graylog's GELF 1.1.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use event::Timestamp;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use memchr::memchr;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::listener::reception::{Decoder, Written, receive};
use crate::listener::seats::{SeatLimits, Seats};
use crate::listener::service::Service;
use crate::listener::{Listening, check_names};
use crate::source::{SourceParts, index_name};

pub mod chunks;
pub mod document;
#[cfg(test)]
mod tests;

use chunks::{Chunks, Datagram};
use document::{Stamp, Writer};

/// The names its listeners may have in `listen:`.
pub const LISTENERS: [&str; 2] = [GELF_UDP, GELF_TCP];
const GELF_UDP: &str = "gelf_udp";
const GELF_TCP: &str = "gelf_tcp";

/// `type: gelf` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names of listeners: `gelf_udp`, `gelf_tcp`.
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
}

/// Listens for one entry under `sources:`.
pub struct GelfSource {
    service: Service,
    stamp: Arc<Stamp>,
    message_bytes_max: usize,
}

impl Settings {
    /// Checks everything that can be checked without opening an address.
    ///
    /// # Errors
    /// The setting and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        check_names(&self.listen, "gelf", &LISTENERS)?;
        index_name(self.index.as_ref())
            .map(|_| ())
            .map_err(|problem| ("index", problem))
    }
}

impl GelfSource {
    /// Joins a source; nothing is read before [`GelfSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(
        settings: &Settings,
        parts: SourceParts,
        listening: Listening,
    ) -> Result<GelfSource, String> {
        settings
            .check()
            .map_err(|(setting, problem)| format!("{setting}: {problem}"))?;
        let stamp = Stamp {
            index: index_name(settings.index.as_ref())?,
            pipeline: parts.steps(),
        };
        Ok(GelfSource {
            stamp: Arc::new(stamp),
            message_bytes_max: listening.message_bytes_max,
            service: Service::new(parts, listening, SeatLimits::default()),
        })
    }

    /// Its connections, for the metrics.
    pub fn seats(&self) -> Seats {
        self.service.seats()
    }

    /// Takes messages until `shutdown`; then what was read, and what the kernel holds, is still stored.
    pub async fn run(self, shutdown: CancellationToken) {
        let (stamp, bytes_max) = (self.stamp, self.message_bytes_max);
        let decoder = move || GelfDecoder::new(Arc::clone(&stamp), bytes_max);
        receive(self.service, decoder, shutdown).await;
    }
}

/// What reads the messages of one connection, or of the datagrams of one address.
pub struct GelfDecoder {
    chunks: Chunks,
    writer: Writer,
    now: Timestamp,
    message_bytes_max: usize,
    peer: Option<SocketAddr>,
    /// The present message of the stream was too long; its rest is passed over.
    is_skipping: bool,
    /// How far the present message was searched for its end.
    searched: usize,
}

impl GelfDecoder {
    /// A decoder of messages that are at most `message_bytes_max` long, decompressed.
    pub fn new(stamp: Arc<Stamp>, message_bytes_max: usize) -> GelfDecoder {
        GelfDecoder {
            chunks: Chunks::default(),
            writer: Writer::new(stamp),
            now: Timestamp::default(),
            message_bytes_max,
            peer: None,
            is_skipping: false,
            searched: 0,
        }
    }

    fn message(&mut self, peer: SocketAddr, message: &[u8]) {
        match inflate(message, self.message_bytes_max) {
            Ok(None) => self.writer.push(peer.ip(), message, false),
            Ok(Some(inflated)) => self.writer.push(peer.ip(), &inflated, false),
            Err(reason) => self.writer.reject(reason, message.len()),
        }
    }

    fn note_given_up(&mut self) {
        for _ in 0..self.chunks.given_up() {
            self.writer.reject("gelf_incomplete", 0);
        }
    }
}

impl Decoder for GelfDecoder {
    fn arrived(&mut self, now: Timestamp) {
        self.now = now;
        self.writer.arrived(now);
        self.chunks.expire(now);
        self.note_given_up();
    }

    fn stream(&mut self, peer: SocketAddr, bytes: &[u8]) -> usize {
        self.peer = Some(peer);
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let Some(at) = memchr(0, &rest[self.searched..]) else {
                break;
            };
            let end = self.searched + at;
            self.searched = 0;
            used += end + 1;
            if std::mem::take(&mut self.is_skipping) || rest[..end].trim_ascii().is_empty() {
                continue;
            }
            match end > self.message_bytes_max {
                true => self.writer.reject("too_large", end),
                false => self.writer.push(peer.ip(), &rest[..end], false),
            }
        }
        let rest = bytes.len() - used;
        if self.is_skipping || rest > self.message_bytes_max {
            if !std::mem::replace(&mut self.is_skipping, true) {
                self.writer.reject("too_large", rest);
            }
            self.searched = 0;
            return bytes.len();
        }
        self.searched = rest;
        used
    }

    fn stream_end(&mut self, rest: &[u8]) {
        if let Some(peer) = self.peer
            && !self.is_skipping
            && !rest.trim_ascii().is_empty()
        {
            self.writer.push(peer.ip(), rest, false);
        }
    }

    fn datagram(&mut self, peer: SocketAddr, bytes: &[u8]) {
        match self.chunks.take(peer, bytes, self.now) {
            Datagram::Whole(message) => self.message(peer, message),
            Datagram::Completed(message) => self.message(peer, &message),
            Datagram::Chunk => {}
            Datagram::Wrong(reason) => self.writer.reject(reason, bytes.len()),
        }
        self.note_given_up();
    }

    fn datagrams_end(&mut self) {
        self.chunks.give_up();
        self.note_given_up();
    }

    fn take(&mut self) -> Written {
        self.writer.take()
    }

    fn has_pipeline(&self) -> bool {
        self.writer.has_pipeline()
    }
}

/// Decompresses what is compressed; `None` for what is not.
fn inflate(message: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, &'static str> {
    let limit = bytes_max as u64 + 1;
    let mut inflated = Vec::new();
    let read = match message {
        [0x1f, 0x8b, ..] => GzDecoder::new(message)
            .take(limit)
            .read_to_end(&mut inflated),
        // A zlib header is a multiple of 31, which `{"` and `{ ` are not.
        [first, second, ..]
            if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31) =>
        {
            ZlibDecoder::new(message)
                .take(limit)
                .read_to_end(&mut inflated)
        }
        _ if message.len() > bytes_max => return Err("too_large"),
        _ => return Ok(None),
    };
    match read {
        Err(_) => Err("gelf_compression_broken"),
        Ok(_) if inflated.len() > bytes_max => Err("too_large"),
        Ok(_) => Ok(Some(inflated)),
    }
}

fn default_listen() -> Vec<String> {
    LISTENERS.map(str::to_owned).to_vec()
}
