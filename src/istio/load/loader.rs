//! Loads documents of one or more texts as resources.

use std::sync::Arc;

use super::embedded::{embedded_mesh_config, is_mesh_config_map, mesh, resembles_mesh_config_map};
use super::kind::{ResourceKind, is_our_group, is_unread};
use super::slip::{Foreign, group, is_unread_list};
use super::unique::contradictions;
use crate::istio::decode;
use crate::istio::resource::kubernetes::{Deployment, deployment};
use crate::istio::yaml::cursor::{Cursor, Sink};
use crate::istio::yaml::reader::{Limits, documents};
use crate::istio::{
    Authorizer, MeshConfig, Position, Problem, ProblemKind, Problems, Resources, Skipped, Telemetry,
};

/// Reads one text: YAML documents, JSON, `List` kinds.
///
/// A resource that names no namespace is put into `default_namespace`. `file` is what positions
/// say; it is not opened.
///
/// # Errors
///
/// Everything that is wrong, with line, column and field; no resource is given unless all are good.
///
/// # Example
///
/// ```
/// let problems = tower_mesh::istio::parse("ward.yaml", "
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {name: readers}
/// spec:
///   rules:
///   - to:
///     - operation: {methods: [GET], ports: [8080]}
/// ", "clinic").unwrap_err();
/// let message = problems.to_string();
/// assert!(message.starts_with("ward.yaml:8:43: spec.rules[0].to[0].operation.ports[0]: "), "{message}");
/// assert!(message.contains("quotes"));
/// ```
pub fn parse(file: &str, text: &str, default_namespace: &str) -> Result<Resources, Problems> {
    let mut loader = Loader::new(default_namespace);
    loader.read(file, text);
    loader.finish()
}

/// Reads a MeshConfig: its bare YAML, or the whole ConfigMap `istio` that holds it under
/// `data.mesh`. `file` is what positions say.
///
/// # Errors
///
/// Everything that is wrong with the fields that decide. Fields that this crate does not use are
/// listed in [`MeshConfig::unused`].
pub fn parse_mesh_config(file: &str, text: &str) -> Result<MeshConfig, Problems> {
    let sink = Sink::new(file);
    let mut configs = Vec::new();
    for root in documents(text, Limits::default(), &sink) {
        let at = Cursor::root(&root, &sink);
        if root.get("kind").is_none() {
            configs.push((decode::mesh_config(&at), at.at()));
        } else if is_mesh_config_map(&root) {
            configs.push((embedded_mesh_config(&root, &sink), at.at()));
        } else {
            at.wrong("is no MeshConfig; write its fields, or the ConfigMap `istio`");
        }
    }
    let mut configs = configs.into_iter();
    let config = match (configs.next(), configs.next()) {
        (None, _) => Some(MeshConfig::default()),
        (Some((config, _)), None) => config,
        (Some(_), Some((_, second))) => {
            let message = "a second MeshConfig; keep one document";
            sink.report(Problem::new(second, "", message));
            None
        }
    };
    // INVARIANT: what could not be decoded was reported.
    sink.finish(config, "is no MeshConfig")
}

/// Whether a text that [`parse_mesh_config`] reads says nothing at all. What cannot be read says
/// something.
pub(crate) fn is_blank_mesh_config(text: &str) -> bool {
    let sink = Sink::new("");
    let is_blank = documents(text, Limits::default(), &sink).all(|root| match mesh(&root) {
        Some(inner) => inner
            .scalar()
            .is_some_and(|scalar| is_blank_mesh_config(&scalar.text)),
        None => root.is_null() || root.entries().is_some_and(<[_]>::is_empty),
    });
    let (problems, _) = sink.into_parts();
    is_blank && problems.is_empty()
}

/// Collects several texts into one set of [`Resources`], and everything that is wrong with any of
/// them.
#[derive(Debug)]
pub struct Loader {
    default_namespace: String,
    resources: Resources,
    problems: Vec<Problem>,
    mesh_config_at: Option<Position>,
    pub(in crate::istio) limits: Limits,
}

impl Loader {
    /// A loader that puts resources without a namespace into this one.
    #[must_use]
    pub fn new(default_namespace: &str) -> Self {
        Self {
            default_namespace: default_namespace.to_owned(),
            resources: Resources::default(),
            problems: Vec::new(),
            mesh_config_at: None,
            limits: Limits::default(),
        }
    }

