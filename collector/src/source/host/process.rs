//! `/proc/PID/stat` (proc_pid_stat(5)): what processes of one name use together, under the names of Prometheus'
//! process exporter.
//!
//! The time of a process that has ended must not be missed in its group's, or the counter would fall: [`Groups`] keeps
//! what each group used before.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::sample::Kind::{Counter, Gauge};
use super::sample::{Family, Labels, Sample};
use super::{NAME_BYTES_MAX, TICKS_PER_SECOND};

/// More processes are not looked at.
pub const PROCESSES_MAX: usize = 4096;
/// Groups whose processes have all ended are forgotten when there are more.
const GROUPS_MAX: usize = 1024;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    id: u32,
    /// Ticks after the machine's start; with the id it is unique.
    start: u64,
    name: String,
    /// Ticks of the program, and of the kernel for it.
    ticks: [u64; 2],
    threads: u64,
    resident_bytes: u64,
    virtual_bytes: u64,
}

/// Processes of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The programs' name; at most 15 bytes, as the kernel keeps it.
    pub name: String,
    /// How many there are.
    pub process_count: u64,
    /// Their threads.
    pub threads: u64,
    /// Memory they hold; shared memory counts for each.
    pub resident_bytes: u64,
    virtual_bytes: u64,
    /// Ticks of the program and of the kernel for it, of those that have ended too.
    ticks: [u64; 2],
    /// Ticks since the reading before.
    recent_ticks: u64,
}

/// Reads one; `None` when it is not understood.
pub fn process(id: u32, stat: &str, page_bytes: u64) -> Option<Process> {
    // The name is in parentheses and may hold anything, parentheses too.
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(22).collect();
    let number = |at: usize| -> Option<u64> { fields.get(at)?.parse().ok() };
    let name: String = name
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(NAME_BYTES_MAX / 4)
        .collect();
    Some(Process {
        id,
        start: number(19)?,
        name,
        ticks: [number(11)?, number(12)?],
        threads: number(17)?,
        resident_bytes: number(21)?.saturating_mul(page_bytes),
        virtual_bytes: number(20)?,
    })
}

/// What is remembered between two readings.
#[derive(Debug, Default)]
pub struct Groups {
    known: HashMap<(u32, u64), [u64; 2]>,
    ticks: HashMap<String, [u64; 2]>,
}

impl Groups {
    /// All groups of now, in no order.
    pub fn update(&mut self, processes: Vec<Process>) -> Vec<Group> {
        let mut groups: HashMap<String, Group> = HashMap::new();
        let before = std::mem::take(&mut self.known);
        for process in processes {
            let key = (process.id, process.start);
            let known = before.get(&key).copied().unwrap_or_default();
            if self.known.insert(key, process.ticks).is_some() {
                continue;
            }
            let group = groups.entry(process.name.clone()).or_insert_with(|| Group {
                ticks: self.ticks.get(&process.name).copied().unwrap_or_default(),
                name: process.name,
                process_count: 0,
                threads: 0,
                resident_bytes: 0,
                virtual_bytes: 0,
                recent_ticks: 0,
            });
            group.process_count += 1;
            group.threads = group.threads.saturating_add(process.threads);
            group.resident_bytes = group.resident_bytes.saturating_add(process.resident_bytes);
            group.virtual_bytes = group.virtual_bytes.saturating_add(process.virtual_bytes);
            for ((total, now), known) in group.ticks.iter_mut().zip(process.ticks).zip(known) {
                let spent = now.saturating_sub(known);
                *total = total.saturating_add(spent);
                group.recent_ticks = group.recent_ticks.saturating_add(spent);
            }
        }
        for group in groups.values() {
            self.ticks.insert(group.name.clone(), group.ticks);
        }
        if self.ticks.len() > GROUPS_MAX {
            self.ticks.retain(|name, _| groups.contains_key(name));
        }
        groups.into_values().collect()
    }
}

/// Those that used most of the processors' time lately, and those that hold most memory: `count` of each.
pub fn top(mut groups: Vec<Group>, count: usize) -> Vec<Group> {
    let mut names: HashSet<String> = HashSet::new();
    groups.sort_by(|a, b| (b.recent_ticks, &a.name).cmp(&(a.recent_ticks, &b.name)));
    names.extend(groups.iter().take(count).map(|group| group.name.clone()));
    groups.sort_by(|a, b| (b.resident_bytes, &a.name).cmp(&(a.resident_bytes, &b.name)));
    names.extend(groups.iter().take(count).map(|group| group.name.clone()));
    groups.retain(|group| names.contains(&group.name));
    groups
}

impl Group {
    /// Seconds of processor time, of those that have ended too.
    pub fn cpu_seconds(&self) -> f64 {
        self.ticks[0].saturating_add(self.ticks[1]) as f64 / TICKS_PER_SECOND
    }
}

