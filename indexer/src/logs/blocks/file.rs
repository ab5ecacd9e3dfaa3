//! The file of a segment's blocks, read: where everything is, and documents as they were.

use std::cell::{OnceCell, RefCell};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use tantivy::directory::OwnedBytes;

use super::answers::Answer;
use super::block::{Block, FramedSlot, Group, Slot, Slots};
use super::cache::{BLOCK_PART, BlockCache, MAP_PART, Part, ROWS_PART, SLOTS_PART};
use super::map::{Map, Rows};
use super::number::{Cursor, push_number};
use super::shape::{MarkKind, Shapes};
use super::slot::{SlotValues, line};
use super::texts::Texts;
use super::time::{TIME_BYTES_MAX, write_time};
use super::word_table::WordTable;
use super::writer::SEALED_BLOCK_DOCUMENTS;
use super::{BlockError, FORM, FORM_OF_FILTERS, MARK_MAX};
use crate::logs::interrupt::{Interrupt, Never};

const MAGIC: &[u8; 4] = b"DBLK";
const FOOTER_BYTES: usize = 3 * 8 + 4 + 4;

/// Bytes of a file that were compressed together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Section {
    /// Where they start in the file.
    pub start: u64,
    /// How many they are.
    pub len: u64,
    /// How many they are decompressed.
    pub plain_len: u64,
}

/// The lengths of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// Compressed.
    pub len: u64,
    /// Decompressed.
    pub plain_len: u64,
}

/// A block in the index of the file: its frames and parts follow each other from `start` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// How many documents it has.
    pub document_count: u32,
    /// Where it starts in the file.
    pub start: u64,
    /// Its frames.
    pub frames: Vec<FramePlace>,
    /// The length of the table of words, which is not compressed.
    pub words_len: u64,
    /// The length of the pieces, which are not compressed.
    pub pieces_len: u64,
    /// The length of the map, compressed; it has two bytes for each document.
    pub map_len: u64,
    /// The length of the groups, compressed.
    pub groups_len: u64,
    /// Decompressed.
    pub groups_plain_len: u64,
    /// The length of the slots, compressed.
    pub slots_len: u64,
    /// Decompressed.
    pub slots_plain_len: u64,
}

impl IndexEntry {
    /// The lengths behind the frames, in the order they are written in.
    fn lengths(&self) -> [u64; 7] {
        [
            self.words_len,
            self.pieces_len,
            self.map_len,
            self.groups_len,
            self.groups_plain_len,
            self.slots_len,
            self.slots_plain_len,
        ]
    }

    fn read(cursor: &mut Cursor, form: u32) -> Result<IndexEntry, BlockError> {
        let mut entry = IndexEntry {
            document_count: cursor.small()?,
            start: cursor.number()? as u64,
            frames: Vec::new(),
            words_len: 0,
            pieces_len: 0,
            map_len: 0,
            groups_len: 0,
            groups_plain_len: 0,
            slots_len: 0,
            slots_plain_len: 0,
        };
        let frame_count = cursor.count()?;
        entry.frames.reserve(frame_count);
        for _ in 0..frame_count {
            entry.frames.push(FramePlace {
                len: cursor.number()? as u64,
                plain_len: cursor.number()? as u64,
            });
            if form == FORM_OF_FILTERS {
                // Filters are passed over; a block without a table is looked through.
                entry.words_len += cursor.number()? as u64;
            }
        }
        let mut number = || Ok::<u64, BlockError>(cursor.number()? as u64);
        if form != FORM_OF_FILTERS {
            entry.words_len = number()?;
            entry.pieces_len = number()?;
        }
        entry.map_len = number()?;
        entry.groups_len = number()?;
        entry.groups_plain_len = number()?;
        if form != FORM_OF_FILTERS {
            entry.slots_len = number()?;
            entry.slots_plain_len = number()?;
        }
        Ok(entry)
    }
}

/// Writes the index.
pub fn write_index(shapes: Section, texts: Section, blocks: &[IndexEntry], out: &mut Vec<u8>) {
    for section in [shapes, texts] {
        for number in [section.start, section.len, section.plain_len] {
            push_number(out, number as usize);
        }
    }
    push_number(out, blocks.len());
    for block in blocks {
        push_number(out, block.document_count as usize);
        push_number(out, block.start as usize);
        push_number(out, block.frames.len());
        for frame in &block.frames {
            for number in [frame.len, frame.plain_len] {
                push_number(out, number as usize);
            }
        }
        for number in block.lengths() {
            push_number(out, number as usize);
        }
    }
}

