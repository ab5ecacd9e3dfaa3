//! Receives for protocols whose senders hear nothing back: bytes of connections and datagrams through a decoder into
//! the funnel, and their books.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use event::{Event, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Heard, PIECE_BYTES};
use super::funnel::Room;
use super::service::{Desk, Service};
use super::udp::{Datagrams, UdpDrops, UdpSockets};

/// A message must be whole within this time. Who sends a byte a second has no business here.
const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// Events between the sockets and the journal: some batches, not more, because a crash loses what is in it.
const FUNNEL_BYTES: usize = 16 << 20;

/// Datagrams worked on at once.
const PART_BYTES: usize = 128 << 10;

/// Datagrams may be compressed: what came of those before the next one is handed over when it takes so much.
const WRITTEN_BYTES: usize = 1 << 20;

/// Events take more memory than the bytes they were sent in: names, numbers, escapes.
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
    /// Takes over what another one has.
    pub fn absorb(&mut self, more: Written) {
        self.events.extend(more.events);
        self.received += more.received;
        self.received_bytes += more.received_bytes;
        self.dropped.extend(more.dropped);
        self.rejected.extend(more.rejected);
    }

    /// Adds an event; answers about how much memory it takes.
    pub fn push(&mut self, event: Event) -> usize {
        let bytes = event.byte_size() + size_of::<Event>();
        self.events.push(event);
        bytes
    }

    /// About how many bytes the events take in memory.
    pub fn byte_size(&self) -> usize {
        self.events.iter().map(Event::byte_size).sum()
    }
}

/// Takes messages until `shutdown`; then what was read, and what the kernel holds, is still stored: about three seconds
/// at most. `decoder` makes one.
pub async fn receive<D: Decoder>(
    service: Service,
    decoder: impl Fn() -> D + Clone + Send + Sync + 'static,
    shutdown: CancellationToken,
) {
    let mut serving = service.begin(FUNNEL_BYTES, shutdown);
    let of_stream = decoder.clone();
    serving.streams(move |connection, desk| read_stream(connection, of_stream(), desk));
    serving.datagrams(|sockets, desk, stop| read_datagrams(sockets, decoder.clone(), desk, stop));
    serving.finish().await;
}

/// Counts what was decoded and hands it over; `room` becomes as large as it is.
async fn pour(desk: &Desk, written: Written, mut room: Room) {
    desk.count(&written);
    room.shrink_to(written.byte_size());
    desk.funnel.pour(written.events, room).await;
}

/// One connection, to its end.
async fn read_stream<D: Decoder>(mut connection: Connection, mut decoder: D, desk: Desk) {
    connection.one_way();
    let peer = connection.peer();
    let mut buffer = Vec::new();
    let mut half = desk.memory.halves.of(peer.ip());
    let mut half_since: Option<Instant> = None;
    loop {
        let until = half_since.map(|since| since + MESSAGE_TIME);
        let room_bytes = (PIECE_BYTES + buffer.len()) * GROWTH;
        let reading = connection.read(&mut buffer, &desk.funnel, room_bytes, until);
        let Heard::Piece(room) = reading.await else {
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
        pour(&desk, written, room).await;
        if !half.hold(buffer.len()) {
            tracing::debug!(%peer, "no memory for its half message, closed");
            break;
        }
    }
    drop(half);
    decoder.arrived((desk.now)());
    decoder.stream_end(&buffer);
    let written = decoder.take();
    if written.received > 0 {
        let room = desk.funnel.room(written.byte_size()).await;
        pour(&desk, written, room).await;
    }
    connection.close().await;
}

/// The datagrams of one address, to the end.
async fn read_datagrams<D: Decoder>(
    sockets: UdpSockets,
    fresh: impl Fn() -> D + Clone + Send + Sync + 'static,
    desk: Desk,
    stop: CancellationToken,
) {
    let mut decoder = fresh();
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
            decoder = decode_datagrams(datagrams, decoder, &fresh, &desk).await;
        }
    };
    let decoder = tokio::select! {
        decoder = reading => decoder,
        () = counting => return,
    };
    let last = reader.stop().await;
    let mut decoder = decode_datagrams(last, decoder, &fresh, &desk).await;
    decoder.datagrams_end();
    let room = desk.funnel.room(1).await;
    pour(&desk, decoder.take(), room).await;
    note_drops(&drops, &desk).await;
}

