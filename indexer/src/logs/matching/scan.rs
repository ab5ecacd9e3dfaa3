//! Finding documents by what their values say: block by block, from templates, tables and slots.
//!
//! A value is a slot, or a template with slots for its variables. What all documents of a group have (templates, values
//! that are one text) is decided once per segment by its texts; slots are looked into when the letters in them and the
//! words of their frame allow it. The answer is always that of [`ValueTest::fits`] on every value.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::leaves::{Leaf, Leaves};
use super::parts::{BlockSet, Part};
use super::sought::{Finder, Sought, TextSet};
use crate::logs::blocks::spelling::{Letters, bare_of, text_of};
use crate::logs::blocks::texts::TextKind;
use crate::logs::blocks::{BlocksFile, FramedSlot, Group, MarkKind, OpenBlock, Row, Slot, Slots};
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
    pub(super) fn text(&self) -> &str {
        match self {
            Need::Word(text) | Need::Beginning(text) | Need::Part(text) => text,
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
    /// Groups of the block at work all of whose documents fit.
    whole: Vec<u16>,
}

/// One block at work.
struct AtBlock<'b> {
    number: usize,
    open: &'b OpenBlock,
    /// For each frame which needs it may have.
    frames: Vec<u32>,
    /// Which needs some frame, or a value that all documents of a group have, may have.
    in_values: u32,
}

/// One group at work.
#[derive(Clone, Copy)]
struct AtGroup<'b> {
    block: &'b AtBlock<'b>,
    number: u16,
    group: &'b Group,
}

