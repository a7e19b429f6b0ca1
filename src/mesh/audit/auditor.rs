//! What all requests of a mesh share for their records.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use super::route::Route;
use super::template::Readings;
use super::under_way::Counts;
use crate::audit::{Audit, Event, RequestTrail, Resource, Text};

/// Writes the records of a mesh.
#[derive(Debug)]
pub(in crate::mesh) struct Auditor {
    pub(in crate::mesh) audit: Audit,
    pub(super) scope: Scope,
    pub(super) own: Own,
    pub(super) break_glass: AtomicU64,
    pub(in crate::mesh) under_way: Arc<Counts>,
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

/// What the application has chosen of a request.
pub(super) struct Matched<'s, 'p> {
    /// What the record says of it.
    pub(super) route: &'s Route,
    /// The path of that route.
    pub(super) segments: &'p [Cow<'p, str>],
    /// Whether one of the routes that match is strict.
    pub(super) is_strict: bool,
}

impl Auditor {
    pub(in crate::mesh) fn new(
        audit: Audit,
        mut scope: Scope,
        dest: &str,
        service: &str,
        namespace: &str,
    ) -> Self {
        // The first that matches names the record: the most specific, as a router's.
        scope.routes.sort_by(|one, other| {
            let by_rank = one.rank().cmp(other.rank());
            by_rank.then(other.is_strict.cmp(&one.is_strict))
        });
        Self {
            audit,
            scope,
            own: Own {
                dest: dest.into(),
                service: service.into(),
                namespace: namespace.into(),
            },
            break_glass: AtomicU64::new(0),
            under_way: Arc::default(),
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

    /// The routes of which this may be a request.
    pub(super) fn matched<'s, 'p>(
        &'s self,
        method: &Method,
        path: &'p Readings<'p>,
    ) -> Option<Matched<'s, 'p>> {
        let matches = |path: &'p [Cow<'p, str>]| {
            let routes = self.scope.routes.iter();
            let routes = routes.filter(move |route| route.matches(method, path));
            routes.map(move |route| (route, path))
        };
        let (route, segments) = path.all().flat_map(matches).next()?;
        let mut all = path.all().flat_map(matches);
        Some(Matched {
            route,
            segments,
            is_strict: all.any(|(route, _)| route.is_strict),
        })
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
