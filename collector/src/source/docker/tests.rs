//! The source against an engine that answers from a list; the real one is met in `tests/real/docker.sh`.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::{Append, Document, Ledger};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::checkpoint::Entries;
use crate::source::fake::{FakeJournal, fixed_now};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the engine has.
#[derive(Default)]
struct Kept {
    /// Whether the container exists.
    is_there: bool,
    /// Stream, nanoseconds of its second, text.
    lines: Vec<(u8, u32, String)>,
}

/// An engine with one running container; dropped, it cuts all connections.
struct FakeEngine {
    _serving: JoinSet<()>,
}

impl FakeEngine {
    fn start(socket: &Path, kept: &Arc<Mutex<Kept>>) -> FakeEngine {
        std::fs::remove_file(socket).ok();
        let listener = UnixListener::bind(socket).unwrap();
        let kept = Arc::clone(kept);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(answer(connection, Arc::clone(&kept)));
            }
        });
        FakeEngine { _serving: serving }
    }
}

async fn answer(mut connection: UnixStream, kept: Arc<Mutex<Kept>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match connection.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let (status, body, stays_open) = {
        let kept = kept.lock().unwrap();
        body_for(&path, &kept)
    };
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await.ok();
    connection.write_all(&body).await.ok();
    if stays_open {
        std::future::pending::<()>().await;
    }
}

fn body_for(path: &str, kept: &Kept) -> (&'static str, Vec<u8>, bool) {
    let inspected = r#"{"Name":"/web","Config":{"Image":"shop:1","Labels":{"tier":"front"}},"State":{"Running":true}}"#;
    match path {
        _ if path.starts_with("/events") => ("200 OK", Vec::new(), true),
        _ if path.starts_with("/containers/json") && kept.is_there => {
            let list = format!(r#"[{{"Id":"{ID}","State":"running"}}]"#);
            ("200 OK", list.into_bytes(), false)
        }
        _ if path.starts_with("/containers/json") => ("200 OK", b"[]".to_vec(), false),
        _ if path.ends_with("/json") => ("200 OK", inspected.as_bytes().to_vec(), false),
        _ => ("200 OK", frames_since(path, kept), true),
    }
}

/// As engines answer that filter every line.
fn frames_since(path: &str, kept: &Kept) -> Vec<u8> {
    let (_, since) = path.split_once("since=").unwrap();
    let (seconds, nanos) = since.split_once('.').unwrap();
    let since = seconds.parse::<i64>().unwrap() * 1_000_000_000 + nanos.parse::<i64>().unwrap();
    let mut frames = Vec::new();
    for (kind, nanos, text) in &kept.lines {
        let time = format!("2026-11-25T10:00:00.{nanos:09}Z");
        if Timestamp::parse_iso(&time).unwrap().nanos() < since {
            continue;
        }
        let payload = format!("{time} {text}");
        frames.extend_from_slice(&[*kind, 0, 0, 0]);
        frames.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frames.extend_from_slice(payload.as_bytes());
    }
    frames
}

struct Running {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(settings: &Settings, journal: &Arc<FakeJournal>, recovered: Entries) -> Running {
        let parts = SourceParts {
            name: Arc::from("docker"),
            pipeline: None,
            append: Arc::clone(journal) as Arc<dyn Append>,
            ledger: Ledger::new().source("docker"),
            host_name: None,
            recovered,
            now: fixed_now,
        };
        let shutdown = CancellationToken::new();
        let source = DockerSource::new(settings, 1 << 20, parts).unwrap();
        let task = tokio::spawn(source.run(shutdown.clone()));
        Running { shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn messages(journal: &FakeJournal, count: usize) -> Vec<String> {
    while journal.events().len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let events = journal.events();
    let message = |event: &event::Event| {
        let document = Document::parse(&event.source).unwrap();
        document.get_str("message").unwrap().into_owned()
    };
    events.iter().map(message).collect()
}

fn recovered(journal: &FakeJournal) -> Entries {
    let mut entries = Entries::new();
    for batch in journal.batches.lock().unwrap().iter() {
        let place = batch.checkpoint.as_ref().unwrap();
        assert!(checkpoint::apply(place, &mut entries));
    }
    entries
}

#[tokio::test]
async fn each_line_is_stored_once_whoever_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        socket: folder.path().join("docker.sock"),
        data_root: folder.path().join("none"),
        ..Settings::default()
    };
    let kept = Arc::new(Mutex::new(Kept {
        is_there: true,
        lines: vec![
            (1, 10, "out 1\n".to_owned()),
            (2, 9, "err 1\n".to_owned()),
            (1, 10, "out 2\n".to_owned()),
            (1, 20, "half ".to_owned()),
        ],
    }));
    let journal = Arc::new(FakeJournal::default());
    let engine = FakeEngine::start(&settings.socket, &kept);
    let source = Running::start(&settings, &journal, Entries::new());
    assert_eq!(messages(&journal, 3).await, ["out 1", "err 1", "out 2"]);

    // The engine is restarted; the rest of the long line comes behind a younger one of the other stream.
    drop(engine);
    let later = [(2, 30, "err 2\n"), (1, 20, "whole\n"), (1, 40, "out 3\n")];
    let later = later.map(|(kind, nanos, text)| (kind, nanos, text.to_owned()));
    kept.lock().unwrap().lines.extend(later);
    let _engine = FakeEngine::start(&settings.socket, &kept);
    let expected = ["out 1", "err 1", "out 2", "err 2", "half whole", "out 3"];
    assert_eq!(messages(&journal, 6).await, expected);
    source.stop().await;

    // Daybook is restarted.
    let last = (1, 50, "out 4\n".to_owned());
    kept.lock().unwrap().lines.push(last);
    let source = Running::start(&settings, &journal, recovered(&journal));
    assert_eq!(messages(&journal, 7).await[6], "out 4");
    source.stop().await;
    assert_eq!(journal.events().len(), 7);
    assert_eq!(recovered(&journal).len(), 1);
}

#[test]
fn mistakes_in_the_settings_are_named() {
    for (settings, part) in [
        (r#"{"socket":"docker.sock"}"#, "is not absolute"),
        (r#"{"data_root":"docker"}"#, "is not absolute"),
        (r#"{"index":"Upper"}"#, "[Upper]"),
        (r#"{"include":{"images":[""]}}"#, "a pattern is empty"),
        (r#"{"multiline":{"start":"("}}"#, "multiline pattern"),
    ] {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let problem = settings.check().unwrap_err();
        assert!(problem.contains(part), "{problem}");
    }
}
