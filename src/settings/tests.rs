//! Settings files as operators write them, right and wrong.

use super::*;

fn parse(text: &str) -> Result<Loaded, Vec<String>> {
    let environment = HashMap::from([("PORT".to_owned(), "9999".to_owned())]);
    Settings::parse(text, &environment)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text).expect_err("the settings are wrong")
}

#[test]
fn the_settings_file_we_ship_holds_the_defaults() {
    let text = include_str!("../../config/daybook.yaml");
    let loaded = parse(text).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.notices, Vec::<String>::new());
    for key in [
        "data_dir",
        "listen",
        "limits",
        "journal",
        "sources",
        "pipelines",
        "indices",
        "telemetry",
    ] {
        assert!(text.contains(&format!("\n{key}:")), "{key} is not shown");
    }
}

#[test]
fn what_is_printed_is_read_back_and_an_empty_file_means_the_defaults() {
    let printed = to_yaml(&Settings::default());
    assert_eq!(parse(&printed).unwrap().settings, Settings::default());
    for empty in ["", "# nothing\n", "---\n", "{}"] {
        assert_eq!(
            parse(empty).unwrap().settings,
            Settings::default(),
            "{empty:?}"
        );
    }
}

#[test]
fn an_operators_file_is_read() {
    let settings = parse(
        r#"
data_dir: /srv/daybook
listen: { http: "127.0.0.1:${PORT}", otlp_grpc: off, otlp_http: "127.0.0.1:${NONE:-4000}", elasticsearch: [127.0.0.1:9200, "[::1]:9200"] }
limits: { memory: 2GiB, query_time: 1m30s }
sources:
  nginx: { type: file, include: ["/var/log/nginx/access.log"], pipeline: nginx_access, index: nginx }
pipelines:
  nginx_access:
    steps:
      - grok: { field: message, pattern: "%{COMBINEDAPACHELOG}" }
indices:
  "audit-*": { retention: 365d }
  debug: { retention: off, exact: [client.ip, trace.id] }
"#,
    )
    .unwrap()
    .settings;
    assert_eq!(settings.listen[&Service::Http][0].port(), 9999);
    assert_eq!(settings.listen[&Service::OtlpHttp][0].port(), 4000);
    assert_eq!(settings.listen[&Service::Elasticsearch].len(), 2);
    assert!(!settings.listen.contains_key(&Service::OtlpGrpc));
    assert_eq!(settings.limits.memory, ByteSize::gib(2));
    assert_eq!(settings.limits.disk, ByteSize::gib(50));
    assert_eq!(settings.limits.query_time, Duration::from_secs(90));
    assert_eq!(settings.sources["nginx"].pipeline(), Some("nginx_access"));
    assert_eq!(settings.sources.len(), 1, "the default source is replaced");
    assert_eq!(settings.indices["debug"].retention, None);
    assert_eq!(settings.indices["debug"].exact, ["client.ip", "trace.id"]);
    assert_eq!(settings.indices["default"], IndexSettings::default());
    assert_eq!(parse(&to_yaml(&settings)).unwrap().settings, settings);
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let told = mistakes(
        r#"
lisen: {}
limits:
  memory: 1XB
  query_time: soon
  disc: 50GiB
sources:
  a: { type: fiel, include: ["/x"] }
  b: { type: file, includes: ["/x"] }
  c: { type: file, include: ["var/log/x"], pipeline: ngnix, index: Big }
pipelines:
  nginx:
    steps:
      - grk: {}
      - json: { feild: message }
indices:
  "Audit*": { retention: 5 }
telemetry: { log_level: loud=5=6 }
"#,
    );
    let expected = [
        "2:1: lisen: unknown key; did you mean \"listen\"?",
        "4:11: limits.memory: \"1XB\" is no size; write for instance 512MiB, 1GB or 4096",
        "5:15: limits.query_time: \"soon\" is no duration; write for instance 30s, 1h30m or 7d",
        "6:3: limits.disc: unknown key; did you mean \"disk\"?",
        "8:14: sources.a.type: unknown type \"fiel\"; did you mean \"file\"?",
        "9:20: sources.b: unknown key \"includes\"; did you mean \"include\"?",
        "10:30: sources.c.include: path pattern \"var/log/x\" is not absolute; write for instance /var/log/*.log",
        "10:54: sources.c.pipeline: there is no pipeline \"ngnix\"; did you mean \"nginx\"?",
        "10:68: sources.c.index: invalid index name [Big], must be lowercase",
        "14:9: pipelines.nginx.steps[1]: unknown name \"grk\"; did you mean \"grok\"?",
        "15:17: pipelines.nginx.steps[2]: unknown key \"feild\"; did you mean \"field\"?",
        "17:3: indices.Audit*: no index can have such a name: must be lowercase; write for instance audit-*",
        "17:26: indices.Audit*.retention: \"5\" is no duration; write for instance 30s, 1h30m or 7d",
    ];
    assert_eq!(told[..expected.len()], expected);
    assert!(
        told[expected.len()].starts_with("18:25: telemetry.log_level: \"loud=5=6\" is no level")
    );
    assert_eq!(told.len(), expected.len() + 1);
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    for (text, beginning) in [
        ("limits: {memory: 1GiB", "1:"),
        ("a: b: c", "1:"),
        ("limits: {}\nlimits: {}\n", "2:1: "),
        (
            "data_dir: ${NOWHERE}\n",
            "1:11: the environment variable NOWHERE is not set",
        ),
        ("- a\n", "1:1: expected a mapping"),
    ] {
        let told = mistakes(text);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with(beginning), "{text:?}: {told:?}");
        assert!(!told[0].contains('\n'), "{told:?}");
    }
}

