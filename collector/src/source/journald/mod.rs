//! The journal of systemd, followed through `journalctl`, which alone knows all of its files and formats.
//!
//! [`JournaldSource`] runs `journalctl --output=export --follow` and starts it again behind the last entry when it ends.
//! The entry's cursor travels inside the batch that holds the entry (see [`super::checkpoint`]).

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event::{Batch, Event, IndexName, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pipeline::Pipeline;
use crate::source::checkpoint;
use crate::source::delivery::{CountedBatch, Delivery};
use crate::source::file::StartAt;
use crate::source::{SourceParts, index_name};

pub(super) mod entry;
pub mod export;

use export::{Decoder, Entry};

/// The only key of its checkpoints.
const CURSOR: &[u8] = b"cursor";
/// One batch: large enough that an fsync of some milliseconds still lets 100 MB pass in a second.
const BATCH_BYTES: usize = 1 << 20;
/// What is read from the pipe at a time; a pipe holds as much.
const READ_BYTES: usize = 64 << 10;
/// An entry waits this long for others to share its fsync.
const GATHER_FOR: Duration = Duration::from_millis(20);
/// Between the end of one journalctl and the start of the next.
const RESTART_FIRST: Duration = Duration::from_millis(500);
const RESTART_MAX: Duration = Duration::from_secs(30);

/// `type: journald` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program that reads the journal.
    #[serde(default = "journalctl")]
    pub journalctl: PathBuf,
    /// The journal's files; the system's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Only entries of these units; of all without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
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
    /// Where the very first start begins.
    #[serde(default)]
    pub start_at: StartAt,
}

impl Settings {
    /// Checks everything that can be checked without looking at a journal.
    ///
    /// # Errors
    /// What is wrong, as a sentence that names the value.
    pub fn check(&self) -> Result<(), String> {
        if let Some(directory) = &self.directory
            && !directory.is_absolute()
        {
            let directory = directory.display().to_string();
            return Err(format!(
                "directory {directory:?} is not absolute; write for instance /var/log/journal"
            ));
        }
        // journalctl would take it for an option.
        if let Some(unit) = self
            .units
            .iter()
            .find(|unit| unit.is_empty() || unit.starts_with('-'))
        {
            return Err(format!(
                "{unit:?} in units is no unit; write for instance nginx.service"
            ));
        }
        index_name(self.index.as_ref()).map(|_| ())
    }