impl<'b> AtGroup<'b> {
    fn slots(&self) -> tantivy::Result<&'b Slots> {
        self.block.open.slots().map_err(unreadable)
    }

    fn documents(&self) -> tantivy::Result<&'b [u32]> {
        self.block.open.documents_of(self.group).map_err(unreadable)
    }

    fn allowed(&self, frame: u32) -> u32 {
        let allowed = self.block.frames.get(frame as usize);
        allowed.copied().unwrap_or_default()
    }
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
                let mut fitting = TextSet::default();
                texts.with_word_like(words.beginning(), fits, |text| fitting.insert(text));
                fitting
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
            whole: Vec::new(),
        })
    }

    /// Which needs each frame of a block may have.
    fn allowed_by_frames(&self, block: usize) -> tantivy::Result<Vec<u32>> {
        let mut frames = vec![0; self.file.places()[block].entry.frames.len()];
        for (at, sought) in self.sought.iter().enumerate() {
            sought
                .mark_frames(&self.file, block, 1 << at, &mut frames)
                .map_err(unreadable)?;
        }
        Ok(frames)
    }

    /// Which needs some frame, or a value that all documents of a group have, may have.
    fn in_values(&self, block: usize, frames: &[u32]) -> u32 {
        let mut found = frames.iter().fold(0, |all, frame| all | frame);
        for (at, sought) in self.sought.iter().enumerate() {
            found |= u32::from(sought.may_be_in_values(block)) << at;
        }
        found
    }

    /// Whether some document of a block may fit, as far as tables and texts tell.
    fn may_be_in(&self, block: usize, in_values: u32) -> bool {
        if self.has_unclear_templates || self.sought.is_empty() {
            return true;
        }
        self.sought
            .iter()
            .enumerate()
            .all(|(at, sought)| in_values & (1 << at) != 0 || sought.may_be_in_templates(block))
    }

    fn group(&mut self, at: AtGroup, set: &mut BlockSet) -> tantivy::Result<()> {
        let shape = at.group.plan.shape as usize;
        if self.leaves.by_shape[shape].is_empty()
            || (at.group.plan.is_packed && !self.may_be_in_packed(at)?)
        {
            return Ok(());
        }
        let leaves = std::mem::take(&mut self.leaves.by_shape[shape]);
        let mut is_whole = Ok(false);
        for leaf in &leaves {
            is_whole = match leaf.kind {
                MarkKind::Template => self.template(at, leaf, set),
                // A value that fits has all needs.
                _ if self.all_needs & !at.block.in_values != 0 => break,
                _ => self.plain(at, leaf, set),
            };
            if !matches!(is_whole, Ok(false)) {
                break;
            }
        }
        self.leaves.by_shape[shape] = leaves;
        if is_whole? {
            self.whole.push(at.number);
        }
        Ok(())
    }

    /// Whether some value of a packed group may fit, by its bytes: each need is in a text of the group, or it is there.
    fn may_be_in_packed(&self, at: AtGroup) -> tantivy::Result<bool> {
        let in_template = self.needs_in_template(at.group)?;
        if self.all_needs & !(at.block.in_values | in_template) != 0 {
            return Ok(false);
        }
        if self.all_needs & !in_template == 0 {
            return Ok(true);
        }
        let slots = at.slots()?;
        let place = slots.packed_slot(at.group);
        let Slot::Framed(FramedSlot { frame, letters, .. }) = place else {
            return Ok(true);
        };
        for (number, sought) in self.sought.iter().enumerate() {
            if in_template & (1 << number) != 0 {
                continue;
            }
            let mut ones = slots.ones(at.group);
            if sought.may_be_in_values(at.block.number)
                && ones.any(|text| sought.texts.contains(text))
            {
                continue;
            }
            if at.allowed(frame) & (1 << number) == 0 || !sought.is_allowed_by(letters) {
                return Ok(false);
            }
            let Some(finder) = sought.finder_for(letters) else {
                continue;
            };
            let frame = at.block.open.frame(frame).map_err(unreadable)?;
            let values = frame
                .slot(place, slots.packed_lines(at.group))
                .map_err(unreadable)?;
            if finder.find(values.bytes()).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The needs that the template of a group has; all of them when that is not clear.
    fn needs_in_template(&self, group: &Group) -> tantivy::Result<u32> {
        let Some(template) = group.template else {
            return Ok(0);
        };
        if self.is_unclear(template)? {
            return Ok(self.all_needs);
        }
        let mut found = 0;
        for (number, sought) in self.sought.iter().enumerate() {
            found |= u32::from(sought.texts.contains(template)) << number;
        }
        Ok(found)
    }

    fn is_unclear(&self, template: u32) -> tantivy::Result<bool> {
        if !self.has_unclear_templates {
            return Ok(false);
        }
        let texts = self.file.texts().map_err(unreadable)?;
        Ok(texts.unclear().binary_search(&template).is_ok())
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
    fn plain(&mut self, at: AtGroup, leaf: &Leaf, set: &mut BlockSet) -> tantivy::Result<bool> {
        let slots = at.slots()?;
        let slot = leaf.slot_in(at.group);
        let slot_place = slots.slot(at.group, slot);
        if let Slot::One(text) = slot_place {
            return self.one_fits(text, leaf);
        }
        let place = in_frame(slots, at.group, slot_place);
        let Slot::Framed(FramedSlot { frame, letters, .. }) = place else {
            return Ok(false);
        };
        if !self.may_have_all(at, frame, letters) {
            return Ok(false);
        }
        if at.group.plan.is_packed {
            for (row, document) in at.documents()?.iter().enumerate() {
                let mut room = std::mem::take(&mut self.room);
                room.clear();
                let reader = Row::new(at.block.open, at.group, row).map_err(unreadable)?;
                reader.value(slot, &mut room).map_err(unreadable)?;
                if self.spelled_fits(leaf, &room) {
                    set.insert_own(*document);
                }
                self.room = room;
            }
            return Ok(false);
        }
        let frame = at.block.open.frame(frame).map_err(unreadable)?;
        let values = frame
            .slot(place, at.group.rows as usize)
            .map_err(unreadable)?;
        let finder = self.longest_finder(letters, u32::MAX);
        let find = finder.map(|finder| |bytes: &[u8]| finder.find(bytes));
        let find = find
            .as_ref()
            .map(|find| find as &dyn Fn(&[u8]) -> Option<usize>);
        let find = find.filter(|_| leaf.kind != MarkKind::Whole);
        let mut rows = Vec::new();
        values
            .rows_where(
                find,
                &mut |spelled| self.spelled_fits(leaf, spelled),
                &mut |row| rows.push(row),
            )
            .map_err(unreadable)?;
        insert_rows(at, &rows, set)?;
        Ok(false)
    }

    /// Whether a slot with these letters, in this frame, may have all needs.
    fn may_have_all(&self, at: AtGroup, frame: u32, letters: Letters) -> bool {
        let mut sought = self.sought.iter();
        at.allowed(frame) & self.all_needs == self.all_needs
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
    fn template(&mut self, at: AtGroup, leaf: &Leaf, set: &mut BlockSet) -> tantivy::Result<bool> {
        let Some(template) = at.group.template else {
            return Ok(false);
        };
        let is_by_word = self.test.word_test().is_some();
        if is_by_word && self.fitting.contains(template) {
            return Ok(true);
        }
        let is_unclear = self.is_unclear(template)?;
        // What the template does not have must be in the variables.
        let mut missing = self.all_needs & !self.needs_in_template(at.group)?;
        if is_unclear {
            missing = 0;
        } else {
            // A single word is in the template, which was asked, or in a variable.
            let must_be_in_variables = match is_by_word {
                true => self.all_needs,
                false => missing,
            };
            if must_be_in_variables & !at.block.in_values != 0 {
                return Ok(false);
            }
            if !is_by_word {
                match self.verdict(template)? {
                    Verdict::NoneFits => return Ok(false),
                    Verdict::AllFit => return Ok(true),
                    Verdict::SomeMayFit => {}
                }
            }
            if !self.may_have(at, must_be_in_variables)? {
                return Ok(false);
            }
        }
        if is_by_word && !is_unclear && !at.group.plan.is_packed {
            return self.words_in_variables(at, set);
        }
        let rows = match missing {
            0 => None,
            _ if at.group.plan.is_packed => None,
            missing => self.rows_with(at, missing)?,
        };
        let rows: Box<dyn Iterator<Item = u32>> = match rows {
            Some(rows) => Box::new(rows.into_iter()),
            None => Box::new(0..at.group.rows),
        };
        let mut reader = Row::new(at.block.open, at.group, 0).map_err(unreadable)?;
        let mut room = std::mem::take(&mut self.room);
        let mut fitting = Vec::new();
        for row in rows {
            room.clear();
            reader.go_to(row as usize);
            reader.message(&mut room).map_err(unreadable)?;
            if self.spelled_fits(leaf, &room) {
                fitting.push(row as usize);
            }
        }
        self.room = room;
        insert_rows(at, &fitting, set)?;
        Ok(false)
    }

    /// Whether each of these needs may be in some variable of a group.
    fn may_have(&self, at: AtGroup, needs: u32) -> tantivy::Result<bool> {
        if needs == 0 && self.test.word_test().is_none() {
            return Ok(true);
        }
        let slots = at.slots()?;
        let mut found = 0;
        let mut is_any_variable = false;
        for slot in at.group.plan.variables() {
            is_any_variable = true;
            let place = slots.slot(at.group, slot);
            match in_frame(slots, at.group, place) {
                Slot::One(text) => {
                    for (number, sought) in self.sought.iter().enumerate() {
                        found |= u32::from(sought.texts.contains(text)) << number;
                    }
                }
                Slot::Packed(_) => {}
                Slot::Framed(FramedSlot { frame, letters, .. }) => {
                    let allowed = at.allowed(frame);
                    for (number, sought) in self.sought.iter().enumerate() {
                        if sought.is_allowed_by(letters) {
                            found |= allowed & (1 << number);
                        }
                    }
                }
            }
        }
        Ok(is_any_variable && found & needs == needs)
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

    /// The test is of single words: each variable is looked at for itself. Answers whether all documents of the group fit.
    fn words_in_variables(&mut self, at: AtGroup, set: &mut BlockSet) -> tantivy::Result<bool> {
        let slots = at.slots()?;
        let mut rows = Vec::new();
        for slot in at.group.plan.variables() {
            let place = slots.slot(at.group, slot);
            let (frame, letters) = match place {
                Slot::One(text) if self.fitting.contains(text) => return Ok(true),
                // Packed groups are looked at row by row.
                Slot::One(_) | Slot::Packed(_) => continue,
                Slot::Framed(FramedSlot { frame, letters, .. }) => (frame, letters),
            };
            if !self.may_have_all(at, frame, letters) {
                continue;
            }
            let frame = at.block.open.frame(frame).map_err(unreadable)?;
            let values = frame
                .slot(place, at.group.rows as usize)
                .map_err(unreadable)?;
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
                .rows_where(find, &mut fits, &mut |row| rows.push(row))
                .map_err(unreadable)?;
        }
        insert_rows(at, &rows, set)?;
        Ok(false)
    }

    /// Rows of a group in which a variable has one of the `missing` needs, in order; `None` when that cannot be told.
    fn rows_with(&self, at: AtGroup, missing: u32) -> tantivy::Result<Option<Vec<u32>>> {
        let slots = at.slots()?;
        let among = self.sought.iter().enumerate();
        let among = among.filter(|(number, _)| missing & (1 << number) != 0);
        let Some((number, sought)) = among
            .filter(|(_, sought)| sought.finder().is_some())
            .max_by_key(|(_, sought)| sought.need.text().len())
        else {
            return Ok(None);
        };
        let mut rows = Vec::new();
        for slot in at.group.plan.variables() {
            let place = slots.slot(at.group, slot);
            let (frame, letters) = match place {
                Slot::One(text) if sought.texts.contains(text) => return Ok(None),
                Slot::One(_) | Slot::Packed(_) => continue,
                Slot::Framed(FramedSlot { frame, letters, .. }) => (frame, letters),
            };
            if at.allowed(frame) & (1 << number) == 0 || !sought.is_allowed_by(letters) {
                continue;
            }
            let Some(finder) = sought.finder_for(letters) else {
                return Ok(None);
            };
            let frame = at.block.open.frame(frame).map_err(unreadable)?;
            let values = frame
                .slot(place, at.group.rows as usize)
                .map_err(unreadable)?;
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
fn in_frame(slots: &Slots, group: &Group, slot: Slot) -> Slot {
    match slot {
        Slot::Packed(_) => slots.packed_slot(group),
        other => other,
    }
}

/// Documents are asked for only where there is a row: most groups that are looked into have none.
fn insert_rows(at: AtGroup, rows: &[usize], set: &mut BlockSet) -> tantivy::Result<()> {
    if !rows.is_empty() {
        let documents = at.documents()?;
        rows.iter().for_each(|row| set.insert_own(documents[*row]));
    }
    Ok(())
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
        let in_values = self.in_values(number, &frames);
        if !self.may_be_in(number, in_values) {
            return Ok(());
        }
        let file = self.file.clone();
        let open = OpenBlock::new(&file, number).map_err(unreadable)?;
        let block = AtBlock {
            number,
            open: &open,
            frames,
            in_values,
        };
        self.whole.clear();
        for (number, group) in open.groups().iter().enumerate() {
            let at = AtGroup {
                block: &block,
                number: number as u16,
                group,
            };
            self.group(at, set)?;
        }
        set.insert_groups(&open, &self.whole)
    }

    fn cost(&self) -> u64 {
        500_000
    }
}
