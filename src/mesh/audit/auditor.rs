//! What all requests of a mesh share for their records.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use super::route::Route;
use crate::audit::{Audit, Event, RequestTrail, Resource, Text};

/// Writes the records of a mesh.
#[derive(Debug)]
pub(in crate::mesh) struct Auditor {
    pub(in crate::mesh) audit: Audit,
    pub(super) scope: Scope,
    pub(super) own: Own,
    pub(super) break_glass: AtomicU64,
}

/// Which requests are recorded, besides those that are refused.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Scope {
    pub(in crate::mesh) routes: Vec<Route>,
    /// All others, too.
    pub(in crate::mesh) all: bool,
    /// Whether requests that an AUDIT policy matches wait until their record is durable.
    pub(in crate::mesh) strict_audit_policies: bool,
    /// The claim that says for what purpose data is used.
    pub(in crate::mesh) purpose: Option<Box<str>>,
}

/// The workload that was called.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) dest: Arc<str>,
    pub(super) service: Arc<str>,
    pub(super) namespace: Arc<str>,
}

impl Auditor {
    pub(in crate::mesh) fn new(
        audit: Audit,
        mut scope: Scope,
        dest: &str,
        service: &str,
        namespace: &str,
    ) -> Self {
        // Where two match, the one that demands more counts.
        scope.routes.sort_by_key(|route| !route.is_strict);
        Self {
            audit,
            scope,
            own: Own {
                dest: dest.into(),
                service: service.into(),
                namespace: namespace.into(),
            },
            break_glass: AtomicU64::new(0),
        }
    }

    /// What finds the trail in a handler.
    pub(in crate::mesh) fn trail(&self) -> RequestTrail {
        RequestTrail {
            audit: self.audit.clone(),
            dest: Text::from(Arc::clone(&self.own.dest)),
        }
    }

    /// How many requests policies for emergencies have allowed.
    pub(super) fn break_glass(&self) -> u64 {
        self.break_glass.load(Ordering::Relaxed)
    }

    pub(super) fn route(&self, method: &Method, path: &[Cow<'_, str>]) -> Option<&Route> {
        let mut routes = self.scope.routes.iter();
        routes.find(|route| route.matches(method, path))
    }

    /// Adds the workload that was called.
    pub(super) fn called(&self, event: Event, resource: Resource) -> Event {
        let Own {
            dest,
            service,
            namespace,
        } = &self.own;
        let resource = resource.service(Arc::clone(service), Arc::clone(namespace));
        event.dest(Arc::clone(dest)).resource(resource)
    }
}
