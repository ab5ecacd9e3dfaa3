//! The durable state of a shard that nobody works on, opened without changing anything.

use std::path::Path;
use std::sync::Arc;

use tantivy::{Index, IndexBuilder, ReloadPolicy};

use super::blocks::BlockCache;
use super::directory::ShardDirectory;
use super::event_id::EventIds;
use super::plugin::EventsPlugin;
use super::reader::{ShardContents, ShardId, ShardReader};
use super::schema::{self, Fields};
use super::segment::{Segment, SegmentContents};
use super::shard::{check_format, is_older};
use crate::{Error, filenames};

/// Enough for the directories of a block or two: whoever looks at a shard goes through it once.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// A view of the shard in a folder; `None` when it was begun and nothing of it is durable. Its own ids are not those of
/// the data directory.
///
/// # Errors
/// Its format is not ours, or its files are damaged or cannot be read.
pub fn view(folder: &Path, id: &ShardId) -> Result<Option<ShardReader>, Error> {
    if let Ok(format) = std::fs::read_to_string(folder.join(filenames::SHARD_FORMAT)) {
        check_format(folder, &format)?;
    }
    if is_older(folder) {
        return Err(Error::Unconverted { shard: id.name() });
    }
    open(folder, id).map_err(|error| Error::io(folder)(std::io::Error::other(error)))
}

fn open(folder: &Path, id: &ShardId) -> tantivy::Result<Option<ShardReader>> {
    let directory = ShardDirectory::open_untouched(folder)?;
    if !Index::exists(&directory)? {
        return Ok(None);
    }
    let cache = BlockCache::new(CACHE_BYTES);
    let index = IndexBuilder::new()
        .schema(schema::schema())
        .settings(schema::index_settings())
        .register_plugin(Arc::new(EventsPlugin::new(cache.clone(), Arc::default())))
        .open_or_create(directory)?;
    let fields = Fields::of(&index.schema())
        .ok_or_else(|| tantivy::TantivyError::SchemaError("not a shard of ours".into()))?;
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .doc_store_cache_num_blocks(0)
        .try_into()?;
    let searcher = reader.searcher();
    let mut segments = Vec::with_capacity(searcher.segment_readers().len());
    for reader in searcher.segment_readers() {
        let contents = Arc::new(SegmentContents::read(reader, &cache)?);
        segments.push(Segment::new(reader.clone(), contents, fields));
    }
    Ok(Some(ShardReader::new(ShardContents {
        id: id.clone(),
        searcher,
        segments,
        ids: EventIds::new(0),
    })))
}