    /// Reads one more text; `file` is what positions say.
    pub fn read(&mut self, file: &str, text: &str) {
        let sink = Sink::new(file);
        for root in documents(text, self.limits, &sink) {
            if !root.is_null() {
                self.document(&Cursor::root(&root, &sink));
            }
        }
        let (problems, notes) = sink.into_parts();
        self.problems.extend(problems);
        self.resources.notes.extend(notes);
    }

    /// Adds a problem that was found elsewhere, such as a file that cannot be read.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The Authorizers that were read so far.
    pub(crate) fn authorizers(&self) -> &[Arc<Authorizer>] {
        &self.resources.authorizers
    }

    /// The Telemetries that were read so far.
    pub(crate) fn telemetries(&self) -> &[Arc<Telemetry>] {
        &self.resources.telemetries
    }

    /// Adds a note that was found elsewhere.
    pub(crate) fn note(&mut self, note: Problem) {
        self.resources.notes.push(note);
    }

    /// Everything that was read.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, two resources of one kind, namespace and name included.
    pub fn finish(mut self) -> Result<Resources, Problems> {
        self.problems.extend(contradictions(&self.resources));
        Problems::from_list(self.problems).map_or(Ok(self.resources), Err)
    }

    /// Everything that was read, as it was meant: for tools that judge a configuration and do not
    /// run it. The second list holds what is wrong but readable, each problem with its
    /// [`kind`](Problem::kind): typographic quotation marks, which are taken off, and resources
    /// that are written twice, both of which are kept.
    ///
    /// # Errors
    ///
    /// Everything that is unreadable, and everything else that is wrong.
    pub fn survey(mut self) -> Result<(Resources, Vec<Problem>), Problems> {
        self.problems.extend(contradictions(&self.resources));
        let is_readable = |problem: &Problem| problem.kind != ProblemKind::Unreadable;
        match Problems::from_list(self.problems) {
            None => Ok((self.resources, Vec::new())),
            Some(problems) if problems.as_slice().iter().all(is_readable) => {
                Ok((self.resources, problems.into_iter().collect()))
            }
            Some(problems) => Err(problems),
        }
    }

