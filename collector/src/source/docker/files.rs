//! The engine's own files, `DATA_ROOT/containers/ID/ID-json.log`, for when its socket may not be used.
//!
//! Follows them with the file source's machinery: rotation, truncation, checkpoints by content. Each line is
//! `{"log":"...\n","stream":"stdout","time":"..."}`; pieces of a long line have a `log` without `\n`. The places by
//! container and time are kept, too, so that going over to the engine's API, or back, neither loses nor doubles.
//! Blocking; belongs on a thread for it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use event::Timestamp;
use serde::Deserialize;

use super::batch::{self, Stamp};
use super::container::{Container, Selection};
use super::cursor::{Channel, Cursor, Resume};
use super::engine::Inspected;
use super::frames::Line;
use super::joiner::PlacedLine;
use crate::source::checkpoint::{self, Entries};
use crate::source::delivery::CountedBatch;
use crate::source::file::tailer::{FileCounts, Tailer};
use crate::source::file::{self, StartAt};
use crate::transform::multiline;

/// A piece whose line does not go on within this is stored as it stands.
const PIECES_WAIT_SECONDS: u64 = 60;
/// What JSON makes of a line at worst is six times as long; most are hardly longer.
const JSON_GROWTH: usize = 2;
/// A line of the engine's with one piece of 16 KiB of control characters.
const JSON_LINE_BYTES: usize = 128 << 10;

/// What the files are read with.
pub struct Rules {
    /// `/var/lib/docker`.
    pub data_root: PathBuf,
    /// Where reading begins at the very first start.
    pub start_at: StartAt,
    /// Longer lines are cut.
    pub event_bytes_max: usize,
    /// For `host.name`.
    pub host_name: Option<String>,
}

/// Follows the files of all containers.
pub struct DockerFiles {
    tailer: Tailer,
    rules: Rules,
    stamp: Arc<Stamp>,
    known: HashMap<String, Known>,
    positions: HashMap<String, Cursor>,
}

struct Known {
    container: Arc<Container>,
    is_selected: bool,
    /// Set at the first line.
    resume: Option<[Resume; 2]>,
}

/// One line of the engine's files.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

impl DockerFiles {
    /// Whether there is anything this process may read.
    pub fn are_readable(data_root: &Path) -> bool {
        std::fs::read_dir(data_root.join("containers")).is_ok()
    }

