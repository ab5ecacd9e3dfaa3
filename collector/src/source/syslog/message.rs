//! One syslog message: RFC 5424, or what RFC 3164 found in the wild, or neither. Nothing is refused.
//!
//! ```text
//! <165>1 2003-10-11T22:14:15.003Z host app 1234 ID47 [sd@32473 iut="3"] text     RFC 5424
//! <34>Oct 11 22:14:15 host su[42]: text                                          RFC 3164
//! <189>45: *Oct 11 22:14:15.003 UTC: %SYS-5-CONFIG_I: text                       a router
//! ```
//!
//! What cannot be read stays in the text, and [`Problem`] says what it was.

use std::borrow::Cow;

use event::Timestamp;

use super::priority::Priority;
use super::time::{Clock, read_rfc3339};

/// Longer words are no names of hosts or programs (RFC 5424 allows 255 for hosts).
const NAME_BYTES_MAX: usize = 255;

/// More parameters than any sender writes; what has more is kept as text.
const PARAMETERS_MAX: usize = 1024;

/// What a message says. Texts are as sent; `-` of RFC 5424 is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility and severity.
    pub priority: Option<Priority>,
    /// The version, 1, of RFC 5424; `None` for the old form.
    pub version: Option<u16>,
    /// UTC.
    pub timestamp: Option<Timestamp>,
    /// The sender's name of its machine.
    pub host: Option<&'a str>,
    /// The program.
    pub app: Option<&'a str>,
    /// The program's process, mostly a number.
    pub process: Option<&'a str>,
    /// What kind of message it is.
    pub message_id: Option<&'a str>,
    /// In the sender's order.
    pub structured: Vec<Parameter<'a>>,
    /// The rest.
    pub text: &'a str,
    /// What could not be read.
    pub problem: Option<Problem>,
}

/// `name="value"` in the element `[id ...]`. An element without parameters is one with an empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The element's id: `exampleSDID@32473`.
    pub id: &'a str,
    /// The parameter's name.
    pub name: &'a str,
    /// The value, without escapes.
    pub value: Cow<'a, str>,
}

/// Why a message is not what the RFCs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Short and stable, for `error.type`.
    pub kind: &'static str,
    /// What was expected, for people.
    pub expected: &'static str,
    /// Where in the message, bytes.
    pub at: usize,
}

/// Reads a message; `clock` completes times of the old form.
pub fn parse<'a>(text: &'a str, clock: &mut Clock) -> Message<'a> {
    let Some((priority, rest)) = Priority::read(text) else {
        return without_priority(text, clock);
    };
    let mut message = match read_5424(rest, text.len()) {
        Some(message) => message,
        None => read_3164(rest, clock),
    };
    message.priority = Some(priority);
    message
}

/// A line that names no priority may still have the rest of the old header: it comes out of a file, or a relay.
fn without_priority<'a>(text: &'a str, clock: &mut Clock) -> Message<'a> {
    let problem = Some(Problem {
        kind: "syslog_no_priority",
        expected: "a priority as <13>",
        at: 0,
    });
    match clock.read_old(text) {
        Some((timestamp, rest)) => {
            let mut message = after_time(rest, false);
            message.timestamp = Some(timestamp);
            message.problem = problem;
            message
        }
        None => Message {
            text,
            problem,
            ..Message::default()
        },
    }
}

