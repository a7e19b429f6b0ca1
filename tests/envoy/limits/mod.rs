//! Rate limits: a mesh and a real Envoy with the same limits get the same requests in the same order, and ask the same service.

mod compare;
mod scenario;
mod service;
mod table_global;
mod table_local;

use std::path::Path;

/// Plays all of them; the differences.
pub(crate) async fn compare(program: &Path) -> Vec<String> {
    let mut scenarios = table_local::scenarios();
    scenarios.extend(table_global::scenarios());
    let differences = compare::compare(program, &scenarios).await;
    let requests: usize = scenarios.iter().map(|scenario| scenario.steps.len()).sum();
    let listed = scenarios
        .iter()
        .filter(|scenario| scenario.listed.is_some());
    eprintln!(
        "limits: {} scenarios, {requests} requests, {} listed, {} different",
        scenarios.len(),
        listed.count(),
        differences.len()
    );
    differences
}
