//! Which template each message of a segment has: what patterns are counted by.
//!
//! The message of a document is its longest text with a blank, whatever its field; its template is what is left without
//! its variables. Asking for templates reads directories and maps of blocks alone, never a value; [`SegmentTemplates::message`]
//! does read values.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tantivy::DocId;

use super::blocks::spelling::text_of;
use super::blocks::{BlockError, Map, MarkKind, OpenBlock, Row};
use super::reader::ReadError;
use super::segment::Segment;

/// Stands in the text of a template for each of its variables. One that a sender wrote is shown as U+FFFD.
pub const VARIABLE: char = '\u{1}';

/// The templates of one segment of a shard. Blocking, as the shard itself.
pub struct SegmentTemplates {
    shard: String,
    segment: Segment,
    /// For each shape the number of the message's path; `None` when its documents have no template.
    message_paths: Vec<Option<u32>>,
}

/// A template in a field, by its number in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateId {
    text: u32,
    path: u32,
}

/// Some ten thousand neighbouring documents of a segment, in groups of one template each.
pub struct TemplateBlock {
    map: Arc<Map>,
    documents: Range<DocId>,
    templates: Vec<Option<TemplateId>>,
}

impl SegmentTemplates {
    pub(super) fn new(shard: String, segment: &Segment) -> Result<SegmentTemplates, ReadError> {
        let mut templates = SegmentTemplates {
            shard,
            segment: segment.clone(),
            message_paths: Vec::new(),
        };
        let shapes = templates.read(segment.blocks().shapes())?;
        let paths = (0..shapes.len() as u32).map(|shape| {
            let mut marks = shapes.shape(shape).marks.iter();
            marks.find(|mark| mark.kind == MarkKind::Template)?.path
        });
        templates.message_paths = paths.collect();
        Ok(templates)
    }

    /// The block that a document is in.
    ///
    /// # Errors
    /// There is no such document, or the shard's files cannot be read.
    pub fn block_of(&self, doc: DocId) -> Result<TemplateBlock, ReadError> {
        let blocks = self.segment.blocks();
        let (number, _) = self.read(blocks.locate(doc).ok_or(NO_DOCUMENT))?;
        let block = self.read(blocks.block(number))?;
        let templates = block.groups().iter().map(|group| {
            let text = group.template?;
            let path = self.message_paths[group.plan.shape as usize]?;
            Some(TemplateId { text, path })
        });
        let place = &blocks.places()[number];
        Ok(TemplateBlock {
            templates: templates.collect(),
            documents: place.first_document..place.end_document(),
            map: self.read(blocks.map(number, &block))?,
        })
    }

    /// The field a template is of, dotted.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn field(&self, template: TemplateId) -> Result<&str, ReadError> {
        let shapes = self.read(self.segment.blocks().shapes())?;
        Ok(&shapes.paths()[template.path as usize])
    }

    /// The text of a template, with [`VARIABLE`] for its variables; what stood in quotes is one of them.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn text(&self, template: TemplateId) -> Result<String, ReadError> {
        let texts = self.read(self.segment.blocks().texts())?;
        let mut shown = String::new();
        for (number, part) in texts
            .text(template.text)
            .split(|byte| *byte == VARIABLE as u8)
            .enumerate()
        {
            if number > 0 {
                shown.push(VARIABLE);
            }
            match text_of(part) {
                Some(text) => shown.push_str(&text.replace(VARIABLE, "\u{fffd}")),
                None => shown.push_str(&String::from_utf8_lossy(part)),
            }
        }
        Ok(shown)
    }

    /// The message of a document; `None` when it has no template. Decompresses the frames its variables lie in, also when the
    /// search that found the template is over and its interrupt says stop.
    ///
    /// # Errors
    /// There is no such document, or the shard's files cannot be read.
    pub fn message(&self, doc: DocId) -> Result<Option<String>, ReadError> {
        self.read(self.read_message(doc))
    }

    fn read_message(&self, doc: DocId) -> Result<Option<String>, BlockError> {
        let blocks = self.segment.unwatched_blocks();
        let (number, document) = blocks.locate(doc).ok_or(NO_DOCUMENT)?;
        let open = OpenBlock::new(blocks, number)?;
        let (group, row) = open.row_of(document)?;
        if group.template.is_none() {
            return Ok(None);
        }
        let mut spelled = Vec::new();
        Row::new(&open, group, row)?.message(&mut spelled)?;
        let text = text_of(&spelled);
        let text = text.map_or_else(
            || String::from_utf8_lossy(&spelled).into_owned(),
            |text| text.into_owned(),
        );
        Ok(Some(text))
    }

    fn read<T>(&self, found: Result<T, BlockError>) -> Result<T, ReadError> {
        found.map_err(|error| ReadError {
            shard: self.shard.clone(),
            message: error.to_string(),
        })
    }
}

