//! Syslog over UDP, TCP and TLS (RFC 3164, 5424, 5425, 5426, 6587).
//!
//! [`framing`] cuts streams into messages, [`message`] reads one, [`document`] writes it as an event. The protocol
//! has no acknowledgement: what is promised is that a sender over TCP is read only as fast as the journal takes it,
//! and that every message read is stored or counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use event::{Append, IndexName, SourceLedger, Timestamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::body::{InFlight, Reservation};
use crate::cpu::CpuPermits;
use crate::listener::connection::{Connection, Heard};
use crate::listener::funnel::{Funnel, Room};
use crate::listener::seats::{SeatLimits, Seats};
use crate::listener::tcp::{self, Listener};
use crate::listener::tls;
use crate::listener::udp::{Datagrams, UdpDrops, UdpSockets};
use crate::pipeline::Pipeline;

pub mod document;
pub mod framing;
pub mod message;
pub mod priority;
#[cfg(test)]
mod tests;
pub mod time;

use document::{Stamp, Writer, Written};
use framing::Deframer;

/// The names its listeners may have in `listen:`.
pub const LISTENERS: [&str; 3] = ["syslog_udp", "syslog_tcp", "syslog_tls"];

/// A message must be whole within this time. Who sends a byte a second has no business here.
const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// Events between the sockets and the journal.
const FUNNEL_BYTES: usize = 64 << 20;

/// Halves of messages that wait for the rest, over all connections.
const HALVES_BYTES: u64 = 64 << 20;

/// A half message up to this size is part of what a connection costs.
const HALF_BYTES_FREE: usize = 4096;

/// Datagrams worked on at once.
const PART_BYTES: usize = 128 << 10;

/// Events take more memory than the bytes they were sent in.
const GROWTH: usize = 4;

/// How often the kernel's count of lost datagrams is read.
const COUNT_EVERY: Duration = Duration::from_secs(1);

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// Opened addresses of a source.
#[derive(Default)]
pub struct Sockets {
    /// Datagrams.
    pub udp: Vec<UdpSockets>,
    /// Streams.
    pub tcp: Vec<Listener>,
    /// Streams in TLS.
    pub tls: Vec<Listener>,
}

/// What a syslog source is joined to.
pub struct Parts {
    /// Its name in the settings.
    pub name: Arc<str>,
    /// The pipeline the settings name.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Where its events become durable.
    pub append: Arc<dyn Append>,
    /// Its books.
    pub ledger: Arc<SourceLedger>,
    /// This machine's name.
    pub host_name: Option<String>,
    /// `limits.event`: longer messages are cut.
    pub message_bytes_max: usize,
    /// Permits for work on many messages at once.
    pub cpu: CpuPermits,
    /// The clock, UTC.
    pub now: fn() -> Timestamp,
}

/// Listens for one entry under `sources:`.
pub struct SyslogSource {
    sockets: Sockets,
    acceptor: Option<TlsAcceptor>,
    seats: Seats,
    stamp: Arc<Stamp>,
    parts: Parts,
}

/// What all senders of a source share.
struct Reception {
    stamp: Arc<Stamp>,
    ledger: Arc<SourceLedger>,
    message_bytes_max: usize,
    halves: InFlight,
    cpu: CpuPermits,
    now: fn() -> Timestamp,
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
        let known = |name: &String| LISTENERS.contains(&name.as_str());
        if let Some(unknown) = self.listen.iter().find(|name| !known(name)) {
            let problem = format!(
                "{unknown:?} is no listener for syslog; known are {}",
                LISTENERS.join(", ")
            );
            return Err(("listen", problem));
        }
        if self.listen.is_empty() {
            return Err((
                "listen",
                "is empty; write for instance [syslog_udp, syslog_tcp]".to_owned(),
            ));
        }
        let wants_tls = self.listen.iter().any(|name| name == "syslog_tls");
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
        self.index_name().map_err(|problem| ("index", problem))?;
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

