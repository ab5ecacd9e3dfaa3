//! Offline look at one shard, for `daybook inspect`. Reads only.

use std::path::Path;

use crate::logs::{ShardId, Usage, untouched};
use crate::{Error, filenames, folder_bytes};

/// What is in a shard, and what fills it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// How many segments its durable state has.
    pub segments: usize,
    /// How many of its documents are deleted, and still there.
    pub deleted: u64,
    /// All files in its folder, in bytes.
    pub folder_bytes: u64,
    /// What fills its segments.
    pub usage: Usage,
}

/// The shards of a data directory, ordered by index and day.
///
/// # Errors
/// It cannot be read.
pub fn shard_ids(data_dir: &Path) -> Result<Vec<ShardId>, Error> {
    filenames::list_shards(data_dir).map_err(Error::io(data_dir))
}

/// Looks at the durable state of a shard. No server may run on the directory. Decompresses nearly all of it.
///
/// # Errors
/// Its format is not ours, or its files are damaged or cannot be read.
pub fn inspect(data_dir: &Path, id: &ShardId) -> Result<Inspection, Error> {
    let folder = filenames::shard_folder(data_dir, id);
    let mut inspection = Inspection {
        segments: 0,
        deleted: 0,
        folder_bytes: folder_bytes(&folder),
        usage: Usage::default(),
    };
    let Some(shard) = untouched::view(&folder, id)? else {
        return Ok(inspection);
    };
    let readers = shard.searcher().segment_readers();
    inspection.segments = readers.len();
    for (number, reader) in readers.iter().enumerate() {
        inspection.deleted += u64::from(reader.num_deleted_docs());
        let usage = shard.usage(number);
        let usage = usage.map_err(|error| Error::io(&folder)(std::io::Error::other(error)))?;
        inspection.usage.add(usage);
    }
    Ok(inspection)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};

    use super::*;
    use crate::logs::{FieldUsage, ServiceUsage, TemplateUsage, VARIABLE};
    use crate::{Catalog, Indexer, Settings};

    /// A directory with these documents in one segment of a shard of the index `logs`.
    fn data_dir(documents: &[String]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            writer_threads: 1,
            ..Settings::new(dir.path())
        };
        let catalog = Arc::new(Catalog::open(dir.path()).unwrap());
        let ledger = Arc::new(Ledger::new());
        let mut indexer = Indexer::open(settings, catalog, ledger, Position::ZERO).unwrap();
        let events = documents.iter().map(|document| {
            let source = Bytes::copy_from_slice(document.as_bytes());
            Event::create(
                IndexName::parse("logs").unwrap(),
                Timestamp::from_nanos(0),
                source,
            )
        });
        let batch = Batch::new("test".into(), Timestamp::from_nanos(0), events.collect());
        indexer.apply(Position::ZERO, &batch).unwrap();
        indexer.close().unwrap();
        dir
    }

    fn documents() -> Vec<String> {
        let mut documents = Vec::new();
        for number in 0..300 {
            let service = ["shop", "mail", "shop"][number % 3];
            documents.push(format!(
                r#"{{"service":{{"name":"{service}"}},"n":{number},"message":"order {number} of {service} is paid"}}"#
            ));
        }
        documents.push(r#"{"message":"nothing of a service"}"#.to_owned());
        documents.push(r#"{"service":"old \"one\"","tags":["a","b"]}"#.to_owned());
        documents
    }

    #[test]
    fn everything_that_fills_a_shard_is_told() {
        let documents = documents();
        let dir = data_dir(&documents);
        let id = shard_ids(dir.path()).unwrap().remove(0);
        assert_eq!(id.name(), "logs-1970.01.01");
        let found = inspect(dir.path(), &id).unwrap();
        assert_eq!((found.segments, found.deleted), (1, 0));
        let usage = found.usage;
        let raw: usize = documents.iter().map(String::len).sum();
        assert_eq!((usage.documents, usage.raw_bytes), (302, raw as u64));
        assert_eq!(usage.parts.values().sum::<u64>(), usage.stored_bytes);
        assert!(usage.stored_bytes < found.folder_bytes);
        assert!(usage.parts.keys().all(|name| Usage::PARTS.contains(name)));

        // Every frame and every filter is given to some field, and all columns are.
        let sum = |bytes: fn(&FieldUsage) -> u64| usage.fields.values().map(bytes).sum::<u64>();
        assert_eq!(sum(|field| field.frame_bytes), usage.parts["frames"]);
        assert_eq!(sum(|field| field.filter_bytes), usage.parts["filters"]);
        assert!(sum(|field| field.column_bytes) < usage.parts["columns"]);
        let field = |name: &str| usage.fields[name];
        assert_eq!(field("n").values, 300);
        // 10 + 90 * 2 + 200 * 3 digits, each number with its end.
        assert_eq!(field("n").plain_bytes, 790 + 300);
        assert_eq!(field("message").values, 301);
        assert_eq!(field("tags").values, 2);
        assert_eq!(field("service.name").distinct_texts, Some(2));
        assert_eq!(field("message").distinct_texts, None);

        let services: Vec<(&str, u64)> = usage
            .services
            .iter()
            .map(|(name, service)| (&**name, service.documents))
            .collect();
        assert_eq!(
            services,
            [("", 1), ("mail", 100), ("old \"one\"", 1), ("shop", 200)]
        );
        let sum = |bytes: fn(&ServiceUsage) -> u64| usage.services.values().map(bytes).sum::<u64>();
        assert_eq!(sum(|service| service.raw_bytes), usage.raw_bytes);
        assert_eq!(sum(|service| service.stored_bytes), usage.stored_bytes);

        let template = |text: &str| {
            let text = text.replace('*', &VARIABLE.to_string());
            usage.templates[&("message".to_owned(), text)]
        };
        assert_eq!(usage.templates.len(), 3);
        assert_eq!(template("order * of shop is paid").documents, 200);
        assert_eq!(template("order * of mail is paid").documents, 100);
        let nothing = TemplateUsage {
            documents: 1,
            raw_bytes: documents[300].len() as u64,
            value_bytes: 0,
        };
        assert_eq!(template("nothing of a service"), nothing);
    }

    #[test]
    fn nothing_is_changed_and_an_empty_folder_has_nothing() {
        let dir = data_dir(&documents());
        let id = shard_ids(dir.path()).unwrap().remove(0);
        let folder = filenames::shard_folder(dir.path(), &id);
        let names = || {
            let entries = std::fs::read_dir(&folder).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        inspect(dir.path(), &id).unwrap();
        assert_eq!(names(), before);
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let found = inspect(dir.path(), &id).unwrap();
        assert_eq!((found.usage, found.segments), (Usage::default(), 0));
        assert!(names().is_empty());
    }
}
