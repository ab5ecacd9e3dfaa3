//! A forward source over real sockets on loopback, with a journal that remembers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use event::{AppendError, Ledger, RetryAfter};

use super::*;
use crate::listener::{Sockets, Transport};
use crate::source::fake::{FakeJournal, listening};

struct Running {
    journal: Arc<FakeJournal>,
    ledger: Ledger,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(settings: &str) -> Running {
    let settings: Settings = serde_json::from_str(settings).unwrap();
    let mut sockets = Sockets::default();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = sockets
        .open(FLUENT_FORWARD, Transport::Tcp, loopback)
        .unwrap();
    let journal = Arc::new(FakeJournal::default());
    let ledger = Ledger::new();
    let parts = journal.parts("fluent", &ledger);
    let source = FluentForwardSource::new(&settings, parts, listening(sockets)).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(source.run(shutdown.clone()));
    Running {
        journal,
        ledger,
        address,
        shutdown,
        task,
    }
}

/// `["t", 1795428000, {"message": text}, {"chunk": text}]`.
fn message(text: &str) -> Vec<u8> {
    let mut out = vec![0x94];
    push_text(&mut out, "t");
    out.extend_from_slice(b"\xce\x6b\x03\xeb\x60\x81");
    push_text(&mut out, "message");
    push_text(&mut out, text);
    out.push(0x81);
    push_text(&mut out, "chunk");
    push_text(&mut out, text);
    out
}

fn ack(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut finder = EndFinder::default();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
        if finder.end(&bytes).unwrap().is_some() {
            let mut json = Vec::new();
            Reader { rest: &bytes }.write_json(&mut json, 0).unwrap();
            return String::from_utf8(json).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_acknowledged_when_it_is_durable() {
    let running = start("{}");
    *running.journal.refuse_with.lock().unwrap() = Some(AppendError::Full {
        message: "4 GiB".to_owned(),
        retry_after: RetryAfter(Duration::from_millis(10)),
    });
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.write_all(b"\xc0").unwrap();
    for piece in message("one").chunks(3) {
        stream.write_all(piece).unwrap();
    }
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err(), "nothing is durable yet");
    *running.journal.refuse_with.lock().unwrap() = None;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(ack(&mut stream), r#"{"ack":"one"}"#);
    assert_eq!(running.journal.events().len(), 1);
    // Several messages at once, each answered.
    stream
        .write_all(&[message("two"), message("three")].concat())
        .unwrap();
    assert_eq!(ack(&mut stream), r#"{"ack":"two"}"#);
    assert_eq!(ack(&mut stream), r#"{"ack":"three"}"#);
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert_eq!(running.ledger.totals()[0].received, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_protocol_is_closed_and_counted() {
    let running = start("{}");
    for hostile in [
        &b"\xc1"[..],
        b"\x07",
        b"\x93\x01\x02\x03",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(running.address).unwrap();
        stream.write_all(hostile).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut rest = Vec::new();
        // A reset is an end, too.
        stream.read_to_end(&mut rest).ok();
        assert!(rest.is_empty());
    }
    running.shutdown.cancel();
    running.task.await.unwrap();
    let books = running.ledger.totals().remove(0);
    assert_eq!((books.received, books.rejected["malformed"]), (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_shared_key_nothing_is_taken_before_the_handshake() {
    let running = start(r#"{"shared_key":"k3y"}"#);
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(ack(&mut stream).starts_with(r#"["HELO""#));
    stream.write_all(&message("one")).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert!(rest.is_empty());
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert!(running.journal.events().is_empty());
}

#[test]
fn mistakes_in_the_settings_are_named() {
    for (settings, setting, part) in [
        (
            r#"{"listen":["beats"]}"#,
            "listen",
            "\"beats\" is no listener",
        ),
        (r#"{"users":{"ann":"pw"}}"#, "users", "needs a shared_key"),
        (r#"{"index":"UPPER"}"#, "index", "lowercase"),
    ] {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let (named, problem) = settings.check().unwrap_err();
        assert_eq!(named, setting);
        assert!(problem.contains(part), "{problem}");
    }
}
