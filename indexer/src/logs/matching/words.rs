//! `Leaf::Words`: the value contains these words next to each other.

use std::ops::Range;
use std::sync::Arc;

use super::parts::Part;
use super::scan::{self, Need, TemplatePart, ValueTest, Verdict, WordTest};
use super::{Work, columns, spellings};
use crate::logs::blocks::spelling::spelled;
use crate::logs::flatten::LeafValue;
use crate::logs::reader::ValueColumn;
use crate::logs::words::{is_word, word_ranges, words};
use crate::logs::{Field, Scalar};

/// A phrase, often of one word.
pub(super) struct Words {
    field: Field,
    text: String,
    phrase: Arc<Phrase>,
}

/// Words next to each other.
struct Phrase {
    words: Vec<String>,
    needs: Vec<Need>,
}

impl Words {
    pub(super) fn new(field: &Field, text: &str) -> Words {
        let words: Vec<String> = words(text).map(|(_, word)| word).collect();
        let mut needs: Vec<Need> = words.iter().cloned().map(Need::Word).collect();
        // A phrase may say one word a thousand times. Longer words are rarer.
        needs.sort_unstable_by_key(|need| match need {
            Need::Word(word) => (std::cmp::Reverse(word.len()), word.clone()),
            Need::Beginning(_) | Need::Part(_) => unreachable!("all are words"),
        });
        needs.dedup();
        Words {
            field: field.clone(),
            text: text.to_owned(),
            phrase: Arc::new(Phrase { words, needs }),
        }
    }

    pub(super) fn parts(&self, work: &Work) -> tantivy::Result<Vec<Box<dyn Part>>> {
        let mut parts = Vec::new();
        if self.phrase.words.is_empty() {
            return Ok(parts);
        }
        let Field::Named(name) = &self.field else {
            scan::anywhere(work, self.phrase.clone(), &mut parts)?;
            return Ok(parts);
        };
        let path = work.segment.resolve(name);
        for column in work.segment.ready_columns(path)? {
            match &column {
                ValueColumn::Text(texts) => {
                    let fits = |text: &str| contains(text, &self.phrase.words);
                    columns::with_text_like(work, texts, "", fits, &mut parts)?;
                }
                typed => self.add_equal(typed, &mut parts),
            }
        }
        scan::in_field(work, path, self.phrase.clone(), &mut parts)?;
        Ok(parts)
    }

    fn add_equal(&self, column: &ValueColumn, parts: &mut Vec<Box<dyn Part>>) {
        let text = self.text.trim();
        let mut values = spellings(text);
        if let (ValueColumn::Time(_), Ok(time)) = (column, event::Timestamp::parse_lenient(text)) {
            values = vec![Scalar::Time(time)];
        }
        for value in &values {
            columns::equal_to(column, value, parts);
        }
    }
}

impl ValueTest for Phrase {
    fn fits(&self, value: &LeafValue, _: bool) -> bool {
        match value {
            LeafValue::Text(text) => contains(text, &self.words),
            other => contains(&spelled(other), &self.words),
        }
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn word_test(&self) -> Option<&dyn WordTest> {
        (self.words.len() == 1).then_some(self)
    }

    fn fits_template(&self, parts: &[TemplatePart]) -> Verdict {
        let mut verdict = Verdict::NoneFits;
        for start in 0..parts.len() {
            match fits_from(&parts[start..], &self.words) {
                Verdict::AllFit => return Verdict::AllFit,
                Verdict::SomeMayFit => verdict = Verdict::SomeMayFit,
                Verdict::NoneFits => {}
            }
        }
        verdict
    }
}

/// Whether the words stand at the beginning of the parts, each in its place or in a gap.
fn fits_from(parts: &[TemplatePart], words: &[String]) -> Verdict {
    // What may still be missing at each part: all that is left from these words on.
    let mut left: Vec<&[String]> = vec![words];
    let mut verdict = Verdict::NoneFits;
    for (at, part) in parts.iter().enumerate() {
        let mut next: Vec<&[String]> = Vec::new();
        for rest in &left {
            match part {
                TemplatePart::Word(word) => {
                    if rest.first() == Some(word) {
                        next.push(&rest[1..]);
                    }
                }
                TemplatePart::Gap => (0..=rest.len()).for_each(|taken| next.push(&rest[taken..])),
            }
        }
        next.sort_unstable_by_key(|rest| rest.len());
        next.dedup_by_key(|rest| rest.len());
        let has_all = next.first().is_some_and(|rest| rest.is_empty());
        if has_all {
            let has_gap = parts[..=at].contains(&TemplatePart::Gap);
            if !has_gap {
                return Verdict::AllFit;
            }
            verdict = Verdict::SomeMayFit;
        }
        next.retain(|rest| !rest.is_empty());
        if next.is_empty() {
            break;
        }
        left = next;
    }
    verdict
}

impl WordTest for Phrase {
    fn fits_word(&self, word: &str) -> bool {
        self.words.first().is_some_and(|wanted| wanted == word)
    }

    fn beginning(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// Whether `text` has the words of `wanted` next to each other.
pub(super) fn contains(text: &str, wanted: &[String]) -> bool {
    let fits = |range: &Range<usize>, word: &String| is_word(&text[range.clone()], word);
    let Some((first, rest)) = wanted.split_first() else {
        return false;
    };
    let ranges = word_ranges(text);
    // A phrase rarely begins twice, so beginning anew at each possible start costs little.
    for range in ranges {
        if !fits(&range, first) {
            continue;
        }
        let after = word_ranges(&text[range.end..]);
        let mut after = after.map(|next| next.start + range.end..next.end + range.end);
        let are_next = rest
            .iter()
            .all(|word| after.next().is_some_and(|next| fits(&next, word)));
        if are_next {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_tells_what_all_its_values_have() {
        let check = |phrase: &str, expected| {
            let word = |word: &str| match word {
                "*" => TemplatePart::Gap,
                word => TemplatePart::Word(word.into()),
            };
            let parts: Vec<_> = "got * exception while * to".split(' ').map(word).collect();
            let words = Words::new(&Field::Any, phrase);
            assert_eq!(words.phrase.fits_template(&parts), expected, "{phrase}");
        };
        check("exception while", Verdict::AllFit);
        check("got", Verdict::AllFit);
        check("got exception", Verdict::SomeMayFit);
        check("got x y exception while", Verdict::SomeMayFit);
        check("while to", Verdict::SomeMayFit);
        check("exception to", Verdict::SomeMayFit);
        check("exception while serving", Verdict::SomeMayFit);
        check("to got", Verdict::SomeMayFit);
        check("exception got while", Verdict::SomeMayFit);
        check("to x", Verdict::SomeMayFit);
    }

    #[test]
    fn a_phrase_needs_its_words_in_order_and_adjacent() {
        let check = |text, phrase: &[&str]| {
            contains(
                text,
                &phrase
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert!(check(
            "Got exception while serving",
            &["exception", "while"]
        ));
        assert!(check("a a b", &["a", "b"]));
        assert!(!check("while exception", &["exception", "while"]));
        assert!(!check("exception or while", &["exception", "while"]));
        assert!(check("x=1;y=2", &["1", "y", "2"]));
        assert!(!check("", &["a"]));
    }
}
