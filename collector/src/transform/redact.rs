//! Takes secrets and personal data out of texts: `redact: { presets: [credit_card, email], patterns: ['pin=\d+'] }`.
//!
//! What is found is replaced by its name, `<email>`. Presets look for cheap signs first (an `@`, a row of digits), so
//! that lines without anything to hide cost little. All expressions are linear in the text.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use event::{Document, Timestamp, json_text};
use regex::{Regex, RegexSet};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Transform, TransformError, Verdict, check_field};

/// Every field.
const ALL: &str = "*";

/// Lengths of card numbers, ISO/IEC 7812. They begin with 2 to 6; what counts seconds or nanoseconds since 1970 begins
/// with 1.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// `redact: { presets: [email] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The fields whose texts are searched, also inside objects and lists; `"*"` is all of them, whose names are
    /// left alone.
    #[serde(default = "all_fields")]
    pub fields: Vec<String>,
    /// What is known to be looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub presets: Vec<Preset>,
    /// Regular expressions of the user's own. Where one has a group named `secret`, only that part is replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// What is written instead; without it, `<NAME>` with the preset's name or `redacted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
}

/// What is known to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// 13 to 19 digits, in groups or not, whose check digit (Luhn) is right.
    CreditCard,
    /// Addresses as people have them.
    Email,
    /// `Authorization: Bearer ...`, `Basic ...`, and JSON Web Tokens wherever they stand.
    BearerToken,
    /// Keys of well-known services by their look, private keys, and values of `api_key=`, `password:`, `secret=` and the
    /// like, in texts and as fields of such a name.
    ApiKey,
    /// IPv4 and IPv6.
    IpAddress,
}

/// The step, ready to run.
pub struct Redact {
    fields: Vec<String>,
    rules: Vec<Rule>,
}

struct Rule {
    search: Search,
    /// Fields of such a name hold nothing else.
    names: Option<Regex>,
    replacement: String,
}

enum Search {
    Cards,
    Addresses(Regex),
    Expressions {
        /// Whether any of them fits at all; one pass.
        any: RegexSet,
        each: Vec<Regex>,
        /// No text without one of these bytes fits.
        sign: Option<u8>,
    },
}

const EMAIL: &[&str] = &[r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"];
const BEARER: &[&str] = &[
    r"(?i)\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9._~+/=-]{8,})",
    r"\b(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)",
];
const API_KEY: &[&str] = &[
    // Amazon, GitHub, GitLab, Google, OpenAI and Anthropic, Slack, Stripe, npm, SendGrid.
    r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b",
    r"\b(?P<secret>gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b",
    r"\b(?P<secret>glpat-[A-Za-z0-9_-]{20,64})",
    r"\b(?P<secret>AIza[0-9A-Za-z_-]{35})",
    r"\b(?P<secret>sk-[A-Za-z0-9_-]{20,255})",
    r"\b(?P<secret>xox[abeprs]-[A-Za-z0-9-]{10,255})",
    r"\b(?P<secret>[rs]k_(?:live|test)_[0-9a-zA-Z]{16,255})",
    r"\b(?P<secret>npm_[A-Za-z0-9]{36})\b",
    r"\b(?P<secret>SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64})",
    // By the name in front: key=value, "key": "value", key: value, and JSON within JSON, with \" for each quote.
    r#"(?i)(?:api[_-]?key|apikey|access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|client[_-]?secret|secret[_-]?key|secret|passwd|password|pwd)\\*["']?\s*[=:]\s*\\*["']?(?P<secret>(?:[^\s"'&,;}\\]|\\[^\s"'\\]){3,})"#,
    // `token: ` stands in every parser's errors.
    r#"(?i)(?:^|[?&\s"'_-])token=(?P<secret>[^\s"'&,;}]{8,})"#,
    // To its end, or to the text's when the rest is in another line.
    r"(?s)-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY-----|\z)",
    // The password of a URL.
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,64}:(?P<secret>[^\s/@]{1,128})@",
];
/// Names of fields that hold a secret and nothing else, behind what tells whose it is: `db.password`, `x-api-key`.
const API_KEY_NAME: &str = r"(?i)(?:^|[._-])(?:api[_-]?key|apikey|access[_-]?key|secret[_-]?access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|client[_-]?secret|secret[_-]?key|private[_-]?key|secret|passwd|password|pwd)$|^token$";
/// Candidates; the standard library decides.
const ADDRESS: &str =
    r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}";

