//! Reads a `query_string` into its tree: one pass over the text, by recursive descent.
//!
//! Follows the grammar of Lucene's classic query parser. Deliberately more lenient: a slash inside a word is an ordinary
//! character (`a/b`), a value may begin with `-` or `+` (`f:-5`), a comparison may be followed by quotes (`f:>"a b"`).

use std::ops::Bound;

use super::super::bounds::{REGEXES_MAX, TERMS_MAX};
use super::ast::{Clause, Conjunction, Modifier, Node, Term};

/// Parentheses nest this deep at most, so that no text overflows the stack.
const DEPTH_MAX: usize = 100;

/// Parses a whole text.
///
/// # Errors
/// The text breaks the grammar; the message tells where and what was expected.
pub fn parse(text: &str) -> Result<Vec<Clause>, String> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        term_count: 0,
        regex_count: 0,
    };
    let clauses = parser.clauses(None)?;
    match parser.peek() {
        None => Ok(clauses),
        Some(_) => Err(parser.unexpected("a term, a phrase or \"(\"")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    term_count: usize,
    regex_count: usize,
}

/// A run of term characters, read.
struct Run {
    /// Escapes resolved.
    text: String,
    /// As a wildcard pattern: literal characters that mean something there are escaped.
    pattern: String,
    has_wildcard: bool,
    has_escape: bool,
}

impl Parser<'_> {
    fn clauses(&mut self, field: Option<&str>) -> Result<Vec<Clause>, String> {
        let mut clauses = Vec::new();
        loop {
            self.skip_blanks();
            if matches!(self.peek(), None | Some(')')) {
                return Ok(clauses);
            }
            let start = self.at;
            let conjunction = self.conjunction();
            if conjunction != Conjunction::Juxtaposed && clauses.is_empty() {
                self.at = start;
                return Err(self.unexpected("a term, a phrase or \"(\""));
            }
            self.skip_blanks();
            let modifier = self.modifier();
            self.skip_blanks();
            let node = self.clause(field)?;
            clauses.push(Clause {
                conjunction,
                modifier,
                node,
            });
        }
    }

    fn conjunction(&mut self) -> Conjunction {
        if self.take_keyword("AND") || self.take_keyword("&&") {
            Conjunction::And
        } else if self.take_keyword("OR") || self.take_keyword("||") {
            Conjunction::Or
        } else {
            Conjunction::Juxtaposed
        }
    }

    fn modifier(&mut self) -> Modifier {
        if self.take('+') {
            Modifier::Required
        } else if self.take('-') || self.take('!') || self.take_keyword("NOT") {
            Modifier::Prohibited
        } else {
            Modifier::Plain
        }
    }

    fn clause(&mut self, field: Option<&str>) -> Result<Node, String> {
        let name = self.field_name()?;
        let is_value = name.is_some();
        let field = name.as_deref().or(field);
        self.skip_blanks();
        self.term_count += 1;
        if self.term_count > TERMS_MAX {
            return Err(format!("more than {TERMS_MAX} terms"));
        }
        let node = match self.peek() {
            Some('(') => self.group(field)?,
            Some('"') => {
                let text = self.quoted()?;
                let slop = self.tilde().flatten().map(|slop| slop as u32);
                Node::Term(field.map(str::to_owned), Term::Phrase(text, slop))
            }
            Some('[' | '{') => Node::Term(field.map(str::to_owned), self.range()?),
            Some('/') => Node::Term(field.map(str::to_owned), self.regex()?),
            _ => Node::Term(field.map(str::to_owned), self.term(field, is_value)?),
        };
        self.boost()?;
        Ok(node)
    }

    /// `name:` if one is next. Blanks may stand around the colon.
    fn field_name(&mut self) -> Result<Option<String>, String> {
        let start = self.at;
        let run = self.run(false)?;
        let is_name = !run.has_wildcard || run.pattern == "*";
        let is_operator = !run.has_escape && is_keyword(&run.text);
        if is_name && !is_operator && !run.text.is_empty() {
            self.skip_blanks();
            if self.take(':') {
                return Ok(Some(run.text));
            }
        }
        self.at = start;
        Ok(None)
    }

    fn group(&mut self, field: Option<&str>) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!(
                "parentheses nest deeper than {DEPTH_MAX} at {}",
                self.place()
            ));
        }
        self.take('(');
        let clauses = self.clauses(field)?;
        if clauses.is_empty() || !self.take(')') {
            let expected = match clauses.is_empty() {
                true => "a term, a phrase or \"(\"",
                false => "\")\", AND, OR or a term",
            };
            return Err(self.unexpected(expected));
        }
        self.depth -= 1;
        Ok(Node::Group(clauses))
    }

    fn term(&mut self, field: Option<&str>, is_value: bool) -> Result<Term, String> {
        if let Some(comparison) = self.comparison(field)? {
            return Ok(comparison);
        }
        let start = self.at;
        let run = self.run(is_value)?;
        let is_operator = !run.has_escape && is_keyword(&run.text);
        if run.text.is_empty() || is_operator {
            self.at = start;
            return Err(self.unexpected("a term, a phrase or \"(\""));
        }
        if run.has_wildcard {
            // Lucene takes no `~` here; the number behind it would be lost silently.
            return Ok(Term::Wildcard(run.pattern));
        }
        self.boost()?;
        Ok(match self.tilde() {
            Some(edits) => Term::Fuzzy(run.text, edits),
            None => Term::Word(run.text),
        })
    }

    /// `>5`, `>=5`, `<5`, `<=5`; only where a field is named, as Elasticsearch has it.
    fn comparison(&mut self, field: Option<&str>) -> Result<Option<Term>, String> {
        let rest = &self.text[self.at..];
        let operator = [">=", "<=", ">", "<"]
            .into_iter()
            .find(|operator| rest.starts_with(operator));
        let Some(operator) = operator.filter(|_| field.is_some()) else {
            return Ok(None);
        };
        let start = self.at;
        self.at += operator.len();
        let value = match self.peek() {
            Some('"') => self.quoted()?,
            _ => {
                let run = self.run(true)?;
                match run.has_wildcard {
                    true => run.pattern,
                    false => run.text,
                }
            }
        };
        if value.is_empty() {
            self.at = start;
            return Ok(None);
        }
        let bound = match value.as_str() {
            "*" => Bound::Unbounded,
            _ if operator.len() == 2 => Bound::Included(value),
            _ => Bound::Excluded(value),
        };
        Ok(Some(match operator.starts_with('>') {
            true => Term::Range(bound, Bound::Unbounded),
            false => Term::Range(Bound::Unbounded, bound),
        }))
    }

    /// The characters of a term from here on; empty when none is next. As a value it may begin with a sign.
    fn run(&mut self, is_value: bool) -> Result<Run, String> {
        let mut run = Run {
            text: String::new(),
            pattern: String::new(),
            has_wildcard: false,
            has_escape: false,
        };
        while let Some(c) = self.peek() {
            let is_first = run.pattern.is_empty();
            match c {
                '\\' => {
                    let escaped = self.escaped()?;
                    run.has_escape = true;
                    push_literal(&mut run, escaped);
                    continue;
                }
                '*' | '?' => {
                    run.has_wildcard = true;
                    run.text.push(c);
                    run.pattern.push(c);
                }
                '+' | '-' if is_first && !is_value => break,
                '/' if is_first => break,
                c if ends_term(c) => break,
                c => push_literal(&mut run, c),
            }
            self.at += c.len_utf8();
        }
        Ok(run)
    }

    /// The character behind a backslash; `\u0041` is `A`.
    fn escaped(&mut self) -> Result<char, String> {
        self.take('\\');
        let Some(c) = self.peek() else {
            return Err(format!(
                "Term can not end with escape character at {}",
                self.place()
            ));
        };
        self.at += c.len_utf8();
        if c != 'u' {
            return Ok(c);
        }
        let digits = self.text.get(self.at..self.at + 4);
        let code = digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        // Without four digits it is the letter: Lucene refuses it, but paths on Windows have it.
        match code {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => Ok('u'),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let start = self.at;
        self.take('"');
        let mut text = String::new();
        loop {
            match self.peek() {
                None => {
                    self.at = start;
                    return Err(format!(
                        "expected '\"' for the one at {}; write \\\" for the character",
                        self.place()
                    ));
                }
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => text.push(self.escaped()?),
                Some(c) => {
                    text.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn regex(&mut self) -> Result<Term, String> {
        self.regex_count += 1;
        if self.regex_count > REGEXES_MAX {
            return Err(format!(
                "more than {REGEXES_MAX} regular expressions; join some with |"
            ));
        }
        let start = self.at;
        self.take('/');
        let mut regex = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '/' => return Ok(Term::Regex(regex)),
                '\\' => match self.peek() {
                    Some('/') => {
                        regex.push('/');
                        self.at += 1;
                    }
                    Some(next) => {
                        regex.push('\\');
                        regex.push(next);
                        self.at += next.len_utf8();
                    }
                    None => regex.push('\\'),
                },
                c => regex.push(c),
            }
        }
        self.at = start;
        Err(format!(
            "expected '/' for the one at {}; write \\/ or quotes for the character",
            self.place()
        ))
    }

    fn range(&mut self) -> Result<Term, String> {
        let includes_lower = self.take('[') || !self.take('{');
        let lower = self.range_bound()?;
        self.skip_blanks();
        // `TO` may be left out, as in Lucene.
        let is_to = self.text[self.at..].starts_with("TO")
            && self.text[self.at + 2..].starts_with([' ', '\t', '\n', '\r', '\u{3000}']);
        if is_to {
            self.at += 2;
        }
        let upper = self.range_bound()?;
        self.skip_blanks();
        let includes_upper = match self.peek() {
            Some(']') => true,
            Some('}') => false,
            _ => return Err(self.unexpected("\"]\" or \"}\"")),
        };
        self.at += 1;
        let bound = |value: Option<String>, is_included: bool| match value {
            None => Bound::Unbounded,
            Some(value) if is_included => Bound::Included(value),
            Some(value) => Bound::Excluded(value),
        };
        Ok(Term::Range(
            bound(lower, includes_lower),
            bound(upper, includes_upper),
        ))
    }

    /// `*` is no bound; everything up to a blank or a bracket belongs to it.
    fn range_bound(&mut self) -> Result<Option<String>, String> {
        self.skip_blanks();
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let start = self.at;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            match c {
                c if is_blank(c) || c == ']' || c == '}' => break,
                '\\' => text.push(self.escaped()?),
                c => {
                    text.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        if self.at == start {
            return Err(self.unexpected("a bound of the range"));
        }
        let is_open = &self.text[start..self.at] == "*";
        Ok((!is_open).then_some(text))
    }

    /// `~` or `~2` directly behind a term: the inner value is the number.
    fn tilde(&mut self) -> Option<Option<f64>> {
        self.take('~').then(|| self.number())
    }

    /// `^2` is read and forgotten: nothing is scored.
    fn boost(&mut self) -> Result<(), String> {
        if !self.take('^') {
            return Ok(());
        }
        match self.number() {
            Some(_) => Ok(()),
            None => Err(self.unexpected("a number")),
        }
    }

    fn number(&mut self) -> Option<f64> {
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let number = rest[..length].parse().ok()?;
        self.at += length;
        Some(number)
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let Some(after) = self.text[self.at..].strip_prefix(keyword) else {
            return false;
        };
        // `ANDROID` and `&&b` are words, `AND(` is not.
        let is_whole = match after.chars().next() {
            None => true,
            Some('\\' | '*' | '?' | '+' | '-' | '/') => false,
            Some(next) => ends_term(next),
        };
        if is_whole {
            self.at += keyword.len();
        }
        is_whole
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.at += wanted.len_utf8();
        }
        is_next
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.peek().filter(|c| is_blank(*c)) {
            self.at += c.len_utf8();
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn unexpected(&self, expected: &str) -> String {
        let found: String = match self.peek() {
            None => "<EOF>".to_owned(),
            Some(_) => self.text[self.at..]
                .chars()
                .take_while(|c| !is_blank(*c))
                .take(20)
                .collect(),
        };
        format!(
            "Encountered \"{found}\" at {}. Was expecting {expected}",
            self.place()
        )
    }

    /// Lines count from 1, columns in characters from 0, as Lucene tells them.
    fn place(&self) -> String {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |line| line.chars().count());
        format!("line {line}, column {column}")
    }
}

fn push_literal(run: &mut Run, c: char) {
    run.text.push(c);
    if matches!(c, '*' | '?' | '\\') {
        run.pattern.push('\\');
    }
    run.pattern.push(c);
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{3000}')
}

fn ends_term(c: char) -> bool {
    is_blank(c)
        || matches!(
            c,
            '!' | '(' | ')' | ':' | '^' | '[' | ']' | '"' | '{' | '}' | '~'
        )
}

fn is_keyword(text: &str) -> bool {
    matches!(text, "AND" | "OR" | "NOT" | "&&" | "||")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tree in Lucene's own notation of modifiers, before booleans are decided.
    fn draw(clauses: &[Clause]) -> String {
        let one = |clause: &Clause| {
            let conjunction = match clause.conjunction {
                Conjunction::Juxtaposed => "",
                Conjunction::And => "& ",
                Conjunction::Or => "| ",
            };
            let modifier = match clause.modifier {
                Modifier::Plain => "",
                Modifier::Required => "+",
                Modifier::Prohibited => "-",
            };
            let node = match &clause.node {
                Node::Group(clauses) => format!("({})", draw(clauses)),
                Node::Term(field, term) => {
                    let field = field.as_ref().map_or(String::new(), |f| format!("{f}:"));
                    format!("{field}{}", draw_term(term))
                }
            };
            format!("{conjunction}{modifier}{node}")
        };
        clauses.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn draw_term(term: &Term) -> String {
        let bound = |bound: &Bound<String>| match bound {
            Bound::Unbounded => "*".to_owned(),
            Bound::Included(value) => format!("={value}"),
            Bound::Excluded(value) => value.clone(),
        };
        match term {
            Term::Word(text) => format!("<{text}>"),
            Term::Phrase(text, None) => format!("'{text}'"),
            Term::Phrase(text, Some(slop)) => format!("'{text}'~{slop}"),
            Term::Wildcard(pattern) => format!("w<{pattern}>"),
            Term::Regex(regex) => format!("/{regex}/"),
            Term::Fuzzy(text, edits) => format!("<{text}>~{edits:?}"),
            Term::Range(lower, upper) => format!("[{}..{}]", bound(lower), bound(upper)),
        }
    }

    #[test]
    fn every_form_of_the_grammar_is_read() {
        let cases = [
            ("error", "<error>"),
            ("a b", "<a> <b>"),
            ("a AND b OR c", "<a> & <b> | <c>"),
            ("a && b || !c", "<a> & <b> | -<c>"),
            ("a AND -k:\"v\"", "<a> & -k:'v'"),
            ("a AND NOT b", "<a> & -<b>"),
            ("+a -b", "+<a> -<b>"),
            ("a - b", "<a> -<b>"),
            ("and or not", "<and> <or> <not>"),
            ("ANDROID NOTE", "<ANDROID> <NOTE>"),
            ("a&&b", "<a&&b>"),
            ("(a OR b) AND c", "(<a> | <b>) & <c>"),
            ("NOT(a)", "-(<a>)"),
            ("\"a b\"", "'a b'"),
            ("\"a \\\"b\\\"\"~2", "'a \"b\"'~2"),
            ("f:x", "f:<x>"),
            ("f : x", "f:<x>"),
            ("f:\"x y\"", "f:'x y'"),
            ("f:(a OR b)", "(f:<a> | f:<b>)"),
            ("f:(+a -g:b)", "(+f:<a> -g:<b>)"),
            ("a\\ b:x", "a b:<x>"),
            ("k8s.\\*:x", "k8s.*:<x>"),
            ("\\(1\\+1\\)\\:2", "<(1+1):2>"),
            ("\\u0041\\x", "<Ax>"),
            ("\\<b\\>", "<<b>>"),
            ("\\AND", "<AND>"),
            ("_exists_:f", "_exists_:<f>"),
            ("f:*", "f:w<*>"),
            ("*", "w<*>"),
            ("*:*", "*:w<*>"),
            ("te?t te* *est", "w<te?t> w<te*> w<*est>"),
            ("te\\*t*", "w<te\\*t*>"),
            ("/jo(hn|e)/", "/jo(hn|e)/"),
            ("f:/re\\/gex\\.x/", "f:/re/gex\\.x/"),
            ("f:[1 TO 5]", "f:[=1..=5]"),
            ("f:[1 TO *}", "f:[=1..*]"),
            ("f:{a TO b}", "f:[a..b]"),
            ("f:[\"a b\" TO now-1d/d]", "f:[=a b..=now-1d/d]"),
            ("f:[1 5]", "f:[=1..=5]"),
            (
                "f:[2026-11-23T10:00:00 TO *]",
                "f:[=2026-11-23T10:00:00..*]",
            ),
            ("f:>5", "f:[5..*]"),
            ("f:<=5", "f:[*..=5]"),
            ("f:(>=10 AND <20)", "(f:[=10..*] & f:[*..20])"),
            ("f:>=now-1d", "f:[=now-1d..*]"),
            ("f:>\"a b\"", "f:[a b..*]"),
            (">5", "<>5>"),
            ("f:-5", "f:<-5>"),
            ("f:a-b+c", "f:<a-b+c>"),
            (
                "term~ term~1 term~0.8",
                "<term>~None <term>~Some(1.0) <term>~Some(0.8)",
            ),
            (
                "x^2 \"a b\"^3 (a b)^1.5 y^2~1",
                "<x> 'a b' (<a> <b>) <y>~Some(1.0)",
            ),
            ("http/1.1", "<http/1.1>"),
            ("größe:é", "größe:<é>"),
            ("  ", ""),
            ("a\u{3000}b", "<a> <b>"),
            ("key:(\"a\" OR \"b\")", "(key:'a' | key:'b')"),
            ("a=b", "<a=b>"),
        ];
        for (text, expected) in cases {
            let clauses = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(draw(&clauses), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let cases = [
            ("a AND", "Encountered \"<EOF>\" at line 1, column 5"),
            ("AND a", "Encountered \"AND\" at line 1, column 0"),
            ("a AND AND b", "Encountered \"AND\" at line 1, column 6"),
            ("a:b:c", "Encountered \":c\" at line 1, column 3"),
            ("(a", "Was expecting \")\""),
            ("()", "Encountered \")\" at line 1, column 1"),
            ("a)", "Encountered \")\" at line 1, column 1"),
            ("\"a", "expected '\"' for the one at line 1, column 0"),
            ("/a", "expected '/' for the one at line 1, column 0"),
            ("f:", "Encountered \"<EOF>\" at line 1, column 2"),
            ("f:[1 TO 2", "Was expecting \"]\" or \"}\""),
            ("f:[1 TO ]", "Was expecting a bound"),
            ("a^", "Was expecting a number"),
            ("a\\", "escape character"),
            ("--a", "Encountered \"-a\""),
            ("\nf:OR", "Encountered \"OR\" at line 2, column 2"),
            ("hello!", "Encountered \"<EOF>\""),
        ];
        for (text, expected) in cases {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = format!("{}a{}", "(".repeat(50_000), ")".repeat(50_000));
        assert!(parse(&deep).unwrap_err().contains("nest deeper"));
        let long = "a ".repeat(TERMS_MAX + 1);
        assert!(parse(&long).unwrap_err().contains("terms"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_mix_of_tokens_is_parsed_or_refused(
            tokens in proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "f:", "AND", "OR", "NOT", "(", ")", "\"", "[", "{", "TO", "]", "}", "/", "~", "^", "2", "*", "?",
                    "\\", "+", "-", "!", "&&", "||", ">", "<=", " ", "é", "_exists_:", "\\u00",
                ]), 0..24),
        ) {
            let _ = parse(&tokens.concat());
            let _ = parse(&tokens.join(" "));
        }
    }
}
