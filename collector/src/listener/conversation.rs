//! Receives for protocols that acknowledge: whole messages of a connection become events, and the sender's answer
//! follows when they are durable.

use std::sync::Arc;
use std::time::Duration;

use event::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Heard, PIECE_BYTES};
use super::funnel::{Funnel, Room, Stored};
use super::reception::Written;
use super::service::{Desk, Service};

/// A message must be whole within this time.
const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// Events between the sockets and the journal. Their senders keep them until they are answered, so that a crash loses none.
const FUNNEL_BYTES: usize = 64 << 20;

/// What compressed messages take while they are taken apart, over all sources; one takes half of it at most.
pub const INFLATED_BYTES: usize = 2 * INFLATED_BYTES_MAX;

/// The most bytes of one message, decompressed.
pub const INFLATED_BYTES_MAX: usize = 32 << 20;

/// About what the events of one turn may take. Few bytes can be many events, so a large message is heard in parts.
pub const PART_BYTES: usize = 4 << 20;

/// What there must be room for before a message is heard: a part, and the event it ends with.
const PART_ROOM: usize = PART_BYTES + (1 << 20);

/// How often a sender hears that its message is still being worked on.
const STILL_HERE: Duration = Duration::from_secs(5);

/// One side of a conversation: ours.
pub trait Dialogue: Send + 'static {
    /// What we say first; mostly nothing.
    fn greeting(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// How many bytes at the beginning of `buffer` can be worked on at once: one whole message, or several that are answered
    /// together. `None`: more are needed. It is called again with the same bytes and more behind them.
    ///
    /// # Errors
    /// This is not our protocol, or larger than anything in it may be. The connection is closed.
    fn whole(&mut self, buffer: &[u8]) -> Result<Option<usize>, &'static str>;

    /// Works on those bytes, which arrived at `now`, UTC. Runs on a thread where it may take its time. It is called again with
    /// the same bytes as long as [`Turn::is_part`].
    fn hear(&mut self, bytes: &[u8], now: Timestamp) -> Turn;

    /// Whether those bytes will be decompressed, to [`INFLATED_BYTES_MAX`] at most.
    fn inflates(&self, _bytes: &[u8]) -> bool {
        false
    }

    /// How many decompressed bytes are kept for the next parts.
    fn inflated_bytes(&self) -> usize {
        0
    }

    /// What tells a sender that waits for its answer that we are still there; mostly nothing can.
    fn still_here(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// What follows from a message.
#[derive(Debug, Default)]
pub struct Turn {
    /// The events and what else is for the books.
    pub written: Written,
    /// What the sender hears, once the events are durable.
    pub answer: Vec<u8>,
    /// A later answer is for these events, too: nothing more is heard before they are durable.
    pub waits: bool,
    /// Nothing more is heard from this sender.
    pub closes: bool,
    /// There is more in the same bytes.
    pub is_part: bool,
}

/// Converses until `shutdown`; messages that are being made durable by then are still answered. `dialogue` makes one for
/// a connection.
pub async fn converse<D: Dialogue>(
    service: Service,
    dialogue: impl Fn(&Connection) -> D + Clone + Send + 'static,
    shutdown: CancellationToken,
) {
    let mut serving = service.begin(FUNNEL_BYTES, shutdown);
    serving.streams(move |connection, desk| {
        let dialogue = dialogue(&connection);
        talk(connection, dialogue, desk)
    });
    serving.finish().await;
}

/// One connection, to its end.
async fn talk<D: Dialogue>(mut connection: Connection, mut dialogue: D, desk: Desk) {
    let peer = connection.peer();
    let greeting = dialogue.greeting();
    if !greeting.is_empty() && connection.write(&greeting).await.is_err() {
        return;
    }
    let mut buffer = Vec::new();
    let mut half = desk.memory.halves.of(peer.ip());
    let mut half_since: Option<Instant> = None;
    loop {
        let until = half_since.map(|since| since + MESSAGE_TIME);
        // For this piece only: what a whole message becomes has room of its own.
        let reading = connection.read(&mut buffer, &desk.funnel, PIECE_BYTES, until);
        let Heard::Piece(room) = reading.await else {
            break;
        };
        drop(room);
        loop {
            let length = match dialogue.whole(&buffer) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(problem) => {
                    tracing::debug!(%peer, problem, "a sender speaks another protocol, closed");
                    desk.ledger.received(1, buffer.len() as u64);
                    desk.ledger.rejected("malformed", 1);
                    return connection.close().await;
                }
            };
            half_since = None;
            let now = (desk.now)();
            let mut inflated = match dialogue.inflates(&buffer[..length]) {
                true => room_to_inflate(&desk.memory.inflated).await,
                false => None,
            };
            loop {
                let room = desk.funnel.room(PART_ROOM).await;
                let job = move || {
                    let turn = dialogue.hear(&buffer[..length], now);
                    (dialogue, buffer, turn)
                };
                let turn;
                (dialogue, buffer, turn) = desk.cpu.run(length, job).await;
                if let Some(permit) = &mut inflated {
                    let fewer = permit
                        .num_permits()
                        .saturating_sub(dialogue.inflated_bytes());
                    drop(permit.split(fewer));
                }
                desk.count(&turn.written);
                let is_part = turn.is_part;
                let still_here = dialogue.still_here();
                let is_stored =
                    answer(&mut connection, &still_here, turn, room, &desk.funnel).await;
                if !is_stored {
                    return connection.close().await;
                }
                if !is_part {
                    break;
                }
            }
            buffer.drain(..length);
        }
        half_since = match buffer.is_empty() {
            true => None,
            false => half_since.or_else(|| Some(Instant::now())),
        };
        if !half.hold(buffer.len()) {
            tracing::debug!(%peer, "no memory for its half message, closed");
            break;
        }
    }
    connection.close().await;
}

/// Room for one decompressed message. Whoever waits for it holds no room for events, and whoever has it may wait for that.
async fn room_to_inflate(inflated: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(INFLATED_BYTES_MAX).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    Arc::clone(inflated).acquire_many_owned(permits).await.ok()
}

/// Makes the events durable, then says so. `false`: the conversation is over.
async fn answer(
    connection: &mut Connection,
    still_here: &[u8],
    turn: Turn,
    mut room: Room,
    funnel: &Funnel,
) -> bool {
    room.shrink_to(turn.written.byte_size());
    if turn.answer.is_empty() && !turn.waits {
        // Nobody waits: the next message may be read meanwhile.
        funnel.pour(turn.written.events, room).await;
        return !turn.closes;
    }
    let storing = funnel.store(turn.written.events, room);
    tokio::pin!(storing);
    let mut ticks = interval_at(Instant::now() + STILL_HERE, STILL_HERE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_there = true;
    let stored = loop {
        tokio::select! {
            stored = &mut storing => break stored,
            _ = ticks.tick(), if is_there && !still_here.is_empty() => {
                // A sender that has gone is no reason to stop: its events are on their way.
                is_there = connection.write(still_here).await.is_ok();
            }
        }
    };
    if !is_there {
        return false;
    }
    // Without an answer the sender sends it again.
    if stored == Stored::No || turn.closes && turn.answer.is_empty() {
        return false;
    }
    connection.write(&turn.answer).await.is_ok() && !turn.closes
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use event::Ledger;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;
    use crate::cpu::CpuPermits;
    use crate::listener::SharedMemory;
    use crate::listener::seats::{SeatLimits, Seats};
    use crate::source::fake::{FakeJournal, fixed_now};

    /// Answers a line with its length.
    struct Lines;

    impl Dialogue for Lines {
        fn whole(&mut self, buffer: &[u8]) -> Result<Option<usize>, &'static str> {
            Ok(buffer.ends_with(b"\n").then_some(buffer.len()))
        }

        fn hear(&mut self, bytes: &[u8], _now: Timestamp) -> Turn {
            Turn {
                answer: format!("{}", bytes.len()).into_bytes(),
                ..Turn::default()
            }
        }
    }

    #[tokio::test]
    async fn half_a_large_message_does_not_wait_for_what_others_have_under_way() {
        let journal = Arc::new(FakeJournal::default());
        let ledger = Ledger::new().source("lines");
        let (funnel, _end) = Funnel::new(
            Arc::from("lines"),
            journal,
            Arc::clone(&ledger),
            fixed_now,
            8 << 20,
        );
        let desk = Desk {
            ledger,
            funnel: funnel.clone(),
            memory: SharedMemory::new(64 << 20),
            cpu: CpuPermits::new(2),
            now: fixed_now,
        };
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = listener.await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sender = TcpStream::connect(address).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let seat = Seats::new(SeatLimits::default()).take(peer.ip()).unwrap();
        let connection = Connection::plain(stream, peer, seat, CancellationToken::new());
        let talking = tokio::spawn(talk(connection, Lines, desk));

        // Another's events, which are not durable yet.
        let room = funnel.room(2 << 20).await;
        let mut line = vec![b'x'; 24 << 20];
        let sending = timeout(Duration::from_secs(20), sender.write_all(&line));
        sending.await.expect("it is read").unwrap();
        line.push(b'\n');
        sender.write_all(b"\n").await.unwrap();
        drop(room);
        let mut answer = vec![0; 8];
        sender.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, line.len().to_string().as_bytes());
        drop(sender);
        talking.await.unwrap();
    }
}
