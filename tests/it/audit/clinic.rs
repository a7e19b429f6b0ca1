//! A service of patients that answers over real sockets, and clocks that are set.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::any;
use tower_mesh::Mesh;
use tower_mesh::audit::{Clock, Verify, VerifyReport};
use tower_mesh::mesh::{AuditOptions, AuditedRoute};
use tower_mesh::testing::Pki;

use super::PATIENCE;
use crate::support::mesh::{Served, app, build, empty, get, http1, read, serve};

/// The workload `app`, whose route of patients is strict.
pub(crate) struct Clinic {
    pub(crate) mesh: Mesh,
    pub(crate) pki: Arc<Pki>,
    pub(crate) served: Served,
    handled: Arc<AtomicUsize>,
}

impl Clinic {
    pub(crate) async fn new(options: impl FnOnce(AuditOptions) -> AuditOptions) -> Self {
        let handled = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&handled);
        let router = Router::new().fallback(any(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { "chart" }
        }));
        Self {
            handled,
            ..Self::of(router, options).await
        }
    }

    pub(crate) async fn of(
        router: Router,
        options: impl FnOnce(AuditOptions) -> AuditOptions,
    ) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let mesh = build(app(&pki).audit(|audit| {
            let route = AuditedRoute::new("/patients/{id}");
            options(audit.route(route).deadline(PATIENCE))
        }))
        .await;
        let served = serve(&mesh, router).await;
        Self {
            mesh,
            pki: Arc::new(pki),
            served,
            handled: Arc::default(),
        }
    }

    /// The status that the desk gets for a patient, on a connection of its own.
    pub(crate) async fn ask(&self) -> u16 {
        ask(&self.pki, self.served.address).await
    }

    /// How often the handler has run.
    pub(crate) fn handled(&self) -> usize {
        self.handled.load(Ordering::Relaxed)
    }

    /// Ends the trail, and verifies it.
    pub(crate) async fn verified(&self, folder: &Path) -> VerifyReport {
        assert!(self.mesh.stop_audit(PATIENCE).await);
        Verify::new(folder).run().unwrap()
    }
}

pub(crate) async fn ask(pki: &Pki, address: SocketAddr) -> u16 {
    let mut sender = http1(pki, "desk", address).await;
    let answer = sender.send_request(empty(get("/patients/7"))).await;
    read(answer.unwrap()).await.0
}

/// Clocks that stand until they are set.
#[derive(Clone, Debug)]
pub(crate) struct SetClock(Arc<Mutex<(SystemTime, Duration)>>);

impl SetClock {
    pub(crate) fn new() -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self(Arc::new(Mutex::new((start, Duration::ZERO))))
    }

    /// So much time passes.
    pub(crate) fn pass(&self, time: Duration) {
        let mut clocks = self.0.lock().unwrap();
        clocks.0 += time;
        clocks.1 += time;
    }

    /// The time of day is set by so many seconds.
    pub(crate) fn step(&self, seconds: i64) {
        let mut clocks = self.0.lock().unwrap();
        let by = Duration::from_secs(seconds.unsigned_abs());
        clocks.0 = match seconds < 0 {
            true => clocks.0 - by,
            false => clocks.0 + by,
        };
    }
}

impl Clock for SetClock {
    fn now(&self) -> SystemTime {
        self.0.lock().unwrap().0
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}
