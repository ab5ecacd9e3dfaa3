//! Wildcards in names: `*` stands for any characters, everything else for itself.

/// A name with stars. Elasticsearch knows no `?` in index expressions.
#[derive(Debug)]
pub(in crate::elastic) struct Pattern<'a> {
    pieces: Vec<&'a str>,
}

impl<'a> Pattern<'a> {
    /// Whether a name is to be read as a pattern.
    pub(in crate::elastic) fn is_wildcard(name: &str) -> bool {
        name.contains('*')
    }

    /// Reads a pattern; without a star it matches only itself.
    pub(in crate::elastic) fn new(text: &'a str) -> Pattern<'a> {
        Pattern {
            pieces: text.split('*').collect(),
        }
    }

    /// Whether the whole name fits.
    pub(in crate::elastic) fn matches(&self, name: &str) -> bool {
        let (first, rest) = self.split();
        let Some(mut left) = name.strip_prefix(first) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return left.is_empty();
        };
        // The earliest place for each piece leaves the most room for the next ones.
        for piece in middle {
            match left.find(piece) {
                Some(at) => left = &left[at + piece.len()..],
                None => return false,
            }
        }
        left.ends_with(last)
    }

    /// Whether a name that begins with `head` and goes on could fit.
    pub(in crate::elastic) fn may_match_longer(&self, head: &str) -> bool {
        let (first, _) = self.split();
        first.starts_with(head) || head.starts_with(first)
    }

    /// Whether every name that fits begins with `head`.
    pub(in crate::elastic) fn begins_with(&self, head: &str) -> bool {
        self.split().0.starts_with(head)
    }

    fn split(&self) -> (&'a str, &[&'a str]) {
        match self.pieces.split_first() {
            Some((first, rest)) => (first, rest),
            None => ("", &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let cases = [
            ("*", "anything", true),
            ("*", "", true),
            ("logs-*", "logs-2026.11.23", true),
            ("logs-*", "logs", false),
            ("*-nginx", "web-nginx", true),
            ("*-nginx", "web-nginx-old", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("logs", "logs", true),
            ("logs", "logs2", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        /// The same answer as the obvious recursive definition.
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            fn fits(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|at| fits(rest, &name[at..])),
                    Some((byte, rest)) => name.first() == Some(byte) && fits(rest, &name[1..]),
                }
            }
            let expected = fits(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(Pattern::new(&pattern).matches(&name), expected);
        }
    }
}
