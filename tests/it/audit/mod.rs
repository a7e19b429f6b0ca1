//! The audit trail of a mesh: which requests have records, what these say, and what happens when they cannot be written.

mod changes;
mod clinic;
mod collectors;
mod durability;
mod ends;
mod events;
mod faults;
mod leaks;
mod readiness;
mod refusals;
mod requests;
mod routes;
mod sockets;
mod tcp;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
use tower_mesh::audit::{Sink, SinkError, Trail};
use tower_mesh::mesh::AuditOptions;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder};

use crate::support::mesh::{app, build, proven};

/// Takes records into memory, and fails or blocks as it is told.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Fails for good at the first record with this text after so many with it.
    fails_at: Option<(&'static str, usize)>,
    is_failing: bool,
    is_blocked: bool,
    is_flush_blocked: bool,
    /// Whether it waits in a record or a flush.
    is_waiting: bool,
    flushes: usize,
}

impl Sink for Records {
    fn record(&mut self, line: &str) -> Result<(), SinkError> {
        let mut state = self.0.state.lock().unwrap();
        if let Some((text, most)) = state.fails_at
            && line.contains(text)
        {
            let before = state.lines.iter().filter(|line| line.contains(text));
            if before.count() >= most {
                state.is_failing = true;
            }
        }
        if state.is_failing {
            return Err(SinkError::new("told to fail"));
        }
        state = self.wait(state, |state| state.is_blocked);
        state.lines.push(line.to_owned());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let mut state = self.0.state.lock().unwrap();
        state.flushes += 1;
        drop(self.wait(state, |state| state.is_flush_blocked));
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl Records {
    fn wait<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        is_blocked: impl Fn(&State) -> bool,
    ) -> MutexGuard<'s, State> {
        while is_blocked(&state) {
            state.is_waiting = true;
            self.0.changed.notify_all();
            state = self.0.changed.wait(state).unwrap();
        }
        state.is_waiting = false;
        state
    }

    pub(crate) fn trail(&self) -> Trail {
        Trail::sink(self.clone())
    }

    /// Fails for good at the record with this text that comes after so many.
    fn fails_after(&self, text: &'static str, most: usize) {
        self.0.state.lock().unwrap().fails_at = Some((text, most));
    }

    /// Fails from now on, or no more.
    fn fails(&self, is: bool) {
        let mut state = self.0.state.lock().unwrap();
        (state.is_failing, state.fails_at) = (is, None);
    }

    fn block(&self) -> Blocked {
        self.0.state.lock().unwrap().is_blocked = true;
        Blocked(self.clone())
    }

    /// The disk is slow: nothing is durable before this is dropped.
    fn block_flush(&self) -> Blocked {
        self.0.state.lock().unwrap().is_flush_blocked = true;
        Blocked(self.clone())
    }

    /// How often it was made durable.
    fn flushes(&self) -> usize {
        self.0.state.lock().unwrap().flushes
    }

    fn text(&self) -> String {
        self.0.state.lock().unwrap().lines.join("\n")
    }

    /// All records of this trail, once what the mesh has submitted is written.
    pub(crate) async fn all(&self, mesh: &Mesh) -> Vec<Value> {
        assert!(mesh.flush_audit(PATIENCE).await);
        self.now()
    }

    fn now(&self) -> Vec<Value> {
        let state = self.0.state.lock().unwrap();
        let lines = state.lines.iter();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) async fn of(&self, mesh: &Mesh, kind: &str) -> Vec<Value> {
        let mut records = self.all(mesh).await;
        records.retain(|record| record["type"] == kind);
        records
    }
}

/// A sink that waits until this is dropped.
struct Blocked(Records);

impl Blocked {
    /// Waits until the writer is in the sink.
    async fn reached(&self) {
        let shared = Arc::clone(&self.0.0);
        let waited = tokio::task::spawn_blocking(move || {
            let state = shared.state.lock().unwrap();
            let waited = shared
                .changed
                .wait_timeout_while(state, PATIENCE, |state| !state.is_waiting)
                .unwrap();
            assert!(!waited.1.timed_out());
        });
        waited.await.unwrap();
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let mut state = self.0.0.state.lock().unwrap();
        (state.is_blocked, state.is_flush_blocked) = (false, false);
        self.0.0.changed.notify_all();
    }
}

/// The workload `app` with a trail in memory.
pub(crate) struct Audited {
    pub(crate) mesh: Mesh,
    pub(crate) records: Records,
    router: Router,
    pub(crate) pki: Pki,
}

impl Audited {
    pub(crate) async fn new(
        router: Router,
        options: impl FnOnce(AuditOptions) -> AuditOptions,
        set: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let (pki, records) = (Pki::new("cluster.local").unwrap(), Records::default());
        let trail = records.trail();
        let builder = app(&pki).audit(|audit| options(audit.trail(trail).deadline(PATIENCE)));
        let mesh = build(set(builder)).await;
        Self {
            mesh,
            records,
            router,
            pki,
        }
    }

    /// What a request of the desk gets.
    pub(crate) async fn ask(&self, request: http::request::Builder) -> (StatusCode, String) {
        let request = request.header("host", "app").extension(proven("desk"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let service = self.mesh.protect(self.router.clone());
        let (head, body) = service.oneshot(request).await.unwrap().into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap();
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        (head.status, text)
    }

    pub(crate) async fn access(&self) -> Vec<Value> {
        self.records.of(&self.mesh, "access").await
    }
}

/// Fields of a record, as `a,b`; what is not there is empty.
pub(crate) fn fields(record: &Value, names: &[&str]) -> String {
    let field = |name: &&str| {
        let value = name.split('.').fold(record, |value, name| &value[name]);
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    };
    names.iter().map(field).collect::<Vec<_>>().join(",")
}

/// A sample of each record.
pub(crate) fn rows(records: &[Value], names: &[&str]) -> Vec<String> {
    records.iter().map(|record| fields(record, names)).collect()
}

const PATIENCE: Duration = Duration::from_secs(60);
