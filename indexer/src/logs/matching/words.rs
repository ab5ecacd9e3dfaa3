//! `Leaf::Words`: the value contains these words next to each other.

use tantivy::schema::Term;

use super::verify::by_stored_document;
use super::{Matches, Work, columns, spellings};
use crate::logs::flatten::LeafValue;
use crate::logs::reader::ValueColumn;
use crate::logs::schema::FULL_TEXT_FIELDS;
use crate::logs::words::{lower_case_into, words};
use crate::logs::{Field, Scalar};

/// A phrase, often of one word.
pub(super) struct Words {
    field: Field,
    text: String,
    words: Vec<String>,
}

impl Words {
    pub(super) fn new(field: &Field, text: &str) -> Words {
        Words {
            field: field.clone(),
            text: text.to_owned(),
            words: words(text).map(|(_, word)| word).collect(),
        }
    }

    pub(super) fn matches(&self, work: &Work) -> tantivy::Result<Matches> {
        if self.words.is_empty() {
            return Ok(Matches::None);
        }
        match &self.field {
            Field::Any => self.anywhere(work),
            Field::Named(name) => self.in_field(work, work.segment.resolve(name)),
        }
    }

    fn anywhere(&self, work: &Work) -> tantivy::Result<Matches> {
        let any = work.segment.fields.any;
        let full_texts = FULL_TEXT_FIELDS
            .into_iter()
            .filter(|path| work.segment.has_full_text(path));
        if let [word] = &self.words[..] {
            let mut terms = vec![Term::from_field_text(any, word)];
            terms.extend(full_texts.map(|path| work.segment.text_term(path, word)));
            return work.any_of(terms);
        }
        let mut places = vec![
            work.all_of(
                self.words
                    .iter()
                    .map(|word| Term::from_field_text(any, word))
                    .collect(),
            )?,
        ];
        for path in full_texts {
            places.push(work.all_of(self.terms_in(work, path))?);
        }
        let candidates = work.union(places)?;
        let wanted = self.words.clone();
        Ok(by_stored_document(work, candidates, move |_, value| {
            value_contains(value, &wanted)
        }))
    }

    fn in_field(&self, work: &Work, path: &str) -> tantivy::Result<Matches> {
        let mut parts = Vec::new();
        for column in work.segment.columns(path)? {
            parts.push(match &column {
                ValueColumn::Text(texts) => {
                    let any = work.segment.fields.any;
                    let terms = self
                        .words
                        .iter()
                        .map(|word| Term::from_field_text(any, word))
                        .collect();
                    let candidates = match work.all_of(terms)? {
                        Matches::None => continue,
                        candidates => candidates.into_scorer(work.segment.document_count()),
                    };
                    let wanted = self.words.clone();
                    columns::candidates_with_text_like(work, texts, candidates, move |text| {
                        contains(text, &wanted)
                    })?
                }
                typed => self.equal_value(work, typed)?,
            });
        }
        if work.segment.has_full_text(path) {
            let candidates = work.all_of(self.terms_in(work, path))?;
            parts.push(match self.words.len() {
                1 => candidates,
                _ => {
                    let wanted = self.words.clone();
                    let path = path.to_owned();
                    by_stored_document(work, candidates, move |at, value| {
                        at == path && value_contains(value, &wanted)
                    })
                }
            });
        }
        work.union(parts)
    }

    fn equal_value(&self, work: &Work, column: &ValueColumn) -> tantivy::Result<Matches> {
        let text = self.text.trim();
        let mut values = spellings(text);
        if let (ValueColumn::Time(_), Ok(time)) = (column, event::Timestamp::parse_lenient(text)) {
            values = vec![Scalar::Time(time)];
        }
        let parts = values
            .iter()
            .map(|value| columns::equal_to(work, column, value));
        work.union(parts.collect::<tantivy::Result<_>>()?)
    }

    fn terms_in(&self, work: &Work, path: &str) -> Vec<Term> {
        self.words
            .iter()
            .map(|word| work.segment.text_term(path, word))
            .collect()
    }
}

fn value_contains(value: &LeafValue, wanted: &[String]) -> bool {
    match value {
        LeafValue::Text(text) => contains(text, wanted),
        LeafValue::Integer(number) => contains(&number.to_string(), wanted),
        LeafValue::Unsigned(number) => contains(&number.to_string(), wanted),
        LeafValue::Float(number) => contains(&number.to_string(), wanted),
        LeafValue::Bool(truth) => contains(&truth.to_string(), wanted),
    }
}

/// Whether `text` has the words of `wanted` next to each other.
pub(super) fn contains(text: &str, wanted: &[String]) -> bool {
    // The last words seen, as many as are wanted, would have to be kept; but a phrase rarely begins twice, so
    // beginning anew at each possible start costs less.
    let ranges: Vec<_> = words(text).map(|(range, _)| range).collect();
    let mut lowered = String::new();
    ranges.windows(wanted.len()).any(|window| {
        window.iter().zip(wanted).all(|(range, word)| {
            lower_case_into(&text[range.clone()], &mut lowered);
            lowered == *word
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
