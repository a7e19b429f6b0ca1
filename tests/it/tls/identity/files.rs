//! An identity in files that somebody else renews, in every way that goes wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;
use tokio::time::{Duration, timeout};
use tower_mesh::identity::TrustDomain;
use tower_mesh::testing::{Issued, Leaf, Pki};
use tower_mesh::tls::{Files, Reason, Rotation, Settings, Source};

const OURS: &str = "spiffe://td/ns/default/sa/ours";

const LAYOUTS: [[&str; 3]; 4] = [
    ["tls.crt", "tls.key", "ca.crt"],
    ["certificates.pem", "private_key.pem", "ca_certificates.pem"],
    ["cert-chain.pem", "key.pem", "root-cert.pem"],
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
];

fn issue(pki: &Pki) -> Issued {
    pki.issue(&Leaf::workload(OURS)).unwrap()
}

fn write(directory: &Path, [chain, key, roots]: [&str; 3], pki: &Pki, issued: &Issued) {
    fs::write(directory.join(chain), issued.chain_pem()).unwrap();
    fs::write(directory.join(key), issued.key_pem().as_bytes()).unwrap();
    fs::set_permissions(directory.join(key), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(directory.join(roots), pki.root_pem()).unwrap();
}

fn directory(pki: &Pki) -> TempDir {
    let directory = TempDir::new().unwrap();
    write(directory.path(), LAYOUTS[0], pki, &issue(pki));
    directory
}

#[tokio::test]
async fn reads_every_layout_by_its_names() {
    let pki = Pki::new("td").unwrap();
    for layout in LAYOUTS {
        let directory = TempDir::new().unwrap();
        write(directory.path(), layout, &pki, &issue(&pki));
        let identity = Files::watch(directory.path()).load().await.unwrap();
        assert_eq!(identity.svid().spiffe_id().as_str(), OURS, "{layout:?}");
    }
}

#[tokio::test]
async fn knows_other_trust_domains_by_their_own_files() {
    let pki = Pki::new("td").unwrap();
    let directory = directory(&pki);
    let friend = TrustDomain::new("friend").unwrap();
    let file = directory.path().join("friend.pem");
    fs::write(&file, Pki::new("friend").unwrap().root_pem()).unwrap();
    let files = Files::watch(directory.path()).trust(friend.clone(), file);
    let identity = files.load().await.unwrap();
    assert_eq!(identity.bundles().roots(&friend).len(), 1);
    assert_eq!(identity.bundles().trust_domains().count(), 2);
}

#[tokio::test]
async fn errors_name_the_file_and_hold_nothing_of_the_key() {
    let pki = Pki::new("td").unwrap();
    let key = issue(&pki).key_pem();
    let secret = key.lines().nth(1).unwrap();
    let large = "x".repeat((1 << 20) + 1);
    for (name, text, wanted) in [
        ("tls.crt", "", "tls.crt"),
        ("tls.crt", "-----BEGIN CERTIFICATE-----\nMIIB", "tls.crt"),
        ("tls.key", "", "no private key"),
        ("tls.key", &key[..key.len() / 2], "private key"),
        ("ca.crt", "", "ca.crt"),
        ("ca.crt", "garbage", "ca.crt"),
        ("ca.crt", &large, "longer than 1 MiB"),
    ] {
        let directory = directory(&pki);
        fs::write(directory.path().join(name), text).unwrap();
        let error = Files::watch(directory.path()).load().await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(wanted), "{name}: {text}");
        assert!(!text.contains(secret), "{name}");
    }
    for gone in LAYOUTS[0] {
        let directory = directory(&pki);
        let files = Files::watch(directory.path());
        fs::remove_file(directory.path().join(gone)).unwrap();
        let error = files.load().await.unwrap_err().to_string();
        assert!(error.contains(gone), "{error}");
    }
}

/// A pipe would be waited for, for ever.
#[tokio::test]
async fn what_is_no_file_is_refused() {
    let pki = Pki::new("td").unwrap();
    let directory = directory(&pki);
    let key = directory.path().join("tls.key");
    for make in ["mkfifo", "mkdir"] {
        let _ = fs::remove_file(&key);
        let made = std::process::Command::new(make).arg(&key).status();
        assert!(made.unwrap().success());
        let error = Files::watch(directory.path()).load().await.unwrap_err();
        assert!(error.to_string().contains("tls.key"), "{error}");
    }
}

