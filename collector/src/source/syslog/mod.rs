//! Syslog over UDP, TCP and TLS (RFC 3164, 5424, 5425, 5426, 6587).
//!
//! [`framing`] cuts streams into messages, [`message`] reads one, [`document`] writes it as an event. The protocol
//! has no acknowledgement: what is promised is that a sender over TCP is read only as fast as the journal takes it,
//! and that every message read is stored or counted.

use std::net::SocketAddr;
use std::sync::Arc;

use event::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::listener::reception::{Decoder, Written, receive};
use crate::listener::seats::{SeatLimits, Seats};
use crate::listener::service::Service;
use crate::listener::{Listening, check_names, tls};
use crate::source::{SourceParts, index_name};

pub mod document;
pub mod framing;
pub mod message;
pub mod priority;
#[cfg(test)]
mod tests;
pub mod time;

use document::{Stamp, Writer};
use framing::Deframer;

/// The names its listeners may have in `listen:`.
pub const LISTENERS: [&str; 3] = [SYSLOG_UDP, SYSLOG_TCP, SYSLOG_TLS];
const SYSLOG_UDP: &str = "syslog_udp";
const SYSLOG_TCP: &str = "syslog_tcp";
const SYSLOG_TLS: &str = "syslog_tls";

/// `type: syslog` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names of listeners: `syslog_udp`, `syslog_tcp`, `syslog_tls`.
    #[serde(default = "default_listen")]
    pub listen: Vec<String>,
    /// The zone of times that name none: `UTC`, or for instance `Europe/Berlin`.
    #[serde(default = "utc")]
    pub timezone: String,
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
    /// For `syslog_tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<tls::Settings>,
    /// Connections over all senders.
    #[serde(default = "max_connections")]
    pub max_connections: usize,
    /// Connections from one address.
    #[serde(default = "max_connections_per_peer")]
    pub max_connections_per_peer: usize,
}

/// Listens for one entry under `sources:`.
pub struct SyslogSource {
    service: Service,
    stamp: Arc<Stamp>,
    message_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: default_listen(),
            timezone: utc(),
            index: None,
            pipeline: None,
            tls: None,
            max_connections: max_connections(),
            max_connections_per_peer: max_connections_per_peer(),
        }
    }
}

impl Settings {
    /// Checks everything that can be checked without opening an address or a file.
    ///
    /// # Errors
    /// The setting and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        check_names(&self.listen, "syslog", &LISTENERS)?;
        let wants_tls = self.listen.iter().any(|name| name == SYSLOG_TLS);
        if wants_tls && self.tls.is_none() {
            let problem =
                "syslog_tls needs a certificate; write tls: { certificate: FILE, key: FILE }";
            return Err(("tls", problem.to_owned()));
        }
        if self.max_connections == 0 {
            return Err(("max_connections", "is 0; nobody could connect".to_owned()));
        }
        if self.max_connections_per_peer == 0 {
            return Err((
                "max_connections_per_peer",
                "is 0; nobody could connect".to_owned(),
            ));
        }
        self.zone().map_err(|problem| ("timezone", problem))?;
        index_name(self.index.as_ref()).map_err(|problem| ("index", problem))?;
        Ok(())
    }

    fn zone(&self) -> Result<TimeZone, String> {
        match self.timezone.as_str() {
            "UTC" => Ok(TimeZone::UTC),
            name => TimeZone::get(name).map_err(|_| {
                format!("unknown timezone {name:?}; write for instance Europe/Berlin")
            }),
        }
    }
}

impl SyslogSource {
    /// Joins a source; nothing is read before [`SyslogSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`]; or a file of `tls` cannot be used.
    pub fn new(
        settings: &Settings,
        parts: SourceParts,
        mut listening: Listening,
    ) -> Result<SyslogSource, String> {
        settings
            .check()
            .map_err(|(setting, problem)| format!("{setting}: {problem}"))?;
        let stamp = Stamp {
            index: index_name(settings.index.as_ref())?,
            zone: settings.zone()?,
            pipeline: parts.steps(),
            host_name: parts.host_name.clone(),
            priority_fields: priority::field_texts(),
        };
        let wants_tls = settings.listen.iter().any(|name| name == SYSLOG_TLS);
        let tls = settings.tls.as_ref().filter(|_| wants_tls);
        listening.sockets.secure(SYSLOG_TLS, tls)?;
        let limits = SeatLimits {
            total: settings.max_connections,
            per_peer: settings.max_connections_per_peer,
        };
        Ok(SyslogSource {
            stamp: Arc::new(stamp),
            message_bytes_max: listening.message_bytes_max,
            service: Service::new(parts, listening, limits),
        })
    }

    /// Its connections, for the metrics.
    pub fn seats(&self) -> Seats {
        self.service.seats()
    }

    /// Takes messages until `shutdown`; then what was read, and what the kernel holds, is still stored: about three
    /// seconds at most.
    pub async fn run(self, shutdown: CancellationToken) {
        let (stamp, bytes_max) = (self.stamp, self.message_bytes_max);
        let decoder = move || SyslogDecoder {
            deframer: Deframer::new(bytes_max),
            writer: Writer::new(Arc::clone(&stamp)),
        };
        receive(self.service, decoder, shutdown).await;
    }
}

/// What reads the messages of one connection, or of the datagrams of one address.
struct SyslogDecoder {
    deframer: Deframer,
    writer: Writer,
}

impl Decoder for SyslogDecoder {
    fn arrived(&mut self, now: Timestamp) {
        self.writer.arrived(now);
    }

    fn stream(&mut self, peer: SocketAddr, bytes: &[u8]) -> usize {
        self.writer.from(peer.ip());
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let step = self.deframer.step(rest);
            if let Some(frame) = step.frame {
                self.writer.push(&rest[frame.range], frame.is_cut);
            }
            if step.used == 0 {
                return used;
            }
            used += step.used;
        }
    }

    fn stream_end(&mut self, rest: &[u8]) {
        if let Some(frame) = self.deframer.finish(rest) {
            self.writer.push(&rest[frame.range], frame.is_cut);
        }
    }

    fn datagram(&mut self, peer: SocketAddr, bytes: &[u8]) {
        self.writer.from(peer.ip());
        self.writer.push(bytes, false);
    }

    fn take(&mut self) -> Written {
        self.writer.take()
    }

    fn has_pipeline(&self) -> bool {
        self.writer.has_pipeline()
    }
}

fn default_listen() -> Vec<String> {
    [SYSLOG_UDP, SYSLOG_TCP].map(str::to_owned).to_vec()
}

fn utc() -> String {
    "UTC".to_owned()
}

fn max_connections() -> usize {
    SeatLimits::default().total
}

fn max_connections_per_peer() -> usize {
    SeatLimits::default().per_peer
}
