//! A log index told by looking at every document, and what it is asked.

pub mod columns;
pub mod corpora;
pub mod document;
pub mod odd;
pub mod pattern;
pub mod questions;
pub mod random;
pub mod reference;
pub mod templates;
pub mod words;
