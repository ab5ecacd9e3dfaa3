//! `/proc/stat`, `/proc/loadavg` and `/proc/pressure`: proc(5), and the kernel's `Documentation/accounting/psi.rst`.

use std::borrow::Cow;

use super::TICKS_PER_SECOND;
use super::sample::Kind::{Counter, Gauge};
use super::sample::{Column, Family, Sample, families};

/// More processors are not shown one by one.
pub const CPUS_MAX: usize = 256;

/// What a processor spends its time on, in the kernel's order.
pub const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];
const IDLE: usize = 3;
const IOWAIT: usize = 4;

/// Ticks by mode, with the two for guests behind; all since the machine's start.
pub type Ticks = [u64; 10];

/// `/proc/stat`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stat {
    /// All processors together.
    pub total: Ticks,
    /// Number and times of each.
    pub cpus: Vec<(String, Ticks)>,
    /// Processors beyond [`CPUS_MAX`].
    pub left_out: usize,
    interrupts: Option<f64>,
    context_switches: Option<f64>,
    boot_seconds: Option<f64>,
    forks: Option<f64>,
    running: Option<f64>,
    blocked: Option<f64>,
}

/// Lines that are not understood are left out: a newer kernel may have more.
pub fn stat(text: &str) -> Stat {
    let mut stat = Stat::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        if let Some(number) = name.strip_prefix("cpu") {
            let mut ticks = Ticks::default();
            for (ticks, word) in ticks.iter_mut().zip(words) {
                *ticks = word.parse().unwrap_or(0);
            }
            match number {
                "" => stat.total = ticks,
                _ if !number.bytes().all(|byte| byte.is_ascii_digit()) => {}
                _ if stat.cpus.len() == CPUS_MAX => stat.left_out += 1,
                _ => stat.cpus.push((number.to_owned(), ticks)),
            }
            continue;
        }
        let first = words
            .next()
            .and_then(|word| word.parse::<u64>().ok())
            .map(|value| value as f64);
        match name {
            "intr" => stat.interrupts = first,
            "ctxt" => stat.context_switches = first,
            "btime" => stat.boot_seconds = first,
            "processes" => stat.forks = first,
            "procs_running" => stat.running = first,
            "procs_blocked" => stat.blocked = first,
            _ => {}
        }
    }
    stat
}

impl Stat {
    /// How many processors there are.
    pub fn cpu_count(&self) -> usize {
        self.cpus.len() + self.left_out
    }

    /// The share of each mode since `before`, 0 to 1, all processors together; `None` when no time has passed.
    pub fn shares_since(&self, before: &Stat) -> Option<[f64; 8]> {
        let mut spent = [0.0; 8];
        for (mode, spent) in spent.iter_mut().enumerate() {
            *spent = self.total[mode].saturating_sub(before.total[mode]) as f64;
        }
        let all: f64 = spent.iter().sum();
        (all > 0.0).then(|| spent.map(|ticks| ticks / all))
    }

    pub fn families(&self) -> Vec<Family> {
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        let by_mode = |name: &'static str, help, modes: &[(&str, usize)]| Family {
            name: Cow::Borrowed(name),
            kind: Counter,
            help,
            samples: self
                .cpus
                .iter()
                .flat_map(|(cpu, ticks)| {
                    modes.iter().map(move |(mode, at)| Sample {
                        labels: vec![("cpu", cpu.clone()), ("mode", (*mode).to_owned())],
                        value: seconds(ticks[*at]),
                    })
                })
                .collect(),
        };
        let modes: Vec<(&str, usize)> = MODES.iter().copied().zip(0..).collect();
        let mut all = vec![
            by_mode(
                "node_cpu_seconds_total",
                "Time a processor spent in each mode, in seconds.",
                &modes,
            ),
            by_mode(
                "node_cpu_guest_seconds_total",
                "Time a processor ran virtual machines, in seconds; also part of user and nice.",
                &[("user", 8), ("nice", 9)],
            ),
        ];
        all.retain(|family| !family.samples.is_empty());
        let columns: [Column<Stat>; 6] = [
            (
                "node_intr_total",
                Counter,
                "Interrupts served.",
                |stat: &Stat| stat.interrupts,
            ),
            (
                "node_context_switches_total",
                Counter,
                "Switches from one thread to another.",
                |stat| stat.context_switches,
            ),
            (
                "node_boot_time_seconds",
                Gauge,
                "The machine's start, in seconds since 1970.",
                |stat| stat.boot_seconds,
            ),
            (
                "node_forks_total",
                Counter,
                "Processes and threads started.",
                |stat| stat.forks,
            ),
            (
                "node_procs_running",
                Gauge,
                "Threads that run or could.",
                |stat| stat.running,
            ),
            (
                "node_procs_blocked",
                Gauge,
                "Threads that wait for a disk.",
                |stat| stat.blocked,
            ),
        ];
        all.extend(families(&columns, std::slice::from_ref(self), |_| {
            Vec::new()
        }));
        all
    }
}

/// Of [`Stat::shares_since`], what is work.
pub fn busy_share(shares: &[f64; 8]) -> f64 {
    (1.0 - shares[IDLE] - shares[IOWAIT]).max(0.0)
}

/// `/proc/loadavg`: over 1, 5 and 15 minutes.
pub fn load(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || {
        let load: f64 = words.next()?.parse().ok()?;
        (load.is_finite() && load >= 0.0).then_some(load)
    };
    Some([next()?, next()?, next()?])
}

