//! The order of buckets.

use super::pipeline::Path;

/// One criterion; later ones decide between buckets that are equal by the earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// What is compared.
    pub by: OrderBy,
    /// Largest first.
    pub descending: bool,
}

/// What buckets are compared by.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderBy {
    /// Their number of events.
    Count,
    /// Their key.
    Key,
    /// A metric inside them; buckets without a value come last.
    Metric(Path),
}
