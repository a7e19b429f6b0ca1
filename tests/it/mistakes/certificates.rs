//! Files of our own identity.

use std::fs;

use tempfile::TempDir;
use tower_mesh::Mesh;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::Files;

use super::{Seen, patients, pki, refused};

const PATIENTS: &str = "spiffe://cluster.local/ns/default/sa/patients";

/// Chain, key and roots.
type Texts = (String, String, String);

fn issue(pki: &Pki, leaf: &Leaf) -> Texts {
    let issued = pki.issue(leaf).unwrap();
    let key = issued.key_pem().to_string();
    (issued.chain_pem(), key, pki.root_pem())
}

pub(super) async fn make(seen: &mut Seen) {
    let (pki, other) = (pki(), pki());
    let of = |leaf: Leaf| issue(&pki, &leaf);
    let ours = || Leaf::workload(PATIENTS);
    let (chain, key, roots) = of(ours());
    let foreign = of(ours()).1;
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let rows = [
        (
            "other-account",
            of(Leaf::workload(
                "spiffe://cluster.local/ns/default/sa/charts",
            )),
        ),
        ("no-key-usage", of(ours().without_key_usage())),
        ("server-only", of(ours().server_only())),
        ("no-uri", of(Leaf::without_uri().dns("patients.default"))),
        (
            "two-uris",
            of(ours().uri("spiffe://cluster.local/ns/default/sa/charts")),
        ),
        (
            "uri-of-https",
            of(Leaf::workload("https://patients.default/")),
        ),
        ("expired", of(ours().expired())),
        ("other-key", (chain.clone(), foreign, roots.clone())),
        ("other-root", (chain.clone(), key.clone(), other.root_pem())),
        ("encrypted-key", (chain.clone(), encrypted, roots.clone())),
        ("empty-file", (String::new(), key.clone(), roots.clone())),
        ("files-swapped", (key, chain, roots)),
    ];
    for (id, (chain, key, roots)) in rows {
        let directory = TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("tls.crt", &chain);
        write("tls.key", &key);
        write("ca.crt", &roots);
        let builder = Mesh::builder(patients(), Files::watch(directory.path()));
        seen.push((id, refused(builder).await));
    }
    let empty = TempDir::new().unwrap();
    let builder = Mesh::builder(patients(), Files::watch(empty.path()));
    seen.push(("no-file", refused(builder).await));
}
