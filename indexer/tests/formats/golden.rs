//! What the golden shards of older formats hold, and where to put a copy of them.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The data directory that a daybook of a format left behind, with `expected.json`: `v1` or `v2`.
pub fn left_by(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/formats")
        .join(format)
}

/// One event as it must be found, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    pub position: u64,
    pub shard: String,
    pub id: String,
    pub timestamp_ns: i64,
    pub source: Vec<u8>,
}

pub struct Golden {
    /// Where the journal ended.
    pub end: u64,
    /// What must be found, in the order of the positions.
    pub events: Vec<Stored>,
    /// When each event was received.
    pub received: Vec<String>,
    /// Ids of deleted events.
    pub gone: Vec<String>,
}

impl Golden {
    pub fn read(format: &str) -> Golden {
        let text = std::fs::read_to_string(left_by(format).join("expected.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let list = |name: &str| json[name].as_array().unwrap().clone();
        let stored = |event: &serde_json::Value| Stored {
            position: event["position"].as_u64().unwrap(),
            shard: format!("{}-{}", text(&event["index"]), text(&event["day"])),
            id: text(&event["id"]),
            timestamp_ns: event["timestamp_ns"].as_i64().unwrap(),
            source: match event["source"].as_str() {
                Some(source) => source.as_bytes().to_vec(),
                None => from_hex(event["source_hex"].as_str().unwrap()),
            },
        };
        Golden {
            end: json["end"].as_u64().unwrap(),
            events: list("events").iter().map(stored).collect(),
            received: list("events")
                .iter()
                .map(|event| text(&event["received"]))
                .collect(),
            gone: list("gone").iter().map(|gone| text(&gone["id"])).collect(),
        }
    }
}

fn from_hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Copies a folder as it is; what vanishes meanwhile is not in the copy.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let Ok(entries) = std::fs::read_dir(from) else {
        return;
    };
    for entry in entries.flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => match std::fs::copy(entry.path(), target) {
                Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            },
        }
    }
}

/// A data directory with the golden shards of a format.
pub fn data_dir(format: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&left_by(format), dir.path());
    dir
}
