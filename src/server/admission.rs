//! How many connections may be open, in all and from one peer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Connections of all listeners together. Each costs a file descriptor and, idle, some 10 KiB.
const CONNECTIONS_MAX: usize = 16_384;

/// Of the file descriptors we may have, this share at most goes to connections; the rest is for our files.
const DESCRIPTOR_SHARE: usize = 2;

/// One peer may take this share of the connections. Not less, because all clients may stand behind one proxy.
const PEER_SHARE: usize = 2;

/// Counts open connections. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Admission {
    connections_max: usize,
    per_peer_max: usize,
    // A short lock, once when a connection opens and once when it closes.
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many as there may be.
    Full,
    /// This peer has as many as it may have.
    PeerFull,
}

/// One open connection; dropping it makes room.
#[derive(Debug)]
pub struct Admitted {
    peer: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Refusal {
    /// Short and stable, for the metric's label.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Full => "too_many",
            Refusal::PeerFull => "too_many_from_peer",
        }
    }
}

impl Admission {
    /// As many as the file descriptors allow, at most [`CONNECTIONS_MAX`].
    pub fn for_descriptors(descriptors: u64) -> Admission {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let connections_max = CONNECTIONS_MAX.min(descriptors / DESCRIPTOR_SHARE).max(1);
        Admission::new(connections_max, connections_max.div_ceil(PEER_SHARE))
    }

    /// With both limits given.
    pub fn new(connections_max: usize, per_peer_max: usize) -> Admission {
        Admission {
            connections_max,
            per_peer_max,
            open: Arc::default(),
        }
    }

    /// Takes a place for a connection from `peer`.
    ///
    /// # Errors
    /// There is none.
    pub fn admit(&self, peer: IpAddr) -> Result<Admitted, Refusal> {
        let mut open = self.open.lock().expect("no holder of this lock panics");
        if open.total >= self.connections_max {
            return Err(Refusal::Full);
        }
        let from_peer = open.by_peer.entry(peer).or_default();
        if *from_peer >= self.per_peer_max {
            return Err(Refusal::PeerFull);
        }
        *from_peer += 1;
        open.total += 1;
        Ok(Admitted {
            peer,
            open: Arc::clone(&self.open),
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.open.lock().expect("no holder of this lock panics");
        open.total -= 1;
        if let Some(from_peer) = open.by_peer.get_mut(&self.peer) {
            *from_peer -= 1;
            if *from_peer == 0 {
                open.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greedy_peer_leaves_room_for_others_and_closed_connections_make_room() {
        let greedy = IpAddr::from([10, 0, 0, 1]);
        let modest = IpAddr::from([10, 0, 0, 2]);
        let admission = Admission::new(3, 2);
        let mut taken = vec![
            admission.admit(greedy).unwrap(),
            admission.admit(greedy).unwrap(),
        ];
        assert_eq!(admission.admit(greedy).unwrap_err(), Refusal::PeerFull);
        let third = admission.admit(modest).unwrap();
        assert_eq!(admission.admit(modest).unwrap_err(), Refusal::Full);
        taken.pop();
        assert!(admission.admit(greedy).is_ok());
        drop((taken, third));
        assert!(admission.open.lock().unwrap().by_peer.is_empty());
    }

    #[test]
    fn the_limit_follows_the_file_descriptors() {
        assert_eq!(Admission::for_descriptors(1024).connections_max, 512);
        assert_eq!(Admission::for_descriptors(1024).per_peer_max, 256);
        assert_eq!(
            Admission::for_descriptors(u64::MAX).connections_max,
            CONNECTIONS_MAX
        );
        assert_eq!(Admission::for_descriptors(0).connections_max, 1);
    }
}
