//! Random rotations, writes, reads and crashes against a model in which every line arrives exactly once.
//!
//! The model journal is a list of batches: lines together with the checkpoint that says they were read. A crash
//! throws the tailer away and makes a new one from what the journal holds; a batch read but not appended is lost with
//! it. Time is a number that the steps move on. A failure is reproduced by the seed it prints.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use event::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::encoding::Encoding;
use super::framing::{Format, Framer};
use super::glob::Glob;
use super::tailer::{FileCounts, Rules, Tailer};
use crate::source::checkpoint::{Entries, apply};
use crate::transform::multiline::{Multiline, Settings as MultilineSettings};

#[derive(Debug, Clone)]
enum Step {
    /// Some lines, the last of them perhaps only half.
    Write {
        lines: u8,
        length: u16,
        is_half: bool,
    },
    Rename,
    /// Copy, then perhaps look, then truncate.
    CopyTruncate {
        reads_between: bool,
    },
    Compress {
        reads_between: bool,
    },
    DeleteOldest,
    Read {
        is_appended: bool,
    },
    Wait {
        seconds: u8,
    },
    Crash,
}

struct World {
    folder: TempDir,
    rules: Rules,
    tailer: Tailer,
    journal: Entries,
    now: Timestamp,
    delivered: Vec<String>,
    written: Vec<String>,
    half: String,
    rotations: u32,
    stamps: std::cell::Cell<u64>,
}

