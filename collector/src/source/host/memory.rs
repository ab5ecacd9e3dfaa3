//! `/proc/meminfo` and `/proc/vmstat`: proc(5).

use std::borrow::Cow;

use super::sample::Kind::{Counter, Gauge};
use super::sample::{Family, Sample};

/// A kernel has about sixty.
const FIGURES_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 64;

/// Figures by the kernel's names, of which the node exporter makes its own: `MemAvailable_bytes`, `Active_anon_bytes`,
/// `HugePages_Total`. In bytes where the name says so.
pub fn memory(text: &str) -> Vec<(String, u64)> {
    let mut figures: Vec<(String, u64)> = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
            continue;
        };
        let Some(mut name) = metric_name(name) else {
            continue;
        };
        let value = match words.next() {
            Some("kB") => {
                name.push_str("_bytes");
                value.saturating_mul(1024)
            }
            _ => value,
        };
        let is_known = figures.iter().any(|(known, _)| *known == name);
        if !is_known && figures.len() < FIGURES_MAX {
            figures.push((name, value));
        }
    }
    figures
}

/// `Active(anon)` as `Active_anon`; `None` for what could be no part of a metric's name.
fn metric_name(name: &str) -> Option<String> {
    let name = name.trim().replace('(', "_").replace(')', "");
    let is_fit = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_fit.then_some(name)
}

pub fn memory_families(figures: &[(String, u64)]) -> Vec<Family> {
    let family = |(name, value): &(String, u64)| {
        let name = format!("node_memory_{name}");
        single(name, Gauge, "As /proc/meminfo tells it.", *value)
    };
    figures.iter().map(family).collect()
}

/// Paging, faults and kills: what is asked of memory over time.
pub fn paging(text: &str) -> Vec<(String, u64)> {
    let mut figures = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let is_wanted = [
            "oom_kill",
            "pgpgin",
            "pgpgout",
            "pswpin",
            "pswpout",
            "pgfault",
            "pgmajfault",
        ]
        .contains(&name);
        let is_known = figures.iter().any(|(known, _)| known == name);
        if let (true, false, Ok(value)) = (is_wanted, is_known, value.parse()) {
            figures.push((name.to_owned(), value));
        }
    }
    figures
}

pub fn paging_families(figures: &[(String, u64)]) -> Vec<Family> {
    let family = |(name, value): &(String, u64)| {
        let name = format!("node_vmstat_{name}");
        single(name, Counter, "As /proc/vmstat tells it.", *value)
    };
    figures.iter().map(family).collect()
}

fn single(name: String, kind: super::sample::Kind, help: &'static str, value: u64) -> Family {
    Family {
        name: Cow::Owned(name),
        kind,
        help,
        samples: vec![Sample {
            labels: Vec::new(),
            value: value as f64,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_node_exporters() {
        let text = "MemTotal:       16384 kB\nActive(anon):    2 kB\nHugePages_Total:     7\nSwapFree: 0 kB\n\
            Odd name!: 3 kB\nNoNumber: x kB\nMemTotal: 1 kB\n";
        let expected = [
            ("MemTotal_bytes", 16384 * 1024),
            ("Active_anon_bytes", 2048),
            ("HugePages_Total", 7),
            ("SwapFree_bytes", 0),
        ];
        let expected: Vec<(String, u64)> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        assert_eq!(memory(text), expected);
        assert_eq!(
            memory_families(&expected)[1].name,
            "node_memory_Active_anon_bytes"
        );
    }

    #[test]
    fn of_paging_only_what_is_wanted() {
        let found = paging("nr_free_pages 12\npswpin 3\npgfault 44\npswpin 9\noom_kill x\n");
        assert_eq!(
            found,
            [("pswpin".to_owned(), 3), ("pgfault".to_owned(), 44)]
        );
    }
}
