//! Reads a [`Workload`] from what Istio and Kubernetes tell a container.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{TraceServiceName, TrustDomain, TrustDomainError, Workload};

impl Workload {
    /// The workload that the environment describes, by the variables that Istio's injector gives to
    /// a sidecar. Nothing of this crate reads them unless this is called.
    ///
    /// | variable | is | without it |
    /// |---|---|---|
    /// | `POD_NAMESPACE` | [namespace](Self::namespace) | an error |
    /// | `SERVICE_ACCOUNT` | [service account](Self::service_account) | an error |
    /// | `POD_NAME` | [pod](Self::pod_name) | not known |
    /// | `INSTANCE_IP` | [address](Self::instance_ip) | not known |
    /// | `ISTIO_META_WORKLOAD_NAME` | [name](Self::workload_name) | a label, the owner, or the service account |
    /// | `ISTIO_META_OWNER` | [owner](Self::owner) | not known |
    /// | `ISTIO_META_CLUSTER_ID` | [cluster](Self::cluster_id) | `Kubernetes` |
    /// | `TRUST_DOMAIN` | [trust domain](Self::own_trust_domain) | not set, which means `cluster.local` |
    /// | `ISTIO_META_MESH_ID` | [mesh](Self::mesh_id) | the trust domain |
    /// | `ISTIO_METAJSON_LABELS` | [labels](Self::labels), as a JSON object of texts | no labels |
    /// | `PROXY_CONFIG` | a JSON object, whose `tracingServiceName` is [the name of the service in traces](Self::trace_service_name) | as MeshConfig says |
    ///
    /// A variable that is empty counts as absent. Labels come also from the file
    /// `/etc/istio/pod/labels` if there is one, as Kubernetes' downward API writes it; its labels
    /// win over those of the variable. [`label_file`](Self::label_file) reads a file elsewhere.
    ///
    /// A container that Istio does not inject gets the variables from its own manifest:
    ///
    /// ```yaml
    /// env:
    /// - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    /// - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    /// - {name: INSTANCE_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    /// - {name: SERVICE_ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    /// - {name: ISTIO_META_WORKLOAD_NAME, value: patients}
    /// volumeMounts:
    /// - {name: podinfo, mountPath: /etc/istio/pod}
    /// # and in the pod: volumes:
    /// - name: podinfo
    ///   downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
    /// ```
    ///
    /// Services are not in the environment: add them with [`service`](Self::service).
    ///
    /// # Errors
    /// When a needed variable is missing, or when one cannot be read, or the file cannot. The error
    /// names it and says what to do.
    pub fn from_env() -> Result<Self, WorkloadError> {
        Self::from_vars(|name| std::env::var(name).ok(), Path::new(POD_LABELS))
    }