impl World {
    fn new(pattern: &str, rules: impl FnOnce(Rules) -> Rules) -> World {
        let folder = tempfile::tempdir().unwrap();
        let include = format!("{}/{pattern}", folder.path().display());
        let rules = rules(Rules {
            include: vec![Glob::parse(&include).unwrap()],
            exclude: Vec::new(),
            framer: Framer {
                format: Format::Lines,
                encoding: Encoding::Utf8,
                event_bytes_max: 1000,
                multiline: None,
            },
            starts_at_end: false,
            turn_bytes: 200,
            batch_bytes: 700,
            open_files_max: 100,
            close_idle_after: Duration::from_secs(3600),
        });
        World {
            tailer: Tailer::new(rules.clone(), &Entries::new(), Arc::default()),
            folder,
            rules,
            journal: Entries::new(),
            now: Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap(),
            delivered: Vec::new(),
            written: Vec::new(),
            half: String::new(),
            rotations: 0,
            stamps: std::cell::Cell::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, text: &str) {
        self.append_bytes(text.as_bytes());
    }

    fn append_bytes(&self, bytes: &[u8]) {
        let path = self.path("app.log");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.write_all(bytes).unwrap();
        self.stamp(&file);
    }

    /// Writes a file whose last change is so many seconds before the model's time.
    fn write_aged(&self, name: &str, text: &str, seconds: u64) {
        fs::write(self.path(name), text).unwrap();
        let file = File::options().write(true).open(self.path(name)).unwrap();
        let nanos = self.now.minus(Duration::from_secs(seconds)).nanos() as u64;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
            .unwrap();
    }

    fn open_files(&self) -> usize {
        let files = self.tailer.files.values();
        files.filter(|file| file.content.is_some()).count()
    }

    /// Gives a file the model's time: the file system's does not move on between the steps of a test.
    fn stamp(&self, file: &File) {
        self.stamps.set(self.stamps.get() + 1);
        let nanos = self.now.nanos() as u64 + self.stamps.get();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
            .unwrap();
    }

    /// Every line has a number of its own, so that one lost or doubled shows.
    fn write(&mut self, lines: u8, length: u16, is_half: bool) {
        for n in 0..lines {
            let mut line = std::mem::take(&mut self.half);
            if line.is_empty() {
                let filler = "x".repeat(usize::from(length));
                line = format!("{:06} {filler}", self.written.len());
                let is_cut = is_half && n + 1 == lines;
                if is_cut {
                    self.append(&line);
                    self.half = line;
                    return;
                }
                self.append(&line);
            }
            self.append("\n");
            self.written.push(line);
        }
    }

    /// Rotations come between whole lines; a half line would be two lines to any reader.
    fn end_half_line(&mut self) {
        if !self.half.is_empty() {
            self.write(1, 0, false);
        }
    }

    fn read(&mut self, is_appended: bool) -> u64 {
        let mut lines = Vec::new();
        let work = self.tailer.read(self.now, &mut |line| {
            lines.push(String::from_utf8_lossy(line.text).into_owned());
        });
        if !is_appended {
            return work;
        }
        if !lines.is_empty()
            && let Some(checkpoint) = self.tailer.take_checkpoint()
        {
            assert!(apply(&checkpoint, &mut self.journal));
        }
        self.delivered.extend(lines);
        work
    }

    fn read_all(&mut self) {
        let mut calls = 0;
        while self.read(true) > 0 {
            calls += 1;
            assert!(calls < 500, "reading goes round in circles");
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn crash(&mut self) {
        self.tailer = Tailer::new(self.rules.clone(), &self.journal, Arc::default());
    }

    fn rotated(&mut self) -> PathBuf {
        self.rotations += 1;
        self.path(&format!("app.log.{}", self.rotations))
    }

    fn rename(&mut self) {
        self.end_half_line();
        if self.path("app.log").exists() {
            let to = self.rotated();
            fs::rename(self.path("app.log"), to).unwrap();
        }
    }

    fn copy_truncate(&mut self, reads_between: bool) {
        self.end_half_line();
        if !self.path("app.log").exists() {
            return;
        }
        let to = self.rotated();
        fs::copy(self.path("app.log"), to).unwrap();
        if reads_between {
            self.wait(1);
            self.read(true);
        }
        let truncated = File::options()
            .write(true)
            .truncate(true)
            .open(self.path("app.log"));
        self.stamp(&truncated.unwrap());
    }

    fn oldest_rotated(&self) -> Option<PathBuf> {
        let mut found: BTreeMap<u32, PathBuf> = BTreeMap::new();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if let Some(number) = name.strip_prefix("app.log.").and_then(|n| n.parse().ok()) {
                found.insert(number, path);
            }
        }
        found.into_values().next()
    }

    fn compress(&mut self, reads_between: bool) {
        let Some(path) = self.oldest_rotated() else {
            return;
        };
        let bytes = fs::read(&path).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        let compressed = encoder.finish().unwrap();
        let to = PathBuf::from(format!("{}.gz", path.display()));
        let (first, rest) = compressed.split_at(compressed.len() / 2);
        let mut file = File::create(to).unwrap();
        file.write_all(first).unwrap();
        if reads_between {
            self.wait(1);
            self.read(true);
        }
        file.write_all(rest).unwrap();
        if reads_between {
            self.wait(1);
            self.read(true);
        }
        fs::remove_file(path).unwrap();
    }

    /// What is deleted before it was read is lost by nature, so it is read first.
    fn delete_oldest(&mut self) {
        self.settle();
        if let Some(path) = self.oldest_rotated() {
            fs::remove_file(path).unwrap();
        }
    }

    /// Long enough for every patience to end.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.read_all();
            self.wait(2);
        }
        for _ in 0..4 {
            self.read_all();
            self.wait(30);
        }
        self.read_all();
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Write {
                lines,
                length,
                is_half,
            } => self.write(*lines, *length, *is_half),
            Step::Rename => self.rename(),
            Step::CopyTruncate { reads_between } => self.copy_truncate(*reads_between),
            Step::Compress { reads_between } => self.compress(*reads_between),
            Step::DeleteOldest => self.delete_oldest(),
            Step::Read { is_appended: true } => {
                self.wait(1);
                self.read(true);
            }
            // Read ahead of the journal, and then the process dies.
            Step::Read { is_appended: false } => {
                self.wait(1);
                self.read(false);
                self.crash();
            }
            Step::Wait { seconds } => self.wait(u64::from(*seconds)),
            Step::Crash => self.crash(),
        }
    }

    fn assert_every_line_once(&mut self) {
        self.end_half_line();
        self.settle();
        let mut delivered = self.delivered.clone();
        delivered.sort_unstable();
        let show = |line: &String| line[..line.len().min(6)].to_owned();
        let delivered: Vec<String> = delivered.iter().map(show).collect();
        let written: Vec<String> = self.written.iter().map(show).collect();
        assert_eq!(delivered, written);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u8..6, prop_oneof![0u16..30, 100u16..400], proptest::bool::weighted(0.2))
            .prop_map(|(lines, length, is_half)| Step::Write { lines, length, is_half }),
        2 => Just(Step::Rename),
        2 => any::<bool>().prop_map(|reads_between| Step::CopyTruncate { reads_between }),
        2 => any::<bool>().prop_map(|reads_between| Step::Compress { reads_between }),
        1 => Just(Step::DeleteOldest),
        5 => proptest::bool::weighted(0.8).prop_map(|is_appended| Step::Read { is_appended }),
        1 => (0u8..8).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// All rotated files are within the patterns.
    #[test]
    fn every_line_arrives_once(steps in steps(), open_files_max in 1usize..6, idle_seconds in 0u64..12) {
        let close_idle_after = Duration::from_secs(idle_seconds);
        let mut world = World::new("app.log*", |rules| Rules { open_files_max, close_idle_after, ..rules });
        for step in &steps {
            world.run(step);
        }
        world.assert_every_line_once();
    }

    /// Written in pieces that part code units and characters, read in between, and started again in the middle: what
    /// comes out is what the whole file decodes to.
    #[test]
    fn files_of_any_encoding_are_read_as_if_decoded_at_once(
        text in "[ab\u{e9}\u{20ac}\u{0a0a}\u{1f600}\n\r]{0,60}",
        encoding in 0usize..4,
        is_marked in any::<bool>(),
        steps in proptest::collection::vec((1usize..15, 0u8..4), 0..12),
    ) {
        let (encoding, reference) = [
            (Encoding::Utf8, encoding_rs::UTF_8),
            (Encoding::Utf16Le, encoding_rs::UTF_16LE),
            (Encoding::Utf16Be, encoding_rs::UTF_16BE),
            (Encoding::Latin1, encoding_rs::WINDOWS_1252),
        ][encoding];
        let is_marked = is_marked && encoding != Encoding::Latin1;
        let marked = if is_marked { format!("\u{feff}{text}") } else { text };
        let bytes: Vec<u8> = match encoding {
            Encoding::Utf8 => marked.into_bytes(),
            Encoding::Utf16Le => marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Be => marked.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Encoding::Latin1 => marked.chars().map(|character| character as u8).collect(),
        };
        // One byte alone may become anything.
        prop_assume!(bytes.len() != 1);
        let mut world = World::new("app.log", |rules| {
            // A mark is believed whatever the settings say.
            let encoding = if is_marked { Encoding::Latin1 } else { encoding };
            let framer = Framer { encoding, ..rules.framer.clone() };
            Rules { framer, turn_bytes: 7, ..rules }
        });
        let mut rest = &bytes[..];
        for (length, action) in steps {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            if !piece.is_empty() {
                world.append_bytes(piece);
            }
            world.wait(1);
            match action {
                0 => world.crash(),
                1 => {
                    world.read(false);
                    world.crash();
                }
                _ => {
                    world.read(true);
                }
            }
        }
        if !rest.is_empty() {
            world.append_bytes(rest);
        }
        world.settle();
        let (whole, _) = reference.decode_with_bom_removal(&bytes);
        let lines: Vec<&str> = whole
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .map(|line| line.trim_start_matches('\0'))
            .filter(|line| !line.is_empty())
            .collect();
        prop_assert_eq!(&world.delivered, &lines);
    }
}

