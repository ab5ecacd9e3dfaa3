//! Whatever goes into blocks comes back, also after merges.

use proptest::prelude::*;
use tantivy::directory::OwnedBytes;

use super::{BlockCache, BlockSize, BlocksFile, BlocksWriter, MergeInput, merge};

/// An event for a segment.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    source: Vec<u8>,
    timestamp: i64,
    id: Option<String>,
}

fn sent(source: impl Into<Vec<u8>>) -> Sent {
    Sent {
        source: source.into(),
        timestamp: 1_772_323_200_123_000_000,
        id: None,
    }
}

fn written(events: &[Sent]) -> Vec<u8> {
    let mut writer = BlocksWriter::new(Vec::new(), BlockSize::Open).unwrap();
    for event in events {
        let id = event.id.as_deref();
        writer
            .add(&event.source, event.timestamp, id, &mut |_, _, _| ())
            .unwrap();
    }
    writer.finish().unwrap()
}

fn open(bytes: Vec<u8>) -> Result<BlocksFile, super::BlockError> {
    BlocksFile::open(OwnedBytes::new(bytes), &BlockCache::new(1 << 26))
}

fn document_count(file: &BlocksFile) -> u32 {
    file.places().last().map_or(0, |place| place.end_document())
}

fn read(file: &BlocksFile, timestamps: &dyn Fn(u32) -> i64) -> Vec<Sent> {
    let events = (0..document_count(file)).map(|document| {
        let mut source = Vec::new();
        let timestamp = timestamps(document);
        let id = file.document(document, timestamp, &mut source).unwrap();
        assert_eq!(file.has_id(document).unwrap(), id.is_some());
        Sent {
            source,
            timestamp,
            id,
        }
    });
    events.collect()
}

#[track_caller]
fn assert_lossless(events: &[Sent]) {
    let file = open(written(events)).unwrap();
    let read = read(&file, &|document| events[document as usize].timestamp);
    for (read, event) in read.iter().zip(events) {
        assert_eq!(
            String::from_utf8_lossy(&read.source),
            String::from_utf8_lossy(&event.source)
        );
        assert_eq!(read, event);
    }
    assert_eq!(read.len(), events.len());
}

#[test]
fn documents_come_back_byte_for_byte() {
    let documents = [
        r#"{"a":"x","n":0.470,"message":"got blk_1 from 10.0.0.1:80 at \"GET /a b\" done"}"#,
        r#"{"a":"y","n":1e3,"message":"got blk_22 from 10.0.0.9:80 at \"GET /b c\" done"}"#,
        "{ \"a\" :\t[ 1 ,\r2 ] , \"\":null}",
        r#"{"message":"two  blanks \\ and \u00e9 and \ud800 and \n5 lines"}"#,
        r#"{"a":{},"b":[],"c":"","d":{"e":[[true,false],{"f":-0}]},"a":1}"#,
        r#"{"@timestamp":"2026-03-01T00:00:00.123Z","n":1e999}"#,
        r#"{"@timestamp":"2026-03-01T00:00:00.123000Z","b":{"@timestamp":"2026-03-01T00:00:00.123Z"}}"#,
        r#"{"@timestamp" :"2026-03-01T00:00:00.123Z","@timestamp":"2026-03-01T00:00:00Z"}"#,
        r#"{"@timestamp": "2026-03-01T00:00:00.123Z", "a": "b"}"#,
        "no json at all\nwith lines",
        "",
        "{}",
    ];
    let mut events: Vec<Sent> = documents.into_iter().map(sent).collect();
    events.push(sent(b"{\"a\":\"\xff\"}"));
    events[0].id = Some("a \"quoted\"\n id".into());
    events[8].id = Some("ü".into());
    assert_lossless(&events);
    // Each often enough for a group of its own that is not packed.
    let many: Vec<Sent> = events
        .iter()
        .cycle()
        .take(20 * events.len())
        .cloned()
        .collect();
    assert_lossless(&many);
}

#[test]
fn more_shapes_than_fit_are_still_stored() {
    let documents = (0..5_000).map(|number| sent(format!("{{\"key{number}\":\"v {number} w\"}}")));
    assert_lossless(&documents.collect::<Vec<_>>());
}

