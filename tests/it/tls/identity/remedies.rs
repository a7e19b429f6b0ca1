//! What a user is told of each mistake with a certificate: what is wrong, where it is, and how to put it right, in the exact words.

use std::error::Error;
use std::fs;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tower_mesh::identity::TrustDomain;
use tower_mesh::testing::{Authority, Issued, Leaf, Pki};
use tower_mesh::tls::{
    Clock, Credentials, Files, Identity, Rotation, Settings, TrustBundles, X509Svid,
};

pub(super) const OURS: &str = "spiffe://td/ns/default/sa/ours";
pub(super) const PEER: &str = "spiffe://td/ns/default/sa/peer";

/// 2026-11-29 at 10:00:00 UTC, by a clock that stands still.
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_946_400)
}

pub(super) fn standing() -> Settings {
    Settings::default().clock(Clock::from_fn(now))
}

pub(super) fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

pub(super) fn leaf(id: &str) -> Leaf {
    Leaf::workload(id)
}

pub(super) struct World {
    pub(super) pki: Pki,
    pub(super) below: Pki,
    /// Another authority of the same name.
    pub(super) other: Pki,
}

impl World {
    pub(super) fn new() -> Self {
        let pki = Pki::new("td").unwrap();
        Self {
            below: pki.intermediate(&Authority::new("below")).unwrap(),
            other: Pki::new("td").unwrap(),
            pki,
        }
    }

    pub(super) fn issue(&self, leaf: &Leaf) -> Issued {
        self.pki.issue(leaf).unwrap()
    }

    pub(super) fn texts(&self, leaf: &Leaf) -> Texts {
        Texts::of(&self.issue(leaf), &self.pki)
    }
}

/// The three files of an identity.
pub(super) struct Texts {
    pub(super) chain: String,
    pub(super) key: String,
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
    pub(super) async fn said(&self, settings: Settings) -> String {
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

pub(super) fn levels(error: &(dyn Error + 'static)) -> Vec<String> {
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
