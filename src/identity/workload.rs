//! What an application states about its own workload.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::trace_service::TraceServiceName;
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
///
/// [`from_env`](Self::from_env) reads the same from the variables that Istio's injector sets. No
/// other code of this crate reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    namespace: String,
    service_account: String,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    services: Vec<ServicePort>,
    cluster: String,
    mesh: Option<String>,
    trust_domain: Option<TrustDomain>,
    pod: Option<String>,
    ip: Option<IpAddr>,
    owner: Option<String>,
    locality: Option<(String, String)>,
    trace_service_name: Option<TraceServiceName>,
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
            mesh: None,
            trust_domain: None,
            pod: None,
            ip: None,
            owner: None,
            locality: None,
            trace_service_name: None,
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

    /// Adds several labels.
    #[must_use]
    pub fn with_labels<K: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let labels = labels.into_iter();
        self.labels
            .extend(labels.map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Sets the name of this pod, or of this instance outside Kubernetes.
    #[must_use]
    pub fn pod(mut self, name: impl Into<String>) -> Self {
        self.pod = Some(name.into());
        self
    }

    /// Sets the address of this pod.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.ip = Some(ip);
        self
    }

    /// Sets the object that owns this pod, as Istio writes it:
    /// `kubernetes://apis/apps/v1/namespaces/default/deployments/patients`.
    ///
    /// If no [`name`](Self::name) is set, this names the workload, too.
    #[must_use]
    pub fn owned_by(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sets the region and the zone in which this process runs.
    #[must_use]
    pub fn locality(mut self, region: impl Into<String>, zone: impl Into<String>) -> Self {
        self.locality = Some((region.into(), zone.into()));
        self
    }

    /// Sets the name of the mesh, as spans show it.
    #[must_use]
    pub fn mesh(mut self, mesh: impl Into<String>) -> Self {
        self.mesh = Some(mesh.into());
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

    /// The workload's name: the one that was set, else the label `service.istio.io/workload-name`,
    /// else the name of the [owner](Self::owner), else the service account.
    #[must_use]
    pub fn workload_name(&self) -> &str {
        let name = self.name.as_deref();
        name.or_else(|| self.first_label(&["service.istio.io/workload-name"]))
            .or_else(|| self.owner_name())
            .unwrap_or(&self.service_account)
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

    /// The name of the mesh, if it was set.
    #[must_use]
    pub fn mesh_id(&self) -> Option<&str> {
        self.mesh.as_deref()
    }

    /// The name of this pod, if it was set.
    #[must_use]
    pub fn pod_name(&self) -> Option<&str> {
        self.pod.as_deref()
    }

    /// The address of this pod, if it was set.
    #[must_use]
    pub const fn instance_ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The object that owns this pod, if it was set.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The region: the one that was set, else that of the label `topology.istio.io/locality` or
    /// `istio-locality` (`REGION/ZONE/SUBZONE`, or with dots), else the label
    /// `topology.kubernetes.io/region`.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        let set = self.locality.as_ref().map(|(region, _)| region.as_str());
        let region = set.or_else(|| self.locality_part(0));
        filled(region.or_else(|| self.first_label(&["topology.kubernetes.io/region"])))
    }

    /// The zone, as [`region`](Self::region); its label is `topology.kubernetes.io/zone`.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        let set = self.locality.as_ref().map(|(_, zone)| zone.as_str());
        let zone = set.or_else(|| self.locality_part(1));
        filled(zone.or_else(|| self.first_label(&["topology.kubernetes.io/zone"])))
    }

    /// The name of this process as Envoy gives it to a sidecar:
    /// `sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.cluster.local`.
    ///
    /// An address that was not set is `127.0.0.1`, and a pod that was not set has the name of the
    /// workload.
    #[must_use]
    pub fn node_id(&self) -> String {
        let namespace = self.namespace();
        let pod = self.pod_name().unwrap_or_else(|| self.workload_name());
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let ip = self.ip.unwrap_or(loopback);
        format!("sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.cluster.local")
    }

    /// The canonical service: the first label present of `service.istio.io/canonical-name`,
    /// `app.kubernetes.io/name` and `app`, else the workload's name, cut after 63 bytes as a label
    /// would be.
    #[must_use]
    pub fn canonical_service(&self) -> &str {
        self.first_label(&[
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ])
        .unwrap_or_else(|| as_label(self.workload_name()))
    }

    /// Sets by which name spans call the service; `APP.NAMESPACE` by default. It counts over
    /// MeshConfig's `defaultConfig.tracingServiceName`; the environment variable
    /// `OTEL_SERVICE_NAME` counts over both.
    #[must_use]
    pub fn trace_service_name(mut self, name: TraceServiceName) -> Self {
        self.trace_service_name = Some(name);
        self
    }

    /// The same workload, with this choice if it has none of its own.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn or_trace_service_name(mut self, name: Option<TraceServiceName>) -> Self {
        self.trace_service_name = self.trace_service_name.or(name);
        self
    }

    /// The name by which its spans call the service.
    #[must_use]
    pub fn trace_service(&self) -> String {
        let namespace = self.namespace();
        match self.trace_service_name.unwrap_or_default() {
            TraceServiceName::AppLabelAndNamespace => {
                let label = |key: &str| self.labels().get(key).map(String::as_str);
                let app = label("app")
                    .or_else(|| label("app.kubernetes.io/name"))
                    .or_else(|| label("service.istio.io/canonical-name"))
                    .unwrap_or_else(|| self.workload_name());
                format!("{app}.{namespace}")
            }
            TraceServiceName::CanonicalNameOnly => self.canonical_service().to_owned(),
            TraceServiceName::CanonicalNameAndNamespace => {
                format!("{}.{namespace}", self.canonical_service())
            }
        }
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

    fn owner_name(&self) -> Option<&str> {
        let (_, name) = self.owner()?.rsplit_once('/')?;
        filled(Some(name))
    }

    /// A part of a label that holds region, zone and subzone.
    fn locality_part(&self, index: usize) -> Option<&str> {
        let label = self.first_label(&["topology.istio.io/locality", "istio-locality"])?;
        // A label's value holds no slash, so that dots stand for it there.
        let separator = if label.contains('/') { '/' } else { '.' };
        label.split(separator).nth(index)
    }

    fn first_label(&self, keys: &[&str]) -> Option<&str> {
        keys.iter()
            .find_map(|key| self.labels.get(*key))
            .map(String::as_str)
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// As much of a name as the value of a label may hold.
fn as_label(name: &str) -> &str {
    let mut end = name.len().min(MAX_LABEL);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or(name)
}

/// The longest value of a label in Kubernetes.
const MAX_LABEL: usize = 63;

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
