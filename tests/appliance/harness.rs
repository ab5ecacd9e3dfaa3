//! Starts the real `daybook serve`, waits until it is ready, and ends it in every way a process can end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Everything that is waited for takes far less; on a busy machine it may take longer than usual.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often something is looked at that cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Every listener on a free port, and nothing read from the machine the test runs on.
const LISTENERS: &str =
    "listen: { http: 127.0.0.1:0, otlp_grpc: 127.0.0.1:0, otlp_http: 127.0.0.1:0 }\n";

/// A running daybook. Dropping it kills it.
pub struct Daybook {
    child: Child,
    home: Home,
    client: reqwest::Client,
    address: String,
}

/// A data directory with its settings file and the output of whoever runs on it.
pub struct Home {
    directory: TempDir,
    /// Where the data is when it is not beside the settings file.
    data_dir_elsewhere: Option<PathBuf>,
}

/// An answer over HTTP.
pub struct Reply {
    pub status: u16,
    pub text: String,
    /// The header of this name, in seconds.
    pub retry_after: Option<u64>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daybook"))
        .args(arguments)
        .output()
        .unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Looks until `found` answers something.
pub async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Home {
    pub fn new() -> Home {
        Home::with_settings("")
    }

    /// A home with more settings behind the usual ones.
    pub fn with_settings(more: &str) -> Home {
        let home = Home::empty();
        home.write_settings(more);
        home
    }

    /// A home whose data is elsewhere, for instance on a file system of its own.
    pub fn with_data_dir(data_dir: &Path, more: &str) -> Home {
        let mut home = Home::with_settings(more);
        home.data_dir_elsewhere = Some(data_dir.to_owned());
        home
    }

    fn empty() -> Home {
        Home {
            directory: tempfile::tempdir().unwrap(),
            data_dir_elsewhere: None,
        }
    }

    pub fn write_settings(&self, more: &str) {
        self.write_sources(&format!("sources: {{}}\n{more}"));
    }

    /// Settings whose section `sources` is in `sources_and_more`.
    pub fn write_sources(&self, sources_and_more: &str) {
        fs::write(
            self.settings_file(),
            format!("{LISTENERS}{sources_and_more}"),
        )
        .unwrap();
    }

    pub fn settings_file(&self) -> PathBuf {
        self.directory.path().join("daybook.yaml")
    }

    pub fn data_dir(&self) -> PathBuf {
        let beside = || self.directory.path().join("data");
        self.data_dir_elsewhere.clone().unwrap_or_else(beside)
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.directory.path().join("stdout")).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    /// The arguments that start a server here.
    pub fn serve(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybook"));
        command
            .arg("serve")
            .arg("--config")
            .arg(self.settings_file())
            .arg("--data-dir")
            .arg(self.data_dir());
        command
    }
}

impl Daybook {
    /// A server on a directory of its own, ready.
    pub async fn start() -> Daybook {
        Daybook::start_at(Home::new()).await
    }

    /// A server on this home, ready.
    pub async fn start_at(home: Home) -> Daybook {
        // What an earlier server left must not be taken for this one's.
        let listeners = home.data_dir().join("listeners.json");
        let _ = fs::remove_file(&listeners);
        let output = |name| File::create(home.directory.path().join(name)).unwrap();
        let child = home
            .serve()
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        let mut daybook = Daybook {
            child,
            home,
            client: reqwest::Client::new(),
            address: String::new(),
        };
        daybook.address = until("listeners.json", async || daybook.listener("http")).await;
        until("ready", async || {
            (daybook.get("/ready").await.status == 200).then_some(())
        })
        .await;
        daybook
    }

    /// The address of a listener, once it is told.
    pub fn listener(&self, name: &str) -> Option<String> {
        let text = fs::read(self.home.data_dir().join("listeners.json")).ok()?;
        let listeners: Value = serde_json::from_slice(&text).unwrap();
        Some(listeners[name].as_str()?.to_owned())
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.data_dir()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn get(&self, path: &str) -> Reply {
        let sent = self.client.get(self.url(path)).send().await;
        reply(sent).await
    }

    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let request = self.client.post(self.url(path)).body(body);
        let sent = request.header("content-type", content_type).send().await;
        reply(sent).await
    }

    /// A body that is compressed already.
    pub async fn post_gzip(&self, path: &str, content_type: &str, body: Vec<u8>) -> Reply {
        let request = self.client.post(self.url(path)).body(body);
        let request = request.header("content-type", content_type);
        reply(request.header("content-encoding", "gzip").send().await).await
    }

    /// A search, its body as it stands.
    pub async fn search(&self, target: &str, body: &str) -> Reply {
        let path = format!("/{target}/_search");
        self.post(&path, "application/json", body.to_owned()).await
    }

    /// How many documents a query in Lucene's syntax finds.
    pub async fn count(&self, target: &str, query: &str) -> u64 {
        let body = serde_json::json!({ "query": { "query_string": { "query": query } } });
        let path = format!("/{target}/_count");
        let reply = self.post(&path, "application/json", body.to_string()).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text);
        reply.json()["count"].as_u64().unwrap()
    }

    /// Makes everything accepted findable.
    pub async fn refresh(&self) {
        let reply = self.post("/_refresh", "application/json", "").await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a power switch would, and gives the home back.
    pub fn kill(mut self) -> Home {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.into_home()
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(mut self) -> (ExitStatus, Duration, Home) {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        let status = until("the end", async || self.child.try_wait().unwrap()).await;
        (status, asked.elapsed(), self.into_home())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn into_home(mut self) -> Home {
        std::mem::replace(&mut self.home, Home::empty())
    }
}

impl Drop for Daybook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("daybook's log:\n{}", self.home.stderr());
        }
    }
}

async fn reply(sent: reqwest::Result<reqwest::Response>) -> Reply {
    let response = sent.unwrap();
    let retry_after = response.headers().get("retry-after");
    Reply {
        status: response.status().as_u16(),
        retry_after: retry_after.and_then(|seconds| seconds.to_str().ok()?.parse().ok()),
        text: response.text().await.unwrap(),
    }
}

/// Every file below a directory, for tests that say what must not change.
pub fn file_names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