impl Redact {
    /// Compiles the expressions.
    ///
    /// # Errors
    /// There is nothing to look for, or an expression cannot be used.
    pub fn compile(settings: &Settings) -> Result<Redact, String> {
        if settings.presets.is_empty() && settings.patterns.is_empty() {
            return Err(
                "nothing to look for; write for instance presets: [credit_card, email]".to_owned(),
            );
        }
        if settings.fields.is_empty() {
            return Err("fields is empty; write for instance fields: [message]".to_owned());
        }
        for field in &settings.fields {
            check_field(field)?;
        }
        let replacement = |name: &str| {
            let own = settings.replacement.clone();
            own.unwrap_or_else(|| format!("<{name}>"))
        };
        let mut rules = Vec::new();
        if !settings.patterns.is_empty() {
            let patterns: Vec<&str> = settings.patterns.iter().map(String::as_str).collect();
            rules.push(Rule {
                search: expressions(&patterns, None)?,
                names: None,
                replacement: replacement("redacted"),
            });
        }
        let api_key_names = Regex::new(API_KEY_NAME).map_err(|error| error.to_string())?;
        for preset in &settings.presets {
            let (name, search) = match preset {
                Preset::CreditCard => ("credit_card", Search::Cards),
                Preset::Email => ("email", expressions(EMAIL, Some(b'@'))?),
                Preset::BearerToken => ("bearer_token", expressions(BEARER, None)?),
                Preset::ApiKey => ("api_key", expressions(API_KEY, None)?),
                Preset::IpAddress => ("ip_address", address_search()?),
            };
            rules.push(Rule {
                search,
                names: (*preset == Preset::ApiKey).then(|| api_key_names.clone()),
                replacement: replacement(name),
            });
        }
        Ok(Redact {
            fields: settings.fields.clone(),
            rules,
        })
    }

    /// The text without what is looked for; `None` when there is nothing.
    fn redacted(&self, text: &str) -> Option<String> {
        let mut out: Option<String> = None;
        for rule in &self.rules {
            let current = out.as_deref().unwrap_or(text);
            let places = rule.search.places(current);
            if !places.is_empty() {
                out = Some(replaced(current, &places, &rule.replacement));
            }
        }
        out
    }

    /// The value of a field without what is looked for; `None` when there is nothing to hide.
    fn redacted_value(&self, name: &str, json: &str) -> Option<String> {
        let text = match json.starts_with('"') {
            true => json_text::unquoted(json)?,
            // A number may be a card's.
            false if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                Cow::Borrowed(json)
            }
            false => return None,
        };
        let holds_a_secret = |rule: &&Rule| {
            let names = rule.names.as_ref();
            !text.is_empty() && names.is_some_and(|names| names.is_match(name))
        };
        match self.rules.iter().find(holds_a_secret) {
            Some(rule) => Some(rule.replacement.clone()),
            None => self.redacted(&text),
        }
    }

    /// The JSON text of a field with all strings in it redacted, keys left alone; `None` when there is nothing to hide.
    fn redacted_json(&self, name: &str, json: &str) -> Option<String> {
        if !json.starts_with(['{', '[']) {
            return self.redacted_value(name, json).map(|text| quoted(&text));
        }
        let mut out: Option<String> = None;
        let mut copied = 0;
        for (key, place) in values(json) {
            let key = match key {
                Some(key) => json_text::unquoted(&json[key]).unwrap_or_default(),
                None => Cow::Borrowed(name),
            };
            let redacted = self.redacted_value(&key, &json[place.clone()]);
            let Some(redacted) = redacted else {
                continue;
            };
            let out = out.get_or_insert_with(String::new);
            out.push_str(&json[copied..place.start]);
            json_text::push_quoted(out, &redacted);
            copied = place.end;
        }
        let mut out = out?;
        out.push_str(&json[copied..]);
        Some(out)
    }

    fn redact_field(&self, field: &str, document: &mut Document) {
        let Some(redacted) = document
            .get(field)
            .and_then(|json| self.redacted_json(field, json))
        else {
            return;
        };
        let Ok(value) = serde_json::from_str::<&RawValue>(&redacted) else {
            return;
        };
        // A nested field moves out of its object, which must not keep it.
        let is_own = document.fields().any(|(name, _)| name == field);
        if !is_own {
            document.remove_path(field);
        }
        document.set(field, value);
    }
}

