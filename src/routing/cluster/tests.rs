use std::sync::Arc;

use super::*;
use crate::identity::{SpiffeId, Workload};
use crate::istio::traffic::{
    ClientTls, ClientTlsMode, DestinationRule, KubernetesService, KubernetesServicePort, Location,
    Protocol, Resolution, ServiceEntry, ServicePort, TrafficPolicy, WorkloadEntrySpec,
};
use crate::istio::{MeshConfig, Meta, MtlsMode, PeerAuthentication, Resources, Selector, Text};
use crate::routing::route::ClusterName;
use crate::routing::services::{Registry, SidecarScope};

fn text(text: &str) -> Text {
    Text::new(text, Default::default())
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Meta::default()
    }
}

/// One endpoint that runs as `accounts`, if that is known.
fn entry(account: Option<&str>) -> ServiceEntry {
    ServiceEntry {
        meta: meta("srv", "x"),
        hosts: vec![text("x.test")],
        location: Location::MeshInternal,
        resolution: Resolution::Static,
        ports: vec![ServicePort {
            number: 80,
            name: text("http"),
            protocol: Protocol::Http,
            ..ServicePort::default()
        }],
        endpoints: vec![WorkloadEntrySpec {
            address: Some(text("10.0.0.1")),
            service_account: account.map(text),
            ..WorkloadEntrySpec::default()
        }],
        ..ServiceEntry::default()
    }
}

fn of_entry(entry: ServiceEntry) -> Resources {
    let mut resources = Resources::default();
    resources.traffic.service_entries.push(Arc::new(entry));
    resources
}

fn with_tls(mut resources: Resources, tls: ClientTls, is_selecting: bool) -> Resources {
    resources
        .traffic
        .destination_rules
        .push(Arc::new(DestinationRule {
            meta: meta("client", "rule"),
            host: text("*.test"),
            traffic_policy: Some(TrafficPolicy {
                tls: Some(tls),
                ..TrafficPolicy::default()
            }),
            workload_selector: is_selecting.then(Selector::default),
            ..DestinationRule::default()
        }));
    resources
}

fn tls(mode: ClientTlsMode) -> ClientTls {
    ClientTls {
        mode,
        ..ClientTls::default()
    }
}

fn cluster_of(
    resources: &Resources,
    mesh: &MeshConfig,
    options: &ClusterOptions,
    host: &str,
) -> Option<Arc<UpstreamCluster>> {
    let workload = Workload::new("client", "sa");
    let registry = Registry::new(&resources.traffic, &[], "cluster.local");
    let sidecars = &resources.traffic.sidecars;
    let scope = SidecarScope::new(&workload, &mesh.root_namespace, sidecars, &registry);
    let clusters = Clusters::new(&workload, mesh, resources, &scope, options);
    let name = ClusterName {
        port: 80,
        subset: String::new(),
        host: host.to_owned(),
    };
    clusters.get(&name).cloned()
}

fn tls_of(resources: &Resources) -> UpstreamTls {
    let (mesh, options) = (MeshConfig::default(), ClusterOptions::default());
    cluster_of(resources, &mesh, &options, "x.test")
        .unwrap()
        .tls
        .clone()
}

fn identities(resources: &Resources, options: &ClusterOptions, host: &str) -> Identified {
    let cluster = cluster_of(resources, &MeshConfig::default(), options, host).unwrap();
    match &cluster.tls {
        UpstreamTls::Auto(mesh) | UpstreamTls::Mesh(mesh) => mesh.identities.clone(),
        other => panic!("{other:?}"),
    }
}

type Identified = Result<ExpectedIdentities, UnknownIdentities>;

fn any_of(names: &[&str], source: IdentitySource) -> Identified {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Ok(ExpectedIdentities::AnyOf { names, source })
}

#[test]
fn the_first_place_that_states_identities_is_the_only_one() {
    let mut options = ClusterOptions::default();
    let id = SpiffeId::new("spiffe://cluster.local/ns/up/sa/stream").unwrap();
    options.upstreams.insert("x.test".to_owned(), vec![id]);
    let of = |resources: &Resources| identities(resources, &options, "x.test");

    let upstream = "spiffe://cluster.local/ns/up/sa/stream";
    let bare = of_entry(entry(None));
    assert_eq!(of(&bare), any_of(&[upstream], IdentitySource::Upstream));

    let account = "spiffe://cluster.local/ns/srv/sa/acc";
    let with_account = of_entry(entry(Some("acc")));
    let expected = any_of(&[account], IdentitySource::WorkloadEntries);
    assert_eq!(of(&with_account), expected);

    let with_names = of_entry(ServiceEntry {
        subject_alt_names: vec![text("se.test")],
        ..entry(Some("acc"))
    });
    assert_eq!(
        of(&with_names),
        any_of(&["se.test"], IdentitySource::ServiceEntry)
    );

    let of_rule = ClientTls {
        subject_alt_names: vec![text("dr.test")],
        ..tls(ClientTlsMode::IstioMutual)
    };
    let with_rule = with_tls(with_names, of_rule, false);
    assert_eq!(
        of(&with_rule),
        any_of(&["dr.test"], IdentitySource::DestinationRule)
    );
}

