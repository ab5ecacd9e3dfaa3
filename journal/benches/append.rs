//! How fast batches become durable and are read back, on the disk of the temporary directory (`TMPDIR`).

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use event::Position;
use journal::{Journal, Kind, Local, Payload, Settings};

const SIZES: [(usize, &str); 2] = [(64 << 10, "64KiB"), (1 << 20, "1MiB")];

fn append(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime starts");
    let mut group = criterion.benchmark_group("append");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    for (byte_len, name) in SIZES {
        for appenders in [1usize, 16] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let local = Local::open(Settings::new(dir.path()), Position::ZERO)
                .expect("a new journal opens");
            let local = std::sync::Arc::new(local);
            let payload = Bytes::from(vec![b'x'; byte_len]);
            group.throughput(Throughput::Bytes((byte_len * appenders) as u64));
            group.bench_function(BenchmarkId::new(name, appenders), |bencher| {
                bencher.iter_custom(|rounds| {
                    let begin = Instant::now();
                    runtime.block_on(append_rounds(&local, &payload, appenders, rounds));
                    local.release(local.end());
                    begin.elapsed()
                });
            });
        }
    }
    group.finish();
}

/// Each appender waits for its answer before it appends again, as a source does.
async fn append_rounds(
    local: &std::sync::Arc<Local>,
    payload: &Bytes,
    appenders: usize,
    rounds: u64,
) {
    let tasks: Vec<_> = (0..appenders)
        .map(|_| {
            let (local, payload) = (local.clone(), payload.clone());
            tokio::spawn(async move {
                for _ in 0..rounds {
                    let payload = Payload::from(payload.clone());
                    let appended = local.append(Kind::Events, NonZeroU32::MIN, payload).await;
                    appended.expect("the disk has room");
                    local.release(local.end());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("an appender ends");
    }
}

fn read(criterion: &mut Criterion) {
    const RECORDS: u64 = 256;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime starts");
    let mut group = criterion.benchmark_group("read");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    for (byte_len, name) in SIZES {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let local =
            Local::open(Settings::new(dir.path()), Position::ZERO).expect("a new journal opens");
        let payload = Bytes::from(vec![b'x'; byte_len]);
        for _ in 0..RECORDS {
            let appended = local.append(
                Kind::Events,
                NonZeroU32::MIN,
                Payload::from(payload.clone()),
            );
            runtime.block_on(appended).expect("the disk has room");
        }
        group.throughput(Throughput::Bytes(RECORDS * byte_len as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut reader = local.reader(Position::ZERO).expect("the journal is open");
                while let Some(record) = reader.next(Duration::ZERO).expect("segments can be read")
                {
                    std::hint::black_box(record);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
