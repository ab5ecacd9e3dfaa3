//! `/proc/net/dev`: proc_pid_net(5).

use super::NAME_BYTES_MAX;
use super::sample::Kind::Counter;
use super::sample::{Column, Family, families};

/// More are left out, which is counted. Containers have one each.
pub const INTERFACES_MAX: usize = 64;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub device: String,
    /// Eight of what was received, eight of what was sent; since the interface is there.
    figures: [u64; 16],
}

/// Interfaces, the containers' ends last, and how many were left out.
pub fn interfaces(text: &str) -> (Vec<Interface>, usize) {
    let mut interfaces: Vec<Interface> = Vec::new();
    for line in text.lines() {
        // The name may hold colons (old aliases); the figures hold none.
        let Some((device, rest)) = line.rsplit_once(':') else {
            continue;
        };
        let device = device.trim();
        let mut figures = [0; 16];
        let mut words = rest.split_ascii_whitespace();
        let is_whole = figures.iter_mut().all(|figure| {
            let word = words.next().and_then(|word| word.parse().ok());
            word.map(|value| *figure = value).is_some()
        });
        if is_whole && !device.is_empty() && device.len() <= NAME_BYTES_MAX {
            interfaces.push(Interface {
                device: device.to_owned(),
                figures,
            });
        }
    }
    let is_of_container = |interface: &Interface| interface.device.starts_with("veth");
    interfaces
        .sort_by(|a, b| (is_of_container(a), &a.device).cmp(&(is_of_container(b), &b.device)));
    interfaces.dedup_by(|a, b| a.device == b.device);
    let left_out = interfaces.len().saturating_sub(INTERFACES_MAX);
    interfaces.truncate(INTERFACES_MAX);
    (interfaces, left_out)
}

impl Interface {
    /// Bytes, packets, errors and drops received, then the same sent.
    pub fn traffic(&self) -> [f64; 8] {
        [0, 1, 2, 3, 8, 9, 10, 11].map(|at| self.figures[at] as f64)
    }

    fn at(&self, at: usize) -> Option<f64> {
        Some(self.figures[at] as f64)
    }
}

pub fn network_families(interfaces: &[Interface]) -> Vec<Family> {
    let columns: [Column<Interface>; 16] = [
        (
            "node_network_receive_bytes_total",
            Counter,
            "Bytes received.",
            |interface| interface.at(0),
        ),
        (
            "node_network_receive_packets_total",
            Counter,
            "Packets received.",
            |interface| interface.at(1),
        ),
        (
            "node_network_receive_errs_total",
            Counter,
            "Packets received broken.",
            |interface| interface.at(2),
        ),
        (
            "node_network_receive_drop_total",
            Counter,
            "Packets received and dropped.",
            |interface| interface.at(3),
        ),
        (
            "node_network_receive_fifo_total",
            Counter,
            "Packets lost because a buffer was full.",
            |interface| interface.at(4),
        ),
        (
            "node_network_receive_frame_total",
            Counter,
            "Frames received broken.",
            |interface| interface.at(5),
        ),
        (
            "node_network_receive_compressed_total",
            Counter,
            "Compressed packets received.",
            |interface| interface.at(6),
        ),
        (
            "node_network_receive_multicast_total",
            Counter,
            "Multicast packets received.",
            |interface| interface.at(7),
        ),
        (
            "node_network_transmit_bytes_total",
            Counter,
            "Bytes sent.",
            |interface| interface.at(8),
        ),
        (
            "node_network_transmit_packets_total",
            Counter,
            "Packets sent.",
            |interface| interface.at(9),
        ),
        (
            "node_network_transmit_errs_total",
            Counter,
            "Packets that could not be sent.",
            |interface| interface.at(10),
        ),
        (
            "node_network_transmit_drop_total",
            Counter,
            "Packets dropped instead of sent.",
            |interface| interface.at(11),
        ),
        (
            "node_network_transmit_fifo_total",
            Counter,
            "Packets not sent because a buffer was full.",
            |interface| interface.at(12),
        ),
        (
            "node_network_transmit_colls_total",
            Counter,
            "Collisions.",
            |interface| interface.at(13),
        ),
        (
            "node_network_transmit_carrier_total",
            Counter,
            "Packets not sent because the line was lost.",
            |interface| interface.at(14),
        ),
        (
            "node_network_transmit_compressed_total",
            Counter,
            "Compressed packets sent.",
            |interface| interface.at(15),
        ),
    ];
    families(&columns, interfaces, |interface| {
        vec![("device", interface.device.clone())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_and_what_is_not_whole_are_left_out() {
        let text = "Inter-|   Receive                            |  Transmit\n\
             face |bytes    packets errs drop fifo frame compressed multicast|bytes packets\n\
             \x20 eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
             veth9: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
             eth0:1:100 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
             lo: 1 2 3\n";
        let (interfaces, left_out) = interfaces(text);
        let names: Vec<&str> = interfaces.iter().map(|i| i.device.as_str()).collect();
        assert_eq!((names, left_out), (vec!["eth0", "eth0:1", "veth9"], 0));
        assert_eq!(
            interfaces[0].traffic(),
            [1.0, 2.0, 3.0, 4.0, 9.0, 10.0, 11.0, 12.0]
        );
        let families = network_families(&interfaces);
        assert_eq!(families.len(), 16);
        assert_eq!(families[8].name, "node_network_transmit_bytes_total");
        assert_eq!(families[8].samples[1].value, 9.0);
    }

    #[test]
    fn ends_of_containers_are_the_first_to_be_left_out() {
        let text: String = (0..INTERFACES_MAX + 5)
            .map(|n| format!("veth{n}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"))
            .chain(["wlan0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n".to_owned()])
            .collect();
        let (interfaces, left_out) = interfaces(&text);
        assert_eq!((interfaces.len(), left_out), (INTERFACES_MAX, 6));
        assert_eq!(interfaces[0].device, "wlan0");
    }
}