#[test]
fn more_documents_than_a_block_holds_are_several_blocks() {
    let events: Vec<Sent> = (0..70_000)
        .map(|number| {
            let mut event = sent(format!(
                "{{\"message\":\"request {number} took {} ms\",\"level\":\"info\",\"host\":\"h{}\"}}",
                number % 7,
                number % 3
            ));
            event.timestamp += number;
            event
        })
        .collect();
    let file = open(written(&events)).unwrap();
    assert_eq!(file.places().len(), 2);
    for document in [0, 1, 65_535, 65_536, 69_999] {
        let mut source = Vec::new();
        file.document(document, 0, &mut source).unwrap();
        assert_eq!(source, events[document as usize].source);
    }
    let is_alive = |document: u32| document != 3;
    let timestamp = |document: u32| events[document as usize].timestamp;
    let input = MergeInput {
        file: &file,
        is_alive: Some(&is_alive),
        timestamp: &timestamp,
    };
    let given_up = merge(&[input], BlockSize::Sealed, &|| true, Vec::new());
    let reason = given_up.map(drop).unwrap_err().kind();
    assert_eq!(reason, std::io::ErrorKind::Interrupted);
    let input = MergeInput {
        file: &file,
        is_alive: Some(&is_alive),
        timestamp: &timestamp,
    };
    let merged = merge(&[input], BlockSize::Sealed, &|| false, Vec::new());
    let merged = open(merged.unwrap()).unwrap();
    assert_eq!(document_count(&merged), 69_999);
    // A day that is over has larger blocks.
    assert_eq!(merged.places().len(), 1);
    let mut source = Vec::new();
    merged.document(3, 0, &mut source).unwrap();
    assert_eq!(source, events[4].source);
}

