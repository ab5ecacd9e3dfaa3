//! Our own figures in the Prometheus text format. Every name stands in `dashboards/metrics.md`.

use std::sync::Arc;

use event::Ledger;
use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use super::ledger_figures::LedgerFigures;
use super::process_figures::ProcessFigures;

/// From half a millisecond to half a minute, about a factor of three apart.
const REQUEST_SECONDS: [f64; 11] = [
    0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5, 1.5, 5.0, 15.0, 30.0,
];

/// All figures of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// How long requests took, by route class and status.
    pub request_seconds: HistogramVec,
    /// Requests being answered right now.
    pub requests_in_flight: IntGauge,
    /// Request handlers that panicked; the sender got a 500.
    pub request_panics: IntCounter,
    /// Open connections by listener.
    pub connections_open: IntGaugeVec,
    /// Connections turned away by listener and reason.
    pub connections_refused: IntCounterVec,
}

/// Which way a figure may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// Up and down.
    Gauge,
    /// Only up, from zero at the start of the process.
    Counter,
}

impl Metrics {
    /// Registers everything that is known from the first moment.
    ///
    /// # Errors
    /// Two figures share a name.
    pub fn new(ledger: Arc<Ledger>) -> prometheus::Result<Metrics> {
        let metrics = Metrics {
            registry: Registry::new(),
            request_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "daybook_http_request_seconds",
                    "Time from a request's head to its answer's head.",
                )
                .buckets(REQUEST_SECONDS.to_vec()),
                &["route", "status"],
            )?,
            requests_in_flight: IntGauge::new(
                "daybook_http_requests_in_flight",
                "Requests being answered.",
            )?,
            request_panics: IntCounter::new(
                "daybook_http_request_panics_total",
                "Requests whose handler failed by a mistake of ours.",
            )?,
            connections_open: IntGaugeVec::new(
                Opts::new("daybook_connections_open", "Open connections."),
                &["listener"],
            )?,
            connections_refused: IntCounterVec::new(
                Opts::new(
                    "daybook_connections_refused_total",
                    "Connections turned away.",
                ),
                &["listener", "reason"],
            )?,
        };
        metrics.register(metrics.request_seconds.clone())?;
        metrics.register(metrics.requests_in_flight.clone())?;
        metrics.register(metrics.request_panics.clone())?;
        metrics.register(metrics.connections_open.clone())?;
        metrics.register(metrics.connections_refused.clone())?;
        metrics.register(build_info()?)?;
        metrics.register(LedgerFigures::new(ledger)?)?;
        metrics.register(ProcessFigures::new()?)?;
        Ok(metrics)
    }

    /// Registers a collector of a part's own.
    ///
    /// # Errors
    /// A figure of that name is registered already.
    pub fn register(&self, collector: impl Collector + 'static) -> prometheus::Result<()> {
        self.registry.register(Box::new(collector))
    }

    /// Registers a figure that `read` answers whenever somebody asks for `/metrics`.
    ///
    /// `read` must not block. So a part needs no metrics of its own, only a method that answers.
    ///
    /// # Errors
    /// A figure of that name is registered already.
    pub fn observe(
        &self,
        kind: FigureKind,
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        self.register(Observed::new(kind, Opts::new(name, help), read)?)
    }

    /// As [`Metrics::observe`], for one of several sources that show the same figure, told apart by the label
    /// `source`.
    ///
    /// # Errors
    /// The source has registered a figure of that name already.
    pub fn observe_source(
        &self,
        source: &str,
        kind: FigureKind,
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        let opts = Opts::new(name, help).const_label("source", source);
        self.register(Observed::new(kind, opts, read)?)
    }

    /// As [`Metrics::observe`], for one of several pipelines, told apart by the label `pipeline`.
    ///
    /// # Errors
    /// The pipeline has registered a figure of that name already.
    pub fn observe_pipeline(
        &self,
        pipeline: &str,
        kind: FigureKind,
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        let opts = Opts::new(name, help).const_label("pipeline", pipeline);
        self.register(Observed::new(kind, opts, read)?)
    }

    /// As [`Metrics::observe_pipeline`], for a counter with a row per `label` values; one that `read` does not answer yet is
    /// not shown.
    ///
    /// # Errors
    /// The pipeline has registered a figure of that name already.
    pub fn observe_pipeline_rows(
        &self,
        pipeline: &str,
        name: &str,
        help: &str,
        labels: &[&str],
        read: impl Fn() -> Vec<(Vec<String>, f64)> + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        let opts = Opts::new(name, help)
            .const_label("pipeline", pipeline)
            .variable_labels(labels.iter().map(|label| (*label).to_owned()).collect());
        self.register(ObservedRows {
            desc: opts.describe()?,
            opts,
            read: Box::new(read),
        })
    }

    /// Everything as the text format has it.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot write the metrics");
        }
        text
    }
}

