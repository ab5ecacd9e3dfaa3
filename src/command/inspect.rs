//! `daybook inspect`: what fills a shard, while no server runs on its data directory.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use query::logs::usage::UsageAnswer;
use serde_json::Value;

use super::printing::{on_one_line, print};
use crate::data_directory::DataDirectory;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shard, one day of one index: logs-2026.11.23. Of a running server ask GET /api/daybook/v1/usage?index=SHARD.
    shard: String,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// At most this many services, fields and templates, the largest ones.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// The directory is in use or none of ours; there is no such shard, or it cannot be read.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let directory = DataDirectory::open_existing(&arguments.data_dir)?;
    let shards = indexer::shard_ids(directory.path())?;
    let Some(id) = shards.iter().find(|id| id.name() == arguments.shard) else {
        let known: Vec<String> = shards.iter().rev().take(5).map(|id| id.name()).collect();
        bail!(
            "there is no shard {} in {}; there are {} shards: {}",
            arguments.shard,
            directory.path().display(),
            shards.len(),
            known.join(", ")
        );
    };
    let inspection = indexer::inspect(directory.path(), id)?;
    let mut answer = UsageAnswer::default();
    answer.add(id.clone(), inspection.usage);
    let mut usage = query::daybook::usage::reply(&answer, arguments.limit as usize);
    usage["segments"] = inspection.segments.into();
    usage["deleted"] = inspection.deleted.into();
    usage["folder_bytes"] = inspection.folder_bytes.into();
    print(&match arguments.json {
        true => format!("{usage}\n"),
        false => table(&arguments.shard, &usage),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Tables of what there is, the largest first.
fn table(shard: &str, usage: &Value) -> String {
    let total = &usage["total"];
    let stored = number(total, "stored_bytes");
    let mut text = format!(
        "{shard}: {} documents ({} deleted) in {} segments\n{} as sent, {} stored ({}), {} in the folder\n",
        number(total, "documents"),
        number(usage, "deleted"),
        number(usage, "segments"),
        bytes(number(total, "raw_bytes")),
        bytes(stored),
        ratio(total),
        bytes(number(usage, "folder_bytes")),
    );
    text.push_str("\n     bytes   share  part\n");
    let parts = usage["parts"].as_object().into_iter().flatten();
    for (name, part) in parts.filter(|(_, part)| part.as_u64() != Some(0)) {
        let part = part.as_u64().unwrap_or_default();
        text.push_str(&format!(
            "{:>10}  {}  {name}\n",
            bytes(part),
            share(part, stored)
        ));
    }
    text.push_str("\n     bytes   share   ratio   documents  service\n");
    for service in list(usage, "services") {
        let part = number(service, "stored_bytes");
        text.push_str(&format!(
            "{:>10}  {}  {:>6}  {:>10}  {}\n",
            bytes(part),
            share(part, stored),
            ratio(service),
            number(service, "documents"),
            on_one_line(service["service"].as_str().unwrap_or("(none)")),
        ));
    }
    text.push_str(&more(usage, "services", "service_count"));
    text.push_str("\n     bytes   share      values     columns   distinct  field\n");
    for field in list(usage, "fields") {
        let part = number(field, "stored_bytes");
        let distinct = match field["distinct_texts"].as_u64() {
            _ if field["too_distinct_for_a_column"] == true => "many".to_owned(),
            Some(count) => count.to_string(),
            None => "-".to_owned(),
        };
        text.push_str(&format!(
            "{:>10}  {}  {:>10}  {:>10}  {distinct:>9}  {}\n",
            bytes(part),
            share(part, stored),
            number(field, "values"),
            bytes(number(field, "column_bytes")),
            on_one_line(field["field"].as_str().unwrap_or_default()),
        ));
    }
    text.push_str(&more(usage, "fields", "field_count"));
    text.push_str("\n     bytes   share   documents  template\n");
    for template in list(usage, "templates") {
        let part = number(template, "value_bytes");
        text.push_str(&format!(
            "{:>10}  {}  {:>10}  {}\n",
            bytes(part),
            share(part, stored),
            number(template, "documents"),
            on_one_line(template["template"].as_str().unwrap_or_default()),
        ));
    }
    text.push_str(&more(usage, "templates", "template_count"));
    text
}

fn list<'v>(usage: &'v Value, name: &str) -> &'v [Value] {
    usage[name].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

/// How many of a list are left out.
fn more(usage: &Value, name: &str, count: &str) -> String {
    let left = number(usage, count).saturating_sub(list(usage, name).len() as u64);
    match left {
        0 => String::new(),
        left => format!("            and {left} more {name}\n"),
    }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:>5.1}%", 100.0 * part as f64 / whole.max(1) as f64)
}

fn ratio(sizes: &Value) -> String {
    sizes["ratio"]
        .as_f64()
        .map_or("-".to_owned(), |ratio| format!("{ratio:.3}"))
}

/// `1.3 MiB`, as people compare sizes.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_have_units() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (1 << 50, "1024.0 TiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn everything_is_a_table() {
        let usage = json!({
            "total": {"documents": 10, "raw_bytes": 4096, "stored_bytes": 1024, "ratio": 0.25},
            "segments": 1, "deleted": 2, "folder_bytes": 2048,
            "parts": {"frames": 768, "filters": 0},
            "service_count": 1,
            "services": [{"service": null, "documents": 10, "stored_bytes": 1024, "ratio": 0.25}],
            "field_count": 3,
            "fields": [{"field": "a\nb", "values": 10, "stored_bytes": 512, "column_bytes": 128, "distinct_texts": 3}],
            "template_count": 0, "templates": [],
        });
        assert_eq!(
            table("logs-2026.11.23", &usage),
            "logs-2026.11.23: 10 documents (2 deleted) in 1 segments\n\
             4.0 KiB as sent, 1.0 KiB stored (0.250), 2.0 KiB in the folder\n\
             \n     bytes   share  part\n     768 B   75.0%  frames\n\
             \n     bytes   share   ratio   documents  service\n   1.0 KiB  100.0%   0.250          10  (none)\n\
             \n     bytes   share      values     columns   distinct  field\n     \
             512 B   50.0%          10       128 B          3  a\\nb\n            and 2 more fields\n\
             \n     bytes   share   documents  template\n"
        );
    }
}
