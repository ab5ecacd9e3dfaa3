//! The machine's samples under `/metrics`, as they are at the moment somebody asks, until there is a store for them.

use std::sync::Arc;

use collector::source::host::{Family, Kind, Labels, Machine};
use prometheus::Opts;
use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// All samples of the machine. Which names there are is the kernel's to say, so one stands for all of them.
pub struct HostFigures {
    machine: Arc<Machine>,
    desc: Desc,
}

impl HostFigures {
    /// Shows `machine`; asking for its figures blocks for milliseconds.
    ///
    /// # Errors
    /// A name is no metric name.
    pub fn new(machine: Arc<Machine>) -> Result<HostFigures, String> {
        let desc = Opts::new("node_time_seconds", "The machine's clock.").describe();
        Ok(HostFigures {
            machine,
            desc: desc.map_err(|error| error.to_string())?,
        })
    }
}

impl Collector for HostFigures {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = self.machine.reading().families();
        families.into_iter().map(metric_family).collect()
    }
}

fn metric_family(family: Family) -> MetricFamily {
    let mut shown = MetricFamily::default();
    shown.set_name(family.name.into_owned());
    shown.set_help(family.help.to_owned());
    shown.set_field_type(match family.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    let metrics = family.samples.into_iter().map(|sample| {
        let mut metric = Metric::from_label(label_pairs(sample.labels));
        match family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(sample.value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(sample.value);
                metric.set_gauge(gauge);
            }
        }
        metric
    });
    shown.set_metric(metrics.collect());
    shown
}

fn label_pairs(labels: Labels) -> Vec<LabelPair> {
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    });
    pairs.collect()
}