/// `None` when it is not of this form. `whole` is the message's length, from which places are counted.
fn read_5424(text: &str, whole: usize) -> Option<Message<'_>> {
    let digits = text.bytes().take(4).take_while(u8::is_ascii_digit).count();
    let version: u16 = text
        .get(..digits)?
        .parse()
        .ok()
        .filter(|version| *version > 0)?;
    let rest = text[digits..].strip_prefix(' ')?;
    let mut message = Message {
        version: Some(version),
        ..Message::default()
    };
    let place = |rest: &str| whole - rest.len();
    // Without a time it is one of ours only if it says so: `<13>20 bottles` is the old form.
    let after_time = match read_rfc3339(rest) {
        Some((timestamp, after)) => {
            message.timestamp = Some(timestamp);
            after
        }
        None => {
            let (word, after) = word(rest);
            if word != "-" {
                if version != 1 || after.len() < 8 {
                    return None;
                }
                message.problem = Some(Problem {
                    kind: "syslog_malformed",
                    expected: "a time as 2003-10-11T22:14:15.003Z",
                    at: place(rest),
                });
            }
            after
        }
    };
    let mut rest = after_time;
    for at in 0..4 {
        let Some(behind) = rest.strip_prefix(' ') else {
            message.text = rest;
            message.problem.get_or_insert(Problem {
                kind: "syslog_malformed",
                expected: "host, program, process and message id",
                at: place(rest),
            });
            return Some(message);
        };
        let (word, after) = word(behind);
        let value = (word != "-" && !word.is_empty()).then_some(word);
        match at {
            0 => message.host = value,
            1 => message.app = value,
            2 => message.process = value,
            _ => message.message_id = value,
        }
        rest = after;
    }
    let behind = rest.strip_prefix(' ').unwrap_or(rest);
    match read_structured(behind) {
        Ok((structured, after)) => {
            message.structured = structured;
            let text = after.strip_prefix(' ').unwrap_or(after);
            message.text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        Err((expected, rest)) => {
            message.text = behind.strip_prefix('\u{feff}').unwrap_or(behind);
            message.problem.get_or_insert(Problem {
                kind: "syslog_malformed",
                expected,
                at: place(rest),
            });
        }
    }
    Some(message)
}

type Structured<'a> = (Vec<Parameter<'a>>, &'a str);

/// Reads `-` or elements; an error says what was expected before which rest.
fn read_structured(text: &str) -> Result<Structured<'_>, (&'static str, &str)> {
    if let Some(rest) = text.strip_prefix('-')
        && (rest.is_empty() || rest.starts_with(' '))
    {
        return Ok((Vec::new(), rest));
    }
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('[') {
        let (id, mut inner) = name(inner);
        if id.is_empty() {
            return Err(("an element's id", inner));
        }
        let first = parameters.len();
        loop {
            if let Some(after) = inner.strip_prefix(']') {
                rest = after;
                break;
            }
            let begun = inner.trim_start_matches(' ');
            if begun.len() == inner.len() {
                return Err(("a blank or ] in structured data", inner));
            }
            // Some write a blank before the bracket.
            if begun.starts_with(']') {
                inner = begun;
                continue;
            }
            let (name, after) = name(begun);
            let Some(quoted) = after.strip_prefix("=\"").filter(|_| !name.is_empty()) else {
                return Err(("name=\"value\" in structured data", begun));
            };
            let (value, after) = value(quoted).ok_or(("the end of a value", quoted))?;
            if parameters.len() >= PARAMETERS_MAX {
                return Err(("no more than 1024 parameters", begun));
            }
            parameters.push(Parameter { id, name, value });
            inner = after;
        }
        if parameters.len() == first {
            parameters.push(Parameter {
                id,
                name: "",
                value: Cow::Borrowed(""),
            });
        }
    }
    if rest.len() == text.len() {
        return Err(("structured data, or -", rest));
    }
    Ok((parameters, rest))
}

/// A name of structured data: up to a blank, `=`, `]` or `"`.
fn name(text: &str) -> (&str, &str) {
    let end = text.find([' ', '=', ']', '"']).unwrap_or(text.len());
    text.split_at(end)
}

/// A value up to its quote, and what is behind that. `\"`, `\\` and `\]` are escapes; any other backslash is itself.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let plain = text.find(['"', '\\'])?;
    if text[plain..].starts_with('"') {
        return Some((Cow::Borrowed(&text[..plain]), &text[plain + 1..]));
    }
    let mut value = String::from(&text[..plain]);
    let mut characters = text[plain..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), &text[plain + at + 1..])),
            '\\' => match characters.next()? {
                (_, escaped @ ('"' | '\\' | ']')) => value.push(escaped),
                (_, other) => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

fn read_3164<'a>(text: &'a str, clock: &mut Clock) -> Message<'a> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    if let Some((timestamp, rest)) = time_of(text, clock) {
        let mut message = after_time(rest, false);
        message.timestamp = Some(timestamp);
        return message;
    }
    if let Some((timestamp, rest)) = router_time(text, clock) {
        let mut message = after_time(rest, true);
        message.timestamp = Some(timestamp);
        return message;
    }
    // No time: what is there is the program at most.
    let mut message = Message {
        text,
        ..Message::default()
    };
    if let Some((app, process, rest)) = tag(text) {
        (message.app, message.process, message.text) = (Some(app), process, rest);
    }
    message
}