    fn command(&self, cursor: Option<&str>) -> Command {
        let mut command = Command::new(&self.journalctl);
        command.args(["--output=export", "--follow", "--all", "--no-pager"]);
        match (cursor, self.start_at) {
            (Some(cursor), _) => command
                .arg("--no-tail")
                .arg(format!("--after-cursor={cursor}")),
            (None, StartAt::Beginning) => command.arg("--no-tail"),
            (None, StartAt::End) => command.arg("--lines=0"),
        };
        if let Some(directory) = &self.directory {
            command.arg("--directory").arg(directory);
        }
        for unit in &self.units {
            command.arg("--unit").arg(unit);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// What the source sees besides events.
#[derive(Debug, Default)]
pub struct JournaldCounts {
    /// How often journalctl ended and was started again.
    pub restarts: AtomicU64,
    /// Entries with a value longer than allowed, or too many fields; stored cut.
    pub cut_entries: AtomicU64,
    /// Entries with a value that was no UTF-8, stored with replacement characters.
    pub invalid_utf8_entries: AtomicU64,
}

/// Follows the journal of one entry under `sources:`.
pub struct JournaldSource {
    settings: Settings,
    index: IndexName,
    pipeline: Option<Arc<Pipeline>>,
    parts: SourceParts,
    event_bytes_max: usize,
    counts: Arc<JournaldCounts>,
}

/// Why reading from one journalctl ended.
enum End {
    /// It ended, or its output is not understood; what it said.
    Over(String),
    /// The source is to stop.
    Stopped,
}

impl JournaldSource {
    /// Joins a source; nothing is started before [`JournaldSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(
        settings: &Settings,
        event_bytes_max: usize,
        parts: SourceParts,
    ) -> Result<JournaldSource, String> {
        settings.check()?;
        Ok(JournaldSource {
            settings: settings.clone(),
            index: index_name(settings.index.as_ref())?,
            pipeline: parts.steps(),
            parts,
            event_bytes_max,
            counts: Arc::default(),
        })
    }

    /// What it sees besides events, for the metrics.
    pub fn counts(&self) -> Arc<JournaldCounts> {
        Arc::clone(&self.counts)
    }

    /// Follows until `shutdown`; what was not answered by then is read again next time.
    pub async fn run(self, shutdown: CancellationToken) {
        let delivery = Delivery::new(&self.parts, shutdown.clone());
        let recovered = self.parts.recovered.get(CURSOR);
        let mut cursor = recovered.and_then(|cursor| String::from_utf8(cursor.to_vec()).ok());
        let mut restart_after = RESTART_FIRST;
        let mut is_told = false;
        loop {
            let before = cursor.clone();
            let End::Over(said) = self.follow(&mut cursor, &delivery, &shutdown).await else {
                return;
            };
            if cursor != before {
                (restart_after, is_told) = (RESTART_FIRST, false);
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(source = %self.parts.name, said, "journalctl ended; it is started again");
            }
            self.counts.restarts.fetch_add(1, Ordering::Relaxed);
            if delivery.is_stopped_within(restart_after).await {
                return;
            }
            restart_after = RESTART_MAX.min(restart_after * 2);
        }
    }

    /// Runs one journalctl to its end; `cursor` moves with what is durable.
    async fn follow(
        &self,
        cursor: &mut Option<String>,
        delivery: &Delivery,
        shutdown: &CancellationToken,
    ) -> End {
        let mut command = self.settings.command(cursor.as_deref());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let program = self.settings.journalctl.display();
                return End::Over(format!("{program} cannot be started: {error}"));
            }
        };
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return End::Over("it has no output".to_owned());
        };
        let said = last_line_of(stderr);
        tokio::pin!(said);
        let reading = self.read(stdout, cursor, delivery, shutdown);
        tokio::pin!(reading);
        let (mut last_said, mut is_over) = (String::new(), false);
        loop {
            tokio::select! {
                end = &mut reading => {
                    if !is_over {
                        last_said = said_by_the_end(&mut said).await;
                    }
                    return match end {
                        End::Over(problem) => End::Over(words_of(&mut child, problem, last_said).await),
                        End::Stopped => End::Stopped,
                    };
                }
                line = &mut said, if !is_over => (last_said, is_over) = (line, true),
            }
        }
    }

    async fn read(
        &self,
        mut stdout: ChildStdout,
        cursor: &mut Option<String>,
        delivery: &Delivery,
        shutdown: &CancellationToken,
    ) -> End {
        let mut decoder = Decoder::new(self.event_bytes_max);
        let mut buffer = vec![0; READ_BYTES];
        let mut entries: Vec<Entry> = Vec::new();
        let mut send_at: Option<Instant> = None;
        loop {
            // Far enough when nothing waits to be sent.
            let due = send_at.unwrap_or_else(|| Instant::now() + RESTART_MAX);
            let read = tokio::select! {
                biased;
                () = shutdown.cancelled() => return End::Stopped,
                read = stdout.read(&mut buffer) => read,
                () = tokio::time::sleep_until(due) => {
                    send_at = None;
                    if !self.send(std::mem::take(&mut entries), cursor, delivery).await {
                        return End::Stopped;
                    }
                    continue;
                }
            };
            let problem = match read {
                Ok(0) => Some(String::new()),
                Ok(count) => {
                    let pushed = decoder.push(&buffer[..count], &mut entries);
                    pushed.err().map(|error| error.to_string())
                }
                Err(error) => Some(error.to_string()),
            };
            let bytes: usize = entries.iter().map(|entry| entry.raw_bytes).sum();
            if problem.is_some() || bytes >= BATCH_BYTES {
                send_at = None;
                if !self
                    .send(std::mem::take(&mut entries), cursor, delivery)
                    .await
                {
                    return End::Stopped;
                }
            } else if !entries.is_empty() {
                send_at.get_or_insert(Instant::now() + GATHER_FOR);
            }
            if let Some(problem) = problem {
                return End::Over(problem);
            }
        }
    }

    /// `false` when the source is to stop first.
    async fn send(
        &self,
        entries: Vec<Entry>,
        cursor: &mut Option<String>,
        delivery: &Delivery,
    ) -> bool {
        let last = entries
            .iter()
            .rev()
            .find_map(|entry| entry.text("__CURSOR"));
        let Some(last) = last.map(str::to_owned) else {
            return true;
        };
        let maker = Maker {
            source: Arc::clone(&self.parts.name),
            index: self.index.clone(),
            pipeline: self.pipeline.clone(),
            counts: Arc::clone(&self.counts),
            received: (self.parts.now)(),
        };
        let place = checkpoint::encode([(CURSOR, Some(last.as_bytes()))]);
        let making = tokio::task::spawn_blocking(move || maker.batch(&entries));
        let Ok(mut counted) = making.await else {
            return false;
        };
        counted.batch.checkpoint = Some(place);
        let is_sent = delivery.send(counted).await;
        if is_sent {
            *cursor = Some(last);
        }
        is_sent
    }
}

/// Makes events of entries, on a thread for it: a pipeline may take its time.
struct Maker {
    source: Arc<str>,
    index: IndexName,
    pipeline: Option<Arc<Pipeline>>,
    counts: Arc<JournaldCounts>,
    received: Timestamp,
}