    /// Continues from these checkpoints.
    ///
    /// # Errors
    /// The data root is no path that patterns can be made of.
    pub fn new(
        rules: Rules,
        stamp: Arc<Stamp>,
        recovered: &Entries,
        positions: HashMap<String, Cursor>,
    ) -> Result<DockerFiles, String> {
        // With what was rotated away.
        let mut settings = file::Settings::below(&rules.data_root, "containers/*/*-json.log*");
        settings.start_at = rules.start_at;
        settings.max_line_bytes = Some(rules.event_bytes_max * JSON_GROWTH + JSON_LINE_BYTES);
        settings.multiline = Some(multiline::Settings {
            // No text can contain this: its quotation marks are escaped.
            pattern: Some(r#"\\n","(stream|attrs)":"#.to_owned()),
            negate: true,
            side: multiline::Side::Before,
            lines_max: usize::MAX,
            flush_after_seconds: PIECES_WAIT_SECONDS,
            ..multiline::Settings::default()
        });
        let lives = recovered.iter().filter(|(key, _)| is_life(key));
        let lives = lives.map(|(key, value)| (key.clone(), value.clone()));
        let tailer = Tailer::new(
            settings.rules()?,
            &lives.collect(),
            Arc::new(FileCounts::default()),
        );
        Ok(DockerFiles {
            tailer,
            rules,
            stamp,
            known: HashMap::new(),
            positions,
        })
    }

    /// The next lines as a batch with its checkpoint; `None` when there are none now.
    pub fn read(&mut self, now: Timestamp, selection: &Selection) -> Option<CountedBatch> {
        let (known, rules, stamp, positions) = (
            &mut self.known,
            &self.rules,
            &self.stamp,
            &mut self.positions,
        );
        let mut lines: Vec<(Arc<Container>, PlacedLine)> = Vec::new();
        self.tailer.read(now, &mut |group| {
            let Some(id) = id_of(group.path) else {
                return;
            };
            let known = known
                .entry(id.to_owned())
                .or_insert_with(|| Known::find(rules, id, selection));
            if !known.is_selected {
                return;
            }
            let position = positions.entry(id.to_owned()).or_default();
            // From a file's beginning everything may have been taken through the API; behind it, nothing was.
            let resume = known.resume.get_or_insert_with(|| match group.offset {
                0 => position.marks.map(Resume::behind),
                _ => position.marks.map(Resume::at),
            });
            let (group, going_on) = lines_of(group.text, rules.event_bytes_max, stamp);
            for (at, line) in group.into_iter().enumerate() {
                let channel = line.channel as usize;
                let mark = match line.time {
                    // The place is behind a line once its end is.
                    Some(time) if going_on[channel] == Some(at) => {
                        if resume[channel].is_taken(time) {
                            continue;
                        }
                        None
                    }
                    Some(time) => match resume[channel].line_of_file(time) {
                        None => continue,
                        mark => mark,
                    },
                    None => None,
                };
                if let Some(mark) = mark {
                    position.marks[channel] = Some(mark);
                    position.since = mark.time;
                }
                lines.push((Arc::clone(&known.container), PlacedLine { line, mark }));
            }
        });
        if lines.is_empty() {
            return None;
        }
        let by_reference = lines.iter().map(|(container, line)| (&**container, line));
        let mut counted = batch::batch(&self.stamp, by_reference, now);
        if !counted.batch.events.is_empty() {
            let containers = lines.iter().map(|(container, _)| container.id.as_str());
            counted.batch.checkpoint = Some(self.checkpoint(containers));
        }
        Some(counted)
    }

    /// Gives up: how far each container was read, and the keys under which the files' places are kept.
    pub fn into_positions(self) -> HashMap<String, Cursor> {
        self.positions
    }

    /// The places of the files, then those of the containers that had lines.
    fn checkpoint<'a>(&mut self, containers: impl Iterator<Item = &'a str>) -> Bytes {
        let mut changed: Vec<&str> = containers.collect();
        changed.sort_unstable();
        changed.dedup();
        let cursors: Vec<(&str, Bytes)> = changed
            .into_iter()
            .filter_map(|id| Some((id, self.positions.get(id)?.encode())))
            .collect();
        let cursors = checkpoint::encode(
            cursors
                .iter()
                .map(|(id, value)| (id.as_bytes(), Some(&value[..]))),
        );
        let Some(files) = self.tailer.take_checkpoint() else {
            return cursors;
        };
        let mut both = BytesMut::with_capacity(files.len() + cursors.len());
        both.put_slice(&files);
        // Behind its version a checkpoint is a list of entries.
        both.put_slice(&cursors[1..]);
        both.freeze()
    }
}

impl Known {
    /// The engine keeps what it answers about a container beside its log.
    fn find(rules: &Rules, id: &str, selection: &Selection) -> Known {
        let path = rules
            .data_root
            .join("containers")
            .join(id)
            .join("config.v2.json");
        let inspected = std::fs::read(&path).ok();
        let inspected = inspected.and_then(|json| serde_json::from_slice::<Inspected>(&json).ok());
        let inspected = inspected.unwrap_or_default();
        Known {
            is_selected: selection.selects(id, &inspected),
            container: Arc::new(Container::new(id, &inspected, rules.host_name.as_deref())),
            resume: None,
        }
    }
}

/// Whether a checkpoint's key is a file's, not a container's.
pub fn is_life(key: &[u8]) -> bool {
    key.len() == 8
}

/// `.../containers/ID/ID-json.log`.
fn id_of(path: &Path) -> Option<&str> {
    path.parent()?.file_name()?.to_str()
}