    fn from_vars(
        variable: impl Fn(&'static str) -> Option<String>,
        label_file: &Path,
    ) -> Result<Self, WorkloadError> {
        let optional = |name| variable(name).filter(|value| !value.is_empty());
        let needed = |name, field| {
            let missing = || WorkloadError(Kind::Missing { name, field });
            optional(name).ok_or_else(missing)
        };
        let mut workload = Self::new(
            needed("POD_NAMESPACE", "metadata.namespace")?,
            needed("SERVICE_ACCOUNT", "spec.serviceAccountName")?,
        );
        let setters: [(&'static str, Setter); 5] = [
            ("POD_NAME", Self::pod),
            ("ISTIO_META_WORKLOAD_NAME", Self::name),
            ("ISTIO_META_OWNER", Self::owned_by),
            ("ISTIO_META_CLUSTER_ID", Self::cluster),
            ("ISTIO_META_MESH_ID", Self::mesh),
        ];
        for (name, set) in setters {
            if let Some(value) = optional(name) {
                workload = set(workload, value);
            }
        }
        if let Some(ip) = optional("INSTANCE_IP") {
            let ip = ip.trim().parse().map_err(|_| WorkloadError(Kind::Ip))?;
            workload = workload.ip(ip);
        }
        if let Some(name) = optional("TRUST_DOMAIN") {
            let domain = TrustDomain::new(&name);
            let domain = domain.map_err(|error| WorkloadError(Kind::TrustDomain(error)))?;
            workload = workload.trust_domain(domain);
        }
        if workload.mesh_id().is_none() {
            let domain = workload.own_trust_domain().cloned().unwrap_or_default();
            workload = workload.mesh(domain.as_str());
        }
        if let Some(json) = optional("ISTIO_METAJSON_LABELS") {
            let labels: Result<BTreeMap<String, String>, _> = serde_json::from_str(&json);
            let labels = labels.map_err(|error| WorkloadError(Kind::Json(error)))?;
            workload = workload.with_labels(labels);
        }
        if let Some(json) = optional("PROXY_CONFIG") {
            let config: serde_json::Value =
                serde_json::from_str(&json).map_err(|_| WorkloadError(Kind::ProxyConfig))?;
            if let Some(name) = config.get("tracingServiceName") {
                let name = name.as_str().and_then(TraceServiceName::from_istio);
                let name = name.ok_or(WorkloadError(Kind::ProxyConfig))?;
                workload = workload.trace_service_name(name);
            }
        }
        match workload.clone().label_file(label_file) {
            Err(WorkloadError(Kind::File { error, .. }))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(workload)
            }
            read => read,
        }
    }

    /// Adds the labels of a file that Kubernetes' downward API writes (`metadata.labels`): a line
    /// `KEY="VALUE"` for each. Labels that are set already are overridden.
    ///
    /// # Errors
    /// When the file cannot be read, or a line of it cannot; the error names file and line.
    pub fn label_file(self, path: impl AsRef<Path>) -> Result<Self, WorkloadError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let path = path.to_owned();
            WorkloadError(Kind::File { path, error })
        })?;
        let mut labels = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let path = || path.to_owned();
            let wrong = || WorkloadError(Kind::Line(path(), number));
            labels.push(read_line(line).ok_or_else(wrong)?);
        }
        Ok(self.with_labels(labels))
    }
}

type Setter = fn(Workload, String) -> Workload;

/// Reads `KEY="VALUE"`. Kubernetes writes values with Go's `%q`; a label's value holds nothing that
/// JSON would write in another way.
fn read_line(line: &str) -> Option<(String, String)> {
    let (key, value) = line.trim().split_once('=')?;
    let value: String = serde_json::from_str(value).ok()?;
    (!key.is_empty()).then(|| (key.to_owned(), value))
}

/// The environment does not describe a [`Workload`].
#[derive(Debug)]
pub struct WorkloadError(Kind);

#[derive(Debug)]
enum Kind {
    Missing {
        name: &'static str,
        field: &'static str,
    },
    Ip,
    TrustDomain(TrustDomainError),
    Json(serde_json::Error),
    ProxyConfig,
    File {
        path: PathBuf,
        error: io::Error,
    },
    Line(PathBuf, usize),
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Missing { name, field } => write!(
                f,
                "the variable {name} is not set: name it in the container's `env`, with \
                 `fieldRef: {{fieldPath: {field}}}`, or describe the workload with `Workload::new`"
            ),
            Kind::Ip => f.write_str(
                "the variable INSTANCE_IP is no IP address: set it with \
                 `fieldRef: {fieldPath: status.podIP}`",
            ),
            Kind::TrustDomain(_) => f.write_str(
                "the variable TRUST_DOMAIN is no trust domain: write what the mesh's \
                 `trustDomain` says, without `spiffe://`",
            ),
            Kind::Json(_) => f.write_str(
                "the variable ISTIO_METAJSON_LABELS cannot be read: write a JSON object of texts, \
                 such as {\"app\":\"patients\"}",
            ),
            Kind::ProxyConfig => f.write_str(
                "the variable PROXY_CONFIG cannot be read: write a JSON object, whose \
                 tracingServiceName, if it is there, is APP_LABEL_AND_NAMESPACE, \
                 CANONICAL_NAME_ONLY or CANONICAL_NAME_AND_NAMESPACE",
            ),
            Kind::File { path, .. } => {
                write!(f, "the file of labels {} cannot be read", path.display())
            }
            Kind::Line(path, line) => write!(
                f,
                "{}:{line}: no label: write KEY=\"VALUE\", as Kubernetes' downward API does",
                path.display()
            ),
        }
    }
}

