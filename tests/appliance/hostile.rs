//! Input that means harm: bombs, stalled connections, names that are paths, queries that never end. One client's harm is its
//! own.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Daybook, Home, file_names};

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// What a bomb may cost.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// `mebibytes` of zeros, compressed to a thousandth.
fn gzip_bomb(mebibytes: usize) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let zeros = vec![b'0'; 1 << 20];
    let feeding = std::thread::spawn(move || {
        for _ in 0..mebibytes {
            std::io::Write::write_all(&mut input, &zeros).unwrap();
        }
    });
    let mut bomb = Vec::new();
    gzip.stdout.take().unwrap().read_to_end(&mut bomb).unwrap();
    feeding.join().unwrap();
    assert!(gzip.wait().unwrap().success());
    bomb
}

/// A figure of the process, in KiB.
fn memory_kib(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.unwrap().parse().unwrap()
}

/// How far memory rose above where it stood, at its peak.
async fn growth_kib(daybook: &Daybook, work: impl AsyncFnOnce()) -> u64 {
    // 5 sets the peak back to what is used now.
    fs::write(format!("/proc/{}/clear_refs", daybook.pid()), "5").unwrap();
    let before = memory_kib(daybook.pid(), "VmRSS:");
    work().await;
    memory_kib(daybook.pid(), "VmHWM:").saturating_sub(before)
}

async fn send_one(daybook: &Daybook) {
    let body = "{\"create\":{}}\n{\"message\":\"ordinary\"}\n";
    let reply = daybook.post("/logs/_bulk", NDJSON, body).await;
    assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);
}

#[tokio::test]
async fn gzip_bombs_are_refused_and_cost_little() {
    let bomb = gzip_bomb(1024);
    let daybook = Daybook::start().await;
    send_one(&daybook).await;
    for (path, content_type) in [
        ("/_bulk", NDJSON),
        ("/v1/logs", JSON),
        ("/v1/logs", "application/x-protobuf"),
    ] {
        let grown = growth_kib(&daybook, async || {
            let reply = daybook.post_gzip(path, content_type, bomb.clone()).await;
            assert_eq!(reply.status, 413, "{path}: {}", reply.text);
        })
        .await;
        eprintln!("{path} {content_type}: {grown} KiB more at the peak");
        assert!(grown < GROWTH_KIB_MAX, "{path}: {grown} KiB");
    }
    send_one(&daybook).await;
}

/// The middle of how long a search and a write take together.
async fn median_latency(daybook: &Daybook) -> Duration {
    let mut taken = Vec::new();
    for _ in 0..40 {
        let begun = Instant::now();
        send_one(daybook).await;
        daybook.count("logs", "ordinary").await;
        taken.push(begun.elapsed());
    }
    taken.sort();
    taken[taken.len() / 2]
}

/// A connection of another peer that begins a request and goes no further.
async fn stall(daybook: &Daybook, beginning: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let address = daybook.address().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    // Refused at the limit of connections is fine too; that is seen at the healthy client.
    let _ = stream.write_all(beginning.as_bytes()).await;
    stream
}

#[tokio::test]
async fn five_hundred_stalled_connections_do_not_slow_a_healthy_client() {
    let daybook = Daybook::start().await;
    send_one(&daybook).await;
    let alone = median_latency(&daybook).await;
    let mut stalled = Vec::new();
    for number in 0..500 {
        let beginning = match number % 4 {
            0 => "",
            1 => "POST /_bulk HT",
            2 => "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-nd",
            _ => "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n\r\n{\"create\"",
        };
        stalled.push(stall(&daybook, beginning).await);
    }
    let beside = median_latency(&daybook).await;
    eprintln!("alone {alone:?}, beside 500 stalled connections {beside:?}");
    assert!(
        beside < 5 * alone + Duration::from_millis(100),
        "alone {alone:?}, beside them {beside:?}"
    );
    // A client that begins now is served too.
    let newcomer = reqwest::get(format!("http://{}/ready", daybook.address()));
    assert_eq!(newcomer.await.unwrap().status(), 200);
}

/// Sends a request line as it stands; clients tidy paths before they send them.
async fn raw_status(daybook: &Daybook, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(daybook.address()).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {NDJSON}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The connection may be cut when the request line itself is malformed.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(400), answer)
}

/// Every path below a folder, sorted.
fn tree(folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for name in file_names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            let below = tree(&path);
            paths.extend(below.iter().map(|path| format!("{name}/{path}")));
        }
        paths.push(name);
    }
    paths.sort();
    paths
}

