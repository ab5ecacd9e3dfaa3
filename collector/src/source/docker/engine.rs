//! The Docker Engine's API over its Unix socket: the four calls that reading logs needs.
//!
//! <https://docs.docker.com/reference/api/engine/>, without a version in the path: these calls and the fields read here
//! have been the same since API 1.24. Not bollard: its log decoder keeps a TTY line without an end in memory whatever
//! its length, panics on the engine's own error frames, and takes whole seconds where we resume by the nanosecond;
//! what remains of it are four GET requests. Nothing runs in the background: a connection moves only while its answer
//! is awaited, so a reader that waits makes the engine wait.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use event::Timestamp;

/// An engine that does not answer within this is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The list of ten thousand containers is some 20 MB.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// One event is below 10 KiB, even with many labels.
const EVENT_BYTES_MAX: usize = 1 << 20;
/// What one connection reads ahead.
const READ_BYTES_MAX: usize = 64 << 10;
/// `{"type":["container"],"event":["start","rename","destroy"]}`.
const EVENT_FILTERS: &str = "%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22rename%22%2C%22destroy%22%5D%7D";

/// Where an engine listens.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// A call that gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens, or we may not ask.
    #[error("cannot reach the Docker engine at {socket}: {source}")]
    Unreachable {
        /// The socket's path.
        socket: String,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the Docker engine did not answer {path} within {} s", ANSWER_WITHIN.as_secs())]
    TimedOut {
        /// What was asked.
        path: String,
    },
    /// The connection broke.
    #[error("the connection to the Docker engine broke: {0}")]
    Broken(#[from] hyper::Error),
    /// It said no.
    #[error("the Docker engine answered {status} to {path}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What was asked.
        path: String,
        /// What it said.
        message: String,
    },
    /// It said something else than its documentation says.
    #[error("the Docker engine's answer to {path} is not understood: {problem}")]
    Unreadable {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// One container in the list of all.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// 64 hexadecimal digits.
    pub id: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    #[serde(default)]
    pub state: String,
}

/// What the engine knows about one container; the part of it that is used here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// With a slash before it.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub config: Config,
    #[serde(default)]
    pub state: State,
}

/// How a container was made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The image as it was asked for: `nginx:1.29`.
    #[serde(default)]
    pub image: String,
    #[serde(default)]
    pub labels: Option<HashMap<String, String>>,
}

/// How a container is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    #[serde(default)]
    pub running: bool,
}

/// Something happened to a container.
#[derive(Debug, Clone, Deserialize)]
pub struct ContainerEvent {
    /// `start`, `rename`, `destroy`.
    #[serde(rename = "Action")]
    pub action: String,
    /// Which.
    #[serde(rename = "Actor")]
    pub actor: Actor,
}

/// Whom an event is about.
#[derive(Debug, Clone, Deserialize)]
pub struct Actor {
    /// 64 hexadecimal digits.
    #[serde(rename = "ID")]
    pub id: String,
}

impl Engine {
    /// The engine behind this socket; nothing is asked yet.
    pub fn at(socket: PathBuf) -> Engine {
        Engine { socket }
    }

    /// Whether this process may talk to it at all.
    pub async fn is_reachable(&self) -> bool {
        UnixStream::connect(&self.socket).await.is_ok()
    }

    /// All containers, also those that ended.
    pub async fn containers(&self) -> Result<Vec<Listed>, EngineError> {
        self.document("/containers/json?all=1").await
    }

