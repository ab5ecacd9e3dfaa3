//! Runs a plan over shards.
