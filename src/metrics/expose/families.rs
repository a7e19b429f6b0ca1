use std::sync::Arc;

use super::changed::{Changed, Counted, Counts};
use super::output::Output;
use super::parts::{PARTS, Part};
use super::rows::Rows;
use crate::metrics::conventions::families::{Conventions, HistogramRow, bounds};
use crate::metrics::conventions::names::{ACTIVE, FAMILIES, Named};
use crate::metrics::plan::MetricsPlan;
use crate::metrics::store::exemplars::Kept;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::process::{Family, Process};
use crate::metrics::store::table::{SeriesTable, Snapshot};
use crate::metrics::store::value::Value;

/// All metrics at one moment, written piece by piece.
///
/// Istio's families are read at once, so that they agree with each other, and kept as numbers. The
/// families of the process are read when they are written.
#[derive(Debug)]
pub(in crate::metrics) struct Exposition {
    rows: Rows,
    /// What is no longer shown, and is part of sums; empty if nothing is added up.
    retired: Rows,
    /// Of each histogram of OpenTelemetry's conventions.
    conventions: Vec<Vec<HistogramRow>>,
    /// What is active by those conventions, on each side.
    active: Vec<Vec<(Box<str>, u64)>>,
    /// `None`: all is written as it is counted.
    plan: Option<Arc<MetricsPlan>>,
    has_tags: bool,
    /// What is left of the family that is being written, if it is not written as it is counted.
    changed: Option<Changed>,
    /// What is written next.
    part: usize,
    row: usize,
    /// The family of the process that was written last.
    process: Option<&'static str>,
    worked: usize,
}

impl Exposition {
    /// Reads Istio's families as they are now.
    pub(in crate::metrics) fn read(
        snapshot: &Snapshot<'_>,
        plan: Option<Arc<MetricsPlan>>,
        conventions: Option<&Conventions>,
    ) -> Self {
        let rows = Rows::read(snapshot.shown(), snapshot.shown_tagged());
        // Values of expressions tell series apart that are equal where no label shows them.
        let has_tags = rows.requests.iter().any(|row| row.tags.is_some());
        let plan = plan.or_else(|| has_tags.then(Arc::default));
        let active = conventions.and_then(Conventions::active);
        Self {
            retired: match plan {
                Some(_) => Rows::read(snapshot.retired(), snapshot.retired_tagged()),
                None => Rows::default(),
            },
            rows,
            conventions: conventions.map_or_else(Vec::new, |conventions| {
                let families = 0..FAMILIES.len();
                families.map(|family| conventions.rows(family)).collect()
            }),
            active: active.map_or_else(Vec::new, |active| {
                let sides = 0..ACTIVE.len();
                sides.map(|side| active.rows(side)).collect()
            }),
            plan,
            has_tags,
            changed: None,
            part: 0,
            row: 0,
            process: None,
            worked: 0,
        }
    }

    /// How many series were handled so far: what is written does not show how much that took.
    pub(in crate::metrics) const fn worked(&self) -> usize {
        self.worked
    }

    /// Writes one more piece: the lines of one family for one set of labels, or a whole family of
    /// the process. May write nothing while it still collects a family whose labels are changed.
    /// `false` after the last.
    pub(in crate::metrics) fn write_next(
        &mut self,
        output: &mut impl Output,
        table: &SeriesTable,
        process: &Process,
    ) -> bool {
        self.worked += 1;
        let Some(part) = PARTS.get(self.part) else {
            self.process = process.read_after(self.process, |name, family| {
                write_family(name, family, output);
            });
            return self.process.is_some();
        };
        let plan = self
            .plan
            .as_ref()
            .filter(|plan| part.is_istios() && (self.has_tags || !plan.is_plain(self.part)));
        let written = match plan.cloned() {
            Some(plan) => self.write_changed(part, &plan, output, table),
            None => self.write_row(part, output, table),
        };
        if written.is_some() {
            self.row += 1;
        } else {
            self.part += 1;
            self.row = 0;
            self.changed = None;
        }
        true
    }

