//! Start, status, reload, stop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::net::TcpStream;

use crate::harness::{Daybook, Home, file_names, stderr, until};

/// What product.md promises for a stop.
const STOP_TIME: Duration = Duration::from_secs(10);

#[tokio::test]
async fn it_starts_tells_where_it_listens_and_stops() {
    let daybook = Daybook::start().await;
    assert_eq!(daybook.get("/health").await.status, 200);
    for name in ["http", "otlp_grpc", "otlp_http"] {
        let address = daybook.listener(name).unwrap();
        TcpStream::connect(&address).await.unwrap();
        assert!(
            daybook.home().stdout().contains(&address),
            "the start-up lines name {name}"
        );
    }
    assert!(daybook.home().stdout().lines().count() < 10);
    assert_eq!(
        std::fs::read_to_string(daybook.data_dir().join("format")).unwrap(),
        "1\n"
    );

    let (status, time, home) = daybook.stop().await;
    assert_eq!(status.code(), Some(0), "{}", home.stderr());
    assert!(time < STOP_TIME, "{time:?}");
    assert!(!file_names(&home.data_dir()).contains(&"listeners.json".to_owned()));
}

#[tokio::test]
async fn files_are_followed_wherever_the_data_directory_is_and_its_own_are_not() {
    let inputs = tempfile::tempdir().unwrap();
    std::fs::write(inputs.path().join("app.log"), "one line\n").unwrap();
    let own = inputs.path().join("of[1] daybook");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("own.log"), "a line of its own\n").unwrap();
    // As an operator names it who stands somewhere else.
    let here = std::env::current_dir().unwrap();
    let mut relative: PathBuf = here.components().skip(1).map(|_| "..").collect();
    relative.push(own.strip_prefix("/").unwrap());
    let home = Home::with_data_dir(&relative, "");
    home.write_sources(&format!(
        "sources: {{ lines: {{ type: file, include: [\"{}/**/*.log\"] }} }}\n",
        inputs.path().display()
    ));
    let daybook = Daybook::start_at(home).await;
    until("the line is found", async || {
        (daybook.count("*", "message:line").await > 0).then_some(())
    })
    .await;
    assert_eq!(daybook.count("*", "*").await, 1);
}