#[tokio::test]
async fn index_names_cannot_leave_the_data_directory() {
    let daybook = Daybook::start().await;
    send_one(&daybook).await;
    let long = "x".repeat(300);
    // Short enough for a name, and too long for the name of a folder once it is written in ASCII.
    let long_in_ascii = "ü".repeat(120);
    let names = [
        "../x",
        "..",
        ".",
        "../../x",
        "a/../../x",
        "/etc/x",
        "/tmp/x",
        "x/y",
        "a\\b",
        "..\\x",
        "x\0y",
        "\0",
        "%2e%2e/x",
        "/..%2f..",
        "x\ny",
        " ",
        "",
        "*",
        "a*",
        "-x",
        "_x",
        "+x",
        "Upper",
        "a,b",
        "a:b\"",
        "<x>",
        &long,
        &long_in_ascii,
    ];
    for name in names {
        let action = json!({ "create": { "_index": name } });
        let body = format!(
            "{action}\n{{\"message\":\"astray\"}}\n{{\"create\":{{\"_index\":\"good\"}}}}\n{{\"message\":\"neighbour\"}}\n"
        );
        let reply = daybook.post("/_bulk", NDJSON, body).await;
        // An empty name is a missing one, and that is the whole request's mistake.
        if reply.status != 400 {
            let items = &reply.json()["items"];
            assert_eq!(
                items[0]["create"]["status"],
                json!(400),
                "{name:?}: {items}"
            );
            assert_eq!(
                items[1]["create"]["status"],
                json!(201),
                "{name:?}: {items}"
            );
        }
    }
    for path in [
        "/../x/_bulk",
        "/../../x/_bulk",
        "/..%2f..%2fx/_bulk",
        "/..%2fx/_bulk",
        "/%2e%2e/_bulk",
        "/%2e%2e/x/_bulk",
        "/%2e%2e%2fx/_bulk",
        "/%2e/_bulk",
        "/%2fetc%2fx/_bulk",
        "/%2ftmp%2fx/_bulk",
        "//../x/_bulk",
        "/x%00y/_bulk",
        "/%00/_bulk",
        "/..%5cx/_bulk",
        "/x%0ay/_bulk",
        "/%ff%fe/_bulk",
        "/../x/_doc",
        "/%2e%2e%2fx/_doc",
        "/%2e%2e%2fx/_create/1",
    ] {
        let body = match path.ends_with("_bulk") {
            true => "{\"create\":{}}\n{\"message\":\"astray\"}\n",
            false => "{\"message\":\"astray\"}",
        };
        let (status, answer) = raw_status(&daybook, path, body).await;
        let is_refused = (400..500).contains(&status)
            || status == 200
                && answer.contains("\"status\":400")
                && answer.contains("\"errors\":true");
        assert!(is_refused, "{path}: {answer}");
    }
    daybook.refresh().await;
    assert_eq!(daybook.count("*", "astray").await, 0);

    let (status, _, home) = daybook.stop().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        file_names(home.settings_file().parent().unwrap()),
        ["data", "daybook.yaml", "stderr", "stdout"]
    );
    assert_eq!(file_names(&home.data_dir().join("logs")), ["good", "logs"]);
    let strange: Vec<String> = tree(&home.data_dir())
        .into_iter()
        .filter(|path| path.contains("..") || path.contains("x/") || path.contains("etc"))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    for outside in ["/etc/x", "/tmp/x"] {
        assert!(!Path::new(outside).exists(), "{outside}");
    }
}

/// A query in Lucene's syntax as a body.
fn lucene(query: impl Into<String>) -> String {
    json!({ "query": { "query_string": { "query": query.into() } } }).to_string()
}

