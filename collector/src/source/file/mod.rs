//! Log files: followed through rotation, with checkpoints that survive any crash.
//!
//! [`tailer`] says which lines come next, [`batch`] writes them as events, and [`FileSource`] appends them, one batch
//! at a time and in order. How far the files have been read travels inside the batch (see [`super::checkpoint`]), so
//! a line and the fact that it was read become durable together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::source::delivery::{CountedBatch, Delivery};
use crate::source::{SourceParts, index_name};
use crate::transform::multiline::{self, Multiline};

pub mod batch;
mod carrier;
mod content;
pub mod encoding;
mod entries;
pub mod framing;
mod glob;
mod life;
#[cfg(test)]
mod model_tests;
mod newcomer;
mod scan;
mod tailed_file;
pub mod tailer;

use batch::{BatchBuilder, Stamp};
use encoding::Encoding;
use framing::{Format, Framer};
use glob::Glob;
use tailer::{FileCounts, POLL_EVERY, Rules, SCAN_EVERY, Tailer};

/// One batch: large enough that an fsync of some milliseconds still lets 100 MB pass in a second.
const BATCH_BYTES: usize = 1 << 20;
/// One turn of one file: four busy files share a batch.
const TURN_BYTES: usize = 256 << 10;
/// Half of what a process may usually hold open (1024), for the file sources and the rest of the appliance.
const OPEN_FILES_MAX: usize = 512;
/// Longer than an ordinary night, so that the usual rotation meets files that are open.
const CLOSE_IDLE_AFTER_SECONDS: u64 = 12 * 3600;
/// The usual `limits.event`.
const LINE_BYTES_MAX: usize = 1 << 20;

/// `type: file` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Absolute path patterns: `*`, `?`, `[...]`, `{a,b}`, `**`.
    pub include: Vec<String>,
    /// Patterns for paths to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The index of its events; `logs` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline its events go through.
    #[serde(
        default,
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
    /// What the files consist of.
    #[serde(default)]
    pub format: Format,
    /// How the bytes of files without a byte order mark are text.
    #[serde(default)]
    pub encoding: Encoding,
    /// How lines are joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<multiline::Settings>,
    /// A file that did not grow for this many seconds is closed, and opened again when it grows.
    #[serde(default = "close_idle_after_seconds")]
    pub close_idle_after_seconds: u64,
    /// Where files that exist at the very first start are read from.
    #[serde(default)]
    pub start_at: StartAt,
    /// Longer lines are cut and say `event.truncated`. Bytes as they lie in the file; `limits.event` without it, and never more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_line_bytes: Option<usize>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// With the first line.
    #[default]
    Beginning,
    /// With the first line written after the start. Files that appear later are read whole. Until a first line was
    /// stored, every start is the very first one.
    End,
}

/// Follows the files of one entry under `sources:`.
pub struct FileSource {
    tailer: Tailer,
    stamp: Arc<Stamp>,
    parts: SourceParts,
    counts: Arc<FileCounts>,
}

impl Settings {
    /// Settings with these patterns and otherwise the defaults.
    pub fn including(patterns: Vec<String>) -> Settings {
        Settings {
            include: patterns,
            exclude: Vec::new(),
            index: None,
            pipeline: None,
            format: Format::Lines,
            encoding: Encoding::Utf8,
            multiline: None,
            close_idle_after_seconds: CLOSE_IDLE_AFTER_SECONDS,
            start_at: StartAt::Beginning,
            max_line_bytes: None,
        }
    }

    /// Settings with one pattern below an absolute folder, whatever characters the folder's name has.
    pub(in crate::source) fn below(folder: &Path, pattern: &str) -> Settings {
        Settings::including(vec![format!("{}/{pattern}", Glob::literally(folder))])
    }

    /// Leaves out everything below an existing folder, by the name it is given and by the one without links.
    pub fn exclude_folder(&mut self, folder: &Path) {
        let names = [std::path::absolute(folder), folder.canonicalize()];
        let patterns = names.into_iter().flatten();
        self.exclude
            .extend(patterns.map(|name| Glob::everything_below(&name)));
    }

