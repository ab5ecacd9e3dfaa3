//! `daybook search`: asks a running server and prints what it finds, oldest first.

mod follow;
mod line;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Url;
use serde_json::{Value, json};

use super::running_server::{RunningServer, ServerArguments, block_on};
use crate::settings::parse_period;

/// Arguments of `search`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Lucene syntax, as in Grafana: `status:500 AND "connection refused"`.
    #[arg(default_value = "*")]
    query: String,
    /// An index, several with commas, or a pattern.
    #[arg(long, default_value = "*")]
    index: String,
    /// How far back: 30s, 15m, 1h, 7d.
    #[arg(long, default_value = "1h", value_parser = parse_period)]
    since: Duration,
    /// At most this many events, the newest ones.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Go on printing events as they come in.
    #[arg(long)]
    follow: bool,
    /// Print the stored documents, one JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Runs it.
///
/// # Errors
/// No server is found, it cannot be reached, or it refuses the question.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    block_on(search(arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn search(arguments: Arguments) -> anyhow::Result<()> {
    let search = Search::of(&arguments)?;
    // Taken before the first answer, so that nothing falls between that and following.
    let mut follow = match arguments.follow {
        true => Some(follow::Follow::start(&search).await?),
        false => None,
    };
    let sort = json!([{ "@timestamp": { "order": "desc" } }, { "_doc": { "order": "desc" } }]);
    let since_seconds = arguments.since.as_secs().max(1);
    let range = json!({ "range": { "@timestamp": { "gte": format!("now-{since_seconds}s") } } });
    let mut hits = search
        .ask(&json!({
            "size": arguments.limit,
            "sort": sort,
            "query": { "bool": { "filter": [range, search.question()] } },
        }))
        .await?;
    hits.reverse();
    print(&hits, arguments.json)?;
    if let Some(follow) = &mut follow {
        follow.note_printed(&hits);
        loop {
            let hits = follow.next(&search).await?;
            print(&hits, arguments.json)?;
        }
    }
    Ok(())
}

/// A reader that has seen enough, as `head`, is a good end.
fn print(hits: &[Hit], as_json: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for hit in hits {
        let written = match as_json {
            true => writeln!(stdout, "{}", hit.source),
            false => writeln!(stdout, "{}", line::of(&hit.source)),
        };
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            result => result.context("cannot write to stdout")?,
        }
    }
    Ok(())
}

/// One event that was found.
struct Hit {
    /// The last value it was sorted by: its number on the server.
    position: u64,
    source: Value,
}

/// The server that is asked, and what it is asked.
struct Search {
    server: RunningServer,
    url: Url,
    query: String,
}

impl Search {
    fn of(arguments: &Arguments) -> anyhow::Result<Search> {
        let server = RunningServer::of(&arguments.server)?;
        let mut url = server.url(&[&arguments.index, "_search"])?;
        url.set_query(Some("ignore_unavailable=true&allow_no_indices=true"));
        Ok(Search {
            server,
            url,
            query: arguments.query.clone(),
        })
    }

    /// The operator's question as a filter.
    fn question(&self) -> Value {
        json!({ "query_string": { "query": self.query } })
    }

    async fn ask(&self, body: &Value) -> anyhow::Result<Vec<Hit>> {
        let answer = self.server.post(self.url.clone(), body).await?;
        if answer["timed_out"] == json!(true) {
            eprintln!(
                "daybook: note: the answer is incomplete: the query ran out of time, or the index is behind its input"
            );
        }
        let hits = answer["hits"]["hits"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        Ok(hits.iter().map(Hit::of).collect())
    }
}

impl Hit {
    fn of(hit: &Value) -> Hit {
        let sort = hit["sort"].as_array().and_then(|values| values.last());
        Hit {
            position: sort.and_then(Value::as_u64).unwrap_or_default(),
            source: hit["_source"].clone(),
        }
    }
}
