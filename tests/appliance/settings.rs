//! `daybook config`, and usage.

use crate::harness::{Home, run, stderr, stdout};

fn check(settings: &str) -> (Option<i32>, String, String) {
    let home = Home::new();
    std::fs::write(home.settings_file(), settings).unwrap();
    let path = home.settings_file().display().to_string();
    let output = run(&["config", "check", &path]);
    let told = stderr(&output).replace(&path, "FILE");
    let said = stdout(&output).replace(&path, "FILE");
    (output.status.code(), said, told)
}

#[test]
fn every_mistake_is_told_in_one_line_with_its_place() {
    let (code, said, told) = check("listen:\n  htpp: 127.0.0.1:1\nlimits: { memory: lots }\n");
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert_eq!(
        told,
        "daybook: FILE:2:3: listen.htpp: unknown key; did you mean \"http\"?\n\
         daybook: FILE:3:19: limits.memory: \"lots\" is no size; write for instance 512MiB, 1GB or 4096\n"
    );
}

#[test]
fn the_tests_of_pipelines_are_run() {
    let pipeline = |expected: u32| {
        format!(
            "pipelines:\n  a:\n    steps: [ {{ json: {{ field: message }} }} ]\n    tests:\n      \
             - {{ input: {{ message: '{{\"status\":200}}' }}, expect: {{ status: {expected} }} }}\n"
        )
    };
    assert_eq!(
        check(&pipeline(200)),
        (Some(0), "FILE: fine\n".to_owned(), String::new())
    );
    let (code, _, told) = check(&pipeline(404));
    assert_eq!(code, Some(1));
    assert!(
        told.contains(":5:9: pipeline a, test 1") && told.contains("404"),
        "{told}"
    );
}

#[test]
fn what_is_not_built_yet_is_told() {
    let (code, said, told) = check("rules: [ \"rules/*.yaml\" ]\n");
    assert_eq!((code, said.as_str()), (Some(0), "FILE: fine\n"));
    assert_eq!(told, "daybook: note: rules: not built yet, ignored\n");
}

#[test]
fn the_settings_in_force_are_printed_without_secrets() {
    let home = Home::with_settings(
        "telemetry: { otlp: { endpoint: 'http://127.0.0.1:4318', headers: { authorization: hunter2 } } }\n",
    );
    let path = home.settings_file().display().to_string();
    let printed = stdout(&run(&["config", "print", "--config", &path]));
    assert!(
        printed.contains("authorization: \"***\"") || printed.contains("authorization: '***'"),
        "{printed}"
    );
    assert!(!printed.contains("hunter2"));
    assert!(
        printed.contains("query_time: 30s"),
        "defaults are shown too: {printed}"
    );
}

#[test]
fn a_missing_file_and_wrong_usage_are_told_apart() {
    let output = run(&["config", "check", "/nonexistent/daybook.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot read the settings file /nonexistent/daybook.yaml"));
    for arguments in [&["sreve"][..], &["search", "--since", "soon"], &["check"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(stdout(&version).starts_with("daybook 0."));
}

#[test]
fn searching_without_a_server_says_so() {
    let home = Home::new();
    let data_dir = home.data_dir().display().to_string();
    let output = run(&["search", "error", "--data-dir", &data_dir]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no daybook runs on"),
        "{}",
        stderr(&output)
    );
}