async fn decode_datagrams<D: Decoder>(
    datagrams: Datagrams,
    mut decoder: D,
    fresh: &(impl Fn() -> D + Clone + Send + Sync + 'static),
    desk: &Desk,
) -> D {
    for mut part in datagrams.parts(PART_BYTES) {
        let mut taken = 0;
        loop {
            let room_bytes = WRITTEN_BYTES.max(part.byte_size() * GROWTH);
            let mut room = desk.funnel.room(room_bytes).await;
            let (now, fresh) = ((desk.now)(), fresh.clone());
            decoder.arrived(now);
            let input_bytes = match decoder.has_pipeline() && !part.is_empty() {
                true => usize::MAX,
                false => part.byte_size(),
            };
            let job = move || {
                let mut written = Written::default();
                let mut written_bytes = 0;
                while let Some((datagram, peer)) = part.get(taken)
                    && written_bytes < WRITTEN_BYTES
                {
                    taken += 1;
                    let read = AssertUnwindSafe(|| {
                        decoder.datagram(peer, datagram);
                        decoder.take()
                    });
                    let more = catch_unwind(read).unwrap_or_else(|_| {
                        // A mistake of ours costs this datagram and what was half there, not the listener.
                        decoder = fresh();
                        decoder.arrived(now);
                        Written {
                            received: 1,
                            received_bytes: datagram.len() as u64,
                            rejected: vec!["internal_error"],
                            ..Written::default()
                        }
                    });
                    written_bytes += more.byte_size();
                    written.absorb(more);
                }
                // Without a datagram there may be something, too: what was given up.
                written.absorb(decoder.take());
                (decoder, part, taken, written)
            };
            let written;
            (decoder, part, taken, written) = desk.cpu.run(input_bytes, job).await;
            if written.byte_size() > room.bytes() {
                drop(room);
                room = desk.funnel.room(written.byte_size()).await;
            }
            pour(desk, written, room).await;
            if taken >= part.len() {
                break;
            }
        }
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;

    use event::Ledger;

    use super::super::seats::SeatLimits;
    use super::super::{Sockets, Transport};
    use super::*;
    use crate::source::fake::{FakeJournal, listening};

    /// Counts what it hears, and has a mistake.
    struct Brittle(Written);

    impl Decoder for Brittle {
        fn arrived(&mut self, _: Timestamp) {}

        fn stream(&mut self, _: SocketAddr, bytes: &[u8]) -> usize {
            bytes.len()
        }

        fn stream_end(&mut self, _: &[u8]) {}

        fn datagram(&mut self, _: SocketAddr, bytes: &[u8]) {
            assert_ne!(bytes, b"boom");
            self.0.received += 1;
            self.0.dropped.push("heard");
        }

        fn take(&mut self) -> Written {
            std::mem::take(&mut self.0)
        }

        fn has_pipeline(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_datagram_we_cannot_bear_costs_only_itself() {
        let mut sockets = Sockets::default();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = sockets.open("brittle", Transport::Udp, loopback).unwrap();
        let (journal, ledger) = (Arc::new(FakeJournal::default()), Ledger::new());
        let parts = journal.parts("brittle", &ledger);
        let service = Service::new(parts, listening(sockets), SeatLimits::default());
        let shutdown = CancellationToken::new();
        let decoder = || Brittle(Written::default());
        let running = tokio::spawn(receive(service, decoder, shutdown.clone()));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for datagram in ["one", "boom", "two"] {
            sender.send_to(datagram.as_bytes(), address).unwrap();
        }
        let received = || ledger.totals().first().map_or(0, |books| books.received);
        while received() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.cancel();
        running.await.unwrap();
        let books = ledger.totals().remove(0);
        assert_eq!(
            (books.dropped["heard"], books.rejected["internal_error"]),
            (2, 1)
        );
    }
}
