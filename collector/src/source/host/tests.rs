//! The machine the tests run on, against what its kernel tells elsewhere; texts made up, their documents, and any text.

use std::collections::HashSet;

use event::{Append, Document, Ledger};
use proptest::prelude::*;

use super::*;
use crate::source::checkpoint::Entries;
use crate::source::fake::{FakeJournal, fixed_now};

/// What must hold of every reading: names that are metric names and come once, no two samples with the same labels,
/// numbers that are numbers, and not more than a bound.
fn check_families(families: &[Family]) {
    let mut names = HashSet::new();
    let mut count = 0;
    for family in families {
        assert!(names.insert(&family.name), "{} comes twice", family.name);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(family.name.bytes().all(is_name), "{}", family.name);
        assert!(!family.samples.is_empty(), "{}", family.name);
        let mut labels = HashSet::new();
        for sample in &family.samples {
            assert!(
                labels.insert(&sample.labels),
                "{} {:?}",
                family.name,
                sample.labels
            );
            assert!(
                sample.value.is_finite() && sample.value >= 0.0,
                "{}",
                family.name
            );
        }
        count += family.samples.len();
    }
    assert!(count <= 6_500, "{count} samples");
}

fn value(families: &[Family], name: &str) -> f64 {
    let family = families.iter().find(|family| family.name == name);
    let family = family.unwrap_or_else(|| panic!("there is no {name}"));
    family.samples.iter().map(|sample| sample.value).sum()
}

#[test]
fn this_machine_is_read_as_its_kernel_tells_it_elsewhere() {
    let machine = Machine::new(Settings::default(), Timestamp::now);
    let reading = machine.reading();
    let families = reading.families();
    check_families(&families);

    let information = rustix::system::sysinfo();
    let unit = f64::from(information.mem_unit);
    assert_eq!(
        value(&families, "node_memory_MemTotal_bytes"),
        information.totalram as f64 * unit
    );
    assert_eq!(
        value(&families, "node_memory_SwapTotal_bytes"),
        information.totalswap as f64 * unit
    );
    let uptime = reading.time.nanos() as f64 / 1e9 - value(&families, "node_boot_time_seconds");
    assert!((uptime - information.uptime as f64).abs() < 5.0, "{uptime}");
    // All processors were busy or idle since the start, less what a hypervisor took.
    let spent = value(&families, "node_cpu_seconds_total") / reading.stat.cpu_count() as f64;
    assert!(spent > 0.0 && spent < uptime * 1.05, "{spent} of {uptime}");
    let root = rustix::fs::statvfs("/").unwrap();
    let mounted = reading
        .file_systems
        .iter()
        .find(|(mount, _)| mount.mount_point == "/");
    if let Some((_, Some(space))) = mounted {
        assert_eq!(space.size, root.f_blocks * root.f_frsize);
    }
    assert!(
        Arc::ptr_eq(&reading, &machine.reading()),
        "asked again at once"
    );
}

#[test]
fn this_process_is_among_the_machines() {
    let settings = Settings {
        processes: usize::MAX,
        ..Settings::default()
    };
    let reading = Machine::new(settings, Timestamp::now).reading();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let group = reading
        .groups
        .iter()
        .find(|group| group.name == name.trim_end());
    let group = group.expect("our own process has a group");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    // The kernel counts pages for `stat` with a delay; other test binaries may run under the same name.
    assert!(
        group.resident_bytes * 2 > kilobytes * 1024,
        "{group:?} {kilobytes} kB"
    );
    assert!(group.threads >= 1 && group.process_count >= 1);
}

fn texts(user: u64, read_sectors: u64, received: u64) -> Texts {
    Texts {
        stat: format!("cpu {user} 0 0 1000 0 0 0 0 0 0\ncpu0 {user} 0 0 1000 0 0 0 0 0 0\n"),
        load: "0.50 1.00 2.00 1/2 3".to_owned(),
        memory: "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\n".to_owned(),
        disks: format!("8 0 sda 10 0 {read_sectors} 0 20 0 0 0 0 0 0\n"),
        interfaces: format!("eth0: {received} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"),
        mounts: "27 1 254:0 / / rw - ext4 /dev/vda rw\n".to_owned(),
        ..Texts::default()
    }
}

/// The moment of the second reading lies two seconds after the first's.
fn two_readings(before: &Texts, now: &Texts) -> (Reading, Reading) {
    let before = Reading::of(before, "/", fixed_now());
    let mut now = Reading::of(now, "/", fixed_now().plus(Duration::from_secs(2)));
    now.at = before.at + Duration::from_secs(2);
    (before, now)
}

fn number(documents: &[Document], name: &str) -> f64 {
    let mut values = documents.iter().filter_map(|document| document.get(name));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("no document has {name}"));
    assert!(values.next().is_none(), "{name} is in several documents");
    value.parse().unwrap()
}

#[test]
fn documents_tell_rates_and_shares() {
    let (before, mut now) = two_readings(&texts(100, 8, 5000), &texts(300, 24, 9000));
    now.stat.total[3] += 600;
    let documents = documents::documents(&before, &now, Some("web-1"));
    for (name, expected) in [
        ("system.cpu.cores", 1.0),
        ("system.cpu.user.pct", 0.25),
        ("system.cpu.total.pct", 0.25),
        ("system.cpu.idle.pct", 0.75),
        ("system.load.5", 1.0),
        ("system.memory.total", 1_024_000.0),
        ("system.memory.actual.used.pct", 0.75),
        ("system.diskio.read.bytes_per_second", 4096.0),
        ("system.network.in.bytes_per_second", 2000.0),
    ] {
        let found = number(&documents, name);
        assert!((found - expected).abs() < 1e-9, "{name}: {found}");
    }
    for document in &documents {
        assert_eq!(document.get_str("host.name").unwrap(), "web-1");
        assert_eq!(
            document.get_str("@timestamp").unwrap(),
            now.time.to_rfc3339()
        );
        assert!(
            document
                .get_str("event.dataset")
                .unwrap()
                .starts_with("host.")
        );
    }
}

