//! Messages that were too large for a datagram, put together again.
//!
//! ```text
//! 1e 0f | message id, 8 bytes | number, from 0 | count, at most 128 | part
//! ```
//!
//! Everything is bounded: five seconds for a message, as Graylog has it, and so many messages and bytes over all senders
//! and from one. What is given up is counted by whoever asks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use event::Timestamp;

/// How a chunk begins.
const MAGIC: [u8; 2] = [0x1e, 0x0f];
const HEADER_BYTES: usize = 12;
const CHUNKS_MAX: u8 = 128;

/// A message must be complete within this time.
const COMPLETE_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of incomplete messages over all senders, and from one address.
const BYTES_MAX: usize = 32 << 20;
const PEER_BYTES_MAX: usize = 8 << 20;

/// What a message and a chunk cost beside their bytes.
const MESSAGE_COST: usize = 256;
const CHUNK_COST: usize = 32;

/// What a datagram is.
#[derive(Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A whole message.
    Whole(&'a [u8]),
    /// The last missing chunk came: the message.
    Completed(Vec<u8>),
    /// A chunk of a message that lacks others, or one that was here already.
    Chunk,
    /// It begins as a chunk and is none. Short and stable.
    Wrong(&'static str),
}

/// Incomplete messages.
#[derive(Debug, Default)]
pub struct Chunks {
    incomplete: HashMap<(SocketAddr, [u8; 8]), Incomplete>,
    bytes_by_peer: HashMap<IpAddr, usize>,
    bytes: usize,
    given_up: u64,
}

#[derive(Debug)]
struct Incomplete {
    parts: Vec<Option<Box<[u8]>>>,
    missing: usize,
    cost: usize,
    since: Timestamp,
}

impl Chunks {
    /// Takes a datagram that arrived at `now`.
    pub fn take<'a>(
        &mut self,
        peer: SocketAddr,
        datagram: &'a [u8],
        now: Timestamp,
    ) -> Datagram<'a> {
        if !datagram.starts_with(&MAGIC) {
            return Datagram::Whole(datagram);
        }
        let Some((header, part)) = datagram.split_at_checked(HEADER_BYTES) else {
            return Datagram::Wrong("gelf_chunk_malformed");
        };
        let mut id = [0; 8];
        id.copy_from_slice(&header[2..10]);
        let (number, count) = (header[10], header[11]);
        if count == 0 || count > CHUNKS_MAX || number >= count {
            return Datagram::Wrong("gelf_chunk_malformed");
        }
        let key = (peer, id);
        let cost = part.len() + CHUNK_COST;
        let opening_cost = match self.incomplete.contains_key(&key) {
            true => 0,
            false => MESSAGE_COST + usize::from(count) * size_of::<Option<Box<[u8]>>>(),
        };
        if !self.has_room(peer.ip(), cost + opening_cost, now) {
            // Its message can never be complete: what is here of it only takes room.
            self.remove(&key, true);
            return Datagram::Wrong("gelf_no_room");
        }
        let message = match self.incomplete.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Incomplete {
                parts: vec![None; usize::from(count)],
                missing: usize::from(count),
                cost: 0,
                since: now,
            }),
        };
        if message.parts.len() != usize::from(count) {
            return Datagram::Wrong("gelf_chunk_malformed");
        }
        let place = &mut message.parts[usize::from(number)];
        if place.is_some() {
            return Datagram::Chunk;
        }
        *place = Some(part.into());
        message.missing -= 1;
        let is_complete = message.missing == 0;
        let added = cost + opening_cost;
        message.cost += added;
        self.bytes += added;
        *self.bytes_by_peer.entry(peer.ip()).or_default() += added;
        match is_complete {
            false => Datagram::Chunk,
            true => Datagram::Completed(self.complete(&key)),
        }
    }

    /// Gives up messages that did not become complete in time.
    pub fn expire(&mut self, now: Timestamp) {
        let oldest = now.minus(COMPLETE_WITHIN);
        let late: Vec<_> = self
            .incomplete
            .iter()
            .filter(|(_, message)| message.since < oldest)
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            self.remove(&key, true);
        }
    }

    /// Gives up everything: no more datagrams will come.
    pub fn give_up(&mut self) {
        self.given_up += self.incomplete.len() as u64;
        self.incomplete.clear();
        self.bytes_by_peer.clear();
        self.bytes = 0;
    }

    /// How many messages were given up since the last call.
    pub fn given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    fn has_room(&mut self, peer: IpAddr, cost: usize, now: Timestamp) -> bool {
        let fits = |chunks: &Chunks| {
            let own = chunks.bytes_by_peer.get(&peer).copied().unwrap_or(0);
            own + cost <= PEER_BYTES_MAX && chunks.bytes + cost <= BYTES_MAX
        };
        if fits(self) {
            return true;
        }
        self.expire(now);
        fits(self)
    }

    fn complete(&mut self, key: &(SocketAddr, [u8; 8])) -> Vec<u8> {
        let parts = self.remove(key, false).map(|message| message.parts);
        let parts = parts.unwrap_or_default();
        parts.into_iter().flatten().flatten().collect()
    }

    fn remove(&mut self, key: &(SocketAddr, [u8; 8]), is_given_up: bool) -> Option<Incomplete> {
        let message = self.incomplete.remove(key)?;
        self.bytes -= message.cost;
        if let Entry::Occupied(mut entry) = self.bytes_by_peer.entry(key.0.ip()) {
            *entry.get_mut() -= message.cost;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        self.given_up += u64::from(is_given_up);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::fake::fixed_now;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn chunk(id: u8, number: u8, count: u8, part: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &[id; 8], &[number, count], part].concat()
    }

    #[test]
    fn chunks_in_any_order_make_their_message() {
        let mut chunks = Chunks::default();
        let mut take =
            |port, datagram: Vec<u8>| match chunks.take(peer(port), &datagram, fixed_now()) {
                Datagram::Completed(message) => String::from_utf8(message).unwrap(),
                other => format!("{other:?}")
                    .split(['(', ' '])
                    .next()
                    .unwrap()
                    .to_owned(),
            };
        assert_eq!(take(1, chunk(7, 2, 3, b"c")), "Chunk");
        assert_eq!(take(1, chunk(8, 1, 2, b"y")), "Chunk");
        assert_eq!(take(2, chunk(7, 0, 3, b"other sender")), "Chunk");
        assert_eq!(take(1, chunk(7, 0, 3, b"a")), "Chunk");
        assert_eq!(take(1, chunk(7, 0, 3, b"again")), "Chunk");
        assert_eq!(take(1, chunk(7, 1, 3, b"b")), "abc");
        assert_eq!(take(1, chunk(8, 0, 2, b"x")), "xy");
        assert_eq!(take(1, b"{}".to_vec()), "Whole");
        for wrong in [
            chunk(7, 3, 3, b""),
            chunk(7, 0, 0, b""),
            chunk(7, 0, 129, b""),
            vec![0x1e, 0x0f, 1],
        ] {
            assert_eq!(take(1, wrong), "Wrong");
        }
        assert_eq!(
            chunks.bytes_by_peer.len(),
            1,
            "only the other sender's is left"
        );
    }

    #[test]
    fn what_is_not_complete_in_time_is_given_up() {
        let mut chunks = Chunks::default();
        chunks.take(peer(1), &chunk(1, 0, 2, b"a"), fixed_now());
        chunks.expire(fixed_now().plus(COMPLETE_WITHIN));
        assert_eq!(chunks.given_up(), 0);
        chunks.expire(fixed_now().plus(COMPLETE_WITHIN * 2));
        assert_eq!(
            (chunks.given_up(), chunks.bytes, chunks.incomplete.len()),
            (1, 0, 0)
        );
    }

    #[test]
    fn a_flood_of_halves_is_bounded_and_its_neighbours_are_not_harmed() {
        let mut chunks = Chunks::default();
        let part = vec![0; 8000];
        let mut refused = 0;
        for n in 0..20_000u32 {
            let mut datagram = chunk(0, 0, 128, &part);
            datagram[2..6].copy_from_slice(&n.to_be_bytes());
            let is_refused =
                chunks.take(peer(1), &datagram, fixed_now()) == Datagram::Wrong("gelf_no_room");
            refused += u64::from(is_refused);
        }
        assert!(chunks.bytes <= PEER_BYTES_MAX);
        assert!(refused > 18_000);
        let neighbour = SocketAddr::from(([192, 0, 2, 2], 1));
        assert_eq!(
            chunks.take(neighbour, &chunk(1, 0, 2, b"a"), fixed_now()),
            Datagram::Chunk
        );
        assert_eq!(
            chunks.take(neighbour, &chunk(1, 1, 2, b"b"), fixed_now()),
            Datagram::Completed(b"ab".to_vec())
        );
    }

    proptest! {
        /// The bytes that are counted are those that are held.
        #[test]
        fn the_counts_are_right(
            datagrams in proptest::collection::vec((0u16..3, 0u8..4, 0u8..5, 0u8..5, 0usize..9, 0u64..3), 0..100)
        ) {
            let mut chunks = Chunks::default();
            let mut now = fixed_now();
            for (port, id, number, count, length, seconds) in datagrams {
                now = now.plus(Duration::from_secs(seconds));
                chunks.take(peer(port), &chunk(id, number, count, &vec![1; length]), now);
                chunks.expire(now);
                let held: usize = chunks.incomplete.values().map(|message| message.cost).sum();
                prop_assert_eq!(chunks.bytes, held);
                prop_assert_eq!(chunks.bytes_by_peer.values().sum::<usize>(), held);
            }
        }
    }
}
