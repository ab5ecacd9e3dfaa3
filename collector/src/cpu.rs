//! Work on request-sized input, kept off the threads that do I/O.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Input up to this size is worked on in place: some hundred microseconds at most, about what the hand-over costs
/// in latency under load.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// Permits to keep a processor busy, as many as there are processors: more threads would only add memory.
///
/// One for the whole process; cheap to clone.
#[derive(Debug, Clone)]
pub struct CpuPermits(Arc<Semaphore>);

impl CpuPermits {
    /// As many permits as the machine has processors.
    pub fn for_this_machine() -> CpuPermits {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        CpuPermits::new(processors)
    }

    /// So many permits, at least one.
    pub fn new(permits: usize) -> CpuPermits {
        CpuPermits(Arc::new(Semaphore::new(permits.max(1))))
    }

    /// Runs `job` over `input_bytes` of input: in place when that is little, else on a thread for blocking work.
    pub async fn run<T: Send + 'static>(
        &self,
        input_bytes: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if input_bytes <= INLINE_BYTES_MAX {
            return job();
        }
        self.run_elsewhere(job).await
    }

    /// Runs `job` on a thread for blocking work, once a processor is free.
    ///
    /// A panic of the job goes on in the caller.
    pub async fn run_elsewhere<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let permit = Arc::clone(&self.0)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let joined = tokio::task::spawn_blocking(move || {
            let outcome = job();
            drop(permit);
            outcome
        });
        match joined.await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_work_stays_and_large_work_moves() {
        let permits = CpuPermits::new(1);
        let here = std::thread::current().id();
        let small = permits.run(1, || std::thread::current().id()).await;
        assert_eq!(small, here);
        for _ in 0..3 {
            let large = permits
                .run(INLINE_BYTES_MAX + 1, || std::thread::current().id())
                .await;
            assert_ne!(large, here);
        }
    }
}
