//! What fills a shard: bytes by part of its files, by field, by service, by template.
//!
//! Everything is what the files of a segment hold, deleted documents included until a merge leaves them out. What documents
//! share is given to services by their number of documents; the bytes of the services sum up to those of the shard.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use tantivy::index::SegmentComponent;

use super::blocks::spelling::text_of;
use super::blocks::usage::{GroupUsage, SlotOwner, share_out};
use super::blocks::{BlockError, Mark, MarkKind};
use super::interrupt::Interrupt;
use super::plugin::{BLOCKS, COLUMNS};
use super::reader::ReadError;
use super::segment::Segment;
use super::templates::{SegmentTemplates, TemplateId};

/// The fields that tell of which service an event is, the first one that it has.
const SERVICE_FIELDS: [&str; 2] = ["service.name", "service"];

/// Services, and templates, of several segments are told apart up to here; the smallest are forgotten then.
const SERVICES_MAX: usize = 4_096;
const TEMPLATES_MAX: usize = 65_536;

/// The text of a template, and the name of a service, are told up to here, in characters.
const TEMPLATE_CHARS_MAX: usize = 1_000;
const SERVICE_CHARS_MAX: usize = 200;

/// What fills some segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many documents, deleted ones included.
    pub documents: u64,
    /// The documents as they were sent, in bytes.
    pub raw_bytes: u64,
    /// What is stored, in bytes: the sum of the parts.
    pub stored_bytes: u64,
    /// The bytes of each part, by name; see [`Usage::PARTS`].
    pub parts: BTreeMap<&'static str, u64>,
    /// By dotted path. `_id` has the ids that senders gave, `_whole` documents that are stored whole.
    pub fields: BTreeMap<String, FieldUsage>,
    /// By service; "" has the documents without one.
    pub services: BTreeMap<String, ServiceUsage>,
    /// By field and text, with [`super::VARIABLE`] for variables; those that begin with the same thousand characters are one.
    pub templates: BTreeMap<(String, String), TemplateUsage>,
    /// There are more services or templates than are told.
    pub has_forgotten: bool,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldUsage {
    /// How many values it has; `null` is one. Of documents stored whole it is not known.
    pub values: u64,
    /// Its values in frames, decompressed, with their ends.
    pub plain_bytes: u64,
    /// Its share of frames.
    pub frame_bytes: u64,
    /// Its share of filters.
    pub filter_bytes: u64,
    /// Its columns.
    pub column_bytes: u64,
    /// How many texts its column has in the segment with the most; `None` when no segment has such a column.
    pub distinct_texts: Option<u64>,
    /// Some segment has no column for its texts, because too many are distinct.
    pub is_too_distinct: bool,
}

/// What the documents of a service take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceUsage {
    /// How many documents.
    pub documents: u64,
    /// As they were sent.
    pub raw_bytes: u64,
    /// Their share of everything.
    pub stored_bytes: u64,
}

/// What the documents with a template take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TemplateUsage {
    /// How many documents.
    pub documents: u64,
    /// As they were sent.
    pub raw_bytes: u64,
    /// Their share of frames and filters: all their values, not those of the message alone.
    pub value_bytes: u64,
}

impl FieldUsage {
    /// All that can be given to the field.
    pub fn stored_bytes(&self) -> u64 {
        self.frame_bytes + self.filter_bytes + self.column_bytes
    }

    fn add(&mut self, other: &FieldUsage) {
        self.values += other.values;
        self.plain_bytes += other.plain_bytes;
        self.frame_bytes += other.frame_bytes;
        self.filter_bytes += other.filter_bytes;
        self.column_bytes += other.column_bytes;
        self.distinct_texts = self.distinct_texts.max(other.distinct_texts);
        self.is_too_distinct |= other.is_too_distinct;
    }
}

impl Usage {
    /// The names of the parts: values, their filters, which group each document is of, what the groups are, documents
    /// without their values, templates and constants, where all that is; the columns; times and positions; ids; tantivy's
    /// store, which has an empty row for each document; the rest.
    pub const PARTS: [&str; 12] = [
        "frames",
        "filters",
        "maps",
        "directories",
        "shapes",
        "texts",
        "block_index",
        "columns",
        "times_and_positions",
        "ids",
        "store",
        "other",
    ];

