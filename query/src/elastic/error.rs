//! Errors as Elasticsearch words them.
