//! The labels of a stream: `{app="shop", env="prod"}`.

/// Names and values, sorted by name; those without a value are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The pairs.
    pub pairs: Vec<(String, String)>,
}

impl Labels {
    /// Of pairs in any order; of a name that is there twice the last value counts.
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Labels {
        let mut pairs: Vec<(String, String)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.reverse();
        pairs.dedup_by(|a, b| a.0 == b.0);
        pairs.reverse();
        pairs.retain(|(_, value)| !value.is_empty());
        Labels { pairs }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// What was expected, and where, in characters from 1.
    pub fn parse(text: &str) -> Result<Labels, String> {
        let mut parser = Parser { text, at: 0 };
        let pairs = parser.labels().map_err(|expected| {
            let column = text[..parser.at].chars().count() + 1;
            let shown: String = text.chars().take(256).collect();
            format!("error parsing labels {shown}: expected {expected} at character {column}")
        })?;
        Ok(Labels::of(pairs))
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(label, _)| label == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// The first of several labels, unless the stream names its service itself.
    pub fn service<const N: usize>(&self, names: [&str; N]) -> Option<&str> {
        self.get("service_name")
            .or_else(|| names.iter().find_map(|name| self.get(name)))
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn labels(&mut self) -> Result<Vec<(String, String)>, &'static str> {
        let mut pairs = Vec::new();
        self.expect('{', "{")?;
        self.blanks();
        while !self.takes('}') {
            let name = self.name()?;
            self.blanks();
            self.expect('=', "=")?;
            self.blanks();
            let value = self.value()?;
            pairs.push((name, value));
            self.blanks();
            if !self.takes(',') {
                self.expect('}', ", or }")?;
                break;
            }
            self.blanks();
        }
        self.blanks();
        match self.rest().is_empty() {
            true => Ok(pairs),
            false => Err("nothing more"),
        }
    }

    /// A name as it is, or in quotes, as those with other characters are written.
    fn name(&mut self) -> Result<String, &'static str> {
        if self.rest().starts_with('"') {
            return self.value();
        }
        let rest = self.rest();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.');
        let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err("a label's name");
        }
        let name = rest[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    /// A string with Go's escapes, or a raw one between backticks.
    fn value(&mut self) -> Result<String, &'static str> {
        if self.takes('`') {
            let end = self.rest().find('`').ok_or("a closing `")?;
            let value = self.rest()[..end].to_owned();
            self.at += end + 1;
            return Ok(value);
        }
        self.expect('"', "a value in quotes")?;
        // Bytes, because `\x` escapes write single ones.
        let mut value = Vec::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err("a closing quote");
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(String::from_utf8_lossy(&value).into_owned()),
                '\\' => self.escape(&mut value)?,
                c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, value: &mut Vec<u8>) -> Result<(), &'static str> {
        let Some(c) = self.rest().chars().next() else {
            return Err("an escape");
        };
        self.at += c.len_utf8();
        let byte = match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '"' | '\'' => c as u8,
            'x' => {
                let code = self.hexadecimal(2)?;
                u8::try_from(code).map_err(|_| "two hexadecimal digits")?
            }
            'u' | 'U' => {
                let code = self.hexadecimal(if c == 'u' { 4 } else { 8 })?;
                let c = char::from_u32(code).ok_or("the code of a character")?;
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err("an escape that Go knows"),
        };
        value.push(byte);
        Ok(())
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32, &'static str> {
        let text = self.rest().get(..digits).ok_or("hexadecimal digits")?;
        let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(text, 16)
            .ok()
            .filter(|_| is_hexadecimal);
        self.at += digits;
        code.ok_or("hexadecimal digits")
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn takes(&mut self, c: char) -> bool {
        let takes = self.rest().starts_with(c);
        if takes {
            self.at += c.len_utf8();
        }
        takes
    }

    fn expect(&mut self, c: char, expected: &'static str) -> Result<(), &'static str> {
        match self.takes(c) {
            true => Ok(()),
            false => Err(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Labels::parse(text).unwrap().pairs
    }

    #[test]
    fn labels_are_read_as_go_writes_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs(r#"{ job="a\"b\\c\n\u00e9\xc3\xa9", app = `x"y`, empty="", "odd name"="1",}"#),
            [
                pair("app", "x\"y"),
                pair("job", "a\"b\\c\n\u{e9}\u{e9}"),
                pair("odd name", "1")
            ]
        );
        assert_eq!(pairs("{}"), []);
        assert_eq!(pairs(r#"{a="1",a="2"}"#), [pair("a", "2")]);
        for (text, part) in [
            ("", "expected { at character 1"),
            ("{a}", "expected = at character 3"),
            (r#"{a="b"#, "a closing quote"),
            (r#"{a="b" c="d"}"#, "expected , or } at character 8"),
            (r#"{a="b"}x"#, "nothing more"),
            (r#"{a="\q"}"#, "an escape that Go knows"),
            (r#"{é="\u00"}"#, "hexadecimal"),
        ] {
            let problem = Labels::parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}a=\",\\\\xu0 `\u{e9}]{0,30}") {
            let _ = Labels::parse(&text);
        }

        #[test]
        fn what_go_would_write_is_read_back(value in "[a-z\"\\\\\n\u{e9}]{1,12}") {
            let text = format!("{{a={}}}", serde_json::to_string(&value).unwrap());
            prop_assert_eq!(pairs(&text), [("a".to_owned(), value)]);
        }
    }
}
