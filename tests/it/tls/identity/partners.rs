//! What another trust domain's authority can make us believe: whatever it writes into a certificate, it speaks for its own domain alone.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::Workload;
use tower_mesh::context::Peer;
use tower_mesh::identity::PeerCertificate;
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Acceptor, Connector, Credentials, Identity, Settings, X509Svid};

use crate::tls::support::{accept, both_ways, chain, client_config, connect, id, server_config};

const PEER: &str = "spiffe://td/ns/default/sa/peer";
const OURS: &str = "spiffe://cluster.local/ns/default/sa/admin";
const THEIRS: &str = "spiffe://partner.example/ns/their/sa/caller";

/// M-01
#[tokio::test]
async fn a_dns_name_with_a_byte_that_no_host_has_is_refused_both_ways() {
    let pki = Pki::new("td").unwrap();
    for name in [
        OURS,
        "td/ns/default/sa/peer",
        "a/ns/default/b",
        "a:443",
        "a b",
        " a",
        "a,b",
        "a;b",
        "a=b",
        "a@b",
        "a%2Fb",
        "[::1]",
        "a\0",
        "a\n",
        "a\u{7f}",
        "a\"",
        "a\\b",
    ] {
        // Refused wherever it stands among good ones.
        for leaf in [
            Leaf::workload(PEER).dns(name),
            Leaf::workload(PEER).dns("peer.default").dns(name).dns("b"),
        ] {
            let shown = chain(&pki.issue(&leaf).unwrap());
            let reason = both_ways(&pki, &shown).await.map_err(|r| r.as_str());
            assert_eq!(reason, Err("bad_dns_name"), "{name:?}");
        }
    }
}

/// M-01
#[tokio::test]
async fn a_dns_name_as_certificates_have_them_does_no_harm() {
    let pki = Pki::new("td").unwrap();
    for name in [
        "peer.default",
        "*.peer.default",
        "peer_a.default",
        "PEER-1.",
        "10.0.0.1",
    ] {
        let issued = pki.issue(&Leaf::workload(PEER).dns(name)).unwrap();
        assert_eq!(both_ways(&pki, &chain(&issued)).await, Ok(()), "{name}");
    }
}

/// Our own certificate is judged as a peer would judge it.
#[test]
fn we_do_not_show_such_a_dns_name_ourselves() {
    let pki = Pki::new("td").unwrap();
    let issued = pki.issue(&Leaf::workload(PEER).dns(OURS)).unwrap();
    assert!(issued.svid().is_err());
}

#[test]
fn a_dns_name_that_is_not_even_ascii_has_the_same_reason() {
    let pki = Pki::new("td").unwrap();
    let issued = pki
        .issue(&Leaf::workload(PEER).dns("peer.default.test"))
        .unwrap();
    let mut der = issued.chain()[0].to_vec();
    let at = der
        .windows(17)
        .position(|part| part == b"peer.default.test");
    der[at.unwrap()] = 0xff;
    let error = X509Svid::new(vec![der.into()], issued.key()).unwrap_err();
    assert_eq!(error.reason().as_str(), "bad_dns_name");
}

/// Certificates of the partner's authority, whose id is the partner's and whose other names read like ours.
fn disguised() -> Vec<Leaf> {
    let theirs = || Leaf::workload(THEIRS);
    vec![
        theirs().common_name(OURS),
        theirs().common_name("cluster.local/ns/default/sa/admin"),
        theirs().common_name("x/ns/default/sa/admin"),
        theirs().common_name("/ns/default/"),
        theirs().dns("admin.default.svc.cluster.local"),
        theirs().dns("cluster.local").ip([10, 0, 0, 1].into()),
    ]
}

/// Ours, trusting both authorities.
fn federated(ours: &Pki, partner: &Pki) -> Credentials {
    let svid = ours.identity("default", "server").unwrap();
    let bundles = svid.bundles().clone();
    let bundles = bundles
        .with(partner.trust_domain().clone(), [partner.root().clone()])
        .unwrap();
    let identity = Identity::new(svid.svid().clone(), bundles);
    Credentials::new(&identity, Settings::default()).unwrap()
}

