//! The machine Daybook runs on: processors, load, memory, disks, network, file systems and the processes that use most,
//! read from `/proc` and statvfs(3).
//!
//! [`Machine`] reads when somebody asks: the page of metrics, and, when documents are wanted, [`HostSource`] at every
//! interval. A reading is a pure function of the texts under `/proc` ([`Texts`]); what is not understood in them is left
//! out. The samples wait for a store of series; until then they are shown under `/metrics`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event::{Batch, Event, IndexName, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::SourceParts;
use super::delivery::{CountedBatch, Delivery};

mod cpu;
mod disk;
mod documents;
mod file_system;
mod memory;
mod network;
mod process;
mod sample;

use self::sample::Column;
pub use self::sample::{Family, Kind, Labels, Sample};

/// Of the times in `/proc`: fixed on Linux for programs, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;
/// Names of devices, interfaces and programs that are longer are not believed.
const NAME_BYTES_MAX: usize = 256;
/// The longest, `/proc/stat` of a machine with many interrupts, has some hundred kilobytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Whoever asks again sooner is told the same again, so that asking often costs nothing.
const READING_AGE_MAX: Duration = Duration::from_millis(500);
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// More groups of processes would be a list of all.
const PROCESSES_MAX: usize = 100;
/// Where documents go.
const INDEX: &str = "host-metrics";

/// `type: host` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether documents are written, too.
    pub documents: bool,
    /// How often. `15s`, `1m`.
    #[serde(deserialize_with = "read_interval", serialize_with = "write_interval")]
    pub interval: Duration,
    /// The index of the documents.
    pub index: String,
    /// How many groups of processes are told by processor time and how many by memory; 0 for none.
    pub processes: usize,
    /// Where the machine's `/proc` is.
    pub proc: PathBuf,
    /// Where the machine's `/` is; elsewhere when Daybook runs in a container.
    pub root: PathBuf,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            documents: false,
            interval: Duration::from_secs(15),
            index: INDEX.to_owned(),
            processes: 10,
            proc: PathBuf::from("/proc"),
            root: PathBuf::from("/"),
        }
    }
}

impl Settings {
    /// Checks everything that can be checked without looking at a machine.
    ///
    /// # Errors
    /// What is wrong, as a sentence that names the value.
    pub fn check(&self) -> Result<(), String> {
        for (name, path) in [("proc", &self.proc), ("root", &self.root)] {
            if !path.is_absolute() || path.to_str().is_none() {
                let path = path.display().to_string();
                return Err(format!(
                    "{name} {path:?} is not absolute; write for instance /host/{name}"
                ));
            }
        }
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&self.interval) {
            return Err(format!(
                "interval {} is not between 1s and 1h",
                interval_text(self.interval)
            ));
        }
        if self.processes > PROCESSES_MAX {
            return Err(format!(
                "processes {} is more than {PROCESSES_MAX}",
                self.processes
            ));
        }
        self.index_name().map(|_| ())
    }

    fn index_name(&self) -> Result<IndexName, String> {
        IndexName::parse(&self.index).map_err(|error| error.to_string())
    }
}

fn read_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match seconds {
        Some(seconds) if unit > 0 => Ok(Duration::from_secs(seconds)),
        _ => {
            let problem = format!("interval {text:?} is no duration; write for instance 15s or 1m");
            Err(serde::de::Error::custom(problem))
        }
    }
}

fn write_interval<S: Serializer>(interval: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&interval_text(*interval))
}

fn interval_text(interval: Duration) -> String {
    format!("{}s", interval.as_secs())
}

/// What stands under `/proc`, as it stands there; empty where it could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// `stat`
    pub stat: String,
    /// `loadavg`
    pub load: String,
    /// `pressure/cpu`, `pressure/memory`, `pressure/io`
    pub pressure: [String; 3],
    /// `meminfo`
    pub memory: String,
    /// `vmstat`
    pub paging: String,
    /// `diskstats`
    pub disks: String,
    /// `net/dev`
    pub interfaces: String,
    /// `self/mountinfo`
    pub mounts: String,
    /// `sys/fs/file-nr`
    pub files: String,
    /// `PID/stat` by PID.
    pub processes: Vec<(u32, String)>,
    /// Processes that were not looked at.
    pub processes_left_out: usize,
    /// A page of memory, in which `PID/stat` counts.
    pub page_bytes: u64,
}

/// A machine at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When, UTC.
    pub time: Timestamp,
    at: Instant,
    stat: cpu::Stat,
    load: Option<[f64; 3]>,
    pressure: [cpu::Pressure; 3],
    memory: Vec<(String, u64)>,
    paging: Vec<(String, u64)>,
    disks: Vec<disk::Disk>,
    interfaces: Vec<network::Interface>,
    file_systems: Vec<file_system::FileSystem>,
    open_files: Option<[f64; 2]>,
    groups: Vec<process::Group>,
    left_out: Vec<(&'static str, usize)>,
}

