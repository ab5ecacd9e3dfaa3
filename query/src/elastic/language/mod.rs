//! The language of requests: query DSL, query_string, dates.
