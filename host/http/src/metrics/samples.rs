//! Writes the series of the metrics in the table.

use std::fmt;

use nebula_telemetry::histogram::{BUCKET_BOUNDS, HistogramCounts};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use super::family::{Family, Kind};

/// A label with its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// The value of a counter or gauge.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Integer(u64),
    Number(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

/// Writes metrics, one after the other.
pub(super) struct MetricWriter<'a>(pub(super) DescriptorEncoder<'a>);

/// Writes the series of one metric.
pub(super) struct SeriesWriter<'a> {
    family: &'static Family,
    encoder: MetricEncoder<'a>,
}

impl MetricWriter<'_> {
    /// Writes a metric whose series `write` adds.
    pub(super) fn family(
        &mut self,
        family: &'static Family,
        write: impl FnOnce(&mut SeriesWriter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let unit = family.unit.map(Unit::from);
        let (help, kind) = (format!("{}.", family.help.trim()), family.kind.metric_type());
        let encoder = self.0.encode_descriptor(family.stem, &help, unit.as_ref(), kind)?;
        write(&mut SeriesWriter { family, encoder })
    }

    /// Writes a metric that has one series without labels.
    pub(super) fn single(&mut self, family: &'static Family, value: impl Into<Value>) -> fmt::Result {
        self.family(family, |series| series.add(&[], value))
    }
}

impl SeriesWriter<'_> {
    /// Adds a series of a counter, a gauge or an info. The value of an info is 1.
    pub(super) fn add(&mut self, labels: &[Label<'_>], value: impl Into<Value>) -> fmt::Result {
        self.check(labels);
        let no_exemplar = None::<&Exemplar<NoLabelSet, f64>>;
        let value = value.into();
        if self.family.kind == Kind::Info {
            return self.encoder.encode_info(&labels);
        }
        let mut series = self.encoder.encode_family(&labels)?;
        match (self.family.kind, value) {
            (Kind::Counter, Value::Integer(value)) => series.encode_counter(&value, no_exemplar),
            (Kind::Counter, Value::Number(value)) => series.encode_counter(&value, no_exemplar),
            (_, Value::Integer(value)) => series.encode_gauge(&value),
            (_, Value::Number(value)) => series.encode_gauge(&value),
        }
    }

    /// Adds a series of a histogram.
    pub(super) fn add_histogram(&mut self, labels: &[Label<'_>], counts: &HistogramCounts) -> fmt::Result {
        self.check(labels);
        let bounds = BUCKET_BOUNDS.iter().map(|bound| bound.as_secs_f64()).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts.buckets).collect();
        let sum = counts.sum_ns as f64 / 1e9;
        let mut series = self.encoder.encode_family(&labels)?;
        series.encode_histogram::<NoLabelSet>(sum, counts.count(), &buckets, None)
    }

    fn check(&self, labels: &[Label<'_>]) {
        let are_those_of_the_table = labels.iter().map(|(name, _)| name).eq(self.family.labels);
        debug_assert!(are_those_of_the_table, "`{}` has other labels: {labels:?}", self.family.stem);
    }
}
