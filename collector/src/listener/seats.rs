//! How many connections a source holds, in all and from one peer, and who must leave for a newcomer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// A connection that was heard within this time does not leave for a newcomer.
const SILENT_MIN: Duration = Duration::from_secs(5);

/// Connections that were asked to leave and are still here: one that waits for the journal leaves only then. More are not asked.
const LEAVING_MAX: usize = 256;

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatLimits {
    /// Over all peers. Each costs a file descriptor and, silent, about a kilobyte.
    pub total: usize,
    /// From one address; of IPv6 from one /64, which is what one subscriber has.
    pub per_peer: usize,
}

impl Default for SeatLimits {
    fn default() -> SeatLimits {
        SeatLimits {
            total: 4096,
            per_peer: 1024,
        }
    }
}

/// The seats of one source. Cheap to clone.
///
/// When all are taken the one that has been silent longest is asked to leave, and the newcomer gets its seat: peers
/// that vanished without a word cannot lock out those who have something to say. A peer at its own limit displaces
/// only itself; at the limit over all the peer with the most connections gives one up.
#[derive(Debug, Clone)]
pub struct Seats {
    limits: SeatLimits,
    start: Instant,
    // A short lock, once when a connection opens and once when it closes; longer, some 20 µs, when seats are short.
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    by_peer: HashMap<IpAddr, HashMap<u64, Sitting>>,
    total: usize,
    /// Displaced ones that are still here.
    leaving: usize,
    displaced: u64,
    refused: u64,
}

#[derive(Debug)]
struct Sitting {
    heard_ms: Arc<AtomicU64>,
    leave: CancellationToken,
}

/// One open connection; dropping it makes room.
#[derive(Debug)]
pub struct Seat {
    id: u64,
    peer: IpAddr,
    heard_ms: Arc<AtomicU64>,
    leave: CancellationToken,
    start: Instant,
    taken: Arc<Mutex<Taken>>,
}

/// What became of connections, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeatCounts {
    /// Open now.
    pub open: usize,
    /// Asked to leave for a newcomer, since the start.
    pub displaced: u64,
    /// Turned away because nobody had been silent for long, since the start.
    pub refused: u64,
}

impl Seats {
    /// Empty seats.
    pub fn new(limits: SeatLimits) -> Seats {
        Seats {
            limits,
            start: Instant::now(),
            taken: Arc::default(),
        }
    }

    /// A seat for a connection from `peer`, perhaps another's. `None` when everybody is busy.
    pub fn take(&self, peer: IpAddr) -> Option<Seat> {
        let peer = household(peer);
        let now_ms = millis_since(self.start);
        let mut taken = self.taken.lock().expect("no holder of this lock panics");
        let from_peer = taken.by_peer.get(&peer).map_or(0, HashMap::len);
        let crowded_peer = if from_peer >= self.limits.per_peer {
            Some(peer)
        } else if taken.total >= self.limits.total {
            let most = taken.by_peer.iter().max_by_key(|(_, seats)| seats.len());
            most.map(|(peer, _)| *peer)
        } else {
            None
        };
        if let Some(crowded) = crowded_peer
            && !taken.displace_from(crowded, now_ms)
        {
            taken.refused += 1;
            return None;
        }
        let id = taken.next_id;
        taken.next_id += 1;
        taken.total += 1;
        let heard_ms = Arc::new(AtomicU64::new(now_ms));
        let leave = CancellationToken::new();
        let sitting = Sitting {
            heard_ms: Arc::clone(&heard_ms),
            leave: leave.clone(),
        };
        taken.by_peer.entry(peer).or_default().insert(id, sitting);
        Some(Seat {
            id,
            peer,
            heard_ms,
            leave,
            start: self.start,
            taken: Arc::clone(&self.taken),
        })
    }

    /// What became of connections so far.
    pub fn counts(&self) -> SeatCounts {
        let taken = self.taken.lock().expect("no holder of this lock panics");
        SeatCounts {
            open: taken.total,
            displaced: taken.displaced,
            refused: taken.refused,
        }
    }
}