    fn document(&mut self, at: &Cursor<'_, '_>) {
        let node = at.node();
        if node.entries().is_none() {
            return at.wrong(format!("this is {}; write a resource", node.describe()));
        }
        let Some(head) = at.any_fields() else { return };
        let (version, kind) = (
            decode::required(head, "apiVersion", |_, _| {}),
            decode::required(head, "kind", |_, _| {}),
        );
        let (Some(api_version), Some(kind)) = (version, kind) else {
            return;
        };
        if kind.ends_with("List") && node.get("items").is_some() {
            if let Some(items) = head.get("items") {
                items.items().for_each(|item| self.document(&item));
            }
            return;
        }
        let blame = |field: &'static str, message: String| {
            let field = head.get(field);
            field.as_ref().unwrap_or(at).wrong(message);
        };
        let group = group(&api_version);
        #[cfg(feature = "routing")]
        if let Some(message) = super::kind::replaced(&api_version, &kind) {
            return blame("kind", message);
        }
        if is_unread(group, &kind) {
            return self.skip(at);
        }
        if is_our_group(group) {
            let version = api_version.strip_prefix(group).unwrap_or_default();
            let version = version.strip_prefix('/').unwrap_or(version);
            return match ResourceKind::find(group, version, &kind) {
                Ok(kind) => self.resource(at, kind),
                Err((field, message)) => blame(field, message),
            };
        }
        match Foreign::classify(&api_version, &kind) {
            Foreign::Slip(message) => blame("apiVersion", message),
            _ if *kind == *LIST => at.missing("items", "is missing; write the list's documents"),
            _ if is_unread_list(node) => {
                blame(
                    "kind",
                    format!(
                        "the items of kind `{kind}` are not read, and hold documents of Istio; write kind {LIST}"
                    ),
                );
            }
            Foreign::Namesake(note) => {
                if let Some(field) = head.get("apiVersion") {
                    field.note(note);
                }
                self.skip(at);
            }
            Foreign::Plain => self.skip(at),
        }
    }

    /// A document of another API group. MeshConfig's own ConfigMap is read, too.
    fn skip(&mut self, at: &Cursor<'_, '_>) {
        let node = at.node();
        self.resources.skipped.push(skipped(at));
        match deployment(node, &self.default_namespace, at.at()) {
            Some(Deployment::Workload(workload)) => self.resources.workloads.push(workload),
            Some(Deployment::Service(service)) => self.resources.services.push(service),
            None => {}
        }
        #[cfg(feature = "routing")]
        decode::traffic::kubernetes(at, &self.default_namespace, &mut self.resources.traffic);
        if !is_mesh_config_map(node) {
            if resembles_mesh_config_map(node) {
                at.wrong("holds the MeshConfig, which is read from `apiVersion: v1`, `kind: ConfigMap` only; write these");
            }
            return;
        }
        if let Some(first) = &self.mesh_config_at {
            at.wrong(format!(
                "the ConfigMap `istio` was already written at {first}; keep one"
            ));
        }
        self.mesh_config_at = Some(at.at());
        self.resources.mesh_config = embedded_mesh_config(node, at.sink()).map(Arc::new);
    }

    fn resource(&mut self, at: &Cursor<'_, '_>, kind: ResourceKind) {
        let empty = at.node().empty_map();
        let Some(document) = at.fields(decode::DOCUMENT) else {
            return;
        };
        // The spec is judged even when the name is bad: all problems are told at once.
        let meta = decode::meta(document, kind.scope(), &self.default_namespace);
        let spec = &document.get_or("spec", &empty);
        let into = &mut self.resources;
        #[cfg(feature = "routing")]
        if let ResourceKind::Traffic(kind) = kind {
            super::traffic::traffic(kind, meta, document, spec, &mut into.traffic);
            // Nothing routes by it yet, which is told of all documents that are skipped.
            return into.skipped.push(skipped(at));
        }
        let named = meta.is_some();
        let meta = meta.unwrap_or_default();
        match kind {
            ResourceKind::AuthorizationPolicy => {
                let policy = decode::authorization_policy(meta, spec);
                push(&mut into.authorization_policies, named, policy);
            }
            ResourceKind::Authorizer => {
                let authorizer = decode::authorizer(meta, spec);
                push(&mut into.authorizers, named, authorizer);
            }
            ResourceKind::RequestAuthentication => {
                let resource = decode::request_authentication(meta, spec);
                push(&mut into.request_authentications, named, resource);
            }
            ResourceKind::PeerAuthentication => {
                let resource = decode::peer_authentication(meta, spec);
                push(&mut into.peer_authentications, named, resource);
            }
            ResourceKind::Policy | ResourceKind::MeshPolicy => {
                let is_mesh_wide = kind == ResourceKind::MeshPolicy;
                let policy = decode::legacy_policy(meta, spec, is_mesh_wide);
                push(&mut into.legacy_policies, named, policy);
            }
            ResourceKind::ClusterRbacConfig | ResourceKind::RbacConfig => {
                let config = decode::rbac_config(meta, spec);
                push(&mut into.rbac_configs, named, config);
            }
            ResourceKind::RateLimit => {
                let limit = decode::rate_limit(meta, spec);
                push(&mut into.rate_limits, named, limit);
            }
            ResourceKind::ServiceRole => {
                let role = decode::service_role(meta, spec);
                push(&mut into.service_roles, named, role);
            }
            ResourceKind::Telemetry => {
                let telemetry = decode::telemetry(meta, spec);
                push(&mut into.telemetries, named, telemetry);
            }
            // Kept above.
            #[cfg(feature = "routing")]
            ResourceKind::Traffic(_) => {}
            ResourceKind::ServiceRoleBinding => {
                let binding = decode::service_role_binding(meta, spec);
                push(&mut into.service_role_bindings, named, binding);
            }
        }
    }
}

fn skipped(at: &Cursor<'_, '_>) -> Skipped {
    let node = at.node();
    let string = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Skipped {
        api_version: string(node.text("apiVersion")),
        kind: string(node.text("kind")),
        name: string(node.name()),
        at: at.at(),
    }
}

/// The kind of a list of anything.
const LIST: &str = "List";

/// Keeps what was decoded; a resource without a name was reported and is only decoded for its other
/// problems.
fn push<T>(list: &mut Vec<Arc<T>>, named: bool, resource: Option<T>) {
    list.extend(resource.filter(|_| named).map(Arc::new));
}
