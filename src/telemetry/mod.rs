//! What `telemetry.istio.io` Telemetry resources and MeshConfig mean together for one workload.
//!
//! [`EffectiveTelemetry`] is the answer, for the requests that the workload serves and for the calls
//! that it makes: how spans are sampled and tagged, which metrics are counted with which labels,
//! and which access logs are written. A [`Mesh`](crate::mesh) applies it, and again whenever the
//! configuration changes.
//!
//! # Which resources count
//!
//! In this order, of which later ones win:
//!
//! 1. that of the root namespace without a selector;
//! 2. that of the workload's own namespace without a selector;
//! 3. those of its own namespace whose selector matches, the oldest first.
//!
//! Of several without a selector in one namespace only the oldest counts, by `creationTimestamp`;
//! where it is not written, the first of the text or of the files in their order.
//!
//! `targetRefs` attach to gateways, as those of an AuthorizationPolicy.
//!
//! # How they are merged
//!
//! | list | rule |
//! |---|---|
//! | `tracing` | field by field, for requests and for calls; `customTags` as a whole. A provider that is named and not found switches it off |
//! | `metrics` | a list of providers replaces the one before, and overrides for others are left out. `disabled` and each tag of each metric is replaced by itself. `ALL_METRICS` with `disabled: true` switches requests or calls off, and any later override for them on again |
//! | `accessLogging` | providers likewise. `disabled` on an entry for a provider takes its log away, and an entry without it gives it back. A log has the filter of the last entry that names its provider, or that has a filter |
//!
//! An entry of `accessLogging` without providers has those of the entry before it that is about the
//! same side, else the defaults. (istiod also takes over those of an entry about the other side, and
//! then finds none of them in force.) Where none of the providers in force is one of access logs,
//! `accessLogFile` is written as if there were no resource, as istiod does, and a
//! [note](EffectiveTelemetry::notes) says so.
//!
//! Where no resource says anything, MeshConfig counts: `defaultProviders`, `accessLogFile` with its
//! format and encoding, `enableTracing` and `defaultConfig.tracing`.
//!
//! # Providers
//!
//! Names are compared without case. Two exist without being defined: `prometheus`, and `envoy`, the
//! file log with MeshConfig's path (standard output if none is written), format and encoding. A
//! provider that does not exist, or of a kind that this crate does not serve, is
//! [noted](EffectiveTelemetry::notes) and counts as not found.
//!
//! # Example
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::istio::{self, MeshConfig};
//! use tower_mesh::telemetry::EffectiveTelemetry;
//!
//! let resources = istio::parse("telemetry.yaml", "
//! apiVersion: telemetry.istio.io/v1
//! kind: Telemetry
//! metadata: {name: mesh, namespace: istio-system}
//! spec:
//!   tracing: [{randomSamplingPercentage: 12.5}]
//!   accessLogging: [{providers: [{name: envoy}], filter: {expression: response.code >= 400}}]
//! ", "default")?;
//! let workload = Workload::new("default", "patients");
//! let found = EffectiveTelemetry::compile(&resources, &MeshConfig::default(), &workload);
//! assert_eq!(found.server.tracing.sampling.map(|share| share.to_string()).as_deref(), Some("12.5%"));
//! assert_eq!(found.client.access_logs[0].filter.as_deref(), Some("response.code >= 400"));
//! # Ok::<(), istio::Problems>(())
//! ```

// compile            which resources count, and everything in order
//   selection        which touch the workload
//   tracing          the lists, one after the other
//   metrics
//   access_logging
//     providers      what names mean
// effective          the result
// mode               requests or calls

mod access_logging;
mod compile;
mod effective;
mod metrics;
mod mode;
mod providers;
mod selection;
#[cfg(test)]
mod tests;
mod tracing;

pub use effective::{
    EffectiveAccessLog, EffectiveMetric, EffectiveMetrics, EffectiveTelemetry, EffectiveTracing,
    ModeTelemetry, SpanProvider,
};
