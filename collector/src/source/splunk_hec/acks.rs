//! Acknowledgement ids: a number per request of a channel, from 0.

use std::collections::HashMap;
use std::sync::Mutex;

/// So many channels are known; of more, the one that was quiet longest is forgotten.
const CHANNELS_MAX: usize = 10_000;

/// The channels and how far they have come.
#[derive(Debug, Default)]
pub struct Acks {
    // A short lock, once per request.
    channels: Mutex<Channels>,
}

#[derive(Debug, Default)]
struct Channels {
    /// The next id, and when it was given, in requests of all channels.
    by_name: HashMap<String, (u64, u64)>,
    requests: u64,
}

impl Acks {
    /// The id of a request whose events are durable.
    pub fn next(&self, channel: &str) -> u64 {
        let mut channels = self.channels.lock().expect("no holder of this lock panics");
        channels.requests += 1;
        let requests = channels.requests;
        if !channels.by_name.contains_key(channel) && channels.by_name.len() >= CHANNELS_MAX {
            let quietest = channels.by_name.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(name) = quietest.map(|(name, _)| name.clone()) {
                channels.by_name.remove(&name);
            }
        }
        let (next, at) = channels.by_name.entry(channel.to_owned()).or_default();
        *at = requests;
        *next += 1;
        *next - 1
    }

    /// Whether this id was given, which means that its events are durable.
    pub fn is_known(&self, channel: &str, id: u64) -> bool {
        let channels = self.channels.lock().expect("no holder of this lock panics");
        channels
            .by_name
            .get(channel)
            .is_some_and(|(next, _)| id < *next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_count_for_themselves_and_are_bounded() {
        let acks = Acks::default();
        assert_eq!([acks.next("a"), acks.next("a"), acks.next("b")], [0, 1, 0]);
        assert!(acks.is_known("a", 1) && !acks.is_known("a", 2) && !acks.is_known("c", 0));
        for n in 0..CHANNELS_MAX {
            acks.next(&n.to_string());
        }
        assert!(!acks.is_known("a", 0));
        assert_eq!(acks.channels.lock().unwrap().by_name.len(), CHANNELS_MAX);
    }
}
