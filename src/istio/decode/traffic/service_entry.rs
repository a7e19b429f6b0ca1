//! Decodes ServiceEntry.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::name::{self, Exports};
use super::value::{field, port};
use super::workload::{UNIX, workload};
use crate::istio::decode::meta::{match_labels, no_dry_run};
use crate::istio::decode::value::{ip_block, required};
use crate::istio::traffic::{
    Location, Protocol, Resolution, ServiceEntry, ServicePort, TrafficDistribution,
    WorkloadEntrySpec,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{Meta, Text};

const SPEC: &[&str] = &[
    "hosts",
    "addresses",
    "ports",
    "location",
    "resolution",
    "endpoints",
    "workloadSelector",
    "exportTo",
    "subjectAltNames",
];
const LOCATIONS: &[(&str, Location)] = &[
    ("MESH_EXTERNAL", Location::MeshExternal),
    ("MESH_INTERNAL", Location::MeshInternal),
];
const RESOLUTIONS: &[(&str, Resolution)] = &[
    ("NONE", Resolution::None),
    ("STATIC", Resolution::Static),
    ("DNS", Resolution::Dns),
    ("DNS_ROUND_ROBIN", Resolution::DnsRoundRobin),
    ("DYNAMIC_DNS", Resolution::DynamicDns),
];

/// `ServiceEntry`, `spec`.
pub(in crate::istio) fn service_entry(meta: Meta, spec: &Cursor<'_, '_>) -> Option<ServiceEntry> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(SPEC)?;
    let resolution = fields.word("resolution", RESOLUTIONS);
    if fields.listed("hosts").is_none() {
        spec.missing("hosts", "is missing; write at least one host");
    }
    let hosts = fields.texts("hosts", |at, host| match host {
        "*" => at.wrong("`*` is every host; write names, or wildcards such as *.example.com"),
        _ => name::domain(at, host),
    });
    let ports = ports(fields);
    let names: HashSet<&str> = ports.iter().map(|port| &*port.name).collect();
    let endpoints = fields.each("endpoints", |at| endpoint(at, resolution, &names));
    let selector = field(fields, "workloadSelector", |at| {
        Some(match_labels(at, "labels", &["labels"]))
    });
    let entry = ServiceEntry {
        addresses: fields.texts("addresses", ip_block),
        location: fields.word("location", LOCATIONS),
        endpoints,
        workload_selector: selector,
        export_to: name::export_to(fields, "exportTo", &meta.namespace, Exports::Service),
        subject_alt_names: fields.texts("subjectAltNames", |_, _| {}),
        traffic_distribution: traffic_distribution(&meta.annotations),
        resolution,
        hosts,
        ports,
        meta,
    };
    check(fields, &entry);
    Some(entry)
}

/// The annotation `networking.istio.io/traffic-distribution`.
pub(super) fn traffic_distribution(
    annotations: &BTreeMap<String, Text>,
) -> Option<TrafficDistribution> {
    let annotation = annotations.get("networking.istio.io/traffic-distribution")?;
    let word = annotation.to_ascii_lowercase();
    let known = DISTRIBUTIONS.iter();
    let known = known.map(|(known, distribution)| (known.to_ascii_lowercase(), *distribution));
    let found = known.into_iter().find(|(known, _)| *known == word);
    match found {
        Some((_, distribution)) => Some(distribution),
        // Istio warns, and looks no further.
        None if !word.is_empty() => Some(TrafficDistribution::Any),
        None => None,
    }
}

/// `trafficDistribution` of a Service. Any other word is that of another implementation.
pub(super) fn distribution(text: &str) -> Option<TrafficDistribution> {
    let found = DISTRIBUTIONS.iter().find(|(known, _)| *known == text);
    found.map(|(_, distribution)| *distribution)
}

const DISTRIBUTIONS: [(&str, TrafficDistribution); 3] = [
    ("PreferClose", TrafficDistribution::PreferSameZone),
    ("PreferSameZone", TrafficDistribution::PreferSameZone),
    ("PreferSameNode", TrafficDistribution::PreferSameNode),
];

fn ports(fields: Fields<'_, '_>) -> Vec<ServicePort> {
    let mut names: HashSet<String> = HashSet::new();
    let mut numbers: HashSet<u16> = HashSet::new();
    fields.each("ports", |at| {
        let fields = at.fields(&["number", "protocol", "name", "targetPort"])?;
        let number = fields.demand("number", "is missing; write a number from 1 to 65535");
        let number = number.and_then(|at| at.port());
        let name = required(fields, "name", |at, text| name::dns_label(at, text, "port"));
        let port = ServicePort {
            protocol: field(fields, "protocol", protocol).unwrap_or_default(),
            target_port: port(fields, "targetPort"),
            number: number?,
            name: name?,
            at: at.at(),
        };
        if !names.insert(port.name.as_str().to_owned()) {
            at.wrong(format!(
                "a second port of the name `{}`; rename one",
                port.name
            ));
        }
        if !numbers.insert(port.number) {
            at.wrong(format!("a second port {}; keep one", port.number));
        }
        Some(port)
    })
}

