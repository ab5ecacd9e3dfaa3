//! Elasticsearch `_bulk` and single-document writes.
