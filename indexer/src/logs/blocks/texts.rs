//! The texts of a segment that stand in many documents, each once: templates of messages, and values that all documents
//! of a group have. With the words in them, so that a word leads to its texts.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::super::words::for_each_word;
use super::number::{Cursor, push_number};
use super::spelling::{bare_of, has_numbered_characters, spelled, text_of};
use super::{BlockError, MARK_MAX};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TextKind {
    /// A message with marks where its variables stood.
    Template,
    /// A value, as it is spelled between its quotes.
    Text,
    /// A number, `true`, `false` or `null`, as it is spelled.
    Bare,
}

/// Texts that are being collected.
#[derive(Default)]
pub struct TextsBuilder {
    /// By kind and bytes.
    numbers: FxHashMap<Box<[u8]>, u32>,
    texts: Vec<(TextKind, Box<[u8]>)>,
    /// For each text the blocks that use it: bit `number % 64`.
    blocks: Vec<u64>,
    bytes: usize,
    room: Vec<u8>,
}

impl TextsBuilder {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// About how much memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        2 * self.bytes + 96 * self.texts.len()
    }

    /// The number of a text, when it is known.
    pub fn known(&mut self, kind: TextKind, text: &[u8]) -> Option<u32> {
        self.room.clear();
        self.room.push(kind as u8);
        self.room.extend_from_slice(text);
        self.numbers.get(&*self.room).copied()
    }

    /// The number of a text, which is new if need be.
    pub fn number(&mut self, kind: TextKind, text: &[u8]) -> u32 {
        if let Some(number) = self.known(kind, text) {
            return number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(self.room.as_slice().into(), number);
        self.texts.push((kind, text.into()));
        self.blocks.push(0);
        self.bytes += text.len();
        number
    }

    /// A text.
    pub fn text(&self, number: u32) -> &[u8] {
        &self.texts[number as usize].1
    }

    /// Notes that a block uses a text.
    pub fn use_in(&mut self, number: u32, block: usize) {
        self.blocks[number as usize] |= 1 << (block % 64);
    }

    /// Writes them all.
    pub fn write(&self, out: &mut Vec<u8>) {
        push_number(out, self.texts.len());
        out.extend(self.texts.iter().map(|(kind, _)| *kind as u8));
        for (_, text) in &self.texts {
            push_number(out, text.len());
        }
        for (_, text) in &self.texts {
            out.extend_from_slice(text);
        }
        for blocks in &self.blocks {
            out.extend_from_slice(&blocks.to_le_bytes());
        }
        self.write_words(out);
    }

    /// For each word, in order: how many bytes it shares with the one before, the rest of it, its texts.
    fn write_words(&self, out: &mut Vec<u8>) {
        let mut words: FxHashMap<Box<str>, Vec<u32>> = FxHashMap::default();
        let mut room = String::new();
        for (number, (kind, text)) in self.texts.iter().enumerate() {
            visit_words(*kind, text, &mut room, &mut |word| {
                let texts = match words.get_mut(word) {
                    Some(texts) => texts,
                    None => words.entry(word.into()).or_default(),
                };
                if texts.last() != Some(&(number as u32)) {
                    texts.push(number as u32);
                }
            });
        }
        let mut words: Vec<_> = words.into_iter().collect();
        words.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        push_number(out, words.len());
        let mut last: &[u8] = &[];
        for (word, _) in &words {
            let word = word.as_bytes();
            let shared = word.iter().zip(last).take_while(|(a, b)| a == b).count();
            push_number(out, shared);
            push_number(out, word.len() - shared);
            out.extend_from_slice(&word[shared..]);
            last = word;
        }
        for (_, texts) in &words {
            push_number(out, texts.len());
            let mut last = 0;
            for text in texts {
                push_number(out, (text - last) as usize);
                last = *text;
            }
        }
    }
}