    /// Adds what fills other segments.
    pub fn add(&mut self, other: Usage) {
        self.documents += other.documents;
        self.raw_bytes += other.raw_bytes;
        self.stored_bytes += other.stored_bytes;
        self.has_forgotten |= other.has_forgotten;
        for (name, bytes) in other.parts {
            *self.parts.entry(name).or_default() += bytes;
        }
        for (path, field) in other.fields {
            self.fields.entry(path).or_default().add(&field);
        }
        for (name, service) in other.services {
            self.services.entry(name).or_default().add(&service);
        }
        for (key, template) in other.templates {
            self.templates.entry(key).or_default().add(&template);
        }
        self.forget_smallest();
    }

    fn forget_smallest(&mut self) {
        let is_forgetting =
            self.services.len() > SERVICES_MAX || self.templates.len() > TEMPLATES_MAX;
        self.has_forgotten |= is_forgetting;
        if self.services.len() > SERVICES_MAX {
            keep_largest(&mut self.services, SERVICES_MAX / 2, |one| one.documents);
        }
        if self.templates.len() > TEMPLATES_MAX {
            keep_largest(&mut self.templates, TEMPLATES_MAX / 2, |one| {
                one.value_bytes
            });
        }
    }
}

/// Keeps the largest; of equal ones those whose key is first.
fn keep_largest<K: Ord, V>(map: &mut BTreeMap<K, V>, count: usize, size: impl Fn(&V) -> u64) {
    let mut entries: Vec<(K, V)> = std::mem::take(map).into_iter().collect();
    entries.sort_by_key(|(_, value)| std::cmp::Reverse(size(value)));
    entries.truncate(count);
    map.extend(entries);
}

impl ServiceUsage {
    fn add(&mut self, other: &ServiceUsage) {
        self.documents += other.documents;
        self.raw_bytes += other.raw_bytes;
        self.stored_bytes += other.stored_bytes;
    }
}

impl TemplateUsage {
    fn add(&mut self, other: &TemplateUsage) {
        self.documents += other.documents;
        self.raw_bytes += other.raw_bytes;
        self.value_bytes += other.value_bytes;
    }
}

