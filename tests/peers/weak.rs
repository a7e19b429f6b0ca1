//! Certificates that are too weak to be made by the crates we test with, from an authority of OpenSSL's that we trust.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Identity, TrustBundles};

use crate::site::{OURS, Site, THEIRS};
use crate::tool::{self, Said};

/// An authority of OpenSSL's, with RSA keys.
struct Authority {
    program: PathBuf,
    files: TempDir,
}

impl Authority {
    async fn start(program: PathBuf) -> Self {
        let files = TempDir::new().unwrap();
        let extensions = format!(
            "[req]\ndistinguished_name = name\n[name]\n\
             [authority]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n\
             [workload]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n\
             extendedKeyUsage = clientAuth, serverAuth\nsubjectAltName = URI:{THEIRS}\n"
        );
        std::fs::write(files.path().join("extensions"), extensions).unwrap();
        let authority = Self { program, files };
        authority.request("root", 2048).await;
        authority
            .run("x509 -req -in root.csr -signkey root.key -sha256 -out root.crt -extensions authority")
            .await;
        authority
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }

    /// Words that name a file of ours stand for its path.
    async fn run(&self, words: &str) -> Said {
        let arguments: Vec<String> = words
            .split(' ')
            .map(|word| match Path::new(word).extension() {
                Some(_) => self.file(word),
                None => word.to_owned(),
            })
            .collect();
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let extensions = self.file("extensions");
        if words.starts_with("x509") {
            arguments.extend_from_slice(&["-days", "1", "-extfile", &extensions]);
        } else {
            arguments.extend_from_slice(&["-config", &extensions]);
        }
        let said = tool::run(&self.program, &arguments, "").await;
        assert_eq!(said.code, Some(0), "{words}: {said:?}");
        said
    }

    /// A new key of so many bits, and a request to sign it.
    async fn request(&self, name: &str, bits: u32) {
        let subject = format!("/CN={name}");
        self.run(&format!(
            "req -new -newkey rsa:{bits} -nodes -keyout {name}.key -out {name}.csr -subj {subject}"
        ))
        .await;
    }

    /// Signs the request of this name.
    async fn sign(&self, name: &str, by: &str, digest: &str, extensions: &str) {
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial -{digest} -extensions {extensions} -out {name}.crt"
        ))
        .await;
    }

    /// Calls us with the certificate of this name, and asks a question.
    async fn call(&self, site: &Site, chain: Option<&str>, roots: &str) -> Said {
        let address = site.address.to_string();
        let files = ["leaf.crt", "leaf.key"].map(|name| self.file(name));
        let mut arguments = vec!["s_client", "-connect", &address, "-CAfile", roots];
        arguments.extend_from_slice(&["-cert", &files[0], "-key", &files[1], "-ign_eof"]);
        // By default OpenSSL would not even offer them.
        arguments.extend_from_slice(&["-cipher", "DEFAULT:@SECLEVEL=0"]);
        let chain = chain.map(|name| self.file(name));
        if let Some(chain) = &chain {
            arguments.extend_from_slice(&["-cert_chain", chain]);
        }
        let question = "GET / HTTP/1.1\r\nhost: ours\r\nconnection: close\r\n\r\n";
        tool::run(&self.program, &arguments, question).await
    }
}

/// M-15: RSA keys of less than 2048 bits and signatures over SHA-1, of the workload's certificate and of its issuer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weak_keys_and_digests_are_refused() {
    let Some(program) = tool::find("openssl") else {
        return;
    };
    let authority = Authority::start(program).await;
    let root = std::fs::read_to_string(authority.file("root.crt")).unwrap();
    let ours = Pki::new("cluster.local").unwrap();
    let trusted = ours.root_pem() + &root;
    let bundles = TrustBundles::new().with_pem(ours.trust_domain().clone(), trusted.as_bytes());
    let svid = ours.issue(&Leaf::workload(OURS)).unwrap().svid().unwrap();
    let identity = Identity::new(svid, bundles.unwrap());
    let site = Site::with_identity(identity).await;
    let roots = authority.file("ours.ca");
    std::fs::write(&roots, ours.root_pem()).unwrap();

    // Of whom: the bits of its key, and over what it is signed.
    for (leaf, issuer, is_good) in [
        ((2048, "sha256"), None, true),
        ((1024, "sha256"), None, false),
        ((2048, "sha1"), None, false),
        ((2048, "sha256"), Some((2048, "sha256")), true),
        ((2048, "sha256"), Some((1024, "sha256")), false),
        ((2048, "sha256"), Some((2048, "sha1")), false),
    ] {
        let (mut by, mut chain) = ("root", None);
        if let Some((bits, digest)) = issuer {
            authority.request("issuer", bits).await;
            authority.sign("issuer", "root", digest, "authority").await;
            (by, chain) = ("issuer", Some("issuer.crt"));
        }
        let (bits, digest) = leaf;
        authority.request("leaf", bits).await;
        authority.sign("leaf", by, digest, "workload").await;
        let said = authority.call(&site, chain, &roots).await;
        let is_answered = said.has("HTTP/1.1 200 OK") && said.has(THEIRS);
        assert_eq!(is_answered, is_good, "{leaf:?} by {issuer:?}: {said:?}");
        assert!(
            is_good || said.has("alert"),
            "{leaf:?} by {issuer:?}: {said:?}"
        );
    }
}