impl Transform for Redact {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        for field in &self.fields {
            if field != ALL {
                self.redact_field(field, document);
                continue;
            }
            let found: Vec<(String, String)> = document
                .fields()
                .filter(|(name, _)| *name != "@timestamp")
                .filter_map(|(name, json)| Some((name.to_owned(), self.redacted_json(name, json)?)))
                .collect();
            for (name, json) in found {
                if let Ok(value) = serde_json::from_str::<&RawValue>(&json) {
                    document.set(&name, value);
                }
            }
        }
        Ok(Verdict::Keep)
    }
}

impl Search {
    /// Where the text holds what is looked for, in order, without overlaps.
    fn places(&self, text: &str) -> Vec<Range<usize>> {
        match self {
            Search::Cards => cards(text),
            Search::Addresses(regex) => addresses(regex, text),
            Search::Expressions { any, each, sign } => {
                if sign.is_some_and(|sign| memchr::memchr(sign, text.as_bytes()).is_none()) {
                    return Vec::new();
                }
                let mut places = Vec::new();
                for number in any.matches(text) {
                    let secret = |found: regex::Captures<'_>| {
                        let whole = found.get(0).map(|part| part.range());
                        found.name("secret").map(|part| part.range()).or(whole)
                    };
                    places.extend(each[number].captures_iter(text).filter_map(secret));
                }
                merged(places)
            }
        }
    }
}

fn expressions(patterns: &[&str], sign: Option<u8>) -> Result<Search, String> {
    let each = patterns.iter().map(|pattern| {
        Regex::new(pattern).map_err(|error| format!("pattern {pattern:?}: {error}"))
    });
    Ok(Search::Expressions {
        each: each.collect::<Result<_, _>>()?,
        any: RegexSet::new(patterns).map_err(|error| error.to_string())?,
        sign,
    })
}

fn address_search() -> Result<Search, String> {
    let regex = Regex::new(ADDRESS).map_err(|error| error.to_string())?;
    Ok(Search::Addresses(regex))
}

/// Sorted, and what overlaps made one.
fn merged(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.sort_by_key(|place| place.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(places.len());
    for place in places {
        match merged.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => merged.push(place),
        }
    }
    merged
}

fn replaced(text: &str, places: &[Range<usize>], replacement: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for place in places {
        out.push_str(&text[copied..place.start]);
        out.push_str(replacement);
        copied = place.end;
    }
    out.push_str(&text[copied..]);
    out
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    json_text::push_quoted(&mut out, text);
    out
}

/// Where the strings that are values, and the numbers, stand in a valid JSON text, each with the key in front of it:
/// its own, or its list's.
fn values(json: &str) -> Vec<(Option<Range<usize>>, Range<usize>)> {
    let bytes = json.as_bytes();
    let mut values = Vec::new();
    let mut key = None;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let start = at;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                let behind = json[at..].trim_start();
                match behind.starts_with(':') {
                    true => key = Some(start..at),
                    false => values.push((key.clone(), start..at)),
                }
            }
            b'-' | b'0'..=b'9' => {
                let start = at;
                while at < bytes.len()
                    && !matches!(bytes[at], b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r')
                {
                    at += 1;
                }
                values.push((key.clone(), start..at));
            }
            _ => at += 1,
        }
    }
    values
}

/// Card numbers: groups of digits with one blank or hyphen between them, alone or together right by Luhn.
fn cards(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut places = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let groups = digit_groups(bytes, at);
        at = groups.last().map_or(at + 1, |group| group.end);
        places.extend(cards_of(bytes, &groups));
    }
    places
}

/// The groups of digits from `at` on that only one blank or hyphen keeps apart.
fn digit_groups(bytes: &[u8], mut at: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    loop {
        let start = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        groups.push(start..at);
        let is_joined = matches!(bytes.get(at), Some(b' ' | b'-'))
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !is_joined {
            return groups;
        }
        at += 1;
    }
}

