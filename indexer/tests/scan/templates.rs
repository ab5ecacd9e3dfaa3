//! What programs print: templates of our own, and what is filled in for their variables.

use event::Timestamp;

use super::random::Random;

/// Service, level and message of one line of code.
pub const TEMPLATES: [(&str, &str, &str); 44] = [
    (
        "gateway",
        "info",
        "{ip} - {user} [{time}] \"{method} {path} HTTP/1.1\" {status} {int} \"{url}\" {float}",
    ),
    (
        "gateway",
        "info",
        "upstream {host}:{port} answered {status} in {ms} for {path}",
    ),
    (
        "gateway",
        "warn",
        "rate limit of {int} req/s reached by {ip6}, key={hex}",
    ),
    (
        "gateway",
        "error",
        "connect to {ip}:{port} failed (111: Connection refused) while reading upstream, request: {quoted}",
    ),
    (
        "gateway",
        "debug",
        "TLS handshake with [{ip6}]:{port} done, cipher=TLS_AES_{int}_GCM, resumed={bool}",
    ),
    (
        "login",
        "info",
        "User {user} signed in from {ip} via {word}",
    ),
    (
        "login",
        "warn",
        "Failed password for {user} from {ip} port {port} ssh2",
    ),
    ("login", "warn", "invalid token {hex64} for session {uuid}"),
    (
        "login",
        "info",
        "Passwort geändert: Benutzer={user}, Größe={int}",
    ),
    (
        "login",
        "error",
        "policy denied: principal=\"{email}\" action=\"{word}:{word}\" resource=\"arn:db:{int}:{path}\"",
    ),
    (
        "store",
        "debug",
        "block blk_-{big} of {int} bytes written to {host}:{port}:{path}",
    ),
    (
        "store",
        "info",
        "Compaction {uuid} done: {int} files, {float} MB -> {float} MB ({percent})",
    ),
    ("store", "warn", "slow query ({ms}): {sql}"),
    (
        "store",
        "error",
        "checksum mismatch at 0x{hex}: expected {hex}, found {hex}",
    ),
    (
        "store",
        "error",
        "no space left on device: {path} (needs {int} KiB)",
    ),
    (
        "store",
        "info",
        "checkpoint complete: wrote {int} buffers ({percent}); {int} WAL file(s) added, {int} removed",
    ),
    (
        "queue",
        "info",
        "consumer {user}-{int} joined group {word}.{word} generation {int}",
    ),
    (
        "queue",
        "info",
        "[topic={word}-{word}, partition={int}] offset {big} committed",
    ),
    (
        "queue",
        "warn",
        "lag of {int} messages on {word}/{int}; last seen {time}",
    ),
    ("queue", "debug", "payload {json}"),
    (
        "queue",
        "error",
        "cannot decode record: {json} at offset {big}",
    ),
    (
        "shop",
        "info",
        "order {int} placed by {email}: {int} x \"{quoted}\" for {float} EUR",
    ),
    (
        "shop",
        "info",
        "event={word} user={user} cart={uuid} total={float} coupon='{word}'",
    ),
    (
        "shop",
        "warn",
        "payment {uuid} retried {int}/{int} after {ms}",
    ),
    (
        "shop",
        "error",
        "Unhandled exception in {word}Controller.{word}\n{stack}",
    ),
    ("shop", "error", "{stack}"),
    (
        "shop",
        "debug",
        "cache MISS key={word}:{int}:{hex} ttl={int}s",
    ),
    (
        "mail",
        "info",
        "{hex}: to=<{email}>, relay={host}[{ip}]:25, delay={float}, dsn=2.0.0, status=sent (250 OK {hex})",
    ),
    (
        "mail",
        "warn",
        "{hex}: to=<{email}>, status=deferred ({quoted})",
    ),
    ("mail", "info", "お知らせ: {user} さんに {int} 件のメール"),
    (
        "kernel",
        "info",
        "[{float}] eth{int}: link up, {int}Mbps, mac {mac}",
    ),
    (
        "kernel",
        "error",
        "[{float}] Out of memory: Killed process {int} ({word}) total-vm:{int}kB",
    ),
    (
        "kernel",
        "warn",
        "audit: type=1400 audit({float}:{int}): apparmor=\"DENIED\" name=\"{path}\" pid={int}",
    ),
    (
        "cron",
        "info",
        "({user}) CMD ({path} --since {time} > /dev/null 2>&1)",
    ),
    (
        "cron",
        "info",
        "{time} job {word}_{word} finished rc={int} in {ms}",
    ),
    ("build", "info", "Compiling {word} v{ver} ({path})"),
    (
        "build",
        "error",
        "error[E{int}]: cannot find `{word}` in {path}:{int}:{int}",
    ),
    (
        "build",
        "info",
        "test {word}::{word}::{word} ... ok <{float}s>",
    ),
    ("agent", "debug", "{json}"),
    ("agent", "info", "heartbeat ok"),
    (
        "agent",
        "info",
        "scrape of http://{ip}:{port}/metrics took {ms} ({int} samples)",
    ),
    ("agent", "warn", "клиент {user} отключён: {quoted}"),
    ("agent", "trace", "{word} {word} {word} 🔥 {int}% ✓ {b64}"),
    (
        "agent",
        "info",
        "C:\\Users\\{user}\\AppData\\{word}.log\trotated\t{int}\r\n",
    ),
];

