//! Finding documents by what their values say: block by block, from templates, filters and slots.
//!
//! A value is a slot, or a template with slots for its variables. What all documents of a group have (templates, values
//! that are one text) is decided once per segment by its texts; slots are looked into when the letters in them and the
//! filter of their frame allow it. The answer is always that of [`ValueTest::fits`] on every value.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tantivy::DocId;

use super::parts::{BlockSet, Part};
use crate::logs::blocks::spelling::{BEYOND_ASCII, ESCAPED, Letters, bare_of, letters_of, text_of};
use crate::logs::blocks::texts::{TextKind, Texts};
use crate::logs::blocks::{
    Block, BlocksFile, FramedSlot, Group, MarkKind, OpenBlock, Row, Shapes, Slot, beginning_key,
    beginning_of,
};
use crate::logs::bloom;
use crate::logs::flatten::{LeafValue, flatten};
use crate::logs::plugin::time_in;
use crate::logs::schema::is_full_text;
use crate::logs::segment::{Segment, unreadable};
use crate::logs::words::{for_each_word, is_word, word_ranges};

use super::Work;

/// What a leaf asks of a value.
pub(super) trait ValueTest: Send + Sync {
    /// Whether the value fits; the slow and obvious answer.
    fn fits(&self, value: &LeafValue, is_full_text: bool) -> bool;

    /// What every value that fits has.
    fn needs(&self) -> &[Need] {
        &[]
    }

    /// The test of words, where a value fits when one of its words does.
    fn word_test(&self) -> Option<&dyn WordTest> {
        None
    }

    /// What can be said of all values with a template, whose words and gaps these are.
    fn fits_template(&self, _parts: &[TemplatePart]) -> Verdict {
        Verdict::SomeMayFit
    }
}

/// What a leaf asks of a word, lower-cased.
pub(super) trait WordTest: Send + Sync {
    /// Whether the word fits.
    fn fits_word(&self, word: &str) -> bool;

    /// Every word that fits begins with it.
    fn beginning(&self) -> &str {
        ""
    }
}

/// Something that a value certainly has, lower-cased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// A word.
    Word(String),
    /// A word that begins with this.
    Beginning(String),
    /// A word that has this in it.
    Part(String),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TemplatePart {
    /// A word, lower-cased.
    Word(String),
    /// Any number of words, none included.
    Gap,
}

/// What is known of all values with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    NoneFits,
    SomeMayFit,
    AllFit,
}

/// More needs than this are not looked at: they would only cut down candidates.
const NEEDS_MAX: usize = 32;

impl Need {
    fn text(&self) -> &str {
        match self {
            Need::Word(text) | Need::Beginning(text) | Need::Part(text) => text,
        }
    }
}

/// Some of the texts of a segment.
#[derive(Default)]
struct TextSet {
    bits: Vec<u64>,
}

impl TextSet {
    fn new(texts: impl IntoIterator<Item = u32>) -> TextSet {
        let mut bits = Vec::new();
        for text in texts {
            let word = text as usize / 64;
            if bits.len() <= word {
                bits.resize(word + 1, 0);
            }
            bits[word] |= 1 << (text % 64);
        }
        TextSet { bits }
    }

    fn contains(&self, text: u32) -> bool {
        let word = self.bits.get(text as usize / 64);
        word.is_some_and(|bits| bits & (1 << (text % 64)) != 0)
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        (0..64 * self.bits.len() as u32).filter(|text| self.contains(*text))
    }
}

/// A need, prepared to be looked for.
struct Sought {
    need: Need,
    letters: Letters,
    /// The key of filters that have it; `None` when filters cannot tell.
    key: Option<u64>,
    finder: Option<Finder>,
    /// The texts that have it.
    texts: TextSet,
    /// The blocks that may have one of these, as [`Texts::blocks_of`] tells them.
    text_blocks: u64,
}

/// Finds a need's text, whatever its case.
enum Finder {
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

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Finder::Bytes(finder) => finder.find(bytes),
            Finder::AnyCase(regex) => regex.find(bytes).map(|found| found.start()),
        }
    }
}

