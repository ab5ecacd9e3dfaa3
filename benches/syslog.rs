//! Syslog through the whole appliance: messages over loopback until the journal has made them durable.
//!
//! `cargo bench --bench syslog`. Over TCP as fast as they are taken; over UDP at a fixed rate, with what was lost. Prints
//! a table; asserts nothing. The sender's own CPU competes with the server for the cores.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;

const TCP_MESSAGES: u64 = 600_000;
const UDP_SECONDS: u64 = 10;
const UDP_RATES: [u64; 3] = [20_000, 40_000, 60_000];

mod server;

use server::Server;

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let listeners = "syslog_udp: 127.0.0.1:0, syslog_tcp: 127.0.0.1:0";
    let server = Server::start(dir.path(), listeners, "{ syslog: { type: syslog } }").await;
    for connections in [1, 4] {
        server.tcp(connections).await;
        server.settle().await;
    }
    for rate in UDP_RATES {
        server.udp(rate).await;
        server.settle().await;
    }
    server.stop();
}

fn message(n: u64) -> String {
    format!(
        "<13>1 2026-11-23T10:00:00.{:06}Z web-1 shop 4242 ID47 [meta@32473 sequence=\"{n}\"] GET /shop/item/{n}?ref=list took {} ms, status 200, cache hit",
        n % 1_000_000,
        n * 31 % 900,
    )
}

impl Server {
    /// Sends as fast as the messages are taken.
    async fn tcp(&self, connections: u64) {
        let before = self.count("accepted").await;
        let cpu_before = self.cpu_seconds();
        let started = Instant::now();
        let senders: Vec<_> = (0..connections)
            .map(|_| {
                let address = self.address("syslog_tcp");
                std::thread::spawn(move || {
                    let mut stream = std::io::BufWriter::new(TcpStream::connect(address).unwrap());
                    for n in 0..TCP_MESSAGES / connections {
                        let message = message(n);
                        write!(stream, "{} {message}", message.len()).unwrap();
                    }
                    stream.flush().unwrap();
                })
            })
            .collect();
        let wanted = before + TCP_MESSAGES / connections * connections;
        while self.count("accepted").await < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let seconds = started.elapsed().as_secs_f64();
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        println!(
            "tcp, {connections} connections: {:.0} messages/s durable, server CPU {:.1} us a message",
            TCP_MESSAGES as f64 / seconds,
            (self.cpu_seconds() - cpu_before) * 1e6 / TCP_MESSAGES as f64
        );
    }

    /// Sends at a fixed rate, in bursts of a millisecond.
    async fn udp(&self, rate: u64) {
        let before = self.count("accepted").await;
        let lost_before = self.count("dropped").await;
        let cpu_before = self.cpu_seconds();
        let address = self.address("syslog_udp");
        let total = rate * UDP_SECONDS;
        let sender = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let started = Instant::now();
            let mut sent = 0;
            while sent < total {
                let due = started.elapsed().as_millis() as u64 * rate / 1000;
                while sent < due.min(total) {
                    socket.send_to(message(sent).as_bytes(), &address).unwrap();
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            started.elapsed().as_secs_f64()
        });
        let seconds = tokio::task::spawn_blocking(move || sender.join().unwrap())
            .await
            .unwrap();
        // The kernel's count is read once a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (accepted, lost) = (
            self.count("accepted").await - before,
            self.count("dropped").await - lost_before,
        );
        println!(
            "udp, {:.0} messages/s: {accepted} of {total} durable, {lost} counted as lost, server CPU {:.1} us a message",
            total as f64 / seconds,
            (self.cpu_seconds() - cpu_before) * 1e6 / total as f64
        );
    }

    /// Waits until the index has everything.
    async fn settle(&self) {
        while self.count("in_flight").await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A number of the source's books; of a map the sum.
    async fn count(&self, name: &str) -> u64 {
        let url = self.url("/api/daybook/v1/ledger");
        let reply = self.client.get(url).send().await.unwrap();
        let ledger: Value = reply.json().await.unwrap();
        let sources = ledger["sources"].as_array().unwrap();
        let syslog = sources.iter().find(|source| source["source"] == "syslog");
        match syslog.map(|source| &source[name]) {
            Some(Value::Object(reasons)) => reasons.values().filter_map(Value::as_u64).sum(),
            Some(number) => number.as_u64().unwrap_or(0),
            None => 0,
        }
    }
}
