//! Apache's common and combined log formats, which nginx and many others write, too.

use event::{Document, Timestamp};

use super::super::logfmt::quoted_length;
use super::{add_level, add_number, add_str, set_time, time};

/// Adds what an access log's line tells; answers no, and adds nothing, when it is none.
pub fn parse(line: &str, document: &mut Document, arrived: Timestamp) -> bool {
    let Some(parts) = Parts::of(line) else {
        return false;
    };
    let Some(time) = time::read_http(parts.time) else {
        return false;
    };
    set_time(document, Some(time), arrived);
    add_str(document, "client.address", parts.client);
    if parts.user != "-" {
        add_str(document, "user.name", parts.user);
    }
    add_request(document, parts.request);
    add_number(document, "http.response.status_code", parts.status);
    if parts.bytes != "-" {
        add_number(document, "http.response.body.bytes", parts.bytes);
    }
    for (name, text) in [
        ("http.request.referrer", parts.referrer),
        ("user_agent.original", parts.agent),
    ] {
        if let Some(text) = text.filter(|text| !matches!(*text, "-" | "")) {
            add_str(document, name, text);
        }
    }
    let level = match parts.status.as_bytes()[0] {
        b'5' => "error",
        b'4' => "warn",
        _ => "info",
    };
    add_level(document, level);
    true
}

/// `GET /x HTTP/1.1`; anything else, as scanners send it, stays whole.
fn add_request(document: &mut Document, request: &str) {
    let parts = request.split_once(' ').and_then(|(method, rest)| {
        let (url, protocol) = rest.rsplit_once(' ')?;
        let version = protocol.strip_prefix("HTTP/")?;
        let is_method = method.bytes().all(|byte| byte.is_ascii_uppercase());
        is_method.then_some((method, url, version))
    });
    match parts {
        Some((method, url, version)) => {
            add_str(document, "http.request.method", method);
            add_str(document, "url.original", url);
            add_str(document, "http.version", version);
        }
        None => add_str(document, "http.request.original", request),
    }
}

struct Parts<'a> {
    client: &'a str,
    user: &'a str,
    time: &'a str,
    request: &'a str,
    status: &'a str,
    bytes: &'a str,
    referrer: Option<&'a str>,
    agent: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(line: &'a str) -> Option<Parts<'a>> {
        let (client, rest) = line.split_once(' ')?;
        let (_ident, rest) = rest.split_once(' ')?;
        // A user's name may have blanks; the time cannot be mistaken.
        let (user, rest) = rest.split_once(" [")?;
        let (time, rest) = rest.split_once("] \"")?;
        let (request, rest) = quoted(rest)?;
        let rest = rest.strip_prefix(' ')?;
        let (status, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        if !is_status {
            return None;
        }
        let (bytes, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut next = || {
            let (text, behind) = quoted(rest.strip_prefix('"')?)?;
            rest = behind.strip_prefix(' ').unwrap_or("");
            Some(text)
        };
        Some(Parts {
            client,
            user,
            time,
            request,
            status,
            bytes,
            referrer: next(),
            agent: next(),
        })
    }
}

/// The text in front of the closing quote, and what follows it. Escapes stay as the server wrote them.
fn quoted(inner: &str) -> Option<(&str, &str)> {
    let length = quoted_length(inner)?;
    Some((&inner[..length], &inner[length + 1..]))
}