impl Sought {
    fn new(need: &Need, texts: &Texts) -> Sought {
        let key = match need {
            Need::Word(word) => Some(bloom::hash(word.as_bytes())),
            Need::Beginning(word) => beginning_of(word).map(beginning_key),
            Need::Part(_) => None,
        };
        let with_need = match need {
            Need::Word(word) => TextSet::new(texts.with_word(word).iter().copied()),
            Need::Beginning(beginning) => TextSet::new(texts.with_word_like(beginning, |_| true)),
            Need::Part(part) => {
                TextSet::new(texts.with_word_like("", |word| word.contains(&**part)))
            }
        };
        let mut text_blocks = 0;
        for text in with_need.iter() {
            text_blocks |= texts.blocks_of(text);
        }
        Sought {
            letters: letters_of(need.text()),
            finder: Finder::new(need.text()),
            need: need.clone(),
            key,
            texts: with_need,
            text_blocks,
        }
    }

    fn is_allowed_by(&self, letters: Letters) -> bool {
        self.letters & !letters == 0
    }

    /// How to find it in values with these letters; `None` when its bytes may be others there.
    fn finder_for(&self, letters: Letters) -> Option<&Finder> {
        let is_plain = letters & (BEYOND_ASCII | ESCAPED) == 0;
        self.finder.as_ref().filter(|_| is_plain)
    }
}

/// One leaf of the documents of a shape.
#[derive(Clone, Copy)]
struct Leaf {
    kind: MarkKind,
    /// Its slot, as if the template had no variables.
    slot: u32,
    is_behind_template: bool,
    path: u32,
}

impl Leaf {
    fn slot_in(&self, group: &Group) -> usize {
        let variables = match self.is_behind_template {
            true => group.plan.variables().len(),
            false => 0,
        };
        self.slot as usize + variables
    }
}

/// The leaves to look at, by shape.
struct Leaves {
    by_shape: Vec<Vec<Leaf>>,
    /// Where in whole documents.
    path: Option<String>,
}

impl Leaves {
    /// The leaves under `path`, or all.
    fn of(shapes: &Shapes, path: Option<&str>) -> Leaves {
        let wanted: Vec<bool> = shapes
            .paths()
            .iter()
            .map(|known| path.is_none_or(|path| path == known))
            .collect();
        let by_shape = (0..shapes.len() as u32).map(|number| {
            let mut leaves = Vec::new();
            let (mut slot, mut is_behind_template) = (0, false);
            for mark in &shapes.shape(number).marks {
                let is_wanted = match mark.kind {
                    MarkKind::Whole => true,
                    MarkKind::Id | MarkKind::Time(_) => false,
                    _ => mark.path.is_some_and(|path| wanted[path as usize]),
                };
                if is_wanted {
                    leaves.push(Leaf {
                        kind: mark.kind,
                        slot,
                        is_behind_template,
                        path: mark.path.unwrap_or_default(),
                    });
                }
                match mark.kind {
                    MarkKind::Time(_) => {}
                    MarkKind::Template => is_behind_template = true,
                    _ => slot += 1,
                }
            }
            leaves
        });
        Leaves {
            by_shape: by_shape.collect(),
            path: path.map(str::to_owned),
        }
    }
}

/// Adds the documents that have, under `path`, a text that fits and has no column.
pub(super) fn in_field(
    work: &Work,
    path: &str,
    test: Arc<dyn ValueTest>,
    parts: &mut Vec<Box<dyn Part>>,
) -> tantivy::Result<()> {
    let has_slot_text = work
        .segment
        .path(path)
        .is_some_and(|summary| summary.has_slot_text());
    if has_slot_text {
        parts.push(Box::new(Scan::new(work.segment, Some(path), test)?));
    }
    Ok(())
}

/// Adds the documents that have a value that fits.
pub(super) fn anywhere(
    work: &Work,
    test: Arc<dyn ValueTest>,
    parts: &mut Vec<Box<dyn Part>>,
) -> tantivy::Result<()> {
    parts.push(Box::new(Scan::new(work.segment, None, test)?));
    Ok(())
}