#[test]
fn what_comes_later_is_accepted_with_a_notice_or_refused_but_never_silently() {
    let loaded = parse(
        r#"
listen: { prometheus: 127.0.0.1:9090, loki: off, http: 0.0.0.0:8365 }
sources:
  api: { type: scrape }
metrics: { retention: 90d, scrape_configs: [ ] }
rules: [ "rules/*.yaml" ]
alerting: { }
"#,
    )
    .unwrap();
    let beginnings = [
        "listen.http: 0.0.0.0:8365 is reachable from other machines",
        "listen.prometheus: not built yet, ignored",
        "sources.api: type scrape is not built yet, ignored",
        "metrics: not built yet, ignored",
        "rules: not built yet, ignored",
        "alerting: not built yet, ignored",
    ];
    assert_eq!(
        loaded.notices.len(),
        beginnings.len(),
        "{:?}",
        loaded.notices
    );
    for (notice, beginning) in loaded.notices.iter().zip(beginnings) {
        assert!(notice.starts_with(beginning), "{notice}");
    }
    assert!(loaded.settings.sources.is_empty());

    let told = mistakes("journal: { kafka: { brokers: x }, fsync: never }\n");
    assert!(told[0].contains("journal.kafka: not built yet"), "{told:?}");
    assert!(told[1].contains("the only choice is always"), "{told:?}");
}