#[test]
fn what_is_there_at_the_start_is_read_oldest_first() {
    let mut world = World::new("app.log*", |rules| rules);
    let text = |name: &str| -> String {
        let lines = (0..40).map(|n| format!("{name} {n} {}\n", "y".repeat(60)));
        lines.collect()
    };
    for (name, age) in [
        ("app.log", 1),
        ("app.log.1", 60),
        ("app.log.10", 600),
        ("app.log.2", 120),
    ] {
        world.write_aged(name, &text(name), age);
    }
    // New ones wait their turn, too, but nothing waits for what cannot be read.
    world.write_aged("app.log.empty", "", 1000);
    world.settle();
    let names = world
        .delivered
        .iter()
        .filter_map(|line| line.split(' ').next());
    let mut order: Vec<&str> = names.collect();
    assert_eq!(order.len(), 160);
    order.dedup();
    assert_eq!(order, ["app.log.10", "app.log.2", "app.log.1", "app.log"]);
}

#[test]
fn a_file_that_is_written_all_the_time_does_not_hold_up_younger_ones() {
    let mut world = World::new("*.log", |rules| rules);
    world.write_aged("busy.log", "first\n", 60);
    world.write_aged("other.log", "other\n", 1);
    for n in 0..10 {
        world.wait(1);
        let path = world.path("busy.log");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "line {n}").unwrap();
        world.stamp(&file);
        world.read(true);
    }
    assert!(world.delivered.iter().any(|line| line == "other"));
}