/// Questions that cost far more to answer than to ask.
fn queries_of_death() -> Vec<(&'static str, String)> {
    let clauses = |clause: fn(usize) -> Value| (0..1000).map(clause).collect::<Vec<Value>>();
    let deep_query = format!(
        "{{\"query\":{}{{\"match_all\":{{}}}}{}}}",
        "{\"bool\":{\"must\":[".repeat(10_000),
        "]}}".repeat(10_000)
    );
    let deep_array = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let mut nested = json!({ "terms": { "field": "word", "size": 10_000 } });
    for depth in 0..8 {
        let field = ["word", "number"][depth % 2];
        nested =
            json!({ "terms": { "field": field, "size": 10_000 }, "aggs": { "below": nested } });
    }
    let very_nested = format!(
        "{{\"size\":0,\"aggs\":{{\"top\":{}{{\"max\":{{\"field\":\"number\"}}}}{}}}}}",
        "{\"terms\":{\"field\":\"number\"},\"aggs\":{\"below\":".repeat(5_000),
        "}}".repeat(5_000)
    );
    let wildcards = |number: usize| json!({ "wildcard": { "message": { "value": format!("*{number}*a*b*c*d*") } } });
    let regexps =
        |number: usize| json!({ "regexp": { "message": format!(".*(x+x+)+{number}y.*") } });
    vec![
        ("wildcards", json!({ "query": { "bool": { "should": clauses(wildcards) } } }).to_string()),
        ("regexps", json!({ "query": { "bool": { "should": clauses(regexps) } } }).to_string()),
        ("regexp", lucene("message:/(x+x+)+y/ OR message:/((a*)*)*b/ OR message:/(.*)*[0-9]{900}z/")),
        ("large regexp", lucene("message:/(((a{1,100}){1,100}){1,100}){1,100}/")),
        ("prefixed wildcards", lucene((0..1000).map(|n| format!("*{n}*")).collect::<Vec<_>>().join(" OR "))),
        ("nested terms", json!({ "size": 0, "aggs": { "top": nested } }).to_string()),
        ("very nested terms", very_nested),
        ("many buckets", json!({ "size": 0, "aggs": { "t": { "date_histogram": { "field": "@timestamp", "fixed_interval": "1ms", "min_doc_count": 0, "extended_bounds": { "min": 0, "max": 1_800_000_000_000u64 } } } } }).to_string()),
        ("many numbers", json!({ "size": 0, "aggs": { "t": { "histogram": { "field": "number", "interval": 1e-9, "min_doc_count": 0 } } } }).to_string()),
        ("deep query", deep_query),
        ("deep array", format!("{{\"query\":{{\"terms\":{{\"number\":{deep_array}}}}}}}")),
        ("deep parentheses", lucene(format!("{}x{}", "(".repeat(10_000), ")".repeat(10_000)))),
        ("many negations", lucene(format!("{}x", "NOT ".repeat(100_000)))),
        ("long query", lucene("word ".repeat(400_000))),
        ("long word", lucene("w".repeat(2_000_000))),
        ("long phrase", lucene(format!("message:\"{}\"", "common ".repeat(100_000)))),
        ("long phrase of different words", lucene(format!("message:\"{}\"", (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")))),
        ("fuzzy", lucene("message:somewhat~2 OR message:commonn~99999")),
        ("many terms", json!({ "query": { "terms": { "number": (0..60_000).collect::<Vec<u32>>() } } }).to_string()),
        ("all hits", json!({ "size": 2_000_000_000 }).to_string()),
        ("far page", json!({ "from": 2_000_000_000, "size": 10_000 }).to_string()),
        ("wide highlight", json!({ "size": 10_000, "query": { "query_string": { "query": "*o*" } }, "highlight": { "fields": { "*": {} } } }).to_string()),
    ]
}

async fn fill(daybook: &Daybook) {
    for batch in 0..10 {
        let items = (0..1000).map(|at| {
            let number = batch * 1000 + at;
            let document = json!({
                "number": number,
                "word": format!("word{}", number % 977),
                "message": format!("common words {number} {} and {}", "x".repeat(30), "aab ".repeat(10)),
            });
            format!("{{\"create\":{{}}}}\n{document}\n")
        });
        let reply = daybook
            .post("/logs/_bulk", NDJSON, items.collect::<String>())
            .await;
        assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);
    }
    daybook.refresh().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_death_end_within_their_limit() {
    // The limit is a second; a debug build on a busy machine may be late between two looks at the clock.
    let slack = Duration::from_secs(5);
    let daybook = Daybook::start_at(Home::with_settings("limits: { query_time: 1s }\n")).await;
    fill(&daybook).await;
    let mut problems = Vec::new();
    for (name, body) in queries_of_death() {
        let begun = Instant::now();
        let reply = daybook.search("logs", &body).await;
        let taken = begun.elapsed();
        let shown: String = reply.text.chars().take(300).collect();
        eprintln!(
            "{name}: {} after {taken:?}: {}",
            reply.status,
            shown.chars().take(160).collect::<String>()
        );
        if taken > Duration::from_secs(1) + slack {
            problems.push(format!("{name} took {taken:?}: {shown}"));
        }
        match reply.status {
            200 => {
                let answer = reply.json();
                // What is partial is said to be so; what is late is partial.
                if taken > Duration::from_secs(1) + slack / 2 && answer["timed_out"] == json!(false)
                {
                    problems.push(format!("{name} is late and says nothing: {shown}"));
                }
            }
            400..500 => {
                let reason = &reply.json()["error"]["reason"];
                if reason.as_str().is_none_or(str::is_empty) {
                    problems.push(format!("{name} is refused without a reason: {shown}"));
                }
            }
            status => problems.push(format!("{name}: {status} {shown}")),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(daybook.count("logs", "common").await, 10_000);
    let log = daybook.home().stderr();
    assert!(!log.contains("panicked"), "{log}");
}
