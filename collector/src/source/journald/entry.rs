//! One entry of the journal as a document, in the names of the Elastic Common Schema where it has one.

use std::borrow::Cow;

use event::{Document, Timestamp};

use super::export::{Entry, Field};

/// The journal's names and ours. What stands here several times in an entry becomes a list.
const NAMES: [(&str, &str); 21] = [
    ("_HOSTNAME", "host.name"),
    ("_MACHINE_ID", "host.id"),
    ("_PID", "process.pid"),
    ("_COMM", "process.name"),
    ("_EXE", "process.executable"),
    ("_CMDLINE", "process.command_line"),
    ("_UID", "user.id"),
    ("_GID", "user.group.id"),
    ("_SYSTEMD_UNIT", "systemd.unit"),
    ("_SYSTEMD_USER_UNIT", "systemd.user_unit"),
    ("_SYSTEMD_SLICE", "systemd.slice"),
    ("_SYSTEMD_CGROUP", "systemd.cgroup"),
    ("_SYSTEMD_INVOCATION_ID", "systemd.invocation_id"),
    ("_TRANSPORT", "systemd.transport"),
    ("SYSLOG_IDENTIFIER", "log.syslog.appname"),
    ("CODE_FILE", "log.origin.file.name"),
    ("CODE_FUNC", "log.origin.function"),
    ("CONTAINER_ID_FULL", "container.id"),
    ("CONTAINER_NAME", "container.name"),
    ("IMAGE_NAME", "container.image.name"),
    ("MESSAGE_ID", "event.code"),
];

/// Those whose values are numbers.
const NUMBERS: [(&str, &str); 4] = [
    ("PRIORITY", "log.syslog.severity.code"),
    ("SYSLOG_FACILITY", "log.syslog.facility.code"),
    ("CODE_LINE", "log.origin.file.line"),
    ("_PID", "process.pid"),
];

/// The entry's time; `None` when the journal did not say so.
pub fn time_of(entry: &Entry) -> Option<Timestamp> {
    let micros: i64 = entry.text("__REALTIME_TIMESTAMP")?.parse().ok()?;
    micros.checked_mul(1000).map(Timestamp::from_nanos)
}

/// The document, and whether a value in it was no UTF-8.
///
/// Fields without a name of ours are kept as `journald.NAME` when the journal itself vouches for them (their names
/// begin with an underscore), else as `journald.custom.NAME`, in small letters. The journal's addresses of the entry
/// (two underscores) are left out.
pub fn document_of(entry: &Entry, received: Timestamp) -> (Document, bool) {
    let mut document = Document::new();
    let time = time_of(entry).unwrap_or(received);
    document.set_str("@timestamp", &time.to_rfc3339());
    let mut is_invalid = false;
    let mut text_of = |field: &Field| -> String {
        let text = String::from_utf8_lossy(&field.value);
        is_invalid |= matches!(text, Cow::Owned(_));
        text.into_owned()
    };
    if let Some(message) = entry.get("MESSAGE") {
        document.set_str("message", &text_of(message));
    }
    if let Some(level) = entry.text("PRIORITY").and_then(level_of) {
        document.set_str("log.level", level);
    }
    if let Some(service) = service_of(entry) {
        document.set_str("service.name", service);
    }
    if entry.left_out > 0 || entry.fields.iter().any(|field| field.is_cut) {
        document.set_value("event.truncated", &true);
    }
    for (at, field) in entry.fields.iter().enumerate() {
        let is_address = field.name.starts_with("__");
        let is_repeated = entry.fields[..at]
            .iter()
            .any(|before| before.name == field.name);
        if is_address || is_repeated || field.name == "MESSAGE" {
            continue;
        }
        let values: Vec<String> = entry.fields[at..]
            .iter()
            .filter(|other| other.name == field.name)
            .map(&mut text_of)
            .collect();
        set(&mut document, &field.name, &values);
    }
    (document, is_invalid)
}

fn set(document: &mut Document, name: &str, values: &[String]) {
    let number = NUMBERS.iter().find(|(journals, _)| *journals == name);
    if let (Some((_, ours)), [value]) = (number, values)
        && let Ok(number) = value.parse::<i64>()
    {
        document.set_value(ours, &number);
        return;
    }
    let ours = NAMES.iter().find(|(journals, _)| *journals == name);
    let name = match (ours, name.strip_prefix('_')) {
        (Some((_, ours)), _) => (*ours).to_owned(),
        (None, Some(trusted)) => format!("journald.{}", trusted.to_ascii_lowercase()),
        (None, None) => format!("journald.custom.{}", name.to_ascii_lowercase()),
    };
    match values {
        [value] => document.set_str(&name, value),
        values => document.set_value(&name, &values),
    }
}

/// syslog's severities, RFC 5424 section 6.2.1.
fn level_of(priority: &str) -> Option<&'static str> {
    match priority {
        "0" | "1" | "2" => Some("fatal"),
        "3" => Some("error"),
        "4" => Some("warn"),
        "5" | "6" => Some("info"),
        "7" => Some("debug"),
        _ => None,
    }
}

/// The unit without its ending, where it is a service; else what calls itself so.
fn service_of(entry: &Entry) -> Option<&str> {
    let unit = entry.text("_SYSTEMD_UNIT");
    let service = unit.and_then(|unit| unit.strip_suffix(".service"));
    service.or_else(|| entry.text("SYSLOG_IDENTIFIER"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::journald::export::Decoder;

    /// As `journalctl -o export` of systemd 252 writes it.
    const RECORDED: &[u8] = b"__CURSOR=s=4f;i=1\n__REALTIME_TIMESTAMP=1795643490235728\n__MONOTONIC_TIMESTAMP=1\n_BOOT_ID=b00\nPRIORITY=3\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=nginx\n_PID=812\n_COMM=nginx\n_SYSTEMD_UNIT=nginx.service\n_HOSTNAME=web-1\nTAG=a\nTAG=b\nPID=7\nMESSAGE\n\x0b\0\0\0\0\0\0\0two\nlines\xff!\n\n";

    #[test]
    fn an_entry_becomes_a_document_in_the_names_of_ecs() {
        let mut entries = Vec::new();
        Decoder::new(1 << 20).push(RECORDED, &mut entries).unwrap();
        let (document, is_invalid) = document_of(&entries[0], Timestamp::from_nanos(0));
        assert!(is_invalid);
        assert_eq!(
            String::from_utf8(document.to_bytes().to_vec()).unwrap(),
            "{\"@timestamp\":\"2026-11-25T21:51:30.235728Z\",\"message\":\"two\\nlines\u{FFFD}!\",\"log.level\":\"error\",\"service.name\":\"nginx\",\"journald.boot_id\":\"b00\",\"log.syslog.severity.code\":3,\"log.syslog.facility.code\":3,\"log.syslog.appname\":\"nginx\",\"process.pid\":812,\"process.name\":\"nginx\",\"systemd.unit\":\"nginx.service\",\"host.name\":\"web-1\",\"journald.custom.tag\":[\"a\",\"b\"],\"journald.custom.pid\":\"7\"}"
        );
    }
}
