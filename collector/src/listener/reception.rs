//! Receives for protocols whose senders hear nothing back: bytes of connections and datagrams through a decoder into
//! the funnel, and their books.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use event::{Event, SourceLedger, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Heard};
use super::funnel::{Funnel, Room};
use super::seats::Seats;
use super::tcp::{self, Listener};
use super::udp::{Datagrams, UdpDrops, UdpSockets};
use crate::body::{InFlight, Reservation};
use crate::cpu::CpuPermits;
use crate::source::SourceParts;

/// A message must be whole within this time. Who sends a byte a second has no business here.
const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// Events between the sockets and the journal: some batches, not more, because a crash loses what is in it.
pub const FUNNEL_BYTES: usize = 16 << 20;

/// Halves of messages that wait for the rest, over all connections.
const HALVES_BYTES: u64 = 64 << 20;

/// A half message up to this size is part of what a connection costs.
const HALF_BYTES_FREE: usize = 4096;

/// Datagrams worked on at once.
const PART_BYTES: usize = 128 << 10;

/// Events take more memory than the bytes they were sent in.
const GROWTH: usize = 4;

/// How often the kernel's count of lost datagrams is read, and a decoder that hears nothing looks at the clock.
const LOOK_UP: Duration = Duration::from_secs(1);

/// Turns what senders send into events. One for each connection, and one for all datagrams of an address.
pub trait Decoder: Send + 'static {
    /// When the bytes of the next calls arrived, UTC.
    fn arrived(&mut self, now: Timestamp);

    /// Takes the messages at the beginning of a connection's bytes and answers how many bytes that were; the rest
    /// comes again with more behind it.
    fn stream(&mut self, peer: SocketAddr, bytes: &[u8]) -> usize;

    /// Takes what is left of a connection that has ended.
    fn stream_end(&mut self, rest: &[u8]);

    /// Takes a datagram.
    fn datagram(&mut self, peer: SocketAddr, bytes: &[u8]);

    /// No more datagrams will come.
    fn datagrams_end(&mut self) {}

    /// What came of it since the last call.
    fn take(&mut self) -> Written;

    /// Whether a pipeline runs, which takes longer than decoding.
    fn has_pipeline(&self) -> bool;
}

/// What became of some messages.
#[derive(Debug, Default)]
pub struct Written {
    /// For the journal.
    pub events: Vec<Event>,
    /// Messages read, those without an event among them.
    pub received: u64,
    /// Bytes they had.
    pub received_bytes: u64,
    /// Why steps or the decoder dropped messages, one entry each.
    pub dropped: Vec<&'static str>,
    /// Why messages could not become events, one entry each.
    pub rejected: Vec<&'static str>,
}

impl Written {
    /// About how many bytes the events take in memory.
    pub fn byte_size(&self) -> usize {
        self.events.iter().map(Event::byte_size).sum()
    }
}

/// What is received from, and for whom.
pub struct Reception {
    /// The source.
    pub parts: SourceParts,
    /// Where senders connect, with what is needed for TLS.
    pub streams: Vec<(Listener, Option<TlsAcceptor>)>,
    /// Where senders send datagrams.
    pub datagrams: Vec<UdpSockets>,
    /// For connections.
    pub seats: Seats,
    /// For work on many messages at once.
    pub cpu: CpuPermits,
}

