//! One metric after the other.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::core::measure::TimesTaken;

/// The labels of one sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What a metric is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Things,
    Seconds,
    Bytes,
}

/// A value.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// Takes metrics down. Names come without unit and `_total`, which are added.
pub(super) struct Page<'e>(pub(super) DescriptorEncoder<'e>);

impl Page<'_> {
    /// What may rise and fall. A metric without samples is left out.
    pub(super) fn gauge<V: Into<Value>>(
        &mut self,
        name: &str,
        of: Of,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> Result<(), Error> {
        self.family(
            name,
            of,
            help,
            MetricType::Gauge,
            samples,
            |encoder, value| match value.into() {
                Value::Whole(value) => encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
                Value::Real(value) => encoder.encode_gauge(&value),
            },
        )
    }

    /// What only rises while the process lives.
    pub(super) fn counter<V: Into<Value>>(
        &mut self,
        name: &str,
        of: Of,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> Result<(), Error> {
        self.family(
            name,
            of,
            help,
            MetricType::Counter,
            samples,
            |encoder, value| match value.into() {
                Value::Whole(value) => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
                Value::Real(value) => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
            },
        )
    }

    /// How long something took, each time, in seconds.
    pub(super) fn times(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, TimesTaken)>,
    ) -> Result<(), Error> {
        let encode = |encoder: &mut MetricEncoder<'_>, taken: TimesTaken| {
            encoder.encode_histogram::<NoLabelSet>(taken.seconds, taken.count(), &taken.buckets, None)
        };
        self.family(name, Of::Seconds, help, MetricType::Histogram, samples, encode)
    }

    fn family<V>(
        &mut self,
        name: &str,
        of: Of,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels, V)>,
        mut encode: impl FnMut(&mut MetricEncoder<'_>, V) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let unit = match of {
            Of::Things => None,
            Of::Seconds => Some(Unit::Seconds),
            Of::Bytes => Some(Unit::Bytes),
        };
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                encode(&mut encoder, value)?;
            } else {
                encode(&mut encoder.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}

/// No labels.
pub(super) fn only<V>(value: V) -> [(Labels, V); 1] {
    [(Labels::new(), value)]
}
