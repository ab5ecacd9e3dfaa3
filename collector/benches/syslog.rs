//! How fast the bytes of syslog streams become events: framing, reading and writing, on one thread, without sockets.
//!
//! 1000 messages of about 200 bytes, in pieces of 32 KiB as connections read them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use collector::source::syslog::document::{Stamp, Writer};
use collector::source::syslog::framing::Deframer;
use collector::source::syslog::priority;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{IndexName, Timestamp};
use jiff::tz::TimeZone;

const MESSAGES: usize = 1000;
const PIECE_BYTES: usize = 32 << 10;

fn rfc5424(n: usize) -> String {
    format!(
        "<{}>1 2026-11-23T10:00:{:02}.{:06}Z web-{} shop {} ID{} [meta@32473 sequence=\"{n}\" user=\"u{}\"] GET /shop/item/{n}?ref=list took {} ms, status 200, cache hit",
        n % 192,
        n / 100 % 60,
        n * 7919 % 1_000_000,
        n % 4,
        1000 + n % 50,
        n % 20,
        n % 300,
        n * 31 % 900,
    )
}

fn rfc3164(n: usize) -> String {
    format!(
        "<{}>Nov 23 10:00:{:02} web-{} shop[{}]: GET /shop/item/{n}?ref=list&session=0123456789abcdef0123456789abcdef took {} ms, status 200, cache hit, user u{}",
        n % 192,
        n / 100 % 60,
        n % 4,
        1000 + n % 50,
        n * 31 % 900,
        n % 300,
    )
}

fn read(stamp: &Arc<Stamp>, stream: &[u8]) -> usize {
    let mut deframer = Deframer::new(1 << 20);
    let mut writer = Writer::new(Arc::clone(stamp));
    writer.from([192, 0, 2, 1].into());
    writer.arrived(Timestamp::from_nanos(1_795_428_000_000_000_000));
    let (mut buffer, mut events) = (Vec::new(), 0);
    for piece in stream.chunks(PIECE_BYTES) {
        buffer.extend_from_slice(piece);
        let mut used = 0;
        loop {
            let rest = &buffer[used..];
            let step = deframer.step(rest);
            if let Some(frame) = step.frame {
                writer.push(&rest[frame.range], frame.is_cut);
            }
            if step.used == 0 {
                break;
            }
            used += step.used;
        }
        buffer.drain(..used);
        events += black_box(writer.take()).events.len();
    }
    events
}

fn syslog(criterion: &mut Criterion) {
    let stamp = Arc::new(Stamp {
        index: IndexName::default_index(),
        zone: TimeZone::UTC,
        pipeline: None,
        host_name: None,
        priority_fields: priority::field_texts(),
    });
    let counted = |message: String| format!("{} {message}", message.len());
    let by_line = |message: String| format!("{message}\n");
    let streams: [(&str, String); 2] = [
        (
            "rfc5424_counted",
            (0..MESSAGES).map(|n| counted(rfc5424(n))).collect(),
        ),
        (
            "rfc3164_lines",
            (0..MESSAGES).map(|n| by_line(rfc3164(n))).collect(),
        ),
    ];
    let mut group = criterion.benchmark_group("syslog");
    group
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_millis(500))
        .throughput(Throughput::Elements(MESSAGES as u64));
    for (name, stream) in &streams {
        assert_eq!(read(&stamp, stream.as_bytes()), MESSAGES);
        group.bench_function(*name, |bencher| {
            bencher.iter(|| read(&stamp, stream.as_bytes()));
        });
    }
    group.finish();
}

criterion_group!(benches, syslog);
criterion_main!(benches);
