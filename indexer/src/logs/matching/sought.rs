//! What is looked for in blocks: which texts, frames and slots may have it, and where in bytes it stands.

use std::cell::OnceCell;

use super::scan::Need;
use crate::logs::blocks::pieces::frames_with;
use crate::logs::blocks::spelling::{BEYOND_ASCII, ESCAPED, Letters, letters_of};
use crate::logs::blocks::texts::{TextKind, Texts};
use crate::logs::blocks::{
    ANY_BEGINNING, ANY_WORD, BlockError, BlocksFile, beginning_key, beginning_of, word_key,
};
use crate::logs::words::is_cut;

/// Some of the texts of a segment.
#[derive(Default)]
pub(super) struct TextSet {
    bits: Vec<u64>,
}

impl TextSet {
    pub(super) fn insert(&mut self, text: u32) {
        let word = text as usize / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (text % 64);
    }

    pub(super) fn contains(&self, text: u32) -> bool {
        let word = self.bits.get(text as usize / 64);
        word.is_some_and(|bits| bits & (1 << (text % 64)) != 0)
    }
}

/// A need, prepared to be looked for.
pub(super) struct Sought {
    pub need: Need,
    letters: Letters,
    /// The key of tables that have it; `None` when they cannot tell.
    key: Option<u64>,
    /// Made when it is asked for: most segments rule themselves out before.
    finder: OnceCell<Option<Finder>>,
    /// The texts that have it.
    pub texts: TextSet,
    /// The blocks that may have one of these, as [`Texts::blocks_of`] tells them: one that is a template, and one that
    /// is a value.
    template_blocks: u64,
    value_blocks: u64,
}

/// Finds a need's text, whatever its case.
pub(super) enum Finder {
    Bytes(Box<memchr::memmem::Finder<'static>>),
    AnyCase(regex::bytes::Regex),
}

impl Finder {
    fn new(text: &str) -> Option<Finder> {
        if text.is_empty() || !text.is_ascii() {
            return None;
        }
        if !text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            let finder = memchr::memmem::Finder::new(text.as_bytes()).into_owned();
            return Some(Finder::Bytes(Box::new(finder)));
        }
        let regex = format!("(?i-u:{})", regex::escape(text));
        regex::bytes::Regex::new(&regex).ok().map(Finder::AnyCase)
    }

    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Finder::Bytes(finder) => finder.find(bytes),
            Finder::AnyCase(regex) => regex.find(bytes).map(|found| found.start()),
        }
    }
}

impl Sought {
    pub(super) fn new(need: &Need, texts: &Texts) -> Sought {
        let key = match need {
            Need::Word(word) => Some(word_key(word)),
            Need::Beginning(word) => beginning_of(word).map(beginning_key),
            Need::Part(_) => None,
        };
        let mut sought = Sought {
            letters: letters_of(need.text()),
            finder: OnceCell::new(),
            need: need.clone(),
            key,
            texts: TextSet::default(),
            template_blocks: 0,
            value_blocks: 0,
        };
        match need {
            Need::Word(word) => {
                for text in texts.with_word(word) {
                    sought.add_text(*text, texts);
                }
            }
            Need::Beginning(beginning) => {
                let add = |text| sought.add_text(text, texts);
                texts.with_word_like(beginning, |_| true, add);
            }
            Need::Part(part) => {
                let add = |text| sought.add_text(text, texts);
                // A piece may lie across the place where a long run was cut.
                let may_have = |word: &str| word.contains(&**part) || is_cut(word);
                texts.with_word_like("", may_have, add);
            }
        }
        sought
    }

    fn add_text(&mut self, text: u32, texts: &Texts) {
        self.texts.insert(text);
        match texts.kind(text) {
            TextKind::Template => self.template_blocks |= texts.blocks_of(text),
            _ => self.value_blocks |= texts.blocks_of(text),
        }
    }

    /// Whether a template that a block uses may have it.
    pub(super) fn may_be_in_templates(&self, block: usize) -> bool {
        self.template_blocks & (1 << (block % 64)) != 0
    }

    /// Whether a value that all documents of a group of a block have may have it.
    pub(super) fn may_be_in_values(&self, block: usize) -> bool {
        self.value_blocks & (1 << (block % 64)) != 0
    }

    /// Sets `bit` for each frame of a block that may have it.
    pub(super) fn mark_frames(
        &self,
        file: &BlocksFile,
        block: usize,
        bit: u32,
        frames: &mut [u32],
    ) -> Result<(), BlockError> {
        let count = frames.len();
        let pieces = file.pieces(block)?;
        match (self.key, file.words(block)?, pieces) {
            (Some(key), Some(words), _) => {
                words.frames_with(key, |frame| frames[frame] |= bit)?;
                let any = match self.need {
                    Need::Beginning(_) => beginning_key(ANY_BEGINNING),
                    _ => word_key(ANY_WORD),
                };
                let mut untold = Vec::new();
                words.frames_with(any, |frame| untold.push(frame))?;
                let Some(pieces) = pieces.filter(|_| !untold.is_empty()) else {
                    return Ok(());
                };
                // Where words tell nothing, the letters in them may.
                let mut has_pieces = vec![false; count];
                let part = self.need.text();
                frames_with(part, pieces, count, |frame| has_pieces[frame] = true)?;
                for frame in untold {
                    frames[frame] |= bit * u32::from(has_pieces[frame]);
                }
                Ok(())
            }
            (None, _, Some(pieces)) => {
                let part = self.need.text();
                frames_with(part, pieces, count, |frame| frames[frame] |= bit)
            }
            _ => {
                frames.iter_mut().for_each(|frame| *frame |= bit);
                Ok(())
            }
        }
    }

    pub(super) fn is_allowed_by(&self, letters: Letters) -> bool {
        self.letters & !letters == 0
    }

    /// How to find it in values with these letters; `None` when its bytes may be others there.
    pub(super) fn finder_for(&self, letters: Letters) -> Option<&Finder> {
        let is_plain = letters & (BEYOND_ASCII | ESCAPED) == 0;
        self.finder().filter(|_| is_plain)
    }

    /// How to find it in plain bytes, when that is possible.
    pub(super) fn finder(&self) -> Option<&Finder> {
        let finder = self.finder.get_or_init(|| Finder::new(self.need.text()));
        finder.as_ref()
    }
}