#[test]
fn a_file_outside_of_the_patterns_is_not_read_whatever_its_inode_was() {
    let mut world = World::new("app.log", |rules| Rules {
        close_idle_after: Duration::from_secs(10),
        ..rules
    });
    world.write(3, 10, false);
    world.settle();
    assert_eq!(world.open_files(), 0);
    // As a new file does that is given the inode of a deleted one.
    fs::rename(world.path("app.log"), world.path("secret")).unwrap();
    fs::write(world.path("secret"), "secret\n").unwrap();
    world.settle();
    assert_eq!(world.delivered.len(), 3);
    assert!(world.tailer.files.is_empty());
}

#[test]
fn an_idle_file_is_closed_and_nothing_of_it_is_lost_to_a_rotation() {
    // The rotated file is out of the patterns: nothing but the folder tells where it went.
    let mut world = World::new("app.log", |rules| Rules {
        close_idle_after: Duration::from_secs(60),
        ..rules
    });
    world.write(2, 10, false);
    world.settle();
    assert_eq!((world.open_files(), world.tailer.files.len()), (0, 1));
    world.write(1, 10, false);
    world.wait(1);
    world.read_all();
    assert_eq!((world.delivered.len(), world.open_files()), (3, 1));

    world.settle();
    assert_eq!(world.open_files(), 0);
    world.write(1, 10, false);
    world.rename();
    let old = world.oldest_rotated().unwrap();
    world.write(1, 10, false);
    world.wait(1);
    world.read_all();
    assert_eq!(world.delivered.len(), 5);
    // A writer that was not told yet.
    world.wait(20);
    world.read_all();
    let mut late = OpenOptions::new().append(true).open(&old).unwrap();
    late.write_all(b"late\n").unwrap();
    world.stamp(&late);
    world.wait(1);
    world.read_all();
    assert_eq!(world.delivered.last().map(String::as_str), Some("late"));
    world.settle();
    world.settle();
    assert_eq!(world.tailer.files.len(), 1, "the old one was let go");

    // Closed, then truncated and written anew.
    fs::write(world.path("app.log"), "").unwrap();
    world.append("new\n");
    world.settle();
    assert_eq!(world.delivered.last().map(String::as_str), Some("new"));
    assert_eq!(world.delivered.len(), 7);
}

#[test]
fn the_half_line_of_a_file_that_had_to_be_closed_is_taken_at_last() {
    let mut world = World::new("*.log", |rules| Rules {
        open_files_max: 1,
        ..rules
    });
    for n in 0..3 {
        fs::write(
            world.path(&format!("{n}.log")),
            format!("{n} whole\n{n} half"),
        )
        .unwrap();
    }
    world.settle();
    assert_eq!(world.delivered.len(), 6, "{:?}", world.delivered);
}

