//! Which templates are shown as one pattern.
//!
//! A template is words (letters, digits, `_`), variables, and what stands between them. Two templates of one field are one
//! pattern
//!
//! 1. when they differ only in how many variables follow each other with the same text between them, as in lists:
//!    `[*, *, *]` is `[*]`;
//! 2. when then they differ only in one word, at the same place, and have at least [`OTHER_WORDS_MIN`] others, provided
//!    that the place is certainly a variable's: one of the templates has a variable there, or at least
//!    [`ALTERNATIVES_MIN`] different words stand there. `user alice logged in` is `user * logged in` when three other
//!    users logged in, but `server started` and `server stopped` stay apart.
//!
//! A template that has several such places is merged at the one where most are alike, the first among equals, and at that
//! one alone. Templates of more than [`WORDS_MAX`] words are merged by the first rule only. All of this is linear in the
//! length of the templates and depends on nothing but their set.

use indexer::logs::VARIABLE;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_128;

use crate::logs::aggregate::PatternKey;

/// So many different words at one place are no words of the program.
const ALTERNATIVES_MIN: usize = 4;

/// Templates that share fewer words are not alike.
const OTHER_WORDS_MIN: usize = 2;

/// In longer templates no differing word is looked for.
const WORDS_MAX: usize = 256;

/// How a variable is shown.
const SHOWN_VARIABLE: &str = "<*>";

/// The pattern of each template, with `<*>` for variables. The templates are distinct.
pub fn patterns_of(templates: &[PatternKey]) -> Vec<String> {
    // By the first rule: each class with its templates.
    let mut numbers: FxHashMap<(&str, Vec<&str>), usize> = FxHashMap::default();
    let mut classes: Vec<Class> = Vec::new();
    let mut class_of = Vec::with_capacity(templates.len());
    for template in templates {
        let tokens = without_runs(tokens(&template.text));
        let number = *numbers
            .entry((&template.field, tokens.clone()))
            .or_insert(classes.len());
        if number == classes.len() {
            classes.push(Class {
                field: &template.field,
                tokens,
                template_count: 0,
            });
        }
        classes[number].template_count += 1;
        class_of.push(number);
    }
    let places = differing_places(&classes);
    let patterns = templates.iter().zip(class_of).map(|(template, number)| {
        let class = &classes[number];
        match places[number] {
            None if class.template_count == 1 => shown(&[&template.text]),
            None => shown(&class.tokens),
            Some(place) => {
                let mut tokens = class.tokens.clone();
                tokens[place] = VARIABLE_TEXT;
                shown(&tokens)
            }
        }
    });
    patterns.collect()
}

/// Templates that are alike by the first rule.
struct Class<'t> {
    field: &'t str,
    tokens: Vec<&'t str>,
    template_count: usize,
}

const VARIABLE_TEXT: &str = "\u{1}";

