//! Compiles the telemetry of one configuration, and puts it to use.

use std::sync::Arc;

use super::line_counts::LineCounts;
use super::logs::LogCompiler;
use super::metrics;
use super::reports::Reports;
use super::spans::{self, Shown};
use crate::access_log::AccessLog;
use crate::identity::Workload;
use crate::istio::{Problem, Problems};
use crate::live::Live;
use crate::matcher::path_redaction::PathRedaction;
use crate::metrics::{MetricsPlan, PlanOwner, Registry};
use crate::propagation::{Propagation, TraceOptions};
use crate::source::Configuration;
use crate::telemetry::{EffectiveTelemetry, SpanProvider};

/// What the application itself has set, which counts where no resource says otherwise.
#[derive(Debug)]
pub(in crate::mesh) struct OwnTelemetry {
    pub(in crate::mesh) propagation: Propagation,
    pub(in crate::mesh) registry: Registry,
    /// Says how the registry is shown.
    pub(in crate::mesh) plan: PlanOwner,
    pub(in crate::mesh) access_logs: Vec<AccessLog>,
    /// What no log shows of paths.
    pub(in crate::mesh) hidden: PathRedaction,
    /// The SPIFFE id of the workload's own certificate.
    pub(in crate::mesh) own_id: Option<Arc<str>>,
    /// What requests and calls read.
    pub(in crate::mesh) reports: Live<Reports>,
}

/// Compiles one configuration after the other.
#[derive(Debug)]
pub(in crate::mesh) struct TelemetryCompiler {
    own: OwnTelemetry,
    /// The options of the application for requests and for calls.
    base: [TraceOptions; 2],
    logs: LogCompiler,
    lines: LineCounts,
}

/// The telemetry of one configuration. Nothing has changed before it [serves](TelemetryCompiler::serves).
#[derive(Clone, Debug)]
pub(in crate::mesh) struct CompiledTelemetry {
    options: [TraceOptions; 2],
    plan: Option<MetricsPlan>,
    reports: Reports,
}

impl TelemetryCompiler {
    pub(in crate::mesh) fn new(own: OwnTelemetry) -> Self {
        Self {
            base: [
                own.propagation.server_options(),
                own.propagation.client_options(),
            ],
            logs: LogCompiler::new(
                own.access_logs.clone(),
                own.hidden.clone(),
                own.own_id.clone(),
            ),
            own,
            lines: LineCounts::default(),
        }
    }

    /// Compiles a configuration for a workload. What has no effect is told in the log.
    ///
    /// # Errors
    /// A format or a tag that cannot be used, a file that cannot be opened, and an expression where
    /// the feature `cel` is not built in.
    pub(in crate::mesh) fn compile(
        &mut self,
        configuration: &Configuration,
        workload: &Workload,
    ) -> Result<CompiledTelemetry, Problems> {
        let (resources, mesh) = (&configuration.resources, &configuration.mesh_config);
        let found = EffectiveTelemetry::compile(resources, mesh, workload);
        for note in found.notes.iter().take(MOST_NOTES) {
            tracing::warn!(target: "tower_mesh::config", %note);
        }
        self.warn_of_no_exporter(&found);
        let mut problems = found.problems.clone();
        self.logs.keep_files_of(&self.own.reports.load());
        let [server, client] = &self.base;
        let shown = Shown {
            hidden: &self.own.hidden,
            own_id: self.own.own_id.as_ref(),
        };
        let options = [
            spans::options(server, &found.server.tracing, &shown, &mut problems),
            spans::options(client, &found.client.tracing, &shown, &mut problems),
        ];
        let plan = metrics::plan(&found, &mut problems);
        let reports = self.logs.compile(&found, mesh, workload, &mut problems);
        match Problems::from_list(without_twins(problems)) {
            Some(problems) => Err(problems),
            None => Ok(CompiledTelemetry {
                options,
                plan,
                reports,
            }),
        }
    }

    /// Whether no other mesh that counts in the same registry shows it otherwise.
    pub(in crate::mesh) fn claims(&self, compiled: &CompiledTelemetry) -> bool {
        self.own.plan.claim(compiled.plan.as_ref())
    }

    /// Puts it to use. What has begun ends as it began.
    pub(in crate::mesh) fn serves(&mut self, compiled: &CompiledTelemetry) {
        let [server, client] = compiled.options.clone();
        self.own.propagation.replace_options(server, client);
        if !self.own.plan.show(compiled.plan.as_ref()) {
            tracing::warn!(
                target: "tower_mesh::config",
                "another mesh that counts in the same registry has other `metrics` in its Telemetry \
                 resources: the registry is shown as the last change of either says; give each mesh \
                 a registry of its own, or both the same resources"
            );
        }
        let reports = &compiled.reports;
        let sides = [&reports.server, &reports.client];
        let sinks = sides.into_iter().flat_map(|side| side.access_logs.sinks());
        self.lines.show(&self.own.registry, sinks);
        self.logs.keep_files_of(reports);
        self.own.reports.store(reports.clone());
    }

    fn warn_of_no_exporter(&self, found: &EffectiveTelemetry) {
        let is_named = |provider: &SpanProvider| {
            matches!(
                provider,
                SpanProvider::Zipkin(_) | SpanProvider::OpenTelemetry(_)
            )
        };
        let named = [&found.server, &found.client]
            .into_iter()
            .any(|side| is_named(&side.tracing.provider));
        if named && !self.own.propagation.exports() {
            tracing::warn!(
                target: "tower_mesh::config",
                "tracing has a provider, but the application sends spans nowhere: give the mesh an \
                 exporter, such as `TelemetryOptions::otlp` or `zipkin`"
            );
        }
    }
}

/// Requests and calls often have the same mistake.
fn without_twins(problems: Vec<Problem>) -> Vec<Problem> {
    let mut kept: Vec<Problem> = Vec::new();
    for problem in problems {
        if !kept.contains(&problem) {
            kept.push(problem);
        }
    }
    kept
}

const MOST_NOTES: usize = 50;
