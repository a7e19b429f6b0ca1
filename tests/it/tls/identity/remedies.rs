//! What a user is told of each mistake with a certificate: what is wrong, where it is, and how to put it right, in the exact words.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::identity::{SpiffeId, TrustDomain};
use tower_mesh::testing::{Authority, Issued, Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Clock, Connector, Credentials, Destination, Files, Fixed, HandshakeError, Identity,
    Protocol, Rotation, Settings, SourceError, TrustBundles, X509Svid,
};

use crate::tls::support::{accept, chain, client_config, connect, id, server_config};

const OURS: &str = "spiffe://td/ns/default/sa/ours";
const PEER: &str = "spiffe://td/ns/default/sa/peer";

/// 2026-11-29 at 10:00:00 UTC, by a clock that stands still.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_946_400)
}

fn standing() -> Settings {
    Settings::default().clock(Clock::from_fn(now))
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

fn leaf(id: &str) -> Leaf {
    Leaf::workload(id)
}

struct World {
    pki: Pki,
    below: Pki,
    /// Another authority of the same name.
    other: Pki,
}

impl World {
    fn new() -> Self {
        let pki = Pki::new("td").unwrap();
        Self {
            below: pki.intermediate(&Authority::new("below")).unwrap(),
            other: Pki::new("td").unwrap(),
            pki,
        }
    }

    fn issue(&self, leaf: &Leaf) -> Issued {
        self.pki.issue(leaf).unwrap()
    }

    fn texts(&self, leaf: &Leaf) -> Texts {
        Texts::of(&self.issue(leaf), &self.pki)
    }
}

/// The three files of an identity.
struct Texts {
    chain: String,
    key: String,
    roots: String,
}

impl Texts {
    fn of(issued: &Issued, pki: &Pki) -> Self {
        Self {
            chain: issued.chain_pem(),
            key: issued.key_pem().to_string(),
            roots: pki.root_pem(),
        }
    }

    /// What is said when they are to be used; `DIR` stands for where they are.
    async fn said(&self, settings: Settings) -> String {
        let directory = TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("tls.crt", &self.chain);
        write("tls.key", &self.key);
        write("ca.crt", &self.roots);
        let started = Rotation::start(Files::watch(directory.path()), settings).await;
        let error = started.map(drop).expect_err("it is used");
        levels(&error)
            .join(" > ")
            .replace(directory.path().to_str().unwrap(), "DIR")
    }
}

fn levels(error: &(dyn Error + 'static)) -> Vec<String> {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect()
}

type Mistake = (fn(&World) -> Texts, &'static str);

/// Our own files, and what is said at the start.
const OWN: &[Mistake] = &[
    // The name.
    (
        |w| w.texts(&Leaf::without_uri().dns("ours.default")),
        "DIR/tls.crt: line 1: the leaf has no URI name, and SPIFFE asks for one: \
         add `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`",
    ),
    (
        |w| w.texts(&leaf(OURS).uri("https://ours.example/").uri("urn:x")),
        "DIR/tls.crt: line 1: the leaf has 3 URI names, and SPIFFE asks for exactly one: \
         leave its SPIFFE id as the only `URI:` of subjectAltName",
    ),
    (
        |w| w.texts(&leaf("https://td/ns/default/sa/ours")),
        "DIR/tls.crt: line 1: the leaf's URI name is not the SPIFFE id of a workload: \
         a SPIFFE id starts with spiffe://; \
         write `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`",
    ),
    (
        |w| w.texts(&leaf("spiffe://td")),
        "DIR/tls.crt: line 1: the leaf's URI name is not the SPIFFE id of a workload: \
         a workload's SPIFFE id needs a path after its trust domain; \
         write `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`",
    ),
    (
        |w| w.texts(&leaf("spiffe://TD/ns/default/sa/ours")),
        "DIR/tls.crt: line 1: the leaf's URI name is not the SPIFFE id of a workload: \
         a SPIFFE id's trust domain is 1 to 255 characters of [a-z0-9._-]; \
         write `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`",
    ),
    (
        |w| w.texts(&leaf("spiffe://td/ns//sa/ours")),
        "DIR/tls.crt: line 1: the leaf's URI name is not the SPIFFE id of a workload: \
         a SPIFFE id's path segments are non-empty, not '.' or '..', and of [A-Za-z0-9._-]; \
         write `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`",
    ),
    (
        |w| w.texts(&leaf(OURS).dns("td/ns/default/sa/ours")),
        "DIR/tls.crt: line 1: a DNS name of the leaf has a character outside `A-Z a-z 0-9 . * _ -`: \
         leave it out of subjectAltName; a SPIFFE id is written as `URI:`, not as `DNS:`",
    ),
    // What it may do.
    (
        |w| w.texts(&leaf(OURS).ca()),
        "DIR/tls.crt: line 1: the leaf is a CA (basicConstraints CA:TRUE), which signs others and is no workload: \
         issue a leaf below it, with `basicConstraints=critical,CA:FALSE`",
    ),
    (
        |w| w.texts(&leaf(OURS).without_key_usage()),
        "DIR/tls.crt: line 1: the leaf lacks keyUsage, which SPIFFE asks for: add `keyUsage=critical,digitalSignature`",
    ),
    (
        |w| w.texts(&leaf(OURS).without_digital_signature()),
        "DIR/tls.crt: line 1: the leaf lacks keyUsage digitalSignature, which SPIFFE asks for: \
         add `keyUsage=critical,digitalSignature`",
    ),
    (
        |w| w.texts(&leaf(OURS).with_key_usage_not_critical()),
        "DIR/tls.crt: line 1: the leaf's keyUsage is not critical, as SPIFFE asks: \
         write `keyUsage=critical,digitalSignature`",
    ),
    (
        |w| w.texts(&leaf(OURS).with_cert_sign()),
        "DIR/tls.crt: line 1: the leaf's keyUsage has keyCertSign, which is a CA's: \
         write `keyUsage=critical,digitalSignature`",
    ),
    (
        |w| w.texts(&leaf(OURS).with_crl_sign()),
        "DIR/tls.crt: line 1: the leaf's keyUsage has cRLSign, which is a CA's: \
         write `keyUsage=critical,digitalSignature`",
    ),
    (
        |w| w.texts(&leaf(OURS).client_only()),
        "DIR/tls.crt: line 1: the leaf's extendedKeyUsage lacks serverAuth, and a workload is both server and client: \
         write `extendedKeyUsage=serverAuth,clientAuth`",
    ),
    (
        |w| w.texts(&leaf(OURS).server_only()),
        "DIR/tls.crt: line 1: the leaf's extendedKeyUsage lacks clientAuth, and a workload is both server and client: \
         write `extendedKeyUsage=serverAuth,clientAuth`",
    ),
    (
        |w| w.texts(&leaf(OURS).any_purpose()),
        "DIR/tls.crt: line 1: the leaf's extendedKeyUsage lacks serverAuth and clientAuth, and a workload is both server and client: \
         write `extendedKeyUsage=serverAuth,clientAuth`",
    ),
    // Who signed it.
    (
        |w| Texts {
            roots: w.other.root_pem(),
            ..w.texts(&leaf(OURS))
        },
        "DIR/tls.crt: line 1: spiffe://td/ns/default/sa/ours: it was not signed by the only root of trust domain td: \
         a root of its issuer's name, \"O=td, CN=root\", is there with another key; \
         issue the certificate by that root, or add the root that signed it",
    ),
    (
        |w| {
            let issued = w.below.issue(&leaf(OURS)).unwrap();
            let whole = Texts::of(&issued, &w.pki);
            let end = whole.chain.find("-----END CERTIFICATE-----\n").unwrap();
            let leaf_only = whole.chain[..end + 26].to_owned();
            Texts {
                chain: leaf_only,
                roots: w.pki.root_pem() + &w.other.root_pem(),
                ..whole
            }
        },
        "DIR/tls.crt: line 1: spiffe://td/ns/default/sa/ours: it was not signed by any of the 2 roots of trust domain td: \
         its issuer \"O=td, CN=below\" is neither a root nor in the chain; \
         put the missing intermediate after the leaf, or add the root that signed it",
    ),
    (
        |w| {
            let issued = w.below.issue(&leaf(OURS)).unwrap();
            let whole = Texts::of(&issued, &w.pki);
            let end = whole.chain.find("-----END CERTIFICATE-----\n").unwrap() + 26;
            let (leaf, between) = whole.chain.split_at(end);
            Texts {
                chain: format!("# our chain\n{between}{leaf}"),
                ..whole
            }
        },
        "DIR/tls.crt: line 2: the chain begins with another certificate than its leaf, which is number 2 of 2: \
         put the leaf first, and after each certificate the one that signed it",
    ),
    (
        |w| {
            let below = w
                .pki
                .intermediate(&Authority::new("below").without_cert_sign());
            Texts::of(&below.unwrap().issue(&leaf(OURS)).unwrap(), &w.pki)
        },
        "DIR/tls.crt: line 1: spiffe://td/ns/default/sa/ours: an intermediate certificate may not sign the one below it: \
         it needs `basicConstraints=critical,CA:TRUE`, with a pathlen that leaves room, and `keyUsage=critical,keyCertSign`",
    ),
    // The key.
    (
        |w| Texts {
            key: w.issue(&leaf(OURS)).key_pem().to_string(),
            ..w.texts(&leaf(OURS))
        },
        "DIR/tls.key: line 1: the private key does not belong to the leaf in DIR/tls.crt: give the one that it was issued for",
    ),
    (
        |w| {
            let texts = w.texts(&leaf(OURS));
            Texts {
                key: texts.key.replace("PRIVATE", "ENCRYPTED PRIVATE"),
                ..texts
            }
        },
        "DIR/tls.key: line 1: the private key is encrypted: decrypt it first, with `openssl pkey -in KEY -out DECRYPTED`",
    ),
    (
        |w| {
            let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
            Texts {
                key: format!("\n\n{key}"),
                ..w.texts(&leaf(OURS))
            }
        },
        "DIR/tls.key: line 3: the private key cannot be used: \
         make one for ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more",
    ),
    (
        |w| {
            let texts = w.texts(&leaf(OURS));
            Texts {
                key: texts.chain.clone(),
                ..texts
            }
        },
        "DIR/tls.key: no private key found, but a certificate: give the leaf's key here, and the chain in its own file",
    ),
    // The texts.
    (
        |w| {
            let texts = w.texts(&leaf(OURS));
            Texts {
                chain: texts.key.clone(),
                ..texts
            }
        },
        "DIR/tls.crt: no certificate found, but a private key: give the chain here, and the key in its own file",
    ),
    (
        |w| {
            let texts = w.texts(&leaf(OURS));
            Texts {
                chain: texts.chain.replace("CERTIFICATE", "PKCS7"),
                ..texts
            }
        },
        "DIR/tls.crt: line 1: a block of a kind that is not known: \
         leave only CERTIFICATE, PRIVATE KEY, EC PRIVATE KEY and RSA PRIVATE KEY",
    ),
    (
        |w| Texts {
            roots: String::new(),
            ..w.texts(&leaf(OURS))
        },
        "DIR/ca.crt: no root certificate found for trust domain td: give each as a -----BEGIN CERTIFICATE----- block",
    ),
];

/// By the clock that stands still.
const DATED: &[Mistake] = &[
    (
        |w| w.texts(&Leaf::workload(OURS).valid(now() - hours(48), now() - hours(24))),
        "DIR/tls.crt: line 1: spiffe://td/ns/default/sa/ours: the leaf ended on 2026-11-28 at 10:00:00 UTC, 1 day ago by our clock: \
         issue it anew, or set the clock right",
    ),
    (
        |w| w.texts(&Leaf::workload(OURS).valid(now() + hours(2), now() + hours(24))),
        "DIR/tls.crt: line 1: spiffe://td/ns/default/sa/ours: the leaf begins on 2026-11-29 at 12:00:00 UTC, in 2 hours by our clock: \
         wait, or set the clock right, ours or its issuer's",
    ),
];

#[tokio::test]
async fn each_mistake_in_our_own_files_is_told_with_its_remedy() {
    let world = World::new();
    for (texts, sentence) in OWN {
        assert_eq!(texts(&world).said(Settings::default()).await, *sentence);
    }
    for (texts, sentence) in DATED {
        assert_eq!(texts(&world).said(standing()).await, *sentence);
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_and_the_system_says_why() {
    let directory = TempDir::new().unwrap();
    let error = Files::watch(directory.path()).load().await.unwrap_err();
    let file = directory.path().join("tls.crt");
    let level = format!("{}: the file cannot be read", file.display());
    assert_eq!(
        levels(&error),
        [level.as_str(), "No such file or directory (os error 2)"]
    );
    assert!(error.identity().is_none());
}

/// What a program may ask of an error instead of reading it.
#[tokio::test]
async fn an_error_tells_file_line_and_rule_apart() {
    let world = World::new();
    let directory = TempDir::new().unwrap();
    let texts = world.texts(&leaf(OURS).client_only());
    let file = directory.path().join("tls.crt");
    fs::write(&file, format!("# ours\n{}", texts.chain)).unwrap();
    fs::write(directory.path().join("tls.key"), texts.key).unwrap();
    fs::write(directory.path().join("ca.crt"), texts.roots).unwrap();
    let error = Files::watch(directory.path()).load().await.unwrap_err();
    let identity = error.identity().unwrap();
    assert_eq!(identity.reason().as_str(), "extended_key_usage");
    assert_eq!(identity.file(), Some(&*file));
    assert_eq!(identity.line(), Some(2));
}

#[test]
fn roots_that_ended_are_told_with_their_end() {
    let world = World::new();
    let later = SystemTime::now() + hours(24 * 365 * 20);
    let good = Leaf::workload(OURS).valid(later - hours(1), later + hours(1));
    let svid = world.issue(&good).svid().unwrap();
    let identity = Identity::new(svid, world.pki.bundles().unwrap());
    let settings = Settings::default().clock(Clock::from_fn(move || later));
    let error = Credentials::new(&identity, settings)
        .unwrap_err()
        .to_string();
    let begin = format!("{OURS}: every root of trust domain td has ended, the last on 20");
    let end = " days ago by our clock: give the roots that are in use now, or set the clock right";
    assert!(error.starts_with(&begin) && error.ends_with(end), "{error}");
}

/// What stands in the way is named: not the root of the chain, where a link below it is broken.
#[test]
fn a_link_that_does_not_hold_is_named() {
    let world = World::new();
    let shown = |chain: Vec<_>, issued: &Issued, bundles| {
        let svid = X509Svid::new(chain, issued.key()).unwrap();
        let error = Credentials::new(&Identity::new(svid, bundles), Settings::default());
        error.unwrap_err().to_string()
    };
    let issued = world.below.issue(&leaf(OURS)).unwrap();
    // The intermediate was made anew, with another key.
    let renewed = world.pki.intermediate(&Authority::new("below")).unwrap();
    let renewed = renewed.issue(&leaf(PEER)).unwrap();
    let of_name = vec![issued.chain()[0].clone(), renewed.chain()[1].clone()];
    assert_eq!(
        shown(of_name.clone(), &issued, world.pki.bundles().unwrap()),
        format!(
            "{OURS}: it was not signed by the only root of trust domain td: \
             the certificate in the chain that has its issuer's name, \"O=td, CN=below\", did not sign it; \
             put the one that did in its place, or issue the certificate anew"
        )
    );
    // With both, whichever stands first, the chain holds.
    let both = [of_name, vec![issued.chain()[1].clone()]].concat();
    let svid = X509Svid::new(both, issued.key()).unwrap();
    let identity = Identity::new(svid, world.pki.bundles().unwrap());
    Credentials::new(&identity, Settings::default()).unwrap();

    // The root that signed has ended, and another is there.
    let td = TrustDomain::new("td").unwrap();
    let old = Pki::with_root(&td, &Authority::new("old").expired()).unwrap();
    let issued = old.issue(&leaf(OURS)).unwrap();
    let roots = [old.root().clone(), world.pki.root().clone()];
    let bundles = TrustBundles::new().with(td, roots).unwrap();
    let said = shown(issued.chain().to_vec(), &issued, bundles);
    let begin = format!(
        "{OURS}: it was not signed by the only root of trust domain td that has not ended: \
         the root that signed it, \"O=td, CN=old\", ended on 20"
    );
    let end = "ago by our clock; issue the certificate by a root that is in use now, or set the clock right";
    assert!(said.starts_with(&begin) && said.ends_with(end), "{said}");
}

/// What is wrong with the leaf is not laid on its key.
#[test]
fn an_unknown_critical_extension_is_told_as_such() {
    let world = World::new();
    let said = "a certificate of the chain has a critical extension that is not known: \
        issue it without that, or with it as one that is not critical";
    let issued = world.issue(&leaf(OURS).with_unknown_critical_extension());
    let identity = Identity::new(issued.svid().unwrap(), world.pki.bundles().unwrap());
    let error = Credentials::new(&identity, Settings::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("{OURS}: {said}"));
}

#[test]
fn a_successor_of_another_id_or_that_ends_sooner_is_told_with_both() {
    let world = World::new();
    let identity = |leaf: &Leaf| {
        let svid = world.issue(leaf).svid().unwrap();
        Identity::new(svid, world.pki.bundles().unwrap())
    };
    let first = Leaf::workload(OURS).valid(now() - hours(1), now() + hours(1));
    let ours = Credentials::new(&identity(&first), standing()).unwrap();
    let sooner = Leaf::workload(OURS).valid(now() - hours(1), now() + Duration::from_secs(60));
    for (next, said) in [
        (
            leaf(PEER),
            "expected spiffe://td/ns/default/sa/ours, got spiffe://td/ns/default/sa/peer: \
             an identity is replaced by one of its own id; restart to become another workload",
        ),
        (
            sooner,
            "the leaf ends on 2026-11-29 at 10:01:00 UTC, earlier than the one in use, \
             which ends on 2026-11-29 at 11:00:00 UTC: an older certificate was put back; give the newest",
        ),
    ] {
        let error = ours.replace(&identity(&next)).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
}

/// Certificates that a peer shows, with what both sides say of them.
#[tokio::test]
async fn each_mistake_of_a_peer_is_told_with_its_remedy_both_ways() {
    let world = World::new();
    let identity = Identity::new(
        world.issue(&leaf(OURS)).svid().unwrap(),
        world.pki.bundles().unwrap(),
    );
    let ours = Credentials::new(&identity, Settings::default()).unwrap();
    let long = "x".repeat(300);
    let foreign = Pki::new("elsewhere").unwrap();
    let stranger = world.pki.intermediate(&Authority::new(long)).unwrap();
    let below_stranger = stranger.issue(&leaf(PEER)).unwrap();
    let alone = (below_stranger.chain()[..1].to_vec(), below_stranger.key());
    let rows = [
        (
            chain(&world.issue(&Leaf::without_uri())),
            "the leaf has no URI name, and SPIFFE asks for one: \
             add `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`"
                .to_owned(),
        ),
        (
            chain(&world.issue(&leaf(PEER).without_key_usage())),
            format!(
                "{PEER}: the leaf lacks keyUsage, which SPIFFE asks for: add `keyUsage=critical,digitalSignature`"
            ),
        ),
        (
            chain(&world.issue(&leaf(PEER).any_purpose())),
            format!(
                "{PEER}: the leaf's extendedKeyUsage lacks serverAuth and clientAuth, and a workload is both server and client: \
                 write `extendedKeyUsage=serverAuth,clientAuth`"
            ),
        ),
        (
            chain(&foreign.issue(&leaf("spiffe://elsewhere/ns/a/sa/b")).unwrap()),
            "spiffe://elsewhere/ns/a/sa/b: no roots are held for trust domain elsewhere, only for td: \
             give its roots, as `tls::Files::trust` does, or use a certificate of a trust domain that has some"
                .to_owned(),
        ),
        (
            chain(&world.other.issue(&leaf(PEER)).unwrap()),
            format!(
                "{PEER}: it was not signed by the only root of trust domain td: \
                 a root of its issuer's name, \"O=td, CN=root\", is there with another key; \
                 issue the certificate by that root, or add the root that signed it"
            ),
        ),
        // What a peer makes long stays short in a log.
        (
            alone,
            format!(
                "{PEER}: it was not signed by the only root of trust domain td: \
                 its issuer \"O=td, CN={}...\" is neither a root nor in the chain; \
                 put the missing intermediate after the leaf, or add the root that signed it",
                "x".repeat(111)
            ),
        ),
    ];
    for (shown, said) in rows {
        let copy = || (shown.0.clone(), shown.1.clone_key());
        let at_server = accept(&Acceptor::new(ours.clone()), client_config(Some(copy()))).await;
        let connector = Connector::new(ours.clone());
        let at_client = connect(&connector, server_config(copy()), &[id(PEER)]).await;
        for error in [at_server.unwrap_err(), at_client.unwrap_err()] {
            assert_eq!(levels(&error), [format!("TLS handshake failed: {said}")]);
        }
    }
}

#[tokio::test]
async fn another_server_than_the_expected_is_told_with_both_ids() {
    let world = World::new();
    let ours = Identity::new(
        world.issue(&leaf(OURS)).svid().unwrap(),
        world.pki.bundles().unwrap(),
    );
    let connector = Connector::new(Credentials::new(&ours, Settings::default()).unwrap());
    let ids = |count: usize| -> Vec<SpiffeId> {
        let name = |index| id(&format!("spiffe://td/ns/default/sa/n{index}"));
        (0..count).map(name).collect()
    };
    for (expected, said) in [
        (ids(1), "spiffe://td/ns/default/sa/n0"),
        (
            ids(2),
            "spiffe://td/ns/default/sa/n0 or spiffe://td/ns/default/sa/n1",
        ),
        (
            ids(6),
            "spiffe://td/ns/default/sa/n0, spiffe://td/ns/default/sa/n1, spiffe://td/ns/default/sa/n2, \
             spiffe://td/ns/default/sa/n3 or 2 more",
        ),
    ] {
        let shown = server_config(chain(&world.issue(&leaf(PEER))));
        let error = connect(&connector, shown, &expected).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "TLS handshake failed: expected {said}, got {PEER}: \
                 another workload answers at this address, or the id expected there is wrong"
            )
        );
    }
}

#[tokio::test]
async fn a_revoked_peer_and_a_list_that_has_ended_are_told_apart() {
    let world = World::new();
    let peer = world.issue(&leaf(PEER));
    let good = world.issue(&leaf(OURS));
    let current = SystemTime::now() + hours(5);
    for (revoked, next_update, said) in [
        (
            vec![&peer],
            current,
            "a certificate of the chain was revoked by its issuer: issue another",
        ),
        (
            vec![],
            SystemTime::now() - Duration::from_secs(60),
            "the revocation status of a certificate of the chain is unknown: \
             give a revocation list of each issuer that has not expired",
        ),
    ] {
        let list = world
            .pki
            .revocation_list_pem(&revoked, next_update)
            .unwrap();
        let bundles = world.pki.bundles().unwrap();
        let bundles = bundles.with_revoked_pem(world.pki.trust_domain(), list.as_bytes());
        let svid = if revoked.is_empty() { &peer } else { &good };
        let ours = Identity::new(svid.svid().unwrap(), bundles.unwrap());
        let error = match Credentials::new(&ours, Settings::default()) {
            Err(own) => own.to_string(),
            Ok(ours) => {
                let shown = client_config(Some(chain(&peer)));
                let refused = accept(&Acceptor::new(ours), shown).await.unwrap_err();
                refused.to_string().replace("TLS handshake failed: ", "")
            }
        };
        assert_eq!(error, format!("{PEER}: {said}"));
    }
}

/// What a client says first.
async fn refused_after(bytes: &'static [u8], acceptor: &Acceptor) -> HandshakeError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::spawn(async move {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
    });
    let (tcp, remote) = listener.accept().await.unwrap();
    let refused = acceptor.accept(tcp, remote, address).await;
    client.await.unwrap();
    refused.map(drop).unwrap_err()
}

#[tokio::test]
async fn who_shows_no_certificate_or_speaks_no_tls_is_told_what_to_do() {
    let pki = Pki::new("td").unwrap();
    let ours = pki.identity("default", "ours").unwrap();
    let acceptor = Acceptor::new(Credentials::new(&ours, Settings::default()).unwrap());
    let bare = accept(&acceptor, client_config(None)).await.unwrap_err();
    assert_eq!(
        bare.to_string(),
        "TLS handshake failed: the other side showed no certificate, and only callers with one are taken here: \
         give it one, or set the port's PeerAuthentication to PERMISSIVE"
    );
    let plaintext = refused_after(b"GET / HTTP/1.1\r\n\r\n", &acceptor).await;
    assert_eq!(
        plaintext.to_string(),
        "TLS handshake failed: plaintext on a port that takes mutual TLS alone: call it by TLS with a certificate, \
         or set the port's PeerAuthentication to PERMISSIVE"
    );
}

#[tokio::test]
async fn a_server_that_speaks_plaintext_is_told_as_such() {
    let pki = Pki::new("td").unwrap();
    let ours = pki.identity("default", "ours").unwrap();
    let connector = Connector::new(Credentials::new(&ours, Settings::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        tcp
    });
    let destination = Destination::new([id(PEER)], "peer", Protocol::Either).unwrap();
    let error = connector.connect(address, &destination).await.unwrap_err();
    drop(server);
    assert_eq!(
        levels(&error),
        [
            "TLS handshake failed: the other side did not send TLS: does it speak plaintext on this port?"
        ]
    );
}

/// Every public error of these rooms, in each of its shapes: what one level says, no other repeats.
#[tokio::test]
async fn each_level_of_an_error_is_said_once() {
    let pki = Pki::new("td").unwrap();
    let world = World::new();
    let ours = pki.identity("default", "ours").unwrap();
    let credentials = Credentials::new(&ours, Settings::default()).unwrap();
    let (acceptor, connector) = (
        Acceptor::new(credentials.clone()),
        Connector::new(credentials),
    );
    let mut errors: Vec<Arc<dyn Error>> = Vec::new();

    let unreachable = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let destination = Destination::new([id(PEER)], "peer", Protocol::Either).unwrap();
        connector.connect(address, &destination).await.unwrap_err()
    };
    assert_eq!(levels(&unreachable).len(), 2, "{unreachable:?}");
    errors.push(Arc::new(unreachable));
    errors.push(Arc::new(refused_after(b"", &acceptor).await));
    errors.push(Arc::new(refused_after(b"\x16\x03\x01", &acceptor).await));
    errors.push(Arc::new(refused_after(b"garbage", &acceptor).await));
    let wrong = pki.issue(&Leaf::workload(PEER).client_only()).unwrap();
    let shown = client_config(Some(chain(&wrong)));
    errors.push(Arc::new(accept(&acceptor, shown).await.unwrap_err()));

    let identity = wrong.svid().unwrap_err();
    errors.push(Arc::new(identity));
    let identity = X509Svid::from_pem(b"", b"").unwrap_err();
    errors.push(Arc::new(identity.refusal().clone()));
    errors.push(Arc::new(SourceError::from(identity.clone())));
    errors.push(Arc::new(identity));
    let td = TrustDomain::new("td").unwrap();
    let bundles = TrustBundles::new();
    errors.push(Arc::new(bundles.with_pem(td, b"-----BEGIN").unwrap_err()));

    let directory = TempDir::new().unwrap();
    let file = |name: &str| directory.path().join(name);
    errors.push(Arc::new(
        Files::watch(directory.path()).load().await.unwrap_err(),
    ));
    fs::create_dir(file("tls.crt")).unwrap();
    errors.push(Arc::new(
        Files::watch(directory.path()).load().await.unwrap_err(),
    ));
    fs::remove_dir(file("tls.crt")).unwrap();
    let texts = world.texts(&leaf(OURS).ca());
    fs::write(file("tls.crt"), texts.chain).unwrap();
    fs::write(file("tls.key"), texts.key).unwrap();
    errors.push(Arc::new(
        Files::watch(directory.path()).load().await.unwrap_err(),
    ));
    let expired = world.issue(&Leaf::workload(OURS).expired()).svid().unwrap();
    let expired = Fixed::new(Identity::new(expired, world.pki.bundles().unwrap()));
    let started = Rotation::start(expired, Settings::default()).await;
    errors.push(Arc::new(started.map(drop).unwrap_err()));
    errors.push(Arc::new(SourceError::new("the agent is gone")));
    errors.push(Arc::new(SourceError::withdrawn()));
    let cause = std::io::Error::other("no route");
    let caused = SourceError::caused_by("the agent is gone", cause);
    assert_eq!(levels(&caused), ["the agent is gone", "no route"]);
    errors.push(Arc::new(caused));

    errors.push(Arc::new(SpiffeId::new("x").unwrap_err()));
    errors.push(Arc::new(TrustDomain::new("X").unwrap_err()));
    errors.push(Arc::new(wrong.svid().unwrap_err()));

    for error in &errors {
        let levels = levels(&**error);
        for pair in levels.windows(2) {
            assert!(!pair[0].contains(&pair[1]), "{levels:?}");
        }
        assert!(levels.iter().all(|level| !level.is_empty()), "{levels:?}");
        assert!(!levels[0].ends_with([':', ' ']), "{levels:?}");
    }
}