/// A template cut into words, variables and what stands between.
fn tokens(text: &str) -> Vec<&str> {
    #[derive(PartialEq)]
    enum Kind {
        Word,
        Variable,
        Between,
    }
    let kind = |c: char| match c {
        VARIABLE => Kind::Variable,
        c if is_word_char(c) => Kind::Word,
        _ => Kind::Between,
    };
    let mut tokens = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in text.char_indices() {
        let this = kind(c);
        let goes_on = last.as_ref() == Some(&this) && this != Kind::Variable;
        if !goes_on && at > 0 {
            tokens.push(&text[start..at]);
            start = at;
        }
        last = Some(this);
    }
    if start < text.len() {
        tokens.push(&text[start..]);
    }
    tokens
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a word or a variable.
fn is_word(token: &str) -> bool {
    token.starts_with(|c| c == VARIABLE || is_word_char(c))
}

/// Variables that follow each other with the same text between them become the first of them.
fn without_runs(tokens: Vec<&str>) -> Vec<&str> {
    let mut kept: Vec<&str> = Vec::with_capacity(tokens.len());
    // What stands between the variables of the run whose first is the last token kept, once that is known.
    let mut between = None;
    let mut at = 0;
    while at < tokens.len() {
        let next = (tokens.get(at), tokens.get(at + 1));
        if let (Some(separator), Some(&VARIABLE_TEXT)) = next
            && kept.last() == Some(&VARIABLE_TEXT)
            && !is_word(separator)
            && between.is_none_or(|known| known == *separator)
        {
            between = Some(*separator);
            at += 2;
            continue;
        }
        between = None;
        kept.push(tokens[at]);
        at += 1;
    }
    kept
}

/// What is alike but for one word.
#[derive(Default)]
struct Alternatives {
    count: usize,
    has_variable: bool,
}

impl Alternatives {
    fn add(&mut self, word: &str) {
        self.count += 1;
        self.has_variable |= word == VARIABLE_TEXT;
    }

    fn is_variable(&self) -> bool {
        self.count > 1 && (self.has_variable || self.count >= ALTERNATIVES_MIN)
    }
}

/// For each class the token that is merged away by the second rule. Classes are distinct, so that those which share
/// all but one word have different words there.
fn differing_places(classes: &[Class]) -> Vec<Option<usize>> {
    let candidates: Vec<Vec<(usize, u128)>> = classes.iter().map(keys_without_a_word).collect();
    let mut alike: FxHashMap<u128, Alternatives> = FxHashMap::default();
    for (class, keys) in classes.iter().zip(&candidates) {
        for (place, key) in keys {
            alike.entry(*key).or_default().add(class.tokens[*place]);
        }
    }
    let mut chosen: Vec<Option<(usize, u128)>> = Vec::with_capacity(classes.len());
    for keys in &candidates {
        let mut best: Option<(usize, (usize, u128))> = None;
        for (place, key) in keys {
            let alternatives = &alike[key];
            if alternatives.is_variable()
                && best.is_none_or(|(count, _)| alternatives.count > count)
            {
                best = Some((alternatives.count, (*place, *key)));
            }
        }
        chosen.push(best.map(|(_, chosen)| chosen));
    }
    // Some that were alike have chosen another place.
    let mut left: FxHashMap<u128, Alternatives> = FxHashMap::default();
    for (class, chosen) in classes.iter().zip(&chosen) {
        if let Some((place, key)) = chosen {
            left.entry(*key).or_default().add(class.tokens[*place]);
        }
    }
    let places = chosen.into_iter().map(|chosen| {
        let (place, key) = chosen?;
        left[&key].is_variable().then_some(place)
    });
    places.collect()
}

/// For each word, and each variable, its place and a key of everything else.
fn keys_without_a_word(class: &Class) -> Vec<(usize, u128)> {
    let tokens = &class.tokens;
    let word_count = tokens.iter().filter(|token| is_word(token)).count();
    if word_count > WORDS_MAX {
        return Vec::new();
    }
    let mut behind = vec![0; tokens.len() + 1];
    for at in (0..tokens.len()).rev() {
        behind[at] = both(behind[at + 1], xxh3_128(tokens[at].as_bytes()));
    }
    let is_static = |token: &str| is_word(token) && token != VARIABLE_TEXT;
    let static_count = tokens.iter().filter(|token| is_static(token)).count();
    let mut before = xxh3_128(class.field.as_bytes());
    let mut keys = Vec::with_capacity(word_count);
    for (at, token) in tokens.iter().enumerate() {
        let other_words = static_count - usize::from(is_static(token));
        if is_word(token) && other_words >= OTHER_WORDS_MIN {
            keys.push((at, both(before, behind[at + 1])));
        }
        before = both(before, xxh3_128(token.as_bytes()));
    }
    keys
}

/// The hash of two hashes.
fn both(first: u128, second: u128) -> u128 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&first.to_le_bytes());
    bytes[16..].copy_from_slice(&second.to_le_bytes());
    xxh3_128(&bytes)
}

