//! A syslog source over real sockets on loopback, with a journal that remembers.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use event::{AppendError, Document, Ledger, RetryAfter, SourceTotals};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::listener::{Sockets, Transport};
use crate::source::fake::{FakeJournal, listening};

struct Running {
    journal: Arc<FakeJournal>,
    ledger: Ledger,
    tcp: SocketAddr,
    tls: Option<SocketAddr>,
    udp: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(settings: &Settings) -> Running {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sockets = Sockets::default();
        let mut open = |name, transport| sockets.open(name, transport, loopback).unwrap();
        let udp = open(SYSLOG_UDP, Transport::Udp);
        let tcp = open(SYSLOG_TCP, Transport::Tcp);
        let tls = settings.tls.is_some();
        let tls = tls.then(|| open(SYSLOG_TLS, Transport::Tcp));
        let journal = Arc::new(FakeJournal::default());
        let ledger = Ledger::new();
        let parts = journal.parts("syslog", &ledger);
        let shutdown = CancellationToken::new();
        let source = SyslogSource::new(settings, parts, listening(sockets)).unwrap();
        let task = tokio::spawn(source.run(shutdown.clone()));
        Running {
            journal,
            ledger,
            tcp,
            tls,
            udp,
            shutdown,
            task,
        }
    }

    /// Waits until the journal holds as many.
    async fn messages(&self, count: usize) -> Vec<String> {
        let waiting = async {
            while self.journal.events().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        let messages = self.stored();
        assert!(
            in_time.is_ok(),
            "{count} wanted, {} came: {:?}",
            messages.len(),
            messages.last()
        );
        messages
    }

    fn stored(&self) -> Vec<String> {
        let events = self.journal.events();
        let message = |source: &[u8]| {
            Document::parse(source)
                .unwrap()
                .get_str("message")
                .unwrap()
                .into_owned()
        };
        events.iter().map(|event| message(&event.source)).collect()
    }

    fn books(&self) -> SourceTotals {
        self.ledger.totals().remove(0)
    }

    async fn stop(self) -> (Arc<FakeJournal>, SourceTotals) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.task).await;
        ended.expect("it ends in time").unwrap();
        (self.journal, self.ledger.totals().remove(0))
    }
}

fn refusal() -> AppendError {
    AppendError::Full {
        message: "4 GiB".to_owned(),
        retry_after: RetryAfter(Duration::from_millis(10)),
    }
}

#[tokio::test]
async fn messages_come_by_stream_and_by_datagram() {
    let running = Running::start(&Settings::default()).await;
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream
        .write_all(b"<13>one\n12 <13>two\nmore<13>thr")
        .await
        .unwrap();
    running.messages(2).await;
    stream.write_all(b"ee\0<13>four").await.unwrap();
    drop(stream);
    assert_eq!(
        running.messages(4).await,
        ["one", "two\nmore", "three", "four"]
    );
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"<13>five\n", running.udp).unwrap();
    assert_eq!(running.messages(5).await[4], "five");
    let (_, books) = running.stop().await;
    assert_eq!(
        (books.received, books.in_flight),
        (5, 5),
        "the index stores them, not we"
    );
}

#[tokio::test]
async fn what_was_sent_before_the_stop_is_stored() {
    let running = Running::start(&Settings::default()).await;
    let mut streams = Vec::new();
    for n in 0..20 {
        let mut stream = TcpStream::connect(running.tcp).await.unwrap();
        for m in 0..50 {
            stream
                .write_all(format!("<13>{n}.{m}\n").as_bytes())
                .await
                .unwrap();
        }
        streams.push(stream);
    }
    // All are accepted by then; what they sent is partly still in the kernel.
    running.messages(1).await;
    while running.books().received < 400 {
        tokio::task::yield_now().await;
    }
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..100 {
        sender.send_to(b"<13>datagram", running.udp).unwrap();
    }
    let (journal, books) = running.stop().await;
    assert_eq!(journal.events().len(), 1100);
    assert_eq!((books.received, books.dropped.len()), (1100, 0));
    // The senders were told.
    let read = streams[0].read(&mut [0; 1]).await.unwrap();
    assert_eq!(read, 0);
}

