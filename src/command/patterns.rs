//! `daybook patterns`: asks a running server what its messages are, and prints them as a table.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::printing::{on_one_line, print};
use super::running_server::{RunningServer, ServerArguments, block_on};
use crate::settings::parse_period;

/// Arguments of `patterns`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Lucene syntax, as in Grafana: `log.level:error`.
    #[arg(default_value = "")]
    query: String,
    /// An index, several with commas, or a pattern.
    #[arg(long, default_value = "*")]
    index: String,
    /// How far back: 30s, 15m, 1h, 7d.
    #[arg(long, default_value = "1h", value_parser = parse_period)]
    since: Duration,
    /// Only patterns that were not there before this time: a length of time back (30m), or a time
    /// (2026-11-23T10:00:00Z). What was there before is looked for as far back as --since says.
    #[arg(long, value_name = "TIME")]
    new_since: Option<String>,
    /// Only patterns that are not there any more since this time, written as for --new-since.
    #[arg(long, value_name = "TIME")]
    gone_since: Option<String>,
    /// At most this many patterns, the most frequent ones.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print the server's answer as it is.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// How many signs show how often a pattern occurred over time.
const TREND_WIDTH: usize = 16;

/// Runs it.
///
/// # Errors
/// No server is found, it cannot be reached, or it refuses the question.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let answer = block_on(ask(&arguments))?;
    let printed = match arguments.json {
        true => format!("{answer}\n"),
        false => table(&answer),
    };
    if answer["partial"] == true {
        eprintln!(
            "daybook: note: the answer is incomplete: the query ran out of time, a shard cannot be read, or the index \
             is behind its input"
        );
    }
    print(&printed)?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(arguments: &Arguments) -> anyhow::Result<Value> {
    let server = RunningServer::of(&arguments.server)?;
    let mut url = server.url(&["api", "daybook", "v1", "patterns"])?;
    let start = format!("now-{}s", arguments.since.as_secs().max(1));
    let limit = arguments.limit.to_string();
    let mut pairs = url.query_pairs_mut();
    pairs
        .append_pair("index", &arguments.index)
        .append_pair("query", &arguments.query)
        .append_pair("start", &start)
        .append_pair("limit", &limit)
        .append_pair("ignore_unavailable", "true");
    for (name, time) in [
        ("new_since", &arguments.new_since),
        ("gone_since", &arguments.gone_since),
    ] {
        if let Some(time) = time {
            pairs.append_pair(name, &time_of(time));
        }
    }
    drop(pairs);
    server.get(url).await
}

/// A length of time back becomes a time for the server; other times it reads itself.
fn time_of(text: &str) -> String {
    match parse_period(text) {
        Ok(back) => format!("now-{}s", back.as_secs()),
        Err(_) => text.to_owned(),
    }
}

fn table(answer: &Value) -> String {
    let patterns = answer["patterns"].as_array();
    let patterns = patterns.map_or(&[][..], Vec::as_slice);
    let mut lines = format!(
        "{:>10}  {:>6}  {:<TREND_WIDTH$}  pattern\n",
        "count", "share", "over time"
    );
    for pattern in patterns {
        let counts = pattern["counts"].as_array().into_iter().flatten();
        let counts: Vec<u64> = counts.filter_map(Value::as_u64).collect();
        lines.push_str(&format!(
            "{:>10}  {:>5.1}%  {}  {}\n",
            pattern["count"].as_u64().unwrap_or_default(),
            100.0 * pattern["share"].as_f64().unwrap_or_default(),
            trend(&counts),
            on_one_line(pattern["pattern"].as_str().unwrap_or_default()),
        ));
    }
    let number = |name: &str| answer[name].as_u64().unwrap_or_default();
    lines.push_str(&format!(
        "{} of {} patterns in {} messages, {} more messages have none; {} to {}\n",
        patterns.len(),
        number("pattern_count"),
        number("total").saturating_sub(number("without_template")),
        number("without_template"),
        to_the_second(&answer["start"]),
        to_the_second(&answer["end"]),
    ));
    lines
}

/// A time without its fraction.
fn to_the_second(time: &Value) -> String {
    let time = time.as_str().unwrap_or_default();
    format!("{}Z", time.split('.').next().unwrap_or_default())
}

/// Counts as a row of bars, each relative to the highest; a blank is nothing.
fn trend(counts: &[u64]) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = TREND_WIDTH.min(counts.len());
    let mut sums = vec![0; width];
    for (at, count) in counts.iter().enumerate() {
        sums[at * width / counts.len()] += count;
    }
    let highest = sums.iter().copied().max().unwrap_or_default().max(1);
    let bars = sums
        .iter()
        .map(|sum| BARS[(sum * 8).div_ceil(highest) as usize]);
    let mut shown: String = bars.collect();
    shown.extend(std::iter::repeat_n(' ', TREND_WIDTH - width));
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_become_bars() {
        assert_eq!(trend(&[0, 1, 4, 8]), " ▁▄█            ");
        let many: Vec<u64> = (0..32).collect();
        assert_eq!(trend(&many), "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██");
        assert_eq!(trend(&[]), " ".repeat(TREND_WIDTH));
    }

    #[test]
    fn a_length_of_time_is_so_long_ago() {
        assert_eq!(time_of("2h"), "now-7200s");
        assert_eq!(time_of("2026-11-23T10:00:00Z"), "2026-11-23T10:00:00Z");
    }

    #[test]
    fn patterns_are_a_table() {
        let answer = json!({
            "start": "A.123Z", "end": "B.000Z", "total": 40, "without_template": 3, "pattern_count": 2,
            "patterns": [{ "count": 30, "share": 0.75, "counts": [10, 20], "pattern": "got <*>\nagain" }],
        });
        assert_eq!(
            table(&answer),
            "     count   share  over time         pattern\n        30   75.0%  ▄█                got <*>\\nagain\n\
             1 of 2 patterns in 37 messages, 3 more messages have none; AZ to BZ\n"
        );
    }
}