/// Writes the end of the file.
///
/// # Errors
/// It could not be written.
pub fn write_footer(index: Section, out: &mut impl std::io::Write) -> std::io::Result<()> {
    for number in [index.start, index.len, index.plain_len] {
        out.write_all(&number.to_le_bytes())?;
    }
    out.write_all(&FORM.to_le_bytes())?;
    out.write_all(MAGIC)
}

/// Where a block is, and which documents it has.
#[derive(Debug, Clone)]
pub struct BlockPlace {
    /// The first of its documents in the segment.
    pub first_document: u32,
    /// The block's entry in the file's index.
    pub entry: IndexEntry,
    frame_starts: Vec<u64>,
    words: Range<u64>,
    pieces: Range<u64>,
    map: Section,
    groups: Section,
    slots: Section,
}

impl BlockPlace {
    fn new(first_document: u32, entry: IndexEntry) -> Option<BlockPlace> {
        let mut at = entry.start;
        let mut frame_starts = Vec::with_capacity(entry.frames.len());
        for frame in &entry.frames {
            frame_starts.push(at);
            at = at.checked_add(frame.len)?;
        }
        let mut next = |len: u64| {
            let start = at;
            at = at.checked_add(len)?;
            Some(start..at)
        };
        let (words, pieces) = (next(entry.words_len)?, next(entry.pieces_len)?);
        let mut section = |len: u64, plain_len: u64| {
            let start = next(len)?.start;
            Some(Section {
                start,
                len,
                plain_len,
            })
        };
        Some(BlockPlace {
            first_document,
            frame_starts,
            words,
            pieces,
            map: section(entry.map_len, 2 * u64::from(entry.document_count))?,
            groups: section(entry.groups_len, entry.groups_plain_len)?,
            slots: section(entry.slots_len, entry.slots_plain_len)?,
            entry,
        })
    }

    /// The document behind its last one.
    pub fn end_document(&self) -> u32 {
        self.first_document + self.entry.document_count
    }
}

/// A decompressed frame.
pub struct Frame {
    bytes: Vec<u8>,
    /// For slots of many lines, which were asked for single ones, where each starts; by the slot's place.
    line_starts: Mutex<rustc_hash::FxHashMap<u32, Arc<[u32]>>>,
}

/// Slots with fewer rows are walked over each time.
const INDEXED_ROWS_MIN: usize = 64;

/// The blocks of a segment. Cheap to clone.
#[derive(Clone)]
pub struct BlocksFile {
    inner: Arc<Inner>,
    /// Asked before each frame and section, told what it took.
    interrupt: Arc<dyn Interrupt>,
}

struct Inner {
    bytes: OwnedBytes,
    file: u64,
    cache: BlockCache,
    form: u32,
    places: Vec<BlockPlace>,
    shapes: Section,
    texts: Section,
    read_shapes: OnceLock<Result<Shapes, BlockError>>,
    read_texts: OnceLock<Result<Texts, BlockError>>,
}

pub(super) const ENDS_EARLY: BlockError = BlockError::Damaged("the file ends early");