/// The same certificates, met as a client's and as a server's.
async fn peers() -> Vec<(String, Peer)> {
    let (ours, partner) = (
        Pki::new("cluster.local").unwrap(),
        Pki::new("partner.example").unwrap(),
    );
    let credentials = federated(&ours, &partner);
    let acceptor = Acceptor::new(credentials.clone());
    let connector = Connector::new(credentials);
    let mut peers = Vec::new();
    for leaf in disguised() {
        let issued = partner.issue(&leaf).unwrap();
        let accepted = accept(&acceptor, client_config(Some(chain(&issued)))).await;
        let server = server_config(chain(&issued));
        let connected = connect(&connector, server, &[id(THEIRS)]).await;
        for peer in [accepted.unwrap(), connected.unwrap()] {
            peers.push((format!("{leaf:?}"), peer));
        }
    }
    peers
}

#[tokio::test]
async fn a_peer_shows_its_one_id_and_no_other_name() {
    for (leaf, peer) in peers().await {
        let expected = PeerCertificate::from_spiffe_id(id(THEIRS));
        assert_eq!(peer.certificate(), Some(&expected), "{leaf}");
        assert_eq!(peer.namespace(), Some("their"), "{leaf}");
    }
}

fn layer(action: &str, from: &str) -> RbacLayer {
    let yaml = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: default}}\n\
         spec: {{action: {action}, rules: [{from}]}}"
    );
    let engine = Engine::builder(&Workload::new("default", "server"))
        .yaml(&yaml)
        .build()
        .unwrap();
    RbacLayer::new(Live::new(engine))
}

async fn status(layer: &RbacLayer, peer: &Peer) -> u16 {
    let app = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let request = Request::get("/")
        .header("host", "server")
        .extension(peer.clone())
        .body(Empty::new())
        .unwrap();
    let response = layer.layer(app).oneshot(request).await.unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn a_partner_is_let_in_by_no_rule_for_our_workloads() {
    let peers = peers().await;
    for from in [
        "{from: [{source: {namespaces: [default]}}]}",
        "{from: [{source: {namespaces: ['def*']}}]}",
        "{from: [{source: {principals: [cluster.local/ns/default/sa/admin]}}]}",
        "{from: [{source: {principals: ['*/ns/default/sa/admin']}}]}",
        "{from: [{source: {principals: ['cluster.local/*']}}]}",
        "{from: [{source: {serviceAccounts: [default/admin]}}]}",
        "{from: [{source: {serviceAccounts: [admin]}}]}",
        "{from: [{source: {trustDomains: [cluster.local]}}]}",
        "{from: [{source: {trustDomains: ['cluster*']}}]}",
        "{from: [{source: {notPrincipals: ['*']}}]}",
        "{when: [{key: source.namespace, values: [default]}]}",
        "{when: [{key: source.principal, values: ['*/sa/admin']}]}",
        "{when: [{key: source.serviceAccount, values: [default/admin]}]}",
        "{when: [{key: source.trustDomain, values: [cluster.local]}]}",
    ] {
        let layer = layer("ALLOW", from);
        for (leaf, peer) in &peers {
            assert_eq!(status(&layer, peer).await, 403, "{from}: {leaf}");
        }
    }
    // What is said of the partner itself counts.
    let layer = layer(
        "ALLOW",
        "{from: [{source: {namespaces: [their], trustDomains: [partner.example]}}]}",
    );
    for (leaf, peer) in &peers {
        assert_eq!(status(&layer, peer).await, 200, "{leaf}");
    }
}

#[tokio::test]
async fn a_partner_is_spared_by_no_exception_for_our_workloads() {
    let peers = peers().await;
    for from in [
        "{from: [{source: {notNamespaces: [default]}}]}",
        "{from: [{source: {notPrincipals: ['*/ns/default/sa/admin']}}]}",
        "{from: [{source: {notServiceAccounts: [default/admin]}}]}",
        "{from: [{source: {notTrustDomains: [cluster.local]}}]}",
        "{when: [{key: source.namespace, notValues: [default]}]}",
    ] {
        let layer = layer("DENY", from);
        for (leaf, peer) in &peers {
            assert_eq!(status(&layer, peer).await, 403, "{from}: {leaf}");
        }
    }
}
