use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::changed::Changed;
use super::output::Output;
use crate::message::ResponseFlags;
use crate::metrics::conventions::durations::{DurationRow, Durations, FAMILIES, Named, bounds};
use crate::metrics::plan::MetricsPlan;
use crate::metrics::store::buckets::Buckets;
use crate::metrics::store::exemplars::Kept;
use crate::metrics::store::histogram::RequestTotals;
use crate::metrics::store::labels::OutcomeLabels;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::process::{Family, Process};
use crate::metrics::store::series::{BaseId, ConnectionCells, Messages, RequestSeries};
use crate::metrics::store::table::SeriesTable;
use crate::metrics::store::tags::TagValues;
use crate::metrics::store::value::Value;

/// A snapshot of all metrics that is written piece by piece.
///
/// Istio's families are read at once, so that they agree with each other, and kept as numbers: half
/// a kilobyte for each set of labels, while their text takes sixty. The families of the process are
/// read when they are written.
#[derive(Debug)]
pub(in crate::metrics) struct Exposition {
    requests: Vec<RequestRow>,
    messages: Vec<(BaseId, Messages)>,
    connections: Vec<ConnectionRow>,
    /// Of each family of OpenTelemetry's conventions.
    durations: Vec<Vec<DurationRow>>,
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
}

#[derive(Debug)]
struct RequestRow {
    base: BaseId,
    outcome: OutcomeLabels,
    tags: Option<TagValues>,
    totals: RequestTotals,
}

#[derive(Debug)]
struct ConnectionRow {
    base: BaseId,
    flags: ResponseFlags,
    totals: [u64; CONNECTION_COUNTERS.len()],
}

impl Exposition {
    /// Reads Istio's families as they are now.
    pub(in crate::metrics) fn read(
        table: &SeriesTable,
        plan: Option<Arc<MetricsPlan>>,
        durations: Option<&Durations>,
    ) -> Self {
        let requests = table.bases().flat_map(|(id, base)| {
            base.requests().map(move |series| RequestRow {
                base: id,
                outcome: series.outcome,
                tags: series.tags.as_deref().cloned(),
                totals: series.totals(),
            })
        });
        let messages = table
            .bases()
            .filter_map(|(id, base)| Some((id, base.messages()?)));
        let connections = table.bases().flat_map(|(id, base)| {
            base.connections().map(move |series| ConnectionRow {
                base: id,
                flags: series.flags,
                totals: CONNECTION_COUNTERS.map(|tally| series.total(tally)),
            })
        });
        // A series that was moved to another base has nothing to show.
        let requests = requests.filter(|row| row.totals.count() > 0);
        let requests: Vec<_> = requests.collect();
        // Values of expressions tell series apart that are equal where no label shows them.
        let has_tags = requests.iter().any(|row| row.tags.is_some());
        Self {
            requests,
            messages: messages.collect(),
            connections: connections.collect(),
            durations: durations.map_or_else(Vec::new, |durations| {
                let families = 0..FAMILIES.len();
                families.map(|family| durations.rows(family)).collect()
            }),
            plan: plan.or_else(|| has_tags.then(Arc::default)),
            has_tags,
            changed: None,
            part: 0,
            row: 0,
            process: None,
        }
    }

