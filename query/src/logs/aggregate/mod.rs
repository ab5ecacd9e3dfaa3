//! Aggregations: buckets and metrics over the matching events, one file per variant.