impl std::error::Error for WorkloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::TrustDomain(error) => Some(error),
            Kind::Json(error) => Some(error),
            Kind::File { error, .. } => Some(error),
            Kind::Missing { .. } | Kind::Ip | Kind::ProxyConfig | Kind::Line(..) => None,
        }
    }
}

/// Where Istio's injector mounts the labels of a pod.
const POD_LABELS: &str = "/etc/istio/pod/labels";

#[cfg(test)]
mod tests {
    use super::*;

    /// A workload of these variables and of this file of labels.
    fn read(variables: &[(&str, &str)], labels: Option<&str>) -> Result<Workload, WorkloadError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels");
        if let Some(labels) = labels {
            std::fs::write(&file, labels).unwrap();
        }
        let variable = |name: &str| {
            let mut given = variables.iter();
            given
                .find(|(given, _)| *given == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Workload::from_vars(variable, &file)
    }

    const NEEDED: [(&str, &str); 2] = [("POD_NAMESPACE", "clinic"), ("SERVICE_ACCOUNT", "records")];

    #[test]
    fn what_the_injector_sets_describes_the_workload() {
        let variables = [
            ("POD_NAMESPACE", "clinic"),
            ("SERVICE_ACCOUNT", "records"),
            ("POD_NAME", "patients-7d4b9-x2v"),
            ("INSTANCE_IP", "10.0.0.7"),
            ("ISTIO_META_WORKLOAD_NAME", "patients"),
            ("ISTIO_META_CLUSTER_ID", "east"),
            ("ISTIO_META_MESH_ID", "mesh1"),
            ("TRUST_DOMAIN", "hospital.test"),
            (
                "ISTIO_META_OWNER",
                "kubernetes://apis/apps/v1/namespaces/clinic/deployments/patients",
            ),
            (
                "ISTIO_METAJSON_LABELS",
                r#"{"app":"old","istio-locality":"eu.eu-1.b"}"#,
            ),
        ];
        let labels = "app=\"patients\"\nversion=\"v2\"\n\n";
        let workload = read(&variables, Some(labels)).unwrap();
        assert_eq!(workload.namespace(), "clinic");
        assert_eq!(workload.service_account(), "records");
        assert_eq!(workload.workload_name(), "patients");
        assert_eq!(workload.pod_name(), Some("patients-7d4b9-x2v"));
        assert_eq!(workload.instance_ip(), Some([10, 0, 0, 7].into()));
        assert_eq!(workload.cluster_id(), "east");
        assert_eq!(workload.mesh_id(), Some("mesh1"));
        assert_eq!(
            workload.own_trust_domain().unwrap().as_str(),
            "hospital.test"
        );
        assert_eq!(workload.owner(), Some(variables[8].1));
        assert_eq!(workload.canonical_service(), "patients");
        assert_eq!(workload.canonical_revision(), "v2");
        assert_eq!(
            (workload.region(), workload.zone()),
            (Some("eu"), Some("eu-1"))
        );
        assert_eq!(
            workload.node_id(),
            "sidecar~10.0.0.7~patients-7d4b9-x2v.clinic~clinic.svc.cluster.local"
        );
    }

    #[test]
    fn the_config_of_the_proxy_names_the_service_in_traces() {
        let named = |config: &'static str| {
            let variables = [NEEDED[0], NEEDED[1], ("PROXY_CONFIG", config)];
            read(&variables, Some("app=\"ward\"\n")).map(|workload| workload.trace_service())
        };
        for (config, expected) in [
            ("{}", "ward.clinic"),
            (r#"{"concurrency": 2}"#, "ward.clinic"),
            (
                r#"{"tracingServiceName": "APP_LABEL_AND_NAMESPACE"}"#,
                "ward.clinic",
            ),
            (r#"{"tracingServiceName": "CANONICAL_NAME_ONLY"}"#, "ward"),
            (
                r#"{"tracingServiceName": "CANONICAL_NAME_AND_NAMESPACE"}"#,
                "ward.clinic",
            ),
        ] {
            assert_eq!(named(config).unwrap(), expected, "{config}");
        }
        for config in ["CANONICAL_NAME_ONLY", r#"{"tracingServiceName": "ONLY"}"#] {
            let error = named(config).unwrap_err().to_string();
            assert!(error.starts_with("the variable PROXY_CONFIG "), "{error}");
        }
    }

    #[test]
    fn what_is_not_set_has_istios_defaults() {
        let workload = read(&[NEEDED[0], NEEDED[1], ("POD_NAME", "")], None).unwrap();
        assert_eq!(workload.workload_name(), "records");
        assert_eq!(workload.cluster_id(), "Kubernetes");
        assert_eq!(workload.mesh_id(), Some("cluster.local"));
        assert_eq!(workload.own_trust_domain(), None);
        assert_eq!((workload.pod_name(), workload.instance_ip()), (None, None));
        assert_eq!((workload.region(), workload.zone()), (None, None));
        assert_eq!(workload.canonical_revision(), "latest");
        assert_eq!(
            workload.node_id(),
            "sidecar~127.0.0.1~records.clinic~clinic.svc.cluster.local"
        );
        let domain = ("TRUST_DOMAIN", "hospital.test");
        let workload = read(&[NEEDED[0], NEEDED[1], domain], None).unwrap();
        assert_eq!(workload.mesh_id(), Some("hospital.test"));
    }

    #[test]
    fn the_owner_names_a_workload_that_nothing_else_names() {
        let owner = (
            "ISTIO_META_OWNER",
            "kubernetes://apis/batch/v1/namespaces/clinic/cronjobs/nightly",
        );
        let workload = read(&[NEEDED[0], NEEDED[1], owner], None).unwrap();
        assert_eq!(workload.workload_name(), "nightly");
        let labels = "service.istio.io/workload-name=\"said\"";
        let workload = read(&[NEEDED[0], NEEDED[1], owner], Some(labels)).unwrap();
        assert_eq!(workload.workload_name(), "said");
    }

    #[test]
    fn a_long_name_is_cut_where_it_stands_for_a_label() {
        let name = "é".repeat(40);
        let workload = Workload::new("clinic", "records").name(&*name);
        assert_eq!(workload.canonical_service(), "é".repeat(31));
        assert_eq!(workload.workload_name(), name);
    }

    #[test]
    fn what_is_missing_or_unreadable_is_named() {
        fn text(variables: &[(&str, &str)], labels: Option<&str>) -> String {
            read(variables, labels).unwrap_err().to_string()
        }
        let missing = text(&[("POD_NAMESPACE", "clinic")], None);
        assert!(missing.contains("SERVICE_ACCOUNT is not set"), "{missing}");
        assert!(missing.contains("spec.serviceAccountName"), "{missing}");
        for (name, value) in [
            ("INSTANCE_IP", "here"),
            ("TRUST_DOMAIN", "Upper"),
            ("ISTIO_METAJSON_LABELS", "{app: patients}"),
            ("ISTIO_METAJSON_LABELS", r#"{"app": 1}"#),
        ] {
            let said = text(&[NEEDED[0], NEEDED[1], (name, value)], None);
            assert!(said.contains(name), "{said}");
        }
        for line in ["app", "app=patients", "=\"x\"", "app=\"x"] {
            let said = text(&NEEDED, Some(&format!("version=\"v1\"\n{line}\n")));
            assert!(said.contains("labels:2: no label"), "{line}: {said}");
        }
    }
}
