//! The ledger as metrics: read from the books at the moment somebody asks, so both always tell the same.

use std::sync::Arc;

use event::{Ledger, SourceTotals};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

/// The books of all sources.
pub struct LedgerFigures {
    ledger: Arc<Ledger>,
    descs: Vec<Desc>,
}

/// The figures of one moment; made anew each time, because counters of the library cannot be set.
struct Moment {
    received: IntCounterVec,
    received_bytes: IntCounterVec,
    accepted: IntCounterVec,
    stored: IntCounterVec,
    rejected: IntCounterVec,
    dropped: IntCounterVec,
    in_flight: IntGaugeVec,
}

impl LedgerFigures {
    /// Shows `ledger`.
    ///
    /// # Errors
    /// A name is no metric name.
    pub fn new(ledger: Arc<Ledger>) -> prometheus::Result<LedgerFigures> {
        let moment = Moment::new()?;
        let descs = moment
            .collectors()
            .iter()
            .flat_map(|collector| collector.desc())
            .cloned()
            .collect();
        Ok(LedgerFigures { ledger, descs })
    }
}

impl Collector for LedgerFigures {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(moment) = Moment::new() else {
            return Vec::new();
        };
        for totals in self.ledger.totals() {
            moment.add(&totals);
        }
        moment
            .collectors()
            .iter()
            .flat_map(|collector| collector.collect())
            .collect()
    }
}

impl Moment {
    fn new() -> prometheus::Result<Moment> {
        Ok(Moment {
            received: counter("received_events", "Events taken from senders.", &["source"])?,
            received_bytes: counter(
                "received_bytes",
                "Bytes taken from senders, decompressed.",
                &["source"],
            )?,
            accepted: counter(
                "accepted_events",
                "Events made durable in the journal.",
                &["source"],
            )?,
            stored: counter("stored_events", "Events that reached a shard.", &["source"])?,
            rejected: counter(
                "rejected_events",
                "Events refused; their senders were told.",
                &["source", "reason"],
            )?,
            dropped: counter(
                "dropped_events",
                "Events dropped by our own doing.",
                &["source", "reason"],
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new(
                    "daybook_source_in_flight_events",
                    "Events received and neither stored nor rejected nor dropped yet.",
                ),
                &["source"],
            )?,
        })
    }

    fn add(&self, totals: &SourceTotals) {
        let source = [totals.source.as_str()];
        let counts = [
            (&self.received, totals.received),
            (&self.received_bytes, totals.received_bytes),
            (&self.accepted, totals.accepted),
            (&self.stored, totals.stored),
        ];
        for (counter, value) in counts {
            counter.with_label_values(&source).inc_by(value);
        }
        for (counter, reasons) in [
            (&self.rejected, &totals.rejected),
            (&self.dropped, &totals.dropped),
        ] {
            for (reason, value) in reasons {
                let labels = [totals.source.as_str(), reason.as_str()];
                counter.with_label_values(&labels).inc_by(*value);
            }
        }
        let in_flight = i64::try_from(totals.in_flight).unwrap_or(i64::MAX);
        self.in_flight.with_label_values(&source).set(in_flight);
    }

    fn collectors(&self) -> [&dyn Collector; 7] {
        [
            &self.received,
            &self.received_bytes,
            &self.accepted,
            &self.stored,
            &self.rejected,
            &self.dropped,
            &self.in_flight,
        ]
    }
}

fn counter(what: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(
        Opts::new(format!("daybook_source_{what}_total"), help),
        labels,
    )
}