    fn line_bytes_max(&self) -> usize {
        self.max_line_bytes.unwrap_or(LINE_BYTES_MAX)
    }

    /// Checks everything that can be checked without looking at files.
    ///
    /// # Errors
    /// What is wrong, as a sentence that names the value.
    pub fn check(&self) -> Result<(), String> {
        self.rules()?;
        index_name(self.index.as_ref()).map(|_| ())
    }

    pub(in crate::source) fn rules(&self) -> Result<Rules, String> {
        if self.include.is_empty() {
            return Err(
                "include is empty; write for instance include: [\"/var/log/*.log\"]".to_owned(),
            );
        }
        if self.max_line_bytes == Some(0) {
            return Err("max_line_bytes is 0; write for instance 1048576".to_owned());
        }
        if self.format == Format::JournaldExport && self.multiline.is_some() {
            return Err("multiline joins lines, and format: journald_export has none".to_owned());
        }
        if self.format == Format::JournaldExport && self.encoding != Encoding::Utf8 {
            return Err(
                "format: journald_export has an encoding of its own; leave out encoding".to_owned(),
            );
        }
        Ok(Rules {
            include: globs(&self.include)?,
            exclude: globs(&self.exclude)?,
            framer: Framer {
                format: self.format,
                encoding: self.encoding,
                event_bytes_max: self.line_bytes_max(),
                multiline: self
                    .multiline
                    .as_ref()
                    .map(Multiline::compile)
                    .transpose()?,
            },
            starts_at_end: self.start_at == StartAt::End,
            turn_bytes: TURN_BYTES,
            batch_bytes: BATCH_BYTES,
            open_files_max: OPEN_FILES_MAX,
            close_idle_after: Duration::from_secs(self.close_idle_after_seconds),
        })
    }
}

impl FileSource {
    /// Joins a source; nothing is read before [`FileSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(settings: &Settings, parts: SourceParts) -> Result<FileSource, String> {
        let counts = Arc::new(FileCounts::default());
        let stamp = Stamp {
            source: Arc::clone(&parts.name),
            index: index_name(settings.index.as_ref())?,
            host_name: parts.host_name.clone(),
            pipeline: parts.steps(),
            format: settings.format,
            value_bytes_max: settings.line_bytes_max(),
            counts: Arc::clone(&counts),
        };
        Ok(FileSource {
            tailer: Tailer::new(settings.rules()?, &parts.recovered, Arc::clone(&counts)),
            stamp: Arc::new(stamp),
            parts,
            counts,
        })
    }

    /// What it sees besides events, for the metrics.
    pub fn counts(&self) -> Arc<FileCounts> {
        Arc::clone(&self.counts)
    }

    /// Paths the patterns lead to at the moment, for the start-up lines.
    pub fn paths_found(settings: &Settings) -> Vec<PathBuf> {
        let Ok(rules) = settings.rules() else {
            return Vec::new();
        };
        let mut paths = Vec::new();
        rules
            .include
            .iter()
            .for_each(|glob| glob.collect_into(&mut paths));
        paths.retain(|path| path.is_file() && !rules.exclude.iter().any(|glob| glob.matches(path)));
        paths
    }

    /// Follows the files until `shutdown`; then gives up what was not answered yet, to be read again next time.
    ///
    /// While one batch is being made durable the next one is read: at most two are held.
    pub async fn run(self, shutdown: CancellationToken) {
        let FileSource {
            tailer,
            stamp,
            parts,
            ..
        } = self;
        let now = parts.now;
        let delivery = Delivery::new(&parts, shutdown);
        let mut reading = Reading {
            tailer,
            batch: None,
            has_work: false,
            now,
        };
        loop {
            let Some(read) = read(reading, Arc::clone(&stamp)).await else {
                tracing::error!(source = %stamp.source, "reading files ended unexpectedly; restart to go on");
                return;
            };
            reading = read;
            // The batch before it is durable by now; this one is sent while the next is read.
            let Some(batch) = reading.batch.take() else {
                let wait = if reading.has_work {
                    Duration::ZERO
                } else {
                    POLL_EVERY
                };
                if delivery.is_stopped_within(wait).await {
                    return;
                }
                continue;
            };
            let sending = delivery.send(batch);
            tokio::pin!(sending);
            let Some((after, is_sent)) = read_while(reading, &stamp, sending).await else {
                return;
            };
            if !is_sent {
                return;
            }
            reading = after;
        }
    }
}

