//! `/proc/diskstats`: the kernel's `Documentation/admin-guide/iostats.rst`.

use super::NAME_BYTES_MAX;
use super::sample::Kind::{Counter, Gauge};
use super::sample::{Column, Family, families};

/// More are left out, which is counted.
pub const DISKS_MAX: usize = 64;
/// The kernel counts in these, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `sda`, `nvme0n1`.
    pub device: String,
    /// As the kernel orders them; older kernels tell fewer.
    figures: Vec<u64>,
}

/// Whole disks, without their partitions and what is made of memory, and how many were left out.
pub fn disks(text: &str) -> (Vec<Disk>, usize) {
    let (mut disks, mut left_out) = (Vec::<Disk>::new(), 0);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(2);
        let Some(device) = words.next() else { continue };
        let is_known = disks.iter().any(|disk| disk.device == device);
        if is_known || device.len() > NAME_BYTES_MAX || is_part(device) {
            continue;
        }
        let figures: Vec<u64> = words.map_while(|word| word.parse().ok()).take(17).collect();
        match figures.len() {
            ..11 => {}
            _ if disks.len() == DISKS_MAX => left_out += 1,
            _ => disks.push(Disk {
                device: device.to_owned(),
                figures,
            }),
        }
    }
    (disks, left_out)
}

/// Partitions, RAM disks, loops and floppies, as the node exporter leaves them out.
fn is_part(device: &str) -> bool {
    let bare = device.trim_end_matches(|letter: char| letter.is_ascii_digit());
    if bare.len() == device.len() {
        return false;
    }
    let is_lettered = ["sd", "hd", "vd", "xvd"].iter().any(|kind| {
        let letters = bare.strip_prefix(kind);
        letters.is_some_and(|letters| {
            letters.len() == 1 && letters.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    });
    let is_of_nvme = bare.starts_with("nvme") && bare.ends_with('p');
    is_lettered || is_of_nvme || ["ram", "zram", "loop", "fd"].contains(&bare)
}

impl Disk {
    fn at(&self, at: usize) -> Option<u64> {
        self.figures.get(at).copied()
    }

    fn count(&self, at: usize) -> Option<f64> {
        Some(self.at(at)? as f64)
    }

    fn bytes(&self, at: usize) -> Option<f64> {
        Some(self.at(at)?.saturating_mul(SECTOR_BYTES) as f64)
    }

    fn seconds(&self, at: usize) -> Option<f64> {
        Some(self.at(at)? as f64 / 1000.0)
    }

    /// Reads, bytes read, writes, bytes written, and seconds at work; all since the machine's start.
    pub fn work(&self) -> [f64; 5] {
        [
            self.count(0),
            self.bytes(2),
            self.count(4),
            self.bytes(6),
            self.seconds(9),
        ]
        .map(|figure| figure.unwrap_or(0.0))
    }
}

pub fn disk_families(disks: &[Disk]) -> Vec<Family> {
    let columns: [Column<Disk>; 17] = [
        (
            "node_disk_reads_completed_total",
            Counter,
            "Reads that succeeded.",
            |disk| disk.count(0),
        ),
        (
            "node_disk_reads_merged_total",
            Counter,
            "Reads joined to others.",
            |disk| disk.count(1),
        ),
        (
            "node_disk_read_bytes_total",
            Counter,
            "Bytes read.",
            |disk| disk.bytes(2),
        ),
        (
            "node_disk_read_time_seconds_total",
            Counter,
            "Time of all reads, in seconds.",
            |disk| disk.seconds(3),
        ),
        (
            "node_disk_writes_completed_total",
            Counter,
            "Writes that succeeded.",
            |disk| disk.count(4),
        ),
        (
            "node_disk_writes_merged_total",
            Counter,
            "Writes joined to others.",
            |disk| disk.count(5),
        ),
        (
            "node_disk_written_bytes_total",
            Counter,
            "Bytes written.",
            |disk| disk.bytes(6),
        ),
        (
            "node_disk_write_time_seconds_total",
            Counter,
            "Time of all writes, in seconds.",
            |disk| disk.seconds(7),
        ),
        ("node_disk_io_now", Gauge, "Requests under way.", |disk| {
            disk.count(8)
        }),
        (
            "node_disk_io_time_seconds_total",
            Counter,
            "Time in which the disk had work, in seconds.",
            |disk| disk.seconds(9),
        ),
        (
            "node_disk_io_time_weighted_seconds_total",
            Counter,
            "Time in which the disk had work times the requests under way, in seconds.",
            |disk| disk.seconds(10),
        ),
        (
            "node_disk_discards_completed_total",
            Counter,
            "Discards that succeeded.",
            |disk| disk.count(11),
        ),
        (
            "node_disk_discards_merged_total",
            Counter,
            "Discards joined to others.",
            |disk| disk.count(12),
        ),
        (
            "node_disk_discarded_sectors_total",
            Counter,
            "Sectors discarded.",
            |disk| disk.count(13),
        ),
        (
            "node_disk_discard_time_seconds_total",
            Counter,
            "Time of all discards, in seconds.",
            |disk| disk.seconds(14),
        ),
        (
            "node_disk_flush_requests_total",
            Counter,
            "Flushes that succeeded.",
            |disk| disk.count(15),
        ),
        (
            "node_disk_flush_requests_time_seconds_total",
            Counter,
            "Time of all flushes, in seconds.",
            |disk| disk.seconds(16),
        ),
    ];
    families(&columns, disks, |disk| {
        vec![("device", disk.device.clone())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_told_in_bytes_and_seconds() {
        let text = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n\
             254       0 vda 10 1 8 2500 20 2 16 3500 3 4500 6000 5 6 7 8000 9 1000\n\
             254       1 vda1 1 0 8 1 1 0 8 1 0 1 1\n\
             254      16 vdb 1 2\n";
        let (disks, left_out) = disks(text);
        assert_eq!((disks.len(), left_out), (1, 0));
        assert_eq!(disks[0].work(), [10.0, 4096.0, 20.0, 8192.0, 4.5]);
        let families = disk_families(&disks);
        assert_eq!(families.len(), 17);
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name == name).unwrap();
            assert_eq!(family.samples[0].labels, [("device", "vda".to_owned())]);
            family.samples[0].value
        };
        assert_eq!(value("node_disk_io_now"), 3.0);
        assert_eq!(value("node_disk_read_time_seconds_total"), 2.5);
        assert_eq!(value("node_disk_flush_requests_time_seconds_total"), 1.0);
    }

    #[test]
    fn partitions_are_no_disks() {
        for part in [
            "sda1",
            "vdb12",
            "xvdc3",
            "nvme0n1p2",
            "loop7",
            "zram0",
            "fd0",
        ] {
            assert!(is_part(part), "{part}");
        }
        for disk in ["sda", "nvme0n1", "dm-0", "md127", "sr0", "mmcblk0", "vda"] {
            assert!(!is_part(disk), "{disk}");
        }
    }

    #[test]
    fn disks_beyond_the_bound_are_counted() {
        let text: String = (0..DISKS_MAX + 2)
            .map(|disk| format!("8 {disk} dm-{disk} 1 2 3 4 5 6 7 8 9 10 11\n"))
            .collect();
        let (disks, left_out) = disks(&text);
        assert_eq!((disks.len(), left_out), (DISKS_MAX, 2));
    }
}
