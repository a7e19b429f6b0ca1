//! Whose lines and records a collector gets.

#[cfg(feature = "audit")]
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::access_log::{AccessLog, Sink};
use crate::identity::Workload;
use crate::propagation::OpenTelemetry;
#[cfg(feature = "audit")]
use crate::propagation::collector::{self, text};

/// The sinks of these logs, of which those that are collectors now know whose lines they get.
pub(in crate::mesh) fn collectors(logs: &[AccessLog], workload: &Workload) -> Vec<Sink> {
    let sinks = logs.iter().filter_map(AccessLog::sink).cloned();
    let sinks: Vec<_> = sinks.collect();
    tell_workload(sinks.iter(), workload);
    sinks
}

/// Lets these sinks know whose lines they get.
pub(in crate::mesh) fn tell_workload<'s>(
    sinks: impl Iterator<Item = &'s Sink>,
    workload: &Workload,
) {
    let resource = OpenTelemetry::resource(workload);
    for sink in sinks {
        let attributes = resource.iter();
        sink.set_resource(attributes.map(|(name, value)| (name.as_str(), value.to_string())));
    }
}

/// Whose data a collector gets, as OTLP has it.
#[cfg(feature = "audit")]
pub(in crate::mesh) fn resource(workload: &Workload) -> Resource {
    let resource = OpenTelemetry::resource(workload);
    let attributes = resource.iter();
    collector::resource(attributes.map(|(name, value)| text(name.as_str(), value.to_string())))
}
