//! Decodes Kubernetes' own documents, as far as they say which services there are and which
//! endpoints they have.
//!
//! Services and EndpointSlices are read as strictly as our kinds, because calls go where they say.
//! Of Pods, Nodes and Namespaces only what is understood is taken.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::name::is_dns_label;
use super::service_entry::{distribution, traffic_distribution};
use super::value::{choice, field, port, text};
use crate::istio::decode::meta::{DOCUMENT, Scope, meta};
use crate::istio::traffic::{
    EndpointSlice, KubernetesService, KubernetesServicePort, Locality, Namespace, Node, Pod,
    Protocol, ServiceType, SliceEndpoint, SlicePort, TargetPort, TrafficResources,
};
use crate::istio::yaml::cursor::{Cursor, Step};
use crate::istio::yaml::fields::Fields;
use crate::istio::yaml::tree;
use crate::istio::{Meta, Text};

const SERVICE: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamily",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "topologyKeys",
    "trafficDistribution",
    "type",
];
const SERVICE_PORT: &[&str] = &[
    "appProtocol",
    "name",
    "nodePort",
    "port",
    "protocol",
    "targetPort",
];
const SLICE: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "addressType",
    "endpoints",
    "ports",
];
const ENDPOINT: &[&str] = &[
    "addresses",
    "conditions",
    "deprecatedTopology",
    "hints",
    "hostname",
    "nodeName",
    "targetRef",
    "zone",
];
const TYPES: &[(&str, ServiceType)] = &[
    ("ClusterIP", ServiceType::ClusterIp),
    ("ExternalName", ServiceType::ExternalName),
    ("LoadBalancer", ServiceType::LoadBalancer),
    ("NodePort", ServiceType::NodePort),
];
const TRANSPORTS: &[(&str, &str)] = &[("TCP", "TCP"), ("UDP", "UDP"), ("SCTP", "SCTP")];

/// Keeps what a document of Kubernetes says; all others are passed over.
pub(in crate::istio) fn kubernetes(
    at: &Cursor<'_, '_>,
    default_namespace: &str,
    into: &mut TrafficResources,
) {
    let document = at.node();
    let head = (document.text("apiVersion"), document.text("kind"));
    let (Some(api_version), Some(kind)) = head else {
        return;
    };
    match (api_version, kind) {
        ("v1", "Service") => push(&mut into.services, service(at, default_namespace)),
        ("discovery.k8s.io/v1", "EndpointSlice") => {
            push(&mut into.endpoint_slices, slice(at, default_namespace));
        }
        ("v1", "Pod") => push(&mut into.pods, pod(at, default_namespace)),
        ("v1", "Node") => push(&mut into.nodes, node(at)),
        ("v1", "Namespace") => push(&mut into.namespaces, namespace(at)),
        _ => {}
    }
}

fn push<T>(list: &mut Vec<std::sync::Arc<T>>, resource: Option<T>) {
    list.extend(resource.map(std::sync::Arc::new));
}

fn service(at: &Cursor<'_, '_>, default_namespace: &str) -> Option<KubernetesService> {
    let document = at.fields(DOCUMENT)?;
    let meta = meta(document, Scope::Namespace, default_namespace)?;
    let labels = metadata_labels(document);
    let spec = document.get("spec")?;
    let fields = spec.fields(SERVICE)?;
    let kind = fields.word("type", TYPES);
    let (cluster_ips, is_headless) = cluster_ips(fields);
    let stated = field(fields, "trafficDistribution", |at| at.text());
    let selector = fields.get("selector");
    let ports = fields.each("ports", service_port);
    named_apart(fields, ports.iter().map(|port| &*port.name));
    Some(KubernetesService {
        external_name: match kind {
            ServiceType::ExternalName => text(fields, "externalName"),
            _ => None,
        },
        selector: selector.map_or_else(BTreeMap::new, |at| texts(&at)),
        export_to: export_to(&meta),
        traffic_distribution: stated
            .and_then(|word| distribution(&word))
            .or_else(|| traffic_distribution(&meta.annotations)),
        is_node_local: fields
            .get("internalTrafficPolicy")
            .is_some_and(|at| at.word(&[("Cluster", false), ("Local", true)]) == Some(true)),
        publish_not_ready_addresses: fields.boolean("publishNotReadyAddresses"),
        kind,
        cluster_ips,
        is_headless,
        ports,
        labels,
        meta,
    })
}

/// The addresses, and whether the service has none on purpose.
fn cluster_ips(fields: Fields<'_, '_>) -> (Vec<IpAddr>, bool) {
    const NONE: &str = "None";
    let mut is_headless = false;
    let mut one = |at: &Cursor<'_, '_>| {
        let text = at.text().filter(|text| !text.is_empty())?;
        if &*text == NONE {
            is_headless = true;
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            at.wrong(format!(
                "`{text}` is no address; write an IP address or None"
            ));
        }
        address
    };
    let first = fields.get("clusterIP").and_then(|at| one(&at));
    let all = fields.each("clusterIPs", one);
    match all.is_empty() {
        true => (first.into_iter().collect(), is_headless),
        false => (all, is_headless),
    }
}

