//! A quick look at documents as programs write them: whether one is a JSON object for certain, and where its time stands.
//!
//! It takes a part of RFC 8259's grammar (no white space but blanks, at most 64 levels) and leaves the rest, and every
//! mistake, to serde (`document.rs`), which knows the whole grammar and says what is wrong. What it takes serde takes
//! too; a test compares both.

/// The top-level `@timestamp` of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainTime<'a> {
    /// There is none.
    None,
    /// A text without escapes.
    Text(&'a str),
    /// Something else, for serde to read.
    Other,
}

/// Answers the last top-level `@timestamp` of a document that is one JSON object; `None` when serde must look at it.
pub fn look_at(document: &str) -> Option<PlainTime<'_>> {
    let bytes = document.as_bytes();
    // Control characters are wrong in texts, and white space between tokens is rare.
    if bytes.iter().any(|byte| *byte < b' ') {
        return None;
    }
    let mut look = Look {
        document,
        bytes,
        at: 0,
    };
    look.object()
}

struct Look<'a> {
    document: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// Containers that are open: bit 0 is the innermost, 1 is an object.
struct Open {
    kinds: u64,
    depth: u32,
}

impl<'a> Look<'a> {
    fn object(&mut self) -> Option<PlainTime<'a>> {
        let mut time = PlainTime::None;
        let mut open = Open { kinds: 1, depth: 1 };
        self.skip_blanks();
        self.take(b'{')?;
        let mut may_end = true;
        loop {
            // A member of an object, or an element of an array, or its end.
            self.skip_blanks();
            let is_object = open.kinds & 1 == 1;
            let end = if is_object { b'}' } else { b']' };
            if may_end && self.bytes.get(self.at) == Some(&end) {
                self.at += 1;
                if self.close(&mut open)? {
                    return Some(time);
                }
                may_end = false;
                continue;
            }
            let mut is_time = false;
            if is_object {
                let key = self.text()?;
                // An escape may spell the same.
                if key.contains('\\') {
                    return None;
                }
                is_time = open.depth == 1 && key == "@timestamp";
                self.skip_blanks();
                self.take(b':')?;
                self.skip_blanks();
            }
            let start = self.at;
            match *self.bytes.get(self.at)? {
                b'"' => {
                    let text = self.text()?;
                    if is_time {
                        time = match text.contains('\\') {
                            true => PlainTime::Other,
                            false => PlainTime::Text(text),
                        };
                    }
                }
                bracket @ (b'{' | b'[') => {
                    if open.depth == u64::BITS {
                        return None;
                    }
                    open.kinds = open.kinds << 1 | u64::from(bracket == b'{');
                    open.depth += 1;
                    self.at += 1;
                    if is_time {
                        time = PlainTime::Other;
                    }
                    may_end = true;
                    continue;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => return None,
            }
            if is_time && self.bytes[start] != b'"' {
                time = PlainTime::Other;
            }
            if self.after_value(&mut open)? {
                return Some(time);
            }
            may_end = false;
        }
    }

    /// Goes over what follows a value: ends of containers, then a comma. Answers whether that was the end of all.
    fn after_value(&mut self, open: &mut Open) -> Option<bool> {
        loop {
            self.skip_blanks();
            match *self.bytes.get(self.at)? {
                b',' => {
                    self.at += 1;
                    return Some(false);
                }
                b'}' if open.kinds & 1 == 1 => {}
                b']' if open.kinds & 1 == 0 => {}
                _ => return None,
            }
            self.at += 1;
            open.kinds >>= 1;
            open.depth -= 1;
            if open.depth == 0 {
                return self.is_at_end().then_some(true);
            }
        }
    }

    /// Closes a container that has nothing in it; its bracket was taken.
    fn close(&mut self, open: &mut Open) -> Option<bool> {
        open.kinds >>= 1;
        open.depth -= 1;
        match open.depth {
            0 => self.is_at_end().then_some(true),
            _ => self.after_value(open),
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_blanks();
        self.at == self.bytes.len()
    }

    fn skip_blanks(&mut self) {
        while self.bytes.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let is_there = self.bytes.get(self.at) == Some(&byte);
        self.at += 1;
        is_there.then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is_there = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        is_there.then_some(())
    }

    /// Takes a text and answers what is between its quotes.
    fn text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.bytes.get(self.at..)?)?;
            if self.bytes[self.at] == b'"' {
                let text = &self.document[start..self.at];
                self.at += 1;
                return Some(text);
            }
            match *self.bytes.get(self.at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
                b'u' => {
                    let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    self.at += 6;
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        match *self.bytes.get(self.at)? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_taken() {
        let time = PlainTime::Text("2026");
        for (document, expected) in [
            ("{}", PlainTime::None),
            (" { \"a\" : [ ] , \"b\" : { } } ", PlainTime::None),
            (
                r#"{"a":{"@timestamp":"1"},"@timestamp":"2026","b":[1,-0.5e+3,[{}],"x\"\u00e9"]}"#,
                time,
            ),
            (r#"{"@timestamp":1,"@timestamp":"2026"}"#, time),
            (
                r#"{"@timestamp":"2026","@timestamp":[1]}"#,
                PlainTime::Other,
            ),
            (r#"{"@timestamp":"\u0032"}"#, PlainTime::Other),
            (
                r#"{"@timestamp":null,"t":true,"f":false}"#,
                PlainTime::Other,
            ),
        ] {
            assert_eq!(look_at(document), Some(expected), "{document}");
        }
    }

    #[test]
    fn what_is_not_is_left_to_serde() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
        for document in [
            "",
            "{",
            "[]",
            "{}x",
            "{},",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":[1,]}",
            "{\"a\":[,1]}",
            "{\"a\":1]",
            "{\"a\":[1}}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.1}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":tru}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\t\"}",
            "{\"\\u0040timestamp\":\"1\"}",
            "{\"a\":1}}",
            "{\"a\":\"",
            "{\"a\":1\n}",
            "{\"a\" 1}",
            "{a:1}",
            &deep,
        ] {
            assert_eq!(look_at(document), None, "{document}");
        }
    }
}