/// The longest runs of whole groups that are card numbers, from the left. At most 19 groups are looked at per start.
fn cards_of(bytes: &[u8], groups: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut first = 0;
    while first < groups.len() {
        let mut digits = 0;
        let mut found = None;
        for (last, group) in groups.iter().enumerate().skip(first) {
            digits += group.len();
            if digits > *CARD_DIGITS.end() {
                break;
            }
            // Printed in groups of four, or of four, six and five: dates and times are not.
            let is_printed = last == first || (groups[first].len() == 4 && group.len() >= 3);
            if !is_printed {
                break;
            }
            let place = groups[first].start..group.end;
            if CARD_DIGITS.contains(&digits) && is_card(&bytes[place.clone()]) {
                found = Some((last, place));
            }
        }
        match found {
            Some((last, place)) => {
                places.push(place);
                first = last + 1;
            }
            None => first += 1,
        }
    }
    places
}

/// Luhn's check digit, an issuer that gives cards, and not one digit over and over.
fn is_card(text: &[u8]) -> bool {
    if !matches!(text.first(), Some(b'2'..=b'6')) {
        return false;
    }
    let digits = || text.iter().rev().filter(|byte| byte.is_ascii_digit());
    let sum: u32 = digits()
        .enumerate()
        .map(|(at, byte)| match (u32::from(byte - b'0'), at % 2) {
            (digit, 0) => digit,
            (digit, _) if digit > 4 => 2 * digit - 9,
            (digit, _) => 2 * digit,
        })
        .sum();
    let mut sorted = digits();
    let first = sorted.next();
    sum.is_multiple_of(10) && sorted.any(|digit| Some(digit) != first)
}

fn addresses(regex: &Regex, text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let is_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut places = Vec::new();
    for found in regex.find_iter(text) {
        // `::` of a path, and `1.2.3.4.5` of a version, are none.
        let text = found.as_str().trim_end_matches(['.', ':']);
        let text = if found.as_str().ends_with("::") {
            found.as_str()
        } else {
            text
        };
        let end = found.start() + text.len();
        let before = found.start().checked_sub(1).and_then(|at| bytes.get(at));
        let goes_on =
            bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        let is_part =
            is_word(before) || before == Some(&b'.') || is_word(bytes.get(end)) || goes_on;
        if !is_part && text != "::" && text.parse::<IpAddr>().is_ok() {
            places.push(found.start()..end);
        }
    }
    places
}

fn all_fields() -> Vec<String> {
    vec![ALL.to_owned()]
}

