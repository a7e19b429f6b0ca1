//! One span for each try of a call, under the call's own, as Envoy's gateways have them.

pub(in crate::propagation) mod attempt;