fn service_port(at: &Cursor<'_, '_>) -> Option<KubernetesServicePort> {
    let fields = at.fields(SERVICE_PORT)?;
    let number = fields.demand("port", "is missing; write a number from 1 to 65535")?;
    let number = number.port()?;
    let name = fields.string("name");
    let transport = fields.get("protocol").and_then(|at| at.word(TRANSPORTS));
    let app_protocol = fields.text("appProtocol");
    let app_protocol = app_protocol.as_deref();
    Some(KubernetesServicePort {
        protocol: Protocol::of_kubernetes(number, &name, transport.unwrap_or("TCP"), app_protocol),
        target_port: target_port(fields),
        number,
        name,
        at: at.at(),
    })
}

fn target_port(fields: Fields<'_, '_>) -> TargetPort {
    let Some(at) = fields.get("targetPort") else {
        return TargetPort::Same;
    };
    let text = at.node().scalar().map_or("", |scalar| &scalar.text);
    if text == "0" || text.is_empty() {
        return TargetPort::Same;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return at.port().map_or(TargetPort::Same, TargetPort::Number);
    }
    at.str()
        .map_or(TargetPort::Same, |name| TargetPort::Name(name.to_owned()))
}

/// That ports are told apart by their names.
fn named_apart<'a>(fields: Fields<'_, '_>, names: impl Iterator<Item = &'a str>) {
    let mut seen: HashSet<&str> = HashSet::new();
    for name in names {
        if !seen.insert(name)
            && let Some(at) = fields.get("ports")
        {
            at.wrong(match name {
                "" => "has several ports without a name; name them".to_owned(),
                name => format!("has two ports of the name `{name}`; rename one"),
            });
        }
    }
}

fn export_to(meta: &Meta) -> Vec<Text> {
    let annotation = meta.annotations.get("networking.istio.io/exportTo");
    let annotation = annotation.filter(|text| !text.is_empty());
    annotation.map_or_else(Vec::new, |text| {
        let entries = text.split(',').map(str::trim);
        entries
            .map(|entry| Text::new(entry, text.at().clone()))
            .collect()
    })
}

fn slice(at: &Cursor<'_, '_>, default_namespace: &str) -> Option<EndpointSlice> {
    let document = at.fields(SLICE)?;
    let meta = meta(document, Scope::Namespace, default_namespace)?;
    let mut labels = metadata_labels(document);
    let ports = document.each("ports", |at| {
        let fields = at.fields(&["name", "port", "protocol", "appProtocol"])?;
        if let Some(transport) = fields.get("protocol") {
            transport.word(TRANSPORTS);
        }
        Some(SlicePort {
            name: fields.string("name"),
            number: port(fields, "port"),
        })
    });
    named_apart(document, ports.iter().map(|port| &*port.name));
    let is_fqdn = document.get("addressType").is_some_and(|at| {
        at.word(&[("IPv4", false), ("IPv6", false), ("FQDN", true)]) == Some(true)
    });
    Some(EndpointSlice {
        service: labels.remove("kubernetes.io/service-name"),
        endpoints: document.each("endpoints", |at| endpoint(at, is_fqdn)),
        ports,
        meta,
    })
}

fn endpoint(at: &Cursor<'_, '_>, is_fqdn: bool) -> Option<SliceEndpoint> {
    let fields = at.fields(ENDPOINT)?;
    let conditions = fields.get("conditions");
    let conditions = conditions
        .as_ref()
        .and_then(|at| at.fields(&["ready", "serving", "terminating"]));
    let condition = |name: &'static str| choice(conditions?, name);
    let is_ready = condition("ready").unwrap_or(true);
    let addresses = fields.texts("addresses", |at, address| {
        if !is_fqdn && address.parse::<IpAddr>().is_err() {
            at.wrong(format!(
                "`{address}` is no IP address; write one, or addressType FQDN"
            ));
        }
    });
    let named = |name| text(fields, name).map(String::from);
    Some(SliceEndpoint {
        is_serving: condition("serving").unwrap_or(is_ready),
        is_terminating: condition("terminating").unwrap_or(false),
        pod: field(fields, "targetRef", pod_ref),
        node: named("nodeName"),
        zone: named("zone"),
        hostname: named("hostname"),
        is_ready,
        addresses,
        at: at.at(),
    })
}

