//! Where events enter, one file per protocol.

pub mod elastic_bulk;
pub mod file;
pub mod otlp;