impl Taken {
    /// Asks the peer's longest silent connection to leave and takes its seat away at once.
    fn displace_from(&mut self, peer: IpAddr, now_ms: u64) -> bool {
        if self.leaving >= LEAVING_MAX {
            return false;
        }
        let Some(seats) = self.by_peer.get_mut(&peer) else {
            return false;
        };
        let heard = |sitting: &Sitting| sitting.heard_ms.load(Ordering::Relaxed);
        let Some((id, longest)) = seats.iter().min_by_key(|(_, sitting)| heard(sitting)) else {
            return false;
        };
        let silent = Duration::from_millis(now_ms.saturating_sub(heard(longest)));
        if silent < SILENT_MIN {
            return false;
        }
        longest.leave.cancel();
        let id = *id;
        seats.remove(&id);
        self.total -= 1;
        self.leaving += 1;
        self.displaced += 1;
        true
    }
}

impl Seat {
    /// Notes that the sender was heard.
    pub fn heard(&self) {
        self.heard_ms
            .store(millis_since(self.start), Ordering::Relaxed);
    }

    /// Answers when the connection must leave for another.
    pub async fn left(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().expect("no holder of this lock panics");
        let seats = taken.by_peer.get_mut(&self.peer);
        let (was_seated, is_last) = seats.map_or((false, false), |seats| {
            (seats.remove(&self.id).is_some(), seats.is_empty())
        });
        if is_last {
            taken.by_peer.remove(&self.peer);
        }
        match was_seated {
            true => taken.total -= 1,
            // It was displaced: its seat is another's already.
            false => taken.leaving -= 1,
        }
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whom an address is counted for: itself, of IPv6 its /64.
pub fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn silence(seat: &Seat) {
        // As if it had been heard before the seats were made.
        seat.heard_ms.store(0, Ordering::Relaxed);
    }

    fn seats(total: usize, per_peer: usize) -> Seats {
        let mut seats = Seats::new(SeatLimits { total, per_peer });
        seats.start = Instant::now().checked_sub(SILENT_MIN * 2).unwrap();
        seats
    }

    #[test]
    fn the_longest_silent_connection_of_a_crowded_peer_leaves() {
        let seats = seats(10, 2);
        let first = seats.take(address("10.0.0.1")).unwrap();
        let second = seats.take(address("10.0.0.1")).unwrap();
        let other = seats.take(address("10.0.0.2")).unwrap();
        silence(&other);
        assert!(
            seats.take(address("10.0.0.1")).is_none(),
            "both were heard just now"
        );
        silence(&second);
        let third = seats.take(address("10.0.0.1")).unwrap();
        assert!(second.leave.is_cancelled());
        assert!(!first.leave.is_cancelled() && !other.leave.is_cancelled());
        assert_eq!(seats.counts().open, 3);
        drop(second);
        assert_eq!(seats.counts().open, 3, "its seat was another's already");
        drop((first, third, other));
        assert_eq!(
            seats.counts(),
            SeatCounts {
                open: 0,
                displaced: 1,
                refused: 1
            }
        );
    }

    #[test]
    fn when_all_seats_are_taken_the_peer_with_the_most_gives_one_up() {
        let seats = seats(3, 3);
        let greedy: Vec<Seat> = (0..2)
            .map(|_| seats.take(address("10.0.0.1")).unwrap())
            .collect();
        let modest = seats.take(address("10.0.0.2")).unwrap();
        greedy.iter().for_each(silence);
        silence(&modest);
        let newcomer = seats.take(address("10.0.0.3"));
        assert!(newcomer.is_some());
        assert!(!modest.leave.is_cancelled());
        assert_eq!(
            greedy
                .iter()
                .filter(|seat| seat.leave.is_cancelled())
                .count(),
            1
        );
    }

    #[test]
    fn those_who_are_asked_to_leave_and_stay_are_not_joined_by_ever_more() {
        let seats = seats(2, 2);
        let stay: Vec<Seat> = std::iter::from_fn(|| seats.take(address("10.0.0.1")))
            .inspect(silence)
            .take(10_000)
            .collect();
        assert_eq!(stay.len(), 2 + LEAVING_MAX);
        assert_eq!(seats.counts().refused, 1);
        drop(stay);
        assert!(seats.take(address("10.0.0.1")).is_some());
        assert_eq!(seats.counts().open, 0);
    }

    #[test]
    fn neighbours_of_one_ipv6_network_are_one_peer() {
        let seats = seats(9, 1);
        let _first = seats.take(address("2001:db8::1")).unwrap();
        assert!(seats.take(address("2001:db8::2")).is_none());
        assert!(seats.take(address("2001:db8:0:1::2")).is_some());
        let _mapped = seats.take(address("::ffff:10.0.0.1")).unwrap();
        assert!(seats.take(address("10.0.0.1")).is_none());
    }
}
