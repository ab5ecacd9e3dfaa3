//! The running server that a command asks: which one it is, and how it answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use reqwest::Url;
use serde_json::Value;

use super::serve::FALLBACK_DATA_DIR;
use crate::data_directory::running_http_address;
use crate::settings::Settings;

/// A request takes no longer than this; the server answers what it has when its own limit is over.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Which server to ask.
#[derive(Debug, clap::Args)]
pub struct ServerArguments {
    /// The server, for instance http://127.0.0.1:8365; without it, the one that works on the data directory.
    #[arg(long, conflicts_with = "data_dir")]
    url: Option<String>,
    /// The data directory of the server to ask.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// A server, and a client for it.
pub struct RunningServer {
    client: reqwest::Client,
    base: Url,
}

/// Runs what a command asks a server for.
///
/// # Errors
/// Those of `work`, or the runtime cannot start.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}

impl RunningServer {
    /// The server that the arguments name, or the one that runs on a usual data directory.
    ///
    /// # Errors
    /// No server is found, or its address is none.
    pub fn of(arguments: &ServerArguments) -> anyhow::Result<RunningServer> {
        RunningServer::of_data_dir(arguments, None)
    }

    /// As [`RunningServer::of`]; where the arguments name none, the one that runs on the data directory of a settings
    /// file, when there is one.
    ///
    /// # Errors
    /// No server is found, or its address is none.
    pub fn of_data_dir(
        arguments: &ServerArguments,
        data_dir: Option<&Path>,
    ) -> anyhow::Result<RunningServer> {
        // Where the default one cannot be written, a server works on the other.
        let settings_own = data_dir.filter(|data_dir| *data_dir != Settings::default().data_dir);
        let named = arguments.data_dir.as_deref().or(settings_own);
        let base = match (&arguments.url, named) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(data_dir)) => running_url(data_dir).ok_or_else(|| {
                anyhow!(
                    "no daybook runs on {}; start one, or name it with --url",
                    data_dir.display()
                )
            })?,
            (None, None) => [Settings::default().data_dir, FALLBACK_DATA_DIR.into()]
                .iter()
                .find_map(|data_dir| running_url(data_dir))
                .ok_or_else(|| {
                    anyhow!("no running daybook found; name it with --url or --data-dir")
                })?,
        };
        let base = Url::parse(&base).with_context(|| {
            format!("{base:?} is no address; write for instance --url http://127.0.0.1:8365")
        })?;
        Ok(RunningServer {
            client: reqwest::Client::builder()
                .timeout(REQUEST_TIMEOUT)
                .build()
                .context("cannot start the HTTP client")?,
            base,
        })
    }

    /// The address of a resource, by the segments of its path.
    ///
    /// # Errors
    /// The server's address is no http address.
    pub fn url(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow!("{:?} is no http address", self.base.as_str()))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// What the server answers to a GET.
    ///
    /// # Errors
    /// It cannot be reached, or refuses the question.
    pub async fn get(&self, url: Url) -> anyhow::Result<Value> {
        answer(self.client.get(url.clone()), &url).await
    }

    /// What the server answers to a POST of JSON.
    ///
    /// # Errors
    /// As [`RunningServer::get`].
    pub async fn post(&self, url: Url, body: &Value) -> anyhow::Result<Value> {
        answer(self.client.post(url.clone()).json(body), &url).await
    }

    /// What the server answers to a POST of JSON objects, one per line.
    ///
    /// # Errors
    /// As [`RunningServer::get`].
    pub async fn post_lines(&self, url: Url, body: Vec<u8>) -> anyhow::Result<Value> {
        let request = self.client.post(url.clone());
        let request = request
            .header("content-type", "application/x-ndjson")
            .body(body);
        answer(request, &url).await
    }
}

async fn answer(request: reqwest::RequestBuilder, url: &Url) -> anyhow::Result<Value> {
    let reply = request
        .send()
        .await
        .with_context(|| format!("cannot ask {url}; check that daybook runs there"))?;
    let status = reply.status();
    let answer: Value = reply
        .json()
        .await
        .with_context(|| format!("{url} answered {status} and no JSON"))?;
    if !status.is_success() {
        let reason = answer
            .pointer("/error/root_cause/0/reason")
            .or_else(|| answer.pointer("/error/reason"))
            .and_then(Value::as_str)
            .unwrap_or("without a reason");
        bail!("the server answers {status}: {reason}");
    }
    Ok(answer)
}

fn running_url(data_dir: &Path) -> Option<String> {
    running_http_address(data_dir).map(|address| format!("http://{address}"))
}
