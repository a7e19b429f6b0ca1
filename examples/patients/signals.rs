//! The golden signals of each edge of the mesh, worked out of Istio's metrics as Kiali and Grafana do.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Who calls whom, and how that goes.
#[derive(Debug)]
pub struct Signals(BTreeMap<Edge, Signal>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    source: String,
    destination: String,
    protocol: String,
}

#[derive(Debug, Default)]
struct Signal {
    requests: f64,
    errors: f64,
    /// How many requests took at most so many milliseconds, the bound first.
    buckets: Vec<(f64, f64)>,
}

impl Signals {
    /// Reads a scrape. What the called side counts is taken; of an edge that it knows nothing of, what the caller counts.
    pub fn of(metrics: &str) -> Self {
        let mut by_reporter =
            BTreeMap::from([("destination", Self::none()), ("source", Self::none())]);
        for line in metrics.lines() {
            let Some((name, labels, value)) = sample(line) else {
                continue;
            };
            let Some(signals) = label(labels, "reporter").and_then(|it| by_reporter.get_mut(it))
            else {
                continue;
            };
            if !SHOWN.contains(&name) {
                continue;
            }
            let signal = signals.0.entry(Edge::of(labels)).or_default();
            match label(labels, "le") {
                Some(bound) => signal.lasted(bound, value),
                None => signal.count(labels, value),
            }
        }
        let callers = by_reporter.remove("source").unwrap_or_else(Self::none);
        let mut signals = by_reporter.remove("destination").unwrap_or_else(Self::none);
        for (edge, signal) in callers.0 {
            signals.0.entry(edge).or_insert(signal);
        }
        signals
    }

    fn none() -> Self {
        Self(BTreeMap::new())
    }
}

impl Edge {
    fn of(labels: &str) -> Self {
        let of = |name| label(labels, name).unwrap_or("unknown").to_owned();
        // The id is proven, where there is one; a workload only says its name.
        let account = label(labels, "source_principal").and_then(account);
        Self {
            source: account.unwrap_or_else(|| of("source_workload")),
            destination: of("destination_service_name"),
            protocol: of("request_protocol"),
        }
    }
}

impl Signal {
    fn count(&mut self, labels: &str, value: f64) {
        self.requests += value;
        let code = label(labels, "response_code").unwrap_or_default();
        let grpc = label(labels, "grpc_response_status").unwrap_or_default();
        let is_good = code.starts_with(['2', '3']) && ["", "0"].contains(&grpc);
        if !is_good {
            self.errors += value;
        }
    }

    fn lasted(&mut self, bound: &str, value: f64) {
        // `+Inf` is a number, too.
        let Ok(bound) = bound.parse() else { return };
        match self.buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, count)) => *count += value,
            None => self.buckets.push((bound, value)),
        }
    }

    /// As PromQL's `histogram_quantile`: inside its bucket a request may have lasted anything, so that it is a guess.
    fn quantile(&self, share: f64) -> f64 {
        let mut buckets = self.buckets.clone();
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let all = buckets.last().map_or(0.0, |(_, all)| *all);
        if all <= 0.0 {
            return f64::NAN;
        }
        let rank = share * all;
        let (mut from, mut below) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= rank && count > below && bound.is_finite() {
                return from + (bound - from) * (rank - below) / (count - below);
            }
            if bound.is_finite() {
                (from, below) = (bound, count);
            }
        }
        from
    }
}

impl Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20}  {:<16}  {:<8}  {:>8}  {:>7}  {:>8}  {:>8}  {:>8}",
            "source", "destination", "protocol", "requests", "errors", "p50 ms", "p95 ms", "p99 ms"
        )?;
        for (edge, signal) in &self.0 {
            let errors = 100.0 * signal.errors / signal.requests.max(1.0);
            writeln!(
                f,
                "{:<20}  {:<16}  {:<8}  {:>8}  {:>6.1}%  {:>8.2}  {:>8.2}  {:>8.2}",
                edge.source,
                edge.destination,
                edge.protocol,
                signal.requests,
                errors,
                signal.quantile(0.5),
                signal.quantile(0.95),
                signal.quantile(0.99)
            )?;
        }
        Ok(())
    }
}

/// `name{labels} value`.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    Some((name, labels, value.parse().ok()?))
}

fn label<'l>(labels: &'l str, name: &str) -> Option<&'l str> {
    let mut all = labels.split("\",");
    let value = all.find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""))?;
    Some(value.trim_end_matches('"'))
}

/// `sa` of `spiffe://…/ns/default/sa/sa`, and of other namespaces `ns/sa`.
fn account(id: &str) -> Option<String> {
    let (_, rest) = id.split_once("/ns/")?;
    let (namespace, account) = rest.split_once("/sa/")?;
    Some(match namespace {
        "default" => account.to_owned(),
        namespace => format!("{namespace}/{account}"),
    })
}

const SHOWN: [&str; 2] = [
    "istio_requests_total",
    "istio_request_duration_milliseconds_bucket",
];
