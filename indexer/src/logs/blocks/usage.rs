//! What fills the blocks of a segment: bytes by section, and by group and slot.
//!
//! Values that were compressed together share the bytes of their frame, and of its filter, in proportion to what they
//! take in it decompressed, separators included. Shares are whole bytes, and those of a frame sum up to the frame.

use rustc_hash::FxHashMap;

use super::block::{FramedSlot, Group, Slot, Slots};
use super::file::{BlockPlace, BlocksFile};
use super::shape::{Mark, MarkKind, Shapes};
use super::slot::SlotValues;
use super::texts::Texts;
use super::{BlockError, FORM_LINES, MARK_MAX};

/// Different services of a group of a block are counted up to here; documents of others are of none.
const SERVICES_MAX: usize = 256;

/// What takes bytes in a file of blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SectionBytes {
    /// Values.
    pub frames: u64,
    /// Filters of frames.
    pub filters: u64,
    /// The group of each document.
    pub maps: u64,
    /// Groups and slots.
    pub directories: u64,
    /// Documents without their values.
    pub shapes: u64,
    /// Templates, and values that all documents of a group have.
    pub texts: u64,
    /// Where everything is.
    pub index: u64,
}

/// Whose values a slot has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlotOwner {
    /// Ids that senders gave.
    Id,
    /// Whole documents.
    Whole,
    /// The path of this number in the shapes.
    Path(u32),
}

/// What the values of one place take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotUsage {
    /// Whose they are.
    pub owner: SlotOwner,
    /// In frames, decompressed.
    pub plain_bytes: u64,
    /// Of frames.
    pub frame_bytes: u64,
    /// Of filters.
    pub filter_bytes: u64,
}

/// What the documents of a group of a block take.
#[derive(Debug, Clone)]
pub struct GroupUsage {
    /// How many documents.
    pub rows: u32,
    /// The bytes of the documents as they were sent.
    pub raw_bytes: u64,
    /// Whose values each document has.
    pub owners: Vec<SlotOwner>,
    /// What their slots take; those of a text with variables one by one.
    pub slots: Vec<SlotUsage>,
    /// How many documents by service, as the service is spelled in JSON; those without one are missing.
    pub services: FxHashMap<Box<[u8]>, u32>,
}

impl GroupUsage {
    fn new(places: &Slots, group: &Group, shapes: &Shapes, texts: &Texts) -> GroupUsage {
        let is_static = |byte: &&u8| **byte > MARK_MAX;
        let static_bytes = |text: &[u8]| text.iter().filter(is_static).count() as u64;
        let shape = group.plan.shape;
        let mut raw_of_each = static_bytes(shapes.text(shape));
        let mut owners = Vec::new();
        let mut slots = Vec::with_capacity(group.plan.slot_count());
        for mark in &shapes.shape(shape).marks {
            let owner = owner_of(mark);
            owners.push(owner);
            let slot_count = match mark.kind {
                MarkKind::Time(digits) => {
                    raw_of_each += 2 + time_bytes(digits);
                    0
                }
                MarkKind::Template => {
                    let template = group.template.map(|number| texts.text(number));
                    raw_of_each += 2 + static_bytes(template.unwrap_or_default());
                    group.plan.variables().len()
                }
                MarkKind::Text => {
                    raw_of_each += 2;
                    1
                }
                MarkKind::Id | MarkKind::Bare | MarkKind::Whole => 1,
            };
            let slot = SlotUsage {
                owner,
                plain_bytes: 0,
                frame_bytes: 0,
                filter_bytes: 0,
            };
            slots.extend(std::iter::repeat_n(slot, slot_count));
        }
        let rows = u64::from(group.rows);
        let mut usage = GroupUsage {
            rows: group.rows,
            raw_bytes: raw_of_each * rows,
            owners,
            slots,
            services: FxHashMap::default(),
        };
        for slot in 0..group.plan.slot_count() {
            if let Slot::One(text) = places.slot(group, slot) {
                usage.add_raw(slot, texts.text(text).len() as u64 * rows);
            }
        }
        usage
    }

    /// Adds bytes of values; ids are no part of documents.
    fn add_raw(&mut self, slot: usize, bytes: u64) {
        if self.slots[slot].owner != SlotOwner::Id {
            self.raw_bytes += bytes;
        }
    }

    fn add_service(&mut self, service: &[u8], rows: u32) {
        if let Some(known) = self.services.get_mut(service) {
            *known += rows;
        } else if self.services.len() < SERVICES_MAX {
            self.services.insert(service.into(), rows);
        }
    }
}

