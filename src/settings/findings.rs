//! What is found while a settings file is read: mistakes, which stop the start, and notices, which do not.

use std::cell::RefCell;
use std::fmt;

use super::node::Place;

/// One thing that is wrong with a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands, when it stands somewhere.
    pub place: Option<Place>,
    /// The setting with the sections it stands in, dotted: `listen.http`. Empty for the file as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Collects everything found in one pass, so that an operator sees all mistakes at once.
#[derive(Debug, Default)]
pub struct Findings {
    mistakes: RefCell<Vec<Mistake>>,
    notices: RefCell<Vec<String>>,
}

impl Findings {
    /// Notes a mistake.
    pub fn mistake(&self, place: Option<Place>, key: &str, problem: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake {
            place,
            key: key.to_owned(),
            problem: one_line(&problem.into()),
        });
    }

    /// Notes something the operator should know and that stops nothing.
    pub fn notice(&self, text: impl Into<String>) {
        self.notices.borrow_mut().push(text.into());
    }

    /// The mistakes in the order of the file, and the notices.
    pub fn into_parts(self) -> (Vec<Mistake>, Vec<String>) {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.place);
        (mistakes, self.notices.into_inner())
    }
}

/// A message of several lines, as a wrong regular expression gives, in one.
pub fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

impl fmt::Display for Mistake {
    /// `12:5: listen.htpp: unknown key`, to stand behind the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{}:{}: ", place.line, place.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}
