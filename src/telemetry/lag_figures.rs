//! How far sources are behind, by partition: asked for at the moment somebody looks, because partitions come and go.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

/// The most partitions one source shows; the furthest behind among them.
const SHOWN_MAX: usize = 1000;

/// How far one partition is behind.
pub struct PartitionLag {
    /// The topic.
    pub topic: String,
    /// The partition of the topic.
    pub partition: i32,
    /// Messages that are not durable here yet.
    pub messages: u64,
}

/// The figure `daybook_kafka_lag` of one source.
pub struct LagFigures<F> {
    source: String,
    descs: Vec<Desc>,
    read: F,
}

impl<F: Fn() -> Vec<PartitionLag> + Send + Sync> LagFigures<F> {
    /// Shows what `read` answers, which must not block.
    ///
    /// # Errors
    /// A name is no metric name.
    pub fn new(source: &str, read: F) -> prometheus::Result<LagFigures<F>> {
        Ok(LagFigures {
            source: source.to_owned(),
            descs: gauge(source)?.desc().into_iter().cloned().collect(),
            read,
        })
    }
}

impl<F: Fn() -> Vec<PartitionLag> + Send + Sync> Collector for LagFigures<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(gauge) = gauge(&self.source) else {
            return Vec::new();
        };
        let mut lags = (self.read)();
        lags.sort_by_key(|lag| std::cmp::Reverse(lag.messages));
        lags.truncate(SHOWN_MAX);
        for lag in lags {
            let messages = i64::try_from(lag.messages).unwrap_or(i64::MAX);
            gauge
                .with_label_values(&[lag.topic.as_str(), &lag.partition.to_string()])
                .set(messages);
        }
        gauge.collect()
    }
}

fn gauge(source: &str) -> prometheus::Result<IntGaugeVec> {
    let opts = Opts::new(
        "daybook_kafka_lag",
        "Messages in a partition that are not durable here yet.",
    );
    IntGaugeVec::new(opts.const_label("source", source), &["topic", "partition"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_behind_are_shown() {
        let read = || {
            let lag = |partition| PartitionLag {
                topic: "orders".to_owned(),
                partition,
                messages: partition as u64,
            };
            (0..=SHOWN_MAX as i32).map(lag).collect()
        };
        let figures = LagFigures::new("queue", read).unwrap();
        let families = figures.collect();
        let shown = families[0].get_metric();
        assert_eq!(shown.len(), SHOWN_MAX);
        assert!(
            shown
                .iter()
                .all(|metric| metric.get_gauge().get_value() > 0.0)
        );
    }
}