pub fn load_families(load: [f64; 3]) -> Vec<Family> {
    let columns: [Column<[f64; 3]>; 3] = [
        (
            "node_load1",
            Gauge,
            "Threads that run or wait, over a minute.",
            |load| Some(load[0]),
        ),
        (
            "node_load5",
            Gauge,
            "Threads that run or wait, over five minutes.",
            |load| Some(load[1]),
        ),
        (
            "node_load15",
            Gauge,
            "Threads that run or wait, over fifteen minutes.",
            |load| Some(load[2]),
        ),
    ];
    families(&columns, &[load], |_| Vec::new())
}

/// Microseconds that threads waited for a resource, from `/proc/pressure/RESOURCE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one did.
    some: Option<u64>,
    /// All did.
    full: Option<u64>,
}

pub fn pressure(text: &str) -> Pressure {
    let total_of = |name: &str| -> Option<u64> {
        let line = text
            .lines()
            .find(|line| line.split_ascii_whitespace().next() == Some(name))?;
        let total = line
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix("total="))?;
        total.parse().ok()
    };
    Pressure {
        some: total_of("some"),
        full: total_of("full"),
    }
}

/// Of the processors, of memory and of input and output.
pub fn pressure_families(pressures: [Pressure; 3]) -> Vec<Family> {
    fn seconds(micros: Option<u64>) -> Option<f64> {
        Some(micros? as f64 / 1e6)
    }
    let columns: [Column<[Pressure; 3]>; 5] = [
        (
            "node_pressure_cpu_waiting_seconds_total",
            Counter,
            "Time in which a thread waited for a processor, in seconds.",
            |[cpu, _, _]| seconds(cpu.some),
        ),
        (
            "node_pressure_memory_waiting_seconds_total",
            Counter,
            "Time in which a thread waited for memory, in seconds.",
            |[_, memory, _]| seconds(memory.some),
        ),
        (
            "node_pressure_memory_stalled_seconds_total",
            Counter,
            "Time in which no thread worked for want of memory, in seconds.",
            |[_, memory, _]| seconds(memory.full),
        ),
        (
            "node_pressure_io_waiting_seconds_total",
            Counter,
            "Time in which a thread waited for input or output, in seconds.",
            |[_, _, io]| seconds(io.some),
        ),
        (
            "node_pressure_io_stalled_seconds_total",
            Counter,
            "Time in which no thread worked because of input or output, in seconds.",
            |[_, _, io]| seconds(io.full),
        ),
    ];
    families(&columns, &[pressures], |_| Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  300 30 20 1000 4 1 2 3 7 8\ncpu0 100 10 5 500 1 0 1 1 7 0\ncpu1 200 20 15 500 3 1 1 2 0 8\n\
        intr 4000 1 2 3\nctxt 5000\nbtime 1795600000\nprocesses 77\nprocs_running 2\nprocs_blocked 1\nsoftirq 9 1\n";

    #[test]
    fn times_of_processors_are_in_seconds_by_mode() {
        let stat = stat(STAT);
        assert_eq!(stat.cpu_count(), 2);
        let families = stat.families();
        let seconds = &families[0];
        assert_eq!(seconds.name, "node_cpu_seconds_total");
        assert_eq!(seconds.samples.len(), 16);
        let idle_of_1 = &seconds.samples[8 + IDLE];
        let labels = vec![("cpu", "1".to_owned()), ("mode", "idle".to_owned())];
        assert_eq!((&idle_of_1.labels, idle_of_1.value), (&labels, 5.0));
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name == name).unwrap();
            family.samples[0].value
        };
        assert_eq!(value("node_cpu_guest_seconds_total"), 0.07);
        assert_eq!(value("node_intr_total"), 4000.0);
        assert_eq!(value("node_boot_time_seconds"), 1_795_600_000.0);
        assert_eq!(value("node_procs_blocked"), 1.0);
    }

    #[test]
    fn shares_are_of_the_time_between_two_readings() {
        let before = stat("cpu 100 0 0 100 0 0 0 0 0 0");
        let after = stat("cpu 125 0 25 140 10 0 0 0 0 0");
        let shares = after.shares_since(&before).unwrap();
        assert_eq!(shares, [0.25, 0.0, 0.25, 0.4, 0.1, 0.0, 0.0, 0.0]);
        assert!((busy_share(&shares) - 0.5).abs() < 1e-9);
        assert_eq!(after.shares_since(&after), None);
    }

    #[test]
    fn processors_beyond_the_bound_are_counted() {
        let text: String = (0..CPUS_MAX + 3)
            .map(|cpu| format!("cpu{cpu} 1 2 3 4\n"))
            .collect();
        let stat = stat(&text);
        assert_eq!((stat.cpus.len(), stat.left_out), (CPUS_MAX, 3));
    }

    #[test]
    fn load_and_pressure() {
        assert_eq!(load("0.52 1.25 3.00 2/345 6789\n"), Some([0.52, 1.25, 3.0]));
        assert_eq!(load("0.52 nan 3.00"), None);
        let io = pressure(
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 total=1500000\n",
        );
        let families = pressure_families([Pressure::default(), Pressure::default(), io]);
        let shown: Vec<(&str, f64)> = families
            .iter()
            .map(|family| (&*family.name, family.samples[0].value))
            .collect();
        assert_eq!(
            shown,
            [
                ("node_pressure_io_waiting_seconds_total", 2.5),
                ("node_pressure_io_stalled_seconds_total", 1.5)
            ]
        );
    }
}
