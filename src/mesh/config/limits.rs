//! The limits of the workload, from one configuration to the next.

use crate::identity::Workload;
use crate::istio::{Problem, Problems};
#[cfg(feature = "rate-limit-service")]
use crate::mesh::client::LateClient;
use crate::metrics::Registry;
use crate::policy::Program;
use crate::policy::limit::Limit;
use crate::rate_limit::{LimitStats, Limits};

/// Makes the limits of each configuration. A limit that stays as it was in the configuration in use
/// keeps what it has counted.
#[derive(Debug)]
pub(in crate::mesh) struct LimitCompiler {
    /// Those that the application has made.
    own: Vec<Limit>,
    registry: Registry,
    #[cfg(feature = "rate-limit-service")]
    client: LateClient,
    /// The limits in use.
    serving: Limits,
}

impl LimitCompiler {
    pub(in crate::mesh) fn new(own: Vec<Limit>, registry: &Registry) -> Self {
        Self {
            own,
            registry: registry.clone(),
            #[cfg(feature = "rate-limit-service")]
            client: LateClient::default(),
            serving: Limits::default(),
        }
    }

    /// Lets this client call the services that count.
    #[cfg(feature = "rate-limit-service")]
    pub(in crate::mesh) fn client(self, client: LateClient) -> Self {
        Self { client, ..self }
    }

    /// The limits of a configuration: those that it writes, and then the application's own.
    ///
    /// # Errors
    /// Limits that this build of the crate cannot apply.
    pub(in crate::mesh) fn compile(
        &self,
        program: &Program,
        workload: &Workload,
    ) -> Result<Limits, Problems> {
        let written = program.limits.iter().map(AsRef::as_ref);
        let all = || written.clone().chain(&self.own);
        let asks = all().filter(|limit| limit.spec.service.is_some());
        let unable = asks.filter(|_| cfg!(not(feature = "rate-limit-service")));
        let unable = unable.map(|limit| {
            let message = "a rate limit service is asked with the feature `rate-limit-service`";
            Problem::new(limit.at.clone(), "spec.service", message)
        });
        match Problems::from_list(unable.collect()) {
            Some(problems) => Err(problems),
            None => Ok(self.serving.next(all(), workload)),
        }
    }

    /// Notes that these limits are in use: logs what has changed, and shows their counts.
    pub(in crate::mesh) fn serves(&mut self, limits: &Limits) {
        for change in self.serving.changes(limits) {
            change.tell();
        }
        register(&self.registry, limits);
        self.serving = limits.clone();
        #[cfg(feature = "rate-limit-service")]
        {
            self.warn_of_unknown_hosts();
            for (_, origin) in self.serving.services() {
                self.client.warm(origin);
            }
        }
    }

    /// Warns of services whose hosts the client does not know, once there is a client.
    #[cfg(feature = "rate-limit-service")]
    pub(in crate::mesh) fn warn_of_unknown_hosts(&self) {
        for (limit, origin) in self.serving.services() {
            if self.client.knows(origin) == Some(false) {
                tracing::warn!(
                    target: "tower_mesh::config", limit, %origin,
                    "the client knows no server for the host of the rate limit service, so that it \
                     never counts a request: add the host with `MeshBuilder::upstream`, or with \
                     `MeshBuilder::outside` if it is not of the mesh"
                );
            }
        }
    }
}

/// Warns of limits where nothing applies them: guards are layers, and have no place for limits.
pub(super) fn warn_of_unapplied(program: &Program) {
    for limit in &program.limits {
        tracing::warn!(
            target: "tower_mesh::config", limit = limit.name, namespace = limit.namespace,
            "the RateLimit applies to this workload, and guards do not apply it: put a \
             `RateLimitLayer` in front of the service, or serve it with a mesh"
        );
    }
}

/// Registers the counts of each limit. Call it for each generation: a limit that is there again is
/// the same series. A count that is zero has no line, and a limit that is gone has none.
fn register(registry: &Registry, limits: &Limits) {
    for limit in limits.iter() {
        let stats = LimitStats::while_it_runs(limit);
        each(registry, limit.counts().name(), &stats);
    }
}

fn each<S>(registry: &Registry, name: &str, stats: &S)
where
    S: Fn() -> Option<LimitStats> + Clone + Send + Sync + 'static,
{
    type Count = fn(&LimitStats) -> u64;
    let outcomes: [(_, Count); 4] = [
        ("ok", LimitStats::passed),
        ("limited", LimitStats::refused),
        ("report_only", LimitStats::reported),
        ("error", LimitStats::unanswered),
    ];
    for (outcome, count) in outcomes {
        let stats = stats.clone();
        registry.counter_of(
            "mesh_rate_limit_total",
            "Requests that a rate limit judged, by what became of them.",
            &[("limit", name), ("outcome", outcome)],
            move || Some(count(&stats()?)).filter(|count| *count > 0),
        );
    }
    let overflowed = stats.clone();
    registry.counter_of(
        "mesh_rate_limit_overflow_total",
        "Requests whose value had no bucket of its own, as all were in use.",
        &[("limit", name)],
        move || Some(overflowed()?.overflowed()).filter(|count| *count > 0),
    );
    let keys = stats.clone();
    registry.gauge_of(
        "mesh_rate_limit_keys",
        "Values that have a bucket of their own.",
        &[("limit", name)],
        move || Some(keys()?.keys() as f64).filter(|keys| *keys > 0.0),
    );
}
