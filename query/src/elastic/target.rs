//! Which shards an index expression names.
