//! Index expressions against a small world of names, case by case, and for any expression at all.

use super::*;
use proptest::prelude::*;

const SHARDS: [&str; 9] = [
    ".audit-2026.11.23",
    "logs-2026.10.31",
    "logs-2026.11.21",
    "logs-2026.11.22",
    "logs-2026.11.23",
    "logs-nginx-2026.11.23",
    "monthly-2026.11-2026.11.05",
    "old-2025.12.31",
    "old-2026.01.28",
];

fn shard(name: &str) -> ShardId {
    let target = event::WriteTarget::parse(name).unwrap();
    ShardId {
        index: target.index,
        day: target.day.unwrap(),
    }
}

fn names() -> Names {
    let members = ["logs-nginx", "logs-2026.11.23", "gone"];
    Names::new(SHARDS.map(shard))
        .with_created(["fresh", ".kibana_1", "logs-2026.11.23"].map(str::to_owned))
        .with_aliases([
            ("all-logs".to_owned(), members.map(str::to_owned).into()),
            (".kibana".to_owned(), [".kibana_1".to_owned()].into()),
        ])
}

fn now() -> Timestamp {
    Timestamp::parse_iso("2026-11-23T10:30:00Z").unwrap()
}

/// `logs-2026.11.23`, `logs-2026.11.23[10..12]`, `fresh()`, or the missing name behind the status.
fn answer(expression: &str, options: &TargetOptions) -> String {
    let resolved = match names().resolve(expression, options, now()) {
        Ok(resolved) => resolved,
        Err(error) => return format!("{} {}", error.status().as_u16(), error.reason()),
    };
    let mut texts: Vec<String> = Vec::new();
    for target in &resolved.targets {
        let name = target.shard.index.shard_name(target.shard.day);
        match target.time_slice {
            None => texts.push(name),
            Some(slice) => {
                let hour = |at: Timestamp| {
                    (at.nanos() - target.shard.day.start().nanos()) / 3_600_000_000_000
                };
                texts.push(format!(
                    "{name}[{}..{}]",
                    hour(slice.start),
                    hour(slice.end)
                ));
            }
        }
    }
    texts.extend(resolved.created.iter().map(|name| format!("{name}()")));
    texts.join(" ")
}

