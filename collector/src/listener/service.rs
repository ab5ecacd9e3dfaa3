//! A source that listens, from its addresses to the journal: connections and datagrams of all its senders share one
//! funnel and one page of the books.

use std::future::Future;
use std::sync::Arc;

use event::{SourceLedger, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::funnel::{Funnel, FunnelEnd};
use super::reception::Written;
use super::seats::{SeatLimits, Seats};
use super::udp::UdpSockets;
use super::{Listening, SharedMemory, Sockets, tcp};
use crate::cpu::CpuPermits;
use crate::source::SourceParts;

/// Where descriptors are short, one peer may take this share of the connections.
const PEER_SHARE: usize = 2;

/// Addresses that are open, and the source they are for.
pub struct Service {
    parts: SourceParts,
    sockets: Sockets,
    seats: Seats,
    cpu: CpuPermits,
    memory: SharedMemory,
}

/// A service at work.
pub struct Serving {
    sockets: Sockets,
    seats: Seats,
    source: Arc<str>,
    desk: Desk,
    end: FunnelEnd,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// What all senders of a source share. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    /// The books.
    pub ledger: Arc<SourceLedger>,
    /// The way to the journal, which ends with the last of these.
    pub funnel: Funnel,
    /// What it shares with other sources.
    pub memory: SharedMemory,
    /// For work on many messages at once.
    pub cpu: CpuPermits,
    /// The clock, UTC.
    pub now: fn() -> Timestamp,
}

impl Service {
    /// Joins the source to its addresses; nothing is read yet. Of `limits` counts what the descriptors allow.
    pub fn new(parts: SourceParts, listening: Listening, limits: SeatLimits) -> Service {
        let connections_max = listening.connections_max.max(1);
        let limits = SeatLimits {
            total: limits.total.min(connections_max),
            per_peer: limits.per_peer.min(connections_max.div_ceil(PEER_SHARE)),
        };
        Service {
            parts,
            sockets: listening.sockets,
            seats: Seats::new(limits),
            cpu: listening.cpu,
            memory: listening.memory,
        }
    }

    /// Its connections, for the metrics.
    pub fn seats(&self) -> Seats {
        self.seats.clone()
    }

    /// Gets to work until `shutdown`, with so many bytes for events between sockets and journal.
    pub fn begin(self, funnel_bytes: usize, shutdown: CancellationToken) -> Serving {
        let parts = self.parts;
        let (funnel, end) = Funnel::new(
            Arc::clone(&parts.name),
            parts.append,
            Arc::clone(&parts.ledger),
            parts.now,
            funnel_bytes,
        );
        let desk = Desk {
            ledger: parts.ledger,
            funnel,
            memory: self.memory,
            cpu: self.cpu,
            now: parts.now,
        };
        Serving {
            sockets: self.sockets,
            seats: self.seats,
            source: parts.name,
            desk,
            end,
            tasks: JoinSet::new(),
            shutdown,
        }
    }
}

impl Serving {
    /// Gives every connection to `talk`, to its end.
    pub fn streams<F>(&mut self, talk: impl Fn(Connection, Desk) -> F + Clone + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for (_, listener, tls) in self.sockets.tcp.drain(..) {
            let terms = tcp::Terms {
                seats: self.seats.clone(),
                tls,
                stop: self.shutdown.clone(),
            };
            let (desk, talk) = (self.desk.clone(), talk.clone());
            let talk = move |connection| talk(connection, desk.clone());
            self.tasks.spawn(listener.serve(terms, talk));
        }
    }

    /// Gives every address for datagrams to `read`, to the stop.
    pub fn datagrams<F>(&mut self, read: impl Fn(UdpSockets, Desk, CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for (_, sockets) in self.sockets.udp.drain(..) {
            let reading = read(sockets, self.desk.clone(), self.shutdown.clone());
            self.tasks.spawn(reading);
        }
    }

    /// Makes durable what comes in, until nobody is left who pours.
    pub async fn finish(self) {
        let (source, mut tasks) = (self.source, self.tasks);
        // The funnel ends with the last of those that pour into it.
        drop(self.desk);
        let joining = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%source, %error, "a listener ended by a mistake of ours");
                }
            }
        };
        tokio::join!(self.end.run(self.shutdown), joining);
    }
}

impl Desk {
    /// Enters into the books what became of some messages.
    pub fn count(&self, written: &Written) {
        self.ledger
            .received(written.received, written.received_bytes);
        for reason in &written.dropped {
            self.ledger.dropped(reason, 1);
        }
        for reason in &written.rejected {
            self.ledger.rejected(reason, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use event::Ledger;

    use super::*;
    use crate::source::fake::{FakeJournal, listening};

    #[test]
    fn few_descriptors_are_few_connections_and_one_peer_gets_half_of_them() {
        let journal = Arc::new(FakeJournal::default());
        let listening = Listening {
            connections_max: 10,
            ..listening(Sockets::default())
        };
        let parts = journal.parts("lines", &Ledger::new());
        let seats = Service::new(parts, listening, SeatLimits::default()).seats();
        let of = |last| IpAddr::from([10, 0, 0, last]);
        let greedy: Vec<_> = std::iter::from_fn(|| seats.take(of(1))).take(20).collect();
        let others: Vec<_> = (2..20).filter_map(|last| seats.take(of(last))).collect();
        assert_eq!((greedy.len(), others.len()), (5, 5));
    }
}