impl BlocksFile {
    /// Opens a file by its bytes. Reads its index alone.
    ///
    /// # Errors
    /// It is of a newer form, or damaged.
    pub fn open(bytes: OwnedBytes, cache: &BlockCache) -> Result<BlocksFile, BlockError> {
        let footer_start = bytes.len().checked_sub(FOOTER_BYTES).ok_or(ENDS_EARLY)?;
        let footer = &bytes[footer_start..];
        if &footer[FOOTER_BYTES - 4..] != MAGIC {
            return Err(BlockError::Damaged("it is no file of blocks"));
        }
        let number = |at: usize| {
            let (numbers, _) = footer.as_chunks::<8>();
            u64::from_le_bytes(numbers[at])
        };
        let (forms, _) = footer[24..].as_chunks::<4>();
        let form = u32::from_le_bytes(forms[0]);
        if form > FORM {
            return Err(BlockError::NewerForm(form));
        }
        let index = Section {
            start: number(0),
            len: number(1),
            plain_len: number(2),
        };
        let index = cache.section(&bytes, index)?;
        let mut cursor = Cursor::new(&index);
        let mut section = || -> Result<Section, BlockError> {
            Ok(Section {
                start: cursor.number()? as u64,
                len: cursor.number()? as u64,
                plain_len: cursor.number()? as u64,
            })
        };
        let (shapes, texts) = (section()?, section()?);
        let mut places = Vec::new();
        let mut first_document = 0_u32;
        for _ in 0..cursor.count()? {
            let entry = IndexEntry::read(&mut cursor, form)?;
            let document_count = entry.document_count;
            if document_count as usize > SEALED_BLOCK_DOCUMENTS {
                return Err(BlockError::Damaged("a block of too many documents"));
            }
            let place = BlockPlace::new(first_document, entry).ok_or(ENDS_EARLY)?;
            first_document = first_document
                .checked_add(document_count)
                .ok_or(ENDS_EARLY)?;
            places.push(place);
        }
        Ok(BlocksFile {
            interrupt: Arc::new(Never),
            inner: Arc::new(Inner {
                bytes,
                file: cache.next_file.fetch_add(1, Ordering::Relaxed),
                cache: cache.clone(),
                form,
                places,
                shapes,
                texts,
                read_shapes: OnceLock::new(),
                read_texts: OnceLock::new(),
            }),
        })
    }

    /// The same file, read for work that `interrupt` watches over.
    pub fn watched(&self, interrupt: &Arc<dyn Interrupt>) -> BlocksFile {
        BlocksFile {
            inner: Arc::clone(&self.inner),
            interrupt: Arc::clone(interrupt),
        }
    }

    /// Its blocks, in the order of their documents.
    pub fn places(&self) -> &[BlockPlace] {
        &self.inner.places
    }

    /// The shapes of its documents; read the first time.
    ///
    /// # Errors
    /// They are damaged.
    pub fn shapes(&self) -> Result<&Shapes, BlockError> {
        let read = || Shapes::read(&self.decompress(self.inner.shapes)?);
        let shapes = self.inner.read_shapes.get_or_init(read);
        shapes.as_ref().map_err(Clone::clone)
    }

    /// Its texts; read the first time.
    ///
    /// # Errors
    /// They are damaged.
    pub fn texts(&self) -> Result<&Texts, BlockError> {
        let read = || Texts::read(&self.decompress(self.inner.texts)?);
        let texts = self.inner.read_texts.get_or_init(read);
        texts.as_ref().map_err(Clone::clone)
    }

    /// Bytes of the file that shapes and texts take.
    pub fn dictionary_bytes(&self) -> (u64, u64) {
        (self.inner.shapes.len, self.inner.texts.len)
    }

    /// Whether blocks have tables of words and pieces; those that a daybook of shard format 2 wrote have none.
    pub fn has_tables(&self) -> bool {
        self.inner.form != FORM_OF_FILTERS
    }

    /// The groups of a block.
    ///
    /// # Errors
    /// They are damaged.
    pub fn block(&self, block: usize) -> Result<Arc<Block>, BlockError> {
        let key = (self.inner.file, block as u32, BLOCK_PART);
        if let Some(Part::Block(block)) = self.inner.cache.parts.get(&key) {
            return Ok(block);
        }
        let section = self.section(self.inner.places[block].groups)?;
        let (read, _) = Block::read(&section, self.shapes()?, self.texts()?)?;
        let read = Arc::new(read);
        let part = Part::Block(Arc::clone(&read));
        self.inner.cache.parts.insert(key, part);
        Ok(read)
    }