#[tokio::test]
async fn a_stalled_journal_stops_the_sender_and_loses_nothing() {
    let running = Running::start(&Settings::default()).await;
    *running.journal.refuse_with.lock().unwrap() = Some(refusal());
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    let line = format!("<13>{}\n", "x".repeat(999));
    // Far more than the funnel and the kernel's buffers hold.
    let wanted = 200_000;
    let sending = tokio::spawn(async move {
        for _ in 0..wanted {
            stream.write_all(line.as_bytes()).await.unwrap();
        }
    });
    let mut before = u64::MAX;
    while before != running.books().received {
        before = running.books().received;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(!sending.is_finished(), "the sender must wait");
    assert!(before < wanted / 2, "{before} messages were read");
    *running.journal.refuse_with.lock().unwrap() = None;
    sending.await.unwrap();
    let stored = running.messages(wanted as usize).await.len();
    assert_eq!((stored as u64, running.books().received), (wanted, wanted));
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored_at_the_stop_is_counted() {
    let running = Running::start(&Settings::default()).await;
    *running.journal.refuse_with.lock().unwrap() = Some(refusal());
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream.write_all(b"<13>a\n<13>b\n").await.unwrap();
    while running.books().received < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_, books) = running.stop().await;
    assert_eq!((books.dropped["stopping"], books.in_flight), (2, 0));
}

#[tokio::test]
async fn tls_is_spoken_and_plain_text_is_not_understood_there() {
    let folder = tempfile::tempdir().unwrap();
    let ours = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&certificate, ours.cert.pem()).unwrap();
    std::fs::write(&key, ours.signing_key.serialize_pem()).unwrap();
    let settings = Settings {
        listen: vec!["syslog_tls".to_owned()],
        tls: Some(tls::Settings {
            certificate,
            key,
            client_ca: None,
        }),
        ..Settings::default()
    };
    let running = Running::start(&settings).await;
    let address = running.tls.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"<13>not for anybody's eyes\n")
        .await
        .unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(ours.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    // More than one record, in pieces that fit no record.
    for n in 0..2000 {
        stream
            .write_all(format!("<13>{n} {}\n", "x".repeat(50)).as_bytes())
            .await
            .unwrap();
    }
    stream.flush().await.unwrap();
    let messages = running.messages(2000).await;
    assert!(messages[1999].starts_with("1999 "), "{}", messages[1999]);
    stream.shutdown().await.unwrap();

    // A sender that never reads and closes at once: what it wrote must not be thrown away by a reset.
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    for n in 0..20_000 {
        stream
            .write_all(format!("<13>{n} {}\n", "x".repeat(50)).as_bytes())
            .await
            .unwrap();
    }
    stream.flush().await.unwrap();
    drop(stream);
    running.messages(22_000).await;
    let (journal, _) = running.stop().await;
    assert_eq!(journal.events().len(), 22_000);
}

#[tokio::test]
async fn with_client_ca_only_known_senders_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let ours = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let theirs = rcgen::generate_simple_self_signed(vec!["sender".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let settings = Settings {
        listen: vec!["syslog_tls".to_owned()],
        tls: Some(tls::Settings {
            certificate: write("crt", ours.cert.pem()),
            key: write("key", ours.signing_key.serialize_pem()),
            client_ca: Some(write("clients", theirs.cert.pem())),
        }),
        ..Settings::default()
    };
    let running = Running::start(&settings).await;
    let client = || {
        let mut roots = RootCertStore::empty();
        roots.add(ours.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(roots)
    };
    let key = PrivateKeyDer::try_from(theirs.signing_key.serialize_der()).unwrap();
    let known = client().with_client_auth_cert(vec![theirs.cert.der().clone()], key);
    for (text, config) in [
        ("unknown", client().with_no_client_auth()),
        ("known", known.unwrap()),
    ] {
        let stream = TcpStream::connect(running.tls.unwrap()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        // A refusal may reach the sender only after it has written.
        if let Ok(mut stream) = connector.connect(name, stream).await {
            stream
                .write_all(format!("<13>{text}\n").as_bytes())
                .await
                .ok();
            stream.flush().await.ok();
            stream.shutdown().await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
    }
    assert_eq!(running.messages(1).await, ["known"]);
    running.stop().await;
}

#[tokio::test]
async fn silent_and_slow_connections_do_not_hold_up_a_healthy_one() {
    let settings = Settings {
        max_connections: 200,
        max_connections_per_peer: 150,
        ..Settings::default()
    };
    let running = Running::start(&settings).await;
    let mut silent = Vec::new();
    for n in 0..150 {
        let mut stream = TcpStream::connect(running.tcp).await.unwrap();
        if n % 3 == 0 {
            stream.write_all(b"<").await.unwrap();
        }
        silent.push(stream);
    }
    // The 151st is turned away as long as the others may be busy; then the longest silent one makes room.
    let healthy = async {
        loop {
            let mut stream = TcpStream::connect(running.tcp).await.unwrap();
            let sent = stream.write_all(b"<13>healthy\n").await;
            let quick = Duration::from_millis(500);
            let is_refused = sent.is_err()
                || tokio::time::timeout(quick, stream.read(&mut [0; 1]))
                    .await
                    .is_ok();
            if !is_refused {
                return stream;
            }
        }
    };
    let mut stream = tokio::time::timeout(Duration::from_secs(20), healthy)
        .await
        .unwrap();
    for n in 0..1000 {
        stream
            .write_all(format!("<13>{n}\n").as_bytes())
            .await
            .unwrap();
    }
    let messages = running.messages(1001).await;
    assert!(messages.contains(&"999".to_owned()));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_message_is_stored_when_its_rest_does_not_come() {
    let running = Running::start(&Settings::default()).await;
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream.write_all(b"<13>half").await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(running.stored(), ["half"]);
    // Between messages a sender may be silent for as long as it likes.
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream.write_all(b"<13>whole\n").await.unwrap();
    running.messages(2).await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    stream.write_all(b"<13>much later\n").await.unwrap();
    running.messages(3).await;
}

#[test]
fn mistakes_in_the_settings_are_named() {
    for (settings, setting, part) in [
        (
            r#"{"listen":["syslog"]}"#,
            "listen",
            "\"syslog\" is no listener",
        ),
        (r#"{"listen":[]}"#, "listen", "is empty"),
        (r#"{"listen":["syslog_tls"]}"#, "tls", "needs a certificate"),
        (
            r#"{"timezone":"Mars/North"}"#,
            "timezone",
            "unknown timezone",
        ),
        (r#"{"index":"UPPER"}"#, "index", "lowercase"),
        (r#"{"max_connections":0}"#, "max_connections", "is 0"),
    ] {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let (named, problem) = settings.check().unwrap_err();
        assert_eq!(named, setting);
        assert!(problem.contains(part), "{problem}");
    }
    assert_eq!(
        serde_json::from_str::<Settings>("{}").unwrap(),
        Settings::default()
    );
}
