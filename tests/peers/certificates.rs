//! The page of certificates: what its openssl block makes is taken, and each usual mistake in it is told in the page's own words.

use std::error::Error;
use std::path::Path;

use tempfile::TempDir;
use tower_mesh::identity::SpiffeId;
use tower_mesh::tls::{
    Acceptor, Connector, Credentials, Destination, Files, Listener, Protocol, Rotation, Settings,
};

use crate::tool;

/// The one block of the page that a shell runs.
fn block() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/certificates.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut blocks = page.split("```sh\n").skip(1);
    let block = blocks.next().expect("a block of the shell's");
    assert!(blocks.next().is_none(), "one block, to be pasted whole");
    block.split("```").next().unwrap().to_owned()
}

/// Runs a script in an empty directory; `None` where there is no openssl.
async fn run(script: &str) -> Option<TempDir> {
    tool::find("openssl")?;
    let shell = tool::find("sh")?;
    let directory = TempDir::new().unwrap();
    let script = format!("cd {:?}\n{script}", directory.path());
    let said = tool::run(&shell, &["-s"], &script).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    Some(directory)
}

/// Puts the identity of a directory to use, or says why not.
async fn load(directory: &Path, workload: &str) -> Result<Credentials, String> {
    let files = Files::watch(directory.join(workload)).strict();
    let started = Rotation::start(files, Settings::default()).await;
    started
        .map(|(credentials, _)| credentials)
        .map_err(|error| {
            let first: &(dyn Error + 'static) = &error;
            let levels = std::iter::successors(Some(first), |level| (*level).source());
            let levels: Vec<_> = levels.map(ToString::to_string).collect();
            levels
                .join(": ")
                .replace(directory.to_str().unwrap(), "DIR")
        })
}

/// One workload calls another, and each sees who the other is.
async fn talk(server: &Credentials, client: &Credentials) {
    let acceptor = Acceptor::new(server.clone());
    let mut listener = Listener::bind("127.0.0.1:0", acceptor).await.unwrap();
    let address = listener.local_addr();
    let destination = Destination::new([server.spiffe_id()], "app", Protocol::Http2).unwrap();
    let connector = Connector::new(client.clone());
    let (accepted, connected) =
        tokio::join!(listener.accept(), connector.connect(address, &destination));
    assert_eq!(accepted.peer().spiffe_id(), Some(&client.spiffe_id()));
    let (_, peer) = connected.unwrap();
    assert_eq!(peer.spiffe_id(), Some(&server.spiffe_id()));
}

#[tokio::test]
async fn certificates_of_the_page_are_taken_by_both_sides() {
    let Some(made) = run(&block()).await else {
        return;
    };
    let patients = load(made.path(), "default/patients").await.unwrap();
    let check_in = load(made.path(), "default/check-in").await.unwrap();
    let id = SpiffeId::new("spiffe://cluster.local/ns/default/sa/patients");
    assert_eq!(patients.spiffe_id(), id.unwrap());
    talk(&patients, &check_in).await;
    talk(&check_in, &patients).await;
}

/// What is done otherwise than the page says, where, and what is said.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "subjectAltName=URI:spiffe://cluster.local/ns/$namespace/sa/$account",
        "subjectAltName=DNS:patients.default",
        "DIR/default/patients/tls.crt: line 1: the leaf has no URI name, and SPIFFE asks for one: \
         add `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`",
    ),
    (
        "/sa/$account\n",
        "/sa/$account,URI:https://patients.example\n",
        "DIR/default/patients/tls.crt: line 1: the leaf has 2 URI names, and SPIFFE asks for exactly one: \
         leave its SPIFFE id as the only `URI:` of subjectAltName",
    ),
    (
        "keyUsage=critical,digitalSignature\n",
        "",
        "DIR/default/patients/tls.crt: line 1: the leaf lacks keyUsage, which SPIFFE asks for: \
         add `keyUsage=critical,digitalSignature`",
    ),
    (
        "keyUsage=critical,digitalSignature\n",
        "keyUsage=critical,keyEncipherment\n",
        "DIR/default/patients/tls.crt: line 1: the leaf lacks keyUsage digitalSignature, which SPIFFE asks for: \
         add `keyUsage=critical,digitalSignature`",
    ),
    (
        "keyUsage=critical,digitalSignature\n",
        "keyUsage=digitalSignature\n",
        "DIR/default/patients/tls.crt: line 1: the leaf's keyUsage is not critical, as SPIFFE asks: \
         write `keyUsage=critical,digitalSignature`",
    ),
    (
        "keyUsage=critical,digitalSignature\n",
        "keyUsage=critical,digitalSignature,keyCertSign\n",
        "DIR/default/patients/tls.crt: line 1: the leaf's keyUsage has keyCertSign, which is a CA's: \
         write `keyUsage=critical,digitalSignature`",
    ),
    (
        "serverAuth,clientAuth",
        "serverAuth",
        "DIR/default/patients/tls.crt: line 1: the leaf's extendedKeyUsage lacks clientAuth, and a workload is both server and client: \
         write `extendedKeyUsage=serverAuth,clientAuth`",
    ),
    (
        "CA:FALSE",
        "CA:TRUE",
        "DIR/default/patients/tls.crt: line 1: the leaf is a CA (basicConstraints CA:TRUE), which signs others and is no workload: \
         issue a leaf below it, with `basicConstraints=critical,CA:FALSE`",
    ),
    (
        "\"$workload/leaf.crt\" intermediate.crt >",
        "\"$workload/leaf.crt\" >",
        "DIR/default/patients/tls.crt: line 1: spiffe://cluster.local/ns/default/sa/patients: \
         it was not signed by the only root of trust domain cluster.local: \
         its issuer \"O=cluster.local, CN=intermediate\" is neither a root nor in the chain; \
         put the missing intermediate after the leaf, or add the root that signed it",
    ),
    (
        "\"$workload/leaf.crt\" intermediate.crt >",
        "intermediate.crt \"$workload/leaf.crt\" >",
        "DIR/default/patients/tls.crt: line 1: the chain begins with another certificate than its leaf, which is number 2 of 2: \
         put the leaf first, and after each certificate the one that signed it",
    ),
    (
        "-days 30 -sha256",
        "-days 30 -sha1",
        "DIR/default/patients/tls.crt: line 1: spiffe://cluster.local/ns/default/sa/patients: \
         a signature does not hold, or is of a kind that is refused (SHA-1, RSA under 2048 bits, DSA): \
         use ECDSA P-256, or RSA of 2048 bits or more, with SHA-256",
    ),
    (
        "EC -pkeyopt ec_paramgen_curve:P-256 -out \"$workload/tls.key\"",
        "RSA -pkeyopt rsa_keygen_bits:1024 -out \"$workload/tls.key\"",
        "DIR/default/patients/tls.key: line 1: the private key cannot be used: \
         make one for ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more",
    ),
    (
        "-days 30 -sha256",
        "-days -1 -sha256",
        "DIR/default/patients/tls.crt: line 1: spiffe://cluster.local/ns/default/sa/patients: \
         a certificate of the chain ends before it begins: issue it anew",
    ),
    (
        "authorityKeyIdentifier=keyid\nsubjectAltName=URI:spiffe://cluster.local/ns/$namespace",
        "1.2.3.4=critical,ASN1:NULL\nsubjectAltName=URI:spiffe://cluster.local/ns/$namespace",
        "DIR/default/patients/tls.crt: line 1: spiffe://cluster.local/ns/default/sa/patients: \
         a certificate of the chain has a critical extension that is not known: \
         issue it without that, or with it as one that is not critical",
    ),
    (
        "    cp root.crt",
        "    openssl pkey -in \"$workload/tls.key\" -aes256 -passout pass:x -out \"$workload/locked\"\n    mv \"$workload/locked\" \"$workload/tls.key\"\n    cp root.crt",
        "DIR/default/patients/tls.key: line 1: the private key is encrypted: \
         decrypt it first, with `openssl pkey -in KEY -out DECRYPTED`",
    ),
    (
        "    cp root.crt",
        "    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \"$workload/tls.key\"\n    cp root.crt",
        "DIR/default/patients/tls.key: line 1: the private key does not belong to the leaf in DIR/default/patients/tls.crt: \
         give the one that it was issued for",
    ),
];

#[tokio::test]
async fn certificates_with_a_mistake_are_told_with_the_remedy() {
    let block = block();
    for (good, bad, said) in MISTAKES {
        assert_eq!(block.matches(good).count(), 1, "{good}");
        let Some(made) = run(&block.replace(good, bad)).await else {
            return;
        };
        let error = load(made.path(), "default/patients").await.err();
        assert_eq!(error.as_deref(), Some(*said), "{bad}");
    }
}

/// The sentences that the page shows are those that are said.
#[test]
fn certificates_page_shows_what_is_said() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/certificates.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("## Messages").unwrap();
    let said: String = MISTAKES
        .iter()
        .map(|(_, _, said)| format!("{said}\n"))
        .collect();
    let said = said.replace("DIR/", "");
    let mut shown = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let sentence = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        // Dates and other servers are no matter of the block.
        let elsewhere = sentence.contains("ended on") || sentence.contains("expected spiffe");
        assert!(elsewhere || said.contains(sentence), "{sentence}");
        shown += 1;
    }
    assert!(shown > 7, "{shown}");
}
