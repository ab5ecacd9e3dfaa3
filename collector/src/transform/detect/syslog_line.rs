//! Syslog's line formats: RFC 5424, RFC 3164 and what rsyslog writes into files, with and without a priority.

use event::{Document, Timestamp};
use jiff::tz::TimeZone;

use super::{add_level, add_number, add_str, set_time, time};
use crate::level;

/// `log.level` of severities 0 to 7.
const LEVELS: [&str; 8] = [
    "fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug",
];

/// Adds what a line with `<PRI>` in front tells; answers no, and adds nothing, when it is none.
pub fn with_priority(
    line: &str,
    document: &mut Document,
    arrived: Timestamp,
    zone: &TimeZone,
) -> bool {
    let Some((digits, rest)) = line.strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
        return false;
    };
    let is_number =
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let priority: usize = match digits.parse() {
        Ok(priority) if is_number && priority < 192 => priority,
        _ => return false,
    };
    let header = match rest.strip_prefix("1 ") {
        Some(rest) => Header::rfc5424(rest),
        None => Header::rfc3164(rest, arrived, zone),
    };
    let Some(header) = header else {
        return false;
    };
    set_time(document, header.time, arrived);
    add_number(document, "log.syslog.priority", digits);
    add_number(
        document,
        "log.syslog.facility.code",
        &(priority / 8).to_string(),
    );
    add_number(
        document,
        "log.syslog.severity.code",
        &(priority % 8).to_string(),
    );
    add_level(document, LEVELS[priority % 8]);
    header.add(document);
    true
}

/// Adds what a line as rsyslog writes it into a file tells; answers no, and adds nothing, when it is none.
pub fn without_priority(
    line: &str,
    document: &mut Document,
    arrived: Timestamp,
    zone: &TimeZone,
) -> bool {
    let Some(header) =
        Header::rfc3164(line, arrived, zone).filter(|header| header.program.is_some())
    else {
        return false;
    };
    set_time(document, header.time, arrived);
    header.add(document);
    if let Some(level) = level::detect(header.text) {
        add_level(document, level);
    }
    true
}

struct Header<'a> {
    time: Option<Timestamp>,
    host: &'a str,
    program: Option<&'a str>,
    process_id: &'a str,
    message_id: &'a str,
    text: &'a str,
}

impl<'a> Header<'a> {
    /// `2026-11-23T10:00:00Z host app 12 ID47 ...`.
    fn rfc5424(rest: &'a str) -> Option<Header<'a>> {
        let (time, rest) = rest.split_once(' ')?;
        let (host, rest) = rest.split_once(' ')?;
        let (program, rest) = rest.split_once(' ')?;
        let (process_id, rest) = rest.split_once(' ')?;
        let (message_id, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let time = match time {
            "-" => None,
            time => Some(Timestamp::parse_iso(time).ok()?),
        };
        Some(Header {
            time,
            host,
            program: Some(program),
            process_id,
            message_id,
            text,
        })
    }

    /// `Nov 23 10:00:00 host app[12]: ...`, or with the time in RFC 3339, as rsyslog's file format of today has it.
    fn rfc3164(line: &'a str, arrived: Timestamp, zone: &TimeZone) -> Option<Header<'a>> {
        let (time, rest) = match line.as_bytes().first()? {
            b'A'..=b'Z' => {
                let time = time::read_syslog(line.get(..15)?, arrived, zone)?;
                (time, line[15..].strip_prefix(' ')?)
            }
            b'1'..=b'9' => {
                let (text, rest) = line.split_once(' ')?;
                let is_whole = text.as_bytes().get(10) == Some(&b'T') && text.len() >= 20;
                let time = is_whole
                    .then(|| Timestamp::parse_iso(text).ok())
                    .flatten()?;
                (time, rest)
            }
            _ => return None,
        };
        let (host, rest) = rest.split_once(' ')?;
        let (program, process_id, text) = match rest.split_once(": ") {
            Some((tag, text)) => match tag_of(tag) {
                Some((program, process_id)) => (Some(program), process_id, text),
                None => (None, "-", rest),
            },
            None => (None, "-", rest),
        };
        Some(Header {
            time: Some(time),
            host,
            program,
            process_id,
            message_id: "-",
            text,
        })
    }

    fn add(&self, document: &mut Document) {
        let is_given = |text: &&str| !matches!(*text, "-" | "");
        if is_given(&self.host) {
            add_str(document, "log.syslog.hostname", self.host);
        }
        if let Some(program) = self.program.filter(is_given) {
            add_str(document, "process.name", program);
        }
        if is_given(&self.process_id) {
            add_number(document, "process.pid", self.process_id);
        }
        if is_given(&self.message_id) {
            add_str(document, "log.syslog.msgid", self.message_id);
        }
    }
}

/// `sshd[4711]` or `kernel`: a name without blanks.
fn tag_of(tag: &str) -> Option<(&str, &str)> {
    if tag.is_empty() || tag.len() > 64 || tag.contains(' ') {
        return None;
    }
    match tag.strip_suffix(']').and_then(|tag| tag.rsplit_once('[')) {
        Some((program, process_id)) => Some((program, process_id)),
        None => Some((tag, "-")),
    }
}