fn pod_ref(at: &Cursor<'_, '_>) -> Option<(String, String)> {
    let fields = at.any_fields()?;
    (fields.string("kind") == "Pod").then(|| (fields.string("namespace"), fields.string("name")))
}

/// The labels in the metadata of a document.
pub(in crate::istio) fn metadata_labels(document: Fields<'_, '_>) -> BTreeMap<String, Text> {
    let metadata = document.get("metadata");
    let labels = metadata.as_ref().and_then(Cursor::any_fields);
    let labels = labels.and_then(|metadata| metadata.get("labels"));
    labels.map_or_else(BTreeMap::new, |at| texts(&at))
}

/// All texts of a map.
fn texts(at: &Cursor<'_, '_>) -> BTreeMap<String, Text> {
    at.pairs()
        .filter_map(|(key, value)| Some((key.to_owned(), value.text()?)))
        .collect()
}

fn pod(at: &Cursor<'_, '_>, default_namespace: &str) -> Option<Pod> {
    let document = at.node();
    let meta = loose_meta(at, Some(default_namespace))?;
    let (spec, status) = (document.get("spec"), document.get("status"));
    let string = |part: Option<&tree::Node<'_>>, name: &str| {
        let text = part?.text(name).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let many = status.map_or(&[][..], |status| status.items("podIPs"));
    let mut ips: Vec<IpAddr> = many
        .iter()
        .filter_map(|entry| entry.text("ip")?.parse().ok())
        .collect();
    if ips.is_empty() {
        ips.extend(string(status, "podIP").and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    let conditions = status.map_or(&[][..], |status| status.items("conditions"));
    let containers = spec.map_or(&[][..], |spec| spec.items("containers"));
    let ports = containers
        .iter()
        .flat_map(|container| container.items("ports"));
    Some(Pod {
        labels: loose_labels(at),
        service_account: string(spec, "serviceAccountName").unwrap_or_else(|| "default".to_owned()),
        node: string(spec, "nodeName"),
        ports: ports
            .filter_map(|port| {
                let number = port.text("containerPort")?.parse().ok()?;
                Some((port.text("name")?.to_owned(), number))
            })
            .collect(),
        is_ready: conditions.iter().any(|condition| {
            condition.text("type") == Some("Ready") && condition.text("status") == Some("True")
        }),
        meta,
        ips,
    })
}

fn node(at: &Cursor<'_, '_>) -> Option<Node> {
    let labels = loose_labels(at);
    let first = |names: &[&str]| {
        let found = names.iter().find_map(|name| labels.get(*name));
        found
            .map(|text| text.as_str().to_owned())
            .unwrap_or_default()
    };
    let locality = Locality {
        region: first(&[
            "topology.kubernetes.io/region",
            "failure-domain.beta.kubernetes.io/region",
        ]),
        zone: first(&[
            "topology.kubernetes.io/zone",
            "failure-domain.beta.kubernetes.io/zone",
        ]),
        subzone: first(&["topology.istio.io/subzone"]),
    };
    Some(Node {
        meta: loose_meta(at, None)?,
        locality,
    })
}

fn namespace(at: &Cursor<'_, '_>) -> Option<Namespace> {
    let annotations = loose_texts(at, "annotations");
    Some(Namespace {
        labels: loose_labels(at),
        traffic_distribution: traffic_distribution(&annotations),
        meta: loose_meta(at, None)?,
    })
}

/// What the metadata of a document says, as far as it can be read; without annotations.
fn loose_meta(at: &Cursor<'_, '_>, default_namespace: Option<&str>) -> Option<Meta> {
    let document = at.node();
    let metadata = document.get("metadata")?;
    let name = metadata.text("name").filter(|name| !name.is_empty())?;
    let namespace = metadata.text("namespace").filter(|name| is_dns_label(name));
    let text = |name: &str| document.text(name).unwrap_or_default().to_owned();
    Some(Meta {
        kind: text("kind"),
        api_version: text("apiVersion"),
        name: name.to_owned(),
        namespace: match default_namespace {
            Some(default_namespace) => namespace.unwrap_or(default_namespace).to_owned(),
            None => String::new(),
        },
        at: at.at(),
        ..Meta::default()
    })
}

fn loose_labels(at: &Cursor<'_, '_>) -> BTreeMap<String, Text> {
    loose_texts(at, "labels")
}

fn loose_texts(at: &Cursor<'_, '_>, name: &str) -> BTreeMap<String, Text> {
    let metadata = at.node().get("metadata");
    let entries = metadata.and_then(|metadata| metadata.get(name)?.entries());
    let entries = entries.unwrap_or_default().iter();
    entries
        .filter_map(|entry| {
            let text = &entry.value.scalar()?.text;
            let at = at.child(&entry.value, Step::Key(&entry.key)).at();
            Some((entry.key.clone().into_owned(), Text::new(&**text, at)))
        })
        .collect()
}