/// `protocol` of a port.
pub(super) fn protocol(at: &Cursor<'_, '_>) -> Option<Protocol> {
    let text = at.str()?;
    let protocol = Protocol::from_name(text);
    if protocol == Protocol::Unspecified && !text.is_empty() {
        at.wrong(format!(
            "`{text}` is no protocol; write HTTP, HTTP2, GRPC, GRPC-Web, HTTPS, TLS, TCP, MONGO, MYSQL, REDIS or UDP, or nothing"
        ));
    }
    Some(protocol)
}

/// What fields say about each other.
fn check(fields: Fields<'_, '_>, entry: &ServiceEntry) {
    let wrong = |name: &'static str, message: &str| match fields.get(name) {
        Some(at) => at.wrong(message),
        None => fields.whole().missing(name, message),
    };
    if entry.workload_selector.is_some() && fields.get("endpoints").is_some() {
        wrong(
            "endpoints",
            "cannot be combined with workloadSelector; keep one",
        );
    }
    let is_dns = matches!(
        entry.resolution,
        Resolution::Dns | Resolution::DnsRoundRobin
    );
    let has_block = entry.addresses.iter().any(|address| address.contains('/'));
    if has_block && !matches!(entry.resolution, Resolution::None | Resolution::Static) {
        wrong(
            "addresses",
            "has a CIDR block, which resolution NONE and STATIC alone take; write addresses",
        );
    }
    let has_endpoints = fields.listed("endpoints").is_some();
    match entry.resolution {
        Resolution::None if has_endpoints => wrong(
            "endpoints",
            "has no use with resolution NONE, which calls the original address; write resolution STATIC or DNS",
        ),
        Resolution::DnsRoundRobin if entry.endpoints.len() > 1 => wrong(
            "endpoints",
            "has more than one entry, and DNS_ROUND_ROBIN resolves one name; write resolution DNS",
        ),
        Resolution::DynamicDns => dynamic_dns(fields, entry),
        Resolution::None | Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin => {}
    }
    let unresolvable = |host: &&Text| name::check_fqdn(host).is_err();
    if is_dns
        && !has_endpoints
        && let Some(host) = entry.hosts.iter().find(unresolvable)
    {
        wrong(
            "hosts",
            &format!("`{host}` cannot be resolved; write names, or endpoints"),
        );
    }
    let opaque = |port: &ServicePort| !port.protocol.is_http() && !port.protocol.is_tls();
    if entry.resolution != Resolution::None
        && entry.hosts.len() > 1
        && entry.ports.iter().any(opaque)
    {
        wrong(
            "hosts",
            "has several hosts and a port that is neither HTTP nor TLS, whose connections name no host; write a ServiceEntry for each",
        );
    }
}

/// Names are resolved when they are called.
fn dynamic_dns(fields: Fields<'_, '_>, entry: &ServiceEntry) {
    for name in ["addresses", "endpoints"] {
        if let Some(at) = fields.listed(name) {
            at.wrong("has no use with resolution DYNAMIC_DNS, which resolves the host that is called; leave it out");
        }
    }
    let exact = entry.hosts.iter().find(|host| !host.starts_with('*'));
    if let (Some(host), Some(at)) = (exact, fields.get("hosts")) {
        at.wrong(format!(
            "`{host}` is one host, and resolution DYNAMIC_DNS is for wildcards; write resolution DNS for it"
        ));
    }
    use Protocol::{Grpc, Http, Http2, Tls};
    let is_served = |port: &&ServicePort| matches!(port.protocol, Grpc | Http | Http2 | Tls);
    let other = entry.ports.iter().find(|port| !is_served(port));
    if let (Some(port), Some(at)) = (other, fields.get("ports")) {
        at.wrong(format!(
            "port `{}` names no host; resolution DYNAMIC_DNS takes HTTP, HTTP2, GRPC and TLS",
            port.name
        ));
    }
}

/// One of `endpoints`.
fn endpoint(
    at: &Cursor<'_, '_>,
    resolution: Resolution,
    ports: &HashSet<&str>,
) -> Option<WorkloadEntrySpec> {
    let spec = workload(at)?;
    for name in spec.ports.keys() {
        if !ports.contains(&**name) {
            at.wrong(format!(
                "ports: `{name}` is no port of the ServiceEntry; write the name of one"
            ));
        }
    }
    let Some(address) = &spec.address else {
        match spec.network {
            Some(_) => at.note("has no address, and so nothing calls it here"),
            None => at.missing("address", "is missing; write an address"),
        }
        return Some(spec);
    };
    let is_socket = address.starts_with(UNIX);
    if is_socket && ports.len() != 1 {
        at.wrong("is a socket, which is one port; write a ServiceEntry with one port");
    }
    match resolution {
        Resolution::Static if !is_socket && address.parse::<IpAddr>().is_err() => {
            at.wrong(format!(
                "`{address}` is no address; write an IP address or unix:///PATH, or resolution DNS"
            ));
        }
        Resolution::Dns | Resolution::DnsRoundRobin if is_socket => at.wrong(format!(
            "`{address}` is a socket; write a name or an address, or resolution STATIC"
        )),
        _ => {}
    }
    Some(spec)
}
