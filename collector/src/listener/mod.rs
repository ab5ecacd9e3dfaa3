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

use crate::cpu::CpuPermits;
use tcp::Listener;
use udp::UdpSockets;

pub mod connection;
pub mod conversation;
pub mod funnel;
pub mod reception;
pub mod seats;
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
    /// `limits.event`: longer messages are cut.
    pub message_bytes_max: usize,
}

/// Opened addresses by the names they have in `listen:`, until the sources take them.
#[derive(Debug, Default)]
pub struct Sockets {
    tcp: Vec<(&'static str, Listener)>,
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
                self.tcp.push((name, listener));
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
                .extract_if(.., |(name, _)| is_taken(name))
                .collect(),
            udp: self
                .udp
                .extract_if(.., |(name, _)| is_taken(name))
                .collect(),
        }
    }

    /// Takes the streams with this name.
    pub fn take_tcp(&mut self, name: &str) -> Vec<Listener> {
        let taken = self.tcp.extract_if(.., |(own, _)| *own == name);
        taken.map(|(_, listener)| listener).collect()
    }

    /// Takes the datagrams with this name.
    pub fn take_udp(&mut self, name: &str) -> Vec<UdpSockets> {
        let taken = self.udp.extract_if(.., |(own, _)| *own == name);
        taken.map(|(_, sockets)| sockets).collect()
    }
}