/// Lines of the engine's file, joined where they are pieces; what is no such line is kept as it stands. And by channel which
/// of them is the beginning of a line that goes on behind the group, because the other stream's end stands in between.
fn lines_of(
    group: &[u8],
    event_bytes_max: usize,
    stamp: &Stamp,
) -> (Vec<Line>, [Option<usize>; 2]) {
    let mut lines: Vec<Line> = Vec::new();
    let mut is_at_end = false;
    // By channel: where in `lines` the piece stands that goes on.
    let mut begun: [Option<usize>; 2] = [None; 2];
    for json in group.split(|byte| *byte == b'\n') {
        let Ok(entry) = serde_json::from_slice::<Entry<'_>>(json) else {
            stamp.counts.log_errors.fetch_add(1, Ordering::Relaxed);
            lines.push(Line {
                channel: Channel::Stdout,
                time: None,
                text: json.to_vec(),
                is_cut: false,
                raw_bytes: json.len() + 1,
            });
            continue;
        };
        let channel = match &*entry.stream {
            "stderr" => Channel::Stderr,
            _ => Channel::Stdout,
        };
        let time = Timestamp::parse_iso(&entry.time).ok();
        let text = entry.log.as_bytes();
        let is_end = text.ends_with(b"\n");
        is_at_end = is_end;
        let goes_on = begun[channel as usize].filter(|at| lines[*at].time == time);
        let at = goes_on.unwrap_or_else(|| {
            lines.push(Line {
                channel,
                time,
                text: Vec::new(),
                is_cut: false,
                raw_bytes: 0,
            });
            lines.len() - 1
        });
        begun[channel as usize] = (!is_end).then_some(at);
        let line = &mut lines[at];
        line.raw_bytes += text.len();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = match is_end {
            true => text.strip_suffix(b"\r").unwrap_or(text),
            false => text,
        };
        line.append(text, event_bytes_max);
    }
    // Without an end the group was waited for in vain: that is all there is of these lines.
    let going_on = if is_at_end { begun } else { [None; 2] };
    (lines, going_on)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use event::{Document, IndexName};

    use super::super::container::Patterns;
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn entry(log: &str, stream: &str, nanos: u32) -> String {
        let log = serde_json::to_string(log).unwrap();
        format!(
            "{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"2026-11-25T10:00:00.{nanos:09}Z\"}}\n"
        )
    }

    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Root {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("containers").join(ID)).unwrap();
            let root = Root(root);
            let config = r#"{"Name":"/web","Config":{"Image":"shop:1","Labels":{"a":"b"}},"State":{"Running":true}}"#;
            fs::write(root.log().with_file_name("config.v2.json"), config).unwrap();
            root
        }

        fn log(&self) -> PathBuf {
            self.0
                .path()
                .join("containers")
                .join(ID)
                .join(format!("{ID}-json.log"))
        }

        fn write(&self, entries: &[String]) {
            let log = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.log());
            log.unwrap().write_all(entries.concat().as_bytes()).unwrap();
        }

        fn files(&self, recovered: &Entries, positions: HashMap<String, Cursor>) -> DockerFiles {
            let stamp = Stamp {
                source: Arc::from("docker"),
                index: IndexName::default_index(),
                pipeline: None,
                counts: Arc::default(),
            };
            let rules = Rules {
                data_root: self.0.path().to_owned(),
                start_at: StartAt::Beginning,
                event_bytes_max: 100,
                host_name: None,
            };
            DockerFiles::new(rules, Arc::new(stamp), recovered, positions).unwrap()
        }
    }

    fn read(files: &mut DockerFiles, seconds: u64, recovered: &mut Entries) -> Vec<String> {
        let selection =
            Selection::compile(&Patterns::default(), &Patterns::default(), None).unwrap();
        let now = Timestamp::parse_iso("2026-11-25T10:00:10Z").unwrap();
        let now = now.plus(std::time::Duration::from_secs(seconds));
        let Some(counted) = files.read(now, &selection) else {
            return Vec::new();
        };
        assert!(checkpoint::apply(
            &counted.batch.checkpoint.unwrap(),
            recovered
        ));
        let texts = counted.batch.events.iter().map(|event| {
            let document = Document::parse(&event.source).unwrap();
            assert_eq!(document.get_str("container.name").as_deref(), Some("web"));
            assert_eq!(document.get_str("container.labels.a").as_deref(), Some("b"));
            let field = |name| document.get_str(name).unwrap();
            format!("{} {}", field("stream"), field("message"))
        });
        texts.collect()
    }

    #[test]
    fn lines_and_their_pieces_are_read_and_a_restart_goes_on_behind_them() {
        let root = Root::new();
        let mut recovered = Entries::new();
        let mut files = root.files(&recovered, HashMap::new());
        root.write(&[
            entry("one\n", "stdout", 1),
            entry("terminal\r\n", "stdout", 2),
            entry("trouble \"quoted\\n\",\"stream\":\n", "stderr", 2),
            entry("aaa", "stdout", 3),
            entry("bbb", "stdout", 3),
        ]);
        assert_eq!(
            read(&mut files, 0, &mut recovered),
            [
                "stdout one",
                "stdout terminal",
                "stderr trouble \"quoted\\n\",\"stream\":"
            ],
            "the long line has not ended"
        );
        root.write(&[entry("ccc\n", "stdout", 3), entry("two\n", "stdout", 3)]);
        let mut restarted = root.files(&recovered, HashMap::new());
        assert_eq!(
            read(&mut restarted, 20, &mut recovered),
            ["stdout aaabbbccc", "stdout two"]
        );
        let mut again = root.files(&recovered, HashMap::new());
        assert!(read(&mut again, 40, &mut recovered).is_empty());
        fs::rename(root.log(), root.log().with_extension("log.1")).unwrap();
        root.write(&["no json\n".to_owned(), entry("three\n", "stdout", 5)]);
        assert_eq!(
            read(&mut again, 60, &mut recovered),
            ["stdout no json", "stdout three"]
        );
    }

    /// Pieces of a long line with the other stream's line between them, as they stand in the engine's files.
    fn broken_line() -> Vec<String> {
        vec![
            entry("aaa", "stderr", 1),
            entry("other\n", "stdout", 2),
            entry("bbb", "stderr", 1),
            entry("ccc\n", "stderr", 1),
            entry("next\n", "stderr", 3),
        ]
    }

    #[test]
    fn a_long_line_that_was_taken_through_the_api_is_passed_over_with_all_its_pieces() {
        let root = Root::new();
        root.write(&broken_line());
        let time = Timestamp::parse_iso("2026-11-25T10:00:00.000000001Z").unwrap();
        let mark = super::super::cursor::Mark { time, lines: 1 };
        let cursor = Cursor {
            since: time,
            marks: [None, Some(mark)],
        };
        let positions = HashMap::from([(ID.to_owned(), cursor)]);
        let mut files = root.files(&Entries::new(), positions);
        assert_eq!(
            read(&mut files, 0, &mut Entries::new()),
            ["stdout other", "stderr next"]
        );
    }

    #[test]
    fn a_long_line_whose_end_was_not_seen_is_not_behind_the_place() {
        let root = Root::new();
        let entries = broken_line();
        root.write(&entries[..2]);
        let mut files = root.files(&Entries::new(), HashMap::new());
        let mut recovered = Entries::new();
        assert_eq!(
            read(&mut files, 0, &mut recovered),
            ["stderr aaa", "stdout other"]
        );
        root.write(&entries[2..]);
        let mut restarted = root.files(&recovered, files.into_positions());
        assert_eq!(
            read(&mut restarted, 1, &mut recovered),
            ["stderr bbbccc", "stderr next"]
        );
        let place = restarted.into_positions()[ID];
        let lines = |mark: Option<super::super::cursor::Mark>| mark.map(|mark| mark.lines);
        assert_eq!(place.marks.map(lines), [Some(1), Some(1)]);

        // Gone over to the API in the middle of it, the line is whole there: better twice than not.
        let mut files = root.files(&Entries::new(), HashMap::new());
        root.write(&[entry("begun", "stderr", 5), entry("last\n", "stdout", 6)]);
        read(&mut files, 0, &mut Entries::new());
        let place = files.into_positions()[ID];
        let nanos = |mark: Option<super::super::cursor::Mark>| {
            mark.map(|mark| mark.time.nanos() % 1_000_000_000)
        };
        assert_eq!(place.marks.map(nanos), [Some(6), Some(3)]);
    }

    #[test]
    fn what_was_taken_through_the_api_is_passed_over() {
        let root = Root::new();
        root.write(&[
            entry("one\n", "stdout", 1),
            entry("err\n", "stderr", 2),
            entry("two\n", "stdout", 3),
            entry("three\n", "stdout", 3),
            entry("four\n", "stderr", 4),
        ]);
        let mark = |nanos, lines| {
            let time = Timestamp::parse_iso(&format!("2026-11-25T10:00:00.{nanos:09}Z")).unwrap();
            Some(super::super::cursor::Mark { time, lines })
        };
        let cursor = Cursor {
            since: mark(3, 1).unwrap().time,
            marks: [mark(3, 1), mark(2, 1)],
        };
        let positions = HashMap::from([(ID.to_owned(), cursor)]);
        let mut recovered = Entries::new();
        let mut files = root.files(&recovered, positions);
        assert_eq!(
            read(&mut files, 0, &mut recovered),
            ["stdout three", "stderr four"]
        );
        let position = files.into_positions()[ID];
        assert_eq!(position.marks, [mark(3, 2), mark(4, 1)]);
        assert_eq!(recovered.len(), 2, "the file's place and the container's");
    }
}
