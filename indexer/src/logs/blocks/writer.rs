//! Takes the events of a segment in and writes its blocks.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::bloom;
use super::super::flatten::{LeafValue, flatten};
use super::block::{GroupPlan, for_each_framed};
use super::cut::{Value, cut};
use super::file::{BlocksFile, IndexEntry, Section, write_footer, write_index};
use super::frames::{FRAME_BYTES, Frames, Keys, SeenKeys, SlotKind};
use super::known::{KnownPaths, KnownShapes};
use super::map::write_map;
use super::number::{Cursor, push_number};
use super::shape::{Mark, MarkKind, Shapes};
use super::slot::SlotBuilder;
use super::spelling::{Letters, bare_of, has_numbered_characters, text_in};
use super::template::{self, message_of};
use super::texts::{TextKind, TextsBuilder};
use super::time::own_time;
use super::{BARE, BlockError, FORM_ONE, FORM_PACKED, ID, MARK_MAX, TEMPLATE, TIME_FIRST, WHOLE};

/// A block is full with so many documents. Of 32 k, 64 k and 128 k, measured on logs of 17 services, 64 k took 5 % less room
/// than 32 k and 128 k again 4 % less; a search of the newest events looks at a block at least.
const BLOCK_DOCUMENTS: usize = 65_536;

/// And with so many bytes of documents, which bounds memory.
const BLOCK_BYTES: usize = 24 * 1024 * 1024;

/// The same for a day that is over.
pub const SEALED_BLOCK_DOCUMENTS: usize = 131_072;
const SEALED_BLOCK_BYTES: usize = 48 * 1024 * 1024;

/// Groups of a block; their numbers fit 16 bits.
pub const GROUPS_MAX: usize = 65_536;

/// How large blocks become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockSize {
    /// Of days that are being written.
    Open,
    /// Of days that are over.
    Sealed,
}

impl BlockSize {
    /// How many documents a block has at most.
    pub fn documents(self) -> usize {
        match self {
            BlockSize::Open => BLOCK_DOCUMENTS,
            BlockSize::Sealed => SEALED_BLOCK_DOCUMENTS,
        }
    }

    fn bytes(self) -> usize {
        match self {
            BlockSize::Open => BLOCK_BYTES,
            BlockSize::Sealed => SEALED_BLOCK_BYTES,
        }
    }

    fn frame_zstd_level(self) -> i32 {
        match self {
            BlockSize::Open => FRAME_ZSTD_LEVEL,
            BlockSize::Sealed => SEALED_FRAME_ZSTD_LEVEL,
        }
    }
}

/// Above these a segment stops learning: further messages have no template.
const TEXTS_MAX: usize = 64 * 1024;
const TEXTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// And a block learns no more templates than this: where messages have none, as many are new as there are messages.
const NEW_TEMPLATES_MAX: usize = 8 * 1024;
/// After these it learns only those that come a second time: one that comes once costs its text, its words and a group.
const NEW_TEMPLATES_AT_ONCE: usize = 256;

/// Groups with fewer documents are packed: a directory entry for each of their slots would cost more than it saves.
const PACKED_ROWS_MAX: u32 = 8;

/// Longer values stay in frames even when all documents of a group have them.
const ONE_BYTES_MAX: usize = 1024;

/// Speed over size: slots are alike, so that higher levels gain little.
const FRAME_ZSTD_LEVEL: i32 = 1;
/// A day that is over is compressed once more and read for weeks: 3 % less, for a sixth more CPU.
const SEALED_FRAME_ZSTD_LEVEL: i32 = 9;
/// Maps, directories and texts are small.
const SECTION_ZSTD_LEVEL: i32 = 3;

/// Memory that a slot keeps from one block to the next.
const SLOT_BYTES_KEPT: usize = 16 * 1024;

/// Is told each value of a document: the number of its path, the path, the value.
pub type LeafVisitor<'v> = dyn FnMut(u32, &Arc<str>, LeafValue) + 'v;

