//! A family whose labels are shown otherwise than they are counted.

use std::collections::btree_map::IntoIter;

use super::output::Output;
use super::projection::project;
use crate::metrics::plan::MetricsPlan;
use crate::metrics::store::buckets::Bounds;
use crate::metrics::store::exemplars::Exemplar;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::tags::TagValues;
use crate::metrics::store::value::Value;

/// What is left to be shown of one family, with its exemplars.
#[derive(Debug)]
pub(super) enum Changed {
    Counter(IntoIter<String, CounterRow>),
    Histogram(IntoIter<String, HistogramRow>),
}

pub(super) type CounterRow = (u64, Option<Exemplar>);
pub(super) type HistogramRow = (HistogramTotals, Vec<(usize, Exemplar)>);
/// A series as it is counted: its labels, the values of its expressions, and its counts.
pub(super) type Counted<'r, T> = (String, Option<&'r TagValues>, T);

impl Changed {
    /// The series of the counter with this number.
    pub(super) fn counter<'r>(
        plan: &MetricsPlan,
        family: usize,
        rows: impl Iterator<Item = Counted<'r, CounterRow>>,
    ) -> Self {
        Self::Counter(project(plan, family, rows, add_counter).into_iter())
    }

    /// The series of the histogram with this number.
    pub(super) fn histogram<'r>(
        plan: &MetricsPlan,
        family: usize,
        rows: impl Iterator<Item = Counted<'r, HistogramRow>>,
    ) -> Self {
        Self::Histogram(project(plan, family, rows, add_histogram).into_iter())
    }

    /// Writes the next series, behind the head of the family where it is the first. `None` where
    /// there is no more.
    pub(super) fn write_next(
        &mut self,
        (name, help): (&str, &str),
        is_first: bool,
        bounds: Option<&Bounds>,
        output: &mut impl Output,
    ) -> Option<()> {
        match self {
            Self::Counter(rows) => {
                let (labels, (count, exemplar)) = rows.next()?;
                if is_first {
                    output.family(MetricType::Counter, name, help);
                }
                let of = (MetricType::Counter, name);
                output.sample(of, &labels, Value::Whole(count), exemplar.as_ref());
            }
            Self::Histogram(rows) => {
                let (labels, (totals, exemplars)) = rows.next()?;
                if is_first {
                    output.family(MetricType::Histogram, name, help);
                }
                output.histogram(name, &labels, (&totals, bounds?), &exemplars);
            }
        }
        Some(())
    }
}

fn add_counter(to: &mut CounterRow, from: CounterRow) {
    to.0 += from.0;
    to.1 = newer(to.1, from.1);
}

fn add_histogram((totals, exemplars): &mut HistogramRow, from: HistogramRow) {
    totals.merge(&from.0);
    for (bucket, exemplar) in from.1 {
        match exemplars.iter_mut().find(|(known, _)| *known == bucket) {
            Some((_, known)) => *known = newer(Some(*known), Some(exemplar)).unwrap_or(exemplar),
            None => exemplars.push((bucket, exemplar)),
        }
    }
}

fn newer(one: Option<Exemplar>, other: Option<Exemplar>) -> Option<Exemplar> {
    let both = [one, other].into_iter().flatten();
    both.max_by_key(|exemplar| exemplar.at)
}