/// The tailer on its way to a blocking thread and back.
struct Reading {
    tailer: Tailer,
    batch: Option<CountedBatch>,
    has_work: bool,
    now: fn() -> Timestamp,
}

/// Reads the next batch on a blocking thread. `None` when that thread ended oddly.
async fn read(mut reading: Reading, stamp: Arc<Stamp>) -> Option<Reading> {
    // A batch that was read ahead goes first.
    if reading.batch.is_some() {
        return Some(reading);
    }
    tokio::task::spawn_blocking(move || {
        let now = (reading.now)();
        let mut builder = BatchBuilder::new(&stamp, now);
        let work = reading.tailer.read(now, &mut |line| builder.push(line));
        reading.has_work = work > 0;
        if !builder.is_empty() {
            // Progress without events waits for the next ones: the journal stores events.
            let checkpoint = match builder.has_events() {
                true => reading.tailer.take_checkpoint(),
                false => None,
            };
            reading.batch = Some(builder.finish(checkpoint));
        }
        reading
    })
    .await
    .ok()
}

/// Reads one batch ahead while `sending` goes on, then only looks for rotations until it is done.
async fn read_while(
    reading: Reading,
    stamp: &Arc<Stamp>,
    mut sending: std::pin::Pin<&mut impl Future<Output = bool>>,
) -> Option<(Reading, bool)> {
    let ahead = read(reading, Arc::clone(stamp));
    tokio::pin!(ahead);
    let (mut reading, mut is_sent) = tokio::select! {
        is_sent = &mut sending => (ahead.await?, Some(is_sent)),
        reading = &mut ahead => (reading?, None),
    };
    while is_sent.is_none() {
        tokio::select! {
            outcome = &mut sending => is_sent = Some(outcome),
            () = tokio::time::sleep(SCAN_EVERY) => {
                reading = tokio::task::spawn_blocking(move || {
                    reading.tailer.observe((reading.now)());
                    reading
                })
                .await
                .ok()?;
            }
        }
    }
    Some((reading, is_sent.unwrap_or(false)))
}

fn globs(patterns: &[String]) -> Result<Vec<Glob>, String> {
    patterns.iter().map(|text| Glob::parse(text)).collect()
}