/// Calls `visit` with the words of a text that certainly stand in each value it is a part of.
fn visit_words(kind: TextKind, text: &[u8], room: &mut String, visit: &mut dyn FnMut(&str)) {
    match kind {
        TextKind::Template if is_unclear(text) => {}
        TextKind::Template => {
            for part in text.split(|byte| *byte <= MARK_MAX) {
                if let Some(text) = text_of(part) {
                    for_each_word(&text, room, &mut *visit);
                }
            }
        }
        TextKind::Text => {
            if let Some(text) = text_of(text) {
                for_each_word(&text, room, visit);
            }
        }
        TextKind::Bare => {
            if let Some(value) = bare_of(text) {
                for_each_word(&spelled(&value), room, visit);
            }
        }
    }
}

/// Whether words of a template may go on in its variables: an escaped letter may touch one.
pub fn is_unclear(template: &[u8]) -> bool {
    has_numbered_characters(template)
}

/// The texts of a segment.
pub struct Texts {
    bytes: Vec<u8>,
    texts: Vec<(TextKind, Range<u32>)>,
    /// For each text how many marks it has.
    variables: Vec<u32>,
    blocks: Vec<u64>,
    words: Vec<u8>,
    /// For each word, in order, where it ends in `words`.
    word_ends: Vec<u32>,
    postings: Vec<u32>,
    /// For each word where its texts end in `postings`.
    posting_ends: Vec<u32>,
    /// Templates whose words are not among those above.
    unclear: Vec<u32>,
}

impl Texts {
    /// Reads what was written.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read(section: &[u8]) -> Result<Texts, BlockError> {
        const DAMAGED: BlockError = BlockError::Damaged("its texts");
        let mut cursor = Cursor::new(section);
        let count = cursor.count()?;
        let kinds = cursor.take(count)?;
        let mut texts = Vec::with_capacity(count);
        let mut end = 0_u32;
        for kind in kinds {
            let kind = match kind {
                0 => TextKind::Template,
                1 => TextKind::Text,
                2 => TextKind::Bare,
                _ => return Err(DAMAGED),
            };
            let start = end;
            end = end.checked_add(cursor.small()?).ok_or(DAMAGED)?;
            texts.push((kind, start..end));
        }
        let bytes = cursor.take(end as usize)?.to_vec();
        let variables = texts.iter().map(|(_, range)| {
            let text = bytes[range.start as usize..range.end as usize].iter();
            text.filter(|byte| **byte <= MARK_MAX).count() as u32
        });
        let variables = variables.collect();
        let (blocks, _) = cursor.take(8 * count)?.as_chunks();
        let blocks = blocks
            .iter()
            .map(|bits| u64::from_le_bytes(*bits))
            .collect();
        let word_count = cursor.count()?;
        let mut words = Vec::new();
        let mut word_ends = Vec::with_capacity(word_count);
        let mut last = 0..0;
        for _ in 0..word_count {
            let shared = cursor.number()?;
            let len = cursor.number()?;
            if shared > last.len() || words.len() > WORD_BYTES_MAX {
                return Err(DAMAGED);
            }
            let start = words.len();
            words.extend_from_within(last.start..last.start + shared);
            words.extend_from_slice(cursor.take(len)?);
            word_ends.push(words.len() as u32);
            last = start..words.len();
        }
        let mut postings = Vec::new();
        let mut posting_ends = Vec::with_capacity(word_count);
        for _ in 0..word_count {
            let mut text = 0_u32;
            for _ in 0..cursor.count()? {
                text = text.checked_add(cursor.small()?).ok_or(DAMAGED)?;
                if text as usize >= count {
                    return Err(DAMAGED);
                }
                postings.push(text);
            }
            posting_ends.push(postings.len() as u32);
        }
        let mut texts = Texts {
            bytes,
            texts,
            variables,
            blocks,
            words,
            word_ends,
            postings,
            posting_ends,
            unclear: Vec::new(),
        };
        texts.unclear = (0..count as u32)
            .filter(|number| {
                texts.kind(*number) == TextKind::Template && is_unclear(texts.text(*number))
            })
            .collect();
        Ok(texts)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// What a text is.
    pub fn kind(&self, number: u32) -> TextKind {
        self.texts[number as usize].0
    }

