//! What changes events on their way, one file per step.

pub mod grok;
pub mod json;
pub mod multiline;
