//! What Kubernetes' own documents say about the workloads that policies select. This crate does not
//! validate these documents: it skips what it does not understand.

use std::collections::BTreeMap;

use crate::istio::Position;
use crate::istio::yaml::tree::{Node, Value};

/// A workload that a document deploys: a Pod, or what makes Pods of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deployed {
    /// The document's kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The service account; Kubernetes' own default is `default`.
    pub service_account: String,
    /// The labels of its Pods.
    pub labels: BTreeMap<String, String>,
    /// The named ports of its containers.
    pub ports: BTreeMap<String, u16>,
    /// Where the document starts.
    pub at: Position,
}

/// A Service, as far as it says which protocol each port of its Pods speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployedService {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The labels of the Pods behind it; empty: none that it selects.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<DeployedPort>,
}

/// A port of a [`DeployedService`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployedPort {
    /// `targetPort`, a number or the name of a container's port; else `port`.
    pub target: String,
    /// `port`, the number under which clients know it.
    pub number: Option<u16>,
    /// `appProtocol`, else the port's name: Istio reads the protocol from either. `udp` or `sctp`
    /// if that is the `protocol`. Empty if none is stated.
    pub protocol: String,
}

/// What a document deploys.
#[derive(Debug)]
pub(in crate::istio) enum Deployment {
    Service(DeployedService),
    Workload(Deployed),
}

/// Reads a document of Kubernetes; `None` when it deploys nothing.
pub(in crate::istio) fn deployment(
    document: &Node<'_>,
    default_namespace: &str,
    at: Position,
) -> Option<Deployment> {
    let version = text(document.get("apiVersion"))?;
    let kind = text(document.get("kind"))?;
    let metadata = document.get("metadata")?;
    let name = text(metadata.get("name"))?;
    let namespace = text(metadata.get("namespace")).filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or_else(|| default_namespace.to_owned());
    let spec = document.get("spec")?;
    let template = match (version.as_str(), kind.as_str()) {
        ("v1", "Service") => {
            return Some(Deployment::Service(DeployedService {
                name,
                namespace,
                selector: texts(spec.get("selector")),
                ports: spec.items("ports").iter().filter_map(port).collect(),
            }));
        }
        ("v1", "Pod") => document,
        ("apps/v1", "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet")
        | ("batch/v1", "Job")
        | ("v1", "ReplicationController") => spec.get("template")?,
        ("batch/v1", "CronJob") => spec.get("jobTemplate")?.get("spec")?.get("template")?,
        // Whoever else makes Pods of a template, such as the Rollouts of Argo.
        _ => {
            let template = spec.get("template")?;
            let containers = template.get("spec")?.get("containers")?;
            matches!(containers.value, Value::List(_)).then_some(template)?
        }
    };
    let pod = template.get("spec")?;
    let metadata = template.get("metadata");
    let labels = metadata.and_then(|metadata| metadata.get("labels"));
    let containers = pod.items("containers").iter();
    let ports = containers.flat_map(|container| container.items("ports"));
    let account = text(pod.get("serviceAccountName"));
    Some(Deployment::Workload(Deployed {
        kind,
        name,
        namespace,
        service_account: account.unwrap_or_else(|| "default".to_owned()),
        labels: texts(labels),
        ports: ports
            .filter_map(|port| {
                let number = text(port.get("containerPort"))?.parse().ok()?;
                Some((text(port.get("name"))?, number))
            })
            .collect(),
        at,
    }))
}

fn port(port: &Node<'_>) -> Option<DeployedPort> {
    let target = text(port.get("targetPort")).or_else(|| text(port.get("port")))?;
    let transport = text(port.get("protocol")).map(|name| name.to_ascii_lowercase());
    let transport = transport.filter(|name| matches!(name.as_str(), "udp" | "sctp"));
    let protocol = transport
        .or_else(|| text(port.get("appProtocol")).filter(|name| !name.is_empty()))
        .or_else(|| text(port.get("name")));
    Some(DeployedPort {
        target,
        number: text(port.get("port")).and_then(|number| number.parse().ok()),
        protocol: protocol.unwrap_or_default(),
    })
}

fn text(node: Option<&Node<'_>>) -> Option<String> {
    let node = node.filter(|node| !node.is_null())?;
    node.scalar().map(|scalar| scalar.text.clone().into_owned())
}

fn texts(node: Option<&Node<'_>>) -> BTreeMap<String, String> {
    let entries = node.and_then(Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone().into_owned(), text(Some(&entry.value))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::istio::parse;

    #[test]
    fn workloads_and_services_are_read_of_kubernetes_documents() {
        let resources = parse(
            "store.yaml",
            "
apiVersion: apps/v1
kind: Deployment
metadata: {name: store, namespace: clinic}
spec:
  template:
    metadata: {labels: {app: store, tier: '2'}}
    spec:
      serviceAccountName: keeper
      containers:
      - {name: store, ports: [{name: sql, containerPort: 5432}, {containerPort: 9000}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: sweep}
spec: {jobTemplate: {spec: {template: {spec: {containers: []}}}}}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: clinic}
spec:
  selector: {app: store}
  ports:
  - {port: 80, targetPort: sql, name: tcp-sql}
  - {port: 9000, name: stats, appProtocol: http}
  - {port: 53, name: http-dns, protocol: UDP}
---
apiVersion: v1
kind: Pod
metadata: [1]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: odd}
spec: {template: none}
",
            "office",
        )
        .unwrap();
        let [store, sweep] = &resources.workloads[..] else {
            panic!("{:?}", resources.workloads);
        };
        assert_eq!((&*store.name, &*store.namespace), ("store", "clinic"));
        assert_eq!(store.service_account, "keeper");
        assert_eq!(store.labels["tier"], "2");
        assert_eq!(store.ports.len(), 1);
        assert_eq!(store.ports["sql"], 5432);
        assert_eq!(store.at.to_string(), "store.yaml:2:1");
        assert_eq!(
            (&*sweep.namespace, &*sweep.service_account),
            ("office", "default")
        );
        let [service] = &resources.services[..] else {
            panic!("{:?}", resources.services);
        };
        assert_eq!(service.selector["app"], "store");
        let ports = service
            .ports
            .iter()
            .map(|port| (&*port.target, port.number, &*port.protocol));
        assert_eq!(
            ports.collect::<Vec<_>>(),
            [
                ("sql", Some(80), "tcp-sql"),
                ("9000", Some(9000), "http"),
                ("53", Some(53), "udp")
            ]
        );
        assert_eq!(resources.skipped.len(), 5, "they are still none of ours");
    }
}
