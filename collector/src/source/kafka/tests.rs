//! The source against the cluster that librdkafka pretends to be. What a real broker does: `tests/real/kafka.sh`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use event::{AppendError, Document, Ledger, RetryAfter};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::board::KafkaCounts;
use super::place::{self, Places};
use super::{KafkaSource, Settings};
use crate::source::SourceParts;
use crate::source::checkpoint::{self, Entries};
use crate::source::fake::FakeJournal;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 3, 1).unwrap();
    cluster
}

fn produce(cluster: &Cluster, topic: &str, numbers: std::ops::Range<u32>) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = config.create().unwrap();
    for number in numbers {
        let (key, payload) = (number.to_string(), format!("{{\"n\":{number}}}"));
        let record = BaseRecord::to(topic).key(&key).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// A source at work.
struct Running {
    counts: Arc<KafkaCounts>,
    ledger: Ledger,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Topics that begin with `ord`; `more` are other settings.
    fn start(
        cluster: &Cluster,
        journal: &Arc<FakeJournal>,
        recovered: Entries,
        more: serde_json::Value,
    ) -> Running {
        let mut settings = serde_json::json!({
            "brokers": cluster.bootstrap_servers().split(',').collect::<Vec<_>>(),
            "topics": ["^ord.*"],
        });
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let ledger = Ledger::new();
        let parts = SourceParts {
            recovered,
            ..journal.parts("queue", &ledger)
        };
        let shutdown = CancellationToken::new();
        let source = KafkaSource::new(&settings, 1 << 20, parts).unwrap();
        Running {
            counts: source.counts(),
            ledger,
            shutdown: shutdown.clone(),
            task: tokio::spawn(source.run(shutdown)),
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How often each number of a topic is stored.
fn found(journal: &FakeJournal, topic: &str) -> BTreeMap<u32, usize> {
    let mut found = BTreeMap::new();
    for event in journal.events() {
        let document = Document::parse(&event.source).unwrap();
        if document.get_str("kafka.topic").unwrap() == topic {
            let number = document.get("n").unwrap().parse().unwrap();
            *found.entry(number).or_default() += 1;
        }
    }
    found
}

fn assert_once(found: &BTreeMap<u32, usize>, numbers: std::ops::Range<u32>) {
    assert!(found.keys().copied().eq(numbers), "{found:?}");
    assert!(found.values().all(|times| *times == 1), "{found:?}");
}

#[tokio::test]
async fn each_message_is_stored_once_over_a_full_journal_and_a_restart() {
    let cluster = cluster();
    produce(&cluster, "orders", 0..100);
    let journal = Arc::new(FakeJournal::default());
    *journal.refuse_with.lock().unwrap() = Some(AppendError::Full {
        message: "for a moment".to_owned(),
        retry_after: RetryAfter::ONE_SECOND,
    });
    let source = Running::start(&cluster, &journal, Entries::new(), serde_json::json!({}));
    let received = || source.ledger.totals().iter().any(|book| book.received > 0);
    until("a batch that is refused", received).await;
    *journal.refuse_with.lock().unwrap() = None;
    until("all of them", || journal.events().len() >= 100).await;
    source.stop().await;

    let mut recovered = Entries::new();
    for batch in journal.batches.lock().unwrap().iter() {
        let place = batch.checkpoint.as_ref().unwrap();
        assert!(checkpoint::apply(place, &mut recovered));
    }
    assert_eq!(recovered.len(), 3);
    produce(&cluster, "orders", 100..150);
    let source = Running::start(&cluster, &journal, recovered, serde_json::json!({}));
    until("the new ones", || journal.events().len() >= 150).await;
    source.stop().await;
    assert_once(&found(&journal, "orders"), 0..150);
}

/// What the group has committed for partition 0 of a topic.
fn committed(cluster: &Cluster, topic: &str) -> Offset {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let consumer: BaseConsumer = config.set("group.id", "daybook").create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let offsets = consumer.committed_offsets(asked, Duration::from_secs(20));
    offsets.unwrap().elements()[0].offset()
}

#[tokio::test]
async fn what_a_kill_left_uncommitted_is_committed_though_nothing_new_comes() {
    let cluster = cluster();
    cluster.create_topic("ordinary", 1, 1).unwrap();
    produce(&cluster, "ordinary", 0..20);
    let journal = Arc::new(FakeJournal::default());
    let source = Running::start(&cluster, &journal, Entries::new(), serde_json::json!({}));
    until("the first ones", || journal.events().len() >= 20).await;
    source.stop().await;
    assert_eq!(committed(&cluster, "ordinary"), Offset::Offset(20));

    // As if ten more had become durable before a kill.
    produce(&cluster, "ordinary", 20..30);
    let durable = Places::from([(("ordinary".into(), 0), 30)]);
    let mut recovered = Entries::new();
    assert!(checkpoint::apply(
        &place::checkpoint_of(&durable),
        &mut recovered
    ));
    let source = Running::start(&cluster, &journal, recovered, serde_json::json!({}));
    let is_committed = || committed(&cluster, "ordinary") == Offset::Offset(30);
    until("the commit", is_committed).await;
    source.stop().await;
    assert_once(&found(&journal, "ordinary"), 0..20);
}

/// Reading from a place that may not be the right one could store messages twice, or begin where nobody asked for.
async fn check_start_again_after_failed(request: RDKafkaApiKey) {
    let cluster = cluster();
    produce(&cluster, "orders", 0..20);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(request, &[error]);
    let journal = Arc::new(FakeJournal::default());
    let source = Running::start(&cluster, &journal, Entries::new(), serde_json::json!({}));
    until("all of them", || journal.events().len() >= 20).await;
    let restarts = source.counts.restarts.load(Ordering::Relaxed);
    source.stop().await;
    assert_eq!(restarts, 1);
    assert_once(&found(&journal, "orders"), 0..20);
}

#[tokio::test]
async fn nothing_is_read_while_the_groups_offsets_are_not_known() {
    check_start_again_after_failed(RDKafkaApiKey::OffsetFetch).await;
}

#[tokio::test]
async fn nothing_is_read_before_the_groups_start_is_committed() {
    check_start_again_after_failed(RDKafkaApiKey::OffsetCommit).await;
}

#[tokio::test]
async fn a_topic_that_appears_later_is_read_whole_also_by_a_group_that_began_at_the_end() {
    let cluster = cluster();
    produce(&cluster, "orders", 0..20);
    let journal = Arc::new(FakeJournal::default());
    let more = serde_json::json!({
        "start_at": "end",
        "options": { "topic.metadata.refresh.interval.ms": 1000 },
    });
    let source = Running::start(&cluster, &journal, Entries::new(), more);
    let is_reading = || source.counts.partitions.load(Ordering::Relaxed) == 3;
    until("its partitions", is_reading).await;
    cluster.create_topic("ordinary", 1, 1).unwrap();
    produce(&cluster, "ordinary", 0..5);
    until("the later topic", || journal.events().len() >= 5).await;
    source.stop().await;
    assert_once(&found(&journal, "ordinary"), 0..5);
    assert!(found(&journal, "orders").is_empty());
}

#[tokio::test]
async fn brokers_that_hang_do_not_hold_up_the_stop() {
    let cluster = cluster();
    produce(&cluster, "orders", 0..20);
    let journal = Arc::new(FakeJournal::default());
    let source = Running::start(&cluster, &journal, Entries::new(), serde_json::json!({}));
    until("all of them", || journal.events().len() >= 20).await;
    let half_a_minute = Duration::from_secs(30);
    cluster.broker_round_trip_time(1, half_a_minute).unwrap();
    let began = Instant::now();
    source.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
}