#[test]
fn five_thousand_files_are_followed_with_few_descriptors() {
    const FILES: usize = 5000;
    const OPEN_MAX: usize = 64;
    let mut world = World::new("**/*.log", |rules| Rules {
        exclude: Vec::new(),
        turn_bytes: 64 << 10,
        batch_bytes: 1 << 20,
        open_files_max: OPEN_MAX,
        close_idle_after: Duration::from_secs(5),
        ..rules
    });
    let left_out = Glob::parse(&format!("{}/**/debug-*.log", world.folder.path().display()));
    world.rules.exclude = vec![left_out.unwrap()];
    world.crash();
    let name = |n: usize| format!("{:02}/app-{n}.log", n % 50);
    for n in 0..FILES {
        if n < 50 {
            fs::create_dir(world.path(&format!("{n:02}"))).unwrap();
            fs::write(world.path(&format!("{n:02}/debug-{n}.log")), "left out\n").unwrap();
        }
        // Some are all alike, as markers and banners are.
        let text = match n % 10 {
            0 => "done\n".to_owned(),
            _ => format!("service {n} started {}\n", "x".repeat(n % 97)),
        };
        fs::write(world.path(&name(n)), text).unwrap();
    }
    for _ in 0..30 {
        world.read_all();
        assert!(world.open_files() <= OPEN_MAX, "{}", world.open_files());
        world.wait(1);
    }
    assert_eq!(world.delivered.len(), FILES);
    assert_eq!(world.open_files(), 0, "idle ones are closed");

    // A few grow, some are rotated within the patterns while they are closed, and then the process is killed.
    for n in (0..FILES).step_by(100) {
        let mut file = OpenOptions::new()
            .append(true)
            .open(world.path(&name(n)))
            .unwrap();
        writeln!(file, "more {n}").unwrap();
        world.stamp(&file);
        if n % 200 == 0 {
            fs::rename(world.path(&name(n)), world.path(&format!("00/old-{n}.log"))).unwrap();
        }
    }
    world.wait(1);
    world.read_all();
    assert_eq!(world.delivered.len(), FILES + 50);
    world.crash();
    for n in (0..FILES).step_by(1000) {
        let path = world.path(&format!("00/old-{n}.log"));
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "last {n}").unwrap();
    }
    for _ in 0..20 {
        world.read_all();
        assert!(world.open_files() <= OPEN_MAX, "{}", world.open_files());
        world.wait(1);
    }
    assert_eq!(world.delivered.len(), FILES + 55);
}

#[test]
fn entries_of_an_exported_journal_arrive_once_over_crashes() {
    let mut world = World::new("app.log", |rules| {
        let framer = Framer {
            format: Format::JournaldExport,
            ..rules.framer.clone()
        };
        Rules { framer, ..rules }
    });
    for n in 0..30u64 {
        let value = format!(
            "line {n}\n\n__CURSOR=no entry\n{}",
            "v".repeat(n as usize * 20)
        );
        let mut entry = format!("__CURSOR=s=1;i={n}\nPRIORITY=6\nMESSAGE\n").into_bytes();
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value.as_bytes());
        entry.extend_from_slice(b"\n\n");
        let (first, rest) = entry.split_at(entry.len() / 2);
        world.append_bytes(first);
        world.wait(1);
        world.read(n % 3 != 0);
        if n % 3 == 0 {
            world.crash();
        }
        world.append_bytes(rest);
        world.wait(1);
        world.read(true);
    }
    world.settle();
    let cursors = world
        .delivered
        .iter()
        .filter_map(|entry| entry.lines().next());
    let expected: Vec<String> = (0..30).map(|n| format!("__CURSOR=s=1;i={n}")).collect();
    assert_eq!(cursors.collect::<Vec<_>>(), expected);
}

