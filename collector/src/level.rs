//! How bad an event is, in one word: `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `unknown`.
//!
//! Senders spell it in many ways or only write it into the line. Sources that make `log.level` themselves ask here,
//! so that the same line gets the same level whichever way it came.

/// The level of events that do not tell.
pub const UNKNOWN: &str = "unknown";

/// How far into a message a level is looked for; what stands further behind is rarely the level.
const SEARCHED_BYTES: usize = 512;

/// The keys under which JSON and logfmt lines carry their level.
const KEYS: [&str; 6] = [
    "level",
    "lvl",
    "severity",
    "log.level",
    "loglevel",
    "levelname",
];

/// Reads a level as loggers spell it, in any case: `WARNING`, `err`, `Information`, `critical`, `E`.
pub fn named(text: &str) -> Option<&'static str> {
    let text = text.trim();
    // The longest spelling below has 11 letters.
    if text.len() > 11 {
        return None;
    }
    let level = match text.to_ascii_lowercase().as_str() {
        "trace" | "trc" | "finest" | "finer" | "verbose" => "trace",
        "debug" | "dbg" | "fine" | "config" | "d" => "debug",
        "info" | "inf" | "information" | "informational" | "notice" | "i" => "info",
        "warn" | "warning" | "wrn" | "w" => "warn",
        "error" | "err" | "eror" | "severe" | "e" => "error",
        "fatal" | "ftl" | "critical" | "crit" | "alert" | "emergency" | "emerg" | "panic" | "f" => {
            "fatal"
        }
        _ => return None,
    };
    Some(level)
}

/// The level of an OpenTelemetry severity number; `None` for 0 and for numbers that have no meaning.
pub fn of_severity_number(number: i32) -> Option<&'static str> {
    match number {
        1..=4 => Some("trace"),
        5..=8 => Some("debug"),
        9..=12 => Some("info"),
        13..=16 => Some("warn"),
        17..=20 => Some("error"),
        21..=24 => Some("fatal"),
        _ => None,
    }
}

/// The level of a number as pino and bunyan write it: 10 is `trace`, 60 is `fatal`.
pub fn numbered(text: &str) -> Option<&'static str> {
    Some(match text {
        "10" => "trace",
        "20" => "debug",
        "30" => "info",
        "40" => "warn",
        "50" => "error",
        "60" => "fatal",
        _ => return None,
    })
}

/// Whether loggers keep the level under this key of JSON or logfmt.
pub fn is_key(name: &str) -> bool {
    KEYS.iter().any(|key| key.eq_ignore_ascii_case(name))
}

/// Finds the level in a line: under a level key of JSON or logfmt, else the first word that names one.
pub fn detect(line: &str) -> Option<&'static str> {
    let mut end = line.len().min(SEARCHED_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let head = &line[..end];
    after_key(head).or_else(|| first_loud_word(head.as_bytes()))
}

/// One letter is a level only under a key, so only words of three and more letters are looked at.
fn first_loud_word(head: &[u8]) -> Option<&'static str> {
    let mut start = 0;
    for at in 0..=head.len() {
        let is_letter = head.get(at).is_some_and(u8::is_ascii_alphabetic);
        if is_letter {
            continue;
        }
        if at >= start + 3
            && let Some(level) = loud_name(&head[start..at])
        {
            return Some(level);
        }
        start = at + 1;
    }
    None
}

/// Words that mean a level wherever they stand; `fine` and `notice` are plain English.
fn loud_name(word: &[u8]) -> Option<&'static str> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match word[0].to_ascii_lowercase() {
        b't' if is("trace") => Some("trace"),
        b'd' if is("debug") => Some("debug"),
        b'i' if is("info") => Some("info"),
        b'w' if is("warn") || is("warning") => Some("warn"),
        b'e' if is("error") || is("err") => Some("error"),
        b'f' if is("fatal") => Some("fatal"),
        b'c' if is("critical") => Some("fatal"),
        b'p' if is("panic") => Some("fatal"),
        _ => None,
    }
}

fn after_key(head: &str) -> Option<&'static str> {
    let mut rest = head;
    while let Some(at) = rest.find(['=', ':']) {
        let key = rest[..at].trim_end_matches(['"', ' ']);
        let is_level_key = KEYS.iter().any(|known| {
            let begin = key.len().checked_sub(known.len());
            begin.is_some_and(|begin| {
                key.is_char_boundary(begin)
                    && key[begin..].eq_ignore_ascii_case(known)
                    && !key[..begin].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        });
        rest = &rest[at + 1..];
        if is_level_key {
            let value = rest.trim_start_matches([' ', '"']);
            let word_end = value
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(value.len());
            if let Some(level) = named(&value[..word_end]) {
                return Some(level);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_are_read_as_loggers_spell_them() {
        for (text, level) in [
            ("INFO", Some("info")),
            ("Warning", Some("warn")),
            (" err ", Some("error")),
            ("CRITICAL", Some("fatal")),
            ("E", Some("error")),
            ("", None),
            ("hello", None),
        ] {
            assert_eq!(named(text), level, "{text:?}");
        }
        assert_eq!(of_severity_number(0), None);
        assert_eq!(of_severity_number(9), Some("info"));
        assert_eq!(of_severity_number(24), Some("fatal"));
        assert_eq!(of_severity_number(25), None);
    }

    #[test]
    fn a_line_tells_its_level_by_key_before_it_does_by_word() {
        for (line, level) in [
            (r#"{"msg":"error budget ok","level":"info"}"#, Some("info")),
            ("ts=1 level=warn msg=\"fatal attraction\"", Some("warn")),
            ("loglevel = E something", Some("error")),
            ("2026-11-23 10:00:00 ERROR cannot open", Some("error")),
            ("[Critical] out of paper", Some("fatal")),
            ("sublevel=error all is fine", Some("error")),
            ("all is fine", None),
            ("terrorist informer", None),
            ("", None),
        ] {
            assert_eq!(detect(line), level, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_has_a_level_or_none(line in "\\PC{0,700}") {
            let _ = detect(&line);
        }
    }
}
