//! The language of requests: query DSL, query_string, dates. Turns text and JSON into filters.

pub mod date_format;
pub mod date_math;
