use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;

use super::conventions::families::Conventions;
use super::expose::families::Exposition;
use super::expose::format::Format;
use super::expose::output::Output;
use super::expose::slots::ScrapeSlots;
use super::expose::text::Text;
use super::options::Options;
use super::plan::MetricsPlan;
#[cfg(all(feature = "server", feature = "client"))]
use super::plan::claims::Claims;
use super::store::buckets::Buckets;
use super::store::process::{Counter, Gauge, Process};
use super::store::table::SeriesTable;

#[cfg(all(feature = "server", feature = "client"))]
pub(in crate::metrics) mod plan_owner;

/// All metrics of a process. Cheap to clone; all clones are the same registry.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::metrics::{Format, Registry};
///
/// let registry = Registry::new();
/// let help = "Configurations that were taken over.";
/// let reloads = registry.counter("mesh_config_reloads_total", help, &[("result", "ok")]);
/// reloads.add(1);
/// assert!(registry.render(Format::Text).contains("mesh_config_reloads_total{result=\"ok\"} 1\n"));
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Families>);

struct Families {
    table: SeriesTable,
    process: Process,
    scrapes: ScrapeSlots,
    options: Options,
    conventions: Option<Conventions>,
    #[cfg_attr(
        not(all(feature = "otlp", feature = "server", feature = "client")),
        allow(dead_code, reason = "only OTLP says since when a number counts")
    )]
    began: SystemTime,
    /// `None`: everything is shown as it is counted.
    plan: ArcSwapOption<MetricsPlan>,
    #[cfg(all(feature = "server", feature = "client"))]
    claims: Claims,
}

impl Registry {
    /// A registry that holds `istio_build` and no other metric yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Options::default(), None)
    }

    pub(super) fn with(options: Options, buckets: Option<Buckets>) -> Self {
        // Made here, and not by the first request that has an exemplar.
        let _ = Buckets::usual();
        let process = Process::default();
        process
            .gauge(
                "istio_build",
                "Istio component build info",
                &[
                    ("component", "proxy"),
                    ("tag", concat!("tower-mesh-", env!("CARGO_PKG_VERSION"))),
                ],
            )
            .set(1.0);
        Self(Arc::new(Families {
            table: SeriesTable::new(buckets),
            process,
            scrapes: ScrapeSlots::new(),
            conventions: options
                .semantic_conventions
                .then(|| Conventions::new(options.opt_in_conventions)),
            options,
            began: SystemTime::now(),
            plan: ArcSwapOption::empty(),
            #[cfg(all(feature = "server", feature = "client"))]
            claims: Claims::default(),
        }))
    }

    /// A counter of the process. The same name and labels give the same counter.
    ///
    /// The name must end in `_total`. Each name has at most 2000 series; the labels of more series
    /// all say `unknown`. If Prometheus does not allow the name, or it is the name of a gauge, a
    /// warning is logged and the counter is not shown.
    #[must_use]
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Counter {
        self.0.process.counter(name, help, labels)
    }

    /// A gauge of the process, as [`counter`](Self::counter); its name must not end in `_total`.
    #[must_use]
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Gauge {
        self.0.process.gauge(name, help, labels)
    }

    /// A gauge whose value is computed when metrics are written; without a value there is no line,
    /// and the gauge is forgotten if a new one needs the place.
    /// The last gauge that was registered under a name and labels counts. `value` must not register
    /// or render metrics of this registry: it is called under the lock that both take.
    pub fn gauge_of(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let value = Box::new(value);
        self.0
            .process
            .register_callback(false, name, help, labels, value);
    }

    /// A counter that is kept elsewhere and read when metrics are written, as
    /// [`gauge_of`](Self::gauge_of). Its name may also be one of Envoy's that does not end in
    /// `_total`.
    pub fn counter_of(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        // Such a counter does not reach 2^53.
        let value = Box::new(move || value().map(|count| count as f64));
        self.0
            .process
            .register_callback(true, name, help, labels, value);
    }

    /// All metrics as one text. For a scraper, [`Scrape`](super::Scrape) writes the text piece by
    /// piece.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let mut text = Text::new(format);
        let mut exposition = self.exposition(Instant::now());
        while self.write_next(&mut exposition, &mut text) {}
        text.end();
        text.take()
    }

    /// All metrics as they are now.
    pub(super) fn exposition(&self, now: Instant) -> Exposition {
        let snapshot = self.0.table.snapshot(now);
        Exposition::read(&snapshot, self.0.plan.load_full(), self.conventions())
    }

    /// Writes one more piece; `false` if there is none.
    pub(super) fn write_next(&self, exposition: &mut Exposition, output: &mut impl Output) -> bool {
        exposition.write_next(output, &self.0.table, &self.0.process)
    }

    /// Changes what is shown from now on; `None` shows everything as it is counted.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(super) fn set_plan(&self, plan: Option<MetricsPlan>) {
        let expressions = plan.as_ref().map(MetricsPlan::expressions);
        let show = || self.0.plan.store(plan.map(Arc::new));
        self.0.table.evaluate(expressions.unwrap_or_default(), show);
    }

    /// The plans of the meshes that count here.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(super) fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// How often long calls report: as the plan says, else as the application has chosen.
    pub(super) fn reporting_interval(
        &self,
        planned: impl FnOnce(&MetricsPlan) -> Option<Duration>,
    ) -> Duration {
        let plan = self.0.plan.load();
        let planned = plan.as_deref().and_then(planned);
        planned.unwrap_or(self.0.options.reporting_interval)
    }

    pub(super) fn scrapes(&self) -> &ScrapeSlots {
        &self.0.scrapes
    }

    /// When it was made: all counts are since then.
    #[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
    pub(super) fn began(&self) -> SystemTime {
        self.0.began
    }

    /// The metrics of OpenTelemetry's conventions, if they are kept.
    pub(super) fn conventions(&self) -> Option<&Conventions> {
        self.0.conventions.as_ref()
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn table(&self) -> &SeriesTable {
        &self.0.table
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
