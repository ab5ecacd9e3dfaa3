//! Sockets that senders of logs connect to or send datagrams to, and the way from many of them into few batches.
//!
//! ```text
//! tcp::serve ── seats ── connection ──┐
//!                                     ├── the source's Decoder ── funnel ── dyn Append
//! udp: thread per socket ── shelf ────┘
//! ```
//!
//! What holds for every source behind: a silent or slow sender costs one seat and next to no memory; nothing is read
//! for which [`funnel`] has no room, so a stalled journal slows senders down instead of filling memory; what the
//! kernel throws away of datagrams is counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::cpu::CpuPermits;
use conversation::INFLATED_BYTES;
use halves::Halves;
use tcp::Listener;
use udp::UdpSockets;

pub mod connection;
pub mod conversation;
pub mod funnel;
pub mod halves;
pub mod reception;
pub mod seats;
pub mod service;
pub mod tcp;
pub mod tls;
pub mod udp;

/// What is spoken on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What a source that listens needs beside [`crate::source::SourceParts`].
pub struct Listening {
    /// Its addresses.
    pub sockets: Sockets,
    /// Permits for work on many messages at once.
    pub cpu: CpuPermits,
    /// What it shares with the others that listen.
    pub memory: SharedMemory,
    /// Connections it may hold, whatever its settings say: each takes a file descriptor.
    pub connections_max: usize,
    /// `limits.event`: longer messages are cut.
    pub message_bytes_max: usize,
}

/// Memory that all sources that listen share, so that the sum of them is bounded. Cheap to clone; one for the process.
#[derive(Debug, Clone)]
pub struct SharedMemory {
    /// For messages that are not whole yet.
    pub halves: Halves,
    /// For what compressed messages are while they are taken apart, in bytes.
    pub inflated: Arc<Semaphore>,
}

impl SharedMemory {
    /// With so many bytes for halves.
    pub fn new(halves_bytes: u64) -> SharedMemory {
        SharedMemory {
            halves: Halves::new(halves_bytes),
            inflated: Arc::new(Semaphore::new(INFLATED_BYTES)),
        }
    }
}

/// Opened addresses by the names they have in `listen:`, until the sources take them.
#[derive(Default)]
pub struct Sockets {
    /// With what is needed where all connections are TLS.
    tcp: Vec<(&'static str, Listener, Option<TlsAcceptor>)>,
    udp: Vec<(&'static str, UdpSockets)>,
}

impl Sockets {
    /// Opens an address; port 0 becomes a free one, which is answered. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The address is taken, not ours, or needs rights we lack.
    pub fn open(
        &mut self,
        name: &'static str,
        transport: Transport,
        address: SocketAddr,
    ) -> io::Result<SocketAddr> {
        match transport {
            Transport::Tcp => {
                let listener = Listener::bind(address)?;
                let address = listener.address();
                self.tcp.push((name, listener, None));
                Ok(address)
            }
            Transport::Udp => {
                let sockets = UdpSockets::bind(address)?;
                let address = sockets.address();
                self.udp.push((name, sockets));
                Ok(address)
            }
        }
    }

    /// Takes the addresses with these names out.
    pub fn take(&mut self, names: &[String]) -> Sockets {
        let is_taken = |name: &str| names.iter().any(|wanted| wanted == name);
        Sockets {
            tcp: self
                .tcp
                .extract_if(.., |(name, ..)| is_taken(name))
                .collect(),
            udp: self
                .udp
                .extract_if(.., |(name, _)| is_taken(name))
                .collect(),
        }
    }

    /// Makes all connections to the addresses with this name TLS, when there are settings for it.
    ///
    /// # Errors
    /// A file of the settings cannot be used.
    pub fn secure(&mut self, name: &str, tls: Option<&tls::Settings>) -> Result<(), String> {
        let acceptor = tls.map(tls::Settings::acceptor).transpose()?;
        for (_, _, own) in self.tcp.iter_mut().filter(|(own, ..)| *own == name) {
            own.clone_from(&acceptor);
        }
        Ok(())
    }
}

/// Checks the setting `listen` of a source that may listen under the names in `known`.
///
/// # Errors
/// The setting and what is wrong with it.
pub fn check_names(
    listen: &[String],
    source_type: &str,
    known: &[&str],
) -> Result<(), (&'static str, String)> {
    let names = known.join(", ");
    if listen.is_empty() {
        return Err(("listen", format!("is empty; write for instance [{names}]")));
    }
    match listen.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let problem = format!("{unknown:?} is no listener for {source_type}; known: {names}");
            Err(("listen", problem))
        }
    }
}