#[test]
fn a_counter_that_began_again_is_no_work() {
    let (before, now) = two_readings(&texts(100, 8, 5000), &texts(100, 8, 10));
    let documents = documents::documents(&before, &now, None);
    assert_eq!(
        number(&documents, "system.network.in.bytes_per_second"),
        0.0
    );
    let same_moment = documents::documents(&before, &before, None);
    assert!(same_moment.is_empty());
}

#[tokio::test]
async fn documents_are_stored_and_booked_when_they_are_wanted() {
    let journal = Arc::new(FakeJournal::default());
    let ledger = Ledger::new();
    let parts = || SourceParts {
        name: Arc::from("host"),
        pipeline: None,
        append: Arc::clone(&journal) as Arc<dyn Append>,
        ledger: ledger.source("host"),
        host_name: Some("web-1".to_owned()),
        recovered: Entries::new(),
        now: Timestamp::now,
    };
    let unwanted = HostSource::new(&Settings::default(), parts()).unwrap();
    unwanted.run(CancellationToken::new()).await;
    assert!(journal.events().is_empty());

    let settings = Settings {
        documents: true,
        interval: Duration::from_secs(1),
        ..Settings::default()
    };
    let shutdown = CancellationToken::new();
    let source = HostSource::new(&settings, parts()).unwrap();
    let running = tokio::spawn(source.run(shutdown.clone()));
    while journal.events().is_empty() {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let events = journal.events();
    assert!(
        events
            .iter()
            .all(|event| event.index.as_str() == "host-metrics")
    );
    let datasets: HashSet<String> = events
        .iter()
        .map(|event| {
            let document = Document::parse(&event.source).unwrap();
            document.get_str("event.dataset").unwrap().into_owned()
        })
        .collect();
    for dataset in ["host.cpu", "host.memory", "host.process"] {
        assert!(datasets.contains(dataset), "{datasets:?}");
    }
    let totals = ledger.totals();
    assert_eq!(totals[0].received, events.len() as u64);
}

#[test]
fn settings_that_cannot_work_are_told() {
    let read = |json: &str| serde_json::from_str::<Settings>(json).map_err(|e| e.to_string());
    let check = |json: &str| read(json).and_then(|settings| settings.check());
    assert_eq!(check("{}"), Ok(()));
    assert_eq!(
        read(r#"{"interval": "1m"}"#).unwrap().interval,
        Duration::from_secs(60)
    );
    for (json, told) in [
        (r#"{"interval": "soon"}"#, "is no duration"),
        (r#"{"interval": "15"}"#, "is no duration"),
        (r#"{"interval": "0s"}"#, "between 1s and 1h"),
        (r#"{"proc": "proc"}"#, "is not absolute"),
        (r#"{"processes": 101}"#, "more than 100"),
        (r#"{"index": "A B"}"#, "A B"),
        (r#"{"intervall": "1s"}"#, "unknown field"),
    ] {
        let problem = check(json).unwrap_err();
        assert!(problem.contains(told), "{json}: {problem}");
    }
    let settings = Settings::default();
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(read(&json), Ok(settings));
}

/// Lines that look like the kernel's, and any text.
#[test]
fn what_the_kernel_says_twice_is_shown_once() {
    let texts = Texts {
        stat: "cpu 3 0 0 0\ncpu0 1 0 0 0\ncpu0 2 0 0 0\n".to_owned(),
        memory: "MemTotal: 1 kB\nMemTotal: 2 kB\n".to_owned(),
        ..Texts::default()
    };
    let families = Reading::of(&texts, "/", fixed_now()).families();
    check_families(&families);
    assert_eq!(value(&families, "node_cpu_seconds_total"), 0.01);
}

fn any_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "cpu[0-9]{0,3}",
        "[a-z0-9()_]{1,8}:?",
        any::<u64>().prop_map(|number| number.to_string()),
        "/[a-z\\\\0-7]{0,6}",
        Just("-".to_owned()),
        Just("kB".to_owned()),
        ".{0,4}",
    ];
    let line = prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "));
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(
        text in any_text(),
        other in any_text(),
        id in any::<u32>(),
    ) {
        let texts = Texts {
            stat: text.clone(),
            load: other.clone(),
            pressure: [text.clone(), other.clone(), text.clone()],
            memory: text.clone(),
            paging: other.clone(),
            disks: text.clone(),
            interfaces: other.clone(),
            mounts: text.clone(),
            files: other.clone(),
            processes: vec![(id, text.clone()), (id, other.clone())],
            processes_left_out: 0,
            page_bytes: 4096,
        };
        let reading = Reading::of(&texts, "/", fixed_now());
        check_families(&reading.families());
    }

    #[test]
    fn figures_of_disks_and_interfaces_are_what_the_kernel_wrote(
        figures in prop::collection::vec(0..u64::from(u32::MAX), 17),
    ) {
        let words: Vec<String> = figures.iter().map(u64::to_string).collect();
        let (disks, _) = disk::disks(&format!("8 0 sda {}\n", words.join(" ")));
        prop_assert_eq!(disks[0].work()[0], figures[0] as f64);
        prop_assert_eq!(disks[0].work()[3], figures[6] as f64 * 512.0);
        let (interfaces, _) = network::interfaces(&format!("  eth0:{}\n", words[..16].join(" ")));
        prop_assert_eq!(interfaces[0].traffic()[4], figures[8] as f64);
    }
}
