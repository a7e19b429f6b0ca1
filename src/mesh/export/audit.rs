//! Writes what waits for the audit trail.

use std::future::Future;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::audit::Audit;
use crate::mesh::Mesh;
use crate::mesh::audit::AuditedServer;

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

    /// A server with guards begins.
    pub(in crate::mesh) fn audited_server(&self) -> Option<AuditedServer> {
        let auditor = self.parts().auditor.as_ref()?;
        Some(auditor.under_way.begin_server())
    }

    /// Ends the audit trail for a server that has drained. After a shutdown the last one waits for
    /// what is under way elsewhere in the mesh, until a moment after the grace period, and ends the
    /// trail; the others write what waits.
    pub(in crate::mesh) async fn end_audit(&self, server: Option<AuditedServer>, within: Duration) {
        let (Some(server), Some(auditor)) = (server, &self.parts().auditor) else {
            return;
        };
        if !(server.ends() && self.parts().shutdown.is_requested()) {
            self.flush_audit(within).await;
            return;
        }
        let mut shutdown = self.shutdown_signal();
        tokio::select! {
            biased;
            () = auditor.under_way.none() => {}
            () = async {
                shutdown.cut().await;
                sleep(LATE).await;
            } => {}
        }
        self.stop_audit(within).await;
    }

    /// Ends the audit trail with a `stop` record and a checkpoint. Requests that come later and must
    /// be recorded first are refused. Returns whether the trail has ended within this time.
    ///
    /// After a [`shutdown`](Self::shutdown) the last [`serve`](Self::serve) of this mesh does it at
    /// its end, once the requests that are under way under servers of your own have ended, too, or
    /// the grace period has. A server that ends before only writes what waits. Without `serve`, do
    /// it before the process ends. An audit that the application has
    /// [started itself](crate::mesh::AuditOptions::shared) is only flushed.
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

/// How long the records of what was cut at the end of the grace period may take to come.
const LATE: Duration = Duration::from_secs(1);
