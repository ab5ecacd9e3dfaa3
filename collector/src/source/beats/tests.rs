//! The Beats protocol: frames by hand, and a source over a real socket with a journal that remembers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use event::Ledger;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::*;
use crate::listener::{Sockets, Transport};
use crate::source::fake::{FakeJournal, fixed_now, listening};

fn window(count: u32) -> Vec<u8> {
    [b"2W".as_slice(), &count.to_be_bytes()].concat()
}

fn json(sequence: u32, text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_be_bytes();
    [
        b"2J".as_slice(),
        &sequence.to_be_bytes(),
        &length,
        text.as_bytes(),
    ]
    .concat()
}

fn compressed(frames: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(frames).unwrap();
    let zlib = encoder.finish().unwrap();
    [b"2C".as_slice(), &(zlib.len() as u32).to_be_bytes(), &zlib].concat()
}

fn dialogue() -> BeatsDialogue {
    let stamp = Stamp {
        index: IndexName::default_index(),
        pipeline: None,
        event_bytes_max: 1000,
    };
    BeatsDialogue::new(Arc::new(stamp), SocketAddr::from(([192, 0, 2, 1], 1)))
}

/// Everything a stream brings that arrives in such pieces: documents, answers, refusals.
fn heard(stream: &[u8], piece: usize) -> (Vec<String>, Vec<u8>, usize) {
    let mut dialogue = dialogue();
    let (mut buffer, mut documents, mut answers, mut rejected) =
        (Vec::new(), Vec::new(), Vec::new(), 0);
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let length = match dialogue.whole(&buffer) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(_) => return (documents, answers, rejected + 1),
            };
            let turn = dialogue.hear(&buffer[..length], fixed_now());
            if !turn.is_part {
                buffer.drain(..length);
            }
            let text = |event: &Event| String::from_utf8(event.source.to_vec()).unwrap();
            documents.extend(turn.written.events.iter().map(text));
            rejected += turn.written.rejected.len();
            answers.extend_from_slice(&turn.answer);
            if turn.closes {
                return (documents, answers, rejected);
            }
        }
    }
    (documents, answers, rejected)
}

