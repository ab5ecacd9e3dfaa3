//! Sockets that senders of logs connect to or send datagrams to, and the way from many of them into few batches.
//!
//! ```text
//! tcp::serve ── seats ── connection ── the source's protocol ──┐
//! udp::UdpSockets ── thread per socket ── shelf ── protocol ───┴── funnel ── dyn Append
//! ```
//!
//! What holds for every source behind: a silent or slow sender costs one seat and next to no memory; nothing is read
//! for which [`funnel`] has no room, so a stalled journal slows senders down instead of filling memory; what the
//! kernel throws away of datagrams is counted.

pub mod connection;
pub mod funnel;
pub mod seats;
pub mod tcp;
pub mod tls;
pub mod udp;
