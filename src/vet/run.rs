//! Runs all checks over a set of resources.

#[cfg(feature = "cel")]
use super::check::expressions;
use super::check::{
    callers, legacy, limits, mesh, ports, providers, redundancy, tokens, values, workloads,
};
use super::report::notes::Notes;
use super::report::silence::Silences;
#[cfg(feature = "routing")]
use super::traffic;
use super::world::known::{World, known};
use super::{Code, Report};
use crate::gate::Gate;
use crate::identity::{TrustDomain, Workload};
use crate::istio::{Loader, MeshConfig, Problem, Problems, Resources};
use crate::policy::normalization;

/// Judges configurations. Holds what is known about them from elsewhere, and which codes are
/// silenced.
#[derive(Clone, Debug)]
#[must_use]
pub struct Vet {
    workloads: Vec<Workload>,
    allowed: Vec<(Code, String)>,
    mesh: Option<MeshConfig>,
    gate: Option<Gate>,
    trust_domain: Option<TrustDomain>,
    authorizers: Vec<String>,
}

impl Vet {
    /// With no workload known and nothing silenced.
    pub fn new() -> Self {
        Self {
            workloads: Vec::new(),
            allowed: Vec::new(),
            mesh: None,
            gate: Some(Gate::istio()),
            trust_domain: None,
            authorizers: Vec::new(),
        }
    }

    /// Adds a workload to those that the resources deploy. As soon as one of a namespace is known,
    /// all of that namespace are taken to be.
    pub fn workload(mut self, workload: Workload) -> Self {
        self.workloads.push(workload);
        self
    }

    /// Adds the name of a provider that the application registers (`MeshBuilder::authorizer`), so
    /// that policies may name it.
    pub fn authorizer(mut self, name: impl Into<String>) -> Self {
        self.authorizers.push(name.into());
        self
    }

    /// Silences a code, for a reason. Without a reason nothing is silenced.
    pub fn allow(mut self, code: Code, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        if !reason.trim().is_empty() {
            self.allowed.push((code, reason));
        }
        self
    }

    /// Sets the mesh's settings; otherwise those of the ConfigMap `istio` among the resources
    /// count, else Istio's defaults.
    pub fn mesh_config(mut self, mesh: MeshConfig) -> Self {
        self.mesh = Some(mesh);
        self
    }

    /// Sets the gate in front of the policies: values that it lets no request have match nothing.
    /// By default it is [`Gate::istio`], as in a mesh. `None` stands for a sidecar, which has no
    /// gate.
    pub fn gate(mut self, gate: impl Into<Option<Gate>>) -> Self {
        self.gate = gate.into();
        self
    }

    /// Sets the trust domain that counts when no MeshConfig writes `trustDomain`; `cluster.local`
    /// by default. Without it, that of the first stated workload that has one.
    pub fn trust_domain(mut self, trust_domain: TrustDomain) -> Self {
        self.trust_domain = Some(trust_domain);
        self
    }

    /// Vets the resources of a YAML text; `file` is what notes call it. Resources without a
    /// namespace are put into `default_namespace`.
    ///
    /// # Errors
    /// Everything that makes the text unreadable.
    pub fn yaml(
        &self,
        file: &str,
        text: &str,
        default_namespace: &str,
    ) -> Result<Report, Problems> {
        let mut loader = Loader::new(default_namespace);
        loader.read(file, text);
        let (resources, readable) = loader.survey()?;
        self.resources(&resources, &readable)
    }

    /// Vets resources; `readable` lists the mistakes that left the text readable, from
    /// [`Loader::survey`].
    ///
    /// # Errors
    /// What keeps a resource from having a meaning.
    pub fn resources(
        &self,
        resources: &Resources,
        readable: &[Problem],
    ) -> Result<Report, Problems> {
        let found = self.mesh.as_ref().or(resources.mesh_config.as_deref());
        let workloads = known(&self.workloads, resources);
        let mut mesh = found.cloned().unwrap_or_default();
        if mesh.trust_domain.is_none() {
            mesh.trust_domain = self.own_trust_domain().map(ToString::to_string);
        }
        let names = self.authorizers.iter();
        let mesh = names.fold(mesh, |mesh, name| mesh.with_authorizer(name));
        let world = World {
            resources,
            mesh: &mesh,
            gate: self
                .gate
                .map(|gate| gate.normalization(normalization(mesh.path_normalization))),
            mesh_is_known: found.is_some(),
            workloads: &workloads,
        };
        let mut notes = Notes::default();
        mesh::readable(world, readable, &mut notes);
        values::check(world, &mut notes);
        redundancy::check(world, &mut notes)?;
        callers::check(world, &mut notes);
        tokens::check(world, &mut notes);
        workloads::check(world, &mut notes);
        providers::check(world, &mut notes);
        #[cfg(feature = "cel")]
        expressions::check(world, &mut notes);
        limits::check(world, &mut notes);
        ports::check(world, &mut notes);
        legacy::check(world, &mut notes);
        #[cfg(feature = "routing")]
        traffic::check(world, &mut notes);
        // Last: it notes only what no other check has noted.
        mesh::check(world, readable, &mut notes);
        Ok(Report {
            assumes_trust_domain: callers::assume_trust_domain(world),
            ..notes.into_report(Silences::new(&self.allowed, resources))
        })
    }

    fn own_trust_domain(&self) -> Option<&TrustDomain> {
        let mut stated = self.workloads.iter();
        let stated = || stated.find_map(Workload::own_trust_domain);
        self.trust_domain.as_ref().or_else(stated)
    }
}

impl Default for Vet {
    fn default() -> Self {
        Self::new()
    }
}