fn shown(tokens: &[&str]) -> String {
    shown_template(&tokens.concat())
}

/// The text of a template for people, with `<*>` for each [`VARIABLE`].
pub fn shown_template(text: &str) -> String {
    text.replace(VARIABLE, SHOWN_VARIABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `*` stands for a variable, in what is given and in what comes back.
    fn patterns(templates: &[&str]) -> Vec<String> {
        let keys: Vec<PatternKey> = templates
            .iter()
            .map(|text| PatternKey {
                field: "message".into(),
                text: text.replace('*', VARIABLE_TEXT).into(),
            })
            .collect();
        let patterns = patterns_of(&keys);
        let mut backwards = keys.clone();
        backwards.reverse();
        let mut again = patterns_of(&backwards);
        again.reverse();
        assert_eq!(patterns, again, "the order of templates does not matter");
        let patterns = patterns.iter();
        patterns.map(|text| text.replace("<*>", "*")).collect()
    }

    #[test]
    fn lists_of_variables_are_one_whatever_their_length() {
        assert_eq!(
            patterns(&["ids [*, *, *] done", "ids [*] done", "ids [*, *; *] done"]),
            ["ids [*] done", "ids [*] done", "ids [*, *; *] done"]
        );
        // What has nothing alike is shown as it is.
        assert_eq!(patterns(&["took * * ms"]), ["took * * ms"]);
    }

    #[test]
    fn many_words_at_one_place_are_a_variable_and_few_are_not() {
        let users = [
            "user alice logged in from *",
            "user bob logged in from *",
            "user carol logged in from *",
            "user dave logged in from *",
        ];
        assert_eq!(patterns(&users), ["user * logged in from *"; 4]);
        assert_eq!(patterns(&users[..3]), users[..3]);
        let states = ["the server has started", "the server has stopped"];
        assert_eq!(patterns(&states), states);
    }

    #[test]
    fn a_word_where_another_template_has_a_variable_is_one() {
        assert_eq!(
            patterns(&["user alice logged in", "user * logged in"]),
            ["user * logged in"; 2]
        );
        // Too little is the same.
        assert_eq!(
            patterns(&["error *", "error timeout"]),
            ["error *", "error timeout"]
        );
        // Something else stands between the words.
        assert_eq!(
            patterns(&["user alice: logged in", "user * logged in"]),
            ["user alice: logged in", "user * logged in"]
        );
    }

    #[test]
    fn a_template_is_merged_where_most_are_alike() {
        let templates = [
            "job a of queue x ended",
            "job b of queue x ended",
            "job c of queue x ended",
            "job d of queue x ended",
            "job e of queue x ended",
            "job a of queue w ended",
            "job a of queue y ended",
            "job a of queue z ended",
        ];
        // The first is one of five jobs rather than one of four queues; three queues are too few then.
        let expected = ["job * of queue x ended"; 5]
            .into_iter()
            .chain(templates[5..].iter().copied());
        assert_eq!(patterns(&templates), expected.collect::<Vec<_>>());
    }

    #[test]
    fn both_rules_together() {
        assert_eq!(
            patterns(&["rows *, * of shard north lost", "rows * of shard * lost"]),
            ["rows * of shard * lost"; 2]
        );
        let long = "w ".repeat(WORDS_MAX + 1);
        let templates = [format!("{long} x"), format!("{long} *")];
        let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
        assert_eq!(patterns(&templates), templates);
    }

    #[test]
    fn fields_are_apart() {
        let key = |field: &str, text: &str| PatternKey {
            field: field.into(),
            text: text.replace('*', VARIABLE_TEXT).into(),
        };
        let keys = [
            key("message", "user alice logged in"),
            key("other", "user * logged in"),
        ];
        assert_eq!(
            patterns_of(&keys),
            ["user alice logged in", "user <*> logged in"]
        );
    }
}
