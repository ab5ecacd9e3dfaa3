//! Cuts a text into fields by a grok pattern: `%{IPORHOST:client} %{WORD:verb}`.
//!
//! Patterns are expanded onto the `regex` crate, which is linear in the text for every pattern and every line; in
//! exchange there is no look-around and no back-reference. [`expand`] does the expansion, [`patterns`] holds the
//! names everybody expects.

use std::collections::BTreeMap;

use event::{Document, Timestamp};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict, message_field, text_of, typed};

mod expand;
mod patterns;

use expand::Capture;
pub use expand::ExpandError;

/// A compiled pattern may take this much memory; `%{COMBINEDAPACHELOG}` takes a tenth of it.
const COMPILED_BYTES_MAX: usize = 16 << 20;
/// The lazily built automaton may take this much per thread before it starts over.
const AUTOMATON_BYTES_MAX: usize = 4 << 20;

/// `grok: { field: message, pattern: "%{COMBINEDAPACHELOG}" }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that is cut.
    #[serde(default = "message_field")]
    pub field: String,
    /// The one pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Several, tried in order; the first that fits wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// Names of the user's own for `%{NAME}`, each a pattern; they win over ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub definitions: BTreeMap<String, String>,
}

/// The step, ready to run.
pub struct Grok {
    field: String,
    patterns: Vec<Pattern>,
}

struct Pattern {
    regex: Regex,
    /// With the number of the regex group that holds the text.
    captures: Vec<(usize, Capture)>,
}

impl Grok {
    /// Expands and compiles every pattern.
    ///
    /// # Errors
    /// No pattern is given, or one cannot be used; names the pattern.
    pub fn compile(settings: &Settings) -> Result<Grok, String> {
        let texts: Vec<&String> = settings.pattern.iter().chain(&settings.patterns).collect();
        if texts.is_empty() {
            return Err(
                "no pattern; write for instance pattern: \"%{COMBINEDAPACHELOG}\"".to_owned(),
            );
        }
        let patterns = texts.into_iter().map(|text| {
            compile_pattern(text, &settings.definitions)
                .map_err(|problem| format!("pattern {text:?}: {problem}"))
        });
        Ok(Grok {
            field: settings.field.clone(),
            patterns: patterns.collect::<Result<_, _>>()?,
        })
    }
}

impl Transform for Grok {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let text = text_of(document, &self.field)?;
        for pattern in &self.patterns {
            let Some(found) = pattern.regex.captures(&text) else {
                continue;
            };
            for (group, capture) in &pattern.captures {
                // A part that is absent or empty is no field, as in Logstash.
                let value = found.get(*group).map_or("", |part| part.as_str());
                if !value.is_empty() {
                    typed::set(document, &capture.field, capture.field_type, value);
                }
            }
            return Ok(Verdict::Keep);
        }
        Err(TransformError {
            reason: "grok_no_match",
            message: format!("no pattern fits field {}", self.field),
        })
    }
}

fn compile_pattern(text: &str, definitions: &BTreeMap<String, String>) -> Result<Pattern, String> {
    let expanded = expand::expand(text, definitions).map_err(|error| error.to_string())?;
    let regex = regex::RegexBuilder::new(&expanded.regex)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(AUTOMATON_BYTES_MAX)
        .build()
        .map_err(|error| last_line(&error.to_string()))?;
    let mut captures = Vec::new();
    for (group, name) in regex.capture_names().enumerate() {
        let number = name.and_then(|name| name.strip_prefix('g')?.parse::<usize>().ok());
        if let Some(capture) = number.and_then(|number| expanded.captures.get(number)) {
            captures.push((group, capture.clone()));
        }
    }
    Ok(Pattern { regex, captures })
}

