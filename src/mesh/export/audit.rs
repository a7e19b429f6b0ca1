//! Writes what waits for the audit trail.

use std::future::Future;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::audit::Audit;
use crate::mesh::Mesh;

impl Mesh {
    /// The audit trail, if the mesh has one: for events outside of requests, and for counters.
    #[must_use]
    pub fn audit(&self) -> Option<&Audit> {
        let auditor = self.parts().auditor.as_ref()?;
        Some(&auditor.audit)
    }

    /// Waits until all audit records before this call are durable, or lost. Returns whether that was
    /// so within this time.
    pub fn flush_audit(&self, within: Duration) -> impl Future<Output = bool> + Send + use<> {
        let audit = self.audit().cloned();
        async move {
            let Some(audit) = audit else {
                return true;
            };
            let flushed = spawn_blocking(move || audit.flush(within)).await;
            flushed.unwrap_or(false)
        }
    }

    /// Ends the audit trail if no server with guards runs any more, and else writes what waits.
    pub(in crate::mesh) async fn end_audit(&self, within: Duration) -> bool {
        match self.parts().shutdown.is_guarding() {
            true => self.flush_audit(within).await,
            false => self.stop_audit(within).await,
        }
    }

    /// Ends the audit trail with a `stop` record and a checkpoint. Requests that come later and must
    /// be recorded first are refused. Returns whether the trail has ended within this time.
    ///
    /// [`serve`](Self::serve) does it at its end, for five seconds at most, when no other `serve` of
    /// this mesh runs. Under a server of your own, do it before the process ends. An audit that the
    /// application has [started itself](crate::mesh::AuditOptions::shared) is only flushed.
    pub fn stop_audit(&self, within: Duration) -> impl Future<Output = bool> + Send + use<> {
        let audit = self.audit().cloned();
        let ends = self.parts().ends_audit;
        async move {
            let Some(audit) = audit else {
                return true;
            };
            let end = move || match ends {
                true => audit.shutdown(within),
                false => audit.flush(within),
            };
            spawn_blocking(end).await.unwrap_or(false)
        }
    }
}
