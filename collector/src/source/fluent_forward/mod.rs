//! Fluentd's forward protocol, as Fluentd, Fluent Bit, Docker's `fluentd` log driver and the Fluent loggers speak it
//! (Forward Protocol Specification v1).
//!
//! [`msgpack`] reads values, [`message`] makes events, [`handshake`] checks the shared key. A sender that asks for it
//! hears of its chunk again when the chunk is durable.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use event::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::listener::connection::Connection;
use crate::listener::conversation::{Dialogue, Turn, converse};
use crate::listener::seats::{SeatLimits, Seats};
use crate::listener::service::Service;
use crate::listener::{Listening, check_names, tls};
use crate::secret::Secret;
use crate::source::{SourceParts, index_name};

pub mod handshake;
pub mod message;
pub mod msgpack;
#[cfg(test)]
mod tests;

use handshake::{Handshake, Keys, push_text};
use message::{Arrival, Rest, Stamp};
use msgpack::{EndFinder, Head, Reader};

/// The names its listeners may have in `listen:`.
pub const LISTENERS: [&str; 1] = [FLUENT_FORWARD];
const FLUENT_FORWARD: &str = "fluent_forward";

/// The largest message; Fluentd's chunks are 8 MiB unless somebody changes that.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// `type: fluent_forward` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names of listeners: `fluent_forward`.
    #[serde(default = "default_listen")]
    pub listen: Vec<String>,
    /// What senders must know; without it there is no handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_key: Option<Secret>,
    /// Passwords by user; only with `shared_key`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, Secret>,
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

/// Listens for one entry under `sources:`.
pub struct FluentForwardSource {
    service: Service,
    stamp: Arc<Stamp>,
    keys: Option<Arc<Keys>>,
}

impl Settings {
    /// Checks everything that can be checked without opening an address or a file.
    ///
    /// # Errors
    /// The setting and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        check_names(&self.listen, "fluent_forward", &LISTENERS)?;
        if self.shared_key.is_none() && !self.users.is_empty() {
            let problem = "needs a shared_key: the protocol asks for passwords only after it";
            return Err(("users", problem.to_owned()));
        }
        index_name(self.index.as_ref())
            .map(|_| ())
            .map_err(|problem| ("index", problem))
    }
}

impl FluentForwardSource {
    /// Joins a source; nothing is read before [`FluentForwardSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`]; or a file of `tls` cannot be used.
    pub fn new(
        settings: &Settings,
        parts: SourceParts,
        mut listening: Listening,
    ) -> Result<FluentForwardSource, String> {
        settings
            .check()
            .map_err(|(setting, problem)| format!("{setting}: {problem}"))?;
        let stamp = Stamp {
            index: index_name(settings.index.as_ref())?,
            pipeline: parts.steps(),
            event_bytes_max: listening.message_bytes_max,
        };
        let keys = settings.shared_key.clone().map(|shared_key| Keys {
            shared_key,
            users: settings.users.clone(),
            host: parts
                .host_name
                .clone()
                .unwrap_or_else(|| "daybook".to_owned()),
        });
        let tls = settings.tls.as_ref();
        listening.sockets.secure(FLUENT_FORWARD, tls)?;
        Ok(FluentForwardSource {
            service: Service::new(parts, listening, SeatLimits::default()),
            stamp: Arc::new(stamp),
            keys: keys.map(Arc::new),
        })
    }

    /// Its connections, for the metrics.
    pub fn seats(&self) -> Seats {
        self.service.seats()
    }

    /// Takes messages until `shutdown`; what is being made durable by then is still acknowledged.
    pub async fn run(self, shutdown: CancellationToken) {
        let (stamp, keys) = (self.stamp, self.keys);
        let dialogue = move |connection: &Connection| {
            ForwardDialogue::new(Arc::clone(&stamp), keys.clone(), connection.peer())
        };
        converse(self.service, dialogue, shutdown).await;
    }
}