/// M-49
#[tokio::test(start_paused = true)]
async fn notices_a_swapped_directory_and_keeps_the_last_good_pair() {
    let pki = Pki::new("td").unwrap();
    let place = TempDir::new().unwrap();
    let version = |name: &str| {
        let path = place.path().join(name);
        fs::create_dir(&path).unwrap();
        write(&path, LAYOUTS[0], &pki, &issue(&pki));
        path
    };
    let swap = |to: &Path| {
        let next = place.path().join("..data_tmp");
        symlink(to, &next).unwrap();
        fs::rename(&next, place.path().join("..data")).unwrap();
    };
    swap(&version("one"));
    for name in LAYOUTS[0] {
        symlink(Path::new("..data").join(name), place.path().join(name)).unwrap();
    }
    let source = Files::watch(place.path());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    let tally = rotation.stats();

    let two = version("two");
    fs::write(two.join("tls.key"), issue(&pki).key_pem().as_bytes()).unwrap();
    swap(&two);
    rotation.step().await;
    assert_eq!((ours.generation(), tally.errors()), (1, 1), "a torn pair");

    fs::write(two.join("tls.crt"), "").unwrap();
    rotation.step().await;
    assert_eq!((ours.generation(), tally.errors()), (1, 2), "an empty file");

    fs::remove_file(two.join("tls.crt")).unwrap();
    rotation.step().await;
    assert_eq!(
        (ours.generation(), tally.errors()),
        (1, 3),
        "a missing file"
    );

    swap(&version("three"));
    rotation.step().await;
    assert_eq!((ours.generation(), tally.errors()), (2, 3));
    assert!(ours.is_valid());
}

#[tokio::test(start_paused = true)]
async fn reads_again_after_a_minute_even_if_nothing_seems_changed() {
    let pki = Pki::new("td").unwrap();
    let directory = directory(&pki);
    let mut files = Files::watch(directory.path());
    files.next().await.unwrap();
    let early = timeout(Duration::from_secs(59), files.next()).await;
    assert!(early.is_err());
    let later = timeout(Duration::from_secs(2), files.next()).await;
    assert!(later.unwrap().is_ok());
}

/// Files that never come to rest are read all the same.
#[tokio::test(start_paused = true)]
async fn reads_again_after_a_minute_even_if_they_change_all_the_time() {
    let pki = Pki::new("td").unwrap();
    let directory = directory(&pki);
    let mut files = Files::watch(directory.path());
    files.next().await.unwrap();
    let (roots, pem) = (directory.path().join("ca.crt"), pki.root_pem());
    let writing = tokio::spawn(async move {
        loop {
            // Longer each time, so that no clock of a file system is too coarse to tell.
            let grown = fs::read_to_string(&roots).unwrap() + "\n";
            fs::write(&roots, if grown.len() > 9000 { &pem } else { &grown }).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let again = timeout(Duration::from_secs(62), files.next()).await;
    assert!(again.is_ok(), "never read");
    writing.abort();
}

/// M-50
#[tokio::test]
async fn a_key_for_all_eyes_is_refused_in_strict_mode() {
    let pki = Pki::new("td").unwrap();
    let directory = directory(&pki);
    let key = directory.path().join("tls.key");
    for (mode, good) in [(0o600, true), (0o640, true), (0o644, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let files = Files::watch(directory.path());
        assert!(files.load().await.is_ok(), "{mode:o}");
        assert_eq!(files.strict().load().await.is_ok(), good, "{mode:o}");
    }
}

/// M-50
#[tokio::test]
async fn a_directory_for_all_hands_is_refused() {
    let pki = Pki::new("td").unwrap();
    let directory = directory(&pki);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Files::watch(directory.path()).load().await.unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");

    // Only the name lies in a directory of ours.
    let names = TempDir::new().unwrap();
    for file in LAYOUTS[0] {
        symlink(directory.path().join(file), names.path().join(file)).unwrap();
    }
    let error = Files::watch(names.path()).load().await.unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");
}

/// M-50: as Kubernetes mounts the volume of a Secret.
#[tokio::test]
async fn a_sticky_directory_for_all_hands_is_read() {
    let pki = Pki::new("td").unwrap();
    let directory = directory(&pki);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    Files::watch(directory.path()).load().await.unwrap();
}

#[tokio::test]
async fn a_certificate_without_spiffe_id_is_refused_at_the_start() {
    let pki = Pki::new("td").unwrap();
    let directory = TempDir::new().unwrap();
    let issued = pki.issue(&Leaf::without_uri().dns("localhost")).unwrap();
    write(directory.path(), LAYOUTS[0], &pki, &issued);
    let started = Rotation::start(Files::watch(directory.path()), Settings::default()).await;
    assert_eq!(started.unwrap_err().reason(), Some(Reason::NoSpiffeId));
}
