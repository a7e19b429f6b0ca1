//! What an application states about its own workload.

use std::collections::BTreeMap;

use super::{SpiffeId, SpiffeIdError, TrustDomain};

/// The identity of this process: the workload that policies select and that metrics and spans name.
///
/// ```
/// use tower_mesh::Workload;
///
/// let workload = Workload::new("default", "patients")
///     .service("patients", 8443)
///     .label("app", "patients");
/// assert_eq!(workload.namespace(), "default");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    namespace: String,
    service_account: String,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    services: Vec<ServicePort>,
    cluster: String,
    trust_domain: Option<TrustDomain>,
}

impl Workload {
    /// A workload of `namespace` that runs as `service_account`; its name is its service account
    /// unless [`name`](Self::name) says otherwise.
    #[must_use]
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service_account: service_account.into(),
            name: None,
            labels: BTreeMap::new(),
            services: Vec::new(),
            cluster: "Kubernetes".to_owned(),
            trust_domain: None,
        }
    }

    /// Sets the workload's name, as metrics show it. In Kubernetes this is the Deployment's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a label. Selectors of policies match labels.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds a service of the workload's namespace that leads to this workload, with the port that
    /// the workload listens on.
    ///
    /// Legacy `v1alpha1` resources select by service, and metrics name the service of the port.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>, port: u16) -> Self {
        self.services.push(ServicePort {
            name: name.into(),
            port,
            port_name: None,
        });
        self
    }

    /// As [`service`](Self::service), with the name of the service's port.
    #[must_use]
    pub fn service_with_port_name(
        mut self,
        name: impl Into<String>,
        port: u16,
        port_name: impl Into<String>,
    ) -> Self {
        self.services.push(ServicePort {
            name: name.into(),
            port,
            port_name: Some(port_name.into()),
        });
        self
    }

    /// Sets the cluster's name in metrics; `Kubernetes` by default, as in Istio.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = cluster.into();
        self
    }

    /// Sets the trust domain of this workload's identity, for tools and policy tests.
    ///
    /// For the meaning of policies, a MeshConfig that sets `trustDomain` takes precedence. A
    /// running mesh uses its certificate's trust domain instead of this one.
    /// [`Guards`](crate::Guards) have no certificate and use this one. Without any of these it is
    /// `cluster.local`. The id of a mesh in plaintext ([`Mesh::spiffe_id`](crate::Mesh::spiffe_id))
    /// uses this one first.
    #[must_use]
    pub fn trust_domain(mut self, trust_domain: TrustDomain) -> Self {
        self.trust_domain = Some(trust_domain);
        self
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The service account.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// The workload's name.
    #[must_use]
    pub fn workload_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.service_account)
    }

    /// The labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The services in front of this workload.
    #[must_use]
    pub fn services(&self) -> &[ServicePort] {
        &self.services
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster
    }

    /// The trust domain, if it was set.
    #[must_use]
    pub fn own_trust_domain(&self) -> Option<&TrustDomain> {
        self.trust_domain.as_ref()
    }

    /// The canonical service: the first label present of `service.istio.io/canonical-name`,
    /// `app.kubernetes.io/name` and `app`, else the workload's name.
    #[must_use]
    pub fn canonical_service(&self) -> &str {
        self.first_label(&[
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ])
        .unwrap_or_else(|| self.workload_name())
    }

    /// The canonical revision: the first label present of `service.istio.io/canonical-revision`,
    /// `app.kubernetes.io/version` and `version`, else `latest`.
    #[must_use]
    pub fn canonical_revision(&self) -> &str {
        self.first_label(&[
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ])
        .unwrap_or("latest")
    }

    /// The identity that Istio gives to this workload in `trust_domain`.
    ///
    /// # Errors
    /// When the namespace or service account cannot be part of a SPIFFE id.
    pub fn spiffe_id(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, SpiffeIdError> {
        SpiffeId::istio(trust_domain, &self.namespace, &self.service_account)
    }

    fn first_label(&self, keys: &[&str]) -> Option<&str> {
        keys.iter()
            .find_map(|key| self.labels.get(*key))
            .map(String::as_str)
    }
}

/// A service in front of a [`Workload`], by its short name in the workload's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// The service's short name.
    pub name: String,
    /// The port.
    pub port: u16,
    /// The name of the service's port, if it has one.
    pub port_name: Option<String>,
}