/// The blocks of one segment while they are written.
pub struct BlocksWriter<W> {
    out: W,
    size: BlockSize,
    written: u64,
    texts: TextsBuilder,
    shapes: KnownShapes,
    paths: KnownPaths,
    group_numbers: FxHashMap<(u32, u32), u32>,
    groups: Vec<Group>,
    /// The groups that have documents in this block.
    used: Vec<u32>,
    /// The group of each document of this block.
    document_groups: Vec<u32>,
    document_bytes: usize,
    new_templates: usize,
    /// Templates that were not learned when they came.
    came_once: SeenKeys,
    index: Vec<IndexEntry>,
    room: Room,
    compressor: zstd::bulk::Compressor<'static>,
}

/// Kept from document to document, so that it is allocated once.
#[derive(Default)]
struct Room {
    shape: Vec<u8>,
    values: Vec<Value>,
    template: Vec<u8>,
    variables: Vec<Range<usize>>,
    id: Vec<u8>,
}

/// Documents with the same shape and template.
struct Group {
    shape: u32,
    /// Of its message, plus 1; 0 without one.
    template: u32,
    plan: GroupPlan,
    kinds: Box<[SlotKind]>,
    slots: Vec<SlotBuilder>,
    rows: u32,
}

/// A document taken apart.
struct Cut<'r> {
    values: &'r [Value],
    /// Which of the values is the message, and where its variables stand in it.
    message: Option<(usize, &'r [Range<usize>])>,
    /// The value that is the event's time.
    time: Option<usize>,
}

/// The slots of a block: one text each, or in a frame.
struct BlockSlots {
    /// The text that is the value of all rows.
    ones: Vec<Option<u32>>,
    forms: Vec<u8>,
    /// Of those in frames, in their order there.
    lengths: Vec<usize>,
    letters: Vec<Letters>,
}

impl BlockSlots {
    fn section(&self) -> Vec<u8> {
        let mut section = self.forms.clone();
        for text in self.ones.iter().flatten() {
            push_number(&mut section, *text as usize);
        }
        for len in &self.lengths {
            push_number(&mut section, *len);
        }
        for letters in &self.letters {
            section.extend_from_slice(&letters.to_le_bytes());
        }
        section
    }
}

impl Group {
    fn is_packed(&self) -> bool {
        self.rows < PACKED_ROWS_MAX
    }

    /// Writes the values of a slot and answers their form.
    fn write_slot(&self, slot: usize, plain: &mut Vec<u8>, keys: &mut Keys) -> u8 {
        let kind = self.kinds[slot];
        let mut last: Option<&[u8]> = None;
        self.slots[slot].write(plain, |value| {
            // Neighbours are often the same.
            if last != Some(value) {
                keys.add(kind, value);
                last = Some(value);
            }
        })
    }

    /// Writes the slots that are not one text, one behind the other, and answers their form.
    fn write_packed(&self, ones: &[Option<u32>], plain: &mut Vec<u8>, keys: &mut Keys) -> u8 {
        let mut packed = SlotBuilder::default();
        let slots = self.slots.iter().zip(&self.kinds).zip(ones);
        for ((slot, kind), _) in slots.filter(|(_, one)| one.is_none()) {
            slot.for_each(|value| {
                packed.push_any(value);
                keys.add(*kind, value);
            });
        }
        packed.write_lines(plain)
    }
}

impl<W: Write> BlocksWriter<W> {
    /// Writes blocks of this size to `out`.
    ///
    /// # Errors
    /// There is no memory for compressing.
    pub fn new(out: W, size: BlockSize) -> io::Result<BlocksWriter<W>> {
        let mut compressor = zstd::bulk::Compressor::new(size.frame_zstd_level())?;
        compressor.include_checksum(true)?;
        Ok(BlocksWriter {
            out,
            size,
            written: 0,
            texts: TextsBuilder::default(),
            shapes: KnownShapes::default(),
            paths: KnownPaths::default(),
            group_numbers: FxHashMap::default(),
            groups: Vec::new(),
            used: Vec::new(),
            document_groups: Vec::new(),
            document_bytes: 0,
            new_templates: 0,
            came_once: SeenKeys::default(),
            index: Vec::new(),
            room: Room::default(),
            compressor,
        })
    }

