//! `simple_query_string`: a small language for search fields that fails only when it asks for too much; what makes no
//! sense is left out.

use indexer::logs::Pattern;

use super::QueryError;
use super::bounds::{self, ALTERNATIONS_MAX};
use super::query_string::{Operator, fuzzy_edits};
use super::text::{Fields, TextContext, escape_wildcard, split_words};
use crate::logs::filter::Filter;

/// Parentheses nest this deep at most; deeper ones are skipped.
const DEPTH_MAX: usize = 100;

/// How a text is to be read.
#[derive(Debug, Clone)]
pub struct SimpleQueryString<'a> {
    /// What is searched.
    pub fields: Fields,
    /// What joins terms side by side.
    pub default_operator: Operator,
    /// Whether `+ | - " * ( ) ~` mean something; without them there are only words.
    pub has_operators: bool,
    /// What texts mean.
    pub text: TextContext<'a>,
}

impl SimpleQueryString<'_> {
    /// The filter that `query` means; a text without terms matches nothing.
    ///
    /// # Errors
    /// A field is `@timestamp` and a term is no date, or the text asks for too much.
    pub fn parse(&self, query: &str) -> Result<Filter, QueryError> {
        let mut reader = Reader {
            language: self,
            rest: query,
            depth: 0,
            term_count: 0,
            alternation_count: 0,
        };
        let found = reader.terms()?;
        Ok(found.unwrap_or(Filter::None))
    }
}

struct Reader<'a> {
    language: &'a SimpleQueryString<'a>,
    rest: &'a str,
    depth: usize,
    term_count: usize,
    alternation_count: usize,
}

impl Reader<'_> {
    /// Up to the end or a closing parenthesis. Operators associate to the left: `a + b | c` is `(a + b) | c`.
    fn terms(&mut self) -> Result<Option<Filter>, QueryError> {
        let mut found: Option<Filter> = None;
        let mut joined_by = None;
        let mut operator = self.language.default_operator;
        let mut is_negated = false;
        while let Some(c) = self.peek() {
            let has_operators = self.language.has_operators;
            let term = match c {
                c if c.is_whitespace() => {
                    self.skip(c);
                    continue;
                }
                '+' if has_operators => {
                    self.skip(c);
                    operator = Operator::And;
                    continue;
                }
                '|' if has_operators => {
                    self.skip(c);
                    operator = Operator::Or;
                    continue;
                }
                '-' if has_operators => {
                    self.skip(c);
                    is_negated = !is_negated;
                    continue;
                }
                ')' if has_operators && self.depth > 0 => break,
                ')' if has_operators => {
                    self.skip(c);
                    continue;
                }
                '(' if has_operators => {
                    self.skip(c);
                    self.group()?
                }
                '"' if has_operators => self.phrase()?,
                _ => self.word()?,
            };
            if let Some(term) = term {
                let term = if is_negated { term.negate() } else { term };
                found = Some(match found {
                    None => term,
                    Some(before) => {
                        if joined_by.is_some_and(|last| last != operator) {
                            self.count_alternation()?;
                        }
                        joined_by = Some(operator);
                        join(before, operator, term)
                    }
                });
            }
            is_negated = false;
            operator = self.language.default_operator;
        }
        Ok(found)
    }

    fn group(&mut self) -> Result<Option<Filter>, QueryError> {
        if self.depth >= DEPTH_MAX {
            return Ok(None);
        }
        self.depth += 1;
        let inner = self.terms()?;
        if self.peek() == Some(')') {
            self.skip(')');
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn phrase(&mut self) -> Result<Option<Filter>, QueryError> {
        self.skip('"');
        let mut phrase = String::new();
        let mut is_closed = false;
        while let Some(c) = self.peek() {
            self.skip(c);
            match c {
                '"' => {
                    is_closed = true;
                    break;
                }
                '\\' => phrase.extend(self.take_next()),
                c => phrase.push(c),
            }
        }
        let has_slop = is_closed && self.tilde().is_some_and(|slop| slop != Some(0.0));
        if phrase.trim().is_empty() {
            return Ok(None);
        }
        self.count_terms(match has_slop {
            true => split_words(&phrase).count().max(1),
            false => 1,
        })?;
        let text = &self.language.text;
        let filter = self.language.fields.ask(&mut |field| match has_slop {
            true => text.words_near(field, &phrase),
            false => text.words(field, &phrase),
        })?;
        Ok(Some(filter))
    }

    fn word(&mut self) -> Result<Option<Filter>, QueryError> {
        let has_operators = self.language.has_operators;
        let mut word = String::new();
        let mut is_prefix = false;
        while let Some(c) = self.peek() {
            let ends = c.is_whitespace()
                || (has_operators && matches!(c, '|' | '"' | '(' | ')' | '+'))
                || (has_operators && c == '~' && !word.is_empty());
            if ends {
                break;
            }
            self.skip(c);
            is_prefix = has_operators && c == '*' && self.ends_here();
            match c {
                '\\' if has_operators => word.extend(self.take_next()),
                '*' if is_prefix => {}
                c => word.push(c),
            }
        }
        let edits = if has_operators { self.tilde() } else { None };
        if word.is_empty() && is_prefix {
            return Ok(Some(Filter::All));
        }
        if word.is_empty() {
            // Only a tilde can be left here; step over it, so that the text ends.
            if let Some(c) = self.peek() {
                self.skip(c);
            }
            return Ok(None);
        }
        self.count_terms(1)?;
        let text = &self.language.text;
        let filter = self
            .language
            .fields
            .ask(&mut |field| match (is_prefix, edits) {
                (true, _) => {
                    let wildcard = format!("{}*", escape_wildcard(&word));
                    Ok(text.pattern(field, Pattern::Wildcard(wildcard)))
                }
                (false, Some(edits)) => {
                    let edits = fuzzy_edits(&word, edits);
                    Ok(text.pattern(field, Pattern::Fuzzy(word.clone(), edits)))
                }
                (false, None) => text.words(field, &word),
            })?;
        Ok(Some(filter))
    }

    /// Each change of the operator makes one more level, because `a + b | c` is `(a + b) | c`.
    fn count_alternation(&mut self) -> Result<(), QueryError> {
        self.alternation_count += 1;
        if self.alternation_count > ALTERNATIONS_MAX {
            return Err(too_much(format!(
                "+ and | alternate more than {ALTERNATIONS_MAX} times; use parentheses"
            )));
        }
        Ok(())
    }

    fn count_terms(&mut self, count: usize) -> Result<(), QueryError> {
        self.term_count += count;
        bounds::check(self.term_count, &self.language.fields).map_err(too_much)
    }

    fn ends_here(&self) -> bool {
        self.peek()
            .is_none_or(|c| c.is_whitespace() || matches!(c, '|' | '"' | '(' | ')' | '+'))
    }

    fn tilde(&mut self) -> Option<Option<f64>> {
        let after = self.rest.strip_prefix('~')?;
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = after.split_at(digits);
        self.rest = rest;
        Some(number.parse().ok())
    }

    fn take_next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.skip(c);
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, c: char) {
        self.rest = &self.rest[c.len_utf8()..];
    }
}

