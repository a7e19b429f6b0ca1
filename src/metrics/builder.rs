use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::options::Options;
use super::registry::Registry;
use super::store::buckets::{Bounds, Buckets};

/// Builds a [`Registry`] that differs from Istio's defaults: [`Registry::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_mesh::metrics::Registry;
///
/// let registry = Registry::builder()
///     .buckets("istio_request_duration", [1.0, 5.0, 25.0, 100.0, 500.0, 2500.0])
///     .reporting_interval(Duration::from_secs(1))
///     .metadata_label("app.kubernetes.io/part-of")
///     .build()?;
/// # drop(registry);
/// # Ok::<(), tower_mesh::metrics::OptionsError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a registry has them"]
pub struct RegistryBuilder {
    options: Options,
    buckets: Option<Buckets>,
    mistakes: Vec<String>,
}

impl Registry {
    /// Builds a registry with other buckets, intervals or peer metadata than Istio's.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder {
            options: Options::default(),
            buckets: None,
            mistakes: Vec::new(),
        }
    }
}

impl RegistryBuilder {
    /// Sets the upper bounds of the histograms whose names start with `prefix`, as the annotation
    /// `sidecar.istio.io/statsHistogramBuckets` does: milliseconds for durations, bytes for sizes.
    ///
    /// The prefix may be of Prometheus' name (`istio_request_bytes`) or of Envoy's, in which all of
    /// Istio's metrics start with `istiocustom`. The bucket `+Inf` is added. Of two calls for one
    /// histogram the later counts.
    ///
    /// Dashboards read quantiles from the buckets. Workloads whose quantiles are added up need the
    /// same bounds.
    pub fn buckets(mut self, prefix: &str, bounds: impl IntoIterator<Item = f64>) -> Self {
        let bounds: Vec<f64> = bounds.into_iter().collect();
        match Bounds::new(&bounds) {
            Ok(bounds) => {
                let buckets = self.buckets.get_or_insert_with(|| Buckets::usual().clone());
                if !buckets.replace(prefix, &bounds) {
                    self.mistakes.push(format!(
                        "buckets of {prefix:?}: no histogram has this prefix: the names are {}",
                        Buckets::NAMES.join(", ")
                    ));
                }
            }
            Err(wrong) => self
                .mistakes
                .push(format!("buckets of {prefix:?}: not usable: {wrong}")),
        }
        self
    }

    /// Sets how often the gRPC messages of a stream that still runs are added to the metrics; five
    /// seconds by default, as in Istio. `reportingInterval` of a Telemetry resource is the same.
    ///
    /// Before the response, they are added where the stream is served, each time its handler is
    /// polled. The caller adds them from the response on, as it then knows whom it has called.
    pub fn reporting_interval(mut self, interval: Duration) -> Self {
        self.options.reporting_interval = interval;
        self
    }

    /// Sets whether samples name the newest recorded request that they count, by its trace and its
    /// span; on by default.
    ///
    /// Only OpenMetrics and OTLP show exemplars, on `istio_requests_total` and on the buckets. Only
    /// requests whose trace is sampled have them. Each series keeps one for each bucket.
    pub fn exemplars(mut self, on: bool) -> Self {
        self.options.exemplars = on;
        self
    }

    /// Keeps OpenTelemetry's metrics of HTTP and RPC, too, for tools that do not know Istio's: the
    /// histograms `http.server.request.duration`, `http.client.request.duration`,
    /// `rpc.server.call.duration` and `rpc.client.call.duration`, in seconds, in Prometheus
    /// `http_server_request_duration_seconds` and so on. Off by default.
    ///
    /// Attributes are `http.request.method`, `url.scheme`, `http.route` (where the application
    /// [sets](crate::context::Exchange::set_route) it), `http.response.status_code`,
    /// `network.protocol.version`, `error.type`, of calls also `server.address` and `server.port`;
    /// of gRPC `rpc.system.name`, `rpc.method` and `rpc.response.status_code`. A gRPC method that a
    /// server does not have, or a call that it refuses, counts as `_OTHER`. There are at most 2000
    /// series in all; the rest counts under `otel.metric.overflow`.
    ///
    /// Each request then costs about a microsecond more, as its attributes are written down.
    /// Records that are [finished](super::ServerRecord::finish) by hand are not counted here.
    pub fn semantic_conventions(mut self) -> Self {
        self.options.semantic_conventions = true;
        self
    }

    /// As [`semantic_conventions`](Self::semantic_conventions), with the metrics that the
    /// conventions make opt-in: the histograms `http.server.request.body.size`,
    /// `http.server.response.body.size` and the same of `http.client`, in bytes, and the numbers of
    /// requests that have not ended, `http.server.active_requests` and
    /// `http.client.active_requests`. In Prometheus they are `http_server_request_body_size_bytes`
    /// and the gauge `http_server_active_requests`, and so on. gRPC calls are not among them.
    ///
    /// Sizes have the attributes of the durations, and the buckets of OpenTelemetry's SDKs: 0, 5,
    /// 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500 and 10,000 bytes. Active requests
    /// have `http.request.method` and `url.scheme`, of calls also `server.address` and
    /// `server.port`.
    pub fn opt_in_semantic_conventions(mut self) -> Self {
        self.options.semantic_conventions = true;
        self.options.opt_in_conventions = true;
        self
    }

    /// Adds a label of this workload to the metadata that peers get. They get Istio's own labels
    /// anyway: `app`, `version`, and the canonical name and revision.
    pub fn metadata_label(mut self, key: impl Into<String>) -> Self {
        self.options.extra_labels.push(key.into());
        self
    }

    /// Reads the metadata of peers without mutual TLS, too, and answers with our own.
    ///
    /// Anybody who can connect can then say who he is, in labels of metrics. All peers in plaintext
    /// share the eight descriptions that one name may have. No policy reads metadata.
    pub fn read_metadata_of_plaintext_peers(mut self) -> Self {
        self.options.reads_plaintext = true;
        self
    }

    /// The registry.
    ///
    /// # Errors
    /// When buckets cannot be used: no bounds or more than 50, bounds that are not finite, negative
    /// or not in order, or a prefix that no histogram has. The error names all of them.
    pub fn build(self) -> Result<Registry, OptionsError> {
        if self.mistakes.is_empty() {
            Ok(Registry::with(self.options, self.buckets))
        } else {
            Err(OptionsError(self.mistakes))
        }
    }
}

/// Options of a [`Registry`] that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError(Vec<String>);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Error for OptionsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once() {
        let built = Registry::builder()
            .buckets("istio_request_bytes", [2.0, 1.0])
            .buckets("cluster.", [1.0])
            .build();
        let error = built.unwrap_err().to_string();
        assert!(
            error.contains("each must be more than the one before"),
            "{error}"
        );
        assert!(
            error.contains("\"cluster.\": no histogram has this prefix"),
            "{error}"
        );
    }
}