impl Maker {
    fn batch(&self, entries: &[Entry]) -> CountedBatch {
        let (mut events, mut dropped, mut received_bytes) = (Vec::new(), Vec::new(), 0);
        for read in entries {
            received_bytes += read.raw_bytes as u64;
            let (mut document, is_invalid) = entry::document_of(read, self.received);
            if is_invalid {
                self.counts
                    .invalid_utf8_entries
                    .fetch_add(1, Ordering::Relaxed);
            }
            if document.get("event.truncated").is_some() {
                self.counts.cut_entries.fetch_add(1, Ordering::Relaxed);
            }
            match &self.pipeline {
                None => {
                    let time = entry::time_of(read).unwrap_or(self.received);
                    let source = document.to_bytes();
                    events.push(Event::create(self.index.clone(), time, source));
                }
                Some(pipeline) => match pipeline.event(&mut document, &self.index, self.received) {
                    Ok(event) => events.push(event),
                    Err(reason) => dropped.push(reason),
                },
            }
        }
        CountedBatch {
            batch: Batch::new(Arc::clone(&self.source), self.received, events),
            received: entries.len() as u64,
            received_bytes,
            dropped,
        }
    }
}

/// What a program says last before it ends; lines are bounded by what a pipe holds at a time.
async fn last_line_of(stderr: ChildStderr) -> String {
    let mut lines = BufReader::new(stderr.take(1 << 20)).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(line, "journalctl says");
        last = line.chars().take(300).collect();
    }
    last
}

/// It has closed its output, so it is about to end; it may not.
async fn said_by_the_end(said: &mut (impl Future<Output = String> + Unpin)) -> String {
    let waited = tokio::time::timeout(Duration::from_secs(1), said).await;
    waited.unwrap_or_default()
}

async fn words_of(child: &mut Child, problem: String, said: String) -> String {
    let status = match tokio::time::timeout(Duration::from_secs(1), child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        _ => "still running, killed".to_owned(),
    };
    let words = [status, problem, said];
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(": ")
}

fn journalctl() -> PathBuf {
    PathBuf::from("journalctl")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use event::{Append, Document, Ledger};

    use super::*;
    use crate::source::checkpoint::Entries;
    use crate::source::fake::{FakeJournal, fixed_now};

    /// A journal of numbered entries that ends after two of them, and goes on behind the cursor it is given.
    const SCRIPT: &str = r#"#!/bin/sh
at=0
for word in "$@"; do
    case "$word" in --after-cursor=*) at="${word#--after-cursor=}" ;; esac
done
for n in $((at + 1)) $((at + 2)); do
    [ $n -gt 6 ] && exec sleep 60
    printf '__CURSOR=%s\n__REALTIME_TIMESTAMP=1795428000000000\nMESSAGE=entry %s\n\n' $n $n
done
printf '__CURSOR=half\nMESSAGE=no'
echo "nothing to read" >&2
"#;

    fn script(folder: &Path) -> PathBuf {
        let path = folder.join("journalctl");
        std::fs::write(&path, SCRIPT).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn settings(path: &Path) -> Settings {
        serde_json::from_value(serde_json::json!({ "journalctl": path })).unwrap()
    }

    async fn follow_until(
        journal: &Arc<FakeJournal>,
        settings: &Settings,
        recovered: Entries,
        entries: usize,
    ) {
        let parts = SourceParts {
            name: Arc::from("journal"),
            pipeline: None,
            append: Arc::clone(journal) as Arc<dyn Append>,
            ledger: Ledger::new().source("journal"),
            host_name: None,
            recovered,
            now: fixed_now,
        };
        let shutdown = CancellationToken::new();
        let source = JournaldSource::new(settings, 1 << 20, parts).unwrap();
        let running = tokio::spawn(source.run(shutdown.clone()));
        while journal.events().len() < entries {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shutdown.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn it_goes_on_behind_the_last_entry_whoever_ended() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&script(folder.path()));
        let journal = Arc::new(FakeJournal::default());
        follow_until(&journal, &settings, Entries::new(), 4).await;
        let mut recovered = Entries::new();
        for batch in journal.batches.lock().unwrap().iter() {
            let place = batch.checkpoint.as_ref().unwrap();
            assert!(checkpoint::apply(place, &mut recovered));
        }
        follow_until(&journal, &settings, recovered, 6).await;
        let messages: Vec<String> = journal
            .events()
            .iter()
            .map(|event| {
                Document::parse(&event.source)
                    .unwrap()
                    .get_str("message")
                    .unwrap()
                    .into_owned()
            })
            .collect();
        let expected: Vec<String> = (1..=6).map(|number| format!("entry {number}")).collect();
        assert_eq!(messages, expected);
        assert_eq!(journal.events()[0].timestamp, fixed_now());
    }

    #[test]
    fn mistakes_in_the_settings_are_named() {
        for (settings, part) in [
            (r#"{"directory":"journal"}"#, "is not absolute"),
            (r#"{"units":["--merge"]}"#, "is no unit"),
            (r#"{"index":"Upper"}"#, "[Upper]"),
        ] {
            let settings: Settings = serde_json::from_str(settings).unwrap();
            let problem = settings.check().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