/// The whole bytes of something that is shared, piece by piece.
struct Shares {
    bytes: u64,
    whole: u64,
    given: u64,
    at: u64,
}

impl Shares {
    /// `bytes` for `whole` pieces.
    fn new(bytes: u64, whole: u64) -> Shares {
        Shares {
            bytes,
            whole,
            given: 0,
            at: 0,
        }
    }

    /// The share of the next `pieces`.
    fn take(&mut self, pieces: u64) -> u64 {
        self.at += pieces;
        let until = u128::from(self.bytes) * u128::from(self.at) / u128::from(self.whole.max(1));
        let share = until as u64 - self.given;
        self.given = until as u64;
        share
    }
}

/// The bytes of something that documents share, in proportion to their number. The shares of all sum up to it.
pub fn share_out(bytes: u64, pieces: &[u64]) -> Vec<u64> {
    let mut shares = Shares::new(bytes, pieces.iter().sum());
    pieces.iter().map(|pieces| shares.take(*pieces)).collect()
}

impl BlocksFile {
    /// What its sections take. `file_bytes` is the length of the file.
    pub fn section_bytes(&self, file_bytes: u64) -> SectionBytes {
        let (shapes, texts) = self.dictionary_bytes();
        let mut bytes = SectionBytes {
            shapes,
            texts,
            ..SectionBytes::default()
        };
        let mut known = shapes.saturating_add(texts);
        let mut add = |sum: &mut u64, bytes: u64| {
            *sum = sum.saturating_add(bytes);
            known = known.saturating_add(bytes);
        };
        for BlockPlace { entry, .. } in self.places() {
            for frame in &entry.frames {
                add(&mut bytes.frames, frame.len);
            }
            add(&mut bytes.filters, entry.words_len);
            add(&mut bytes.filters, entry.pieces_len);
            add(&mut bytes.maps, entry.map_len);
            add(&mut bytes.directories, entry.groups_len);
            add(&mut bytes.directories, entry.slots_len);
        }
        bytes.index = file_bytes.saturating_sub(known);
        bytes
    }

    /// What the groups of a block take. Decompresses its frames, which is a second for some GB of values; they are not
    /// kept. `service_of` tells which mark of a shape is the service.
    ///
    /// # Errors
    /// The block is damaged.
    pub fn group_usages(
        &self,
        number: usize,
        service_of: &dyn Fn(&[Mark]) -> Option<usize>,
    ) -> Result<Vec<GroupUsage>, BlockError> {
        let (shapes, texts) = (self.shapes()?, self.texts()?);
        let block = self.block(number)?;
        let slots = self.slots(number, &block)?;
        let groups = block.groups();
        let mut usages: Vec<GroupUsage> = groups
            .iter()
            .map(|group| GroupUsage::new(&slots, group, shapes, texts))
            .collect();
        let mut pieces = Vec::new();
        let mut service_slots = Vec::with_capacity(groups.len());
        for (at, group) in groups.iter().enumerate() {
            let marks = &shapes.shape(group.plan.shape).marks;
            let service = service_of(marks).and_then(|mark| slot_of(group, marks, mark));
            if let Some(Slot::One(text)) = service.map(|slot| slots.slot(group, slot)) {
                usages[at].add_service(texts.text(text), group.rows);
            }
            service_slots.push(service);
            add_pieces(&slots, group, at, &mut pieces);
        }
        pieces.sort_by_key(|piece| (piece.place.frame, piece.place.start));
        let entry = &self.places()[number].entry;
        let frames = &entry.frames;
        let plain_lengths: Vec<u64> = frames.iter().map(|frame| frame.plain_len).collect();
        let filters = share_out(entry.words_len + entry.pieces_len, &plain_lengths);
        for in_frame in pieces.chunk_by(|a, b| a.place.frame == b.place.frame) {
            let frame = in_frame[0].place.frame as usize;
            let Some(place) = frames.get(frame) else {
                continue; // Slots without a byte, behind the last frame.
            };
            let mut plain = None;
            let mut frame_shares = Shares::new(place.len, place.plain_len);
            let mut filter_shares = Shares::new(filters[frame], place.plain_len);
            for piece in in_frame {
                let usage = &mut usages[piece.group];
                let service_slot = service_slots[piece.group];
                let FramedSlot {
                    form, start, len, ..
                } = piece.place;
                // The bulk: the lengths of lines follow from their number.
                let bytes = match piece.slots[..] {
                    [slot] if form == FORM_LINES && service_slot != Some(slot) => {
                        usage.add_raw(slot, u64::from(len.saturating_sub(usage.rows)));
                        vec![u64::from(len)]
                    }
                    _ => {
                        if plain.is_none() {
                            plain = Some(self.plain_frame(number, frame)?);
                        }
                        let bytes = plain.as_deref().unwrap_or_default();
                        let bytes = bytes.get(start as usize..(start + len) as usize);
                        let rows = piece.slots.len() * usage.rows as usize;
                        let values = SlotValues::new(form, bytes.ok_or(BEYOND_FRAME)?, rows);
                        add_values(usage, &piece.slots, values, service_slot)?
                    }
                };
                for (slot, bytes) in piece.slots.iter().zip(bytes) {
                    let slot = &mut usage.slots[*slot];
                    slot.plain_bytes += bytes;
                    slot.frame_bytes += frame_shares.take(bytes);
                    slot.filter_bytes += filter_shares.take(bytes);
                }
            }
        }
        Ok(usages)
    }
}

