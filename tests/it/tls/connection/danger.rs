//! Who may answer, by list, by function and by ways that are marked as dangerous.

use std::sync::{Arc, Mutex};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_mesh::identity::TrustDomain;
use tower_mesh::testing::{Issued, Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, AllowedIds, Connector, Credentials, Destination, HandshakeError, Identity,
    OwnResolvers, Protocol, Reason, Settings,
};

use crate::tls::support::{
    accept, chain, client_config, connect, credentials, id, provider, serve_once, server_config,
};

const OURS: &str = "spiffe://td/ns/default/sa/ours";
const PEER: &str = "spiffe://td/ns/default/sa/peer";

/// A resolver whose certificate the test changes.
#[derive(Clone, Debug)]
struct Vault(Arc<Mutex<Arc<CertifiedKey>>>);

impl Vault {
    fn holding(issued: &Issued) -> Self {
        Self(Arc::new(Mutex::new(certified(issued))))
    }

    fn hold(&self, issued: &Issued) {
        *self.0.lock().unwrap() = certified(issued);
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }
}

fn certified(issued: &Issued) -> Arc<CertifiedKey> {
    let key = provider().key_provider.load_private_key(issued.key());
    Arc::new(CertifiedKey::new(issued.chain().to_vec(), key.unwrap()))
}

impl ResolvesServerCert for Vault {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}