    /// One container; `None` when it is gone.
    pub async fn inspect(&self, id: &str) -> Result<Option<Inspected>, EngineError> {
        match self.document(&format!("/containers/{id}/json")).await {
            Ok(inspected) => Ok(Some(inspected)),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What starts, is renamed and is removed from now on.
    pub async fn events(&self) -> Result<Events, EngineError> {
        let path = format!("/events?filters={EVENT_FILTERS}");
        Ok(Events {
            stream: self.get(&path).await?,
            waiting: BytesMut::new(),
            path,
        })
    }

    /// A container's log from `since` on, with the engine's time before each message, and whatever follows until the
    /// container ends.
    pub async fn logs(&self, id: &str, since: Timestamp) -> Result<Stream, EngineError> {
        let nanos = since.nanos().max(0);
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        self.get(&format!(
            "/containers/{id}/logs?follow=1&stdout=1&stderr=1&timestamps=1&since={seconds}.{nanos:09}"
        ))
        .await
    }

    async fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let reading = async {
            let stream = self.get(path).await?;
            stream.whole(path).await
        };
        let bytes = within(path, reading).await?;
        serde_json::from_slice(&bytes).map_err(|error| EngineError::Unreadable {
            path: path.to_owned(),
            problem: error.to_string(),
        })
    }

    async fn get(&self, path: &str) -> Result<Stream, EngineError> {
        within(path, self.get_unhurried(path)).await
    }

    async fn get_unhurried(&self, path: &str) -> Result<Stream, EngineError> {
        let socket = UnixStream::connect(&self.socket).await;
        let socket = socket.map_err(|source| EngineError::Unreachable {
            socket: self.socket.display().to_string(),
            source,
        })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(READ_BYTES_MAX)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
            .await?;
        let request = http::Request::get(path)
            .header(http::header::HOST, "docker")
            .body(Empty::new());
        let request = request.map_err(|error| EngineError::Unreadable {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        let mut connection: Connection = Box::pin(connection);
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer?,
            // The connection ended; what it brought is in the answer.
            _ = &mut connection => answer.await?,
        };
        let status = answer.status();
        let stream = Stream {
            body: answer.into_body(),
            connection: Some(connection),
        };
        if status.is_success() {
            return Ok(stream);
        }
        let body = stream.whole(path).await.unwrap_or_default();
        Err(EngineError::Refused {
            status: status.as_u16(),
            path: path.to_owned(),
            message: message_in(&body),
        })
    }
}

type Connection = Pin<Box<http1::Connection<TokioIo<UnixStream>, Empty<Bytes>>>>;

/// The body of an answer, with the connection that brings it.
pub struct Stream {
    body: Incoming,
    /// `None` once it has ended.
    connection: Option<Connection>,
}

impl Stream {
    /// The next bytes; `None` at the end. May be dropped while it waits without losing any.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            let frame = match &mut self.connection {
                None => self.body.frame().await,
                Some(connection) => tokio::select! {
                    biased;
                    frame = self.body.frame() => frame,
                    _ = connection => {
                        self.connection = None;
                        continue;
                    }
                },
            };
            let Some(frame) = frame.transpose()? else {
                return Ok(None);
            };
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    async fn whole(mut self, path: &str) -> Result<Bytes, EngineError> {
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > DOCUMENT_BYTES_MAX {
                return Err(EngineError::Unreadable {
                    path: path.to_owned(),
                    problem: format!("more than {DOCUMENT_BYTES_MAX} bytes"),
                });
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }
}

/// What happens in the engine, as it happens.
pub struct Events {
    stream: Stream,
    waiting: BytesMut,
    path: String,
}

impl Events {
    /// The next event; `None` when the engine ends. May be dropped while it waits without losing any.
    pub async fn next(&mut self) -> Result<Option<ContainerEvent>, EngineError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.waiting) {
                let line = self.waiting.split_to(end + 1);
                let line = line.trim_ascii();
                if line.is_empty() {
                    continue;
                }
                let event = serde_json::from_slice(line);
                return event.map(Some).map_err(|error| self.unreadable(error));
            }
            if self.waiting.len() > EVENT_BYTES_MAX {
                return Err(self.unreadable("an event without an end"));
            }
            match self.stream.next().await? {
                Some(bytes) => self.waiting.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    fn unreadable(&self, problem: impl ToString) -> EngineError {
        EngineError::Unreadable {
            path: self.path.clone(),
            problem: problem.to_string(),
        }
    }
}

async fn within<T>(
    path: &str,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(ANSWER_WITHIN, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(EngineError::TimedOut {
            path: path.to_owned(),
        }),
    }
}

/// `{"message":"..."}`, or whatever was said, cut.
fn message_in(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(body).chars().take(200).collect(),
    }
}