/// Kept so that other parts may redact a text alone.
impl Redact {
    /// The text without what is looked for.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redacted(text) {
            Some(redacted) => Cow::Owned(redacted),
            None => Cow::Borrowed(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tried::{run, step};
    use super::*;

    fn redact(settings: &str) -> Redact {
        Redact::compile(&serde_json::from_str(settings).unwrap()).unwrap()
    }

    fn check(preset: &str, cases: &[(&str, &str)]) {
        let redact = redact(&format!("{{\"presets\":[\"{preset}\"]}}"));
        for (text, expected) in cases {
            assert_eq!(redact.text(text), *expected, "{preset}: {text}");
        }
    }

    #[test]
    fn cards_are_found_by_their_check_digit() {
        check(
            "credit_card",
            &[
                ("card 4111111111111111 paid", "card <credit_card> paid"),
                ("4111 1111 1111 1111", "<credit_card>"),
                ("3782-822463-10005", "<credit_card>"),
                // Numbers beside it, and order numbers, are no cards.
                ("12 4111 1111 1111 1111", "12 <credit_card>"),
                ("4111111111111112", "4111111111111112"),
                ("0000000000000000", "0000000000000000"),
                (
                    "order 12345678901234567890123 done",
                    "order 12345678901234567890123 done",
                ),
                ("1795428000000 10.0.0.7", "1795428000000 10.0.0.7"),
                (
                    "1795428000000000008 2026-11-23 100000001",
                    "1795428000000000008 2026-11-23 100000001",
                ),
            ],
        );
    }

    #[test]
    fn addresses_and_tokens_are_found() {
        check(
            "email",
            &[
                ("mail ada.l+x@mail.example.org, sent", "mail <email>, sent"),
                ("user@localhost a@b", "user@localhost a@b"),
            ],
        );
        check(
            "bearer_token",
            &[
                (
                    "Authorization: Bearer abc.DEF-123456",
                    "Authorization: Bearer <bearer_token>",
                ),
                (
                    "t=eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
                    "t=<bearer_token>",
                ),
                ("a bearer of news", "a bearer of news"),
            ],
        );
        check(
            "api_key",
            &[
                ("AKIAIOSFODNN7EXAMPLE used", "<api_key> used"),
                ("GET /x?api_key=s3cr3t&y=1", "GET /x?api_key=<api_key>&y=1"),
                (
                    r#"{"password": "hunter2", "a":1}"#,
                    r#"{"password": "<api_key>", "a":1}"#,
                ),
                (
                    "postgres://shop:pa55@db/shop",
                    "postgres://shop:<api_key>@db/shop",
                ),
                ("the secret of life", "the secret of life"),
                (
                    r#"{"log":"{\"password\":\"hunter2\",\"a\":1}"}"#,
                    r#"{"log":"{\"password\":\"<api_key>\",\"a\":1}"}"#,
                ),
                ("GET /x?token=0123456789&y=1", "GET /x?token=<api_key>&y=1"),
                (
                    "unexpected token: identifier",
                    "unexpected token: identifier",
                ),
                (
                    "key -----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY----- end",
                    "key <api_key> end",
                ),
                ("-----BEGIN PRIVATE KEY-----", "<api_key>"),
                ("-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"),
            ],
        );
        check(
            "ip_address",
            &[
                (
                    "from 10.0.0.7:443, 2001:db8::1 and ::1.",
                    "from <ip_address>:443, <ip_address> and <ip_address>.",
                ),
                (
                    "v1.2.3.4 1.2.3.4.5 999.1.1.1 std::fmt 10:00:00",
                    "v1.2.3.4 1.2.3.4.5 999.1.1.1 std::fmt 10:00:00",
                ),
            ],
        );
    }

    #[test]
    fn all_strings_are_searched_and_keys_left_alone() {
        assert_eq!(
            run(
                r#"{"redact":{"presets":["email","credit_card"]}}"#,
                r#"{"message":"a\"b ada@example.org","o":{"ada@example.org":[1.50,"x ada@example.org", 4111111111111111]},"n":0.470}"#
            )
            .unwrap(),
            r#"{"message":"a\"b <email>","o":{"ada@example.org":[1.50,"x <email>", "<credit_card>"]},"n":0.470}"#
        );
        assert_eq!(
            run(
                r#"{"redact":{"fields":["message","o.p"],"patterns":["pin=(?P<secret>\\d+)"],"replacement":"***"}}"#,
                r#"{"message":"pin=1 pin=22","o":{"p":"pin=3","q":"pin=4"}}"#
            )
            .unwrap(),
            r#"{"message":"pin=*** pin=***","o":{"q":"pin=4"},"o.p":"pin=***"}"#
        );
        // A field's name tells as much as the one in front of a value in a text.
        assert_eq!(
            run(
                r#"{"redact":{"presets":["api_key"]}}"#,
                r#"{"password":"hunter2","db.password":"x","o":{"x-api-key":["a","b"],"pin":7,"token":"t","a":{"client_secret":12}},"secretary":"ann","token":"","passwords":true}"#
            )
            .unwrap(),
            r#"{"password":"<api_key>","db.password":"<api_key>","o":{"x-api-key":["<api_key>","<api_key>"],"pin":7,"token":"<api_key>","a":{"client_secret":"<api_key>"}},"secretary":"ann","token":"","passwords":true}"#
        );
        for wrong in [
            "{}",
            r#"{"patterns":["("]}"#,
            r#"{"presets":["ssn"]}"#,
            r#"{"presets":["email"],"fields":[]}"#,
        ] {
            assert!(step(&format!("{{\"redact\":{wrong}}}")).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// Whatever stands around it, a secret does not come out, and JSON stays JSON.
        #[test]
        fn no_card_or_address_comes_through(before in "[a-z \"\\\\]{0,8}", after in "[a-z \"\\\\]{0,8}") {
            let redact = redact(r#"{"presets":["credit_card","email","bearer_token","api_key","ip_address"]}"#);
            let text = format!("{before} 4111 1111 1111 1111 ada@example.org {after}");
            let mut document = Document::new();
            document.set_value("o", &vec![text.clone()]);
            redact.apply(&mut document, Timestamp::MIN).unwrap();
            let out = String::from_utf8(document.to_bytes().to_vec()).unwrap();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
            prop_assert!(!out.contains("1111") && !out.contains("example"), "{out}");
        }

        #[test]
        fn any_text_is_searched(text in "[0-9a-f:@. -]{0,60}") {
            let redact = redact(r#"{"presets":["credit_card","email","bearer_token","api_key","ip_address"]}"#);
            let _ = redact.text(&text);
        }
    }
}
