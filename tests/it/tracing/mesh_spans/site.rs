//! A caller and the workload `app` in one mesh, and the spans of both.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanKind, SpanSink};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::support::mesh::{Served, build, serve, until};

#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<FinishedSpan>>>);

impl SpanSink for Spans {
    fn export(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }
}

impl Spans {
    /// All spans, once there are so many.
    pub(crate) async fn all(&self, count: usize) -> Vec<FinishedSpan> {
        until("the spans", || self.0.lock().unwrap().len() >= count).await;
        let spans = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }

    /// Propagation that records everything here.
    pub(crate) fn recording(&self) -> Propagation {
        Propagation::new()
            .sample_percent(100.0)
            .export_to(self.clone())
    }
}

/// The workload `app` behind its mesh.
pub(crate) async fn app(pki: &Pki, propagation: Propagation, router: Router) -> Served {
    let workload = Workload::new("default", "app")
        .service("app", 8443)
        .label("app", "app");
    let builder = Mesh::builder(workload, pki.identity("default", "app").unwrap())
        .telemetry(|telemetry| telemetry.propagation(propagation));
    serve(&build(builder).await, router).await
}

/// A workload whose client knows this host as the workload `app`.
pub(crate) fn desk(
    pki: &Pki,
    propagation: Propagation,
    host: &str,
    addresses: &[SocketAddr],
) -> MeshBuilder {
    let expected = pki.identity("default", "app").unwrap();
    let identity = pki.identity("default", "desk").unwrap();
    Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream(
            host,
            addresses.iter().copied(),
            [expected.svid().spiffe_id().clone()],
        )
        .telemetry(|telemetry| telemetry.propagation(propagation))
}

/// The only span of a kind.
pub(crate) fn only(spans: &[FinishedSpan], kind: SpanKind) -> &FinishedSpan {
    let [span] = spans
        .iter()
        .filter(|span| span.kind == kind)
        .collect::<Vec<_>>()[..]
    else {
        panic!("{kind:?}: {spans:#?}")
    };
    span
}
