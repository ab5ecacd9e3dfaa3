//! One sender's connection, plain or TLS: read in pieces, for which there must be room first.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::funnel::{Funnel, Room};
use super::seats::Seat;

/// Read at once. One piece is decoded in some hundred microseconds, so that its task does not hold up others.
pub const PIECE_BYTES: usize = 32 << 10;

/// After the stop is asked for: how long a sender may go on, and how long it may be quiet before that is its end.
const LAST_WORDS: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(200);

/// How long one answer may take to be sent.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What both kinds of streams can do.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection and its seat.
pub struct Connection {
    stream: Stream,
    peer: SocketAddr,
    seat: Seat,
    stop: CancellationToken,
    /// Nothing is ever answered on it.
    is_one_way: bool,
    /// Since the stop was asked for.
    drain_until: Option<Instant>,
}

/// What [`Connection::read`] brought.
#[derive(Debug)]
pub enum Heard {
    /// There is more in the buffer; here is the room that was asked for.
    Piece(Room),
    /// Nothing came in time.
    Late,
    /// Nothing more will come: the sender closed, the connection broke, must leave, or we are stopping.
    End,
}

impl Connection {
    /// A plain connection.
    pub fn plain(
        stream: TcpStream,
        peer: SocketAddr,
        seat: Seat,
        stop: CancellationToken,
    ) -> Connection {
        Connection::new(Stream::Plain(stream), peer, seat, stop)
    }

    /// A connection whose handshake is done.
    pub fn tls(
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
        seat: Seat,
        stop: CancellationToken,
    ) -> Connection {
        Connection::new(Stream::Tls(Box::new(stream)), peer, seat, stop)
    }

    fn new(stream: Stream, peer: SocketAddr, seat: Seat, stop: CancellationToken) -> Connection {
        Connection {
            stream,
            peer,
            seat,
            stop,
            is_one_way: false,
            drain_until: None,
        }
    }

    /// Says that nothing is ever answered: at the stop the sender is told by a FIN, and what it has sent by then is
    /// still read for up to a second. Otherwise reading ends with the stop.
    pub fn one_way(&mut self) {
        self.is_one_way = true;
    }

    /// The sender's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Appends what the sender sent to `buffer`, [`PIECE_BYTES`] at a time; waits for it until `until`. Nothing is read
    /// before `funnel` has `room_bytes` of room.
    ///
    /// While nothing comes, no memory is held beside `buffer`'s own bytes. Cancel safe.
    pub async fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        funnel: &Funnel,
        room_bytes: usize,
        until: Option<Instant>,
    ) -> Heard {
        loop {
            if self.stop.is_cancelled() && !self.may_go_on().await {
                return Heard::End;
            }
            let room = tokio::select! {
                biased;
                () = self.seat.left() => return Heard::End,
                room = funnel.room(room_bytes) => room,
            };
            match self.read_now(buffer).await {
                Some(Ok(0)) | Some(Err(_)) => return Heard::End,
                Some(Ok(_)) => {
                    self.seat.heard();
                    return Heard::Piece(room);
                }
                None => {}
            }
            drop(room);
            buffer.shrink_to(buffer.len());
            if let Some(outcome) = self.wait(until).await {
                return outcome;
            }
        }
    }

    /// Sends an answer.
    ///
    /// # Errors
    /// The connection is broken, must leave, or the sender does not read for half a minute.
    pub async fn write(&mut self, answer: &[u8]) -> io::Result<()> {
        let writing = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.write_all(answer).await,
                Stream::Tls(stream) => {
                    stream.write_all(answer).await?;
                    stream.flush().await
                }
            }
        };
        let in_time = timeout(ANSWER_TIME, writing);
        tokio::select! {
            biased;
            () = self.seat.left() => Err(io::ErrorKind::ConnectionAborted.into()),
            written = in_time => written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Ends the connection in good order.
    pub async fn close(mut self) {
        // Whoever does not read our goodbye does not need it.
        let _ = timeout(QUIET, self.close_writing()).await;
    }

    /// Reads without waiting; `None` when there is nothing.
    async fn read_now(&mut self, buffer: &mut Vec<u8>) -> Option<io::Result<usize>> {
        buffer.reserve(PIECE_BYTES);
        let mut piece = buffer.limit(PIECE_BYTES);
        let polled = match &mut self.stream {
            Stream::Plain(stream) => {
                let mut reading = pin!(stream.read_buf(&mut piece));
                poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await
            }
            Stream::Tls(stream) => {
                let mut reading = pin!(stream.read_buf(&mut piece));
                poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await
            }
        };
        match polled {
            Poll::Ready(read) => Some(read),
            Poll::Pending => None,
        }
    }

    /// Waits until there may be something to read; otherwise answers what [`Connection::read`] does.
    async fn wait(&mut self, until: Option<Instant>) -> Option<Heard> {
        let wake = match self.drain_until {
            Some(end) => Some(end.min(Instant::now() + QUIET)),
            None => until,
        };
        let socket = match &self.stream {
            Stream::Plain(stream) => stream,
            // A read that had nothing to give has used up all that TLS keeps.
            Stream::Tls(stream) => stream.get_ref().0,
        };
        tokio::select! {
            biased;
            () = self.seat.left() => Some(Heard::End),
            // What follows from the stop is decided before the next read.
            () = self.stop.cancelled(), if self.drain_until.is_none() => None,
            readable = socket.readable() => readable.is_err().then_some(Heard::End),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                Some(match self.drain_until {
                    Some(_) => Heard::End,
                    None => Heard::Late,
                })
            }
        }
    }

    /// Whether reading goes on although we are stopping; tells the sender at the first call.
    async fn may_go_on(&mut self) -> bool {
        if !self.is_one_way {
            return false;
        }
        match self.drain_until {
            Some(end) => Instant::now() < end,
            None => {
                self.drain_until = Some(Instant::now() + LAST_WORDS);
                let _ = timeout(QUIET, self.close_writing()).await;
                true
            }
        }
    }

    async fn close_writing(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown().await,
            Stream::Tls(stream) => stream.shutdown().await,
        }
    }
}
