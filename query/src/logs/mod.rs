//! The log engine, the same for every dialect: filter, sort, fetch, aggregate over shards.

pub mod aggregate;
pub mod execute;
pub mod filter;
pub mod patterns;
pub mod plan;
pub mod usage;
