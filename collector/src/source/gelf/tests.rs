//! A GELF source over real sockets on loopback, with a journal that remembers.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use event::{Document, IndexName, Ledger};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;
use crate::listener::{Sockets, Transport};
use crate::source::fake::{FakeJournal, fixed_now, listening};

fn decoder() -> GelfDecoder {
    let stamp = Stamp {
        index: IndexName::default_index(),
        pipeline: None,
    };
    let mut decoder = GelfDecoder::new(Arc::new(stamp), 10_000);
    decoder.arrived(fixed_now());
    decoder
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 1))
}

fn messages(written: &Written) -> Vec<String> {
    let message = |source: &[u8]| {
        Document::parse(source)
            .unwrap()
            .get_str("message")
            .unwrap()
            .into_owned()
    };
    written
        .events
        .iter()
        .map(|event| message(&event.source))
        .collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn chunked(message: &[u8], size: usize) -> Vec<Vec<u8>> {
    let parts: Vec<&[u8]> = message.chunks(size).collect();
    let header = |number: usize| {
        [
            b"\x1e\x0fidentity".as_slice(),
            &[number as u8, parts.len() as u8],
        ]
        .concat()
    };
    let chunk = |(number, part): (usize, &&[u8])| [&header(number), *part].concat();
    parts.iter().enumerate().map(chunk).collect()
}

#[test]
fn datagrams_may_be_compressed_and_chunked() {
    let mut decoder = decoder();
    decoder.datagram(peer(), br#"{"short_message":"plain"}"#);
    decoder.datagram(peer(), &gzip(br#"{"short_message":"gzip"}"#));
    for level in [1, 6, 9] {
        decoder.datagram(peer(), &zlib(br#"{"short_message":"zlib"}"#, level));
    }
    for chunk in chunked(&gzip(br#"{"short_message":"both"}"#), 9) {
        decoder.datagram(peer(), &chunk);
    }
    let written = decoder.take();
    assert_eq!(
        messages(&written),
        ["plain", "gzip", "zlib", "zlib", "zlib", "both"]
    );
    assert_eq!((written.received, written.rejected.len()), (6, 0));
}

#[test]
fn a_bomb_is_refused_and_its_neighbours_are_kept() {
    let mut decoder = decoder();
    decoder.datagram(peer(), &gzip(&vec![b' '; 10_000_000]));
    decoder.datagram(peer(), &zlib(&vec![b' '; 10_000_000], 9));
    let mut broken = gzip(br#"{"short_message":"x"}"#);
    broken.truncate(20);
    decoder.datagram(peer(), &broken);
    decoder.datagram(peer(), br#"{"short_message":"neighbour"}"#);
    let written = decoder.take();
    assert_eq!(
        written.rejected,
        ["too_large", "too_large", "gelf_compression_broken"]
    );
    assert_eq!(messages(&written), ["neighbour"]);
}

#[test]
fn what_stays_incomplete_is_counted() {
    let mut decoder = decoder();
    decoder.datagram(peer(), &chunked(br#"{"short_message":"half"}"#, 9)[0]);
    decoder.arrived(fixed_now().plus(Duration::from_secs(6)));
    assert_eq!(decoder.take().rejected, ["gelf_incomplete"]);
    decoder.datagram(peer(), &chunked(br#"{"short_message":"half"}"#, 9)[1]);
    decoder.datagrams_end();
    assert_eq!(decoder.take().rejected, ["gelf_incomplete"]);
}

#[tokio::test]
async fn both_transports_bring_messages() {
    let mut sockets = Sockets::default();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let udp = sockets.open(GELF_UDP, Transport::Udp, loopback).unwrap();
    let tcp = sockets.open(GELF_TCP, Transport::Tcp, loopback).unwrap();
    let journal = Arc::new(FakeJournal::default());
    let ledger = Ledger::new();
    let parts = journal.parts("gelf", &ledger);
    let settings: Settings = serde_json::from_str("{}").unwrap();
    let source = GelfSource::new(&settings, parts, listening(sockets)).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(source.run(shutdown.clone()));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for chunk in chunked(br#"{"short_message":"datagram"}"#, 10) {
        sender.send_to(&chunk, udp).unwrap();
    }
    let mut stream = TcpStream::connect(tcp).unwrap();
    stream
        .write_all(b"{\"short_message\":\"one\"}\0\0{\"short_message\":\"two\"}\0{\"short_")
        .unwrap();
    stream.write_all(b"message\":\"three\"}").unwrap();
    drop(stream);
    while journal.events().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let books = ledger.totals().remove(0);
    assert_eq!((books.received, books.rejected.len()), (4, 0));
}

#[tokio::test]
async fn compressed_datagrams_are_taken_apart_one_by_one() {
    const EVENT_BYTES: usize = 1 << 20;
    let mut sockets = Sockets::default();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let udp = sockets.open(GELF_UDP, Transport::Udp, loopback).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = "x".repeat(EVENT_BYTES - 1000);
    let message = zlib(format!("{{\"short_message\":\"{text}\"}}").as_bytes(), 9);
    // Before anybody reads, so that many are there at once.
    for _ in 0..16 {
        sender.send_to(&message, udp).unwrap();
    }
    let journal = Arc::new(FakeJournal::default());
    let settings: Settings = serde_json::from_str(r#"{"listen":["gelf_udp"]}"#).unwrap();
    let listening = Listening {
        message_bytes_max: EVENT_BYTES,
        ..listening(sockets)
    };
    let parts = journal.parts("gelf", &Ledger::new());
    let source = GelfSource::new(&settings, parts, listening).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(source.run(shutdown.clone()));
    while journal.events().len() < 16 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let batches = journal.batches.lock().unwrap();
    let largest = batches.iter().map(|batch| batch.events.len()).max();
    // Two of them are more than a load may have; a batch that has one may get another load.
    assert!(largest <= Some(3), "{largest:?} events of 1 MiB at once");
}

proptest! {
    /// The same messages, however the stream is cut into pieces.
    #[test]
    fn pieces_do_not_matter(
        lengths in proptest::collection::vec(0usize..40, 0..10),
        piece in 1usize..50,
    ) {
        let mut stream = Vec::new();
        for (n, length) in lengths.iter().enumerate() {
            stream.extend_from_slice(format!("{{\"short_message\":\"{n}{}\"}}\0", "x".repeat(*length)).as_bytes());
        }
        let read = |piece: usize| {
            let mut decoder = decoder();
            decoder.message_bytes_max = 40;
            let mut buffer = Vec::new();
            for piece in stream.chunks(piece) {
                buffer.extend_from_slice(piece);
                let used = decoder.stream(peer(), &buffer);
                buffer.drain(..used);
            }
            decoder.stream_end(&buffer);
            let written = decoder.take();
            (messages(&written), written.rejected)
        };
        prop_assert_eq!(read(piece), read(1));
        prop_assert_eq!(read(piece).0.len() + read(piece).1.len(), lengths.len());
    }

    #[test]
    fn any_datagram_is_an_event_or_is_counted(datagrams in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            proptest::collection::vec(any::<u8>(), 0..60).prop_map(|rest| [b"\x1e\x0f".as_slice(), &rest].concat()),
            proptest::collection::vec(any::<u8>(), 0..60).prop_map(|rest| [b"\x1f\x8b\x08\x00".as_slice(), &rest].concat()),
        ], 0..10)) {
        let mut decoder = decoder();
        for datagram in &datagrams {
            decoder.datagram(peer(), datagram);
        }
        decoder.datagrams_end();
        let written = decoder.take();
        prop_assert_eq!(written.received as usize, written.events.len() + written.rejected.len());
        for event in &written.events {
            Document::parse(&event.source).unwrap();
        }
    }
}
