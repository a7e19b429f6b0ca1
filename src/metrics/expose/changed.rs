//! A family whose labels are shown otherwise than they are counted.

use std::collections::btree_map::IntoIter;
use std::mem;

use super::output::Output;
use super::projection::Projection;
use crate::metrics::plan::MetricsPlan;
use crate::metrics::store::buckets::Bounds;
use crate::metrics::store::exemplars::Exemplar;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::tags::TagValues;
use crate::metrics::store::value::Value;

/// One family, with its exemplars. All its series are collected before the first is written.
#[derive(Debug)]
pub(super) enum Changed {
    Collecting(Projection<Counts>),
    Writing {
        rows: IntoIter<String, Counts>,
        is_first: bool,
    },
}

/// What a series has counted.
#[derive(Clone, Debug)]
pub(super) enum Counts {
    Counter(u64, Option<Exemplar>),
    Histogram(HistogramTotals, Vec<(usize, Exemplar)>),
}

/// A series as it is counted.
pub(super) struct Counted<'r> {
    pub(super) labels: String,
    /// The values of its expressions.
    pub(super) tags: Option<&'r TagValues>,
    pub(super) counts: Counts,
    /// Whether it is only added to a series that is shown.
    pub(super) is_retired: bool,
}

impl Changed {
    /// The family with this number, without a series yet.
    pub(super) fn new(plan: &MetricsPlan, family: usize) -> Self {
        Self::Collecting(Projection::new(plan, family))
    }

    pub(super) const fn is_collecting(&self) -> bool {
        matches!(self, Self::Collecting(_))
    }

    /// Adds a series. Those that are retired come last.
    pub(super) fn add(&mut self, series: Counted<'_>) {
        let Self::Collecting(shown) = self else {
            return;
        };
        let Counted {
            labels,
            tags,
            counts,
            is_retired,
        } = series;
        match is_retired {
            true => shown.add_if_shown(&labels, tags, counts, merge),
            false => shown.add(&labels, tags, counts, merge),
        }
    }

    /// Every series was added.
    pub(super) fn collected(&mut self) {
        if let Self::Collecting(shown) = self {
            *self = Self::Writing {
                rows: mem::take(shown).into_rows(),
                is_first: true,
            };
        }
    }

    /// Writes the next series, behind the head of the family where it is the first. `None` where
    /// there is no more.
    pub(super) fn write_next(
        &mut self,
        (name, help): (&str, &str),
        bounds: Option<&Bounds>,
        output: &mut impl Output,
    ) -> Option<()> {
        let Self::Writing { rows, is_first } = self else {
            return None;
        };
        let (labels, counts) = rows.next()?;
        let metric_type = match counts {
            Counts::Counter(..) => MetricType::Counter,
            Counts::Histogram(..) => MetricType::Histogram,
        };
        if mem::take(is_first) {
            output.family(metric_type, name, help);
        }
        match counts {
            Counts::Counter(count, exemplar) => {
                let of = (metric_type, name);
                output.sample(of, &labels, Value::Whole(count), exemplar.as_ref());
            }
            Counts::Histogram(totals, exemplars) => {
                output.histogram(name, &labels, (&totals, bounds?), &exemplars);
            }
        }
        Some(())
    }
}

fn merge(to: &mut Counts, from: Counts) {
    match (to, from) {
        (Counts::Counter(to, exemplar), Counts::Counter(from, other)) => {
            *to += from;
            *exemplar = newer(*exemplar, other);
        }
        (Counts::Histogram(to, exemplars), Counts::Histogram(from, others)) => {
            to.merge(&from);
            for (bucket, other) in others {
                match exemplars.iter_mut().find(|(known, _)| *known == bucket) {
                    Some((_, known)) => *known = newer(Some(*known), Some(other)).unwrap_or(other),
                    None => exemplars.push((bucket, other)),
                }
            }
        }
        // INVARIANT: a family has one type.
        (Counts::Counter(..), Counts::Histogram(..))
        | (Counts::Histogram(..), Counts::Counter(..)) => {}
    }
}

fn newer(one: Option<Exemplar>, other: Option<Exemplar>) -> Option<Exemplar> {
    let both = [one, other].into_iter().flatten();
    both.max_by_key(|exemplar| exemplar.at)
}