/// Looks through the blocks of a segment.
struct Scan {
    file: BlocksFile,
    test: Arc<dyn ValueTest>,
    leaves: Leaves,
    sought: Vec<Sought>,
    /// Bits of all needs.
    all_needs: u32,
    /// Templates, and values that are one text, that fit by their words.
    fitting: TextSet,
    has_unclear_templates: bool,
    /// What is known of texts and of templates.
    known_ones: FxHashMap<(u32, u32), bool>,
    known_templates: FxHashMap<u32, Verdict>,
    room: Vec<u8>,
}

/// One block at work.
struct AtBlock<'b> {
    number: usize,
    open: &'b OpenBlock,
    block: &'b Block,
    /// For each frame which needs its filter allows.
    frames: Vec<u32>,
}

impl Scan {
    fn new(
        segment: &Segment,
        path: Option<&str>,
        test: Arc<dyn ValueTest>,
    ) -> tantivy::Result<Scan> {
        let file = segment.blocks().clone();
        let texts = file.texts().map_err(unreadable)?;
        let shapes = file.shapes().map_err(unreadable)?;
        let sought: Vec<Sought> = test
            .needs()
            .iter()
            .take(NEEDS_MAX)
            .map(|need| Sought::new(need, texts))
            .collect();
        let fitting = match test.word_test() {
            Some(words) => {
                let fits = |word: &str| words.fits_word(word);
                TextSet::new(texts.with_word_like(words.beginning(), fits))
            }
            None => TextSet::default(),
        };
        Ok(Scan {
            leaves: Leaves::of(shapes, path),
            all_needs: ((1_u64 << sought.len()) - 1) as u32,
            has_unclear_templates: !texts.unclear().is_empty(),
            file: file.clone(),
            test,
            sought,
            fitting,
            known_ones: FxHashMap::default(),
            known_templates: FxHashMap::default(),
            room: Vec::new(),
        })
    }

    /// Which needs the filter of each frame allows.
    fn allowed_by_frames(&self, block: usize) -> tantivy::Result<Vec<u32>> {
        let mut frames = Vec::new();
        for frame in 0..self.file.places()[block].entry.frames.len() {
            let mut allowed = 0;
            let filter = self.file.filter(block, frame).map_err(unreadable)?;
            for (at, sought) in self.sought.iter().enumerate() {
                let is_allowed = sought.key.is_none_or(|key| bloom::may_have(filter, key));
                allowed |= u32::from(is_allowed) << at;
            }
            frames.push(allowed);
        }
        Ok(frames)
    }

    /// Whether some document of a block may fit, as far as filters and texts tell.
    fn may_be_in(&self, block: usize, frames: &[u32]) -> bool {
        if self.has_unclear_templates || self.sought.is_empty() {
            return true;
        }
        let in_frames = frames.iter().fold(0, |all, frame| all | frame);
        self.sought.iter().enumerate().all(|(at, sought)| {
            in_frames & (1 << at) != 0 || sought.text_blocks & (1 << (block % 64)) != 0
        })
    }

    fn group(&mut self, at: &AtBlock, group: &Group, set: &mut BlockSet) -> tantivy::Result<()> {
        if self.leaves.by_shape[group.plan.shape as usize].is_empty()
            || (group.plan.is_packed && !self.may_be_in_packed(at, group)?)
        {
            return Ok(());
        }
        let leaves = std::mem::take(&mut self.leaves.by_shape[group.plan.shape as usize]);
        let mut is_done = Ok(false);
        for leaf in &leaves {
            is_done = match leaf.kind {
                MarkKind::Template => self.template(at, group, leaf, set),
                _ => self.plain(at, group, leaf, set),
            };
            if !matches!(is_done, Ok(false)) {
                break;
            }
        }
        self.leaves.by_shape[group.plan.shape as usize] = leaves;
        is_done.map(|_| ())
    }

