//! The frames of a block while they are written, and what is known of the words in them.

use std::io;

use rustc_hash::FxHashSet;

use super::super::flatten::flatten;
use super::super::words::for_each_word;
use super::file::FramePlace;
use super::pieces::{self, Pieces};
use super::spelling::{
    ANYTHING, ESCAPED, Letters, bare_of, has_numbered_characters, letters_of, spelled, text_of,
};
use super::word_table;
use super::{ANY_BEGINNING, ANY_WORD, BEGINNINGS_MAX, beginning_key, beginning_of, word_key};

/// Slots are compressed together up to about this size; reading a value decompresses it.
pub const FRAME_BYTES: usize = 128 * 1024;

/// The table of words takes at most one byte for so many bytes of documents. Where most words come once it would take a
/// third of the file, and the worst case would be worse than that of looking through everything. Ids of 16 bytes and
/// more stay below.
const TABLE_SHARE: usize = 32;
/// A table up to this size is not worth thinking about.
const TABLE_BYTES_MIN: usize = 512;

/// What the values of a slot are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// The sender's ids, in which no words are looked for.
    Id,
    /// Texts as JSON spells them.
    Text,
    /// Numbers, truths and nulls.
    Bare,
    /// Documents.
    Whole,
}

/// What must be known of the values of a slot to look for them.
pub struct Keys<'f> {
    room: &'f mut String,
    keys: &'f mut Vec<u64>,
    beginnings: &'f mut Vec<u64>,
    pieces: &'f mut Pieces,
    letters: Letters,
}

impl Keys<'_> {
    /// Looks at a value.
    pub fn add(&mut self, kind: SlotKind, value: &[u8]) {
        match kind {
            SlotKind::Id => {}
            SlotKind::Text => match text_of(value) {
                Some(text) => {
                    if has_numbered_characters(value) {
                        self.letters |= ESCAPED;
                    }
                    self.add_text(&text);
                }
                None => {
                    self.letters = ANYTHING;
                    self.pieces.add_all();
                }
            },
            SlotKind::Bare => {
                if let Some(number) = bare_of(value) {
                    let spelled = spelled(&number);
                    if spelled.as_bytes() != value {
                        self.letters |= ESCAPED;
                    }
                    self.add_text(&spelled);
                }
            }
            SlotKind::Whole => {
                self.letters = ANYTHING;
                let text = String::from_utf8_lossy(value);
                flatten(&text, &mut |_, value| self.add_text(&spelled(&value)));
            }
        }
    }

    /// The letters of the values seen.
    pub fn letters(&self) -> Letters {
        self.letters
    }

    fn add_text(&mut self, text: &str) {
        self.letters |= letters_of(text);
        let (keys, pieces) = (&mut *self.keys, &mut *self.pieces);
        let beginnings = &mut *self.beginnings;
        for_each_word(text, self.room, |word| {
            pieces.add(word);
            keys.push(word_key(word));
            if let Some(beginning) = beginning_of(word) {
                beginnings.push(beginning_key(beginning));
            }
        });
    }
}

/// Keys seen lately, so that most repeated ones are noticed at the cost of a look into the nearest cache.
pub struct SeenKeys(Box<[u64; SEEN_KEYS]>);

const SEEN_KEYS: usize = 32 * 1024;

impl Default for SeenKeys {
    fn default() -> SeenKeys {
        SeenKeys(Box::new([0; SEEN_KEYS]))
    }
}

impl SeenKeys {
    /// Whether a key was not seen lately; it is now.
    pub fn is_new(&mut self, key: u64) -> bool {
        let place = &mut self.0[key as usize % SEEN_KEYS];
        std::mem::replace(place, key) != key
    }
}

/// The frames of a block, and what is known of the words in each.
#[derive(Default)]
pub struct Frames {
    plain: Vec<u8>,
    /// The hash of each word and which frame it is in; a few of them twice.
    words: Vec<(u64, u32)>,
    seen: SeenKeys,
    /// Different beginnings of words in the open frame, until there are too many.
    beginnings: FxHashSet<u64>,
    /// Those of the slot that is being placed.
    new_keys: Vec<u64>,
    new_beginnings: Vec<u64>,
    new_pieces: Pieces,
    /// Of each frame, the open one included.
    pieces: Vec<Pieces>,
    places: Vec<FramePlace>,
    room: String,
}

