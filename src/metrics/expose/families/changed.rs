//! Families whose labels are shown otherwise than they are counted.

use std::collections::btree_map::IntoIter;

use super::{Exposition, Part};
use crate::metrics::expose::output::Output;
use crate::metrics::expose::projection::project;
use crate::metrics::plan::MetricsPlan;
use crate::metrics::store::exemplars::Exemplar;
use crate::metrics::store::histogram::HistogramTotals;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::table::SeriesTable;
use crate::metrics::store::value::Value;

/// The series of one family as they are shown, and their exemplars.
#[derive(Debug)]
pub(super) enum Changed {
    Counter(IntoIter<String, CounterRow>),
    Histogram(IntoIter<String, HistogramRow>),
}

type CounterRow = (u64, Option<Exemplar>);
type HistogramRow = (HistogramTotals, Vec<(usize, Exemplar)>);

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
    [one, other]
        .into_iter()
        .flatten()
        .max_by_key(|exemplar| exemplar.at)
}

impl Exposition {
    /// Writes the next series of a part whose labels are changed. `None` where there is no more.
    pub(super) fn write_changed(
        &mut self,
        part: &Part,
        plan: &MetricsPlan,
        output: &mut impl Output,
        table: &SeriesTable,
    ) -> Option<()> {
        if self.row == 0 {
            self.changed = self.change(part, plan, output, table);
        }
        let is_first = self.row == 0;
        match (part, self.changed.as_mut()?) {
            (
                Part::Requests(name, help)
                | Part::Messages(name, help, _)
                | Part::Connections(name, help, _),
                Changed::Counter(rows),
            ) => {
                let (labels, (count, exemplar)) = rows.next()?;
                if is_first {
                    output.family(MetricType::Counter, name, help);
                }
                let of = (MetricType::Counter, *name);
                output.sample(of, &labels, Value::Whole(count), exemplar.as_ref());
            }
            (Part::Histogram(name, help, family), Changed::Histogram(rows)) => {
                let (labels, (totals, exemplars)) = rows.next()?;
                if is_first {
                    output.family(MetricType::Histogram, name, help);
                }
                let bounds = table.buckets().get(*family)?;
                output.histogram(name, &labels, (&totals, bounds), &exemplars);
            }
            _ => return None,
        }
        Some(())
    }

    fn change(
        &self,
        part: &Part,
        plan: &MetricsPlan,
        output: &impl Output,
        table: &SeriesTable,
    ) -> Option<Changed> {
        let requests = || {
            let rows = self.requests.iter();
            rows.filter_map(|row| {
                let kept = row.exemplars(output, table).unwrap_or_default();
                Some((row.labels(table)?, row.tags.as_ref(), row, kept))
            })
        };
        Some(match *part {
            Part::Requests(..) => {
                let rows = requests().map(|(labels, tags, row, kept)| {
                    (labels, tags, (row.totals.count(), kept.newest().copied()))
                });
                Changed::Counter(project(plan, self.part, rows, add_counter).into_iter())
            }
            Part::Histogram(_, _, family) => {
                let rows = requests().filter_map(|(labels, tags, row, kept)| {
                    let totals = row.totals.histogram(family)?.clone();
                    Some((labels, tags, (totals, kept.histogram(family).to_vec())))
                });
                Changed::Histogram(project(plan, self.part, rows, add_histogram).into_iter())
            }
            Part::Messages(_, _, count) => {
                let rows = self.messages.iter().filter_map(|(base, messages)| {
                    let labels = String::from(&*table.get(*base)?.labels);
                    Some((labels, None, (count(messages), None)))
                });
                Changed::Counter(project(plan, self.part, rows, add_counter).into_iter())
            }
            Part::Connections(_, _, tally) => {
                let rows = self.connections.iter().filter_map(|row| {
                    let total = *row.totals.get(tally)?;
                    Some((row.labels(table)?, None, (total, None)))
                });
                Changed::Counter(project(plan, self.part, rows, add_counter).into_iter())
            }
            Part::Durations(_) => return None,
        })
    }
}
