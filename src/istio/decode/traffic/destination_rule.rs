//! Decodes DestinationRule.

use std::collections::HashSet;

use super::balancing::load_balancer;
use super::name::{self, Exports};
use super::pool::{connection_pool, outlier_detection};
use super::value::{choice, count, duration_or_none, field, percent, port_selector, text};
use crate::istio::decode::meta::{match_labels, no_dry_run};
use crate::istio::decode::value::required;
use crate::istio::traffic::{
    ClientTls, ClientTlsMode, DestinationRule, PortTrafficPolicy, RetryBudget, Subset,
    TrafficPolicy,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::{Meta, Selector};

const SPEC: &[&str] = &[
    "host",
    "trafficPolicy",
    "subsets",
    "exportTo",
    "workloadSelector",
];
const POLICY: &[&str] = &[
    "loadBalancer",
    "connectionPool",
    "outlierDetection",
    "tls",
    "portLevelSettings",
    "tunnel",
    "proxyProtocol",
    "retryBudget",
];
const PORT_POLICY: &[&str] = &[
    "port",
    "loadBalancer",
    "connectionPool",
    "outlierDetection",
    "tls",
];
const TLS: &[&str] = &[
    "mode",
    "clientCertificate",
    "privateKey",
    "caCertificates",
    "caCrl",
    "credentialName",
    "caCertCredentialName",
    "subjectAltNames",
    "sni",
    "insecureSkipVerify",
];
const MODES: &[(&str, ClientTlsMode)] = &[
    ("DISABLE", ClientTlsMode::Disable),
    ("SIMPLE", ClientTlsMode::Simple),
    ("MUTUAL", ClientTlsMode::Mutual),
    ("ISTIO_MUTUAL", ClientTlsMode::IstioMutual),
];

/// `DestinationRule`, `spec`.
pub(in crate::istio) fn destination_rule(
    meta: Meta,
    spec: &Cursor<'_, '_>,
) -> Option<DestinationRule> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(SPEC)?;
    let selector = field(fields, "workloadSelector", selector);
    let has_selector = selector.is_some();
    let policy = |at: &Cursor<'_, '_>| traffic_policy(at, has_selector);
    let mut seen: HashSet<String> = HashSet::new();
    let subsets = fields.each("subsets", |at| {
        let subset = subset(at, has_selector)?;
        if !seen.insert(subset.name.as_str().to_owned()) {
            at.wrong(format!("a second subset `{}`; rename one", subset.name));
        }
        Some(subset)
    });
    let exports = match has_selector {
        true => Exports::OwnNamespace,
        false => Exports::Config,
    };
    Some(DestinationRule {
        traffic_policy: field(fields, "trafficPolicy", policy),
        export_to: name::export_to(fields, "exportTo", &meta.namespace, exports),
        host: required(fields, "host", name::domain)?,
        workload_selector: selector,
        subsets,
        meta,
    })
}

/// `workloadSelector` with `matchLabels`.
fn selector(at: &Cursor<'_, '_>) -> Option<Selector> {
    Some(match_labels(at, "matchLabels", &["matchLabels"]))
}

fn subset(at: &Cursor<'_, '_>, has_selector: bool) -> Option<Subset> {
    let fields = at.fields(&["name", "labels", "trafficPolicy"])?;
    let name = required(fields, "name", |at, text| {
        name::dns_label(at, text, "subset")
    });
    let policy = |at: &Cursor<'_, '_>| traffic_policy(at, has_selector);
    Some(Subset {
        labels: name::labels(fields, "labels"),
        traffic_policy: field(fields, "trafficPolicy", policy),
        name: name?,
        at: at.at(),
    })
}

fn traffic_policy(at: &Cursor<'_, '_>, has_selector: bool) -> Option<TrafficPolicy> {
    let fields = at.fields(POLICY)?;
    if fields.is_empty() {
        at.wrong("has no settings; write at least one, or leave it out");
    }
    for name in ["tunnel", "proxyProtocol"] {
        if let Some(unserved) = fields.get(name) {
            unserved.wrong("is not supported; call through a proxy that does it");
        }
    }
    let has_outliers = fields.get("outlierDetection").is_some();
    Some(TrafficPolicy {
        load_balancer: field(fields, "loadBalancer", |at| load_balancer(at, has_outliers)),
        connection_pool: field(fields, "connectionPool", connection_pool),
        outlier_detection: field(fields, "outlierDetection", outlier_detection),
        tls: field(fields, "tls", |at| client_tls(at, has_selector)),
        port_level_settings: fields.each("portLevelSettings", |at| port_policy(at, has_selector)),
        retry_budget: field(fields, "retryBudget", retry_budget),
        at: at.at(),
    })
}