/// What fills a segment. Decompresses the frames of its blocks, once each.
///
/// # Errors
/// The segment cannot be read, or the interrupt says to stop.
pub(super) fn of_segment(
    shard: &str,
    segment: &Segment,
    interrupt: &dyn Interrupt,
) -> Result<Usage, ReadError> {
    let unreadable = |message: String| ReadError {
        shard: shard.to_owned(),
        message,
    };
    let damaged = |error: BlockError| unreadable(error.to_string());
    let mut usage = Usage {
        documents: u64::from(segment.document_count()),
        ..Usage::default()
    };
    usage.add_parts(segment);
    let blocks = segment.blocks();
    let shapes = blocks.shapes().map_err(damaged)?;
    let templates = SegmentTemplates::new(shard.to_owned(), segment)?;
    let service_of = |marks: &[Mark]| {
        SERVICE_FIELDS.iter().find_map(|field| {
            marks.iter().position(|mark| {
                let path = mark.path.map(|path| &shapes.paths()[path as usize]);
                mark.kind == MarkKind::Text && path.is_some_and(|path| path == field)
            })
        })
    };
    let mut by_owner: FxHashMap<SlotOwner, FieldUsage> = FxHashMap::default();
    let mut by_template: FxHashMap<TemplateId, TemplateUsage> = FxHashMap::default();
    for (number, place) in blocks.places().iter().enumerate() {
        if interrupt.is_interrupted() {
            return Err(unreadable("interrupted".to_owned()));
        }
        let groups = blocks.group_usages(number, &service_of).map_err(damaged)?;
        let template_ids = templates.block_of(place.first_document)?;
        for (group, template) in groups.iter().zip(template_ids.templates()) {
            usage.add_group(group, &mut by_owner);
            if let Some(template) = template {
                by_template
                    .entry(*template)
                    .or_default()
                    .add(&TemplateUsage {
                        documents: u64::from(group.rows),
                        raw_bytes: group.raw_bytes,
                        value_bytes: value_bytes(group),
                    });
            }
        }
    }
    for (owner, field) in by_owner {
        let name = match owner {
            SlotOwner::Id => "_id",
            SlotOwner::Whole => "_whole",
            SlotOwner::Path(path) => &shapes.paths()[path as usize],
        };
        usage.fields.entry(name.to_owned()).or_default().add(&field);
    }
    for (template, found) in by_template {
        let text = cut(&templates.text(template)?, TEMPLATE_CHARS_MAX);
        let key = (templates.field(template)?.to_owned(), text);
        usage.templates.entry(key).or_default().add(&found);
    }
    usage.add_columns(segment);
    usage.share_the_rest();
    usage.forget_smallest();
    Ok(usage)
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The bytes of all values of a group.
fn value_bytes(group: &GroupUsage) -> u64 {
    let slots = group.slots.iter();
    slots.map(|slot| slot.frame_bytes + slot.filter_bytes).sum()
}

impl Usage {
    fn add_parts(&mut self, segment: &Segment) {
        let bytes_of = |component: SegmentComponent| {
            let file = segment.reader.open_read(component);
            file.map_or(0, |file| file.num_bytes().get_bytes())
        };
        let blocks_bytes = bytes_of(SegmentComponent::Custom(BLOCKS.into()));
        let sections = segment.blocks().section_bytes(blocks_bytes);
        let ids = bytes_of(SegmentComponent::Terms) + bytes_of(SegmentComponent::Postings);
        let other = [
            SegmentComponent::FieldNorms,
            SegmentComponent::Positions,
            SegmentComponent::Delete,
        ];
        let bytes = [
            sections.frames,
            sections.filters,
            sections.maps,
            sections.directories,
            sections.shapes,
            sections.texts,
            sections.index,
            bytes_of(SegmentComponent::Custom(COLUMNS.into())),
            bytes_of(SegmentComponent::FastFields),
            ids,
            bytes_of(SegmentComponent::Store),
            other.into_iter().map(bytes_of).sum(),
        ];
        self.stored_bytes = bytes.iter().sum();
        self.parts = Usage::PARTS.into_iter().zip(bytes).collect();
    }

    fn add_group(&mut self, group: &GroupUsage, by_owner: &mut FxHashMap<SlotOwner, FieldUsage>) {
        self.raw_bytes += group.raw_bytes;
        for owner in &group.owners {
            by_owner.entry(*owner).or_default().values += u64::from(group.rows);
        }
        for slot in &group.slots {
            let field = by_owner.entry(slot.owner).or_default();
            field.plain_bytes += slot.plain_bytes;
            field.frame_bytes += slot.frame_bytes;
            field.filter_bytes += slot.filter_bytes;
        }
        // Documents of a group are taken for equally large.
        let mut services: Vec<(String, u64)> = group
            .services
            .iter()
            .map(|(spelled, rows)| {
                let name = text_of(spelled).unwrap_or_default();
                (cut(&name, SERVICE_CHARS_MAX), u64::from(*rows))
            })
            .collect();
        services.sort_unstable();
        let known: u64 = services.iter().map(|(_, rows)| rows).sum();
        services.push((String::new(), u64::from(group.rows).saturating_sub(known)));
        let rows: Vec<u64> = services.iter().map(|(_, rows)| *rows).collect();
        let raw = share_out(group.raw_bytes, &rows);
        let stored = share_out(value_bytes(group), &rows);
        for (((name, documents), raw_bytes), stored_bytes) in
            services.into_iter().zip(raw).zip(stored)
        {
            if documents > 0 {
                self.services.entry(name).or_default().add(&ServiceUsage {
                    documents,
                    raw_bytes,
                    stored_bytes,
                });
            }
        }
    }

    fn add_columns(&mut self, segment: &Segment) {
        for (path, summary) in segment.column_paths() {
            let field = self.fields.entry(path.to_owned()).or_default();
            field.column_bytes += summary.bytes();
            field.is_too_distinct |= summary.is_too_distinct;
            if summary.distinct_text_count > 0 {
                field.distinct_texts = field.distinct_texts.max(Some(summary.distinct_text_count));
            }
        }
    }

    /// What is no value is shared among services by their documents.
    fn share_the_rest(&mut self) {
        let given: u64 = self.services.values().map(|one| one.stored_bytes).sum();
        let rest = self.stored_bytes.saturating_sub(given);
        let documents: Vec<u64> = self.services.values().map(|one| one.documents).collect();
        for (service, share) in self.services.values_mut().zip(share_out(rest, &documents)) {
            service.stored_bytes += share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_are_forgotten() {
        let mut usage = Usage::default();
        for number in 0..SERVICES_MAX as u64 {
            let service = ServiceUsage {
                documents: number,
                ..ServiceUsage::default()
            };
            usage.services.insert(format!("{number}"), service);
        }
        usage.add(Usage::default());
        assert_eq!(
            (usage.services.len(), usage.has_forgotten),
            (SERVICES_MAX, false)
        );
        let one_more = Usage {
            services: BTreeMap::from([("more".to_owned(), ServiceUsage::default())]),
            ..Usage::default()
        };
        usage.add(one_more);
        assert!(usage.has_forgotten);
        assert_eq!(usage.services.len(), SERVICES_MAX / 2);
        let kept = usage.services.values().map(|one| one.documents);
        assert_eq!(kept.min(), Some(SERVICES_MAX as u64 / 2));
    }
}