impl ResolvesClientCert for Vault {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.get()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn resolved(pki: &Pki, vault: &Vault) -> Result<Credentials, tower_mesh::tls::IdentityError> {
    let resolvers = OwnResolvers {
        id: id(OURS),
        bundles: pki.bundles().unwrap(),
        server: Arc::new(vault.clone()),
        client: Arc::new(vault.clone()),
    };
    Credentials::danger().resolved_by(resolvers, Settings::default())
}

#[tokio::test]
async fn an_applications_own_resolver_proves_who_we_are_in_both_directions() {
    let pki = Pki::new("td").unwrap();
    let vault = Vault::holding(&pki.issue(&Leaf::workload(OURS)).unwrap());
    let ours = resolved(&pki, &vault).unwrap();
    let peer = || chain(&pki.issue(&Leaf::workload(PEER)).unwrap());
    let accepted = accept(&Acceptor::new(ours.clone()), client_config(Some(peer()))).await;
    assert_eq!(accepted.unwrap().principal(), Some("td/ns/default/sa/peer"));
    let other = Connector::new(credentials(&pki, "peer"));
    let mut server = Acceptor::new(ours.clone());
    assert_eq!(meet(&mut server, &other, OURS).await.as_deref(), Ok(OURS));
    // And towards a server that wants to know who we are.
    let mut server = Acceptor::new(credentials(&pki, "peer"));
    let ours = Connector::new(ours);
    assert_eq!(meet(&mut server, &ours, PEER).await.as_deref(), Ok(PEER));
}

/// A handshake of two of ours over a socket: whom the client met.
async fn meet(server: &mut Acceptor, client: &Connector, expected: &str) -> Result<String, Reason> {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let destination = Destination::new([id(expected)], "server", Protocol::Http2).unwrap();
    let accepting = async {
        let (tcp, remote) = socket.accept().await.unwrap();
        server.accept(tcp, remote, address).await
    };
    let (accepted, connected) = tokio::join!(accepting, client.connect(address, &destination));
    let met = connected.map(|(_, peer)| peer.spiffe_id().unwrap().to_string());
    let reason = |error: HandshakeError| error.reason();
    accepted.map_err(reason)?;
    met.map_err(reason)
}

#[tokio::test]
async fn a_resolver_shows_nobody_elses_certificate_and_none_that_has_ended() {
    let pki = Pki::new("td").unwrap();
    let good = pki.issue(&Leaf::workload(OURS)).unwrap();
    let vault = Vault::holding(&good);
    let ours = resolved(&pki, &vault).unwrap();
    let shown = || chain(&pki.issue(&Leaf::workload(PEER)).unwrap());
    let serves = async || {
        let client = client_config(Some(shown()));
        accept(&Acceptor::new(ours.clone()), client).await.is_ok()
    };
    assert!(serves().await);
    for wrong in [
        pki.issue(&Leaf::workload(PEER)).unwrap(),
        pki.issue(&Leaf::workload(OURS).expired()).unwrap(),
    ] {
        vault.hold(&wrong);
        assert!(!serves().await, "{wrong:?}");
        assert!(!ours.is_valid());
        assert!(resolved(&pki, &vault).is_err());
    }
    vault.hold(&good);
    assert!(serves().await, "recovers by itself");
}

/// M-29: a function's list counts at each handshake, and an empty one accepts nobody.
#[tokio::test]
async fn a_list_from_a_function_is_asked_each_time() {
    let pki = Pki::new("td").unwrap();
    let list = Arc::new(Mutex::new(vec![id(PEER)]));
    let asked = Arc::clone(&list);
    let accepted = AllowedIds::listed_by(move || asked.lock().unwrap().clone());
    let connector = Connector::new(credentials(&pki, "ours"));
    let ask = async || {
        let server = server_config(chain(&pki.issue(&Leaf::workload(PEER)).unwrap()));
        let destination = Destination::accepting(accepted.clone(), "peer", Protocol::Http1);
        let (address, _server) = serve_once(server).await;
        let connected = connector.connect(address, &destination.unwrap()).await;
        connected.map(drop).map_err(|error| error.reason())
    };
    assert_eq!(ask().await, Ok(()));
    *list.lock().unwrap() = vec![id(OURS)];
    assert_eq!(ask().await, Err(Reason::IdNotAllowed));
    list.lock().unwrap().clear();
    assert_eq!(ask().await, Err(Reason::IdNotAllowed));
}

/// M-29: a whole trust domain is accepted only through `danger()`, and then no other.
#[tokio::test]
async fn a_trust_domain_is_accepted_only_by_a_dangerous_way() {
    let pki = Pki::new("td").unwrap();
    let connector = Connector::new(credentials(&pki, "ours"));
    for (domain, wanted) in [("td", Ok(())), ("other", Err(Reason::IdNotAllowed))] {
        let accepted = AllowedIds::danger().anyone_of(TrustDomain::new(domain).unwrap());
        let destination = Destination::accepting(accepted, "peer", Protocol::Http1).unwrap();
        let server = server_config(chain(&pki.issue(&Leaf::workload(PEER)).unwrap()));
        let (address, _server) = serve_once(server).await;
        let connected = connector.connect(address, &destination).await;
        let verdict = connected.map(drop).map_err(|error| error.reason());
        assert_eq!(verdict, wanted, "{domain}");
    }
}

/// M-40: the configuration lent to other clients reads the credentials anew, and remembers no session.
#[tokio::test]
async fn a_lent_configuration_follows_the_credentials() {
    let pki = Pki::new("td").unwrap();
    let ours = credentials(&pki, "ours");
    let accepted: AllowedIds = [id(PEER)].into_iter().collect();
    let config = Credentials::danger().client_config(&ours, accepted, Protocol::Http2);
    let config = Arc::new(config.unwrap());
    let call = async |server: ServerConfig| {
        let (address, _server) = serve_once(server).await;
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("whatever.example").unwrap();
        let connector = TlsConnector::from(Arc::clone(&config));
        connector.connect(name, tcp).await.is_ok()
    };
    let shown = |pki: &Pki, uri| server_config(chain(&pki.issue(&Leaf::workload(uri)).unwrap()));
    assert!(call(shown(&pki, PEER)).await);
    assert!(!call(shown(&pki, OURS)).await, "not whom we expect");
    let new = Pki::new("td").unwrap();
    let next = new.issue(&Leaf::workload(OURS)).unwrap().svid().unwrap();
    ours.replace(&Identity::new(next, new.bundles().unwrap()))
        .unwrap();
    assert!(!call(shown(&pki, PEER)).await, "the old root is gone");
    assert!(call(shown(&new, PEER)).await);
    ours.withdraw();
    assert!(!call(shown(&new, PEER)).await);
}

/// Only some of the trust domains that have a bundle are let in.
#[tokio::test]
async fn a_trust_domain_that_is_not_allowed_is_as_unknown_as_one_without_roots() {
    let (ours, friend) = (Pki::new("td").unwrap(), Pki::new("friend").unwrap());
    let td = |name| TrustDomain::new(name).unwrap();
    let bundles = ours.bundles().unwrap();
    let bundles = bundles.with(td("friend"), [friend.root().clone()]).unwrap();
    let svid = ours.issue(&Leaf::workload(OURS)).unwrap().svid().unwrap();
    let identity = Identity::new(svid, bundles);
    let settings = Settings::default();
    for (settings, wanted) in [
        (settings.clone(), Ok(())),
        (
            settings.clone().trust_domains([td("td")]),
            Err(Reason::UntrustedDomain),
        ),
    ] {
        let ours = Credentials::new(&identity, settings).unwrap();
        let leaf = Leaf::workload("spiffe://friend/ns/default/sa/peer");
        let shown = || chain(&friend.issue(&leaf).unwrap());
        let client = client_config(Some(shown()));
        let accepted = accept(&Acceptor::new(ours.clone()), client).await;
        assert_eq!(accepted.map(drop).map_err(|e| e.reason()), wanted);
        let expected = [id("spiffe://friend/ns/default/sa/peer")];
        let connector = Connector::new(ours.clone());
        let connected = connect(&connector, server_config(shown()), &expected).await;
        assert_eq!(connected.map(drop).map_err(|e| e.reason()), wanted);
        assert_eq!(ours.replace(&identity), Ok(false), "the same again");
    }
    let only_friend = settings.trust_domains([td("friend")]);
    let refused = Credentials::new(&identity, only_friend).unwrap_err();
    assert_eq!(refused.reason(), Reason::UntrustedDomain);
}
