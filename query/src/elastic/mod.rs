//! The Elasticsearch dialect: its language (`language/`), its resources (one file each) and its envelope.

pub mod aggregations;
pub mod cluster;
pub mod document;
pub mod envelope;
pub mod error;
pub mod indices;
pub mod language;
pub mod mapping;
pub mod params;
pub mod search;
pub mod target;
pub mod version;
