//! `Leaf::Equals`: the whole value equals this one.

use std::sync::Arc;

use super::parts::Part;
use super::scan::{self, Need, ValueTest};
use super::{Work, columns, spellings};
use crate::logs::blocks::spelling::spelled;
use crate::logs::flatten::LeafValue;
use crate::logs::reader::ValueColumn;
use crate::logs::words::words;
use crate::logs::{Field, Scalar};

/// A value to be equal to, in every type it can be spelled in.
pub(super) struct Equals {
    field: Field,
    typed: Vec<Scalar>,
    whole: Arc<Whole>,
}

/// A whole value as it is spelled.
struct Whole {
    text: String,
    needs: Vec<Need>,
    /// Whether values that are no texts count.
    takes_all: bool,
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
        let mut needs: Vec<Need> = words(&text).map(|(_, word)| Need::Word(word)).collect();
        needs.dedup();
        Equals {
            field: field.clone(),
            typed,
            whole: Arc::new(Whole {
                needs,
                text,
                takes_all: *field == Field::Any,
            }),
        }
    }

    pub(super) fn parts(&self, work: &Work) -> tantivy::Result<Vec<Box<dyn Part>>> {
        let mut parts = Vec::new();
        let Field::Named(name) = &self.field else {
            // A value without words is no value of a search without a field.
            if !self.whole.needs.is_empty() {
                scan::anywhere(work, self.whole.clone(), &mut parts)?;
            }
            return Ok(parts);
        };
        let path = work.segment.resolve(name);
        for column in work.segment.ready_columns(path)? {
            match &column {
                ValueColumn::Text(texts) => {
                    if let Some(ord) = texts.dictionary().term_ord(&self.whole.text)? {
                        columns::in_range(texts.ords(), ord..=ord, &mut parts);
                    }
                }
                ValueColumn::Time(_) => {
                    if let Ok(time) = event::Timestamp::parse_lenient(&self.whole.text) {
                        columns::equal_to(&column, &Scalar::Time(time), &mut parts);
                    }
                }
                typed => {
                    for value in &self.typed {
                        columns::equal_to(typed, value, &mut parts);
                    }
                }
            }
        }
        scan::in_field(work, path, self.whole.clone(), &mut parts)?;
        Ok(parts)
    }
}

impl ValueTest for Whole {
    fn fits(&self, value: &LeafValue, _: bool) -> bool {
        match value {
            LeafValue::Text(text) => *text == self.text,
            other => self.takes_all && spelled(other) == self.text,
        }
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }
}
