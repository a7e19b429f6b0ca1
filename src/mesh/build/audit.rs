//! Starts the audit trail of a mesh.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::audit::Audit;
use crate::error_chain::ErrorChain;
use crate::identity::{SpiffeId, Workload};
use crate::mesh::audit::{Auditor, register};
use crate::mesh::error::Faults;
use crate::mesh::options::AuditOptions;
use crate::metrics::Registry;

/// The mistakes that can be told before anything is opened.
pub(super) fn check(options: Option<&AuditOptions>, faults: &mut Faults) {
    let Some(options) = options else {
        return;
    };
    faults.mistakes("audit: ", &options.mistakes);
    if options.shared.is_some() {
        for option in &options.of_audit {
            faults.mistake(&format!(
                "audit: {option}: the audit of `shared` has its own: set it where that is built \
                 (`Audit::builder().{option}(..)`)"
            ));
        }
    }
    match (options.has_trail, &options.shared) {
        (false, None) => faults.mistake(
            "audit: there is no trail: give it one with `trail`, or an audit with `shared`",
        ),
        (true, Some(_)) => faults.mistake(
            "audit: shared: an audit that has its own trails, and `trail` adds another: leave one \
             of them out",
        ),
        (true, None) | (false, Some(_)) => {}
    }
}

/// Opens the trails, when nothing else is wrong. It blocks on the disk, so a thread of its own does
/// it.
pub(super) async fn start(
    options: Option<AuditOptions>,
    id: Option<&SpiffeId>,
    workload: &Workload,
    registry: &Registry,
    faults: &mut Faults,
) -> Option<(Arc<Auditor>, bool)> {
    let (options, id) = (options?, id?);
    if !faults.is_empty() {
        return None;
    }
    let is_shared = options.shared.is_some();
    let audit = match options.shared {
        Some(audit) => audit,
        None => {
            let builder = options.builder.workload(id.as_str().to_owned());
            #[cfg(feature = "otlp")]
            builder.tell_collectors(&crate::mesh::export::collectors::resource(workload));
            let started = spawn_blocking(|| builder.start()).await;
            let started = started.map_err(|_| "audit: the trails could not be started".to_owned());
            let started: Result<Audit, String> = started.and_then(|started| {
                started.map_err(|error| format!("audit: {}", ErrorChain(&error)))
            });
            match started {
                Ok(audit) => audit,
                Err(mistake) => {
                    faults.mistake(&mistake);
                    return None;
                }
            }
        }
    };
    let service = workload.canonical_service();
    let auditor = Auditor::new(
        audit,
        options.scope,
        id.as_str(),
        service,
        workload.namespace(),
    );
    let auditor = Arc::new(auditor);
    register(registry, &auditor);
    Some((auditor, is_shared))
}