/// Multi-line messages of the regex crate end with the line that says what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message);
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grok(pattern: &str) -> Grok {
        Grok::compile(&Settings {
            field: "message".to_owned(),
            pattern: Some(pattern.to_owned()),
            ..Settings::default()
        })
        .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// The fields the pattern cuts out of the line, as one JSON object; `None` when it does not fit.
    fn cut(grok: &Grok, line: &str) -> Option<String> {
        let mut document = Document::new();
        document.set_str("message", line);
        grok.apply(&mut document, Timestamp::MIN).ok()?;
        document.remove("message");
        Some(String::from_utf8(document.to_bytes().to_vec()).unwrap())
    }

    fn check(pattern: &str, line: &str, expected: &str) {
        assert_eq!(
            cut(&grok(pattern), line).as_deref(),
            Some(expected),
            "{pattern} on {line}"
        );
    }

    #[test]
    fn every_pattern_of_ours_compiles_alone() {
        for (name, _) in patterns::PATTERNS {
            grok(&format!("%{{{name}}}"));
        }
    }

    #[test]
    fn web_server_lines_are_cut() {
        check(
            "%{COMBINEDAPACHELOG}",
            r#"203.0.113.9 - ada [23/Nov/2026:10:00:00 +0000] "GET /a?b=%20 HTTP/1.1" 200 5120 "https://example.org/" "Mozilla/5.0 (X11; \"q\")""#,
            r#"{"clientip":"203.0.113.9","ident":"-","auth":"ada","timestamp":"23/Nov/2026:10:00:00 +0000","verb":"GET","request":"/a?b=%20","httpversion":"1.1","response":"200","bytes":"5120","referrer":"\"https://example.org/\"","agent":"\"Mozilla/5.0 (X11; \\\"q\\\")\""}"#,
        );
        check(
            "%{COMMONAPACHELOG}",
            r#"web-1.example.org - - [01/Jan/2027:00:00:00 -0530] "\x16\x03" 400 -"#,
            r#"{"clientip":"web-1.example.org","ident":"-","auth":"-","timestamp":"01/Jan/2027:00:00:00 -0530","rawrequest":"\\x16\\x03","response":"400"}"#,
        );
        check(
            "%{NGINXERROR}",
            r#"2026/11/23 10:00:00 [error] 71#72: *9 open() "/srv/x" failed (2: No such file or directory), client: 10.0.0.7"#,
            r#"{"timestamp":"2026/11/23 10:00:00","level":"error","pid":71,"tid":72,"connection":9,"text":"open() \"/srv/x\" failed (2: No such file or directory), client: 10.0.0.7"}"#,
        );
        check(
            "%{HTTPD_ERRORLOG}",
            "[Mon Nov 23 10:00:00.123456 2026] [core:error] [pid 71:tid 7] [client 10.0.0.7:4711] AH00126: Invalid URI",
            r#"{"timestamp":"Mon Nov 23 10:00:00.123456 2026","module":"core","loglevel":"error","pid":"71","tid":"7","clientip":"10.0.0.7","clientport":"4711","errorcode":"AH00126","errormsg":"Invalid URI"}"#,
        );
    }

    #[test]
    fn system_lines_are_cut() {
        check(
            "%{SYSLOGBASE} %{GREEDYDATA:text}",
            "Nov  3 09:05:01 web-1 sshd[4711]: Accepted publickey for ada",
            r#"{"timestamp":"Nov  3 09:05:01","logsource":"web-1","program":"sshd","pid":"4711","text":"Accepted publickey for ada"}"#,
        );
        check(
            "%{SYSLOG5424LINE}",
            r#"<34>1 2026-11-23T10:00:00.003Z host app 12 ID47 [x@1 a="b"] it works"#,
            r#"{"syslog5424_pri":"34","syslog5424_ver":"1","syslog5424_ts":"2026-11-23T10:00:00.003Z","syslog5424_host":"host","syslog5424_app":"app","syslog5424_proc":"12","syslog5424_msgid":"ID47","syslog5424_sd":"[x@1 a=\"b\"]","syslog5424_msg":"it works"}"#,
        );
        check(
            "%{POSTGRESQL}",
            "2026-11-23 10:00:00.123 UTC [4711] ada@shop LOG:  duration: 12.5 ms",
            r#"{"timestamp":"2026-11-23 10:00:00.123 UTC","pid":"4711","user":"ada","database":"shop","level":"LOG","text":"duration: 12.5 ms"}"#,
        );
        check(
            "%{REDISLOG}",
            "4711:M 23 Nov 2026 10:00:00.123 * Ready to accept connections",
            r#"{"pid":"4711","role":"M","timestamp":"23 Nov 2026 10:00:00.123","level":"*","text":"Ready to accept connections"}"#,
        );
        check(
            r"%{TIMESTAMP_ISO8601:time} +%{LOGLEVEL:level} \[%{JAVATHREAD:thread}\] %{JAVACLASS:class} - %{JAVALOGMESSAGE:text}",
            "2026-11-23 10:00:00,123  WARN [http-nio-8080-exec-1] org.example.shop.Cart$Item - slow",
            r#"{"time":"2026-11-23 10:00:00,123","level":"WARN","thread":"http-nio-8080-exec-1","class":"org.example.shop.Cart$Item","text":"slow"}"#,
        );
        check(
            r"%{JAVASTACKTRACEPART}",
            "\tat org.example.Cart.add(Cart.java:42)",
            r#"{"class":"org.example.Cart","method":"add","file":"Cart.java","line":"42"}"#,
        );
    }

    #[test]
    fn single_names_mean_what_users_expect() {
        let fits = [
            ("IP", "::1"),
            ("IP", "2001:db8::8a2e:370:7334"),
            ("IP", "fe80::1%eth0"),
            ("IP", "::ffff:192.0.2.1"),
            ("IP", "2001:0db8:0000:0000:0000:8a2e:0370:7334"),
            ("IPV4", "255.249.10.0"),
            ("INT", "-42"),
            ("NUMBER", "+.5"),
            ("NUMBER", "12.75"),
            ("BASE16NUM", "0xDEADbeef"),
            ("UUID", "123e4567-e89b-12d3-a456-426614174000"),
            ("MAC", "00:1A:2b:3c:4d:5e"),
            ("HOSTNAME", "a-b.example.org"),
            ("HOSTPORT", "example.org:8080"),
            ("EMAILADDRESS", "ada.l+x@example.org"),
            ("UNIXPATH", "/var/log/x-1.log"),
            ("WINPATH", r"C:\Program\x.exe"),
            ("URI", "https://ada@example.org:8443/a/b;c?d=e&f=%20#g"),
            ("QS", r#""a \" b""#),
            ("QS", "'x'"),
            ("TIMESTAMP_ISO8601", "2026-11-23T10:00:00.123456+01:00"),
            ("TIMESTAMP_ISO8601", "2026-11-23 10:00"),
            ("HTTPDATE", "23/Nov/2026:10:00:00 +0000"),
            ("SYSLOGTIMESTAMP", "Nov 23 10:00:00"),
            ("LOGLEVEL", "WARNING"),
            ("LOGLEVEL", "emerg"),
            ("DATESTAMP_RFC2822", "Mon, 23 Nov 2026 10:00:00 +0000"),
            ("DATE_EU", "23.11.2026"),
            ("DATE_US", "11/23/2026"),
            ("TIME", "23:59:60"),
            ("DAY", "Monday"),
            ("MONTH", "September"),
        ];
        for (name, text) in fits {
            let whole = grok(&format!("^%{{{name}}}$"));
            assert!(cut(&whole, text).is_some(), "{name} should fit {text}");
        }
        let fits_not = [
            ("IPV4", "256.1.1.1"),
            ("IPV4", "1.2.3"),
            ("IPV6", "1:2:3:4:5:6:7:8:9"),
            ("IPV6", "10:00:00"),
            ("INT", "4a"),
            ("UUID", "123e4567e89b12d3a456426614174000"),
            ("MONTHDAY", "32"),
            ("HOUR", "25"),
            ("HTTPDATE", "23/Nov/2026 10:00:00"),
            ("LOGLEVEL", "LOUD"),
            ("WORD", "a b"),
        ];
        for (name, text) in fits_not {
            let whole = grok(&format!("^%{{{name}}}$"));
            assert!(cut(&whole, text).is_none(), "{name} should not fit {text}");
        }
    }

    #[test]
    fn types_are_converted_and_what_does_not_convert_stays_text() {
        check("%{NOTSPACE:v:int}", "007", r#"{"v":7}"#);
        check("%{NOTSPACE:v:int}", "-0", r#"{"v":0}"#);
        check(
            "%{NOTSPACE:v:int}",
            "123456789012345678901234567890",
            r#"{"v":123456789012345678901234567890}"#,
        );
        check("%{NOTSPACE:v:int}", "12ms", r#"{"v":"12ms"}"#);
        check("%{NUMBER:v:float}", "0.470", r#"{"v":0.470}"#);
        check("%{NUMBER:v:float}", "+.5", r#"{"v":0.5}"#);
        check("%{WORD:v:float}", "inf", r#"{"v":"inf"}"#);
        check("%{WORD:v:bool}", "TRUE", r#"{"v":true}"#);
        check("%{WORD:v:string}", "7", r#"{"v":"7"}"#);
    }

    #[test]
    fn names_may_be_nested_inline_or_the_users_own() {
        check(
            "%{WORD:[http][method]} %{INT:a.b}",
            "GET 1",
            r#"{"http.method":"GET","a.b":"1"}"#,
        );
        check(
            r"(?<queue_id>[0-9A-F]{10,11}): (?<x>a|(b))",
            "BEF25A72965: b",
            r#"{"queue_id":"BEF25A72965","x":"b"}"#,
        );
        check("(?>a+)(?:%{INT:n:int}|%{WORD:n})", "aa12", r#"{"n":12}"#);
        let own = Grok::compile(&Settings {
            field: "message".to_owned(),
            patterns: vec!["never".to_owned(), "%{ORDER:order} %{WORD}".to_owned()],
            definitions: BTreeMap::from([
                ("ORDER".to_owned(), "%{PREFIX}-[0-9]+".to_owned()),
                ("PREFIX".to_owned(), "(A|B)".to_owned()),
            ]),
            ..Settings::default()
        });
        assert_eq!(
            cut(&own.unwrap(), "B-12 paid").as_deref(),
            Some(r#"{"order":"B-12"}"#)
        );
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        let loop_of_two = BTreeMap::from([
            ("A".to_owned(), "x%{B}".to_owned()),
            ("B".to_owned(), "%{A}".to_owned()),
        ]);
        let cases = [
            ("%{NOPE:x}", "no pattern is named NOPE"),
            ("%{COMBINEDAPACHELOGS}", "did you mean COMBINEDAPACHELOG"),
            ("%{A}", "A refers to itself through A, B"),
            ("%{INT:x:integer}", "unknown type integer"),
            ("%{INT:x", "%{ without }"),
            ("a(?=b)", "look-around"),
            ("(?<!b)c", "look-around"),
            ("(a", "unclosed group"),
            (r"(a)\1", "back-reference"),
        ];
        for (pattern, part) in cases {
            let problem = Grok::compile(&Settings {
                pattern: Some(pattern.to_owned()),
                definitions: loop_of_two.clone(),
                ..Settings::default()
            })
            .err()
            .unwrap_or_else(|| panic!("{pattern} is taken"));
            assert!(problem.contains(part), "{pattern}: {problem}");
        }
        assert!(Grok::compile(&Settings::default()).is_err());
    }

    #[test]
    fn an_expansion_without_end_is_stopped() {
        let doubling =
            (0..30).map(|n| (format!("P{n}"), format!("%{{P{}}}%{{P{}}}", n + 1, n + 1)));
        let mut definitions: BTreeMap<String, String> = doubling.collect();
        definitions.insert("P30".to_owned(), "x".to_owned());
        let problem = Grok::compile(&Settings {
            pattern: Some("%{P0}".to_owned()),
            definitions,
            ..Settings::default()
        });
        assert!(problem.err().unwrap().contains("longer than"));
    }

    proptest! {
        #[test]
        fn any_pattern_is_taken_or_refused(pattern in r"[%{}()<>?:a-cP\[\]\\=!0-9*+.|-]{0,30}", line in ".{0,30}") {
            let settings = Settings { field: "message".to_owned(), pattern: Some(pattern), ..Settings::default() };
            if let Ok(grok) = Grok::compile(&settings) {
                cut(&grok, &line);
            }
        }
    }
}