#[test]
fn names_lists_and_wildcards() {
    let logs = "logs-2026.10.31 logs-2026.11.21 logs-2026.11.22 logs-2026.11.23";
    let visible = format!(
        "{logs} logs-nginx-2026.11.23 monthly-2026.11-2026.11.05 old-2025.12.31 old-2026.01.28 fresh()"
    );
    let cases = [
        ("logs", logs),
        ("logs-2026.11.23", "logs-2026.11.23"),
        (
            "logs-2026.11.22,logs-2026.11.21,logs-2026.11.22",
            "logs-2026.11.21 logs-2026.11.22",
        ),
        (
            "logs-2026.11.*",
            "logs-2026.11.21 logs-2026.11.22 logs-2026.11.23",
        ),
        (
            "logs-2026.1*.2*",
            "logs-2026.11.21 logs-2026.11.22 logs-2026.11.23",
        ),
        ("*nginx*", "logs-nginx-2026.11.23"),
        ("*-2026.11.23", "logs-2026.11.23 logs-nginx-2026.11.23"),
        ("logs-2026*,-logs-2026.11.*", "logs-2026.10.31"),
        ("logs*,-logs", "logs-nginx-2026.11.23"),
        (
            "logs-nginx,*fresh*,-missing",
            "logs-nginx-2026.11.23 fresh()",
        ),
        ("fresh", "fresh()"),
        ("nothing*", ""),
        ("", visible.as_str()),
        ("*", visible.as_str()),
        ("_all", visible.as_str()),
        (" , ,", visible.as_str()),
        ("*,-*", ""),
        ("all-logs", "logs-2026.11.23 logs-nginx-2026.11.23"),
        ("all-*", "logs-2026.11.23 logs-nginx-2026.11.23"),
        (".kibana", ".kibana_1()"),
        (".kib*", ".kibana_1()"),
        (".*", ".audit-2026.11.23 .kibana_1()"),
        (".audit", ".audit-2026.11.23"),
        ("<logs-{now/d}>", "logs-2026.11.23"),
        (
            "<logs-{now/d-1d}>,<logs-{now/d-2d}>",
            "logs-2026.11.21 logs-2026.11.22",
        ),
        (
            "logs-*,-<logs-{now/d}>,-logs-nginx",
            "logs-2026.10.31 logs-2026.11.21 logs-2026.11.22",
        ),
        ("missing", "404 no such index [missing]"),
        ("logs-2026.11.20", "404 no such index [logs-2026.11.20]"),
        ("logs-nginx,missing", "404 no such index [missing]"),
        ("-logs", "404 no such index [-logs]"),
        ("logs,-logs", "404 no such index [-logs]"),
        ("remote:logs", "404 no such index [remote:logs]"),
        ("remote:*", ""),
        ("LOGS", "404 no such index [LOGS]"),
        (
            "_logs",
            "400 Invalid index name [_logs], must not start with '_'.",
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(
            answer(expression, &TargetOptions::default()),
            expected,
            "{expression:?}"
        );
    }
}

#[test]
fn virtual_names_of_grafanas_patterns() {
    let cases = [
        (
            "logs-2026",
            "logs-2026.10.31 logs-2026.11.21 logs-2026.11.22 logs-2026.11.23",
        ),
        ("logs-2026.10", "logs-2026.10.31"),
        ("logs-2026.48", "logs-2026.11.23"),
        ("logs-2026.47", "logs-2026.11.21 logs-2026.11.22"),
        // No shard in May: the fifth week.
        ("old-2026.05", "old-2026.01.28"),
        // The first ISO week of 2026 begins in 2025; January has a shard, so it is the month.
        ("old-2026.01", "old-2026.01.28"),
        ("old-2026.w01", "old-2025.12.31"),
        // An index of just that name goes before the month of another.
        ("monthly-2026.11", "monthly-2026.11-2026.11.05"),
        ("logs-2026.11.23.10", "logs-2026.11.23[10..11]"),
        (
            "logs-2026.11.22.23,logs-2026.11.23.00,logs-2026.11.23.01,logs-2026.11.23.03",
            "logs-2026.11.22[23..24] logs-2026.11.23[0..2] logs-2026.11.23[3..4]",
        ),
        ("logs-2026.11.23.10,logs-2026.11.23", "logs-2026.11.23"),
        ("logs-2026.11.23.1*", "logs-2026.11.23[10..20]"),
        ("logs-2026.11.23.*", "logs-2026.11.23"),
        (
            "logs-2026.11.23*,-logs-2026.11.23.00",
            "logs-2026.11.23[1..24]",
        ),
        ("<logs-{now/H{yyyy.MM.dd.HH}}>", "logs-2026.11.23[10..11]"),
        (
            "logs-2026.11.20.10",
            "404 no such index [logs-2026.11.20.10]",
        ),
        ("logs-2027", "404 no such index [logs-2027]"),
    ];
    for (expression, expected) in cases {
        assert_eq!(
            answer(expression, &TargetOptions::default()),
            expected,
            "{expression:?}"
        );
    }
}

#[test]
fn flags_decide_what_missing_means() {
    let plain = TargetOptions::default();
    let ignoring = TargetOptions {
        ignore_unavailable: true,
        ..plain
    };
    let strict = TargetOptions {
        allow_no_indices: false,
        ..plain
    };
    let both = TargetOptions {
        ignore_unavailable: true,
        ..strict
    };
    let cases = [
        (ignoring, "missing,logs-2026.11.23", "logs-2026.11.23"),
        (ignoring, "missing", ""),
        (ignoring, "nothing*", ""),
        (strict, "nothing*", "404 no such index [nothing*]"),
        (
            strict,
            "logs-2026.11.23,nothing*",
            "404 no such index [nothing*]",
        ),
        (strict, "logs-2026.11.23", "logs-2026.11.23"),
        (strict, "*,-*", "404 no such index [*,-*]"),
        (both, "missing", "404 no such index [missing]"),
        (both, "missing,logs-2026.11.23", "logs-2026.11.23"),
    ];
    for (options, expression, expected) in cases {
        assert_eq!(
            answer(expression, &options),
            expected,
            "{expression:?} {options:?}"
        );
    }

    let cases = [
        ("none", "*-2026.11.23", ""),
        ("closed", "*-2026.11.23", ""),
        (
            "open",
            "*-2026.11.23",
            "logs-2026.11.23 logs-nginx-2026.11.23",
        ),
        ("hidden", "*-2026.11.23", ".audit-2026.11.23"),
        (
            "open,hidden",
            "*-2026.11.23",
            ".audit-2026.11.23 logs-2026.11.23 logs-nginx-2026.11.23",
        ),
        (
            "all",
            "*-2026.11.23",
            ".audit-2026.11.23 logs-2026.11.23 logs-nginx-2026.11.23",
        ),
        ("none", "logs-2026.11.23", "logs-2026.11.23"),
    ];
    for (words, expression, expected) in cases {
        let options = plain.expand_wildcards(words).unwrap();
        assert_eq!(
            answer(expression, &options),
            expected,
            "{words} {expression}"
        );
    }
    assert_eq!(plain.expand_wildcards("some").unwrap_err().status(), 400);
}

#[test]
fn thirty_daily_names_of_which_most_are_missing() {
    let first = Day::parse("2026.10.25").unwrap().number();
    let days = (first..first + 30).map(|number| format!("logs-{}", Day::from_number(number)));
    let expression = days.collect::<Vec<_>>().join(",");
    let options = TargetOptions {
        ignore_unavailable: true,
        ..TargetOptions::default()
    };
    let found = resolve(&expression, &options, &SHARDS.map(shard), now()).unwrap();
    assert_eq!(found.len(), 4);
    let error = resolve(
        &expression,
        &TargetOptions::default(),
        &SHARDS.map(shard),
        now(),
    );
    assert_eq!(
        error.unwrap_err().reason(),
        "no such index [logs-2026.10.25]"
    );
}

#[test]
fn an_index_keeps_its_uuid() {
    assert_eq!(index_uuid("logs-2026.11.23"), index_uuid("logs-2026.11.23"));
    assert_ne!(index_uuid("logs-2026.11.23"), index_uuid("logs-2026.11.22"));
    assert_eq!(index_uuid("logs").len(), 22);
}

proptest! {
    /// Whatever is asked: no panic, and every shard comes whole or in slices of its own day that neither overlap
    /// nor touch, in order.
    #[test]
    fn any_expression_gives_disjoint_parts_of_known_shards(
        parts in proptest::collection::vec(
            prop_oneof![
                "-?(logs|old|\\*|lo\\*|logs-nginx)(-2026(\\.1?[01*](\\.2[0-3*](\\.[0-2][0-9*])?)?)?)?",
                ".{0,12}",
            ],
            0..5,
        ),
        ignore_unavailable in any::<bool>(),
    ) {
        let options = TargetOptions { ignore_unavailable, ..TargetOptions::default() };
        let Ok(resolved) = names().resolve(&parts.join(","), &options, now()) else {
            return Ok(());
        };
        let known = SHARDS.map(shard);
        for target in &resolved.targets {
            prop_assert!(known.contains(&target.shard));
            if let Some(slice) = target.time_slice {
                prop_assert!(target.shard.day.start() <= slice.start);
                prop_assert!(slice.start < slice.end);
                prop_assert!(slice.end <= target.shard.day.end());
            }
        }
        for pair in resolved.targets.windows(2) {
            if pair[0].shard != pair[1].shard {
                prop_assert!(pair[0].shard < pair[1].shard);
                continue;
            }
            let end = pair[0].time_slice.unwrap().end;
            prop_assert!(end < pair[1].time_slice.unwrap().start);
        }
    }

    /// What a list names is what its parts name, together.
    #[test]
    fn a_list_is_the_union_of_its_parts(
        a in "(logs|old|\\*|lo\\*)(-2026(\\.1[01]?(\\.2[0-3])?)?)?",
        b in "(logs|old|\\*|lo\\*)(-2026(\\.1[01]?(\\.2[0-3])?)?)?",
    ) {
        let options = TargetOptions { ignore_unavailable: true, ..TargetOptions::default() };
        let of = |expression: &str| -> BTreeSet<ShardId> {
            names().resolve(expression, &options, now()).unwrap().shards().into_iter().collect()
        };
        let together: BTreeSet<ShardId> = of(&a).union(&of(&b)).cloned().collect();
        prop_assert_eq!(of(&format!("{a},{b}")), together);
    }
}