/// Our side of one connection.
pub struct ForwardDialogue {
    stamp: Arc<Stamp>,
    keys: Option<Arc<Keys>>,
    /// What we have said, once we have.
    handshake: Option<Handshake>,
    /// The sender has shown its key, or need not.
    is_trusted: bool,
    peer: SocketAddr,
    finder: EndFinder,
    /// Of the present message, what its first parts have left.
    rest: Option<Rest>,
}

impl ForwardDialogue {
    /// A conversation that has not begun.
    pub fn new(stamp: Arc<Stamp>, keys: Option<Arc<Keys>>, peer: SocketAddr) -> ForwardDialogue {
        ForwardDialogue {
            stamp,
            is_trusted: keys.is_none(),
            keys,
            handshake: None,
            peer,
            finder: EndFinder::default(),
            rest: None,
        }
    }

    fn judge(&mut self, ping: &[u8], keys: &Keys) -> Turn {
        let verdict = self
            .handshake
            .as_ref()
            .map(|handshake| handshake.judge(ping, keys));
        let Some(Ok(verdict)) = verdict else {
            return refusal();
        };
        self.is_trusted = verdict.is_granted;
        if !verdict.is_granted {
            tracing::warn!(peer = %self.peer, "a sender does not know the shared key or a user's password");
        }
        Turn {
            answer: verdict.pong,
            closes: !verdict.is_granted,
            ..Turn::default()
        }
    }
}

impl Dialogue for ForwardDialogue {
    fn greeting(&mut self) -> Vec<u8> {
        let Some(keys) = &self.keys else {
            return Vec::new();
        };
        match Handshake::new() {
            Ok(handshake) => {
                let helo = handshake.helo(keys);
                self.handshake = Some(handshake);
                helo
            }
            Err(problem) => {
                tracing::error!(problem, "no handshake is possible");
                Vec::new()
            }
        }
    }

    fn whole(&mut self, buffer: &[u8]) -> Result<Option<usize>, &'static str> {
        match self.finder.end(buffer) {
            Ok(None) if buffer.len() > MESSAGE_BYTES_MAX => Err("a message of more than 32 MiB"),
            Ok(end) => Ok(end),
            Err(_) => Err("no MessagePack"),
        }
    }

    fn inflates(&self, bytes: &[u8]) -> bool {
        self.is_trusted && message::may_inflate(bytes)
    }

    fn inflated_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, Rest::inflated_bytes)
    }

    fn hear(&mut self, bytes: &[u8], now: Timestamp) -> Turn {
        if let Some(keys) = self.keys.clone()
            && !self.is_trusted
        {
            return self.judge(bytes, &keys);
        }
        // A sign of life.
        if (Reader { rest: bytes }).head() == Ok(Head::Nil) {
            return Turn::default();
        }
        let arrival = Arrival {
            peer: self.peer.ip(),
            now,
        };
        let read = match self.rest.take() {
            Some(rest) => Ok(rest.read(bytes, &self.stamp, arrival)),
            None => message::read(bytes, &self.stamp, arrival),
        };
        let Ok(message) = read else {
            return refusal();
        };
        if message.rest.is_some() {
            self.rest = message.rest;
            return Turn {
                written: message.written,
                waits: true,
                is_part: true,
                ..Turn::default()
            };
        }
        let mut answer = Vec::new();
        if let Some(chunk) = &message.chunk {
            answer.push(0x81);
            push_text(&mut answer, "ack");
            push_text(&mut answer, chunk);
        }
        Turn {
            written: message.written,
            answer,
            ..Turn::default()
        }
    }
}

/// It is MessagePack, but nothing of the protocol: what follows would be none either.
fn refusal() -> Turn {
    let mut turn = Turn {
        closes: true,
        ..Turn::default()
    };
    turn.written.received = 1;
    turn.written.rejected.push("malformed");
    turn
}

fn default_listen() -> Vec<String> {
    LISTENERS.map(str::to_owned).to_vec()
}
