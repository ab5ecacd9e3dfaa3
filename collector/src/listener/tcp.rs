//! Accepts connections and gives each a task; ends them in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::seats::{Seat, Seats};

/// Connections the kernel keeps for us until we accept them.
const BACKLOG: u32 = 1024;

/// A pause after `accept` failed, which it does when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// A silent peer is asked whether it lives after the first time, then this often, this many times: a vanished peer is
/// gone after about two minutes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// A bound address that nobody accepts from yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// What connections of one listener share.
#[derive(Clone)]
pub struct Terms {
    /// The source's seats; all its listeners share them.
    pub seats: Seats,
    /// For TLS.
    pub tls: Option<TlsAcceptor>,
    /// Nothing is accepted after it.
    pub stop: CancellationToken,
}

impl Listener {
    /// Opens an address; port 0 becomes a free one. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The address is taken, not ours, or needs rights we lack.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A restart must not wait until the connections of the former process are forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        let address = socket.local_addr()?;
        Ok(Listener { socket, address })
    }

    /// Where it listens, with the port it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the stop, then waits for the connections; each is `talk`'s to the end.
    pub async fn serve<T, F>(self, terms: Terms, talk: T)
    where
        T: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut is_failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = terms.stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    is_failing = false;
                    // A refused connection is closed by being dropped.
                    if let Some(seat) = terms.seats.take(peer.ip()) {
                        keep_alive(&stream);
                        connections.spawn(converse(
                            stream,
                            peer,
                            seat,
                            terms.clone(),
                            talk.clone(),
                        ));
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(address = %self.address, %error, "cannot accept connections");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

async fn converse<T, F>(stream: TcpStream, peer: SocketAddr, seat: Seat, terms: Terms, talk: T)
where
    T: Fn(Connection) -> F,
    F: Future<Output = ()>,
{
    let connection = match &terms.tls {
        None => Connection::plain(stream, peer, seat, terms.stop),
        Some(acceptor) => {
            let handshake = timeout(HANDSHAKE_TIME, acceptor.accept(stream));
            let shaken = tokio::select! {
                biased;
                () = terms.stop.cancelled() => return,
                () = seat.left() => return,
                shaken = handshake => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => Connection::tls(stream, peer, seat, terms.stop),
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    return;
                }
                Err(_) => return,
            }
        }
    };
    talk(connection).await;
}

/// Finds out when a peer has vanished: log senders are silent for hours and still there.
fn keep_alive(stream: &TcpStream) {
    let (first, between, count) = KEEPALIVE;
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, first))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, between))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, count));
    if let Err(error) = set {
        tracing::debug!(%error, "cannot ask the peer whether it lives");
    }
}