/// The old form's time, or RFC 3339 as rsyslog writes it in the old form.
fn time_of<'a>(text: &'a str, clock: &mut Clock) -> Option<(Timestamp, &'a str)> {
    clock.read_old(text).or_else(|| read_rfc3339(text))
}

/// `45: host: *Oct 11 22:14:15.003 UTC: ...`: a number, perhaps a second one, a mark that the clock is not set, a zone.
fn router_time<'a>(text: &'a str, clock: &mut Clock) -> Option<(Timestamp, &'a str)> {
    let mut rest = text;
    for _ in 0..2 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0
            && digits <= 12
            && let Some(after) = rest[digits..].strip_prefix(": ")
        {
            rest = after;
        }
    }
    let rest = rest.strip_prefix(['*', '.']).unwrap_or(rest);
    let (timestamp, rest) = clock.read_old(rest)?;
    // The zone's short name says less than the settings do; UTC is what it says.
    let zone_end = rest.find(':').filter(|end| *end <= 6);
    let zone = zone_end.and_then(|end| rest[..end].strip_prefix(' '));
    match (zone, zone_end) {
        (Some(zone), Some(end))
            if !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_uppercase()) =>
        {
            Some((timestamp, &rest[end..]))
        }
        _ => Some((timestamp, rest)),
    }
}

/// What is behind the time: host, program and text. A router names no host.
fn after_time(rest: &str, is_router: bool) -> Message<'_> {
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let mut message = Message {
        text: rest,
        ..Message::default()
    };
    if let Some((app, process, text)) = tag(rest) {
        (message.app, message.process, message.text) = (Some(app), process, text);
        return message;
    }
    let (host, behind) = word(rest);
    let is_host = !is_router && !host.is_empty() && host.len() <= NAME_BYTES_MAX;
    // A single word is a text, not a host that has nothing to say.
    let Some(behind) = behind.strip_prefix(' ').filter(|_| is_host) else {
        return message;
    };
    // Some firewalls set off the host with a colon of its own.
    let behind = behind.strip_prefix(": ").unwrap_or(behind);
    message.host = Some(host);
    message.text = behind;
    if let Some((app, process, text)) = tag(behind) {
        (message.app, message.process, message.text) = (Some(app), process, text);
    }
    message
}

/// `su[42]: text`, `su: text`, `su[42] text`: program, process, text. A word is a program only with one of these ends.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let is_of_name = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'_' | b'.' | b'/' | b'%' | b'@' | b'+' | b'(' | b')' | b'\\' | b'#' | b'~'
            )
    };
    let end = text
        .bytes()
        .take(NAME_BYTES_MAX)
        .take_while(|byte| is_of_name(byte))
        .count();
    let (app, mut rest) = text.split_at(end);
    if app.is_empty() {
        return None;
    }
    let mut process = None;
    if let Some(inner) = rest.strip_prefix('[') {
        let close = inner
            .bytes()
            .take(64)
            .position(|byte| matches!(byte, b']' | b' ' | b'['))?;
        if inner.as_bytes()[close] != b']' {
            return None;
        }
        process = Some(&inner[..close]).filter(|process| !process.is_empty());
        rest = &inner[close + 1..];
        if let Some(text) = rest.strip_prefix(' ') {
            return Some((app, process, text));
        }
    }
    let rest = rest.strip_prefix(':')?;
    match rest.strip_prefix(' ') {
        Some(text) => Some((app, process, text)),
        None if rest.is_empty() => Some((app, process, rest)),
        // `su[42]:text` is a tag, `http://host` is not.
        None if process.is_some() => Some((app, process, rest)),
        None => None,
    }
}