/// The machine, read by whoever asks.
pub struct Machine {
    settings: Settings,
    now: fn() -> Timestamp,
    page_bytes: u64,
    state: Mutex<State>,
}

/// What is kept between readings.
#[derive(Default)]
struct State {
    groups: process::Groups,
    last: Option<Arc<Reading>>,
}

impl Machine {
    /// Of checked settings; nothing is read yet.
    pub fn new(settings: Settings, now: fn() -> Timestamp) -> Machine {
        Machine {
            page_bytes: page_bytes(&settings.proc),
            settings,
            now,
            state: Mutex::default(),
        }
    }

    /// The machine as it is now, or was within the last half second. Blocks for milliseconds, one caller at a time.
    pub fn reading(&self) -> Arc<Reading> {
        // A reading that panicked left nothing half done: what it would have changed is replaced as a whole.
        let mut state = match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(last) = &state.last
            && last.at.elapsed() < READING_AGE_MAX
        {
            return Arc::clone(last);
        }
        let texts = Texts::read(&self.settings, self.page_bytes);
        let root = self.settings.root.to_str().unwrap_or("/");
        let mut reading = Reading::after(&texts, root, (self.now)(), &mut state.groups);
        for (mount, space) in &mut reading.file_systems {
            *space = file_system::space(mount, &self.settings.root);
        }
        reading.groups = process::top(reading.groups, self.settings.processes);
        let reading = Arc::new(reading);
        state.last = Some(Arc::clone(&reading));
        reading
    }
}

impl Texts {
    fn read(settings: &Settings, page_bytes: u64) -> Texts {
        let proc = &settings.proc;
        let text = |name: &str| text_of(&proc.join(name));
        // From a container the machine's interfaces are those of its first process.
        let interfaces = match settings.root == Path::new("/") {
            true => text("net/dev"),
            false => text("1/net/dev"),
        };
        let (processes, processes_left_out) = match settings.processes {
            0 => (Vec::new(), 0),
            _ => processes_of(proc),
        };
        Texts {
            stat: text("stat"),
            load: text("loadavg"),
            pressure: ["pressure/cpu", "pressure/memory", "pressure/io"].map(text),
            memory: text("meminfo"),
            paging: text("vmstat"),
            disks: text("diskstats"),
            interfaces,
            mounts: text("self/mountinfo"),
            files: text("sys/fs/file-nr"),
            processes,
            processes_left_out,
            page_bytes,
        }
    }
}

