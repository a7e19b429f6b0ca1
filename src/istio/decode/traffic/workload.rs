//! Decodes WorkloadEntry and WorkloadGroup, and what describes a workload elsewhere.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::name;
use super::value::{MAX_INT32, count, text};
use crate::istio::decode::meta::no_dry_run;
use crate::istio::decode::value::required;
use crate::istio::traffic::{Locality, WorkloadEntry, WorkloadEntrySpec, WorkloadGroup};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{Meta, Text};

const WORKLOAD: &[&str] = &[
    "address",
    "ports",
    "labels",
    "network",
    "locality",
    "weight",
    "serviceAccount",
];
const PROBE: &[&str] = &[
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "httpGet",
    "tcpSocket",
    "exec",
    "grpc",
];

/// What the path of a socket follows.
pub(super) const UNIX: &str = "unix://";

/// The fields of a workload, wherever they are written.
pub(super) fn workload(at: &Cursor<'_, '_>) -> Option<WorkloadEntrySpec> {
    let fields = at.fields(WORKLOAD)?;
    let address = text(fields, "address");
    if let (Some(address), Some(at)) = (&address, fields.get("address")) {
        check_address(&at, address, fields.get("ports").is_some());
    }
    Some(WorkloadEntrySpec {
        ports: workload_ports(fields),
        labels: name::labels(fields, "labels"),
        network: text(fields, "network"),
        locality: text(fields, "locality").map(|text| Locality::parse(&text)),
        weight: count(fields, "weight"),
        service_account: text(fields, "serviceAccount"),
        address,
        at: at.at(),
    })
}

fn check_address(at: &Cursor<'_, '_>, address: &str, has_ports: bool) {
    if let Some(path) = address.strip_prefix(UNIX) {
        let is_file = path.starts_with('/') && !path.ends_with('/');
        if !is_file && !path.starts_with('@') {
            at.wrong(format!(
                "`{path}` is no path of a socket; write unix:///PATH"
            ));
        }
        if has_ports {
            at.wrong("is a socket, which has no ports; leave ports out");
        }
    } else if address.parse::<IpAddr>().is_err() && name::check_fqdn(address).is_err() {
        at.wrong(format!(
            "`{address}` is neither an address nor a name; write for example 10.0.0.1 or db.example.com"
        ));
    }
}

fn workload_ports(fields: Fields<'_, '_>) -> BTreeMap<String, u16> {
    let Some(ports) = fields.get("ports") else {
        return BTreeMap::new();
    };
    ports
        .pairs()
        .filter_map(|(name, number)| {
            name::dns_label(&number, name, "port");
            Some((name.to_owned(), number.port()?))
        })
        .collect()
}

/// `WorkloadEntry`, `spec`; `labels` of its metadata beat those of the workload.
pub(in crate::istio) fn workload_entry(
    meta: Meta,
    labels: BTreeMap<String, Text>,
    spec: &Cursor<'_, '_>,
) -> Option<WorkloadEntry> {
    no_dry_run(&meta, spec);
    let mut workload = workload(spec)?;
    if workload.address.is_none() && workload.network.is_none() {
        spec.missing("address", "is missing; write an address");
    }
    workload.labels.extend(labels);
    Some(WorkloadEntry {
        meta,
        spec: workload,
    })
}

/// `WorkloadGroup`, `spec`.
pub(in crate::istio) fn workload_group(meta: Meta, spec: &Cursor<'_, '_>) -> Option<WorkloadGroup> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(&["metadata", "template", "probe"])?;
    if let Some(probe) = fields.get("probe") {
        readiness_probe(&probe);
    }
    let metadata = fields.get("metadata");
    let metadata = metadata
        .as_ref()
        .and_then(|at| at.fields(&["labels", "annotations"]));
    let annotations = metadata.and_then(|metadata| metadata.get("annotations"));
    let annotations = annotations.iter().flat_map(Cursor::pairs);
    let template = fields.demand(
        "template",
        "is missing; write what its workloads have in common",
    );
    Some(WorkloadGroup {
        labels: metadata.map_or_else(BTreeMap::new, |at| name::labels(at, "labels")),
        annotations: annotations
            .filter_map(|(key, value)| Some((key.to_owned(), value.text()?)))
            .collect(),
        template: template.and_then(|at| workload(&at))?,
        meta,
    })
}

/// `probe`: who runs the workload asks it whether it is ready. It is checked and not kept.
fn readiness_probe(at: &Cursor<'_, '_>) -> Option<()> {
    let fields = at.fields(PROBE)?;
    for name in PROBE.iter().take(5) {
        if let Some(number) = fields.get(name) {
            number.number(0..=MAX_INT32);
        }
    }
    let port = |fields: Fields<'_, '_>| {
        let port = fields.demand("port", "is missing; write a number from 1 to 65535");
        port.and_then(|at| at.port());
    };
    let mut methods = 0;
    if let Some(http) = fields.get("httpGet") {
        methods += 1;
        http_probe(&http, port);
    }
    if let Some(tcp) = fields.get("tcpSocket") {
        methods += 1;
        tcp.fields(&["host", "port"]).map(port);
    }
    if let Some(grpc) = fields.get("grpc") {
        methods += 1;
        if let Some(fields) = grpc.fields(&["port", "service"]) {
            super::value::port(fields, "port");
        }
    }
    if let Some(exec) = fields.get("exec") {
        methods += 1;
        if let Some(fields) = exec.fields(&["command"])
            && fields.texts("command", |_, _| {}).is_empty()
        {
            exec.missing("command", "is missing; write a command and its arguments");
        }
    }
    if methods != 1 {
        at.wrong("needs one of httpGet, tcpSocket, exec and grpc");
    }
    Some(())
}

fn http_probe(at: &Cursor<'_, '_>, port: impl FnOnce(Fields<'_, '_>)) -> Option<()> {
    let fields = at.fields(&["path", "port", "host", "scheme", "httpHeaders"])?;
    port(fields);
    if let Some(scheme) = fields.get("scheme") {
        scheme.word(&[("", ()), ("HTTP", ()), ("HTTPS", ())]);
    }
    fields.each("httpHeaders", |at| {
        let fields = at.fields(&["name", "value"])?;
        required(fields, "name", crate::istio::decode::value::header_name)
    });
    Some(())
}
