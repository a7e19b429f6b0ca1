//! Keys are seen nowhere.

use std::sync::Arc;

use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Connector, Credentials, Files, Fixed, Identity, Listener, Rotation, Settings,
    X509Svid,
};

const OURS: &str = "spiffe://td/ns/default/sa/ours";

/// M-51: whatever holds a key prints neither its bytes nor its text.
#[tokio::test]
async fn nothing_that_holds_a_key_prints_it() {
    let pki = Pki::new("td").unwrap();
    let issued = pki.issue(&Leaf::workload(OURS)).unwrap();
    let key = issued.key();
    let pem = issued.key_pem();
    let svid = issued.svid().unwrap();
    let identity = Identity::new(svid.clone(), pki.bundles().unwrap());
    let ours = Credentials::new(&identity, Settings::default()).unwrap();
    let acceptor = Acceptor::new(ours.clone());
    let listener = Listener::bind("127.0.0.1:0", acceptor.clone())
        .await
        .unwrap();
    let source = Fixed::new(identity.clone());
    let (_, rotation) = Rotation::start(Fixed::new(identity.clone()), Settings::default())
        .await
        .unwrap();
    let connector = Connector::new(ours.clone());
    let shown: [(&str, &dyn std::fmt::Debug); 11] = [
        ("Issued", &issued),
        ("X509Svid", &svid),
        ("Identity", &identity),
        ("Credentials", &ours),
        ("Acceptor", &acceptor),
        ("Connector", &connector),
        ("Listener", &listener),
        ("Fixed", &source),
        ("Rotation", &rotation),
        ("Settings", &Settings::default()),
        ("Files", &Files::watch("/nowhere")),
    ];
    // As numbers and as hexadecimal digits, a stretch that cannot be there by chance.
    let secret = &key.secret_der()[key.secret_der().len() / 2..][..8];
    let numbers = secret.iter().map(u8::to_string).collect::<Vec<_>>();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = pem.lines().nth(1).unwrap();
    for (name, value) in shown {
        for text in [format!("{value:?}"), format!("{value:#?}")] {
            assert!(!text.contains(&numbers.join(", ")), "{name}: {text}");
            assert!(!text.to_lowercase().contains(&hex), "{name}: {text}");
            assert!(!text.contains(line), "{name}: {text}");
        }
    }
}

/// M-51: no error of ours repeats what was to be a key.
#[test]
fn no_error_repeats_what_was_to_be_a_key() {
    let pki = Pki::new("td").unwrap();
    let issued = pki.issue(&Leaf::workload(OURS)).unwrap();
    let pem = issued.key_pem();
    let line = pem.lines().nth(1).unwrap().to_owned();
    let cut = pem.replace("-----END PRIVATE KEY-----", "");
    let bad = pem.replacen('A', "*", 1);
    let other = pem.replace("PRIVATE KEY", "SECRET");
    for text in [&cut, &bad, &other, &line] {
        let error = X509Svid::from_pem(issued.chain_pem().as_bytes(), text.as_bytes()).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(&line[..16]), "{shown}");
    }
    // A key that is one, but cannot be read as such.
    let mut der = issued.key().secret_der().to_vec();
    let middle = der.len() / 2;
    der[middle..].fill(0);
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(der).into();
    let svid = X509Svid::new(issued.chain().to_vec(), key).unwrap();
    let identity = Identity::new(svid, pki.bundles().unwrap());
    let error = Credentials::new(&identity, Settings::default()).unwrap_err();
    assert!(format!("{error:?}").len() < 200, "{error:?}");
}

/// M-51: a copy of an identity is wiped apart from the original, which goes on.
#[tokio::test]
async fn a_dropped_copy_leaves_the_other_whole() {
    let pki = Pki::new("td").unwrap();
    let identity = pki.identity("default", "ours").unwrap();
    drop(identity.clone());
    let ours = Credentials::new(&identity, Settings::default());
    assert!(Arc::new(ours.unwrap()).is_valid());
}