    /// Writes one more piece: the lines of one family for one set of labels, or a whole family of
    /// the process. `false` after the last.
    pub(in crate::metrics) fn write_next(
        &mut self,
        output: &mut impl Output,
        table: &SeriesTable,
        process: &Process,
    ) -> bool {
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
        }
        true
    }

    /// Writes the next series of a part whose labels are changed. `None` where there is no more.
    fn write_changed(
        &mut self,
        part: &Part,
        plan: &MetricsPlan,
        output: &mut impl Output,
        table: &SeriesTable,
    ) -> Option<()> {
        let is_first = self.row == 0;
        if is_first {
            self.changed = self.change(part, plan, output, table);
        }
        let (family, bounds) = match *part {
            Part::Histogram(name, help, family) => ((name, help), table.buckets().get(family)),
            Part::Requests(name, help)
            | Part::Messages(name, help, _)
            | Part::Connections(name, help, _) => ((name, help), None),
            Part::Durations(_) => return None,
        };
        let changed = self.changed.as_mut()?;
        changed.write_next(family, is_first, bounds, output)
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
                Changed::counter(plan, self.part, rows)
            }
            Part::Histogram(_, _, family) => {
                let rows = requests().filter_map(|(labels, tags, row, kept)| {
                    let totals = row.totals.histogram(family)?.clone();
                    Some((labels, tags, (totals, kept.histogram(family).to_vec())))
                });
                Changed::histogram(plan, self.part, rows)
            }
            Part::Messages(_, _, count) => {
                let rows = self.messages.iter().filter_map(|(base, messages)| {
                    let labels = String::from(&*table.get(*base)?.labels);
                    Some((labels, None, (count(messages), None)))
                });
                Changed::counter(plan, self.part, rows)
            }
            Part::Connections(_, _, tally) => {
                let rows = self.connections.iter().filter_map(|row| {
                    let total = *row.totals.get(tally)?;
                    Some((row.labels(table)?, None, (total, None)))
                });
                Changed::counter(plan, self.part, rows)
            }
            Part::Durations(_) => return None,
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
                let row = self.requests.get(self.row)?;
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
                let row = self.requests.get(self.row)?;
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
                let (base, messages) = self.messages.get(self.row)?;
                let labels = &table.get(*base)?.labels;
                counter(output, name, help, labels, count(messages), None);
            }
            Part::Connections(name, help, tally) => {
                let row = self.connections.get(self.row)?;
                let total = row.totals.get(tally)?;
                counter(output, name, help, &row.labels(table)?, *total, None);
            }
            Part::Durations(of) => {
                let row = self.durations.get(of)?.get(self.row)?;
                let Named {
                    prometheus, help, ..
                } = FAMILIES.get(of)?;
                family(output, MetricType::Histogram, prometheus, help);
                output.histogram(prometheus, &row.labels, (&row.totals, bounds()), &[]);
            }
        }
        Some(())
    }
}

impl RequestRow {
    fn labels(&self, table: &SeriesTable) -> Option<String> {
        let base = table.get(self.base)?;
        let rest = self.outcome.render(base.security_policy);
        Some(format!("{},{rest}", base.labels))
    }

    /// The exemplars of now, which may be newer than the totals.
    fn exemplars(&self, output: &impl Output, table: &SeriesTable) -> Option<Kept> {
        if !output.takes_exemplars() {
            return None;
        }
        let requests = &table.get(self.base)?.requests;
        let tags = self.tags.as_ref();
        let hash = RequestSeries::hash(self.outcome, tags);
        let series = requests.get(hash, |series| series.is(self.outcome, tags))?;
        Some(series.exemplars.read())
    }
}

impl ConnectionRow {
    fn labels(&self, table: &SeriesTable) -> Option<String> {
        let base = table.get(self.base)?;
        Some(format!(
            "{},request_protocol=\"tcp\",response_flags=\"{}\",connection_security_policy=\"{}\"",
            base.labels, self.flags, base.security_policy
        ))
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

/// One of Istio's families: its name, its help, and what it shows.
enum Part {
    Requests(&'static str, &'static str),
    /// Of the histogram with this number.
    Histogram(&'static str, &'static str, usize),
    Messages(&'static str, &'static str, Count),
    /// Of the counter with this number.
    Connections(&'static str, &'static str, usize),
    /// Of OpenTelemetry's family with this number.
    Durations(usize),
}

impl Part {
    /// Whether plans are for it.
    const fn is_istios(&self) -> bool {
        !matches!(self, Self::Durations(_))
    }
}

type Count = fn(&Messages) -> u64;
type ConnectionCounter = fn(&ConnectionCells) -> &AtomicU64;

const CONNECTION_COUNTERS: [ConnectionCounter; 4] = [
    |cells| &cells.opened,
    |cells| &cells.closed,
    |cells| &cells.sent,
    |cells| &cells.received,
];

const PARTS: [Part; 14] = [
    Part::Requests("istio_requests", "Requests that have ended."),
    Part::Histogram(
        Buckets::NAMES[0],
        "Time from the first byte of a request to the last byte of its response, \
         in whole milliseconds.",
        0,
    ),
    Part::Histogram(Buckets::NAMES[1], "Size of requests, head and body.", 1),
    Part::Histogram(Buckets::NAMES[2], "Size of responses, head and body.", 2),
    Part::Messages(
        "istio_request_messages",
        "gRPC messages of requests.",
        |messages| messages.request,
    ),
    Part::Messages(
        "istio_response_messages",
        "gRPC messages of responses.",
        |messages| messages.response,
    ),
    Part::Connections("istio_tcp_connections_opened", "Connections opened.", 0),
    Part::Connections("istio_tcp_connections_closed", "Connections closed.", 1),
    Part::Connections(
        "istio_tcp_sent_bytes",
        "Bytes sent to the calling side of connections.",
        2,
    ),
    Part::Connections(
        "istio_tcp_received_bytes",
        "Bytes received from the calling side of connections.",
        3,
    ),
    Part::Durations(0),
    Part::Durations(1),
    Part::Durations(2),
    Part::Durations(3),
];

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
