//! Bytes in, batches out: sources take events from their senders, pipelines change them, and the journal makes
//! them durable before any sender hears an OK.

pub mod body;
pub mod cpu;
pub mod level;
pub mod pipeline;
pub mod secret;
pub mod source;
pub mod text;
pub mod transform;