#[test]
fn what_is_before_a_bad_frame_is_heard_however_the_stream_is_cut() {
    let stream = [window(2), json(1, r#"{"message":"a"}"#), b"9X".to_vec()].concat();
    let whole = heard(&stream, stream.len());
    assert_eq!((whole.0.len(), whole.2), (1, 1));
    assert_eq!(heard(&stream, 1), whole);
}

#[test]
fn a_window_is_acknowledged_at_its_end() {
    let first = [
        window(2),
        json(
            1,
            r#"{"@timestamp":"2026-11-22T01:00:00.000Z","@metadata":{"beat":"filebeat"},"message":"a"}"#,
        ),
    ];
    let rest = [
        json(2, r#"{"message":"b"}"#),
        window(1),
        compressed(&json(1, r#"{"n":1.50}"#)),
    ];
    let stream = [first.concat(), rest.concat()].concat();
    let (documents, answers, rejected) = heard(&stream, stream.len());
    assert_eq!(
        documents,
        [
            r#"{"@timestamp":"2026-11-22T01:00:00.000Z","message":"a"}"#,
            r#"{"message":"b","@timestamp":"2026-11-23T10:00:00.000Z"}"#,
            r#"{"n":1.50,"@timestamp":"2026-11-23T10:00:00.000Z"}"#,
        ]
    );
    assert_eq!(answers, [ack(2), ack(1)].concat());
    assert_eq!(rejected, 0);
    assert_eq!(
        heard(&first.concat(), 1).1,
        b"",
        "the window is not complete"
    );
}

/// Few bytes that are very many events must not be in memory at once.
#[test]
fn a_frame_of_very_many_events_is_heard_in_parts() {
    let count = 400_000;
    for (event, refused) in [("{}", 0), ("{", count)] {
        let stream = [
            window(count),
            compressed(&json(7, event).repeat(count as usize)),
        ]
        .concat();
        let mut dialogue = dialogue();
        let length = dialogue.whole(&stream).unwrap().unwrap();
        assert!(dialogue.inflates(&stream[..length]));
        let (mut received, mut rejected, mut parts) = (0, 0, 0);
        loop {
            let turn = dialogue.hear(&stream[..length], fixed_now());
            assert!(turn.written.byte_size() < 2 * PART_BYTES);
            received += turn.written.received;
            rejected += turn.written.rejected.len();
            parts += 1;
            if !turn.is_part {
                assert_eq!(turn.answer, ack(7));
                break;
            }
            assert!(turn.waits && turn.answer.is_empty());
            assert!(dialogue.inflated_bytes() > 0);
        }
        assert_eq!((received, rejected), (u64::from(count), refused as usize));
        assert!(parts > 1, "{parts}");
        assert_eq!(dialogue.inflated_bytes(), 0);
    }
}

#[test]
fn bad_events_leave_their_neighbours_alone_and_bad_frames_end_the_conversation() {
    let large = format!("{{\"message\":\"{}\"}}", "x".repeat(1000));
    let stream = [
        window(4),
        json(1, "{}"),
        json(2, "{"),
        json(3, &large),
        json(4, "{}"),
    ]
    .concat();
    let (documents, answers, rejected) = heard(&stream, 7);
    assert_eq!((documents.len(), rejected), (2, 2));
    assert_eq!(answers, ack(4), "the sender must not send them again");
    for hostile in [
        b"1W\0\0\0\x01".to_vec(),
        b"2X".to_vec(),
        b"2J\0\0\0\x01\xff\xff\xff\xff".to_vec(),
        compressed(&compressed(&json(1, "{}"))),
        compressed(&vec![b'2'; INFLATED_BYTES_MAX + 1]),
        compressed(b"2J\0\0"),
        b"2C\0\0\0\x04abcd".to_vec(),
    ] {
        assert_eq!(
            heard(&hostile, 1000),
            (vec![], vec![], 1),
            "{:?}",
            &hostile[..6]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_follows_when_the_window_is_durable() {
    let mut sockets = Sockets::default();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = sockets.open(BEATS, Transport::Tcp, loopback).unwrap();
    let journal = Arc::new(FakeJournal::default());
    let ledger = Ledger::new();
    let parts = journal.parts("beats", &ledger);
    let settings: Settings = serde_json::from_str("{}").unwrap();
    let source = BeatsSource::new(&settings, parts, listening(sockets)).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(source.run(shutdown.clone()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for count in [1u32, 500, 3] {
        let frames: Vec<u8> = (1..=count)
            .flat_map(|n| json(n, &format!("{{\"n\":{n}}}")))
            .collect();
        let before = journal.events().len();
        stream
            .write_all(&[window(count), compressed(&frames)].concat())
            .unwrap();
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer.to_vec(), ack(count));
        assert_eq!(journal.events().len() - before, count as usize);
    }
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(ledger.totals()[0].received, 504);
}

proptest! {
    /// The same events and answers, however the stream is cut into pieces.
    #[test]
    fn pieces_do_not_matter(
        windows in proptest::collection::vec((1u32..6, any::<bool>()), 0..5),
        piece in 1usize..60,
    ) {
        let mut stream = Vec::new();
        for (count, is_compressed) in windows {
            let frames: Vec<u8> = (1..=count).flat_map(|n| json(n, &format!("{{\"n\":{n}}}"))).collect();
            stream.extend_from_slice(&window(count));
            stream.extend_from_slice(&if is_compressed { compressed(&frames) } else { frames });
        }
        prop_assert_eq!(heard(&stream, piece), heard(&stream, 1));
    }

    #[test]
    fn any_bytes_are_heard_or_refused(stream in proptest::collection::vec(
        prop_oneof![Just(b'2'), Just(b'W'), Just(b'J'), Just(b'C'), Just(0u8), any::<u8>()], 0..80
    )) {
        let (documents, _, _) = heard(&stream, 9);
        for document in documents {
            Document::parse(document.as_bytes()).unwrap();
        }
    }
}