/// Empty where it cannot be read: a kernel may be built without it.
fn text_of(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).map(|file| file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(Ok(_)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

fn processes_of(proc: &Path) -> (Vec<(u32, String)>, usize) {
    let Ok(folder) = std::fs::read_dir(proc) else {
        return (Vec::new(), 0);
    };
    let ids = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let (mut processes, mut left_out) = (Vec::new(), 0);
    for id in ids {
        if processes.len() == process::PROCESSES_MAX {
            left_out += 1;
            continue;
        }
        // Empty when it has ended meanwhile.
        let stat = text_of(&proc.join(format!("{id}/stat")));
        if !stat.is_empty() {
            processes.push((id, stat));
        }
    }
    (processes, left_out)
}

/// How large a page of memory is, from what the kernel told our own process: getauxval(3), `AT_PAGESZ`.
fn page_bytes(proc: &Path) -> u64 {
    const PAGE_SIZE: u64 = 6;
    const WORD: usize = size_of::<usize>();
    let auxiliary = std::fs::read(proc.join("self/auxv")).unwrap_or_default();
    let word = |bytes: &[u8]| -> Option<u64> {
        let bytes: [u8; WORD] = bytes.try_into().ok()?;
        Some(usize::from_ne_bytes(bytes) as u64)
    };
    let pairs = auxiliary.chunks_exact(2 * WORD);
    let mut found = pairs.filter_map(|pair| {
        let (name, value) = pair.split_at(WORD);
        (word(name)? == PAGE_SIZE).then(|| word(value))?
    });
    found.next().filter(|size| *size > 0).unwrap_or(4096)
}

impl Reading {
    /// Reads texts, as the first reading of a machine; how full file systems are is not in them.
    pub fn of(texts: &Texts, root: &str, time: Timestamp) -> Reading {
        Reading::after(texts, root, time, &mut process::Groups::default())
    }

    fn after(texts: &Texts, root: &str, time: Timestamp, groups: &mut process::Groups) -> Reading {
        let processes = texts.processes.iter();
        let processes = processes
            .filter_map(|(id, stat)| process::process(*id, stat, texts.page_bytes))
            .collect();
        let stat = cpu::stat(&texts.stat);
        let (disks, disks_left_out) = disk::disks(&texts.disks);
        let (interfaces, interfaces_left_out) = network::interfaces(&texts.interfaces);
        let (mounts, mounts_left_out) = file_system::mounts(&texts.mounts, root);
        Reading {
            time,
            at: Instant::now(),
            load: cpu::load(&texts.load),
            pressure: [0, 1, 2].map(|at| cpu::pressure(&texts.pressure[at])),
            memory: memory::memory(&texts.memory),
            paging: memory::paging(&texts.paging),
            left_out: vec![
                ("cpu", stat.left_out),
                ("disk", disks_left_out),
                ("interface", interfaces_left_out),
                ("mount", mounts_left_out),
                ("process", texts.processes_left_out),
            ],
            stat,
            disks,
            interfaces,
            file_systems: mounts.into_iter().map(|mount| (mount, None)).collect(),
            open_files: open_files(&texts.files),
            groups: groups.update(processes),
        }
    }

    /// Everything as samples. Names are unique, and so are labels within a name; at most some 6,000 samples.
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.stat.families();
        families.extend(self.load.map(cpu::load_families).unwrap_or_default());
        families.extend(cpu::pressure_families(self.pressure));
        families.extend(memory::memory_families(&self.memory));
        families.extend(memory::paging_families(&self.paging));
        families.extend(disk::disk_families(&self.disks));
        families.extend(network::network_families(&self.interfaces));
        families.extend(file_system::file_system_families(&self.file_systems));
        families.extend(process::process_families(&self.groups));
        let columns: [Column<Reading>; 3] = [
            (
                "node_time_seconds",
                Kind::Gauge,
                "The machine's clock, in seconds since 1970.",
                |reading| Some(reading.time.nanos() as f64 / 1e9),
            ),
            (
                "node_filefd_allocated",
                Kind::Gauge,
                "Open files.",
                |reading| Some(reading.open_files?[0]),
            ),
            (
                "node_filefd_maximum",
                Kind::Gauge,
                "Files that may be open.",
                |reading| Some(reading.open_files?[1]),
            ),
        ];
        let single = std::slice::from_ref(self);
        families.extend(sample::families(&columns, single, |_| Vec::new()));
        let name: [Column<Reading>; 1] = [(
            "node_uname_info",
            Kind::Gauge,
            "Always 1; says what the machine is called and runs.",
            |_| Some(1.0),
        )];
        families.extend(sample::families(&name, single, |_| machine_labels()));
        let left_out: [Column<(&str, usize)>; 1] = [(
            "daybook_host_left_out",
            Kind::Gauge,
            "What is not shown because there are too many.",
            |(_, count)| Some(*count as f64),
        )];
        families.extend(sample::families(&left_out, &self.left_out, |(kind, _)| {
            vec![("kind", (*kind).to_owned())]
        }));
        sample::keep_first(&mut families);
        families
    }
}

/// `sys/fs/file-nr`: allocated, unused, the most.
fn open_files(text: &str) -> Option<[f64; 2]> {
    let mut words = text.split_ascii_whitespace();
    let mut number = |skip: usize| -> Option<f64> {
        let value: u64 = words.nth(skip)?.parse().ok()?;
        Some(value as f64)
    };
    Some([number(0)?, number(1)?])
}

fn machine_labels() -> Labels {
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    vec![
        ("domainname", text(name.domainname())),
        ("machine", text(name.machine())),
        ("nodename", text(name.nodename())),
        ("release", text(name.release())),
        ("sysname", text(name.sysname())),
        ("version", text(name.version())),
    ]
}

/// Writes documents of one entry under `sources:`, when they are wanted.
pub struct HostSource {
    settings: Settings,
    index: IndexName,
    machine: Arc<Machine>,
    parts: SourceParts,
}

impl HostSource {
    /// Joins a source; nothing is started before [`HostSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(settings: &Settings, parts: SourceParts) -> Result<HostSource, String> {
        settings.check()?;
        Ok(HostSource {
            index: settings.index_name()?,
            machine: Arc::new(Machine::new(settings.clone(), parts.now)),
            settings: settings.clone(),
            parts,
        })
    }

    /// What the samples are read from, for the metrics.
    pub fn machine(&self) -> Arc<Machine> {
        Arc::clone(&self.machine)
    }

    /// Writes until `shutdown`. While the journal takes nothing no document is made, and none is made up for later.
    pub async fn run(self, shutdown: CancellationToken) {
        if !self.settings.documents {
            return;
        }
        let delivery = Delivery::new(&self.parts, shutdown.clone());
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Arc<Reading>> = None;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let machine = Arc::clone(&self.machine);
            let Ok(now) = tokio::task::spawn_blocking(move || machine.reading()).await else {
                continue;
            };
            if let Some(before) = &before
                && !delivery.send(self.batch(before, &now)).await
            {
                return;
            }
            before = Some(now);
        }
    }

    fn batch(&self, before: &Reading, now: &Reading) -> CountedBatch {
        let host_name = self.parts.host_name.as_deref();
        let documents = documents::documents(before, now, host_name);
        let events: Vec<Event> = documents
            .iter()
            .map(|document| Event::create(self.index.clone(), now.time, document.to_bytes()))
            .collect();
        let bytes: usize = events.iter().map(|event| event.source.len()).sum();
        CountedBatch {
            received: events.len() as u64,
            received_bytes: bytes as u64,
            batch: Batch::new(Arc::clone(&self.parts.name), now.time, events),
            dropped: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