const NO_DOCUMENT: BlockError = BlockError::Damaged("there is no such document");

impl TemplateBlock {
    /// The documents of the segment that are in it, deleted ones included.
    pub fn documents(&self) -> Range<DocId> {
        self.documents.clone()
    }

    /// The template of each group; `None` for the group of messages that have none. Several groups may have the same.
    pub fn templates(&self) -> &[Option<TemplateId>] {
        &self.templates
    }

    /// The group of a document of this block.
    #[inline]
    pub fn group_of(&self, doc: DocId) -> usize {
        usize::from(self.map.groups_of()[(doc - self.documents.start) as usize])
    }
}

impl fmt::Debug for SegmentTemplates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentTemplates({})", self.shard)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};

    use super::super::reader::ShardId;
    use super::super::untouched;
    use super::*;
    use crate::{Catalog, Indexer, Settings, filenames};

    #[test]
    fn each_message_has_its_template() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            writer_threads: 1,
            ..Settings::new(dir.path())
        };
        let catalog = Arc::new(Catalog::open(dir.path()).unwrap());
        let ledger = Arc::new(Ledger::new());
        let mut indexer = Indexer::open(settings, catalog, ledger, Position::ZERO).unwrap();
        let index = IndexName::parse("logs").unwrap();
        let documents = [
            r#"{"message":"got 5 of \"a b\" in 7ms"}"#,
            r#"{"n":1,"message":"got 12 of \"c\" in 1ms"}"#,
            r#"{"message":"short"}"#,
            r#"{"error":{"text":"caf\u00e9 5 is\nclosed"}}"#,
        ];
        let zero = Timestamp::from_nanos(0);
        let events = documents
            .iter()
            .map(|document| Event::create(index.clone(), zero, Bytes::from(*document)));
        let batch = Batch::new("test".into(), zero, events.collect());
        indexer.apply(Position::ZERO, &batch).unwrap();
        indexer.close().unwrap();
        let id = ShardId {
            index,
            day: event::Day::of(zero),
        };
        let folder = filenames::shard_folder(dir.path(), &id);
        let shard = untouched::view(&folder, &id).unwrap().unwrap();

        let templates = shard.templates(0).unwrap();
        let block = templates.block_of(2).unwrap();
        assert_eq!(block.documents(), 0..4);
        assert!(templates.block_of(4).is_err());
        let shown = (0..4).map(|doc| {
            let template = block.templates()[block.group_of(doc)]?;
            let text = templates.text(template).unwrap().replace(VARIABLE, "*");
            Some((templates.field(template).unwrap(), text))
        });
        let got = Some(("message", "got * of \"*\" in *".to_owned()));
        let closed = Some(("error.text", "café * is\nclosed".to_owned()));
        assert_eq!(shown.collect::<Vec<_>>(), [got.clone(), got, None, closed]);
        assert_eq!(
            templates.message(0).unwrap().as_deref(),
            Some("got 5 of \"a b\" in 7ms")
        );
        assert_eq!(templates.message(2).unwrap(), None);
    }
}