const NAMES: [&str; 14] = [
    "alice",
    "bob",
    "Carol",
    "dave_42",
    "eve",
    "mallory",
    "jürgen",
    "Zoë Smith",
    "root",
    "svc-backup",
    "o'neil",
    "李雷",
    "admin",
    "x",
];
const WORDS: [&str; 24] = [
    "alpha", "beta", "Gamma", "delta", "order", "invoice", "Session", "cacheKey", "retry",
    "timeout", "flush", "index", "shard", "replica", "élan", "straße", "ping", "pong", "a", "id",
    "v2", "node7", "x86_64", "ÄRGER",
];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Fills in the variables of a template.
pub fn fill(random: &mut Random, template: &str, now: Timestamp) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap();
        filled.push_str(before);
        filled.push_str(&variable(random, name, now));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

pub fn word(random: &mut Random) -> String {
    random.pick(&WORDS).to_owned()
}

pub fn name(random: &mut Random) -> String {
    random.pick(&NAMES).to_owned()
}

pub fn hex(random: &mut Random, digits: usize) -> String {
    (0..digits)
        .map(|_| char::from_digit(random.below(16) as u32, 16).unwrap())
        .collect()
}

pub fn letters(random: &mut Random, count: usize) -> String {
    (0..count)
        .map(|_| char::from(random.pick(LETTERS)))
        .collect()
}

pub fn path(random: &mut Random) -> String {
    let mut path = String::new();
    for _ in 0..random.between(1, 4) {
        path.push('/');
        path.push_str(&word(random));
    }
    match random.below(4) {
        0 => format!("{path}.log"),
        1 => format!(
            "{path}?id={}&q={}%20{}",
            random.below(1000),
            word(random),
            word(random)
        ),
        _ => path,
    }
}

pub fn uuid(random: &mut Random) -> String {
    let parts: Vec<String> = [8, 4, 4, 4, 12]
        .into_iter()
        .map(|digits| hex(random, digits))
        .collect();
    parts.join("-")
}

pub fn ip(random: &mut Random) -> String {
    let mut part = |bound| random.below(bound);
    format!(
        "{}.{}.{}.{}",
        [10, 192, 172][part(3)],
        part(3),
        part(256),
        part(256)
    )
}

/// Code names, for services and hosts.
pub fn host(random: &mut Random) -> String {
    format!(
        "node{}.{}.example",
        random.below(4),
        random.pick(&["eu", "us-1"])
    )
}

fn variable(random: &mut Random, name: &str, now: Timestamp) -> String {
    match name {
        "ip" => ip(random),
        "ip6" => format!("fe80::{}:{}", hex(random, 4), hex(random, 3)),
        "port" => random.between(1, 65535).to_string(),
        "int" => {
            let bound = random.pick(&[2, 10, 1000, 10_000_000]);
            random.below(bound).to_string()
        }
        "big" => random.next().to_string(),
        "status" => random
            .pick(&["200", "204", "301", "404", "500", "503"])
            .to_string(),
        "ms" => format!("{}ms", random.below(5000)),
        "float" => format!("{}.{:03}", random.below(100), random.below(1000)),
        "percent" => format!("{}%", random.below(101)),
        "uuid" => uuid(random),
        "hex" => {
            let digits = random.between(4, 12);
            hex(random, digits)
        }
        "hex64" => hex(random, 16),
        "path" => path(random),
        "url" => format!("https://{}{}", host(random), path(random)),
        "user" => self::name(random),
        "email" => format!("{}@{}.example", self::name(random), word(random)),
        "host" => host(random),
        "method" => random.pick(&METHODS).to_owned(),
        "bool" => random.percent(50).to_string(),
        "time" => time(random, now),
        "word" => word(random),
        "ver" => format!(
            "{}.{}.{}",
            random.below(3),
            random.below(20),
            random.below(20)
        ),
        "mac" => {
            let parts: Vec<String> = (0..6).map(|_| hex(random, 2)).collect();
            parts.join(":")
        }
        "b64" => {
            let count = random.between(8, 40);
            format!("{}==", letters(random, count))
        }
        "sql" => format!(
            "SELECT * FROM {} WHERE id IN ({}, {}) AND name LIKE '%{}%'",
            word(random),
            random.below(100),
            random.below(100),
            word(random)
        ),
        "quoted" => match random.below(4) {
            0 => format!("{} {}", word(random), word(random)),
            1 => format!("say \\\"{}\\\" to {}", word(random), self::name(random)),
            2 => String::new(),
            _ => format!("{}: it's \"{}\"", word(random), path(random)),
        },
        "json" => format!(
            "{{\"{}\":{},\"{}\":\"{}\",\"at\":[{},null],\"o\":{{}}}}",
            word(random),
            random.below(100),
            word(random),
            self::name(random),
            random.percent(50)
        ),
        "stack" => stack(random),
        other => panic!("no variable is called {other}"),
    }
}

fn time(random: &mut Random, now: Timestamp) -> String {
    let text = now.to_rfc3339_millis();
    match random.below(4) {
        0 => text,
        1 => text.replace('T', " ").replace('Z', ""),
        2 => format!("23/Nov/2026:{} +0000", &text[11..19]),
        _ => now.millis().to_string(),
    }
}

fn stack(random: &mut Random) -> String {
    let mut stack = format!("java.lang.{}Exception: {}", word(random), word(random));
    for _ in 0..random.between(1, 8) {
        let line = format!(
            "\n\tat org.{}.{}.{}({}.java:{})",
            word(random),
            word(random),
            word(random),
            word(random),
            random.below(900)
        );
        stack.push_str(&line);
    }
    stack
}