    /// The slots of a block, whose groups these are.
    ///
    /// # Errors
    /// They are damaged.
    pub fn slots(&self, block: usize, groups: &Block) -> Result<Arc<Slots>, BlockError> {
        let key = (self.inner.file, block as u32, SLOTS_PART);
        if let Some(Part::Slots(slots)) = self.inner.cache.parts.get(&key) {
            return Ok(slots);
        }
        let place = &self.inner.places[block];
        let (section, start) = match self.has_tables() {
            true => (self.section(place.slots)?, 0),
            // They stand behind the groups.
            false => {
                let section = self.section(place.groups)?;
                let (_, end) = Block::read(&section, self.shapes()?, self.texts()?)?;
                (section, end)
            }
        };
        let frames = &place.entry.frames;
        let read = Slots::read(&section[start..], groups, frames, self.texts()?)?;
        let read = Arc::new(read);
        let part = Part::Slots(Arc::clone(&read));
        self.inner.cache.parts.insert(key, part);
        Ok(read)
    }

    /// The map of a block, whose groups these are.
    ///
    /// # Errors
    /// It is damaged.
    pub fn map(&self, block: usize, groups: &Block) -> Result<Arc<Map>, BlockError> {
        let key = (self.inner.file, block as u32, MAP_PART);
        if let Some(Part::Map(map)) = self.inner.cache.parts.get(&key) {
            return Ok(map);
        }
        let section = self.section(self.inner.places[block].map)?;
        let read = Arc::new(Map::read(&section, groups)?);
        let part = Part::Map(Arc::clone(&read));
        self.inner.cache.parts.insert(key, part);
        Ok(read)
    }

    /// The documents of each group of a block, whose map this is.
    pub fn rows(&self, block: usize, groups: &Block, map: &Map) -> Arc<Rows> {
        let key = (self.inner.file, block as u32, ROWS_PART);
        if let Some(Part::Rows(rows)) = self.inner.cache.parts.get(&key) {
            return rows;
        }
        let rows = Arc::new(Rows::new(groups, map));
        let part = Part::Rows(Arc::clone(&rows));
        self.inner.cache.parts.insert(key, part);
        rows
    }

    /// What a question, given by a hash of all that it is, found in a block before.
    pub fn answer(&self, question: u128, block: usize) -> Option<Answer> {
        let Inner { cache, file, .. } = &*self.inner;
        cache.answers.get(*file, question, block as u32)
    }

    /// Keeps what a question found in a block.
    pub fn keep_answer(&self, question: u128, block: usize, answer: Answer) {
        let Inner { cache, file, .. } = &*self.inner;
        cache.answers.insert(*file, question, block as u32, answer);
    }

