//! The source against the cluster that librdkafka pretends to be. What a real broker does: `tests/real/kafka.sh`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event::{Append, AppendError, Document, Ledger, RetryAfter};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use tokio_util::sync::CancellationToken;

use super::{KafkaSource, Settings};
use crate::source::SourceParts;
use crate::source::checkpoint::{self, Entries};
use crate::source::fake::{FakeJournal, fixed_now};

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn produce(cluster: &Cluster, numbers: std::ops::Range<u32>) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = config.create().unwrap();
    for number in numbers {
        let (key, payload) = (number.to_string(), format!("{{\"n\":{number}}}"));
        let record = BaseRecord::to("orders").key(&key).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

async fn read_until(
    cluster: &Cluster,
    journal: &Arc<FakeJournal>,
    recovered: Entries,
    events: usize,
) {
    let settings: Settings = serde_json::from_value(serde_json::json!({
        "brokers": cluster.bootstrap_servers().split(',').collect::<Vec<_>>(),
        "topics": ["^ord.*"],
    }))
    .unwrap();
    let ledger = Ledger::new();
    let parts = SourceParts {
        name: Arc::from("queue"),
        pipeline: None,
        append: Arc::clone(journal) as Arc<dyn Append>,
        ledger: ledger.source("queue"),
        host_name: None,
        recovered,
        now: fixed_now,
    };
    let shutdown = CancellationToken::new();
    let source = KafkaSource::new(&settings, 1 << 20, parts).unwrap();
    let running = tokio::spawn(source.run(shutdown.clone()));
    while journal.events().len() < events {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if ledger.totals().iter().any(|totals| totals.received > 0) {
            *journal.refuse_with.lock().unwrap() = None;
        }
    }
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn each_message_is_stored_once_over_a_full_journal_and_a_restart() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 3, 1).unwrap();
    produce(&cluster, 0..100);
    let journal = Arc::new(FakeJournal::default());
    *journal.refuse_with.lock().unwrap() = Some(AppendError::Full {
        message: "for a moment".to_owned(),
        retry_after: RetryAfter::ONE_SECOND,
    });
    read_until(&cluster, &journal, Entries::new(), 100).await;

    let mut recovered = Entries::new();
    for batch in journal.batches.lock().unwrap().iter() {
        let place = batch.checkpoint.as_ref().unwrap();
        assert!(checkpoint::apply(place, &mut recovered));
    }
    assert_eq!(recovered.len(), 3);
    produce(&cluster, 100..150);
    read_until(&cluster, &journal, recovered, 150).await;

    let mut found: BTreeMap<u32, usize> = BTreeMap::new();
    for event in journal.events() {
        let document = Document::parse(&event.source).unwrap();
        assert_eq!(document.get_str("kafka.topic").unwrap(), "orders");
        let number = document.get("n").unwrap().parse().unwrap();
        *found.entry(number).or_default() += 1;
    }
    assert!(found.keys().copied().eq(0..150), "{found:?}");
    assert!(found.values().all(|times| *times == 1), "{found:?}");
}
