//! Bytes in, batches out: sources take events from their senders, pipelines change them, and the journal makes
//! them durable before any sender hears an OK.

pub mod body;
pub mod pipeline;
pub mod source;
pub mod transform;
