//! The edge between those who are asked to make events visible and the index that can.

use std::future::Future;
use std::pin::Pin;

/// Makes accepted events findable on request. Held as `Arc<dyn Refresh>`.
pub trait Refresh: Send + Sync {
    /// Answers once everything accepted before the call is found by queries.
    ///
    /// Elasticsearch's `refresh=true` and `refresh=wait_for` wait for it. Without the call events become
    /// visible within a second by themselves.
    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