    /// Which frames of a block have which words; `None` where there are no tables.
    ///
    /// # Errors
    /// It is damaged.
    pub fn words(&self, block: usize) -> Result<Option<WordTable<'_>>, BlockError> {
        if !self.has_tables() {
            return Ok(None);
        }
        let place = &self.inner.places[block];
        let bytes = self.raw(&place.words)?;
        WordTable::open(bytes, place.entry.frames.len()).map(Some)
    }

    /// Which pieces of words the frames of a block have; `None` where there are no tables.
    ///
    /// # Errors
    /// The file ends before them.
    pub fn pieces(&self, block: usize) -> Result<Option<&[u8]>, BlockError> {
        match self.has_tables() {
            true => self.raw(&self.inner.places[block].pieces).map(Some),
            false => Ok(None),
        }
    }

    /// The bytes, as they are in the file, of a block's frames and tables and map: of all that has no numbers of the
    /// segment in it.
    ///
    /// # Errors
    /// The file ends before them.
    pub fn raw_front(&self, block: usize) -> Result<&[u8], BlockError> {
        let place = &self.inner.places[block];
        self.raw(&(place.entry.start..place.map.start + place.map.len))
    }

    fn raw(&self, range: &Range<u64>) -> Result<&[u8], BlockError> {
        let range = range.start as usize..range.end as usize;
        self.inner.bytes.get(range).ok_or(ENDS_EARLY)
    }

    /// The groups and the slots of a block, decompressed, as [`BlocksWriter`] wrote them.
    ///
    /// [`BlocksWriter`]: super::BlocksWriter
    ///
    /// # Errors
    /// They are damaged.
    pub fn plain_parts(&self, block: usize) -> Result<(Vec<u8>, Vec<u8>), BlockError> {
        let place = &self.inner.places[block];
        Ok((self.section(place.groups)?, self.section(place.slots)?))
    }

    /// A frame, decompressed.
    ///
    /// # Errors
    /// It is damaged, or the work was interrupted.
    pub fn frame(&self, block: usize, frame: usize) -> Result<Arc<Frame>, BlockError> {
        self.check()?;
        let key = (self.inner.file, block as u32, frame as u32);
        if let Some(frame) = self.inner.cache.frames.get(&key) {
            return Ok(frame);
        }
        let read = Arc::new(Frame {
            bytes: self.plain_frame(block, frame)?,
            line_starts: Default::default(),
        });
        self.inner.cache.frames.insert(key, Arc::clone(&read));
        Ok(read)
    }

    /// A frame, decompressed, for somebody who reads each of them once: it is not kept.
    ///
    /// # Errors
    /// It is damaged, or the work was interrupted.
    pub fn plain_frame(&self, block: usize, frame: usize) -> Result<Vec<u8>, BlockError> {
        self.check()?;
        let place = &self.inner.places[block];
        let FramePlace { len, plain_len } = place.entry.frames[frame];
        let start = place.frame_starts[frame];
        let raw = self.raw(&(start..start + len))?;
        let plain = self.inner.cache.decompress(raw, plain_len)?;
        self.interrupt.decoded(plain.len() as u64);
        Ok(plain)
    }

    fn section(&self, section: Section) -> Result<Vec<u8>, BlockError> {
        self.check()?;
        self.decompress(section)
    }

    /// Reads a section whether or not the work is interrupted: one that is kept for all who come after.
    fn decompress(&self, section: Section) -> Result<Vec<u8>, BlockError> {
        let plain = self.inner.cache.section(&self.inner.bytes, section)?;
        self.interrupt.decoded(plain.len() as u64);
        Ok(plain)
    }

    fn check(&self) -> Result<(), BlockError> {
        match self.interrupt.is_interrupted() {
            true => Err(BlockError::Interrupted),
            false => Ok(()),
        }
    }

    /// Which block a document of the segment is in, and which of the block's it is.
    pub fn locate(&self, document: u32) -> Option<(usize, u32)> {
        let places = self.places();
        let block = places
            .partition_point(|place| place.first_document <= document)
            .checked_sub(1)?;
        let place = &places[block];
        let is_there = document < place.end_document();
        is_there.then_some((block, document - place.first_document))
    }

    /// Writes a document behind what is in `out` and answers the sender's id; `timestamp` is its time in nanoseconds.
    ///
    /// # Errors
    /// There is no such document, or it is damaged.
    pub fn document(
        &self,
        document: u32,
        timestamp: i64,
        out: &mut Vec<u8>,
    ) -> Result<Option<String>, BlockError> {
        let (number, document) = self.locate(document).ok_or(NO_DOCUMENT)?;
        OpenBlock::new(self, number)?.document(document, timestamp, out)
    }

    /// Whether a document has an id that its sender gave.
    ///
    /// # Errors
    /// There is no such document, or it is damaged.
    pub fn has_id(&self, document: u32) -> Result<bool, BlockError> {
        let (number, document) = self.locate(document).ok_or(NO_DOCUMENT)?;
        let block = self.block(number)?;
        let map = self.map(number, &block)?;
        let group = map.groups_of().get(document as usize).ok_or(NO_DOCUMENT)?;
        let group = &block.groups()[usize::from(*group)];
        let marks = &self.shapes()?.shape(group.plan.shape).marks;
        Ok(marks.first().is_some_and(|mark| mark.kind == MarkKind::Id))
    }
}

impl Frame {
    /// How much memory it takes, in bytes; its line starts come later.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() * 3 / 2
    }

    /// The values of a slot that lies in this frame.
    ///
    /// # Errors
    /// It does not.
    pub fn slot(&self, slot: Slot, rows: usize) -> Result<SlotValues<'_>, BlockError> {
        const DAMAGED: BlockError = BlockError::Damaged("a slot beyond its frame");
        let Slot::Framed(FramedSlot {
            form, start, len, ..
        }) = slot
        else {
            return Err(DAMAGED);
        };
        let start = start as usize;
        let bytes = self.bytes.get(start..start + len as usize);
        Ok(SlotValues::new(form, bytes.ok_or(DAMAGED)?, rows))
    }

    /// One line of a slot of many; remembers where lines start.
    fn line<'f>(&'f self, start: u32, lines: &'f [u8], row: usize) -> Result<&'f [u8], BlockError> {
        const NO_ROW: BlockError = BlockError::Damaged("a slot has not the rows of its group");
        let starts = {
            let mut known = self
                .line_starts
                .lock()
                .expect("no holder of this lock panics");
            let starts = known.entry(start).or_insert_with(|| {
                let after = memchr::memchr_iter(b'\n', lines).map(|end| end as u32 + 1);
                std::iter::once(0).chain(after).collect()
            });
            Arc::clone(starts)
        };
        let start = *starts.get(row).ok_or(NO_ROW)? as usize;
        let end = *starts.get(row + 1).ok_or(NO_ROW)? as usize;
        Ok(&lines[start..end - 1])
    }
}

