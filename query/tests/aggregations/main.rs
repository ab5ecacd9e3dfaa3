//! Aggregations from request to reply, over real shards: requests as clients send them, replies as they read them.

#![allow(clippy::unwrap_used)]

mod against_naive;
mod grafana;
mod kinds;
mod pipelines;
mod store;