impl Reception {
    /// Takes messages until `shutdown`; then what was read, and what the kernel holds, is still stored: about three
    /// seconds at most. `decoder` makes one.
    pub async fn run<D: Decoder>(
        self,
        decoder: impl Fn() -> D + Clone + Send + Sync + 'static,
        shutdown: CancellationToken,
    ) {
        let parts = self.parts;
        let (funnel, funnel_end) = Funnel::new(
            Arc::clone(&parts.name),
            parts.append,
            Arc::clone(&parts.ledger),
            parts.now,
            FUNNEL_BYTES,
        );
        let desk = Arc::new(Desk {
            ledger: parts.ledger,
            halves: InFlight::new(HALVES_BYTES),
            cpu: self.cpu,
            now: parts.now,
        });
        let mut tasks = JoinSet::new();
        for (listener, tls) in self.streams {
            let terms = tcp::Terms {
                seats: self.seats.clone(),
                tls,
                stop: shutdown.clone(),
            };
            let (desk, funnel, decoder) = (Arc::clone(&desk), funnel.clone(), decoder.clone());
            let talk = move |connection| {
                read_stream(connection, decoder(), Arc::clone(&desk), funnel.clone())
            };
            tasks.spawn(listener.serve(terms, talk));
        }
        for sockets in self.datagrams {
            let (desk, stop) = (Arc::clone(&desk), shutdown.clone());
            tasks.spawn(read_datagrams(
                sockets,
                decoder(),
                desk,
                funnel.clone(),
                stop,
            ));
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

/// What all senders of a source share.
struct Desk {
    ledger: Arc<SourceLedger>,
    halves: InFlight,
    cpu: CpuPermits,
    now: fn() -> Timestamp,
}

impl Desk {
    /// Counts what was decoded and hands it over; `room` becomes as large as it is.
    async fn pour(&self, written: Written, mut room: Room, funnel: &Funnel) {
        self.ledger
            .received(written.received, written.received_bytes);
        for reason in &written.dropped {
            self.ledger.dropped(reason, 1);
        }
        for reason in &written.rejected {
            self.ledger.rejected(reason, 1);
        }
        room.shrink_to(written.byte_size());
        funnel.pour(written.events, room).await;
    }
}

/// One connection, to its end.
async fn read_stream<D: Decoder>(
    mut connection: Connection,
    mut decoder: D,
    desk: Arc<Desk>,
    funnel: Funnel,
) {
    connection.one_way();
    let peer = connection.peer();
    let mut buffer = Vec::new();
    let mut held = desk.halves.reserve_nothing();
    let mut half_since: Option<Instant> = None;
    loop {
        let until = half_since.map(|since| since + MESSAGE_TIME);
        let Heard::Piece(room) = connection.read(&mut buffer, &funnel, until).await else {
            break;
        };
        decoder.arrived((desk.now)());
        let has_pipeline = decoder.has_pipeline();
        let job = move || {
            let used = decoder.stream(peer, &buffer);
            buffer.drain(..used);
            let written = decoder.take();
            (decoder, buffer, written)
        };
        let written;
        (decoder, buffer, written) = match has_pipeline {
            true => desk.cpu.run_elsewhere(job).await,
            false => job(),
        };
        let is_new_half = written.received > 0 || half_since.is_none();
        half_since = match buffer.is_empty() {
            true => None,
            false if is_new_half => Some(Instant::now()),
            false => half_since,
        };
        desk.pour(written, room, &funnel).await;
        if !hold(&mut held, buffer.len()) {
            tracing::debug!(%peer, "no memory for its half message, closed");
            break;
        }
    }
    drop(held);
    decoder.arrived((desk.now)());
    decoder.stream_end(&buffer);
    let written = decoder.take();
    if written.received > 0 {
        let room = funnel.room(written.byte_size()).await;
        desk.pour(written, room, &funnel).await;
    }
    connection.close().await;
}

/// Makes `held` as large as the half message of a connection; `false` when there is no memory for it.
pub fn hold(held: &mut Reservation, half_bytes: usize) -> bool {
    let wanted = half_bytes.saturating_sub(HALF_BYTES_FREE);
    let has = usize::try_from(held.bytes()).unwrap_or(usize::MAX);
    if wanted <= has {
        held.shrink(has - wanted);
        return true;
    }
    held.grow(wanted - has)
}

/// The datagrams of one address, to the end.
async fn read_datagrams<D: Decoder>(
    sockets: UdpSockets,
    mut decoder: D,
    desk: Arc<Desk>,
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
    let counting = count_drops(&drops, &desk);
    let reading = async {
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => return decoder,
                taken = timeout(LOOK_UP, reader.take()) => taken,
            };
            // Nothing, too, tells a decoder that time has passed.
            let datagrams = taken.unwrap_or_default();
            decoder = decode_datagrams(datagrams, decoder, &desk, &funnel).await;
        }
    };
    let decoder = tokio::select! {
        decoder = reading => decoder,
        () = counting => return,
    };
    let last = reader.stop().await;
    let mut decoder = decode_datagrams(last, decoder, &desk, &funnel).await;
    decoder.datagrams_end();
    let room = funnel.room(1).await;
    desk.pour(decoder.take(), room, &funnel).await;
    note_drops(&drops, &desk).await;
}

async fn decode_datagrams<D: Decoder>(
    datagrams: Datagrams,
    mut decoder: D,
    desk: &Desk,
    funnel: &Funnel,
) -> D {
    for part in datagrams.parts(PART_BYTES) {
        let room = funnel.room(part.byte_size() * GROWTH).await;
        decoder.arrived((desk.now)());
        let input_bytes = match decoder.has_pipeline() && !part.is_empty() {
            true => usize::MAX,
            false => part.byte_size(),
        };
        let job = move || {
            for (datagram, peer) in part.iter() {
                decoder.datagram(peer, datagram);
            }
            let written = decoder.take();
            (decoder, written)
        };
        let written;
        (decoder, written) = desk.cpu.run(input_bytes, job).await;
        desk.pour(written, room, funnel).await;
    }
    decoder
}

/// Keeps the books of what the kernel throws away, for ever.
async fn count_drops(drops: &UdpDrops, desk: &Desk) {
    let mut ticks = interval(LOOK_UP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        note_drops(drops, desk).await;
    }
}

async fn note_drops(drops: &UdpDrops, desk: &Desk) {
    let lost = drops.news().await;
    if lost > 0 {
        desk.ledger.received(lost, 0);
        desk.ledger.dropped("kernel_buffer_full", lost);
    }
}
