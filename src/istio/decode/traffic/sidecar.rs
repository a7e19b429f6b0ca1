//! Decodes Sidecar.

use std::collections::HashSet;
use std::net::IpAddr;

use super::name;
use super::pool::connection_pool;
use super::service_entry::protocol;
use super::value::{destination, field, text};
use crate::istio::Meta;
use crate::istio::decode::meta::{match_labels, no_dry_run};
use crate::istio::traffic::{
    EgressListener, OutboundMode, OutboundTrafficPolicy, Sidecar, SidecarPort,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

const SPEC: &[&str] = &[
    "workloadSelector",
    "ingress",
    "egress",
    "inboundConnectionPool",
    "outboundTrafficPolicy",
];
const INGRESS: &[&str] = &[
    "port",
    "bind",
    "captureMode",
    "defaultEndpoint",
    "tls",
    "connectionPool",
];
const EGRESS: &[&str] = &["port", "bind", "captureMode", "hosts"];
const PORT: &[&str] = &["number", "protocol", "name", "targetPort"];
const CAPTURES: &[(&str, bool)] = &[("DEFAULT", false), ("IPTABLES", true), ("NONE", true)];
const MODES: &[(&str, OutboundMode)] = &[
    ("REGISTRY_ONLY", OutboundMode::RegistryOnly),
    ("ALLOW_ANY", OutboundMode::AllowAny),
];

/// `Sidecar`, `spec`.
pub(in crate::istio) fn sidecar(meta: Meta, spec: &Cursor<'_, '_>) -> Option<Sidecar> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(SPEC)?;
    let settings = SPEC.iter().skip(1);
    if settings
        .into_iter()
        .all(|name| fields.listed(name).is_none())
    {
        spec.missing(
            "egress",
            "is missing, and so is everything else; write which hosts are called",
        );
    }
    ingress(fields);
    let last = fields.get("egress").map_or(0, |list| list.items().len());
    let mut ports: HashSet<u16> = HashSet::new();
    let mut index = 0;
    let egress = fields.each("egress", |at| {
        index += 1;
        let listener = egress(at)?;
        match &listener.port {
            None if index < last => {
                at.wrong("has no port, and so takes all that is left; write it last, or a port")
            }
            Some(port) if !ports.insert(port.number) => {
                at.wrong(format!(
                    "a second listener of port {}; merge the two",
                    port.number
                ));
            }
            Some(_) | None => {}
        }
        Some(listener)
    });
    Some(Sidecar {
        workload_selector: field(fields, "workloadSelector", |at| {
            Some(match_labels(at, "labels", &["labels"]))
        }),
        inbound_connection_pool: field(fields, "inboundConnectionPool", connection_pool),
        outbound_traffic_policy: field(fields, "outboundTrafficPolicy", outbound),
        egress,
        meta,
    })
}

/// What the process listens on is its own business; a listener that would need TLS of its own is
/// refused.
fn ingress(fields: Fields<'_, '_>) {
    if let Some(list) = fields.listed("ingress") {
        list.note("is not applied: the ports of this process are set in code");
    }
    fields.each("ingress", |at| {
        let fields = at.fields(INGRESS)?;
        if let Some(tls) = fields.get("tls") {
            tls.wrong("is not supported; identities of the mesh are set by PeerAuthentication");
        }
        let port = fields.demand("port", "is missing; write number and protocol");
        if let Some(fields) = port.as_ref().and_then(|at| at.fields(PORT)) {
            sidecar_port(fields, true);
        }
        field(fields, "connectionPool", connection_pool);
        listener(fields);
        Some(())
    });
}

fn sidecar_port(fields: Fields<'_, '_>, must_listen: bool) -> Option<SidecarPort> {
    if let Some(target) = fields.get("targetPort") {
        target.wrong("has no effect in Istio; leave it out");
    }
    let name = text(fields, "name");
    if let (Some(text), Some(at)) = (&name, fields.get("name")) {
        name::dns_label(&at, text, "port");
    }
    let number = fields.get("number");
    let is_socket = |at: &Cursor<'_, '_>| at.node().scalar().is_some_and(|it| it.text == "0");
    let number = match number {
        Some(at) if must_listen || !is_socket(&at) => at.port()?,
        None if must_listen => {
            fields
                .whole()
                .missing("number", "is missing; write a number from 1 to 65535");
            return None;
        }
        _ => {
            fields
                .whole()
                .wrong("listens on a socket of its own, which is not supported; write a port");
            return None;
        }
    };
    Some(SidecarPort {
        protocol: field(fields, "protocol", protocol).unwrap_or_default(),
        number,
        name,
    })
}