pub fn process_families(groups: &[Group]) -> Vec<Family> {
    type Values = fn(&Group) -> Vec<(Option<(&'static str, &'static str)>, f64)>;
    let columns: [(&'static str, super::sample::Kind, &'static str, Values); 4] = [
        (
            "namedprocess_namegroup_num_procs",
            Gauge,
            "Processes of this name.",
            |group| vec![(None, group.process_count as f64)],
        ),
        (
            "namedprocess_namegroup_num_threads",
            Gauge,
            "Threads of processes of this name.",
            |group| vec![(None, group.threads as f64)],
        ),
        (
            "namedprocess_namegroup_cpu_seconds_total",
            Counter,
            "Processor time of processes of this name, in seconds.",
            |group| {
                let [user, system] = group.ticks.map(|ticks| ticks as f64 / TICKS_PER_SECOND);
                vec![
                    (Some(("mode", "user")), user),
                    (Some(("mode", "system")), system),
                ]
            },
        ),
        (
            "namedprocess_namegroup_memory_bytes",
            Gauge,
            "Memory of processes of this name, in bytes.",
            |group| {
                vec![
                    (Some(("memtype", "resident")), group.resident_bytes as f64),
                    (Some(("memtype", "virtual")), group.virtual_bytes as f64),
                ]
            },
        ),
    ];
    let sample = |group: &Group, more: Option<(&'static str, &'static str)>, value: f64| {
        let mut labels: Labels = vec![("groupname", group.name.clone())];
        labels.extend(more.map(|(name, value)| (name, value.to_owned())));
        Sample { labels, value }
    };
    let family = |(name, kind, help, values): (&'static str, _, _, Values)| Family {
        name: Cow::Borrowed(name),
        kind,
        help,
        samples: groups
            .iter()
            .flat_map(|group| {
                let values = values(group).into_iter();
                values.map(move |(more, value)| sample(group, more, value))
            })
            .collect(),
    };
    match groups {
        [] => Vec::new(),
        _ => columns.into_iter().map(family).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str, user: u64, system: u64, start: u64, pages: u64) -> String {
        format!(
            "7 ({name}) S 1 1 1 0 -1 4194560 1 2 3 4 {user} {system} 5 6 20 0 3 0 {start} 8192 {pages} 18446744073709551615"
        )
    }

    fn read(id: u32, name: &str, ticks: u64, start: u64, pages: u64) -> Process {
        process(id, &stat(name, ticks, 1, start, pages), 4096).unwrap()
    }

    #[test]
    fn a_name_may_hold_anything() {
        let process = process(7, &stat("a) S (b\n", 10, 20, 30, 2), 4096).unwrap();
        assert_eq!(process.name, "a) S (b ");
        assert_eq!((process.ticks, process.start), ([10, 20], 30));
        assert_eq!((process.threads, process.resident_bytes), (3, 8192));
        assert_eq!(super::process(7, "7 (a) S 1", 4096), None);
    }

    #[test]
    fn the_time_of_ended_processes_stays_with_their_name() {
        let mut groups = Groups::default();
        let first = groups.update(vec![read(1, "shop", 100, 5, 1), read(2, "shop", 50, 6, 1)]);
        assert_eq!(first.len(), 1);
        assert_eq!((first[0].process_count, first[0].ticks), (2, [150, 2]));

        let second = groups.update(vec![read(1, "shop", 110, 5, 1)]);
        assert_eq!((second[0].process_count, second[0].ticks), (1, [160, 2]));
        assert_eq!(second[0].recent_ticks, 10);

        // The id comes again with another process.
        let third = groups.update(vec![read(1, "shop", 7, 99, 1)]);
        assert_eq!((third[0].ticks, third[0].recent_ticks), ([167, 3], 8));
    }

    #[test]
    fn the_top_is_by_time_and_by_memory() {
        let mut groups = Groups::default();
        let all = groups.update(vec![
            read(1, "busy", 1000, 1, 1),
            read(2, "large", 1, 1, 1000),
            read(3, "neither", 2, 1, 2),
        ]);
        let mut names: Vec<String> = top(all, 1).into_iter().map(|group| group.name).collect();
        names.sort();
        assert_eq!(names, ["busy", "large"]);
    }

    #[test]
    fn groups_that_have_ended_are_forgotten_at_the_bound() {
        let mut groups = Groups::default();
        for id in 0..=GROUPS_MAX as u32 {
            groups.update(vec![read(id, &format!("job{id}"), 1, 1, 1)]);
        }
        assert_eq!(groups.ticks.len(), 1);
        assert_eq!(groups.known.len(), 1);
    }
}