    /// Collects or writes the next series of a part whose labels are changed. `None` where there is
    /// no more.
    fn write_changed(
        &mut self,
        part: &Part,
        plan: &MetricsPlan,
        output: &mut impl Output,
        table: &SeriesTable,
    ) -> Option<()> {
        let mut changed = self
            .changed
            .take()
            .unwrap_or_else(|| Changed::new(plan, self.part));
        let written = if changed.is_collecting() {
            match self.counted(part, self.row, output, table) {
                Some(series) => changed.add(series),
                None => changed.collected(),
            }
            Some(())
        } else {
            let (family, bounds) = match *part {
                Part::Histogram(name, help, family) => ((name, help), table.buckets().get(family)),
                Part::Requests(name, help)
                | Part::Messages(name, help, _)
                | Part::Connections(name, help, _) => ((name, help), None),
                Part::Convention(_) | Part::Active(_) => return None,
            };
            changed.write_next(family, bounds, output)
        };
        self.changed = Some(changed);
        written
    }

    /// The series of a part with this number: first those that are shown. `None` after the last.
    fn counted(
        &self,
        part: &Part,
        row: usize,
        output: &impl Output,
        table: &SeriesTable,
    ) -> Option<Counted<'_>> {
        let shown = match part {
            Part::Requests(..) | Part::Histogram(..) => self.rows.requests.len(),
            Part::Messages(..) => self.rows.messages.len(),
            Part::Connections(..) => self.rows.connections.len(),
            Part::Convention(_) | Part::Active(_) => return None,
        };
        let (rows, row, is_retired) = match row.checked_sub(shown) {
            None => (&self.rows, row, false),
            Some(row) => (&self.retired, row, true),
        };
        let (labels, tags, counts) = match *part {
            Part::Requests(..) | Part::Histogram(..) => {
                let row = rows.requests.get(row)?;
                let kept = row.exemplars(output, table).unwrap_or_default();
                let counts = match *part {
                    Part::Histogram(_, _, family) => Counts::Histogram(
                        row.totals.histogram(family)?.clone(),
                        kept.histogram(family).to_vec(),
                    ),
                    _ => Counts::Counter(row.totals.count(), kept.newest().copied()),
                };
                (row.labels(table)?, row.tags.as_deref(), counts)
            }
            Part::Messages(_, _, count) => {
                let (base, messages) = rows.messages.get(row)?;
                let labels = String::from(&*table.get(*base)?.labels);
                (labels, None, Counts::Counter(count(messages), None))
            }
            Part::Connections(_, _, counter) => {
                let row = rows.connections.get(row)?;
                let total = *row.totals.get(counter)?;
                (row.labels(table)?, None, Counts::Counter(total, None))
            }
            Part::Convention(_) | Part::Active(_) => return None,
        };
        Some(Counted {
            labels,
            tags,
            counts,
            is_retired,
        })
    }

    /// `None` where the part has no more rows.
    fn write_row(&self, part: &Part, output: &mut impl Output, table: &SeriesTable) -> Option<()> {
        let family = |output: &mut _, metric_type, name, help| {
            if self.row == 0 {
                Output::family(output, metric_type, name, help);
            }
        };
        let counter = |output: &mut _, name, help, labels: &str, value, kept: Option<&Kept>| {
            family(output, MetricType::Counter, name, help);
            let exemplar = kept.and_then(Kept::newest);
            Output::sample(
                output,
                (MetricType::Counter, name),
                labels,
                Value::Whole(value),
                exemplar,
            );
        };
        match *part {
            Part::Requests(name, help) => {
                let row = self.rows.requests.get(self.row)?;
                let (labels, kept) = (row.labels(table)?, row.exemplars(output, table));
                counter(
                    output,
                    name,
                    help,
                    &labels,
                    row.totals.count(),
                    kept.as_ref(),
                );
            }
            Part::Histogram(name, help, histogram) => {
                let row = self.rows.requests.get(self.row)?;
                family(output, MetricType::Histogram, name, help);
                let kept = row.exemplars(output, table);
                output.histogram(
                    name,
                    &row.labels(table)?,
                    (
                        row.totals.histogram(histogram)?,
                        table.buckets().get(histogram)?,
                    ),
                    kept.as_ref().map_or(&[], |kept| kept.histogram(histogram)),
                );
            }
            Part::Messages(name, help, count) => {
                let (base, messages) = self.rows.messages.get(self.row)?;
                let labels = &table.get(*base)?.labels;
                counter(output, name, help, labels, count(messages), None);
            }
            Part::Connections(name, help, tally) => {
                let row = self.rows.connections.get(self.row)?;
                let total = row.totals.get(tally)?;
                counter(output, name, help, &row.labels(table)?, *total, None);
            }
            Part::Convention(of) => {
                let row = self.conventions.get(of)?.get(self.row)?;
                let Named {
                    prometheus, help, ..
                } = FAMILIES.get(of)?;
                family(output, MetricType::Histogram, prometheus, help);
                output.histogram(prometheus, &row.labels, (&row.totals, bounds(of)), &[]);
            }
            Part::Active(side) => {
                let (labels, active) = self.active.get(side)?.get(self.row)?;
                let Named {
                    prometheus, help, ..
                } = ACTIVE.get(side)?;
                family(output, MetricType::Gauge, prometheus, help);
                let of = (MetricType::Gauge, *prometheus);
                output.sample(of, labels, Value::Whole(*active), None);
            }
        }
        Some(())
    }
}

