//! `daybook search`: asks a running server and prints what it finds, oldest first.

mod follow;
mod line;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};

use crate::data_directory::running_http_address;
use crate::settings::{Settings, parse_period};

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
    /// The server, for instance http://127.0.0.1:8365; without it, the one that works on the data directory.
    #[arg(long, conflicts_with = "data_dir")]
    url: Option<String>,
    /// The data directory of the server to ask.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// A request takes no longer than this; the server answers what it has when its own limit is over.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs it.
///
/// # Errors
/// No server is found, it cannot be reached, or it refuses the question.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(search(arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn search(arguments: Arguments) -> anyhow::Result<()> {
    let server = Server::of(&arguments)?;
    // Taken before the first answer, so that nothing falls between that and following.
    let mut follow = match arguments.follow {
        true => Some(follow::Follow::start(&server).await?),
        false => None,
    };
    let sort = json!([{ "@timestamp": { "order": "desc" } }, { "_doc": { "order": "desc" } }]);
    let since_seconds = arguments.since.as_secs().max(1);
    let range = json!({ "range": { "@timestamp": { "gte": format!("now-{since_seconds}s") } } });
    let mut hits = server
        .search(&json!({
            "size": arguments.limit,
            "sort": sort,
            "query": { "bool": { "filter": [range, server.question()] } },
        }))
        .await?;
    hits.reverse();
    print(&hits, arguments.json)?;
    if let Some(follow) = &mut follow {
        follow.note_printed(&hits);
        loop {
            let hits = follow.next(&server).await?;
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
struct Server {
    client: reqwest::Client,
    url: String,
    query: String,
}

impl Server {
    fn of(arguments: &Arguments) -> anyhow::Result<Server> {
        let base = match (&arguments.url, &arguments.data_dir) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(data_dir)) => running_url(data_dir).ok_or_else(|| {
                anyhow!(
                    "no daybook runs on {}; start one, or name it with --url",
                    data_dir.display()
                )
            })?,
            (None, None) => [
                Settings::default().data_dir,
                super::serve::FALLBACK_DATA_DIR.into(),
            ]
            .iter()
            .find_map(|data_dir| running_url(data_dir))
            .ok_or_else(|| anyhow!("no running daybook found; name it with --url or --data-dir"))?,
        };
        let mut url = reqwest::Url::parse(&base).with_context(|| {
            format!("{base:?} is no address; write for instance --url http://127.0.0.1:8365")
        })?;
        url.path_segments_mut()
            .map_err(|()| anyhow!("{base:?} is no http address"))?
            .pop_if_empty()
            .extend([arguments.index.as_str(), "_search"]);
        url.set_query(Some("ignore_unavailable=true&allow_no_indices=true"));
        Ok(Server {
            client: reqwest::Client::builder()
                .timeout(REQUEST_TIMEOUT)
                .build()
                .context("cannot start the HTTP client")?,
            url: url.into(),
            query: arguments.query.clone(),
        })
    }

    /// The operator's question as a filter.
    fn question(&self) -> Value {
        json!({ "query_string": { "query": self.query } })
    }

    async fn search(&self, body: &Value) -> anyhow::Result<Vec<Hit>> {
        let reply = self
            .client
            .post(&self.url)
            .json(body)
            .send()
            .await
            .with_context(|| format!("cannot ask {}; check that daybook runs there", self.url))?;
        let status = reply.status();
        let answer: Value = reply
            .json()
            .await
            .with_context(|| format!("{} answered {status} and no JSON", self.url))?;
        if !status.is_success() {
            let reason = answer
                .pointer("/error/root_cause/0/reason")
                .or_else(|| answer.pointer("/error/reason"))
                .and_then(Value::as_str)
                .unwrap_or("without a reason");
            bail!("the server answers {status}: {reason}");
        }
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

fn running_url(data_dir: &Path) -> Option<String> {
    running_http_address(data_dir).map(|address| format!("http://{address}"))
}
