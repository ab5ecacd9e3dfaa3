//! What a block has: its groups, their slots, and which group each document is of.

use std::ops::Range;

use super::file::FramePlace;
use super::number::Cursor;
use super::shape::{MarkKind, Shapes};
use super::spelling::Letters;
use super::texts::Texts;
use super::writer::{GROUPS_MAX, SEALED_BLOCK_DOCUMENTS};
use super::{BlockError, FORM_ONE, FORM_PACKED};

/// Which slots a group has, and where they stand among those of its block.
///
/// Logical slots are numbered as the marks of the shape are, with the variables of the template in its mark's place.
/// Behind them a packed group has one more in the block, which holds the values of those that are not one text.
#[derive(Debug, Clone, Copy)]
pub struct GroupPlan {
    /// The number of the shape.
    pub shape: u32,
    /// Whether all values lie in one slot.
    pub is_packed: bool,
    /// The first of its slots in the block.
    pub first_slot: u32,
    plain_before: u32,
    variables: u32,
    plain_after: u32,
}

impl GroupPlan {
    /// For a shape with these marks and a template with so many variables.
    pub fn new(shape: u32, marks: impl Iterator<Item = MarkKind>, variables: usize) -> GroupPlan {
        let mut plan = GroupPlan {
            shape,
            is_packed: false,
            first_slot: 0,
            plain_before: 0,
            variables: 0,
            plain_after: 0,
        };
        let mut is_behind = false;
        for mark in marks {
            match mark {
                MarkKind::Template => {
                    plan.variables = variables as u32;
                    is_behind = true;
                }
                MarkKind::Time(_) => {}
                _ if is_behind => plan.plain_after += 1,
                _ => plan.plain_before += 1,
            }
        }
        plan
    }

    /// The same for a template with so many variables.
    pub fn with_variables(self, variables: usize) -> GroupPlan {
        GroupPlan {
            variables: variables as u32,
            ..self
        }
    }

    /// How many logical slots.
    pub fn slot_count(&self) -> usize {
        (self.plain_before + self.variables + self.plain_after) as usize
    }

    /// The logical slots of the template's variables.
    pub fn variables(&self) -> Range<usize> {
        let first = self.plain_before as usize;
        first..first + self.variables as usize
    }

    /// How many slots in the block.
    pub fn own_slots(&self) -> usize {
        self.slot_count() + usize::from(self.is_packed)
    }

    /// The slot in the block that holds the others' values, in a packed group.
    pub fn packed_slot(&self) -> usize {
        self.first_slot as usize + self.slot_count()
    }
}

/// Calls `visit` with the group and the slot in the block of each slot, in the order in which they lie in frames: those of
/// one place of a shape together, then variables by group, then packed groups.
pub fn for_each_framed(plans: &[GroupPlan], mut visit: impl FnMut(usize, usize)) {
    let mut start = 0;
    for run in plans.chunk_by(|a, b| a.shape == b.shape) {
        let plain = |plan: &GroupPlan| plan.plain_before + plan.plain_after;
        for place in 0..run.iter().map(plain).max().unwrap_or_default() {
            for (at, plan) in run.iter().enumerate() {
                if plan.is_packed || place >= plain(plan) {
                    continue;
                }
                let behind = if place < plan.plain_before {
                    0
                } else {
                    plan.variables
                };
                visit(start + at, (plan.first_slot + place + behind) as usize);
            }
        }
        start += run.len();
    }
    for (group, plan) in plans.iter().enumerate().filter(|(_, plan)| !plan.is_packed) {
        for variable in plan.variables() {
            visit(group, plan.first_slot as usize + variable);
        }
    }
    for (group, plan) in plans.iter().enumerate().filter(|(_, plan)| plan.is_packed) {
        visit(group, plan.packed_slot());
    }
}

/// The groups of a block. Kept in memory by the hundred, as are [`Slots`] and [`Map`](super::map::Map), each for itself: most searches need
/// the first of many blocks and the others of few.
pub struct Block {
    groups: Vec<Group>,
    slot_count: usize,
}