/// Writes a family of the process, unless it has no value to show.
fn write_family(name: &str, family: &Family, output: &mut impl Output) {
    let mut samples = family.samples().peekable();
    if samples.peek().is_none() {
        return;
    }
    output.family(family.metric_type, name, family.help);
    for (labels, value) in samples {
        let of = (family.metric_type, name);
        output.sample(of, labels, Value::Float(value), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::expose::format::Format;
    use crate::metrics::expose::text::Text;
    use crate::metrics::store::series::MAX_SERIES;

    fn shown(process: &Process, format: Format) -> String {
        let mut text = Text::new(format);
        let mut last = None;
        while let Some(name) =
            process.read_after(last, |name, family| write_family(name, family, &mut text))
        {
            last = Some(name);
        }
        text.end();
        text.take()
    }

    #[test]
    fn equal_names_and_labels_are_one_counter() {
        let process = Process::default();
        let count =
            |result| process.counter("mesh_handshakes_total", "Help.", &[("result", result)]);
        count("ok").add(1);
        count("ok").add(2);
        count("failed").add(1);
        process.gauge("mesh_age_seconds", "A \\ b.", &[]).set(1.5);
        assert_eq!(count("ok").value(), 3);
        assert_eq!(
            shown(&process, Format::Text),
            "# HELP mesh_age_seconds A \\\\ b.\n\
             # TYPE mesh_age_seconds gauge\n\
             mesh_age_seconds 1.5\n\
             # HELP mesh_handshakes_total Help.\n\
             # TYPE mesh_handshakes_total counter\n\
             mesh_handshakes_total{result=\"failed\"} 1\n\
             mesh_handshakes_total{result=\"ok\"} 3\n"
        );
    }

    #[test]
    fn open_metrics_names_the_family_without_total_and_marks_the_end() {
        let process = Process::default();
        process.counter("mesh_loads_total", "Help.", &[]).add(1);
        assert_eq!(
            shown(&process, Format::OpenMetrics),
            "# HELP mesh_loads Help.\n# TYPE mesh_loads counter\nmesh_loads_total 1\n# EOF\n"
        );
    }

    #[test]
    fn a_wrong_name_is_never_shown() {
        let process = Process::default();
        process.counter("mesh_loads", "", &[]).add(1);
        process.counter("9_total", "", &[]).add(1);
        process.counter("mesh-loads_total", "", &[]).add(1);
        process.gauge("mesh_load", "", &[("a b", "c")]).set(1.0);
        assert_eq!(shown(&process, Format::Text), "");
        process.gauge("mesh_age", "", &[]).set(1.0);
        process.counter("mesh_age_total", "", &[]).add(1);
        assert!(!shown(&process, Format::Text).contains("mesh_age_total"));
    }

    ///
    #[test]
    fn series_are_bounded_and_nothing_is_lost() {
        let process = Process::default();
        for reason in 0..3000 {
            let reason = reason.to_string();
            process
                .counter("mesh_x_total", "", &[("reason", &reason)])
                .add(1);
        }
        let text = shown(&process, Format::Text);
        assert_eq!(text.lines().count(), 2 + MAX_SERIES);
        assert!(text.contains("mesh_x_total{reason=\"unknown\"} 1001\n"));
    }

    /// names come and go for as long as a process runs.
    #[test]
    fn a_series_without_a_value_gives_its_place_to_a_new_one() {
        let process = Process::default();
        for name in 0..3000 {
            let name = name.to_string();
            let gone = Box::new(|| None);
            process.register_callback(true, "mesh_x_total", "", &[("name", &name)], gone);
        }
        let here = Box::new(|| Some(7.0));
        process.register_callback(true, "mesh_x_total", "", &[("name", "here")], here);
        let text = shown(&process, Format::Text);
        assert!(text.ends_with("mesh_x_total{name=\"here\"} 7\n"), "{text}");
    }
}
