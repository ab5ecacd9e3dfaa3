//! What a machine did between two readings, as documents that a log index can draw: rates and shares instead of
//! counters, one document for each thing, under the names of Elastic's Metricbeat where it has one.

use event::Document;
use serde::Serialize;

use super::Reading;
use super::cpu::{MODES, busy_share};

/// One document for the processors, one for memory, and one for each disk, interface, file system and group of
/// processes that was there at both readings.
pub fn documents(before: &Reading, now: &Reading, host_name: Option<&str>) -> Vec<Document> {
    let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
    if seconds <= 0.0 {
        return Vec::new();
    }
    let mut maker = Maker {
        time: now.time.to_rfc3339(),
        host_name,
        documents: Vec::new(),
    };
    maker.cpu(before, now);
    maker.memory(now);
    maker.disks(before, now, seconds);
    maker.interfaces(before, now, seconds);
    maker.file_systems(now);
    maker.processes(before, now, seconds);
    maker.documents
}

struct Maker<'a> {
    time: String,
    host_name: Option<&'a str>,
    documents: Vec<Document>,
}

impl Maker<'_> {
    fn add(&mut self, dataset: &str) -> &mut Document {
        let mut document = Document::new();
        document.set_str("@timestamp", &self.time);
        if let Some(name) = self.host_name {
            document.set_str("host.name", name);
        }
        document.set_str("event.dataset", dataset);
        self.documents.push(document);
        self.documents.last_mut().expect("one was added just now")
    }

    fn cpu(&mut self, before: &Reading, now: &Reading) {
        let shares = now.stat.shares_since(&before.stat);
        let document = self.add("host.cpu");
        set(document, "system.cpu.cores", now.stat.cpu_count() as u64);
        if let Some(shares) = shares {
            set(document, "system.cpu.total.pct", busy_share(&shares));
            for (mode, share) in MODES.iter().zip(shares) {
                set(document, &format!("system.cpu.{mode}.pct"), share);
            }
        }
        if let Some(load) = now.load {
            for (minutes, load) in [1, 5, 15].iter().zip(load) {
                set(document, &format!("system.load.{minutes}"), load);
            }
        }
    }

    fn memory(&mut self, now: &Reading) {
        let bytes = |name: &str| {
            let figure = now.memory.iter().find(|(known, _)| known == name);
            figure.map(|(_, bytes)| *bytes)
        };
        let document = self.add("host.memory");
        if let (Some(total), Some(free)) = (bytes("MemTotal_bytes"), bytes("MemFree_bytes")) {
            set(document, "system.memory.total", total);
            set(document, "system.memory.free", free);
            // Kernels before 3.14 do not tell what is available.
            let available = bytes("MemAvailable_bytes").unwrap_or(free);
            set(document, "system.memory.actual.free", available);
            set_used(document, "system.memory.actual.used", total, available);
        }
        if let (Some(total), Some(free)) = (bytes("SwapTotal_bytes"), bytes("SwapFree_bytes")) {
            set(document, "system.memory.swap.total", total);
            set(document, "system.memory.swap.free", free);
            set_used(document, "system.memory.swap.used", total, free);
        }
    }

    fn disks(&mut self, before: &Reading, now: &Reading, seconds: f64) {
        for disk in &now.disks {
            let Some(earlier) = before.disks.iter().find(|d| d.device == disk.device) else {
                continue;
            };
            let rates = rates(earlier.work(), disk.work(), seconds);
            let [reads, read_bytes, writes, written_bytes, busy] = rates;
            let document = self.add("host.diskio");
            document.set_str("system.diskio.name", &disk.device);
            set(document, "system.diskio.read.per_second", reads);
            set(document, "system.diskio.read.bytes_per_second", read_bytes);
            set(document, "system.diskio.write.per_second", writes);
            set(
                document,
                "system.diskio.write.bytes_per_second",
                written_bytes,
            );
            set(document, "system.diskio.busy.pct", busy.min(1.0));
        }
    }

    fn interfaces(&mut self, before: &Reading, now: &Reading, seconds: f64) {
        for interface in &now.interfaces {
            let earlier = &before.interfaces;
            let Some(earlier) = earlier.iter().find(|i| i.device == interface.device) else {
                continue;
            };
            let rates = rates(earlier.traffic(), interface.traffic(), seconds);
            let document = self.add("host.network");
            document.set_str("system.network.name", &interface.device);
            let (received, sent) = rates.split_at(4);
            for (way, rates) in [("in", received), ("out", sent)] {
                for (what, rate) in ["bytes", "packets", "errors", "dropped"].iter().zip(rates) {
                    let name = format!("system.network.{way}.{what}_per_second");
                    set(document, &name, *rate);
                }
            }
        }
    }

    fn file_systems(&mut self, now: &Reading) {
        for (mount, space) in &now.file_systems {
            let Some(space) = space else { continue };
            let document = self.add("host.filesystem");
            document.set_str("system.filesystem.device_name", &mount.device);
            document.set_str("system.filesystem.mount_point", &mount.mount_point);
            document.set_str("system.filesystem.type", &mount.kind);
            set(document, "system.filesystem.total", space.size);
            set(document, "system.filesystem.free", space.free);
            set(document, "system.filesystem.available", space.available);
            // As df has it: of what is there for everybody.
            let used = space.size.saturating_sub(space.free);
            let usable = used.saturating_add(space.available);
            set(document, "system.filesystem.used.bytes", used);
            let share = used as f64 / usable.max(1) as f64;
            set(document, "system.filesystem.used.pct", share);
        }
    }

    fn processes(&mut self, before: &Reading, now: &Reading, seconds: f64) {
        for group in &now.groups {
            let document = self.add("host.process");
            document.set_str("process.name", &group.name);
            set(document, "system.process.count", group.process_count);
            set(document, "system.process.num_threads", group.threads);
            let resident = group.resident_bytes;
            set(document, "system.process.memory.rss.bytes", resident);
            let earlier = before.groups.iter().find(|g| g.name == group.name);
            if let Some(earlier) = earlier {
                let share = (group.cpu_seconds() - earlier.cpu_seconds()) / seconds;
                set(document, "system.process.cpu.total.pct", share.max(0.0));
            }
        }
    }
}

fn set<T: Serialize>(document: &mut Document, name: &str, value: T) {
    document.set_value(name, &value);
}

fn set_used(document: &mut Document, name: &str, total: u64, free: u64) {
    let used = total.saturating_sub(free);
    set(document, &format!("{name}.bytes"), used);
    let share = used as f64 / total.max(1) as f64;
    set(document, &format!("{name}.pct"), share);
}

/// What is less than before began again; that is no work.
fn rates<const N: usize>(before: [f64; N], now: [f64; N], seconds: f64) -> [f64; N] {
    let mut rates = now;
    for (rate, before) in rates.iter_mut().zip(before) {
        *rate = (*rate - before).max(0.0) / seconds;
    }
    rates
}