/// Where the values of the groups of a block are.
pub struct Slots {
    /// Each with a tag in the two lowest bits: the number of a text, how many packed ones are before it, or which of
    /// `framed` it is.
    slots: Vec<u32>,
    framed: Vec<FramedSlot>,
}

const TAG_ONE: u32 = 0;
const TAG_PACKED: u32 = 1;
const TAG_FRAMED: u32 = 2;
const TAG_BITS: u32 = 2;

/// Documents with the same shape and template.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Its shape and slots.
    pub plan: GroupPlan,
    /// The number of its template among the texts.
    pub template: Option<u32>,
    /// How many documents it has.
    pub rows: u32,
    /// How many rows the groups before it have.
    pub first_row: u32,
}

/// Where the values of a slot are.
#[derive(Debug, Clone, Copy)]
pub enum Slot {
    /// All documents have the text of this number.
    One(u32),
    /// In the group's packed slot, behind those of so many others.
    Packed(u32),
    /// In a frame.
    Framed(FramedSlot),
}

/// A slot in a frame.
#[derive(Debug, Clone, Copy)]
pub struct FramedSlot {
    /// Which frame.
    pub frame: u32,
    /// Where in it.
    pub start: u32,
    /// How many bytes.
    pub len: u32,
    /// What letters occur in the values.
    pub letters: Letters,
    /// How they are written.
    pub form: u8,
}

const DAMAGED: BlockError = BlockError::Damaged("a directory");

impl Block {
    /// Reads groups; answers also where they end.
    ///
    /// # Errors
    /// They are damaged, or not of these shapes and texts.
    pub fn read(
        section: &[u8],
        shapes: &Shapes,
        texts: &Texts,
    ) -> Result<(Block, usize), BlockError> {
        let mut cursor = Cursor::new(section);
        let group_count = cursor.count()?;
        if group_count > GROUPS_MAX {
            return Err(DAMAGED);
        }
        let mut shape_numbers = Vec::with_capacity(group_count);
        for _ in 0..group_count {
            let shape = cursor.small()?;
            if shape as usize >= shapes.len() {
                return Err(DAMAGED);
            }
            shape_numbers.push(shape);
        }
        let mut groups = Vec::with_capacity(group_count);
        let mut slot_count = 0;
        for shape in shape_numbers {
            let template = cursor.small()?;
            let (template, is_packed) = ((template / 2).checked_sub(1), template % 2 == 1);
            let variables = match template {
                Some(template) => texts.variables(template).ok_or(DAMAGED)?,
                None => 0,
            };
            let mut plan = shapes.plan(shape, variables);
            plan.is_packed = is_packed;
            plan.first_slot = slot_count as u32;
            slot_count += plan.own_slots();
            groups.push(Group {
                plan,
                template,
                rows: 0,
                first_row: 0,
            });
        }
        let mut rows = 0_u32;
        for group in &mut groups {
            group.rows = cursor.small()?;
            group.first_row = rows;
            rows = rows.checked_add(group.rows).ok_or(DAMAGED)?;
        }
        if rows as usize > SEALED_BLOCK_DOCUMENTS || slot_count >= 1 << (32 - TAG_BITS) {
            return Err(DAMAGED);
        }
        Ok((Block { groups, slot_count }, cursor.at()))
    }

    /// About how much memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Group>() * self.groups.len()
    }

    /// Its groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
}

impl Slots {
    /// Reads the slots of these groups.
    ///
    /// # Errors
    /// They are damaged, or not of this block, its frames and texts.
    pub fn read(
        section: &[u8],
        block: &Block,
        frames: &[FramePlace],
        texts: &Texts,
    ) -> Result<Slots, BlockError> {
        let mut slots = Slots {
            slots: Vec::with_capacity(block.slot_count.min(section.len())),
            framed: Vec::new(),
        };
        let mut cursor = Cursor::new(section);
        slots.read_slots(&mut cursor, block, frames, texts)?;
        Ok(slots)
    }

