use std::sync::atomic::AtomicU64;

use super::text::Text;
use crate::message::ResponseFlags;
use crate::metrics::store::histogram::{HistogramTotals, RequestTotals};
use crate::metrics::store::labels::OutcomeLabels;
use crate::metrics::store::metric_type::MetricType;
use crate::metrics::store::process::{Family, Process};
use crate::metrics::store::series::{BaseId, ConnectionCells, Messages};
use crate::metrics::store::table::SeriesTable;

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
    pub(in crate::metrics) fn read(table: &SeriesTable) -> Self {
        let requests = table.bases().flat_map(|(id, base)| {
            base.requests().map(move |series| RequestRow {
                base: id,
                outcome: series.outcome,
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
        let requests = requests.filter(|row| row.totals.duration.count() > 0);
        Self {
            requests: requests.collect(),
            messages: messages.collect(),
            connections: connections.collect(),
            part: 0,
            row: 0,
            process: None,
        }
    }

    /// Writes one more piece: the lines of one family for one set of labels, or a whole family of
    /// the process. `false` after the last.
    pub(in crate::metrics) fn write_next(
        &mut self,
        text: &mut Text,
        table: &SeriesTable,
        process: &Process,
    ) -> bool {
        let Some(part) = PARTS.get(self.part) else {
            self.process = process.read_after(self.process, |name, family| {
                write_family(name, family, text);
            });
            return self.process.is_some();
        };
        if self.write_row(part, text, table).is_some() {
            self.row += 1;
        } else {
            self.part += 1;
            self.row = 0;
        }
        true
    }

    /// `None` where the part has no more rows.
    fn write_row(&self, part: &Part, text: &mut Text, table: &SeriesTable) -> Option<()> {
        let family = |text: &mut Text, kind, name, help| {
            if self.row == 0 {
                text.family(kind, name, help);
            }
        };
        match *part {
            Part::Requests(name, help) => {
                let row = self.requests.get(self.row)?;
                family(text, MetricType::Counter, name, help);
                let count = row.totals.duration.count();
                text.sample(name, "_total", &row.labels(table)?, count);
            }
            Part::Histogram(name, help, histogram) => {
                let row = self.requests.get(self.row)?;
                family(text, MetricType::Histogram, name, help);
                text.histogram(name, &row.labels(table)?, histogram(&row.totals));
            }
            Part::Messages(name, help, count) => {
                let (base, messages) = self.messages.get(self.row)?;
                family(text, MetricType::Counter, name, help);
                let labels = &table.get(*base)?.labels;
                text.sample(name, "_total", labels, count(messages));
            }
            Part::Connections(name, help, tally) => {
                let row = self.connections.get(self.row)?;
                family(text, MetricType::Counter, name, help);
                let total = row.totals.get(tally)?;
                text.sample(name, "_total", &row.labels(table)?, total);
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
fn write_family(name: &str, family: &Family, text: &mut Text) {
    let mut samples = family.samples().peekable();
    if samples.peek().is_none() {
        return;
    }
    let suffix = match family.metric_type {
        MetricType::Counter => "_total",
        _ => "",
    };
    text.family(family.metric_type, name, family.help);
    for (labels, value) in samples {
        text.sample(name, suffix, labels, value);
    }
}

/// One of Istio's families: its name, its help, and what it shows.
enum Part {
    Requests(&'static str, &'static str),
    Histogram(&'static str, &'static str, Histogram),
    Messages(&'static str, &'static str, Count),
    /// Of the counter with this number.
    Connections(&'static str, &'static str, usize),
}

type Histogram = fn(&RequestTotals) -> &HistogramTotals;
type Count = fn(&Messages) -> u64;
type ConnectionCounter = fn(&ConnectionCells) -> &AtomicU64;

const CONNECTION_COUNTERS: [ConnectionCounter; 4] = [
    |cells| &cells.opened,
    |cells| &cells.closed,
    |cells| &cells.sent,
    |cells| &cells.received,
];

const PARTS: [Part; 10] = [
    Part::Requests("istio_requests", "Requests that have ended."),
    Part::Histogram(
        "istio_request_duration_milliseconds",
        "Time from the first byte of a request to the last byte of its response, \
         in whole milliseconds.",
        |totals| &totals.duration,
    ),
    Part::Histogram(
        "istio_request_bytes",
        "Size of requests, head and body.",
        |totals| &totals.request_bytes,
    ),
    Part::Histogram(
        "istio_response_bytes",
        "Size of responses, head and body.",
        |totals| &totals.response_bytes,
    ),
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
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::expose::format::Format;
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
