//! The options of the audit trail.

use std::time::Duration;

use http::Method;
use http::request::Parts;

use crate::audit::{Audit, AuditBuilder, Clock, OnFailure, PatientKey, Trail};
use crate::mesh::audit::{Patient, Route, Scope};

/// The audit trail of a mesh, and which requests are recorded in it:
/// [`MeshBuilder::audit`](crate::MeshBuilder::audit).
///
/// Recorded are, always, each refusal (gate, handshake, token, policy, provider, limit), what AUDIT
/// policies match, what a policy for emergencies allows, changes of configuration, of the keys of
/// issuers and of our own identity, and the events of the application. [`route`](Self::route) and
/// [`all`](Self::all) add requests.
///
/// A policy for emergencies is an ALLOW AuthorizationPolicy with the annotation
/// `mesh.tower/break-glass: "true"`. A request that it allows, or a connection of
/// [`serve_tcp`](crate::Mesh::serve_tcp), has a record of the type `break_glass`, which is durable
/// before the application runs, in addition to those of a strict route. The log tells of it
/// (WARN, target `tower_mesh::audit`), and `mesh_audit_break_glass_total` counts it. Where several
/// policies allow a request, the first by name counts as the one that did.
///
/// The hash of a configuration in records is SHA-256 over all resources and settings as they were
/// read, places included: it compares configurations of one version of this crate.
#[derive(Debug, Default)]
#[must_use = "options do nothing until a builder has them"]
pub struct AuditOptions {
    pub(in crate::mesh) builder: AuditBuilder,
    pub(in crate::mesh) has_trail: bool,
    pub(in crate::mesh) shared: Option<Audit>,
    /// Options of the audit that were set, which one that is shared has already.
    pub(in crate::mesh) of_audit: Vec<&'static str>,
    pub(in crate::mesh) scope: Scope,
    pub(in crate::mesh) mistakes: Vec<String>,
}

/// A route whose requests are recorded: [`AuditOptions::route`].
#[derive(Clone, Debug)]
#[must_use = "a route does nothing until options have it"]
pub struct AuditedRoute {
    route: Option<Route>,
    mistakes: Vec<String>,
    text: String,
}

impl AuditOptions {
    /// Adds a trail: a folder, or a place of the application. A record is durable once it is in one
    /// of several. [`build`](crate::MeshBuilder::build) opens them.
    pub fn trail(mut self, trail: Trail) -> Self {
        self.builder = self.builder.trail(trail);
        self.has_trail = true;
        self
    }

    /// Writes to an audit that the application has started, in place of trails of this mesh's own.
    /// The application ends it, too, and has set what happens on a failure, the deadline and the
    /// clock: to set them here as well is a mistake.
    pub fn shared(mut self, audit: Audit) -> Self {
        self.shared = Some(audit);
        self
    }

    /// What happens to a request that must be durable in the trail first, and cannot be: by default
    /// it is [refused](OnFailure::Refuse), with 503 and the details `audit_unavailable`.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.builder = self.builder.on_failure(on_failure);
        self.of_audit.push("on_failure");
        self
    }

    /// In what time a record must be durable. By default, 500 ms.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.builder = self.builder.deadline(deadline);
        self.of_audit.push("deadline");
        self
    }

    /// Other clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.builder = self.builder.clock(clock);
        self.of_audit.push("clock");
        self
    }

    /// Records the requests of this route. Of several routes that match a request, the record names
    /// the one that a router would take, the most specific; and it is strict if one of them is.
    pub fn route(mut self, route: AuditedRoute) -> Self {
        let AuditedRoute {
            route,
            mistakes,
            text,
        } = route;
        let mistakes = mistakes.into_iter();
        self.mistakes
            .extend(mistakes.map(|mistake| format!("route: {text:?}: {mistake}")));
        self.scope.routes.extend(route);
        self
    }

    /// Records all requests: those of no [`route`](Self::route) with one record at their end.
    pub fn all(mut self) -> Self {
        self.scope.all = true;
        self
    }

    /// Requests that an AUDIT policy matches wait until their record is durable, as those of a
    /// strict route do. So do connections of [`serve_tcp`](crate::Mesh::serve_tcp), which are closed
    /// if it cannot be.
    pub fn strict_audit_policies(mut self) -> Self {
        self.scope.strict_audit_policies = true;
        self
    }

    /// The claim of a token that says for what purpose data is used, as `purpose_of_use`.
    pub fn purpose_claim(mut self, claim: &str) -> Self {
        self.scope.purpose = Some(claim.into());
        self
    }
}

impl AuditedRoute {
    /// The requests whose whole path is one of this template, as `/patients/{id}` or
    /// `/files/{*rest}`, with any method. The record names the template, and never the path.
    ///
    /// It is strict: a request runs only once its record is durable, and has a second record at its
    /// end.
    pub fn new(template: &str) -> Self {
        let (route, mistakes) = match Route::new(template) {
            Ok(route) => (Some(route), Vec::new()),
            Err(mistake) => (None, vec![mistake.to_owned()]),
        };
        Self {
            route,
            mistakes,
            text: template.to_owned(),
        }
    }

    /// Requests with these methods alone. HEAD counts as GET.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        if let Some(route) = &mut self.route {
            route.methods.extend(methods);
        }
        self
    }

    /// A request does not wait: it has one record, at its end.
    pub fn bounded(mut self) -> Self {
        if let Some(route) = &mut self.route {
            route.is_strict = false;
        }
        self
    }

    /// The patient whose data a request is about: the value of this parameter, which the record has
    /// as a pseudonym of this key.
    pub fn patient(mut self, parameter: &str, key: PatientKey) -> Self {
        self.refuse_unknown("patient", parameter);
        if let Some(route) = &mut self.route {
            route.patient = Some((key, Patient::Parameter(parameter.into())));
        }
        self
    }

    /// As [`patient`](Self::patient), where this function finds the patient's id in the head of a
    /// request. It runs on the request path, before the request is judged. One that panics has found
    /// nobody.
    pub fn patient_from(
        mut self,
        key: PatientKey,
        find: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        if let Some(route) = &mut self.route {
            route.patient = Some((key, Patient::found(find)));
        }
        self
    }

    /// The value of this parameter is the id of the resource, and in the record as it is. It must say
    /// nothing about a person.
    pub fn resource_id(mut self, parameter: &str) -> Self {
        self.refuse_unknown("resource_id", parameter);
        if let Some(route) = &mut self.route {
            route.id = Some(parameter.into());
        }
        self
    }

    fn refuse_unknown(&mut self, option: &str, parameter: &str) {
        if let Some(route) = &self.route
            && !route.has(parameter)
        {
            self.mistakes.push(format!(
                "{option}: the template has no parameter {{{parameter}}}"
            ));
        }
    }
}