    /// About how much memory it holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        // Keys are not kept, but vectors grow by doubling.
        self.document_bytes * 3 / 2
            + 4 * self.document_groups.len()
            + self.texts.memory_bytes()
            + self.shapes.memory_bytes()
            + 320 * self.groups.len()
    }

    /// Takes an event in; `timestamp` is its time in nanoseconds since 1970, `id` the one its sender gave. Tells `leaf`
    /// its values, the event's own time left out.
    ///
    /// # Errors
    /// A full block could not be written.
    pub fn add(
        &mut self,
        document: &[u8],
        timestamp: i64,
        id: Option<&str>,
        leaf: &mut LeafVisitor,
    ) -> io::Result<()> {
        self.make_room()?;
        self.document_bytes += document.len();
        let mut room = std::mem::take(&mut self.room);
        spell_id(id, &mut room.id)?;
        let is_cut = self.add_cut(document, timestamp, id.is_some(), &mut room, leaf);
        if is_cut.is_none() {
            self.add_whole(document, id.is_some(), &room.id, leaf);
        }
        self.room = room;
        Ok(())
    }

    /// Takes an event in without looking at its document, in which nothing can be found then.
    ///
    /// # Errors
    /// As [`BlocksWriter::add`].
    pub fn add_unread(&mut self, document: &[u8], id: Option<&str>) -> io::Result<()> {
        self.make_room()?;
        self.document_bytes += document.len();
        let mut spelled = Vec::new();
        spell_id(id, &mut spelled)?;
        // A whole document is no number and no truth: there is nothing to be found in it.
        let shape: &[u8] = if id.is_some() { &[ID, BARE] } else { &[BARE] };
        self.push_whole(shape, document, id.is_some().then_some(&*spelled));
        Ok(())
    }

    fn make_room(&mut self) -> io::Result<()> {
        let is_full = self.document_groups.len() >= self.size.documents()
            || self.document_bytes >= self.size.bytes()
            || self.used.len() >= GROUPS_MAX;
        if is_full {
            self.finish_block()?;
        }
        Ok(())
    }

    /// `None` when the document must be stored whole; nothing has happened then.
    fn add_cut(
        &mut self,
        document: &[u8],
        timestamp: i64,
        has_id: bool,
        room: &mut Room,
        leaf: &mut LeafVisitor,
    ) -> Option<()> {
        let text = std::str::from_utf8(document).ok()?;
        // What is no JSON may hold what marks a value.
        if document.iter().any(|byte| *byte <= MARK_MAX) {
            return None;
        }
        cut(document, &mut room.shape, &mut room.values);
        let has_numbered = has_numbered_characters(document);
        if room.shape == [WHOLE] || !are_values_plain(text, &room.values, has_numbered) {
            return None;
        }
        let time = own_time(document, &room.values, &room.shape, timestamp);
        if let Some((at, digits)) = time {
            room.shape[room.values[at].mark] = TIME_FIRST + digits / 3;
        }
        let time = time.map(|(at, _)| at);
        let message = message_of(document, &room.values);
        let template = message.and_then(|message| {
            let text = &document[room.values[message].range.clone()];
            let is_cut = template::cut(text, &mut room.template, &mut room.variables);
            is_cut.then(|| self.template(&room.template)).flatten()
        });
        if let (Some(message), Some(_)) = (message, template) {
            room.shape[room.values[message].mark] = TEMPLATE;
        }
        if has_id {
            room.shape.insert(0, ID);
        }
        let shape = self.shapes.number(&room.shape, &mut self.paths)?;
        let marks = self.shapes.marks(shape)?;
        let cut = Cut {
            values: &room.values,
            message: template.and(message).map(|at| (at, &*room.variables)),
            time,
        };
        let number = self.group(shape, template, &marks);
        self.push(number, document, has_id.then_some(&*room.id), &cut);
        self.visit_leaves(text, &marks[usize::from(has_id)..], &cut, leaf);
        Some(())
    }

    fn add_whole(&mut self, document: &[u8], has_id: bool, id: &[u8], leaf: &mut LeafVisitor) {
        let shape: &[u8] = if has_id { &[ID, WHOLE] } else { &[WHOLE] };
        self.push_whole(shape, document, has_id.then_some(id));
        let text = String::from_utf8_lossy(document);
        let paths = &mut self.paths;
        flatten(&text, &mut |path, value| {
            let number = paths.number(path);
            leaf(number, paths.path(number), value);
        });
    }

    fn push_whole(&mut self, shape: &[u8], document: &[u8], id: Option<&[u8]>) {
        let shape = self.shapes.certain_number(shape, &mut self.paths);
        let marks = self.shapes.marks(shape);
        let number = self.group(shape, None, &marks.unwrap_or_default());
        let group = &mut self.groups[number as usize];
        if let Some(id) = id {
            group.slots[0].push(id);
        }
        group.slots[usize::from(id.is_some())].push_any(document);
        self.count(number);
    }

    /// The number of a template; `None` when it is new and there is no room.
    fn template(&mut self, template: &[u8]) -> Option<u32> {
        if let Some(number) = self.texts.known(TextKind::Template, template) {
            return Some(number);
        }
        if self.new_templates >= NEW_TEMPLATES_MAX || !self.has_room_for_text() {
            return None;
        }
        if self.new_templates >= NEW_TEMPLATES_AT_ONCE
            && self.came_once.is_new(bloom::hash(template))
        {
            return None;
        }
        self.new_templates += 1;
        Some(self.texts.number(TextKind::Template, template))
    }

    fn has_room_for_text(&self) -> bool {
        self.texts.len() < TEXTS_MAX && self.texts.memory_bytes() < 2 * TEXTS_BYTES_MAX
    }

    fn group(&mut self, shape: u32, template: Option<u32>, marks: &[Mark]) -> u32 {
        let key = (shape, template.map_or(0, |template| template + 1));
        if let Some(number) = self.group_numbers.get(&key) {
            return *number;
        }
        let number = self.groups.len() as u32;
        self.group_numbers.insert(key, number);
        let variables = template.map_or(0, |template| {
            let text = self.texts.text(template).iter();
            text.filter(|byte| **byte <= MARK_MAX).count()
        });
        let plan = GroupPlan::new(shape, marks.iter().map(|mark| mark.kind), variables);
        let mut kinds = Vec::with_capacity(plan.slot_count());
        for mark in marks {
            match mark.kind {
                MarkKind::Id => kinds.push(SlotKind::Id),
                MarkKind::Text => kinds.push(SlotKind::Text),
                MarkKind::Bare => kinds.push(SlotKind::Bare),
                MarkKind::Whole => kinds.push(SlotKind::Whole),
                MarkKind::Template => kinds.extend((0..variables).map(|_| SlotKind::Text)),
                MarkKind::Time(_) => {}
            }
        }
        let mut slots = Vec::new();
        slots.resize_with(kinds.len(), SlotBuilder::default);
        self.groups.push(Group {
            shape,
            template: key.1,
            plan,
            kinds: kinds.into(),
            slots,
            rows: 0,
        });
        number
    }

    fn push(&mut self, number: u32, document: &[u8], id: Option<&[u8]>, cut: &Cut) {
        let group = &mut self.groups[number as usize];
        let mut slots = group.slots.iter_mut();
        let mut push = |value: &[u8]| {
            if let Some(slot) = slots.next() {
                slot.push(value);
            }
        };
        if let Some(id) = id {
            push(id);
        }
        for (at, value) in cut.values.iter().enumerate() {
            let bytes = &document[value.range.clone()];
            match cut.message {
                Some((message, variables)) if message == at => {
                    for variable in variables {
                        push(&bytes[variable.clone()]);
                    }
                }
                _ if cut.time == Some(at) => {}
                _ => push(bytes),
            }
        }
        self.count(number);
    }

    fn count(&mut self, number: u32) {
        let group = &mut self.groups[number as usize];
        if group.rows == 0 {
            self.used.push(number);
        }
        group.rows += 1;
        self.document_groups.push(number);
    }

    fn visit_leaves(&self, document: &str, marks: &[Mark], cut: &Cut, leaf: &mut LeafVisitor) {
        for (at, (value, mark)) in cut.values.iter().zip(marks).enumerate() {
            let Some(path) = mark.path else { continue };
            if cut.time == Some(at) {
                continue;
            }
            let spelled = &document[value.range.clone()];
            let value = match value.is_text {
                true => text_in(spelled).map(LeafValue::Text),
                false => bare_of(spelled.as_bytes()),
            };
            if let Some(value) = value {
                leaf(path, self.paths.path(path), value);
            }
        }
    }

    /// Takes over a block of another segment as it is.
    ///
    /// # Errors
    /// It is damaged, or could not be written.
    pub fn copy_block(&mut self, file: &BlocksFile, number: usize) -> io::Result<()> {
        self.finish_block()?;
        let damaged = |error: BlockError| io::Error::new(io::ErrorKind::InvalidData, error);
        let (groups, slots) = file.plain_parts(number).map_err(damaged)?;
        let (groups, slots) = self.renumbered(file, &groups, &slots).map_err(damaged)?;
        let place = &file.places()[number];
        let start = self.written;
        self.write(file.raw_front(number).map_err(damaged)?)?;
        let groups = self.write_section(&groups)?;
        let slots = self.write_section(&slots)?;
        self.index.push(IndexEntry {
            start,
            groups_len: groups.len,
            groups_plain_len: groups.plain_len,
            slots_len: slots.len,
            slots_plain_len: slots.plain_len,
            ..place.entry.clone()
        });
        Ok(())
    }

    /// Groups and slots of another segment with the numbers of this one.
    fn renumbered(
        &mut self,
        file: &BlocksFile,
        groups: &[u8],
        slots: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), BlockError> {
        const DAMAGED: BlockError = BlockError::Damaged("a directory");
        let block = self.index.len();
        let (shapes, texts) = (file.shapes()?, file.texts()?);
        let mut cursor = Cursor::new(groups);
        let mut own_groups = Vec::with_capacity(groups.len() + groups.len() / 8);
        let group_count = cursor.count()?;
        push_number(&mut own_groups, group_count);
        let mut shape_numbers = Vec::with_capacity(group_count);
        for _ in 0..group_count {
            let shape = cursor.small()?;
            if shape as usize >= shapes.len() {
                return Err(DAMAGED);
            }
            shape_numbers.push(shape);
            let known = self
                .shapes
                .certain_number(shapes.text(shape), &mut self.paths);
            push_number(&mut own_groups, self.shapes.number_in_file(known) as usize);
        }
        let mut text = |number: usize| -> Result<u32, BlockError> {
            if number >= texts.len() {
                return Err(DAMAGED);
            }
            let number = number as u32;
            let own = self.texts.number(texts.kind(number), texts.text(number));
            self.texts.use_in(own, block);
            Ok(own)
        };
        let mut slot_count = 0;
        for shape in shape_numbers {
            let template = cursor.number()?;
            let is_packed = template % 2 == 1;
            let mut variables = 0;
            let template = match (template / 2).checked_sub(1) {
                None => 0,
                Some(template) => {
                    variables = texts.variables(template as u32).ok_or(DAMAGED)?;
                    text(template)? as usize + 1
                }
            };
            let plan = shapes.plan(shape, variables);
            slot_count += plan.slot_count() + usize::from(is_packed);
            push_number(&mut own_groups, 2 * template + usize::from(is_packed));
        }
        own_groups.extend_from_slice(&groups[cursor.at()..]);
        let mut cursor = Cursor::new(slots);
        let mut own_slots = Vec::with_capacity(slots.len() + slots.len() / 8);
        let forms = cursor.take(slot_count)?;
        own_slots.extend_from_slice(forms);
        for _ in forms.iter().filter(|form| **form == FORM_ONE) {
            push_number(&mut own_slots, text(cursor.number()?)? as usize);
        }
        own_slots.extend_from_slice(&slots[cursor.at()..]);
        Ok((own_groups, own_slots))
    }

    /// Writes what is left and the end of the file.
    ///
    /// # Errors
    /// It could not be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.finish_block()?;
        let mut section = Vec::new();
        Shapes::write(self.shapes.in_file(), &mut section);
        let shapes = self.write_section(&section)?;
        section.clear();
        self.texts.write(&mut section);
        let texts = self.write_section(&section)?;
        section.clear();
        write_index(shapes, texts, &self.index, &mut section);
        let index = self.write_section(&section)?;
        write_footer(index, &mut self.out)?;
        Ok(self.out)
    }

    fn write_section(&mut self, plain: &[u8]) -> io::Result<Section> {
        let compressed = compress_section(plain)?;
        let section = Section {
            start: self.written,
            len: compressed.len() as u64,
            plain_len: plain.len() as u64,
        };
        self.write(&compressed)?;
        Ok(section)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Writes the block, if there is anything in it, and begins the next one.
    fn finish_block(&mut self) -> io::Result<()> {
        if self.document_groups.is_empty() {
            return Ok(());
        }
        let start = self.written;
        // Alike groups lie together in the frames.
        let mut order = std::mem::take(&mut self.used);
        order.sort_unstable_by_key(|number| {
            let group = &self.groups[*number as usize];
            (group.shape, group.template)
        });
        let plain_groups = self.groups_section(&order);
        let plans = self.plans(&order);
        let mut slots = self.slots(&order, &plans);
        let frames = self.write_frames(&order, &plans, &mut slots)?;
        let mut section = Vec::new();
        let (words_len, pieces_len, frames) = frames.finish(self.document_bytes, &mut section);
        self.write(&section)?;
        let rows: Vec<u32> = order
            .iter()
            .map(|number| self.groups[*number as usize].rows)
            .collect();
        let map = self.write_section(&write_map(&self.document_groups, &order, &rows))?;
        let groups = self.write_section(&plain_groups)?;
        let slots = self.write_section(&slots.section())?;
        self.index.push(IndexEntry {
            document_count: self.document_groups.len() as u32,
            start,
            frames,
            words_len,
            pieces_len,
            map_len: map.len,
            groups_len: groups.len,
            groups_plain_len: groups.plain_len,
            slots_len: slots.len,
            slots_plain_len: slots.plain_len,
        });
        self.begin_block(&order);
        Ok(())
    }

    /// The groups of this block in this order: their shapes, templates and numbers of rows.
    fn groups_section(&mut self, order: &[u32]) -> Vec<u8> {
        let block = self.index.len();
        let mut section = Vec::new();
        push_number(&mut section, order.len());
        for number in order {
            let shape = self.groups[*number as usize].shape;
            push_number(&mut section, self.shapes.number_in_file(shape) as usize);
        }
        for number in order {
            let group = &self.groups[*number as usize];
            let packed = usize::from(group.is_packed());
            push_number(&mut section, 2 * group.template as usize + packed);
            if group.template > 0 {
                self.texts.use_in(group.template - 1, block);
            }
        }
        for number in order {
            push_number(&mut section, self.groups[*number as usize].rows as usize);
        }
        section
    }

    /// Where the slots of each group stand among those of the block.
    fn plans(&self, order: &[u32]) -> Vec<GroupPlan> {
        let mut slot_count = 0;
        let plans = order.iter().map(|number| {
            let group = &self.groups[*number as usize];
            let mut plan = group.plan;
            plan.first_slot = slot_count;
            plan.is_packed = group.is_packed();
            slot_count += plan.own_slots() as u32;
            plan
        });
        plans.collect()
    }

    /// Which slots are one value, and which text that is; packed groups learn no new ones.
    fn slots(&mut self, order: &[u32], plans: &[GroupPlan]) -> BlockSlots {
        let block = self.index.len();
        let slot_count = plans.iter().map(GroupPlan::own_slots).sum();
        let mut ones = vec![None; slot_count];
        let mut forms = vec![FORM_ONE; slot_count];
        for is_packed in [false, true] {
            for (plan, number) in plans.iter().zip(order) {
                if plan.is_packed != is_packed {
                    continue;
                }
                for slot in 0..plan.slot_count() {
                    let text = self.one_text(*number as usize, slot, !is_packed);
                    let at = plan.first_slot as usize + slot;
                    match text {
                        Some(text) => self.texts.use_in(text, block),
                        None if is_packed => forms[at] = FORM_PACKED,
                        None => {}
                    }
                    ones[at] = text;
                }
            }
        }
        BlockSlots {
            ones,
            forms,
            lengths: Vec::new(),
            letters: Vec::new(),
        }
    }

    /// Writes the slots that are not one text, in frames; the last one is closed.
    fn write_frames(
        &mut self,
        order: &[u32],
        plans: &[GroupPlan],
        slots: &mut BlockSlots,
    ) -> io::Result<Frames> {
        let mut framed = Vec::new();
        for_each_framed(plans, |group, slot| {
            if slots.ones[slot].is_none() {
                framed.push((group, slot));
            }
        });
        let mut frames = Frames::default();
        let mut plain = Vec::with_capacity(FRAME_BYTES);
        for (at, slot) in framed {
            let plan = &plans[at];
            let group = &self.groups[order[at] as usize];
            plain.clear();
            let mut keys = frames.keys();
            slots.forms[slot] = match plan.is_packed {
                true => {
                    let own = plan.first_slot as usize..plan.packed_slot();
                    group.write_packed(&slots.ones[own], &mut plain, &mut keys)
                }
                false => group.write_slot(slot - plan.first_slot as usize, &mut plain, &mut keys),
            };
            slots.letters.push(keys.letters());
            slots.lengths.push(plain.len());
            if !frames.place(&plain) {
                let frame = frames.close(&mut self.compressor)?;
                self.write(&frame)?;
                frames.place(&plain);
            }
        }
        if !frames.is_open_one_empty() {
            let frame = frames.close(&mut self.compressor)?;
            self.write(&frame)?;
        }
        Ok(frames)
    }

    fn begin_block(&mut self, order: &[u32]) {
        for number in order {
            let group = &mut self.groups[*number as usize];
            group.rows = 0;
            for slot in &mut group.slots {
                slot.clear();
                slot.shrink_to(SLOT_BYTES_KEPT);
            }
        }
        self.document_groups.clear();
        self.document_bytes = 0;
        self.new_templates = 0;
    }

    /// The text of a slot's value when all documents of its group have the same; only known texts unless it `learns`.
    fn one_text(&mut self, group: usize, slot: usize, learns: bool) -> Option<u32> {
        let kind = match self.groups[group].kinds[slot] {
            SlotKind::Text => TextKind::Text,
            SlotKind::Bare => TextKind::Bare,
            SlotKind::Id | SlotKind::Whole => return None,
        };
        let learns = learns && self.has_room_for_text();
        let value = self.groups[group].slots[slot].one()?;
        if value.len() > ONE_BYTES_MAX {
            return None;
        }
        match learns {
            true => Some(self.texts.number(kind, value)),
            false => self.texts.known(kind, value),
        }
    }
}

/// Compresses a section.
pub fn compress_section(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(SECTION_ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(plain)
}

/// Writes an id as a text is spelled in JSON, which has no line feeds; `spelled` is overwritten.
fn spell_id(id: Option<&str>, spelled: &mut Vec<u8>) -> io::Result<()> {
    spelled.clear();
    if let Some(id) = id {
        serde_json::to_writer(&mut *spelled, id)?;
        spelled.pop();
        spelled.remove(0);
    }
    Ok(())
}

/// Whether each value can be held; see `mend.rs` for those that cannot.
fn are_values_plain(document: &str, values: &[Value], has_numbered_characters: bool) -> bool {
    values.iter().all(|value| {
        let spelled = &document[value.range.clone()];
        match value.is_text {
            true => !has_numbered_characters || text_in(spelled).is_some(),
            false => spelled == "null" || bare_of(spelled.as_bytes()).is_some(),
        }
    })
}