#[test]
fn a_renamed_file_is_finished_before_and_after_it_is_noticed() {
    let mut world = World::new("app.log", |rules| rules);
    world.write(3, 10, false);
    world.read_all();
    world.write(2, 10, false);
    // Out of the patterns, with lines not read yet, and then deleted.
    world.rename();
    world.write(2, 10, false);
    world.wait(1);
    world.read_all();
    assert_eq!(world.delivered.len(), 7);
    let old = world.oldest_rotated().unwrap();
    let mut late = OpenOptions::new().append(true).open(&old).unwrap();
    late.write_all(b"late\n").unwrap();
    fs::remove_file(old).unwrap();
    world.settle();
    assert_eq!(world.delivered.last().map(String::as_str), Some("late"));
}

#[test]
fn a_truncated_file_that_grew_past_its_old_length_is_noticed() {
    let mut world = World::new("app.log", |rules| rules);
    world.write(2, 10, false);
    world.read_all();
    fs::write(world.path("app.log"), "").unwrap();
    world.write(5, 10, false);
    world.wait(1);
    world.read_all();
    world.assert_every_line_once();
}

#[test]
fn half_lines_wait_for_their_rest_but_not_for_ever() {
    let mut world = World::new("app.log", |rules| rules);
    world.append("one\ntw");
    world.read_all();
    assert_eq!(world.delivered, ["one"]);
    world.wait(20);
    world.read_all();
    world.append("o\nthr");
    world.wait(1);
    world.read_all();
    assert_eq!(world.delivered, ["one", "two"]);
    world.wait(61);
    world.read_all();
    assert_eq!(world.delivered, ["one", "two", "thr"]);
    world.append("ee\n");
    world.settle();
    assert_eq!(world.delivered, ["one", "two", "thr", "ee"]);
}

#[test]
fn the_half_line_of_a_deleted_file_is_taken_as_it_stands() {
    let mut world = World::new("app.log", |rules| rules);
    world.append("one\ntwo");
    world.read_all();
    fs::remove_file(world.path("app.log")).unwrap();
    world.wait(6);
    world.read_all();
    assert_eq!(world.delivered, ["one", "two"]);
    world.wait(6);
    world.read_all();
    assert!(world.tailer.files.is_empty());
}

#[test]
fn the_rest_of_a_cut_line_is_skipped_also_over_a_crash() {
    let counts = Arc::new(FileCounts::default());
    let mut world = World::new("app.log", |rules| rules);
    world.tailer = Tailer::new(world.rules.clone(), &Entries::new(), Arc::clone(&counts));
    world.append(&"a".repeat(1500));
    world.read_all();
    world.crash();
    world.append(&format!("{}\nnext\n", "a".repeat(1500)));
    world.wait(1);
    world.read_all();
    let lengths: Vec<usize> = world.delivered.iter().map(String::len).collect();
    assert_eq!(lengths, [1000, 4]);
    assert_eq!(
        counts.cut_lines.load(std::sync::atomic::Ordering::Relaxed),
        1
    );
}

#[test]
fn short_files_that_are_alike_are_all_read() {
    let mut world = World::new("*.log", |rules| rules);
    for name in ["a.log", "b.log", "c.log"] {
        fs::write(world.path(name), "done\n").unwrap();
    }
    world.settle();
    assert_eq!(world.delivered, ["done", "done", "done"]);
    // Deleted and made anew with the same words.
    fs::remove_file(world.path("a.log")).unwrap();
    world.settle();
    fs::write(world.path("a.log"), "done\n").unwrap();
    world.settle();
    assert_eq!(world.delivered.len(), 4);
}

#[test]
fn a_new_file_that_begins_like_the_rotated_one_is_not_taken_for_a_copy() {
    let banner = format!("# {}\n", "banner ".repeat(200));
    let mut world = World::new("app.log*", |rules| {
        let framer = Framer {
            event_bytes_max: 4000,
            ..rules.framer.clone()
        };
        Rules { framer, ..rules }
    });
    world.append(&banner);
    world.append("first\n");
    world.read_all();
    world.rename();
    world.append(&banner);
    world.append("second\n");
    world.settle();
    let short: Vec<&str> = world.delivered.iter().map(|line| &line[..5]).collect();
    assert_eq!(short, ["# ban", "first", "# ban", "secon"]);
}

