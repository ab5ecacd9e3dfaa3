//! Corpora that are the worst for templates, dictionaries and filters: nothing in them comes twice.
//!
//! `DAYBOOK_CORPUS=random-words`: messages of twenty random words, each a template of its own. `DAYBOOK_CORPUS=random-ids`: few
//! templates, full of random ids. A million documents each.

#![allow(dead_code)]

use std::io::Write;

const DOCUMENTS: u64 = 1_000_000;

/// The documents of the corpus of that name, one line each, without line feeds; `None` when it is no such name.
pub fn lines(name: &str) -> Option<impl Iterator<Item = Vec<u8>> + use<>> {
    let write: fn(&mut Random, &mut Vec<u8>) = match name {
        "random-words" => words,
        "random-ids" => ids,
        _ => return None,
    };
    let mut random = Random(42);
    Some((0..DOCUMENTS).map(move |number| {
        let mut line = Vec::with_capacity(512);
        let (second, milli) = (number / 20, number * 50 % 1000);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let second = second % 60;
        write!(
            line,
            r#"{{"@timestamp":"2026-03-01T{hour:02}:{minute:02}:{second:02}.{milli:03}Z","service":"api","level":"info","#
        )
        .unwrap();
        write(&mut random, &mut line);
        line.push(b'}');
        line
    }))
}

fn words(random: &mut Random, line: &mut Vec<u8>) {
    line.extend_from_slice(br#""message":""#);
    for word in 0..20 {
        if word > 0 {
            line.push(b' ');
        }
        for _ in 0..3 + random.below(8) {
            line.push(b'a' + random.below(26) as u8);
        }
    }
    line.push(b'"');
}

fn ids(random: &mut Random, line: &mut Vec<u8>) {
    let (a, b, c, d, e) = (
        random.next(),
        random.next(),
        random.next(),
        random.next(),
        random.next(),
    );
    write!(
        line,
        r#""trace_id":"{a:016x}{b:016x}","span_id":"{c:016x}","user":{},"message":"order {d:016x} of customer {} paid with {e:x} in {} ms""#,
        random.below(1 << 40),
        random.below(1 << 30),
        random.below(100_000)
    )
    .unwrap();
}

struct Random(u64);

impl Random {
    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
