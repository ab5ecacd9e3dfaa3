//! Listeners: accepts connections, speaks HTTP/1.1 and HTTP/2 (so gRPC too) on each, and ends them in good order.
//!
//! Ours rather than axum's, because it must have what axum's lacks: a limit on how long a request's head may take,
//! limits on the number of connections, and a drain with a deadline. A slow or greedy client costs one connection
//! and none of the others anything.

mod admission;
mod request;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use admission::Admission;
use admission::{Admitted, Refusal};

use crate::settings::Service;
use crate::telemetry::Metrics;

/// How long a client may take for a request's head, and how long an idle connection is kept for its next request
/// (hyper counts both with one clock). Longer than the pauses of pollers that ask once a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// The largest head of an HTTP/1 request, and how much of a body is read at once.
const HTTP1_BUFFER_BYTES: usize = 128 * 1024;

/// The largest head of an HTTP/2 request, decoded.
const HTTP2_HEAD_BYTES: u32 = 64 * 1024;

/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;

/// Bytes under way on one HTTP/2 stream and on one connection, before the sender waits for us.
const HTTP2_WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// A silent HTTP/2 peer is asked this often whether it still lives, and has this long to answer.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Connections the kernel keeps for us until we accept them.
const BACKLOG: u32 = 1024;

/// A pause after `accept` failed, which it does when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener answers with. It can be replaced while connections are open: the next request sees the new one.
pub type Routes = Arc<ArcSwap<Router>>;

/// A bound address that nobody accepts from yet.
#[derive(Debug)]
pub struct Listener {
    service: Service,
    socket: TcpListener,
    address: SocketAddr,
}

/// An address cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {name}: {source}; choose another address in listen.{name}, or off"
)]
pub struct BindError {
    name: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    /// What `source` says of an address.
    pub fn new(service: Service, address: SocketAddr, source: io::Error) -> BindError {
        BindError {
            name: service.name(),
            address,
            source,
        }
    }
}

/// Accepting listeners and their connections.
pub struct Server {
    stop: CancellationToken,
    abort: CancellationToken,
    accept_loops: JoinSet<()>,
}

impl Listener {
    /// Opens an address; port 0 becomes a free one.
    ///
    /// # Errors
    /// The address is taken, not ours, or needs rights we lack.
    pub fn bind(service: Service, address: SocketAddr) -> Result<Listener, BindError> {
        let bind = || {
            let socket = match address {
                SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
                SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
            }?;
            // A restart must not wait until the connections of the former process are forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        match bind() {
            Ok((socket, address)) => Ok(Listener {
                service,
                socket,
                address,
            }),
            Err(source) => Err(BindError::new(service, address, source)),
        }
    }

    /// What it serves.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Where it listens, with the port it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Server {
    /// Begins to accept on every listener.
    pub fn start(
        listeners: Vec<(Listener, Routes)>,
        admission: Admission,
        metrics: &Metrics,
    ) -> Server {
        Server::start_with(listeners, admission, metrics, HEAD_TIMEOUT)
    }

    fn start_with(
        listeners: Vec<(Listener, Routes)>,
        admission: Admission,
        metrics: &Metrics,
        head_timeout: Duration,
    ) -> Server {
        let mut server = Server {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            accept_loops: JoinSet::new(),
        };
        for (listener, routes) in listeners {
            let accept_loop = AcceptLoop {
                name: listener.service.name(),
                socket: listener.socket,
                handler: Handler {
                    routes,
                    metrics: metrics.clone(),
                    head_timeout,
                },
                admission: admission.clone(),
                stop: server.stop.clone(),
                abort: server.abort.clone(),
            };
            server.accept_loops.spawn(accept_loop.run());
        }
        server
    }

    /// Accepts nothing more, lets requests under way end within `grace`, then cuts the rest off.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        let is_drained = timeout(grace, async {
            while self.accept_loops.join_next().await.is_some() {}
        })
        .await
        .is_ok();
        if !is_drained {
            tracing::warn!(?grace, "requests were still under way and are cut off");
            self.abort.cancel();
            while self.accept_loops.join_next().await.is_some() {}
        }
    }
}

/// One listener's task; owns its connections.
struct AcceptLoop {
    name: &'static str,
    socket: TcpListener,
    handler: Handler,
    admission: Admission,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// What every connection of a listener shares.
#[derive(Clone)]
struct Handler {
    routes: Routes,
    metrics: Metrics,
    head_timeout: Duration,
}

impl AcceptLoop {
    async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer, &mut connections),
                    Err(error) => {
                        tracing::warn!(listener = self.name, %error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(self.socket);
        tokio::select! {
            () = self.abort.cancelled() => connections.shutdown().await,
            () = async { while connections.join_next().await.is_some() {} } => {}
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        let admitted = match self.admission.admit(peer.ip()) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.refuse(&stream, refusal);
                return;
            }
        };
        // Answers are small and waited for; there is nothing to gain from holding them back.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let open = self
            .handler
            .metrics
            .connections_open
            .with_label_values(&[self.name]);
        open.inc();
        let serving = serve(stream, self.handler.clone(), self.stop.clone());
        connections.spawn(async move {
            let _admitted: Admitted = admitted;
            serving.await;
            open.dec();
        });
    }

    /// Tells the client as much as fits into its socket without waiting for it.
    fn refuse(&self, stream: &TcpStream, refusal: Refusal) {
        let labels = [self.name, refusal.reason()];
        self.handler
            .metrics
            .connections_refused
            .with_label_values(&labels)
            .inc();
        tracing::debug!(
            listener = self.name,
            reason = refusal.reason(),
            "connection refused"
        );
        let _ = stream.try_write(
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
              content-length: 21\r\n\r\ntoo many connections\n",
        );
    }
}

async fn serve(stream: TcpStream, handler: Handler, stop: CancellationToken) {
    let head_timeout = handler.head_timeout;
    let has_asked = Arc::new(AtomicBool::new(false));
    let first_request = Arc::clone(&has_asked);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        first_request.store(true, Ordering::Relaxed);
        let handler = handler.clone();
        async move {
            let router = Router::clone(&handler.routes.load());
            Ok::<_, std::convert::Infallible>(
                request::answer(router, request, &handler.metrics).await,
            )
        }
    });
    let builder = connection_builder(head_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut too_silent = pin!(silence(head_timeout, &has_asked));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended early");
                }
                return;
            }
            () = too_silent.as_mut() => return,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Ends when a connection has made no request within `head_timeout`; never, once it has made one.
///
/// hyper's own clock for heads only starts once it knows whether it is HTTP/1 or 2, which a client can delay for
/// ever by sending half of the first line.
async fn silence(head_timeout: Duration, has_asked: &AtomicBool) {
    sleep(head_timeout).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn connection_builder(head_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HTTP2_HEAD_BYTES)
        .max_concurrent_streams(HTTP2_STREAMS)
        .initial_stream_window_size(HTTP2_WINDOWS.0)
        .initial_connection_window_size(HTTP2_WINDOWS.1)
        .keep_alive_interval(HTTP2_PING.0)
        .keep_alive_timeout(HTTP2_PING.1);
    builder
}

#[cfg(test)]
mod tests;