#[test]
fn a_service_of_kubernetes_states_its_accounts_in_an_annotation() {
    let mut service = KubernetesService {
        meta: meta("srv", "k"),
        ports: vec![KubernetesServicePort {
            number: 80,
            name: "http".to_owned(),
            protocol: Protocol::Http,
            ..KubernetesServicePort::default()
        }],
        ..KubernetesService::default()
    };
    let written = "one, other/two,spiffe://x.test/three";
    let annotation = ("mesh.tower/service-accounts".to_owned(), text(written));
    service.meta.annotations.extend([annotation]);
    let mut resources = Resources::default();
    resources.traffic.services.push(Arc::new(service));
    let expected = [
        "spiffe://cluster.local/ns/srv/sa/one",
        "spiffe://cluster.local/ns/other/sa/two",
        "spiffe://x.test/three",
    ];
    let found = identities(
        &resources,
        &ClusterOptions::default(),
        "k.srv.svc.cluster.local",
    );
    assert_eq!(found, any_of(&expected, IdentitySource::Annotation));
}

#[test]
fn nobody_may_answer_where_nothing_says_who_unless_danger_is_accepted() {
    let resources = of_entry(entry(None));
    let mut options = ClusterOptions::default();
    let error = identities(&resources, &options, "x.test").unwrap_err();
    assert_eq!(error.host(), "x.test");
    for place in [
        "subjectAltNames",
        "serviceAccount",
        "mesh.tower/service-accounts",
    ] {
        assert!(error.to_string().contains(place), "{error}");
    }
    options.danger().accept_any_identity_for("x.test");
    let found = identities(&resources, &options, "x.test");
    assert!(
        matches!(found, Ok(ExpectedIdentities::TrustDomain(domain)) if domain.as_str() == "cluster.local")
    );
}

#[test]
fn mutual_tls_is_automatic_inside_the_mesh_only() {
    let auto = of_entry(entry(Some("acc")));
    let UpstreamTls::Auto(mesh) = tls_of(&auto) else {
        panic!("{:?}", tls_of(&auto));
    };
    assert_eq!(mesh.sni, "outbound_.80_._.x.test");
    assert_eq!(mesh.alpn, ["istio"]);
    let external = ServiceEntry {
        location: Location::MeshExternal,
        ..entry(Some("acc"))
    };
    assert_eq!(tls_of(&of_entry(external)), UpstreamTls::Plain);
    let disabled = with_tls(auto.clone(), tls(ClientTlsMode::Disable), false);
    assert_eq!(tls_of(&disabled), UpstreamTls::Plain);
    let mut of_server = auto.clone();
    of_server
        .peer_authentications
        .push(Arc::new(PeerAuthentication {
            meta: meta("srv", "default"),
            mode: MtlsMode::Disable,
            ..PeerAuthentication::default()
        }));
    assert_eq!(tls_of(&of_server), UpstreamTls::Plain);
    let mut mesh = MeshConfig::default();
    mesh.traffic.enable_auto_mtls = Some(false);
    let cluster = cluster_of(&auto, &mesh, &ClusterOptions::default(), "x.test").unwrap();
    assert_eq!(cluster.tls, UpstreamTls::Plain);
    // Nothing says who is at an address that the caller has resolved, and whether it takes it.
    let original = ServiceEntry {
        resolution: Resolution::None,
        endpoints: vec![],
        ..entry(None)
    };
    let original = of_entry(original);
    let cluster = cluster_of(
        &original,
        &MeshConfig::default(),
        &ClusterOptions::default(),
        "x.test",
    );
    let cluster = cluster.unwrap();
    assert_eq!(cluster.discovery, Discovery::OriginalDestination);
    assert_eq!(cluster.tls, UpstreamTls::Plain);
}

#[test]
fn a_server_outside_is_checked_by_name_and_by_the_host_of_the_call() {
    let origination =
        |resources: Resources, tls: ClientTls| match tls_of(&with_tls(resources, tls, false)) {
            UpstreamTls::Origination(tls) => *tls,
            other => panic!("{other:?}"),
        };
    let found = origination(of_entry(entry(None)), tls(ClientTlsMode::Simple));
    assert_eq!((found.sni, found.checks_host), (None, true));
    assert_eq!(found.roots, RootCertificates::System);
    assert!(found.names.is_empty());
    // The names that the mesh knows must be there as well.
    let found = origination(of_entry(entry(Some("acc"))), tls(ClientTlsMode::Simple));
    assert_eq!(found.names, ["spiffe://cluster.local/ns/srv/sa/acc"]);
    assert!(found.checks_host);
    // A server name of its own is checked where nothing else is.
    let with_sni = ClientTls {
        sni: Some(text("s.test")),
        ..tls(ClientTlsMode::Simple)
    };
    let found = origination(of_entry(entry(None)), with_sni);
    assert_eq!(
        (found.names, found.checks_host),
        (vec!["s.test".to_owned()], false)
    );
    let mutual = ClientTls {
        client_certificate: Some(text("/c.pem")),
        private_key: Some(text("/k.pem")),
        ca_certificates: Some(text("/ca.pem")),
        ..tls(ClientTlsMode::Mutual)
    };
    let found = origination(of_entry(entry(None)), mutual);
    assert_eq!(found.roots, RootCertificates::File("/ca.pem".to_owned()));
    assert!(matches!(
        found.certificate,
        Some(ClientCertificate::Files { .. })
    ));
}

#[test]
fn a_credential_without_a_selector_refuses_calls() {
    let credential = ClientTls {
        credential_name: Some(text("cred")),
        ..tls(ClientTlsMode::Simple)
    };
    let refused = with_tls(of_entry(entry(None)), credential.clone(), false);
    let UpstreamTls::Refused(refusal) = tls_of(&refused) else {
        panic!("{:?}", tls_of(&refused));
    };
    assert!(
        refusal.to_string().contains("workloadSelector"),
        "{refusal}"
    );
    let selected = with_tls(of_entry(entry(None)), credential, true);
    let UpstreamTls::Origination(tls) = tls_of(&selected) else {
        panic!("{:?}", tls_of(&selected));
    };
    assert_eq!(tls.roots, RootCertificates::Credential("cred".to_owned()));
}