/// Up to a blank.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(' ').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn clock() -> Clock {
        let mut clock = Clock::new(TimeZone::UTC);
        clock.set(Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap());
        clock
    }

    /// `priority version time host app process id | structured | text ! problem`.
    fn shown(text: &str) -> String {
        let message = parse(text, &mut clock());
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let structured: Vec<String> = message
            .structured
            .iter()
            .map(|parameter| format!("{}.{}={}", parameter.id, parameter.name, parameter.value))
            .collect();
        let problem = message.problem.map_or(String::new(), |problem| {
            format!(" ! {} at {}", problem.expected, problem.at)
        });
        format!(
            "{} {} {} {} {} {} {} | {} | {}{problem}",
            or_dash(
                message
                    .priority
                    .map(|priority| priority.number().to_string())
                    .as_deref()
            ),
            or_dash(
                message
                    .version
                    .map(|version| version.to_string())
                    .as_deref()
            ),
            or_dash(message.timestamp.map(Timestamp::to_rfc3339).as_deref()),
            or_dash(message.host),
            or_dash(message.app),
            or_dash(message.process),
            or_dash(message.message_id),
            structured.join(","),
            message.text
        )
    }

    #[test]
    fn the_examples_of_rfc_5424_are_read() {
        for (text, expected) in [
            (
                "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
                "34 1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 |  | 'su root' failed for lonvick on /dev/pts/8",
            ),
            (
                "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
                "165 1 2003-08-24T12:14:15.000003Z 192.0.2.1 myproc 8710 - |  | %% It's time to make the do-nuts.",
            ),
            (
                "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"] \u{feff}An application event log entry...",
                "165 1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 | exampleSDID@32473.iut=3,exampleSDID@32473.eventSource=Application,exampleSDID@32473.eventID=1011 | An application event log entry...",
            ),
            (
                "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\"][examplePriority@32473 class=\"high\"]",
                "165 1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 | exampleSDID@32473.iut=3,examplePriority@32473.class=high | ",
            ),
            ("<0>1 - - - - - -", "0 1 - - - - - |  | "),
            ("<13>1 - h a 1 - [x] t", "13 1 - h a 1 - | x.= | t"),
            (
                r#"<13>1 - h a 1 - [x a="q\"b\\c\]d\e" a="2" ] t"#,
                r#"13 1 - h a 1 - | x.a=q"b\c]d\e,x.a=2 | t"#,
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn the_old_form_is_read_as_it_is_found() {
        for (text, expected) in [
            (
                "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
                "34 - 2026-10-11T22:14:15.000Z mymachine su - - |  | 'su root' failed for lonvick on /dev/pts/8",
            ),
            (
                "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
                "13 - 2026-02-05T17:32:18.000Z 10.0.0.99 - - - |  | Use the BFG!",
            ),
            // rsyslog's own forwarding.
            (
                "<30>2026-11-23T10:00:00.123456+01:00 web-1 systemd[1]: Started x.",
                "30 - 2026-11-23T09:00:00.123456Z web-1 systemd 1 - |  | Started x.",
            ),
            // As programs write to /dev/log.
            (
                "<86>Nov 23 10:00:00 sshd[4242]: Accepted publickey",
                "86 - 2026-11-23T10:00:00.000Z - sshd 4242 - |  | Accepted publickey",
            ),
            (
                "<13>Nov 23 10:00:00 fe80::1 kernel: [    0.1] x",
                "13 - 2026-11-23T10:00:00.000Z fe80::1 kernel - - |  | [    0.1] x",
            ),
            (
                "<13>Nov 23 10:00:00 host app[7]:tight",
                "13 - 2026-11-23T10:00:00.000Z host app 7 - |  | tight",
            ),
            (
                "<13>Nov 23 10:00:00 host last message repeated 3 times",
                "13 - 2026-11-23T10:00:00.000Z host - - - |  | last message repeated 3 times",
            ),
            (
                "<13>Nov 23 10:00:00 hello",
                "13 - 2026-11-23T10:00:00.000Z - - - - |  | hello",
            ),
            ("<13>app[12]: x", "13 - - - app 12 - |  | x"),
            (
                "<13>see http://x/ for more",
                "13 - - - - - - |  | see http://x/ for more",
            ),
            ("<13>{\"a\": 1}", "13 - - - - - - |  | {\"a\": 1}"),
            ("<13>20 bottles", "13 - - - - - - |  | 20 bottles"),
            ("<13>", "13 - - - - - - |  | "),
            (
                "<189>45: *Mar  1 22:14:15.003 UTC: %SYS-5-CONFIG_I: Configured",
                "189 - 2026-03-01T22:14:15.003Z - %SYS-5-CONFIG_I - - |  | Configured",
            ),
            (
                "<166>Nov 23 2026 10:00:00: %ASA-6-302013: Built inbound",
                "166 - 2026-11-23T10:00:00.000Z - %ASA-6-302013 - - |  | Built inbound",
            ),
            (
                "<166>Nov 23 2026 10:00:00 fw-1 : %ASA-6-302013: Built",
                "166 - 2026-11-23T10:00:00.000Z fw-1 %ASA-6-302013 - - |  | Built",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn what_is_neither_is_kept_and_says_so() {
        for (text, expected) in [
            (
                "hello",
                "- - - - - - - |  | hello ! a priority as <13> at 0",
            ),
            (
                "<999>hello",
                "- - - - - - - |  | <999>hello ! a priority as <13> at 0",
            ),
            (
                "Nov 23 10:00:00 host app: x",
                "- - 2026-11-23T10:00:00.000Z host app - - |  | x ! a priority as <13> at 0",
            ),
            (
                "<13>1 yesterday host app 1 id - x",
                "13 1 - host app 1 id |  | x ! a time as 2003-10-11T22:14:15.003Z at 6",
            ),
            (
                "<13>1 - host",
                "13 1 - host - - - |  |  ! host, program, process and message id at 12",
            ),
            (
                "<13>1 - h a 1 - no structured data",
                "13 1 - h a 1 - |  | no structured data ! structured data, or - at 16",
            ),
            (
                "<13>1 - h a 1 - [x a=\"1] t",
                "13 1 - h a 1 - |  | [x a=\"1] t ! the end of a value at 22",
            ),
            (
                "<13>1 - h a 1 - [x a=1] t",
                "13 1 - h a 1 - |  | [x a=1] t ! name=\"value\" in structured data at 19",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    proptest! {
        /// Any text is read, and what is read stands in it.
        #[test]
        fn any_text_is_a_message(text in "(<[0-9]{1,3}>)?(1 )?[-A-Za-z0-9 \\[\\]:=\"\\\\é<>]{0,80}|\\PC{0,60}") {
            let message = parse(&text, &mut clock());
            prop_assert!(text.ends_with(message.text));
            if let Some(problem) = message.problem {
                prop_assert!(problem.at <= text.len());
            }
        }

        /// What is written by the rules of RFC 5424 is read back.
        #[test]
        fn a_message_by_the_rules_is_read_back(
            priority in 0u8..=191,
            nanos in 0i64..4_000_000_000_000_000_000,
            host in "[!-~&&[^-]]{1,40}",
            app in "[!-~&&[^-]]{1,40}",
            process in "[0-9]{1,9}",
            id in "[!-~&&[^-]]{1,32}",
            values in proptest::collection::vec("[^\\p{C}]{0,20}", 0..4),
            text in "[^\\p{C}\u{feff}]{0,40}",
        ) {
            let timestamp = Timestamp::from_nanos(nanos / 1000 * 1000);
            let escape = |value: &String| value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
            let structured: String = values.iter().map(|value| format!("[e@1 v=\"{}\"]", escape(value))).collect();
            let structured = if structured.is_empty() { "-".to_owned() } else { structured };
            let sent = format!("<{priority}>1 {} {host} {app} {process} {id} {structured} {text}", timestamp.to_rfc3339());
            let message = parse(&sent, &mut clock());
            prop_assert_eq!(message.problem, None);
            prop_assert_eq!(message.priority, Priority::new(priority));
            prop_assert_eq!(message.timestamp, Some(timestamp));
            prop_assert_eq!(
                (message.host, message.app, message.process, message.message_id),
                (Some(host.as_str()), Some(app.as_str()), Some(process.as_str()), Some(id.as_str()))
            );
            let read: Vec<String> = message.structured.iter().map(|p| p.value.clone().into_owned()).collect();
            prop_assert_eq!(read, values);
            prop_assert_eq!(message.text, text);
        }
    }
}