#[test]
fn pipelines_may_lead_to_each_other_and_to_shipped_ones() {
    let loaded = parse(
        "pipelines: { a: { on_error: dead_letter, steps: [ { route: { pipeline: b } } ] }, \
         b: { steps: [ { route: { pipeline: nginx_access, index: web }, when: { field: x, exists: true } } ] } }\n\
         sources: { f: { type: file, include: [/x], pipeline: redis }, g: { type: file, include: [/y], pipeline: none }, \
         h: { type: http, pipeline: a }, s: { type: splunk_hec, tokens: [hunter2] } }\n",
    )
    .unwrap();
    assert!(loaded.settings.library().pipeline("a").is_ok());
    let printed = to_yaml(&loaded.settings);
    assert!(!printed.contains("hunter2"), "{printed}");
    let again = parse(
        &printed
            .replace("\"***\"", "hunter2")
            .replace("'***'", "hunter2"),
    )
    .unwrap();
    assert_eq!(again.settings, loaded.settings, "{printed}");

    for (text, part) in [
        (
            "pipelines: { a: { steps: [ { route: { pipeline: a } } ] } }",
            "pipelines.a.steps[1]: pipeline a, step 1 (route): pipeline a leads back to itself",
        ),
        (
            "pipelines: { a: { steps: [ { route: { pipeline: redi } } ] } }",
            "there is no pipeline \"redi\"",
        ),
        (
            "pipelines: { none: { steps: [] } }",
            "means something else already",
        ),
        (
            "sources: { f: { type: file, include: [/x], pipeline: redi } }",
            "did you mean \"redis\"",
        ),
        (
            "sources: { a: { type: http }, b: { type: http } }",
            "there is a source of type http already",
        ),
        (
            "sources: { a: { type: host }, b: { type: host } }",
            "only one can read the machine",
        ),
        (
            "sources: { a: { type: host, interval: soon } }",
            "\"soon\" is no duration",
        ),
        (
            "pipelines: { a: { steps: [ { vrl: '.x = ' } ] } }",
            "step 1 (vrl): line 1, column",
        ),
        (
            "pipelines: { a: { steps: [ { gork: {} } ] } }",
            "did you mean \"grok\"",
        ),
        (
            "pipelines:\n  a:\n    steps:\n      - json\n      - redact: {}\n",
            "5:9: pipelines.a.steps[2]: pipeline a, step 2 (redact): nothing to look for",
        ),
        (
            "pipelines: { a: { steps: [ { grok: '%{IP:ip}' } ] } }",
            "expected settings, for instance { field: ... }, found \"%{IP:ip}\"; known are field, pattern, patterns, definitions",
        ),
        (
            "pipelines: { a: { steps: [ { sample: { rate: 0.1 } } ] } }",
            "expected a whole number, found the number 0.1",
        ),
        (
            "sources: { f: { type: file, include: [/x], pipeline: [redis, nginxaccess] } }",
            "there is no pipeline \"nginxaccess\"; did you mean \"nginx_access\"?",
        ),
        (
            "sources: { f: { type: file, include: [/x], pipeline: [redis, none] } }",
            "none stands alone",
        ),
        (
            "sources: { f: { type: file, include: [/x], pipeline: { a: b } } }",
            "expected the name of a pipeline, or a list of names, found a mapping",
        ),
        (
            "sources: { f: { type: file, include: [/x], index: 'a-%{+YYYY.MM.dd}' } }",
            "days are made by themselves",
        ),
        (
            "sources: { f: { type: filebeat } }",
            "unknown type \"filebeat\"; write type: beats",
        ),
        (
            "pipelines: { a: { on_error: panic } }",
            "known are keep, dead_letter",
        ),
    ] {
        let told = mistakes(&format!("{text}\n"));
        assert!(told[0].contains(part), "{text}: {told:?}");
    }
}

#[test]
fn what_people_write_shortly_is_understood() {
    let text = "sources: { f: { type: file, include: /var/log/shop.log }, s: { type: syslog, listen: syslog_udp } }\npipelines: { p: { steps: [json, remove: a, dedup: { fields: message }] } }\n";
    let settings = parse(text).unwrap().settings;
    let long = "sources: { f: { type: file, include: [/var/log/shop.log] }, s: { type: syslog, listen: [syslog_udp] } }\npipelines: { p: { steps: [json: {}, remove: [a], dedup: { fields: [message] }] } }\n";
    assert_eq!(settings, parse(long).unwrap().settings);
    let several = "sources: { f: { type: file, include: [/x], pipeline: [nginx_access, p] } }\npipelines: { p: { steps: [json] } }\n";
    let settings = parse(several).unwrap().settings;
    assert_eq!(settings.sources["f"].pipeline(), Some("nginx_access,p"));
    assert_eq!(parse(&to_yaml(&settings)).unwrap().settings, settings);
    let told = mistakes("sources: { o: { type: elasticsearch } }");
    assert!(told[0].contains("write type: elastic_bulk"), "{told:?}");
    let loaded = parse("pipelines:\n  p:\n    tests:\n      - { input: a }\n").unwrap();
    assert_eq!(loaded.test_places["p"][0].line, 4);
}