#[test]
fn compressed_files_are_read_once_by_themselves() {
    let mut world = World::new("app.log*", |rules| rules);
    world.write(20, 90, false);
    world.rename();
    world.compress(false);
    world.assert_every_line_once();
    world.crash();
    world.assert_every_line_once();
}

#[test]
fn what_was_unread_when_a_file_was_compressed_is_read_from_there() {
    let mut world = World::new("app.log*", |rules| rules);
    world.write(3, 300, false);
    world.read(true);
    world.write(30, 90, false);
    world.rename();
    world.compress(false);
    world.crash();
    world.assert_every_line_once();
}

#[test]
fn starting_at_the_end_skips_what_was_there_also_over_a_crash() {
    let mut world = World::new("*.log", |rules| Rules {
        starts_at_end: true,
        ..rules
    });
    world.append("old\nold half");
    world.tailer = Tailer::new(world.rules.clone(), &Entries::new(), Arc::default());
    world.read_all();
    fs::write(world.path("quiet.log"), "old\n").unwrap();
    world.tailer = Tailer::new(world.rules.clone(), &Entries::new(), Arc::default());
    world.read_all();
    world.append(" line\nnew\n");
    world.wait(1);
    world.read_all();
    world.crash();
    fs::write(world.path("later.log"), "from the beginning\n").unwrap();
    world.settle();
    assert_eq!(world.delivered, ["new", "from the beginning"]);
}

#[test]
fn lines_are_joined_across_reads_and_crashes() {
    let rule: MultilineSettings = serde_json::from_str(r#"{"start":"^\\d"}"#).unwrap();
    let multiline = Some(Multiline::compile(&rule).unwrap());
    let mut world = World::new("app.log", |rules| {
        let framer = Framer {
            multiline,
            ..rules.framer.clone()
        };
        Rules { framer, ..rules }
    });
    world.append("1 a\n at b\n");
    world.read_all();
    assert!(world.delivered.is_empty());
    world.crash();
    world.append(" at c\n2 d\n");
    world.wait(1);
    world.read_all();
    assert_eq!(world.delivered, ["1 a\n at b\n at c"]);
    world.wait(5);
    world.read_all();
    assert_eq!(world.delivered[1], "2 d");
}

#[test]
fn links_lead_to_the_file_once() {
    let mut world = World::new("*.log", |rules| rules);
    fs::write(world.path("target"), "one\n").unwrap();
    std::os::unix::fs::symlink(world.path("target"), world.path("a.log")).unwrap();
    std::os::unix::fs::symlink(world.path("target"), world.path("b.log")).unwrap();
    std::os::unix::fs::symlink(world.path("missing"), world.path("c.log")).unwrap();
    world.settle();
    assert_eq!(world.delivered, ["one"]);
    fs::remove_file(world.path("a.log")).unwrap();
    fs::write(world.path("second"), "two\n").unwrap();
    std::os::unix::fs::symlink(world.path("second"), world.path("a.log")).unwrap();
    world.settle();
    assert_eq!(world.delivered, ["one", "two"]);
}

#[test]
fn many_files_share_few_open_handles_and_take_turns() {
    let mut world = World::new("*.log", |rules| Rules {
        open_files_max: 4,
        ..rules
    });
    // After the start, for which files are read one after the other.
    world.read(true);
    world.wait(1);
    for n in 0..50 {
        let text: String = (0..20)
            .map(|line| format!("{n} {line} {}\n", "y".repeat(60)))
            .collect();
        fs::write(world.path(&format!("{n}.log")), text).unwrap();
    }
    world.read(true);
    let first: Vec<&str> = world
        .delivered
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let distinct: std::collections::BTreeSet<&str> = first.into_iter().collect();
    assert!(
        distinct.len() >= 3,
        "one file held up the others: {distinct:?}"
    );
    world.settle();
    assert_eq!(world.delivered.len(), 1000);
    let open = world
        .tailer
        .files
        .values()
        .filter(|file| file.content.is_some())
        .count();
    assert!(open <= 4, "{open}");
}