    fn read_slots(
        &mut self,
        cursor: &mut Cursor,
        block: &Block,
        frames: &[FramePlace],
        texts: &Texts,
    ) -> Result<(), BlockError> {
        let forms = cursor.take(block.slot_count)?;
        let mut ones = Vec::new();
        for _ in forms.iter().filter(|form| **form == FORM_ONE) {
            let text = cursor.small()?;
            if text as usize >= texts.len() {
                return Err(DAMAGED);
            }
            ones.push(text);
        }
        let mut ones = ones.into_iter();
        let plans: Vec<GroupPlan> = block.groups.iter().map(|group| group.plan).collect();
        for plan in &plans {
            let own = plan.first_slot as usize..plan.first_slot as usize + plan.own_slots();
            let mut packed = 0;
            for form in &forms[own] {
                self.slots.push(match *form {
                    FORM_ONE => tagged(ones.next().ok_or(DAMAGED)?, TAG_ONE)?,
                    FORM_PACKED if plan.is_packed => {
                        packed += 1;
                        tagged(packed - 1, TAG_PACKED)?
                    }
                    _ => TAG_FRAMED,
                });
            }
            if plan.is_packed && self.slots[plan.packed_slot()] != TAG_FRAMED {
                return Err(DAMAGED);
            }
        }
        let mut framed = Vec::new();
        for_each_framed(&plans, |_, slot| {
            if self.slots[slot] == TAG_FRAMED {
                framed.push(slot);
            }
        });
        let mut lengths = Vec::with_capacity(framed.len());
        for _ in &framed {
            lengths.push(cursor.small()?);
        }
        let (letters, _) = cursor.take(4 * framed.len())?.as_chunks();
        let (mut frame, mut start) = (0, 0_u64);
        for (at, slot) in framed.into_iter().enumerate() {
            let len = lengths[at];
            // Slots without a byte lie in no frame in particular.
            while len > 0 && frames.get(frame).ok_or(DAMAGED)?.plain_len < start + u64::from(len) {
                if start == 0 {
                    return Err(DAMAGED);
                }
                frame += 1;
                start = 0;
            }
            self.slots[slot] = tagged(at as u32, TAG_FRAMED)?;
            self.framed.push(FramedSlot {
                frame: frame as u32,
                start: start as u32,
                len,
                letters: Letters::from_le_bytes(letters[at]),
                form: forms[slot],
            });
            start += u64::from(len);
        }
        Ok(())
    }

    /// About how much memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<u32>() * self.slots.len() + size_of::<FramedSlot>() * self.framed.len()
    }

    /// Where a logical slot of a group is.
    pub fn slot(&self, group: &Group, slot: usize) -> Slot {
        self.slot_in_block(group.plan.first_slot as usize + slot)
    }

    /// The texts that are the one value of a slot of a group.
    pub fn ones(&self, group: &Group) -> impl Iterator<Item = u32> {
        let own = group.plan.first_slot as usize..group.plan.packed_slot();
        let slots = self.slots[own].iter();
        let ones = slots.filter(|slot| **slot & ((1 << TAG_BITS) - 1) == TAG_ONE);
        ones.map(|slot| slot >> TAG_BITS)
    }

    /// Where the values of a group's packed slots are.
    pub fn packed_slot(&self, group: &Group) -> Slot {
        self.slot_in_block(group.plan.packed_slot())
    }

    /// How many lines a group's packed slots have together.
    pub fn packed_lines(&self, group: &Group) -> usize {
        let own = group.plan.first_slot as usize..group.plan.packed_slot();
        let slots = self.slots[own].iter();
        let packed = slots.filter(|slot| **slot & ((1 << TAG_BITS) - 1) == TAG_PACKED);
        packed.count() * group.rows as usize
    }

    fn slot_in_block(&self, slot: usize) -> Slot {
        let slot = self.slots[slot];
        let number = slot >> TAG_BITS;
        match slot & ((1 << TAG_BITS) - 1) {
            TAG_ONE => Slot::One(number),
            TAG_PACKED => Slot::Packed(number),
            _ => Slot::Framed(self.framed[number as usize]),
        }
    }
}

fn tagged(number: u32, tag: u32) -> Result<u32, BlockError> {
    let fits = number < 1 << (32 - TAG_BITS);
    fits.then_some(number << TAG_BITS | tag).ok_or(DAMAGED)
}