    fn index_name(&self) -> Result<IndexName, String> {
        match &self.index {
            None => Ok(IndexName::default_index()),
            Some(name) => IndexName::parse(name).map_err(|error| error.to_string()),
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
        sockets: Sockets,
        parts: Parts,
    ) -> Result<SyslogSource, String> {
        settings
            .check()
            .map_err(|(setting, problem)| format!("{setting}: {problem}"))?;
        let stamp = Stamp {
            index: settings.index_name()?,
            zone: settings.zone()?,
            pipeline: parts
                .pipeline
                .clone()
                .filter(|pipeline| !pipeline.is_empty()),
            host_name: parts.host_name.clone(),
            priority_fields: priority::field_texts(),
        };
        let acceptor = match &settings.tls {
            Some(tls) if !sockets.tls.is_empty() => Some(tls.acceptor()?),
            _ => None,
        };
        Ok(SyslogSource {
            sockets,
            acceptor,
            seats: Seats::new(SeatLimits {
                total: settings.max_connections,
                per_peer: settings.max_connections_per_peer,
            }),
            stamp: Arc::new(stamp),
            parts,
        })
    }

    /// Its connections, for the metrics.
    pub fn seats(&self) -> Seats {
        self.seats.clone()
    }

    /// Takes messages until `shutdown`; then what was read, and what the kernel holds, is still stored: about three
    /// seconds at most.
    pub async fn run(self, shutdown: CancellationToken) {
        let parts = self.parts;
        let (funnel, funnel_end) = Funnel::new(
            Arc::clone(&parts.name),
            parts.append,
            Arc::clone(&parts.ledger),
            parts.now,
            FUNNEL_BYTES,
        );
        let reception = Arc::new(Reception {
            stamp: self.stamp,
            ledger: parts.ledger,
            message_bytes_max: parts.message_bytes_max,
            halves: InFlight::new(HALVES_BYTES),
            cpu: parts.cpu,
            now: parts.now,
        });
        let mut tasks = JoinSet::new();
        let plain = self
            .sockets
            .tcp
            .into_iter()
            .map(|listener| (listener, None));
        let secured = self
            .sockets
            .tls
            .into_iter()
            .map(|listener| (listener, self.acceptor.clone()));
        for (listener, tls) in plain.chain(secured) {
            let terms = tcp::Terms {
                seats: self.seats.clone(),
                tls,
                stop: shutdown.clone(),
            };
            let (reception, funnel) = (Arc::clone(&reception), funnel.clone());
            let talk =
                move |connection| read_stream(connection, Arc::clone(&reception), funnel.clone());
            tasks.spawn(listener.serve(terms, talk));
        }
        for sockets in self.sockets.udp {
            let reading = read_datagrams(
                sockets,
                Arc::clone(&reception),
                funnel.clone(),
                shutdown.clone(),
            );
            tasks.spawn(reading);
        }
        // The funnel ends with the last of those that pour into it.
        drop(funnel);
        let joining = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(source = %parts.name, %error, "a listener ended by a mistake of ours");
                }
            }
        };
        tokio::join!(funnel_end.run(shutdown.clone()), joining);
    }
}

impl Reception {
    /// Counts what was written and hands it over; `room` becomes as large as it is.
    async fn pour(&self, written: Written, mut room: Room, funnel: &Funnel) {
        self.ledger
            .received(written.received, written.received_bytes);
        for reason in &written.dropped {
            self.ledger.dropped(reason, 1);
        }
        room.shrink_to(written.byte_size());
        funnel.pour(written.events, room).await;
    }
}

/// The bytes of one connection on their way to events.
struct StreamReader {
    buffer: Vec<u8>,
    deframer: Deframer,
    writer: Writer,
}

impl StreamReader {
    fn new(reception: &Reception, peer: SocketAddr) -> StreamReader {
        let mut writer = Writer::new(Arc::clone(&reception.stamp));
        writer.from(peer.ip());
        StreamReader {
            buffer: Vec::new(),
            deframer: Deframer::new(reception.message_bytes_max),
            writer,
        }
    }

    /// Turns whole messages into events and leaves the half one.
    fn advance(&mut self, now: Timestamp) -> Written {
        self.writer.arrived(now);
        let mut used = 0;
        loop {
            let rest = &self.buffer[used..];
            let step = self.deframer.step(rest);
            if let Some(frame) = step.frame {
                self.writer.push(&rest[frame.range], frame.is_cut);
            }
            if step.used == 0 {
                break;
            }
            used += step.used;
        }
        self.buffer.drain(..used);
        self.writer.take()
    }

    /// What is left at the end.
    fn finish(mut self, now: Timestamp) -> Written {
        self.writer.arrived(now);
        if let Some(frame) = self.deframer.finish(&self.buffer) {
            self.writer.push(&self.buffer[frame.range], frame.is_cut);
        }
        self.writer.take()
    }
}

