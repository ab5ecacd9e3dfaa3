//! Where events enter, one file per protocol.

pub mod checkpoint;
pub mod elastic_bulk;
pub mod file;
pub mod otlp;