/// What was written into a frame at once: a slot of a group, or all that are packed.
struct Piece {
    group: usize,
    slots: Vec<usize>,
    place: FramedSlot,
}

/// The pieces of a group.
fn add_pieces(slots: &Slots, group: &Group, number: usize, pieces: &mut Vec<Piece>) {
    let mut packed = Vec::new();
    for slot in 0..group.plan.slot_count() {
        match slots.slot(group, slot) {
            Slot::One(_) => {}
            Slot::Packed(_) => packed.push(slot),
            Slot::Framed(place) => pieces.push(Piece {
                group: number,
                slots: vec![slot],
                place,
            }),
        }
    }
    if !packed.is_empty()
        && let Slot::Framed(place) = slots.packed_slot(group)
    {
        pieces.push(Piece {
            group: number,
            slots: packed,
            place,
        });
    }
}

const BEYOND_FRAME: BlockError = BlockError::Damaged("a slot beyond its frame");

/// Counts the values of some logical slots of a group that were written together; answers what each takes of them.
fn add_values(
    usage: &mut GroupUsage,
    slots: &[usize],
    values: SlotValues,
    service_slot: Option<usize>,
) -> Result<Vec<u64>, BlockError> {
    let rows = usage.rows as usize;
    let mut pieces = vec![0_u64; slots.len()];
    values.for_each(|row, value| {
        let slot = row / rows;
        pieces[slot] += value.len() as u64;
        if service_slot == Some(slots[slot]) {
            usage.add_service(value, 1);
        }
    })?;
    for (slot, bytes) in slots.iter().zip(&pieces) {
        usage.add_raw(*slot, *bytes);
    }
    let plain_bytes = values.bytes().len() as u64;
    // A dictionary may be shorter than its values.
    if let [only] = &mut pieces[..] {
        *only = plain_bytes;
        return Ok(pieces);
    }
    // Ends or lengths of values are shared evenly.
    let around = plain_bytes.saturating_sub(pieces.iter().sum());
    let around = share_out(around, &vec![1; pieces.len()]);
    for (piece, around) in pieces.iter_mut().zip(around) {
        *piece += around;
    }
    Ok(pieces)
}

fn owner_of(mark: &Mark) -> SlotOwner {
    match (mark.kind, mark.path) {
        (MarkKind::Id, _) => SlotOwner::Id,
        (MarkKind::Whole, _) | (_, None) => SlotOwner::Whole,
        (_, Some(path)) => SlotOwner::Path(path),
    }
}

/// The logical slot of a mark; `None` when it has none of its own, as a text with a template.
fn slot_of(group: &Group, marks: &[Mark], wanted: usize) -> Option<usize> {
    let mut slot = 0;
    for (at, mark) in marks.iter().enumerate() {
        match mark.kind {
            MarkKind::Template if at == wanted => return None,
            MarkKind::Template => slot = group.plan.variables().end,
            MarkKind::Time(_) if at == wanted => return None,
            MarkKind::Time(_) => {}
            _ if at == wanted => return Some(slot),
            _ => slot += 1,
        }
    }
    None
}

/// How long a time of so many digits is written.
fn time_bytes(digits: u8) -> u64 {
    match digits {
        0 => 20,
        digits => 21 + u64::from(digits),
    }
}