    /// Whether some value of a packed group may fit, by its bytes: each need is in a text of the group, or it is there.
    fn may_be_in_packed(&self, at: &AtBlock, group: &Group) -> tantivy::Result<bool> {
        let (place, lines) = at.block.packed_slot(group);
        let Slot::Framed(FramedSlot { frame, letters, .. }) = place else {
            return Ok(true);
        };
        let allowed = at.frames.get(frame as usize).copied().unwrap_or_default();
        for (number, sought) in self.sought.iter().enumerate() {
            if self.is_in_texts(at, group, sought)? {
                continue;
            }
            if allowed & (1 << number) == 0 || !sought.is_allowed_by(letters) {
                return Ok(false);
            }
            let Some(finder) = sought.finder_for(letters) else {
                continue;
            };
            let frame = at.open.frame(frame).map_err(unreadable)?;
            let values = frame.slot(place, lines).map_err(unreadable)?;
            if finder.find(values.bytes()).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a need is, or may be, in the template or a value that all documents of the group have.
    fn is_in_texts(&self, at: &AtBlock, group: &Group, sought: &Sought) -> tantivy::Result<bool> {
        if let Some(template) = group.template {
            let texts = self.file.texts().map_err(unreadable)?;
            let is_unclear =
                self.has_unclear_templates && texts.unclear().binary_search(&template).is_ok();
            if is_unclear || sought.texts.contains(template) {
                return Ok(true);
            }
        }
        let is_in_block = sought.text_blocks & (1 << (at.number % 64)) != 0;
        Ok(is_in_block && at.block.ones(group).any(|text| sought.texts.contains(text)))
    }

    /// Whether a value fits.
    fn fits(&self, leaf: &Leaf, value: &LeafValue) -> bool {
        let is_full = match value {
            LeafValue::Text(text) => {
                let shapes = self.file.shapes().ok();
                let path = shapes.map_or("", |shapes| &shapes.paths()[leaf.path as usize]);
                let is_full = is_full_text(path, text);
                // In a field, times are compared as such, by their column.
                if self.leaves.path.is_some() && !is_full && time_in(text).is_some() {
                    return false;
                }
                is_full
            }
            // In a field, numbers and truths have their columns.
            _ if self.leaves.path.is_some() => return false,
            _ => false,
        };
        self.test.fits(value, is_full)
    }

    fn spelled_fits(&self, leaf: &Leaf, spelled: &[u8]) -> bool {
        let value = match leaf.kind {
            MarkKind::Whole => return self.whole_fits(spelled),
            MarkKind::Bare => bare_of(spelled),
            _ => text_of(spelled).map(LeafValue::Text),
        };
        value.is_some_and(|value| self.fits(leaf, &value))
    }

    fn whole_fits(&self, document: &[u8]) -> bool {
        let text = String::from_utf8_lossy(document);
        let mut fits = false;
        flatten(&text, &mut |path, value| {
            if fits
                || self
                    .leaves
                    .path
                    .as_ref()
                    .is_some_and(|wanted| wanted != path)
            {
                return;
            }
            let is_full = match &value {
                LeafValue::Text(text) => is_full_text(path, text),
                _ => false,
            };
            let has_column = self.leaves.path.is_some()
                && !is_full
                && match &value {
                    LeafValue::Text(text) => time_in(text).is_some(),
                    _ => true,
                };
            fits = !has_column && self.test.fits(&value, is_full);
        });
        fits
    }

    /// A leaf that is a slot; answers whether all documents of the group fit.
    fn plain(
        &mut self,
        at: &AtBlock,
        group: &Group,
        leaf: &Leaf,
        set: &mut BlockSet,
    ) -> tantivy::Result<bool> {
        let block = at.block;
        let slot = leaf.slot_in(group);
        let slot_place = block.slot(group, slot);
        if let Slot::One(text) = slot_place {
            let fits = self.one_fits(text, leaf)?;
            if fits {
                mark_all(block, group, set);
            }
            return Ok(fits);
        }
        let place = in_frame(block, group, slot_place);
        let Slot::Framed(FramedSlot { frame, letters, .. }) = place else {
            return Ok(false);
        };
        if !self.may_have_all(at, frame, letters) {
            return Ok(false);
        }
        let documents = block.documents_of(group);
        if group.plan.is_packed {
            for (row, document) in documents.iter().enumerate() {
                let mut room = std::mem::take(&mut self.room);
                room.clear();
                let reader = Row::new(at.open, group, row).map_err(unreadable)?;
                reader.value(slot, &mut room).map_err(unreadable)?;
                if self.spelled_fits(leaf, &room) {
                    set.insert_own(*document);
                }
                self.room = room;
            }
            return Ok(false);
        }
        let frame = at.open.frame(frame).map_err(unreadable)?;
        let values = frame.slot(place, group.rows as usize).map_err(unreadable)?;
        let finder = self.longest_finder(letters, u32::MAX);
        let find = finder.map(|finder| |bytes: &[u8]| finder.find(bytes));
        let find = find
            .as_ref()
            .map(|find| find as &dyn Fn(&[u8]) -> Option<usize>);
        let find = find.filter(|_| leaf.kind != MarkKind::Whole);
        values
            .rows_where(
                find,
                &mut |spelled| self.spelled_fits(leaf, spelled),
                &mut |row| set.insert_own(documents[row]),
            )
            .map_err(unreadable)?;
        Ok(false)
    }

    /// Whether a slot with these letters, in this frame, may have all needs.
    fn may_have_all(&self, at: &AtBlock, frame: u32, letters: Letters) -> bool {
        let allowed = at.frames.get(frame as usize).copied().unwrap_or_default();
        let mut sought = self.sought.iter();
        allowed & self.all_needs == self.all_needs
            && sought.all(|sought| sought.is_allowed_by(letters))
    }

    /// The longest of the needs in `which` that can be found by its bytes.
    fn longest_finder(&self, letters: Letters, which: u32) -> Option<&Finder> {
        let among = self.sought.iter().enumerate();
        let among = among.filter(|(at, _)| which & (1 << at) != 0);
        let findable = among.filter_map(|(_, sought)| Some((sought, sought.finder_for(letters)?)));
        findable
            .max_by_key(|(sought, _)| sought.need.text().len())
            .map(|(_, finder)| finder)
    }

    fn one_fits(&mut self, text: u32, leaf: &Leaf) -> tantivy::Result<bool> {
        let texts = self.file.texts().map_err(unreadable)?;
        if self.test.word_test().is_some() && self.leaves.path.is_none() {
            return Ok(self.fitting.contains(text));
        }
        let lacks = |sought: &Sought| !sought.texts.contains(text);
        if self.sought.iter().any(lacks) {
            return Ok(false);
        }
        if let Some(known) = self.known_ones.get(&(text, leaf.path)) {
            return Ok(*known);
        }
        let value = match texts.kind(text) {
            TextKind::Bare => bare_of(texts.text(text)),
            _ => text_of(texts.text(text)).map(LeafValue::Text),
        };
        let fits = value.is_some_and(|value| self.fits(leaf, &value));
        self.known_ones.insert((text, leaf.path), fits);
        Ok(fits)
    }

    /// A leaf that has a template; answers whether all documents of the group fit.
    fn template(
        &mut self,
        at: &AtBlock,
        group: &Group,
        leaf: &Leaf,
        set: &mut BlockSet,
    ) -> tantivy::Result<bool> {
        let Some(template) = group.template else {
            return Ok(false);
        };
        let block = at.block;
        let is_by_word = self.test.word_test().is_some();
        if is_by_word && self.fitting.contains(template) {
            mark_all(block, group, set);
            return Ok(true);
        }
        let texts = self.file.texts().map_err(unreadable)?;
        let is_unclear =
            self.has_unclear_templates && texts.unclear().binary_search(&template).is_ok();
        // What the template does not have must be in the variables.
        let mut missing = 0_u32;
        for (number, sought) in self.sought.iter().enumerate() {
            missing |= u32::from(!sought.texts.contains(template)) << number;
        }
        if is_unclear {
            missing = 0;
        } else if !self.may_have(at, group, missing) {
            return Ok(false);
        }
        if !is_by_word && !is_unclear {
            match self.verdict(template)? {
                Verdict::NoneFits => return Ok(false),
                Verdict::AllFit => {
                    mark_all(block, group, set);
                    return Ok(true);
                }
                Verdict::SomeMayFit => {}
            }
        }
        if is_by_word && !is_unclear && !group.plan.is_packed {
            self.words_in_variables(at, group, set)?;
            return Ok(false);
        }
        let rows = match missing {
            0 => None,
            _ if group.plan.is_packed => None,
            missing => self.rows_with(at, group, missing)?,
        };
        let documents = block.documents_of(group);
        let mut reader = Row::new(at.open, group, 0).map_err(unreadable)?;
        let mut room = std::mem::take(&mut self.room);
        let all = 0..documents.len() as u32;
        let rows: Box<dyn Iterator<Item = u32>> = match rows {
            Some(rows) => Box::new(rows.into_iter()),
            None => Box::new(all),
        };
        for row in rows {
            room.clear();
            reader.go_to(row as usize);
            reader.message(&mut room).map_err(unreadable)?;
            if self.spelled_fits(leaf, &room) {
                set.insert_own(documents[row as usize]);
            }
        }
        self.room = room;
        Ok(false)
    }

    /// Whether each of the `missing` needs may be in some variable of a group.
    fn may_have(&self, at: &AtBlock, group: &Group, missing: u32) -> bool {
        if missing == 0 && self.test.word_test().is_none() {
            return true;
        }
        let missing = match self.test.word_test() {
            // Its word is either in the template, which was asked, or in a variable.
            Some(_) => self.all_needs,
            None => missing,
        };
        let mut found = 0;
        let mut is_any_variable = false;
        for slot in group.plan.variables() {
            is_any_variable = true;
            let place = at.block.slot(group, slot);
            match in_frame(at.block, group, place) {
                Slot::One(text) => {
                    for (number, sought) in self.sought.iter().enumerate() {
                        found |= u32::from(sought.texts.contains(text)) << number;
                    }
                }
                Slot::Packed(_) => {}
                Slot::Framed(FramedSlot { frame, letters, .. }) => {
                    let allowed = at.frames.get(frame as usize).copied().unwrap_or_default();
                    for (number, sought) in self.sought.iter().enumerate() {
                        if sought.is_allowed_by(letters) {
                            found |= allowed & (1 << number);
                        }
                    }
                }
            }
        }
        is_any_variable && found & missing == missing
    }

    fn verdict(&mut self, template: u32) -> tantivy::Result<Verdict> {
        if let Some(known) = self.known_templates.get(&template) {
            return Ok(*known);
        }
        let texts = self.file.texts().map_err(unreadable)?;
        let verdict = self
            .test
            .fits_template(&template_parts(texts.text(template)));
        self.known_templates.insert(template, verdict);
        Ok(verdict)
    }

    /// The test is of single words: each variable is looked at for itself.
    fn words_in_variables(
        &mut self,
        at: &AtBlock,
        group: &Group,
        set: &mut BlockSet,
    ) -> tantivy::Result<()> {
        let documents = at.block.documents_of(group);
        for slot in group.plan.variables() {
            let place = at.block.slot(group, slot);
            let (frame, letters) = match place {
                Slot::One(text) => {
                    if self.fitting.contains(text) {
                        mark_all(at.block, group, set);
                        return Ok(());
                    }
                    continue;
                }
                // Packed groups are looked at row by row.
                Slot::Packed(_) => continue,
                Slot::Framed(FramedSlot { frame, letters, .. }) => (frame, letters),
            };
            if !self.may_have_all(at, frame, letters) {
                continue;
            }
            let frame = at.open.frame(frame).map_err(unreadable)?;
            let values = frame.slot(place, group.rows as usize).map_err(unreadable)?;
            let finder = self.longest_finder(letters, u32::MAX);
            let find = finder.map(|finder| |bytes: &[u8]| finder.find(bytes));
            let find = find
                .as_ref()
                .map(|find| find as &dyn Fn(&[u8]) -> Option<usize>);
            let mut room = String::new();
            let mut fits = |spelled: &[u8]| {
                let (Some(text), Some(words)) = (text_of(spelled), self.test.word_test()) else {
                    return false;
                };
                let mut fits = false;
                for_each_word(&text, &mut room, |word| {
                    fits = fits || words.fits_word(word)
                });
                fits
            };
            values
                .rows_where(find, &mut fits, &mut |row| set.insert_own(documents[row]))
                .map_err(unreadable)?;
        }
        Ok(())
    }

    /// Rows of a group in which a variable has one of the `missing` needs, in order; `None` when that cannot be told.
    fn rows_with(
        &self,
        at: &AtBlock,
        group: &Group,
        missing: u32,
    ) -> tantivy::Result<Option<Vec<u32>>> {
        let among = self.sought.iter().enumerate();
        let among = among.filter(|(number, _)| missing & (1 << number) != 0);
        let Some((number, sought)) = among
            .filter(|(_, sought)| sought.finder.is_some())
            .max_by_key(|(_, sought)| sought.need.text().len())
        else {
            return Ok(None);
        };
        let mut rows = Vec::new();
        for slot in group.plan.variables() {
            let place = at.block.slot(group, slot);
            let (frame, letters) = match place {
                Slot::One(text) if sought.texts.contains(text) => return Ok(None),
                Slot::One(_) | Slot::Packed(_) => continue,
                Slot::Framed(FramedSlot { frame, letters, .. }) => (frame, letters),
            };
            let allowed = at.frames.get(frame as usize).copied().unwrap_or_default();
            if allowed & (1 << number) == 0 || !sought.is_allowed_by(letters) {
                continue;
            }
            let Some(finder) = sought.finder_for(letters) else {
                return Ok(None);
            };
            let frame = at.open.frame(frame).map_err(unreadable)?;
            let values = frame.slot(place, group.rows as usize).map_err(unreadable)?;
            let find = |bytes: &[u8]| finder.find(bytes);
            // Looking at words costs less than making the whole value.
            let mut has_need = |spelled: &[u8]| match (&sought.need, text_of(spelled)) {
                (Need::Word(word), Some(text)) => {
                    word_ranges(&text).any(|range| is_word(&text[range], word))
                }
                _ => true,
            };
            values
                .rows_where(Some(&find), &mut has_need, &mut |row| rows.push(row as u32))
                .map_err(unreadable)?;
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(Some(rows))
    }
}

/// The slot in a frame that has a slot's values.
fn in_frame(block: &Block, group: &Group, slot: Slot) -> Slot {
    match slot {
        Slot::Packed(_) => block.packed_slot(group).0,
        other => other,
    }
}

fn mark_all(block: &Block, group: &Group, set: &mut BlockSet) {
    for document in block.documents_of(group) {
        set.insert_own(*document);
    }
}

fn template_parts(template: &[u8]) -> Vec<TemplatePart> {
    let mut parts = Vec::new();
    let mut room = String::new();
    for (number, text) in template.split(|byte| *byte == 1).enumerate() {
        if number > 0 {
            parts.push(TemplatePart::Gap);
        }
        if let Some(text) = text_of(text) {
            for_each_word(&text, &mut room, |word| {
                parts.push(TemplatePart::Word(word.to_owned()));
            });
        }
    }
    parts
}

impl Part for Scan {
    fn mark(&mut self, number: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        let frames = self.allowed_by_frames(number)?;
        if !self.may_be_in(number, &frames) {
            return Ok(());
        }
        let file = self.file.clone();
        let open = OpenBlock::new(&file, number).map_err(unreadable)?;
        let at = AtBlock {
            number,
            open: &open,
            block: open.block(),
            frames,
        };
        for group in at.block.groups() {
            self.group(&at, group, set)?;
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        500_000
    }
}

/// The documents that have a text at a path or below it.
pub(super) struct HasText {
    file: BlocksFile,
    path: String,
    /// By shape.
    have: Vec<Whether>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whether {
    No,
    Yes,
    /// A whole document in this slot.
    Ask(u32),
}

impl HasText {
    pub(super) fn new(segment: &Segment, path: &str) -> tantivy::Result<HasText> {
        let file = segment.blocks().clone();
        let shapes = file.shapes().map_err(unreadable)?;
        let is_wanted: Vec<bool> = shapes
            .paths()
            .iter()
            .map(|known| crate::logs::segment::is_at_or_under(known, path))
            .collect();
        let have = (0..shapes.len() as u32).map(|number| {
            let marks = &shapes.shape(number).marks;
            let whole = marks.iter().position(|mark| mark.kind == MarkKind::Whole);
            let has_text = marks.iter().any(|mark| {
                matches!(mark.kind, MarkKind::Text | MarkKind::Template)
                    && mark.path.is_some_and(|path| is_wanted[path as usize])
            });
            match (whole, has_text) {
                (Some(slot), _) => Whether::Ask(slot as u32),
                (None, true) => Whether::Yes,
                (None, false) => Whether::No,
            }
        });
        let have = have.collect();
        Ok(HasText {
            file,
            path: path.to_owned(),
            have,
        })
    }
}

impl Part for HasText {
    fn mark(&mut self, number: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        let open = OpenBlock::new(&self.file, number).map_err(unreadable)?;
        let block = open.block();
        for group in block.groups() {
            match self.have[group.plan.shape as usize] {
                Whether::No => {}
                Whether::Yes => mark_all(block, group, set),
                Whether::Ask(slot) => {
                    for (row, document) in block.documents_of(group).iter().enumerate() {
                        let mut source = Vec::new();
                        let reader = Row::new(&open, group, row).map_err(unreadable)?;
                        reader
                            .value(slot as usize, &mut source)
                            .map_err(unreadable)?;
                        let mut has = false;
                        flatten(&String::from_utf8_lossy(&source), &mut |path, value| {
                            has |= matches!(value, LeafValue::Text(_))
                                && crate::logs::segment::is_at_or_under(path, &self.path);
                        });
                        if has {
                            set.insert_own(*document);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        10_000
    }
}

/// Calls `visit` with each value under a path, by document.
pub fn visit_values(
    segment: &Segment,
    path: &str,
    visit: &mut dyn FnMut(DocId, &LeafValue),
) -> tantivy::Result<()> {
    let file = segment.blocks();
    let shapes = file.shapes().map_err(unreadable)?;
    let texts = file.texts().map_err(unreadable)?;
    let leaves = Leaves::of(shapes, Some(path));
    for (number, place) in file.places().iter().enumerate() {
        let open = OpenBlock::new(file, number).map_err(unreadable)?;
        let block = open.block();
        // Where each value, as it is spelled, ends in `spelled`; by document and place in it.
        let mut spelled = Vec::new();
        let mut values: Vec<(u32, u32, MarkKind, std::ops::Range<usize>)> = Vec::new();
        for group in block.groups() {
            for leaf in &leaves.by_shape[group.plan.shape as usize] {
                let documents = block.documents_of(group);
                let slot = leaf.slot_in(group);
                let mut push = |row: usize, value: &[u8], spelled: &mut Vec<u8>| {
                    let start = spelled.len();
                    spelled.extend_from_slice(value);
                    values.push((documents[row], leaf.slot, leaf.kind, start..spelled.len()));
                };
                let is_row_by_row = group.plan.is_packed || leaf.kind == MarkKind::Template;
                if is_row_by_row {
                    let mut reader = Row::new(&open, group, 0).map_err(unreadable)?;
                    let mut value = Vec::new();
                    for row in 0..documents.len() {
                        value.clear();
                        reader.go_to(row);
                        match leaf.kind {
                            MarkKind::Template => reader.message(&mut value),
                            _ => reader.value(slot, &mut value),
                        }
                        .map_err(unreadable)?;
                        push(row, &value, &mut spelled);
                    }
                    continue;
                }
                let place = block.slot(group, slot);
                match place {
                    // Was read row by row.
                    Slot::Packed(_) => {}
                    Slot::One(text) => {
                        for row in 0..documents.len() {
                            push(row, texts.text(text), &mut spelled);
                        }
                    }
                    Slot::Framed(FramedSlot { frame, .. }) => {
                        let frame = open.frame(frame).map_err(unreadable)?;
                        frame
                            .slot(place, documents.len())
                            .and_then(|values| {
                                values.for_each(|row, value| push(row, value, &mut spelled))
                            })
                            .map_err(unreadable)?;
                    }
                }
            }
        }
        values.sort_by_key(|(document, slot, ..)| (*document, *slot));
        for (document, _, kind, range) in values {
            let doc = place.first_document + document;
            let value = &spelled[range];
            match kind {
                MarkKind::Whole => {
                    flatten(&String::from_utf8_lossy(value), &mut |at, value| {
                        if at == path {
                            visit(doc, &value);
                        }
                    });
                }
                MarkKind::Bare => {
                    if let Some(value) = bare_of(value) {
                        visit(doc, &value);
                    }
                }
                _ => {
                    if let Some(text) = text_of(value) {
                        visit(doc, &LeafValue::Text(text));
                    }
                }
            }
        }
    }
    Ok(())
}