/// JSON as people and programs write it.
fn any_json() -> impl Strategy<Value = String> {
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        "-?[1-9][0-9]{0,20}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        ".{0,20}".prop_map(quoted),
        "[a-f0-9 :./\\\\\"\n-]{0,60}".prop_map(quoted),
        Just(r#""\ud800 \/ \u0001 caf\u00e95x""#.to_owned()),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        let key = "[a-z\"\\\\é]{0,4}".prop_map(quoted);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::vec((key, inner), 0..5).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn any_event() -> impl Strategy<Value = Sent> {
    let source = prop_oneof![
        9 => any_json().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ];
    let id = prop::option::of(".{1,6}");
    (source, any::<i64>(), id).prop_map(|(source, timestamp, id)| Sent {
        source,
        timestamp,
        id,
    })
}

proptest! {
    #[test]
    fn any_document_comes_back(pool in prop::collection::vec(any_event(), 1..20), repeats in 1..12_usize) {
        let events: Vec<Sent> = pool.iter().cycle().take(repeats * pool.len()).cloned().collect();
        assert_lossless(&events);
    }

    #[test]
    fn usage_adds_up(pool in prop::collection::vec(any_event(), 1..20), repeats in 1..12_usize) {
        let events: Vec<Sent> = pool.iter().cycle().take(repeats * pool.len()).cloned().collect();
        let bytes = written(&events);
        let file_bytes = bytes.len() as u64;
        let file = open(bytes).unwrap();
        let sections = file.section_bytes(file_bytes);
        let groups = file.group_usages(0, &|_| None).unwrap();
        let raw: u64 = groups.iter().map(|group| group.raw_bytes).sum();
        prop_assert_eq!(raw, events.iter().map(|event| event.source.len() as u64).sum::<u64>());
        let slots = || groups.iter().flat_map(|group| &group.slots);
        prop_assert_eq!(slots().map(|slot| slot.frame_bytes).sum::<u64>(), sections.frames);
        prop_assert_eq!(slots().map(|slot| slot.filter_bytes).sum::<u64>(), sections.filters);
        let plain = file.places()[0].entry.frames.iter().map(|frame| frame.plain_len);
        prop_assert_eq!(slots().map(|slot| slot.plain_bytes).sum::<u64>(), plain.sum::<u64>());
    }

    #[test]
    fn merged_segments_have_what_is_alive(
        segments in prop::collection::vec(prop::collection::vec((any_event(), any::<bool>()), 1..12), 1..4),
    ) {
        let files: Vec<BlocksFile> = segments
            .iter()
            .map(|events| {
                let events: Vec<Sent> = events.iter().map(|(event, _)| event.clone()).collect();
                open(written(&events)).unwrap()
            })
            .collect();
        let are_alive: Vec<_> = segments.iter().map(|events| |at: u32| events[at as usize].1).collect();
        let timestamps: Vec<_> = segments.iter().map(|events| |at: u32| events[at as usize].0.timestamp).collect();
        let inputs: Vec<MergeInput> = files
            .iter()
            .zip(&are_alive)
            .zip(&timestamps)
            .map(|((file, is_alive), timestamp)| MergeInput { file, is_alive: Some(is_alive), timestamp })
            .collect();
        let merged = open(merge(&inputs, BlockSize::Open, &|| false, Vec::new()).unwrap()).unwrap();
        let alive: Vec<Sent> = segments.iter().flatten().filter(|(_, alive)| *alive).map(|(event, _)| event.clone()).collect();
        prop_assert_eq!(read(&merged, &|document| alive[document as usize].timestamp), alive);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(
        events in prop::collection::vec(any_event(), 1..10),
        at in any::<prop::sample::Index>(),
        flipped in 1..=255_u8,
    ) {
        let mut bytes = written(&events);
        let at = at.index(bytes.len());
        bytes[at] ^= flipped;
        let Ok(file) = open(bytes) else { return Ok(()) };
        for document in 0..document_count(&file).min(1000) {
            let _ = file.document(document, 0, &mut Vec::new());
        }
        let _ = file.section_bytes(1);
        for block in 0..file.places().len() {
            let _ = file.group_usages(block, &|marks| marks.len().checked_sub(1));
        }
    }
}

/// Words, or ids, that come once each; the same seed gives the same lines.
fn unique_lines(count: u64, mut line: impl FnMut(&mut dyn FnMut() -> u64) -> String) -> Vec<Sent> {
    let mut state = 42_u64;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    };
    (0..count).map(|_| sent(line(&mut next))).collect()
}

#[test]
fn text_in_which_nothing_comes_twice_is_no_larger_than_compressed_lines() {
    let words = |next: &mut dyn FnMut() -> u64| {
        let words: Vec<String> = (0..20)
            .map(|_| {
                let mut number = next();
                let letters = (0..3 + number % 8).map(|_| {
                    number = number.rotate_left(9).wrapping_mul(0x94D0_49BB_1331_11EB);
                    char::from(b'a' + (number >> 32) as u8 % 26)
                });
                letters.collect()
            })
            .collect();
        format!("{{\"level\":\"info\",\"message\":\"{}\"}}", words.join(" "))
    };
    let ids = |next: &mut dyn FnMut() -> u64| {
        format!(
            "{{\"trace_id\":\"{:016x}{:016x}\",\"user\":{},\"message\":\"order {:016x} of customer {} paid in {} ms\"}}",
            next(),
            next(),
            next() % (1 << 40),
            next(),
            next() % (1 << 30),
            next() % 100_000
        )
    };
    for events in [unique_lines(20_000, words), unique_lines(20_000, ids)] {
        let file = written(&events);
        let lines: Vec<&[u8]> = events.iter().map(|event| &*event.source).collect();
        let lines = lines.join(&b'\n');
        let compressed = zstd::bulk::compress(&lines, 1).unwrap();
        let (stored, bound) = (file.len(), compressed.len() + compressed.len() / 10);
        assert!(
            stored <= bound,
            "{stored} bytes, {} for zstd",
            compressed.len()
        );

        // Where words are left out of the table, the frame is looked through.
        let file = open(file).unwrap();
        let words = file.words(0).unwrap().unwrap();
        let mut untold = Vec::new();
        words
            .frames_with(super::word_key(super::ANY_WORD), |frame| untold.push(frame))
            .unwrap();
        assert!(!untold.is_empty());
        for event in events.iter().skip(1_000).step_by(1_000) {
            let text = String::from_utf8_lossy(&event.source);
            let word = text.rsplit(' ').nth(1).unwrap();
            let mut told = Vec::new();
            words
                .frames_with(super::word_key(word), |frame| told.push(frame))
                .unwrap();
            let has_word = |frame: &usize| {
                let plain = file.plain_frame(0, *frame).unwrap();
                memchr::memmem::find(&plain, word.as_bytes()).is_some()
            };
            assert!(told.iter().chain(&untold).any(has_word), "{word}");
        }
    }
}