/// Nothing listens for what an application in the same process calls.
fn listener(fields: Fields<'_, '_>) {
    if let Some(bind) = fields.get("bind")
        && let Some(address) = bind.text().filter(|text| !text.is_empty())
    {
        if address.starts_with("unix://") || address.parse::<IpAddr>().is_ok() {
            bind.note("has no effect: calls go out of this process without a listener");
        } else {
            bind.wrong(format!(
                "`{address}` is no IP address; write one, or leave it out"
            ));
        }
    }
    if let Some(capture) = fields.get("captureMode")
        && capture.word(CAPTURES) == Some(true)
    {
        capture.note("has no effect: calls go out of this process without a listener");
    }
}

fn egress(at: &Cursor<'_, '_>) -> Option<EgressListener> {
    let fields = at.fields(EGRESS)?;
    listener(fields);
    if fields.listed("hosts").is_none() {
        at.missing(
            "hosts",
            "is missing; write NAMESPACE/HOST, for example ./* or */*",
        );
    }
    let hosts = fields.texts("hosts", imported);
    let port = fields.get("port");
    let port = match &port {
        Some(at) => Some(sidecar_port(at.fields(PORT)?, false)?),
        None => None,
    };
    Some(EgressListener {
        port,
        hosts,
        at: at.at(),
    })
}

/// One of `hosts`: `NAMESPACE/HOST`.
fn imported(at: &Cursor<'_, '_>, text: &str) {
    let Some((namespace, host)) = text.split_once('/') else {
        return at.wrong(format!(
            "`{text}` has no namespace; write NAMESPACE/HOST, where . is the own namespace and * any"
        ));
    };
    let bare = namespace.strip_prefix('~').unwrap_or(namespace);
    let is_namespace = ["*", "."].contains(&bare) || name::is_dns_label(bare);
    if !is_namespace && (!bare.is_empty() || namespace.is_empty()) {
        at.wrong(format!(
            "`{namespace}` is no namespace; write ., *, ~ for none, or a name"
        ));
    }
    if host == "*" {
        return;
    }
    if !host.contains('.') {
        at.wrong(format!(
            "`{host}` is a short name; write the whole one, for example {host}.default.svc.cluster.local"
        ));
    } else if host.starts_with('*') && !host.starts_with("*.") {
        at.wrong(format!(
            "`{host}` has a wildcard inside a part; write *.SUFFIX"
        ));
    } else {
        name::domain(at, host);
    }
}

fn outbound(at: &Cursor<'_, '_>) -> Option<OutboundTrafficPolicy> {
    let fields = at.fields(&["mode", "egressProxy"])?;
    let mode = fields.get("mode");
    let mode = match &mode {
        Some(at)
            if at
                .node()
                .scalar()
                .is_some_and(|it| it.text == "ALLOW_ANY_DYNAMIC_DNS") =>
        {
            at.wrong(
                "ALLOW_ANY_DYNAMIC_DNS is for MeshConfig only; write ALLOW_ANY or REGISTRY_ONLY",
            );
            return None;
        }
        Some(at) => at.word(MODES)?,
        None => OutboundMode::default(),
    };
    let proxy = fields.get("egressProxy");
    if let Some(at) = &proxy
        && mode != OutboundMode::AllowAny
    {
        at.wrong("takes what no resource names, which REGISTRY_ONLY refuses; write mode ALLOW_ANY");
    }
    let egress_proxy = proxy.and_then(|at| {
        let to = destination(&at)?;
        if name::check_fqdn(&to.host).is_err() {
            at.wrong(format!(
                "`{}` is no name of a proxy; write a host without a wildcard",
                to.host
            ));
        }
        if at.node().get("port").is_none() {
            at.missing("port", "is missing; write number: and the proxy's port");
        }
        Some(to)
    });
    Some(OutboundTrafficPolicy {
        mode,
        egress_proxy,
        at: at.at(),
    })
}