#[test]
fn a_listener_and_its_source_find_each_other() {
    let loaded = parse(
        r#"
listen: { syslog_udp: off, syslog_tcp: 127.0.0.1:1514, syslog_tls: 127.0.0.1:1515 }
sources:
  old: { type: syslog, listen: [syslog_udp] }
  new: { type: syslog, listen: [syslog_tcp], timezone: Europe/Berlin }
"#,
    )
    .unwrap();
    assert_eq!(
        loaded.notices,
        [
            "listen.syslog_tls: no source takes from it, so it stays closed; add syslog_tls to the listen of a source",
            "sources.old.listen: syslog_udp is off, so nothing comes in",
        ]
    );
    assert!(loaded.settings.has_source_at(Service::SyslogTcp));
    assert!(!loaded.settings.has_source_at(Service::SyslogTls));
    assert_eq!(
        parse(&to_yaml(&loaded.settings)).unwrap().settings,
        loaded.settings
    );

    let with_tls = "sources: { a: { type: syslog, tls: { certificate: /c, key: /k } } }";
    let settings = parse(with_tls).unwrap().settings;
    assert_eq!(
        settings.sources["a"].listeners(),
        ["syslog_udp", "syslog_tcp", "syslog_tls"]
    );

    let told = mistakes(
        r#"
sources:
  a: { type: syslog, timezone: Mars/North }
  b: { type: syslog, listen: [syslog_tls] }
  c: { type: syslog, listen: [http] }
"#,
    );
    assert!(
        told.iter()
            .any(|told| told.contains("sources.a.timezone: unknown timezone")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|told| told.contains("sources.b.tls: syslog_tls needs a certificate")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|told| told.contains("\"http\" is no listener for syslog")),
        "{told:?}"
    );
    let twice =
        mistakes("sources: { a: { type: syslog }, b: { type: syslog, listen: [syslog_udp] } }");
    assert!(
        twice[0].ends_with("syslog_udp is taken by sources.a already"),
        "{twice:?}"
    );
}

#[test]
fn a_docker_source_is_read_and_its_mistakes_are_told() {
    let text = "sources:\n  apps: { type: docker, include: { containers: [\"web-*\"] }, exclude: { labels: [\"logs=no\"] } }\n";
    let settings = parse(text).unwrap().settings;
    let Source::Docker(docker) = &settings.sources["apps"] else {
        panic!("apps is a docker source")
    };
    assert_eq!(docker.include.containers, ["web-*"]);
    assert_eq!(parse(&to_yaml(&settings)).unwrap().settings, settings);
    for (entry, problem) in [
        (
            "socket: docker.sock",
            "socket \"docker.sock\" is not absolute",
        ),
        ("include: { names: [a] }", "unknown key \"names\""),
        ("include: { labels: [\"a=\"] }", "a pattern is empty"),
        ("pipeline: absent", "there is no pipeline"),
    ] {
        let told = mistakes(&format!("sources: {{ a: {{ type: docker, {entry} }} }}"));
        assert!(told[0].contains(problem), "{told:?}");
    }
}

#[test]
fn secrets_are_printed_as_stars() {
    let settings = parse(
        "telemetry: { otlp: { endpoint: http://127.0.0.1:4318/, headers: { authorization: Bearer hunter2 } } }",
    )
    .unwrap()
    .settings;
    let otlp = settings.telemetry.otlp.clone().unwrap();
    assert_eq!(otlp.headers["authorization"].expose(), "Bearer hunter2");
    assert_eq!(otlp.endpoint, "http://127.0.0.1:4318");
    let printed = to_yaml(&settings);
    assert!(
        printed.contains("***") && !printed.contains("hunter2"),
        "{printed}"
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn a_reload_tells_what_needs_a_restart() {
    let old = Settings::default();
    let mut new = Settings::default();
    new.telemetry.log_level = "debug".to_owned();
    new.indices.insert("a".to_owned(), IndexSettings::default());
    assert_eq!(old.restart_needed_for(&new), Vec::<&str>::new());
    new.limits.memory = ByteSize::gib(2);
    new.listen.clear();
    let exact = vec!["trace.id".to_owned()];
    new.indices.entry("b".to_owned()).or_default().exact = exact;
    assert_eq!(
        old.restart_needed_for(&new),
        ["listen", "limits", "indices (exact)"]
    );
}

proptest::proptest! {
    /// Whatever stands in the file, reading it ends with settings or with mistakes.
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z_]{0,8}[:\\-\\[\\]{}, \n\"'&*!|>%@#]{0,3}){0,20}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_value_under_a_known_key_is_read_or_refused(
        section in "(listen|limits|journal|sources|pipelines|indices|telemetry|rules)",
        key in "(http|memory|a|default|otlp|kafka)",
        value in "([a-z0-9.:/*${}\\[\\]\"-]| ){0,24}",
    ) {
        let _ = parse(&format!("{section}: {{ {key}: {value} }}"));
        let _ = parse(&format!("{section}:\n  {key}: {{ type: {value}, steps: [{value}], retention: {value} }}"));
    }
}
