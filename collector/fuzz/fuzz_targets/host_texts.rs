//! Any bytes as what stands under `/proc`: no panic, names that are metric names and come once, numbers that are numbers.

#![no_main]

use std::collections::HashSet;

use collector::source::host::{Reading, Texts};
use event::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: String| {
    // The texts follow each other, a form feed between two.
    let mut parts = text.split('\u{c}').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let texts = Texts {
        stat: next(),
        load: next(),
        pressure: [next(), next(), next()],
        memory: next(),
        paging: next(),
        disks: next(),
        interfaces: next(),
        mounts: next(),
        files: next(),
        processes: next()
            .lines()
            .map(str::to_owned)
            .zip(0..)
            .map(|(stat, id)| (id, stat))
            .collect(),
        processes_left_out: 0,
        page_bytes: 4096,
    };
    let families = Reading::of(&texts, "/", Timestamp::from_nanos(0)).families();
    let mut names = HashSet::new();
    for family in &families {
        assert!(names.insert(&family.name));
        assert!(
            family
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        );
        let mut labels = HashSet::new();
        for sample in &family.samples {
            assert!(labels.insert(&sample.labels));
            assert!(sample.value.is_finite() && sample.value >= 0.0);
        }
    }
});