fn join(before: Filter, operator: Operator, term: Filter) -> Filter {
    match (operator, before) {
        (Operator::And, Filter::And(mut of)) => {
            of.push(term);
            Filter::And(of)
        }
        (Operator::Or, Filter::AtLeast { minimum: 1, mut of }) if !of.is_empty() => {
            of.push(term);
            Filter::AtLeast { minimum: 1, of }
        }
        (Operator::And, before) => Filter::And(vec![before, term]),
        (Operator::Or, before) => Filter::any(vec![before, term]),
    }
}

fn too_much(problem: String) -> QueryError {
    QueryError::Value(format!(
        "[simple_query_string] asks for too much: {problem}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::date_format::DateFormat;
    use super::super::date_math::DateContext;
    use super::super::query_string::draw;
    use super::*;
    use event::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn parse_on(
        fields: Fields,
        query: &str,
        default_operator: Operator,
    ) -> Result<Filter, QueryError> {
        let format = DateFormat::default_format();
        let language = SimpleQueryString {
            fields,
            default_operator,
            has_operators: true,
            text: TextContext {
                dates: DateContext {
                    format: &format,
                    zone: &TimeZone::UTC,
                    now: Timestamp::from_nanos(0),
                },
                has_date_format: false,
            },
        };
        language.parse(query)
    }

    fn formula(query: &str, default_operator: Operator) -> String {
        draw(&parse_on(Fields::Any, query, default_operator).unwrap())
    }

    #[test]
    fn the_small_language_is_understood() {
        let cases = [
            ("a b", "(w(*,a) | w(*,b))"),
            ("a + b", "(w(*,a) & w(*,b))"),
            ("a + b | c", "((w(*,a) & w(*,b)) | w(*,c))"),
            ("a + (b | c)", "(w(*,a) & (w(*,b) | w(*,c)))"),
            ("a + -b", "(w(*,a) & !w(*,b))"),
            ("\"a b\"", "w(*,a b)"),
            ("\"a b\"~2", "(w(*,a) & w(*,b))"),
            ("tim*", "p(*,tim*)"),
            ("time~1", "p(*,time~1)"),
            ("*", "all"),
            ("a\\+b", "w(*,a+b)"),
            ("web-1", "w(*,web-1)"),
            ("", "none"),
            ("( | ) \"", "none"),
            ("a ) b", "(w(*,a) | w(*,b))"),
            ("~", "w(*,~)"),
        ];
        for (query, expected) in cases {
            assert_eq!(
                formula(query, Operator::Or),
                expected.replace("w(*,~)", "e(*,'~')"),
                "{query}"
            );
        }
        assert_eq!(
            formula("a b | c", Operator::And),
            "((w(*,a) & w(*,b)) | w(*,c))"
        );
    }

    #[test]
    fn a_text_that_nests_or_asks_without_bound_is_refused() {
        let many_fields = Fields::parse(["a", "b"].repeat(5_000));
        for (fields, query, problem) in [
            (Fields::Any, "a + b | ".repeat(50_000), "parentheses"),
            (Fields::Any, "a ".repeat(50_000), "terms"),
            (
                Fields::Any,
                format!("\"{}\"~2", "a ".repeat(50_000)),
                "terms",
            ),
            (many_fields, "a ".repeat(100), "fields"),
        ] {
            let error = parse_on(fields, &query, Operator::Or).unwrap_err();
            assert!(error.to_string().contains(problem), "{error:.200}");
        }
        assert!(parse_on(Fields::Any, &"a ".repeat(10_000), Operator::Or).is_ok());
        assert!(parse_on(Fields::Any, &"(a + b) ".repeat(5_000), Operator::Or).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_understood(query in "[a-c+|\\-\"*()~\\\\ 0-9é]{0,30}") {
            formula(&query, Operator::And);
        }
    }
}