/// One connection, to its end.
async fn read_stream(mut connection: Connection, reception: Arc<Reception>, funnel: Funnel) {
    connection.one_way();
    let mut reader = StreamReader::new(&reception, connection.peer());
    let mut held = reception.halves.reserve_nothing();
    let mut half_since: Option<Instant> = None;
    loop {
        let until = half_since.map(|since| since + MESSAGE_TIME);
        let Heard::Piece(room) = connection.read(&mut reader.buffer, &funnel, until).await else {
            break;
        };
        let now = (reception.now)();
        let written;
        (reader, written) = advance(reader, now, &reception.cpu).await;
        let is_new_half = written.received > 0 || half_since.is_none();
        half_since = match reader.buffer.is_empty() {
            true => None,
            false if is_new_half => Some(Instant::now()),
            false => half_since,
        };
        reception.pour(written, room, &funnel).await;
        if !hold(&mut held, reader.buffer.len()) {
            tracing::debug!(peer = %connection.peer(), "no memory for its half message, closed");
            break;
        }
    }
    drop(held);
    let written = reader.finish((reception.now)());
    if written.received > 0 {
        let room = funnel.room(written.byte_size()).await;
        reception.pour(written, room, &funnel).await;
    }
    connection.close().await;
}

async fn advance(
    mut reader: StreamReader,
    now: Timestamp,
    cpu: &CpuPermits,
) -> (StreamReader, Written) {
    let has_pipeline = reader.writer.has_pipeline();
    let job = move || {
        let written = reader.advance(now);
        (reader, written)
    };
    match has_pipeline {
        true => cpu.run_elsewhere(job).await,
        false => job(),
    }
}

/// Makes `held` as large as the half message of a connection; `false` when there is no memory for it.
fn hold(held: &mut Reservation, half_bytes: usize) -> bool {
    let wanted = half_bytes.saturating_sub(HALF_BYTES_FREE);
    let has = usize::try_from(held.bytes()).unwrap_or(usize::MAX);
    if wanted <= has {
        held.shrink(has - wanted);
        return true;
    }
    held.grow(wanted - has)
}

/// The datagrams of one address, to the end.
async fn read_datagrams(
    sockets: UdpSockets,
    reception: Arc<Reception>,
    funnel: Funnel,
    stop: CancellationToken,
) {
    let reader = match sockets.read() {
        Ok(reader) => reader,
        Err(error) => {
            tracing::error!(%error, "cannot read datagrams: the system has no threads left");
            return;
        }
    };
    let drops = reader.drops();
    let mut writer = Writer::new(Arc::clone(&reception.stamp));
    let counting = count_drops(&drops, &reception);
    let reading = async {
        loop {
            let datagrams = tokio::select! {
                biased;
                () = stop.cancelled() => return writer,
                datagrams = reader.take() => datagrams,
            };
            writer = write_datagrams(datagrams, writer, &reception, &funnel).await;
        }
    };
    let writer = tokio::select! {
        writer = reading => writer,
        () = counting => return,
    };
    let last = reader.stop().await;
    write_datagrams(last, writer, &reception, &funnel).await;
    note_drops(&drops, &reception).await;
}

async fn write_datagrams(
    datagrams: Datagrams,
    mut writer: Writer,
    reception: &Reception,
    funnel: &Funnel,
) -> Writer {
    for part in datagrams.parts(PART_BYTES) {
        let room = funnel.room(part.byte_size() * GROWTH).await;
        let now = (reception.now)();
        let input_bytes = match writer.has_pipeline() {
            true => usize::MAX,
            false => part.byte_size(),
        };
        let job = move || {
            writer.arrived(now);
            for (message, peer) in part.iter() {
                writer.from(peer.ip());
                writer.push(message, false);
            }
            let written = writer.take();
            (writer, written)
        };
        let written;
        (writer, written) = reception.cpu.run(input_bytes, job).await;
        reception.pour(written, room, funnel).await;
    }
    writer
}

/// Keeps the books of what the kernel throws away, for ever.
async fn count_drops(drops: &UdpDrops, reception: &Reception) {
    let mut ticks = interval(COUNT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        note_drops(drops, reception).await;
    }
}

async fn note_drops(drops: &UdpDrops, reception: &Reception) {
    let lost = drops.news().await;
    if lost > 0 {
        reception.ledger.received(lost, 0);
        reception.ledger.dropped("kernel_buffer_full", lost);
    }
}

fn default_listen() -> Vec<String> {
    ["syslog_udp", "syslog_tcp"].map(str::to_owned).to_vec()
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
