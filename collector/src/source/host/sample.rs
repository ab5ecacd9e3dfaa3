//! What a machine is measured in: families of samples under the names that Prometheus' node exporter uses, so that
//! dashboards and rules written for it work.

use std::borrow::Cow;
use std::collections::HashSet;

/// Label names and values, in the order they are shown.
pub type Labels = Vec<(&'static str, String)>;

/// All samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// `node_load1`: a metric name.
    pub name: Cow<'static, str>,
    /// Which way its values go.
    pub kind: Kind,
    /// What it tells, in a sentence.
    pub help: &'static str,
    /// At least one; no two with the same labels.
    pub samples: Vec<Sample>,
}

/// One value of one moment; the moment is the reading's.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What it is a value of.
    pub labels: Labels,
    /// Bytes, seconds or a number, as the name says.
    pub value: f64,
}

/// Which way values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Only up, from the machine's start; processes, from ours.
    Counter,
}

/// One value of every `T`: name, kind, help, and how it is read; `None` where the kernel does not tell it.
pub type Column<T> = (&'static str, Kind, &'static str, fn(&T) -> Option<f64>);

/// A family for each column that has a value of at least one of `items`.
pub fn families<T>(
    columns: &[Column<T>],
    items: &[T],
    labels: impl Fn(&T) -> Labels,
) -> Vec<Family> {
    let mut families = Vec::with_capacity(columns.len());
    for (name, kind, help, read) in columns {
        let samples = items.iter().filter_map(|item| {
            Some(Sample {
                value: read(item)?,
                labels: labels(item),
            })
        });
        families.push(Family {
            name: Cow::Borrowed(name),
            kind: *kind,
            help,
            samples: samples.collect(),
        });
    }
    families.retain(|family| !family.samples.is_empty());
    families
}

/// Of names and of labels that come twice the first stays: a kernel's text that says something twice must not spoil the
/// page, of which nothing can be read then.
pub fn keep_first(families: &mut Vec<Family>) {
    let mut names = HashSet::new();
    families.retain(|family| names.insert(family.name.clone()));
    for family in families {
        let mut known = HashSet::new();
        family
            .samples
            .retain(|sample| known.insert(sample.labels.clone()));
    }
}
