//! Messages of Apache Kafka's topics, read as a member of a consumer group through librdkafka.
//!
//! A thread of its own reads and makes batches ([`consumer`]); a task hands them to the journal one after the other. How
//! far they reach travels inside each batch ([`place`], see [`super::checkpoint`]), and is committed to the group
//! afterwards; the [`board`] is where both sides write down how far they are.

#[cfg(feature = "kafka")]
pub mod board;
#[cfg(feature = "kafka")]
mod consumer;
pub mod message;
pub mod place;
mod settings;
#[cfg(feature = "kafka")]
#[cfg(test)]
mod tests;

pub use settings::{Options, Settings};

#[cfg(feature = "kafka")]
pub use running::KafkaSource;

#[cfg(feature = "kafka")]
mod running {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};
    use tokio_util::sync::CancellationToken;

    use super::board::{Board, KafkaCounts};
    use super::consumer::Follower;
    use super::message::Maker;
    use super::place::{self, Places};
    use super::settings::Settings;
    use crate::source::SourceParts;
    use crate::source::delivery::{CountedBatch, Delivery};
    use crate::source::gathered::no_steps;

    /// How long the stop waits for the group to be left: brokers that hang are waited for a minute otherwise, in which
    /// nothing else can stop.
    const LEAVE_WITHIN: Duration = Duration::from_secs(3);

    /// A batch on its way to the journal.
    pub struct Flight {
        /// The events and their books.
        pub counted: CountedBatch,
        /// Refused messages by reason; they are not among those `counted` has received.
        pub rejected: BTreeMap<&'static str, u64>,
        /// The bytes of those.
        pub rejected_bytes: u64,
        /// How far it reaches.
        pub places: Places,
        /// As [`Board::departs`] said.
        pub era: u64,
    }

    /// Reads the topics of one entry under `sources:`.
    pub struct KafkaSource {
        settings: Settings,
        maker: Maker,
        parts: SourceParts,
        board: Arc<Board>,
    }

    impl KafkaSource {
        /// Joins a source; nothing is read before [`KafkaSource::run`].
        ///
        /// # Errors
        /// As [`Settings::check`].
        pub fn new(
            settings: &Settings,
            event_bytes_max: usize,
            parts: SourceParts,
        ) -> Result<KafkaSource, String> {
            settings
                .check()
                .map_err(|(setting, problem)| format!("{setting}: {problem}"))?;
            let pipeline = parts.pipeline.clone();
            Ok(KafkaSource {
                settings: settings.clone(),
                maker: Maker {
                    index: settings.index_name()?,
                    pipeline: pipeline.unwrap_or_else(|| no_steps(&parts.name)),
                    event_bytes_max,
                },
                board: Arc::new(Board::new(place::recovered(&parts.recovered))),
                parts,
            })
        }

        /// What it sees besides events, for the metrics.
        pub fn counts(&self) -> Arc<KafkaCounts> {
            self.board.counts()
        }

        /// How far it is behind, for the metrics.
        pub fn board(&self) -> Arc<Board> {
            Arc::clone(&self.board)
        }

        /// Reads until `shutdown`; what was not answered by then is read again next time.
        pub async fn run(self, shutdown: CancellationToken) {
            let delivery = Delivery::new(&self.parts, shutdown.clone());
            let ledger = Arc::clone(&self.parts.ledger);
            let name = Arc::clone(&self.parts.name);
            let stopped = shutdown.clone();
            // One that waits while another is made durable; a third is being gathered.
            let (flights, mut arriving) = mpsc::channel::<Flight>(1);
            let follower = Follower {
                settings: self.settings,
                maker: self.maker,
                name: Arc::clone(&name),
                now: self.parts.now,
                board: Arc::clone(&self.board),
                flights,
                shutdown,
            };
            let (ended, end) = oneshot::channel::<()>();
            // A thread, because librdkafka calls back from within its poll, and waits there.
            let thread = std::thread::Builder::new().name(format!("kafka-{name}"));
            let started = thread.spawn(move || {
                follower.run();
                ended.send(()).ok();
            });
            if let Err(error) = started {
                tracing::error!(source = %name, %error, "the source is not started: no thread can be had");
                return;
            }
            let delivering = async {
                while let Some(flight) = arriving.recv().await {
                    let rejected: u64 = flight.rejected.values().sum();
                    ledger.received(rejected, flight.rejected_bytes);
                    for (reason, count) in flight.rejected {
                        ledger.rejected(reason, count);
                    }
                    let is_sent = delivery.send(flight.counted).await;
                    self.board.landed(flight.places, flight.era, is_sent);
                    if !is_sent {
                        break;
                    }
                }
                if end.await.is_err() {
                    tracing::error!(source = %name, "nothing is read any more, by a mistake of ours; restart Daybook");
                }
            };
            let late = async {
                stopped.cancelled().await;
                tokio::time::sleep(LEAVE_WITHIN).await;
            };
            tokio::select! {
                () = delivering => {}
                () = late => tracing::warn!(source = %name, "the group was not left in time; its brokers find out as after a kill"),
            }
        }
    }
}
