//! The number in angle brackets: facility and severity, and their names (RFC 5424, section 6.2.1).

use std::fmt::Write;

/// The highest: facility local7, severity debug.
const PRIORITY_MAX: u8 = 191;

/// Names as rsyslog and syslog-ng write them, by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Each severity with its `log.level`.
const SEVERITIES: [(&str, &str); 8] = [
    ("emergency", "fatal"),
    ("alert", "fatal"),
    ("critical", "fatal"),
    ("error", "error"),
    ("warning", "warn"),
    ("notice", "info"),
    ("informational", "info"),
    ("debug", "debug"),
];

/// A priority that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority(u8);

impl Priority {
    /// The priority with this number, 0 to 191.
    pub fn new(number: u8) -> Option<Priority> {
        (number <= PRIORITY_MAX).then_some(Priority(number))
    }

    /// Reads `<13>`; answers what is behind it, too. Leading zeros are taken.
    pub fn read(text: &str) -> Option<(Priority, &str)> {
        let inner = text.strip_prefix('<')?;
        // Looked for in bytes: a character may end anywhere.
        let end = inner.bytes().take(4).position(|byte| byte == b'>')?;
        let digits = &inner[..end];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u8 = digits.parse().ok()?;
        Some((Priority::new(number)?, &inner[end + 1..]))
    }

    /// As a number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The severity's `log.level`.
    pub fn level(self) -> &'static str {
        SEVERITIES[usize::from(self.0 % 8)].1
    }
}

/// For each priority the fields it gives an event: `,"log.level":"info","log.syslog.priority":13,...`.
pub fn field_texts() -> Vec<Box<[u8]>> {
    (0..=PRIORITY_MAX)
        .map(|number| {
            let (facility, severity) = (number / 8, number % 8);
            let (severity_name, level) = SEVERITIES[usize::from(severity)];
            let mut text = String::new();
            // A string takes every write.
            let _ = write!(
                text,
                ",\"log.level\":\"{level}\",\"log.syslog.priority\":{number},\
                 \"log.syslog.facility.code\":{facility},\"log.syslog.facility.name\":\"{}\",\
                 \"log.syslog.severity.code\":{severity},\"log.syslog.severity.name\":\"{severity_name}\"",
                FACILITIES[usize::from(facility)]
            );
            text.into_bytes().into_boxed_slice()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read_as_senders_write_them() {
        let read = |text| Priority::read(text).map(|(priority, rest)| (priority.number(), rest));
        assert_eq!(read("<13>x"), Some((13, "x")));
        assert_eq!(read("<0>"), Some((0, "")));
        assert_eq!(read("<013>x"), Some((13, "x")));
        for text in [
            "", "<", "<>x", "<192>x", "<1", "<-1>", "<1a>", "<0013>", "13>", "<é>", "<1é>",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn facility_and_severity_have_numbers_and_names() {
        let texts = field_texts();
        assert_eq!(texts.len(), 192);
        let text = std::str::from_utf8(&texts[165]).unwrap();
        assert_eq!(
            text,
            ",\"log.level\":\"info\",\"log.syslog.priority\":165,\"log.syslog.facility.code\":20,\
             \"log.syslog.facility.name\":\"local4\",\"log.syslog.severity.code\":5,\
             \"log.syslog.severity.name\":\"notice\""
        );
    }
}
