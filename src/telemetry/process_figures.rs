//! What the process uses, read from `/proc/self`, under the names every Prometheus client uses.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// Ticks per second of the times in `/proc/self/stat`: fixed on Linux for programs, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process uses.
pub struct ProcessFigures {
    descs: Vec<Desc>,
}

struct Usage {
    cpu_seconds: f64,
    resident_bytes: f64,
    threads: f64,
    open_fds: f64,
    max_fds: f64,
    start_seconds: f64,
}

impl ProcessFigures {
    /// Registers the names.
    ///
    /// # Errors
    /// A name is no metric name.
    pub fn new() -> prometheus::Result<ProcessFigures> {
        let nothing = Usage {
            cpu_seconds: 0.0,
            resident_bytes: 0.0,
            threads: 0.0,
            open_fds: 0.0,
            max_fds: 0.0,
            start_seconds: 0.0,
        };
        let descs = collectors(&nothing)?
            .iter()
            .flat_map(|collector| collector.desc().into_iter().cloned().collect::<Vec<_>>())
            .collect();
        Ok(ProcessFigures { descs })
    }
}

impl Collector for ProcessFigures {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    /// Where `/proc` is not as expected the figures are left out.
    fn collect(&self) -> Vec<MetricFamily> {
        let Some(collectors) = Usage::now().and_then(|usage| collectors(&usage).ok()) else {
            return Vec::new();
        };
        collectors
            .iter()
            .flat_map(|collector| collector.collect())
            .collect()
    }
}

fn collectors(usage: &Usage) -> prometheus::Result<Vec<Box<dyn Collector>>> {
    let cpu = Counter::new(
        "process_cpu_seconds_total",
        "CPU time used, user and system.",
    )?;
    cpu.inc_by(usage.cpu_seconds);
    let mut collectors: Vec<Box<dyn Collector>> = vec![Box::new(cpu)];
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory.",
            usage.resident_bytes,
        ),
        ("process_threads", "Threads.", usage.threads),
        ("process_open_fds", "Open file descriptors.", usage.open_fds),
        (
            "process_max_fds",
            "File descriptors that may be open.",
            usage.max_fds,
        ),
        (
            "process_start_time_seconds",
            "Start of the process, seconds since 1970.",
            usage.start_seconds,
        ),
    ] {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        collectors.push(Box::new(gauge));
    }
    Ok(collectors)
}

impl Usage {
    fn now() -> Option<Usage> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses and may hold anything; numbers begin behind it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| -> Option<f64> { fields.get(at)?.parse().ok() };
        let boot_seconds = fs::read_to_string("/proc/stat")
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Some(Usage {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
            resident_bytes: status_number(&status, "VmRSS:")? * 1024.0,
            threads: status_number(&status, "Threads:")?,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
            max_fds: limit.map_or(f64::INFINITY, |limit| limit as f64),
            start_seconds: boot_seconds + ticks(19)? / TICKS_PER_SECOND,
        })
    }
}

fn status_number(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
