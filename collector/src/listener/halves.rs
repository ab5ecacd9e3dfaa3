//! Halves of messages that wait for their rest: the memory they may take over all connections, and one peer's share
//! of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use super::seats::household;
use crate::body::{InFlight, Reservation};

/// A half message up to this size is part of what a connection costs.
const BYTES_FREE: usize = 4096;

/// One peer may take this share. Not less, because all senders may stand behind one proxy.
const PEER_SHARE: u64 = 2;

/// The memory of all halves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Halves {
    all: InFlight,
    // A short lock, for each piece of a large message.
    by_peer: Arc<Mutex<HashMap<IpAddr, u64>>>,
}

/// What one connection's half message takes of it; given back when it is dropped.
#[derive(Debug)]
pub struct Half {
    halves: Halves,
    peer: IpAddr,
    held: Reservation,
}

impl Halves {
    /// At most `bytes_max` over all connections.
    pub fn new(bytes_max: u64) -> Halves {
        Halves {
            all: InFlight::new(bytes_max),
            by_peer: Arc::default(),
        }
    }

    /// Nothing yet, of a connection from `peer`.
    pub fn of(&self, peer: IpAddr) -> Half {
        Half {
            halves: self.clone(),
            peer: household(peer),
            held: self.all.reserve_nothing(),
        }
    }

    fn by_peer(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.by_peer.lock().expect("no holder of this lock panics")
    }
}

impl Half {
    /// Makes it as large as the half message is; `false` when there is no memory for that.
    #[must_use]
    pub fn hold(&mut self, half_bytes: usize) -> bool {
        let wanted = half_bytes.saturating_sub(BYTES_FREE) as u64;
        let held = self.held.bytes();
        if wanted <= held {
            self.give_back(held - wanted);
            return true;
        }
        let more = wanted - held;
        let mut by_peer = self.halves.by_peer();
        let of_peer = by_peer.get(&self.peer).copied().unwrap_or(0);
        // A peer's only half is bounded by what its protocol allows.
        let is_alone = of_peer == held;
        let is_within = of_peer + more <= self.halves.all.limit() / PEER_SHARE;
        let is_held = (is_alone || is_within) && self.held.grow(more as usize);
        if is_held {
            by_peer.insert(self.peer, of_peer + more);
        }
        is_held
    }

    fn give_back(&mut self, fewer: u64) {
        if fewer == 0 {
            return;
        }
        self.held.shrink(fewer as usize);
        let mut by_peer = self.halves.by_peer();
        let of_peer = by_peer.get(&self.peer).copied().unwrap_or(0);
        match of_peer.saturating_sub(fewer) {
            0 => by_peer.remove(&self.peer),
            less => by_peer.insert(self.peer, less),
        };
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.give_back(self.held.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn one_peer_leaves_room_for_others_and_what_is_dropped_is_free_again() {
        let halves = Halves::new(100 * KIB as u64);
        let [greedy, modest] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let mut first = halves.of(greedy);
        let mut second = halves.of(greedy);
        assert!(first.hold(40 * KIB));
        assert!(!second.hold(40 * KIB), "it is half of all");
        assert!(second.hold(4 * KIB), "so little costs nothing");
        let mut other = halves.of(modest);
        assert!(other.hold(60 * KIB), "a peer's only one");
        assert!(!halves.of(modest).hold(20 * KIB));
        assert!(first.hold(0));
        assert!(second.hold(40 * KIB));
        drop((first, second, other));
        assert!(halves.by_peer().is_empty());
        assert_eq!(halves.all.used(), 0);
    }
}