fn port_policy(at: &Cursor<'_, '_>, has_selector: bool) -> Option<PortTrafficPolicy> {
    let fields = at.fields(PORT_POLICY)?;
    let settings = PORT_POLICY.iter().skip(1);
    if settings.into_iter().all(|name| fields.get(name).is_none()) {
        at.wrong("has no settings; write at least one, or leave the entry out");
    }
    let port = fields.demand("port", "is missing; write number: and the service's port");
    let has_outliers = fields.get("outlierDetection").is_some();
    Some(PortTrafficPolicy {
        load_balancer: field(fields, "loadBalancer", |at| load_balancer(at, has_outliers)),
        connection_pool: field(fields, "connectionPool", connection_pool),
        outlier_detection: field(fields, "outlierDetection", outlier_detection),
        tls: field(fields, "tls", |at| client_tls(at, has_selector)),
        port: port.and_then(|at| port_selector(&at))?,
        at: at.at(),
    })
}

fn retry_budget(at: &Cursor<'_, '_>) -> Option<RetryBudget> {
    let fields = at.fields(&["percent", "minRetryConcurrency", "budgetInterval"])?;
    let interval = field(fields, "budgetInterval", duration_or_none);
    Some(RetryBudget {
        percent: field(fields, "percent", percent),
        min_retry_concurrency: count(fields, "minRetryConcurrency"),
        budget_interval: interval.filter(|interval| !interval.is_zero()),
    })
}

fn client_tls(at: &Cursor<'_, '_>, has_selector: bool) -> Option<ClientTls> {
    let fields = at.fields(TLS)?;
    let tls = ClientTls {
        mode: fields.word("mode", MODES),
        client_certificate: text(fields, "clientCertificate"),
        private_key: text(fields, "privateKey"),
        ca_certificates: text(fields, "caCertificates"),
        ca_crl: text(fields, "caCrl"),
        credential_name: text(fields, "credentialName"),
        ca_cert_credential_name: text(fields, "caCertCredentialName"),
        subject_alt_names: fields.texts("subjectAltNames", |_, _| {}),
        sni: text(fields, "sni"),
        insecure_skip_verify: choice(fields, "insecureSkipVerify"),
        at: at.at(),
    };
    check_tls(at, &tls, has_selector);
    Some(tls)
}

fn check_tls(at: &Cursor<'_, '_>, tls: &ClientTls, has_selector: bool) {
    use ClientTlsMode::{Mutual, Simple};
    let originates = matches!(tls.mode, Simple | Mutual);
    let names_credential = tls.credential_name.is_some();
    let verifies = tls.ca_certificates.is_some() || !tls.subject_alt_names.is_empty();
    if tls.insecure_skip_verify == Some(true)
        && (originates && verifies || tls.mode == Simple && names_credential)
    {
        at.wrong(
            "insecureSkipVerify verifies nothing, whatever caCertificates, subjectAltNames and credentialName say; leave it out, or these",
        );
    }
    let from_files = [
        &tls.client_certificate,
        &tls.private_key,
        &tls.ca_certificates,
        &tls.ca_crl,
    ];
    if originates && names_credential {
        if from_files.into_iter().any(Option::is_some) {
            at.wrong("has certificates from files and a credentialName; keep one of the two");
        }
        if !has_selector {
            at.note(
                "credentialName without a workloadSelector counts at gateways only: workloads call without TLS; write the paths of files",
            );
        }
    } else if tls.mode == Mutual {
        let needed = [
            ("clientCertificate", &tls.client_certificate),
            ("privateKey", &tls.private_key),
        ];
        for (name, written) in needed {
            if written.is_none() {
                at.missing(name, "is missing; write the path of a file, or mode SIMPLE");
            }
        }
    }
}