impl Frames {
    /// For what is known of the values of the next slot, which is placed then.
    pub fn keys(&mut self) -> Keys<'_> {
        self.new_keys.clear();
        self.new_beginnings.clear();
        self.new_pieces.clear();
        Keys {
            room: &mut self.room,
            keys: &mut self.new_keys,
            beginnings: &mut self.new_beginnings,
            pieces: &mut self.new_pieces,
            letters: 0,
        }
    }

    /// Puts a slot and its keys into the open frame; `false`, and nothing happened, when that is full.
    pub fn place(&mut self, slot: &[u8]) -> bool {
        if !self.plain.is_empty() && self.plain.len() + slot.len() > FRAME_BYTES {
            return false;
        }
        self.plain.extend_from_slice(slot);
        let frame = self.places.len();
        let seen = &mut self.seen;
        let new_keys = self.new_keys.iter().copied();
        let new_keys = new_keys.filter(|key| seen.is_new(*key));
        self.words.extend(new_keys.map(|key| (key, frame as u32)));
        for beginning in &self.new_beginnings {
            if self.beginnings.len() <= BEGINNINGS_MAX && seen.is_new(*beginning) {
                self.beginnings.insert(*beginning);
            }
        }
        if self.pieces.len() == frame {
            self.pieces.push(Pieces::default());
        }
        self.pieces[frame].add_those_of(&self.new_pieces);
        true
    }

    /// Whether the open frame has no bytes.
    pub fn is_open_one_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// The open frame, compressed.
    pub fn close(&mut self, compressor: &mut zstd::bulk::Compressor) -> io::Result<Vec<u8>> {
        let frame = compressor.compress(&self.plain)?;
        self.places.push(FramePlace {
            len: frame.len() as u64,
            plain_len: self.plain.len() as u64,
        });
        let number = self.places.len() as u32 - 1;
        match self.beginnings.len() > BEGINNINGS_MAX {
            true => self.words.push((beginning_key(ANY_BEGINNING), number)),
            false => {
                let beginnings = self.beginnings.iter();
                self.words.extend(beginnings.map(|key| (*key, number)));
            }
        }
        self.beginnings.clear();
        self.plain.clear();
        self.seen.0.fill(0);
        Ok(frame)
    }

    /// Appends the tables of words and pieces of all frames, which are closed, and answers how long each is in bytes, and
    /// where the frames stand. The documents of the block have so many bytes.
    pub fn finish(
        mut self,
        document_bytes: usize,
        section: &mut Vec<u8>,
    ) -> (u64, u64, Vec<FramePlace>) {
        self.leave_out_words(document_bytes);
        let start = section.len();
        word_table::write(&mut self.words, self.places.len(), section);
        let words_len = section.len() - start;
        // Slots without a byte lie in no frame.
        self.pieces.truncate(self.places.len());
        pieces::write(&self.pieces, section);
        let pieces_len = section.len() - start - words_len;
        (words_len as u64, pieces_len as u64, self.places)
    }

    /// Leaves out the words of some frames when a table of all would be too large for documents of so many bytes: of those
    /// frames first that would take most of it for their own bytes. They are found under [`ANY_WORD`], and looked through.
    fn leave_out_words(&mut self, document_bytes: usize) {
        let frame_count = self.places.len();
        let bytes_max = (document_bytes / TABLE_SHARE).max(TABLE_BYTES_MIN);
        let places_max = bytes_max * 8 / word_table::place_bits(frame_count);
        if self.words.len() <= places_max {
            return;
        }
        let mut places = vec![0_u64; frame_count];
        for (_, frame) in &self.words {
            places[*frame as usize] += 1;
        }
        let mut order: Vec<usize> = (0..frame_count).collect();
        order.sort_by_key(|frame| places[*frame] * 1024 / self.places[*frame].len.max(1));
        let mut left = places_max as u64;
        let mut is_left_out = vec![false; frame_count];
        for frame in order {
            match left.checked_sub(places[frame]) {
                Some(rest) => left = rest,
                None => is_left_out[frame] = true,
            }
        }
        self.words
            .retain(|(_, frame)| !is_left_out[*frame as usize]);
        for (frame, _) in is_left_out.iter().enumerate().filter(|(_, is)| **is) {
            let keys = [word_key(ANY_WORD), beginning_key(ANY_BEGINNING)];
            self.words.extend(keys.map(|key| (key, frame as u32)));
        }
    }
}
