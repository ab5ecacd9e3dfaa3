//! `Leaf::Equals`: the whole value equals this one.

use tantivy::schema::Term;

use super::verify::{Verified, by_stored_document};
use super::{Matches, Work, columns, spellings};
use crate::logs::flatten::LeafValue;
use crate::logs::reader::ValueColumn;
use crate::logs::words::words;
use crate::logs::{Field, Scalar};

/// A value to be equal to, in every type it can be spelled in.
pub(super) struct Equals {
    field: Field,
    text: String,
    typed: Vec<Scalar>,
    words: Vec<String>,
}

impl Equals {
    pub(super) fn new(field: &Field, scalar: &Scalar) -> Equals {
        let text = match scalar {
            Scalar::Text(text) => text.clone(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::Unsigned(number) => number.to_string(),
            Scalar::Float(number) => number.to_string(),
            Scalar::Bool(truth) => truth.to_string(),
            Scalar::Time(time) => time.to_rfc3339(),
        };
        let typed = match scalar {
            Scalar::Text(text) => spellings(text),
            other => vec![other.clone()],
        };
        Equals {
            field: field.clone(),
            words: words(&text).map(|(_, word)| word).collect(),
            text,
            typed,
        }
    }

    pub(super) fn matches(&self, work: &Work) -> tantivy::Result<Matches> {
        match &self.field {
            Field::Any => self.anywhere(work),
            Field::Named(name) => self.in_field(work, work.segment.resolve(name)),
        }
    }

    /// A value somewhere: its words lead to it.
    fn anywhere(&self, work: &Work) -> tantivy::Result<Matches> {
        let candidates = super::words::Words::new(&Field::Any, &self.text).matches(work)?;
        let text = self.text.clone();
        Ok(by_stored_document(work, candidates, move |_, value| {
            spelled_as(value, &text)
        }))
    }

    fn in_field(&self, work: &Work, path: &str) -> tantivy::Result<Matches> {
        let mut parts = Vec::new();
        for column in work.segment.columns(path)? {
            match &column {
                ValueColumn::Text(texts) => {
                    let Some(ord) = texts.dictionary().term_ord(&self.text)? else {
                        continue;
                    };
                    parts.push(self.with_ord(work, texts, ord)?);
                }
                ValueColumn::Time(_) => {
                    if let Ok(time) = event::Timestamp::parse_lenient(&self.text) {
                        parts.push(columns::equal_to(work, &column, &Scalar::Time(time))?);
                    }
                }
                typed => {
                    for value in &self.typed {
                        parts.push(columns::equal_to(work, typed, value)?);
                    }
                }
            }
        }
        if work.segment.has_full_text(path) {
            let candidates = match self.words.is_empty() {
                true => work.any_of(vec![Term::from_field_text(work.segment.fields.has, path)])?,
                false => work.all_of(
                    self.words
                        .iter()
                        .map(|word| work.segment.text_term(path, word))
                        .collect(),
                )?,
            };
            let (path, text) = (path.to_owned(), self.text.clone());
            parts.push(by_stored_document(work, candidates, move |at, value| {
                at == path && is_text(value, &text)
            }));
        }
        work.union(parts)
    }

    /// Few candidates by words are checked one by one; else the whole column is looked through.
    fn with_ord(
        &self,
        work: &Work,
        texts: &tantivy::columnar::StrColumn,
        ord: u64,
    ) -> tantivy::Result<Matches> {
        let any = work.segment.fields.any;
        let candidates = work.all_of(
            self.words
                .iter()
                .map(|word| Term::from_field_text(any, word))
                .collect(),
        )?;
        let few = work.segment.document_count() / 64;
        match candidates {
            Matches::Lazy(scorer) if scorer.size_hint() < few => {
                let ords = texts.ords().clone();
                let check = move |doc| Ok(ords.values_for_doc(doc).any(|at| at == ord));
                Ok(Verified::new(scorer, Box::new(check), work.interrupt).into_matches())
            }
            Matches::None if !self.words.is_empty() => Ok(Matches::None),
            _ => columns::in_range(work, texts.ords(), ord..=ord),
        }
    }
}

fn is_text(value: &LeafValue, text: &str) -> bool {
    matches!(value, LeafValue::Text(at) if at == text)
}

fn spelled_as(value: &LeafValue, text: &str) -> bool {
    match value {
        LeafValue::Text(at) => at == text,
        LeafValue::Integer(number) => number.to_string() == text,
        LeafValue::Unsigned(number) => number.to_string() == text,
        LeafValue::Float(number) => number.to_string() == text,
        LeafValue::Bool(truth) => truth.to_string() == text,
    }
}