fn close_idle_after_seconds() -> u64 {
    CLOSE_IDLE_AFTER_SECONDS
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Mutex;

    use event::{Ack, Append, AppendError, Batch, Document, Ledger, RetryAfter};
    use tokio::sync::mpsc;

    use super::*;
    use crate::source::checkpoint::{self, Entries};

    /// Hands every durable batch to the test; refuses as often as told to.
    struct Journal {
        refusals: Mutex<Vec<AppendError>>,
        stored: mpsc::UnboundedSender<Batch>,
    }

    impl Append for Journal {
        fn append(
            &self,
            batch: Batch,
        ) -> Pin<Box<dyn Future<Output = Result<Ack, AppendError>> + Send + '_>> {
            Box::pin(async move {
                if let Some(refusal) = self.refusals.lock().unwrap().pop() {
                    return Err(refusal);
                }
                self.stored.send(batch).ok();
                Ok(Ack {
                    outcomes: Vec::new(),
                })
            })
        }
    }

    struct Running {
        stored: mpsc::UnboundedReceiver<Batch>,
        ledger: Ledger,
        shutdown: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    fn start(settings: &Settings, recovered: Entries, refusals: Vec<AppendError>) -> Running {
        let (sender, stored) = mpsc::unbounded_channel();
        let ledger = Ledger::new();
        let parts = SourceParts {
            name: Arc::from("files"),
            pipeline: None,
            append: Arc::new(Journal {
                refusals: Mutex::new(refusals),
                stored: sender,
            }),
            ledger: ledger.source("files"),
            host_name: None,
            recovered,
            now: Timestamp::now,
        };
        let shutdown = CancellationToken::new();
        let source = FileSource::new(settings, parts).unwrap();
        let task = tokio::spawn(source.run(shutdown.clone()));
        Running {
            stored,
            ledger,
            shutdown,
            task,
        }
    }

    fn messages(batch: &Batch) -> Vec<String> {
        let message = |source: &[u8]| {
            Document::parse(source)
                .unwrap()
                .get_str("message")
                .map(std::borrow::Cow::into_owned)
                .unwrap()
        };
        batch
            .events
            .iter()
            .map(|event| message(&event.source))
            .collect()
    }

    fn append_to(path: &std::path::Path, text: &str) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn lines_are_appended_and_a_restart_goes_on_behind_the_last_durable_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let settings = Settings::including(vec![format!("{}/*.log", folder.path().display())]);
        append_to(&path, "one\ntwo\nhal");
        let mut running = start(&settings, Entries::new(), Vec::new());
        let batch = running.stored.recv().await.unwrap();
        assert_eq!(messages(&batch), ["one", "two"]);
        running.shutdown.cancel();
        running.task.await.unwrap();
        let totals = running.ledger.totals().remove(0);
        assert_eq!((totals.received, totals.received_bytes), (2, 8));

        append_to(&path, "f\n");
        let mut recovered = Entries::new();
        assert!(checkpoint::apply(
            &batch.checkpoint.unwrap(),
            &mut recovered
        ));
        let mut running = start(&settings, recovered, Vec::new());
        assert_eq!(messages(&running.stored.recv().await.unwrap()), ["half"]);
        append_to(&path, "four\n");
        assert_eq!(messages(&running.stored.recv().await.unwrap()), ["four"]);
        running.shutdown.cancel();
        running.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_journal_pauses_the_reading_and_nothing_is_lost_or_counted_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let settings = Settings::including(vec![path.display().to_string()]);
        append_to(&path, "one\n");
        let full = AppendError::Full {
            message: "1 GiB waits to be indexed".to_owned(),
            retry_after: RetryAfter(Duration::from_millis(1)),
        };
        let mut running = start(&settings, Entries::new(), vec![full.clone(), full]);
        assert_eq!(messages(&running.stored.recv().await.unwrap()), ["one"]);
        append_to(&path, "two\n");
        assert_eq!(messages(&running.stored.recv().await.unwrap()), ["two"]);
        assert_eq!(running.ledger.totals()[0].received, 2);
        running.shutdown.cancel();
        running.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_source_stops_while_the_journal_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        append_to(&path, "one\n");
        let settings = Settings::including(vec![path.display().to_string()]);
        let full = AppendError::Full {
            message: "full".to_owned(),
            retry_after: RetryAfter(Duration::from_secs(3600)),
        };
        let mut running = start(&settings, Entries::new(), vec![full]);
        running.shutdown.cancel();
        running.task.await.unwrap();
        assert!(running.stored.recv().await.is_none(), "nothing was durable");
    }

    #[test]
    fn mistakes_in_the_settings_are_named() {
        let cases = [
            (r#"{"include":[]}"#, "include is empty"),
            (
                r#"{"include":["logs/*.log"]}"#,
                "\"logs/*.log\" is not absolute",
            ),
            (r#"{"include":["/a/{b"]}"#, "{ without }"),
            (r#"{"include":["/a"],"index":"Upper"}"#, "[Upper]"),
            (
                r#"{"include":["/a"],"multiline":{"start":"("}}"#,
                "multiline pattern \"(\"",
            ),
            (
                r#"{"include":["/a"],"max_line_bytes":0}"#,
                "max_line_bytes is 0",
            ),
            (
                r#"{"include":["/a"],"format":"journald_export","multiline":{"start":"x"}}"#,
                "has none",
            ),
            (
                r#"{"include":["/a"],"format":"journald_export","encoding":"utf-16le"}"#,
                "leave out encoding",
            ),
        ];
        for (settings, part) in cases {
            let settings: Settings = serde_json::from_str(settings).unwrap();
            let problem = settings.check().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
        let unknown = serde_json::from_str::<Settings>(r#"{"include":["/a"],"exlude":[]}"#);
        assert!(unknown.unwrap_err().to_string().contains("exlude"));
    }
}