/// A block at work: keeps what of it was read.
pub struct OpenBlock {
    file: BlocksFile,
    number: usize,
    block: Arc<Block>,
    slots: OnceCell<Arc<Slots>>,
    map: OnceCell<Arc<Map>>,
    rows: OnceCell<Arc<Rows>>,
    frames: RefCell<Vec<Option<Arc<Frame>>>>,
}

impl OpenBlock {
    /// Opens a block.
    ///
    /// # Errors
    /// It is damaged.
    pub fn new(file: &BlocksFile, number: usize) -> Result<OpenBlock, BlockError> {
        Ok(OpenBlock {
            block: file.block(number)?,
            file: file.clone(),
            number,
            slots: OnceCell::new(),
            map: OnceCell::new(),
            rows: OnceCell::new(),
            frames: RefCell::default(),
        })
    }

    /// Its groups.
    pub fn groups(&self) -> &[Group] {
        self.block.groups()
    }

    /// Where their values are.
    ///
    /// # Errors
    /// They are damaged.
    pub fn slots(&self) -> Result<&Slots, BlockError> {
        if self.slots.get().is_none() {
            let read = self.file.slots(self.number, &self.block)?;
            let _ = self.slots.set(read);
        }
        self.slots.get().map(|slots| &**slots).ok_or(ENDS_EARLY)
    }

    /// The place among the groups of each document's group.
    ///
    /// # Errors
    /// The map is damaged.
    pub fn groups_of(&self) -> Result<&[u16], BlockError> {
        Ok(self.map()?.groups_of())
    }

    /// The documents of a group, by row.
    ///
    /// # Errors
    /// The map is damaged.
    pub fn documents_of(&self, group: &Group) -> Result<&[u32], BlockError> {
        Ok(self.rows()?.of(group))
    }

    /// The group of a document, and its row there.
    ///
    /// # Errors
    /// There is no such document, or the map is damaged.
    pub fn row_of(&self, document: u32) -> Result<(&Group, usize), BlockError> {
        let group = self.groups_of()?.get(document as usize);
        let group = &self.groups()[usize::from(*group.ok_or(NO_DOCUMENT)?)];
        let row = self.rows()?.of(group).binary_search(&document);
        Ok((group, row.map_err(|_| NO_DOCUMENT)?))
    }

    fn rows(&self) -> Result<&Rows, BlockError> {
        if self.rows.get().is_none() {
            let read = self.file.rows(self.number, &self.block, self.map()?);
            let _ = self.rows.set(read);
        }
        self.rows.get().map(|rows| &**rows).ok_or(ENDS_EARLY)
    }

    fn map(&self) -> Result<&Map, BlockError> {
        if self.map.get().is_none() {
            let read = self.file.map(self.number, &self.block)?;
            let _ = self.map.set(read);
        }
        self.map.get().map(|map| &**map).ok_or(ENDS_EARLY)
    }

    /// One of its frames.
    ///
    /// # Errors
    /// It is damaged.
    pub fn frame(&self, frame: u32) -> Result<Arc<Frame>, BlockError> {
        let at = frame as usize;
        if let Some(Some(read)) = self.frames.borrow().get(at) {
            return Ok(Arc::clone(read));
        }
        let read = self.file.frame(self.number, at)?;
        let mut frames = self.frames.borrow_mut();
        if frames.len() <= at {
            frames.resize(at + 1, None);
        }
        frames[at] = Some(Arc::clone(&read));
        Ok(read)
    }