    /// A text as it is spelled.
    pub fn text(&self, number: u32) -> &[u8] {
        let range = &self.texts[number as usize].1;
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// How many variables a template has; `None` when there is no template of this number.
    pub fn variables(&self, number: u32) -> Option<usize> {
        let kind = self.texts.get(number as usize)?.0;
        (kind == TextKind::Template).then(|| self.variables[number as usize] as usize)
    }

    /// The blocks that may use a text: bit `number % 64`.
    pub fn blocks_of(&self, number: u32) -> u64 {
        self.blocks[number as usize]
    }

    /// Templates whose words [`Texts::with_word`] does not know.
    pub fn unclear(&self) -> &[u32] {
        &self.unclear
    }

    /// The texts that have a word, in order.
    pub fn with_word(&self, word: &str) -> &[u32] {
        let at = self.first_from(word.as_bytes());
        match at < self.word_ends.len() && self.word(at) == word.as_bytes() {
            true => self.postings_of(at),
            false => &[],
        }
    }

    /// Calls `visit` with the texts, some of them more than once, that have a word that begins with `prefix` and fits.
    pub fn with_word_like(
        &self,
        prefix: &str,
        mut fits: impl FnMut(&str) -> bool,
        mut visit: impl FnMut(u32),
    ) {
        for at in self.first_from(prefix.as_bytes())..self.word_ends.len() {
            let word = self.word(at);
            if !word.starts_with(prefix.as_bytes()) {
                break;
            }
            if std::str::from_utf8(word).is_ok_and(&mut fits) {
                self.postings_of(at).iter().copied().for_each(&mut visit);
            }
        }
    }

    fn first_from(&self, word: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.word_ends.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.word(middle) < word {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    fn word(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.word_ends[at - 1] };
        &self.words[start as usize..self.word_ends[at] as usize]
    }

    fn postings_of(&self, at: usize) -> &[u32] {
        let start = if at == 0 {
            0
        } else {
            self.posting_ends[at - 1]
        };
        &self.postings[start as usize..self.posting_ends[at] as usize]
    }
}

/// All words of a segment's texts together; the texts are bounded far below.
const WORD_BYTES_MAX: usize = 1 << 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_to_their_texts() {
        let mut builder = TextsBuilder::default();
        let template = b"Got \x01 exception while serving \x01 to /\x01";
        assert_eq!(builder.number(TextKind::Template, template), 0);
        assert_eq!(builder.number(TextKind::Text, b"Serving\\nhosts"), 1);
        assert_eq!(builder.number(TextKind::Bare, b"1e3"), 2);
        assert_eq!(builder.number(TextKind::Text, b"1e3"), 3);
        assert_eq!(builder.number(TextKind::Template, b"caf\\u00e9\x01"), 4);
        assert_eq!(builder.number(TextKind::Template, template), 0);
        builder.use_in(1, 65);
        let mut section = Vec::new();
        builder.write(&mut section);
        let texts = Texts::read(&section).unwrap();
        assert_eq!(texts.len(), 5);
        assert_eq!(texts.text(0), template);
        assert_eq!(texts.with_word("serving"), [0, 1]);
        assert_eq!(texts.with_word("1000"), [2]);
        assert_eq!(texts.with_word("1e3"), [3]);
        assert_eq!(texts.with_word("nothing"), [] as [u32; 0]);
        assert_eq!(texts.unclear(), [4]);
        let mut like = Vec::new();
        texts.with_word_like("", |word| word.contains("os"), |text| like.push(text));
        assert_eq!(like, [1]);
        assert_eq!(texts.variables(0), Some(3));
        assert_eq!((texts.variables(1), texts.variables(9)), (None, None));
        assert_eq!((texts.blocks_of(1), texts.blocks_of(0)), (1 << 1, 0));
        for at in 0..section.len() {
            let mut damaged = section.clone();
            damaged[at] ^= 0x55;
            let _ = Texts::read(&damaged);
        }
    }
}
