//! The appliance as a process of its own, for the benches that send to it over the network.

#![allow(dead_code, reason = "not every bench asks for all of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A running daybook.
pub struct Server {
    child: Child,
    listeners: Value,
    /// For requests to it.
    pub client: reqwest::Client,
    /// Where its data lies.
    pub data_dir: PathBuf,
}

impl Server {
    /// Starts it with its data and settings in `dir`, and waits until it is ready and idle. `listeners` beside `http` and
    /// `sources` are YAML; `DAYBOOK_BENCH_CORE` is the only core it may use.
    pub async fn start(dir: &Path, listeners: &str, sources: &str) -> Server {
        let settings = dir.join("daybook.yaml");
        let text = format!(
            "data_dir: {}\nlisten: {{ http: 127.0.0.1:0, otlp_grpc: off, otlp_http: off, {listeners} }}\nsources: {sources}\nindices: {{ default: {{ retention: 100000d }} }}\n",
            dir.display()
        );
        std::fs::write(&settings, text).unwrap();
        let binary = env!("CARGO_BIN_EXE_daybook");
        let mut command = match std::env::var("DAYBOOK_BENCH_CORE") {
            Ok(core) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["--cpu-list", &core, binary]);
                pinned
            }
            Err(_) => Command::new(binary),
        };
        let child = command
            .args(["serve", "--config"])
            .arg(&settings)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server {
            child,
            listeners: Value::Null,
            client: reqwest::Client::new(),
            data_dir: dir.to_owned(),
        };
        while !server.is_ready(dir).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        server
    }

    async fn is_ready(&mut self, dir: &Path) -> bool {
        let text = std::fs::read(dir.join("listeners.json")).unwrap_or_default();
        let Ok(listeners) = serde_json::from_slice(&text) else {
            return false;
        };
        self.listeners = listeners;
        let asked = self.client.get(self.url("/ready")).send().await;
        asked.is_ok_and(|reply| reply.status().is_success())
    }

    /// Where a listener is.
    pub fn address(&self, name: &str) -> String {
        self.listeners[name].as_str().unwrap().to_owned()
    }

    /// A path of the listener `http`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address("http"))
    }

    /// What it has computed so far, in user and system time.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
        // Linux counts in hundredths of a second.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// A figure of `/proc/PID/status`, in MB.
    pub fn megabytes(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<f64>().unwrap() * 1024.0 / 1e6
    }

    /// Ends it as a service manager does.
    pub fn stop(mut self) {
        Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        self.child.wait().unwrap();
    }
}