    /// Writes a document of the block behind what is in `out` and answers the sender's id; `timestamp` is its time in
    /// nanoseconds since 1970.
    ///
    /// # Errors
    /// There is no such document, or it is damaged.
    pub fn document(
        &self,
        document: u32,
        timestamp: i64,
        out: &mut Vec<u8>,
    ) -> Result<Option<String>, BlockError> {
        let (group, row) = self.row_of(document)?;
        let row = Row::new(self, group, row)?;
        let mut id = None;
        let mut slot = 0;
        for byte in self.file.shapes()?.text(group.plan.shape) {
            if *byte > MARK_MAX {
                out.push(*byte);
                continue;
            }
            match MarkKind::of(*byte) {
                MarkKind::Id => {
                    let mut spelled = vec![b'"'];
                    row.value(slot, &mut spelled)?;
                    spelled.push(b'"');
                    let damaged = |_| BlockError::Damaged("an id");
                    id = Some(serde_json::from_slice(&spelled).map_err(damaged)?);
                    slot += 1;
                }
                MarkKind::Text => {
                    out.push(b'"');
                    row.value(slot, out)?;
                    out.push(b'"');
                    slot += 1;
                }
                MarkKind::Bare | MarkKind::Whole => {
                    row.value(slot, out)?;
                    slot += 1;
                }
                MarkKind::Template => {
                    out.push(b'"');
                    row.message(out)?;
                    out.push(b'"');
                    slot = group.plan.variables().end;
                }
                MarkKind::Time(digits) => {
                    let mut time = [0; TIME_BYTES_MAX];
                    out.push(b'"');
                    out.extend_from_slice(write_time(timestamp, digits, &mut time));
                    out.push(b'"');
                }
            }
        }
        Ok(id)
    }
}

const NO_DOCUMENT: BlockError = BlockError::Damaged("there is no such document");

/// One document in its block.
pub struct Row<'b> {
    block: &'b OpenBlock,
    texts: &'b Texts,
    group: &'b Group,
    row: usize,
}

impl<'b> Row<'b> {
    /// A row of a group.
    ///
    /// # Errors
    /// The texts are damaged.
    pub fn new(block: &'b OpenBlock, group: &'b Group, row: usize) -> Result<Row<'b>, BlockError> {
        Ok(Row {
            texts: block.file.texts()?,
            block,
            group,
            row,
        })
    }

    /// Goes to another row of the same group.
    pub fn go_to(&mut self, row: usize) {
        self.row = row;
    }

    /// Writes the value of a logical slot, as it is spelled, behind what is in `out`.
    ///
    /// # Errors
    /// It is damaged.
    pub fn value(&self, slot: usize, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let slots = self.block.slots()?;
        let (place, rows, row) = match slots.slot(self.group, slot) {
            Slot::One(text) => {
                out.extend_from_slice(self.texts.text(text));
                return Ok(());
            }
            Slot::Packed(before) => {
                let lines = slots.packed_lines(self.group);
                let before = before as usize * self.group.rows as usize;
                (slots.packed_slot(self.group), lines, before + self.row)
            }
            framed => (framed, self.group.rows as usize, self.row),
        };
        let Slot::Framed(FramedSlot { frame, start, .. }) = place else {
            return Err(BlockError::Damaged("a slot in no frame"));
        };
        let frame = self.block.frame(frame)?;
        let values = frame.slot(place, rows)?;
        let value = match values.line_of(row)? {
            Some((lines, at)) if rows >= INDEXED_ROWS_MIN => frame.line(start, lines, at)?,
            Some((lines, at)) => line(lines, at)?,
            None => values.get(row)?,
        };
        out.extend_from_slice(value);
        Ok(())
    }

    /// Writes the text that has the group's template, as it is spelled, behind what is in `out`.
    ///
    /// # Errors
    /// It is damaged, or the group has no template.
    pub fn message(&self, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let no_template = BlockError::Damaged("a group without template");
        let template = self.texts.text(self.group.template.ok_or(no_template)?);
        let mut slot = self.group.plan.variables().start;
        let mut rest = template;
        while let Some(at) = rest.iter().position(|byte| *byte <= MARK_MAX) {
            out.extend_from_slice(&rest[..at]);
            self.value(slot, out)?;
            slot += 1;
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        Ok(())
    }
}
