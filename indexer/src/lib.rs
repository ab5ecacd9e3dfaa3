//! Batches in, searchable files out: the only writer of log files.

pub mod logs;