#[tokio::test]
async fn clients_that_hold_on_do_not_hold_up_a_stop() {
    let daybook = Daybook::start().await;
    let mut clients = Vec::new();
    for name in ["http", "otlp_grpc", "otlp_http"] {
        let mut silent = TcpStream::connect(daybook.listener(name).unwrap())
            .await
            .unwrap();
        let half_a_request = b"POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
        tokio::io::AsyncWriteExt::write_all(&mut silent, half_a_request)
            .await
            .unwrap();
        clients.push(silent);
    }
    let (status, time, _) = daybook.stop().await;
    assert_eq!(status.code(), Some(0));
    assert!(time < STOP_TIME, "{time:?}");
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused() {
    let daybook = Daybook::start().await;
    let second = daybook.home().serve().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = stderr(&second);
    let pid = format!("process {}", daybook.pid());
    assert!(
        told.contains("is in use by another daybook") && told.contains(&pid),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
    assert_eq!(
        daybook.get("/ready").await.status,
        200,
        "the first one goes on"
    );
    assert!(daybook.listener("http").is_some());
}

/// What the journal holds is noted twice at a start, by who opens it and by who indexes it; a source that was started
/// between the two went on from an older place and stored its lines again.
#[tokio::test]
async fn a_killed_process_reads_on_where_it_was_however_many_records_the_journal_holds() {
    let inputs = tempfile::tempdir().unwrap();
    let path = inputs.path().join("app.log");
    let mut home = Home::new();
    home.write_sources(&format!(
        "sources: {{ lines: {{ type: file, include: [\"{}\"] }} }}\n",
        path.display()
    ));
    let mut text = String::new();
    for round in 1..=3 {
        let daybook = Daybook::start_at(home).await;
        for _ in 0..5 {
            text.push_str(&format!("line of round {round}\n"));
            std::fs::write(&path, &text).unwrap();
            let lines = text.lines().count() as u64;
            until("the line is stored", async || {
                (daybook.count("*", "*").await >= lines).then_some(())
            })
            .await;
            assert_eq!(daybook.count("*", "*").await, lines);
        }
        home = daybook.kill();
    }
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_in_the_way() {
    let home = Daybook::start().await.kill();
    assert!(
        file_names(&home.data_dir()).contains(&"listeners.json".to_owned()),
        "as it was left"
    );
    let daybook = Daybook::start_at(home).await;
    assert_eq!(daybook.get("/ready").await.status, 200);
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_setting_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let home = Home::new();
    std::fs::write(
        home.settings_file(),
        format!(
            "listen: {{ http: 127.0.0.1:0, otlp_grpc: {address}, otlp_http: off }}\nsources: {{}}\n"
        ),
    )
    .unwrap();
    let ended = home.serve().output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = stderr(&ended);
    assert!(
        told.contains(&address.to_string()) && told.contains("listen.otlp_grpc"),
        "{told}"
    );
}

#[tokio::test]
async fn a_hang_up_reloads_the_settings_and_keeps_the_old_ones_when_the_new_are_wrong() {
    let daybook = Daybook::start().await;
    let log_says = async |text: &str| {
        until(text, async || {
            daybook.home().stderr().contains(text).then_some(())
        })
        .await;
    };
    daybook
        .home()
        .write_settings("telemetry: { log_level: loud=1=2 }\n");
    daybook.signal(Signal::HUP);
    log_says("the new settings are wrong, the old ones stay").await;
    assert_eq!(daybook.get("/ready").await.status, 200);

    daybook
        .home()
        .write_settings("limits: { query_time: 5s }\n");
    daybook.signal(Signal::HUP);
    log_says("come into force with a restart").await;

    daybook
        .home()
        .write_settings("telemetry: { log_level: 'info,daybook=debug' }\n");
    daybook.signal(Signal::HUP);
    log_says("settings reloaded").await;
    // Only at debug: a client that leaves in the middle of its request.
    until("a line at debug", async || {
        let half_a_request = b"GET / HTTP/1.1\r\nx";
        let mut client = TcpStream::connect(daybook.address()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut client, half_a_request)
            .await
            .unwrap();
        drop(client);
        daybook
            .home()
            .stderr()
            .contains("connection ended early")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_metric_is_well_formed_and_documented() {
    let daybook = Daybook::start().await;
    daybook.get("/nowhere").await;
    let metrics = daybook.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let documented = include_str!("../../dashboards/metrics.md");
    let mut names = BTreeSet::new();
    for line in metrics.text.lines() {
        if let Some(comment) = line.strip_prefix("# TYPE ") {
            names.insert(comment.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(
                series.starts_with("daybook_") || series.starts_with("process_"),
                "{line}"
            );
        }
    }
    assert!(names.contains("daybook_http_request_seconds"), "{names:?}");
    for name in names {
        assert!(
            documented.contains(&format!("`{name}`")),
            "dashboards/metrics.md lacks {name}"
        );
    }
}

#[tokio::test]
async fn thousands_of_idle_connections_are_nobodys_trouble() {
    const WANTED: u64 = 5_000;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    // On a machine that allows fewer files, as many as it allows; the server takes half of its own limit.
    let connections = limit.maximum.map_or(WANTED, |files| WANTED.min(files / 5));
    let daybook = Daybook::start().await;
    let mut idle = Vec::new();
    for _ in 0..connections {
        idle.push(TcpStream::connect(daybook.address()).await.unwrap());
    }
    until("all connections are open", async || {
        let metrics = daybook.get("/metrics").await.text;
        let name = "daybook_connections_open{listener=\"http\"} ";
        let open = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        (open.parse::<u64>().unwrap() >= connections).then_some(())
    })
    .await;
    let newcomer = reqwest::get(format!("http://{}/health", daybook.address()));
    let reply = tokio::time::timeout(Duration::from_secs(5), newcomer).await;
    assert_eq!(reply.unwrap().unwrap().status(), 200);
}
