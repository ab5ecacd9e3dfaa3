//! Cuts a text into fields by a grok pattern.
