//! The times in each stretch of a segment: lets a search by time skip most of it, because logs arrive nearly in order.

use std::sync::{Arc, Mutex};

use event::Timestamp;
use rustc_hash::FxHashMap;
use tantivy::columnar::Column;
use tantivy::index::SegmentId;
use tantivy::{DateTime, DocId};

use crate::logs::filter::TimeRange;

/// Documents per zone: small enough that a page of hits touches a few, large enough that a million documents need
/// four kilobytes.
pub(super) const ZONE_DOCS: DocId = 4096;

/// Zones of this many segments are kept; more segments than that are not open on one machine.
const SEGMENTS_MAX: usize = 16 * 1024;

/// The earliest and latest time of every [`ZONE_DOCS`] documents of a segment.
#[derive(Debug)]
pub(super) struct Zones(Vec<TimeRange>);

impl Zones {
    fn of(times: &Column<DateTime>, max_doc: DocId) -> Zones {
        let mut zones = Vec::with_capacity((max_doc / ZONE_DOCS + 1) as usize);
        let mut buffer = vec![DateTime::MIN; ZONE_DOCS as usize];
        let mut start = 0;
        while start < max_doc {
            let count = (max_doc - start).min(ZONE_DOCS) as usize;
            let values = &mut buffer[..count];
            times.values.get_range(u64::from(start), values);
            let (mut first, mut last) = (i64::MAX, i64::MIN);
            for value in values {
                let nanos = value.into_timestamp_nanos();
                first = first.min(nanos);
                last = last.max(nanos);
            }
            zones.push(TimeRange {
                first: Timestamp::from_nanos(first),
                last: Timestamp::from_nanos(last),
            });
            start += ZONE_DOCS;
        }
        Zones(zones)
    }

    /// The times in the zone that `doc` is in.
    pub fn around(&self, doc: DocId) -> TimeRange {
        self.0
            .get((doc / ZONE_DOCS) as usize)
            .copied()
            .unwrap_or(TimeRange::EMPTY)
    }
}

/// The zones of segments that were searched before.
#[derive(Debug, Default)]
pub(super) struct ZoneCache(Mutex<FxHashMap<SegmentId, Arc<Zones>>>);

impl ZoneCache {
    /// The zones of a segment; the first time reads its whole time column, some milliseconds per million documents.
    pub fn zones(&self, id: SegmentId, times: &Column<DateTime>, max_doc: DocId) -> Arc<Zones> {
        let known = self.lock().get(&id).cloned();
        if let Some(zones) = known {
            return zones;
        }
        let zones = Arc::new(Zones::of(times, max_doc));
        let mut cache = self.lock();
        // Merged segments leave theirs behind: rather than follow merges, begin anew now and then.
        if cache.len() >= SEGMENTS_MAX {
            cache.clear();
        }
        cache.insert(id, Arc::clone(&zones));
        zones
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FxHashMap<SegmentId, Arc<Zones>>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