fn build_info() -> prometheus::Result<IntGauge> {
    let opts = Opts::new("daybook_build_info", "Always 1; says which version runs.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = IntGauge::with_opts(opts)?;
    info.set(1);
    Ok(info)
}

/// A figure that is asked for, not told.
struct Observed {
    desc: Desc,
    kind: FigureKind,
    opts: Opts,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Observed {
    fn new(
        kind: FigureKind,
        opts: Opts,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<Observed> {
        Ok(Observed {
            desc: opts.describe()?,
            kind,
            opts,
            read: Box::new(read),
        })
    }
}

impl Collector for Observed {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let value = (self.read)();
        let opts = self.opts.clone();
        let families = match self.kind {
            FigureKind::Gauge => Gauge::with_opts(opts).map(|gauge| {
                gauge.set(value);
                gauge.collect()
            }),
            FigureKind::Counter => prometheus::Counter::with_opts(opts).map(|counter| {
                counter.inc_by(value.max(0.0));
                counter.collect()
            }),
        };
        families.unwrap_or_default()
    }
}

type Rows = Vec<(Vec<String>, f64)>;

/// A counter of several rows that is asked for, not told.
struct ObservedRows {
    desc: Desc,
    opts: Opts,
    read: Box<dyn Fn() -> Rows + Send + Sync>,
}

impl Collector for ObservedRows {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let labels: Vec<&str> = self
            .opts
            .variable_labels
            .iter()
            .map(String::as_str)
            .collect();
        let Ok(rows) = prometheus::CounterVec::new(self.opts.clone(), &labels) else {
            return Vec::new();
        };
        for (values, count) in (self.read)() {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            if let Ok(row) = rows.get_metric_with_label_values(&values) {
                row.inc_by(count.max(0.0));
            }
        }
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = String::from_utf8(metrics.render()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_ledger_is_shown_by_source_and_reason() {
        let ledger = Arc::new(Ledger::new());
        let metrics = Metrics::new(Arc::clone(&ledger)).unwrap();
        let nginx = ledger.source("nginx");
        nginx.received(10, 1000);
        nginx.accepted(7);
        nginx.stored(5);
        nginx.rejected("malformed", 2);
        nginx.dropped("sampled", 1);
        let lines = lines(&metrics);
        for expected in [
            "daybook_source_received_events_total{source=\"nginx\"} 10",
            "daybook_source_received_bytes_total{source=\"nginx\"} 1000",
            "daybook_source_accepted_events_total{source=\"nginx\"} 7",
            "daybook_source_stored_events_total{source=\"nginx\"} 5",
            "daybook_source_rejected_events_total{reason=\"malformed\",source=\"nginx\"} 2",
            "daybook_source_dropped_events_total{reason=\"sampled\",source=\"nginx\"} 1",
            "daybook_source_in_flight_events{source=\"nginx\"} 2",
        ] {
            assert!(
                lines.iter().any(|line| line == expected),
                "{expected}\n{lines:#?}"
            );
        }
    }

    #[test]
    fn an_observed_figure_is_read_when_it_is_asked_for() {
        use std::sync::atomic::{AtomicU64, Ordering};
        let metrics = Metrics::new(Arc::default()).unwrap();
        let bytes = Arc::new(AtomicU64::new(1));
        let read = Arc::clone(&bytes);
        let observe = |kind, name: &str| {
            let read = Arc::clone(&read);
            metrics.observe(kind, name, "help", move || {
                read.load(Ordering::Relaxed) as f64
            })
        };
        observe(FigureKind::Gauge, "daybook_test_bytes").unwrap();
        observe(FigureKind::Counter, "daybook_test_total").unwrap();
        assert!(
            observe(FigureKind::Gauge, "daybook_test_bytes").is_err(),
            "twice"
        );
        bytes.store(7, Ordering::Relaxed);
        let lines = lines(&metrics);
        assert!(lines.contains(&"daybook_test_bytes 7".to_owned()));
        assert!(lines.contains(&"# TYPE daybook_test_total counter".to_owned()));
        assert!(lines.contains(&"daybook_test_total 7".to_owned()));
    }

    #[test]
    fn a_pipeline_shows_its_rows_once_there_are_some() {
        let metrics = Metrics::new(Arc::default()).unwrap();
        for pipeline in ["a", "b"] {
            let rows = move || match pipeline {
                "a" => vec![(vec!["1 grok".to_owned(), "grok_no_match".to_owned()], 2.0)],
                _ => Vec::new(),
            };
            let (name, labels) = ("daybook_test_total", &["step", "reason"]);
            metrics
                .observe_pipeline_rows(pipeline, name, "help", labels, rows)
                .unwrap();
        }
        let lines = lines(&metrics);
        let expected =
            "daybook_test_total{pipeline=\"a\",reason=\"grok_no_match\",step=\"1 grok\"} 2";
        assert!(lines.contains(&expected.to_owned()), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("pipeline=\"b\"")));
    }

    #[test]
    fn the_process_is_measured() {
        let metrics = Metrics::new(Arc::default()).unwrap();
        let lines = lines(&metrics);
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_threads",
            "process_start_time_seconds",
        ] {
            let line = lines
                .iter()
                .find(|line| line.starts_with(&format!("{name} ")));
            let value: f64 = line.unwrap_or_else(|| panic!("{name} in {lines:#?}"))
                [name.len() + 1..]
                .parse()
                .unwrap();
            assert!(value > 0.0, "{name}");
        }
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("process_cpu_seconds_total "))
        );
    }
}
