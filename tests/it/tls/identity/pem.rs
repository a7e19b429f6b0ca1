//! PEM, as it comes from everybody's tools and hands: every reader takes every block of its kind or refuses the text, and says the line.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use tower_mesh::identity::TrustDomain;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::testing::{Authority, Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Connector, Credentials, Files, Identity, OneWayConnector, Reason, Settings,
    TrustBundles, X509Svid,
};
use tower_mesh::{Mesh, Workload};

use crate::tls::support::{accept, chain, client_config, connect, id, server_config};

const OURS: &str = "spiffe://td/ns/default/sa/ours";

fn block(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines = body.as_bytes().chunks(64).map(|line| {
        let line = std::str::from_utf8(line).unwrap();
        format!("{line}\n")
    });
    let body: String = lines.collect();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

/// What is in a text of two blocks, the second of which is of another kind where a text may hold one of its kind only.
struct Material {
    first: Vec<u8>,
    label: &'static str,
    second: Vec<u8>,
    second_label: &'static str,
}

impl Material {
    fn first(&self) -> String {
        block(self.label, &self.first)
    }

    fn second(&self) -> String {
        block(self.second_label, &self.second)
    }

    fn both(&self) -> String {
        self.first() + &self.second()
    }

    /// The line at which the second block begins when nothing stands between the two.
    fn second_line(&self) -> usize {
        self.first().lines().count() + 1
    }
}

/// Whether a reader took everything; why not, otherwise.
type Read = Box<dyn Fn(&[u8]) -> Result<(), String>>;

struct Reader {
    name: &'static str,
    material: Material,
    read: Read,
}

fn readers() -> Vec<Reader> {
    let td = TrustDomain::new("td").unwrap();
    let (one, two) = (Pki::new("td").unwrap(), Pki::new("td").unwrap());
    let below = one.intermediate(&Authority::new("below")).unwrap();
    let issued = below.issue(&Leaf::workload(OURS)).unwrap();
    let roots = || Material {
        first: one.root().to_vec(),
        label: "CERTIFICATE",
        second: two.root().to_vec(),
        second_label: "CERTIFICATE",
    };
    let of_roots = {
        let td = td.clone();
        move |text: &[u8]| {
            let bundles = TrustBundles::new().with_pem(td.clone(), text);
            let bundles = bundles.map_err(|error| error.to_string())?;
            assert_eq!(bundles.roots(&td).len(), 2, "a root is lost");
            Ok(())
        }
    };
    let of_outside = |text: &[u8]| {
        let connector = OneWayConnector::with_roots(&Settings::default(), text);
        connector.map(drop).map_err(|error| error.to_string())
    };
    let certificates: Vec<CertificateDer<'static>> = issued.chain().to_vec();
    let (key, chain_pem) = (issued.key_pem(), issued.chain_pem());
    let of_chain = move |text: &[u8]| {
        let svid = X509Svid::from_pem(text, key.as_bytes()).map_err(|error| error.to_string())?;
        assert_eq!(svid.chain().len(), 2, "an intermediate is lost");
        Ok(())
    };
    let of_key = move |text: &[u8]| {
        let svid = X509Svid::from_pem(chain_pem.as_bytes(), text);
        svid.map(drop).map_err(|error| error.to_string())
    };
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let lists = [&one, &below].map(|pki| pki.revocation_list_pem(&[&issued], soon).unwrap());
    let list_der = lists.clone().map(|list| {
        let body: String = list.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(body).unwrap()
    });
    let bundles = one.bundles().unwrap();
    let expected = lists.iter().fold(bundles.clone(), |bundles, list| {
        bundles.with_revoked_pem(&td, list.as_bytes()).unwrap()
    });
    let expected_lax = lists.iter().fold(bundles.clone(), |bundles, list| {
        bundles
            .with_revoked_pem_if_known(&td, list.as_bytes())
            .unwrap()
    });
    let of_lists = move |text: &[u8]| {
        let strict = bundles.clone().with_revoked_pem(&td, text);
        let lax = bundles.clone().with_revoked_pem_if_known(&td, text);
        let (strict, lax) = match (strict, lax) {
            (Ok(strict), Ok(lax)) => (strict, lax),
            (Err(strict), Err(lax)) => {
                assert_eq!(strict, lax);
                return Err(strict.to_string());
            }
            other => panic!("strict and lax differ: {other:?}"),
        };
        assert!(
            strict == expected && lax == expected_lax,
            "a revocation list is lost"
        );
        Ok(())
    };
    let [first, second] = list_der;
    vec![
        Reader {
            name: "roots",
            material: roots(),
            read: Box::new(of_roots),
        },
        Reader {
            name: "outside roots",
            material: roots(),
            read: Box::new(of_outside),
        },
        Reader {
            name: "chain",
            material: Material {
                first: certificates[0].to_vec(),
                label: "CERTIFICATE",
                second: certificates[1].to_vec(),
                second_label: "CERTIFICATE",
            },
            read: Box::new(of_chain),
        },
        Reader {
            name: "key",
            material: Material {
                first: issued.key().secret_der().to_vec(),
                label: "PRIVATE KEY",
                second: vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
                second_label: "EC PARAMETERS",
            },
            read: Box::new(of_key),
        },
        Reader {
            name: "revocation lists",
            material: Material {
                first,
                label: "X509 CRL",
                second,
                second_label: "X509 CRL",
            },
            read: Box::new(of_lists),
        },
    ]
}

type Shape = (&'static str, fn(&Material) -> Vec<u8>);

/// Whatever tools and editors write of a good text.
const GOOD: &[Shape] = &[
    ("plain", |m| m.both().into()),
    ("text and comments around", |m| {
        let (a, b) = (m.first(), m.second());
        let text = "# Our roots -- the begin and the end of trust.\n\nsubject=CN = root\n--- \n\t3b:64:ff\n  ==========\n";
        format!("{text}{a}{text}{b}{text}").into()
    }),
    ("text that is no UTF-8", |m| {
        [b"Autorit\xe9\n", m.both().as_bytes()].concat()
    }),
    ("byte order mark", |m| {
        format!("\u{feff}{}", m.both()).into()
    }),
    ("CRLF", |m| m.both().replace('\n', "\r\n").into()),
    ("CR", |m| m.both().replace('\n', "\r").into()),
    ("CRLF and LF", |m| {
        (m.first().replace('\n', "\r\n") + &m.second()).into()
    }),
    ("indented", |m| {
        m.both()
            .replace("\n", "\n    ")
            .replacen('-', "    -", 1)
            .into()
    }),
    ("blanks at the ends of lines", |m| {
        m.both().replace('\n', " \t\n").into()
    }),
    ("blank lines", |m| m.both().replace('\n', "\n\n").into()),
    ("much text", |m| {
        let text = "# -- nothing --\n".repeat(3_000);
        format!("{text}{}{text}{}", m.first(), m.second()).into()
    }),
    ("no line end at the end", |m| m.both().trim_end().into()),
    ("base64 in one line", |m| {
        let one = |text: String| {
            let [begin, middle @ .., end] = &*text.lines().collect::<Vec<_>>() else {
                unreachable!()
            };
            format!("{begin}\n{}\n{end}\n", middle.concat())
        };
        (one(m.first()) + &one(m.second())).into()
    }),
];

type Damage = (&'static str, fn(&Material) -> (Vec<u8>, usize));

/// What may lose a block: the text, and the line that the error names.
const BAD: &[Damage] = &[
    ("glued", |m| {
        let text = m.first().trim_end().to_owned() + &m.second();
        (text.into(), m.second_line() - 1)
    }),
    ("no end", |m| {
        let end = format!("-----END {}-----\n", m.label);
        (m.first().replace(&end, "").into_bytes(), 1)
    }),
    ("no end, and another block", |m| {
        let end = format!("-----END {}-----\n", m.label);
        ((m.first().replace(&end, "") + &m.second()).into(), 1)
    }),
    ("second without end", |m| {
        let cut = m.second().rsplit_once("-----END").unwrap().0.to_owned();
        ((m.first() + &cut).into(), m.second_line())
    }),
    ("cut in the last line", |m| {
        let text = m.both();
        let cut = text.trim_end().len() - 3;
        let lines = text.lines().count();
        (text[..cut].into(), lines)
    }),
    ("cut in the last block", |m| {
        let text = m.both();
        let cut = text.len() - m.second().len() / 2;
        (text[..cut].into(), m.second_line())
    }),
    ("end of another kind", |m| {
        let end = format!("-----END {}-----", m.label);
        let text = m.first().replace(&end, "-----END DH PARAMETERS-----");
        ((text + &m.second()).into(), m.second_line() - 1)
    }),
    ("unknown kind", |m| {
        let text = m.first().replace(m.label, &format!("{}S", m.label));
        ((text + &m.second()).into(), 1)
    }),
    ("unknown kind beside", |m| {
        let other = block("PKCS7", &m.first);
        ((m.both() + &other).into(), m.both().lines().count() + 1)
    }),
    ("wrong base64", |m| {
        (m.first().replacen("MI", "M*", 1).into_bytes(), 1)
    }),
    ("base64 cut by a character", |m| {
        let text = m.first();
        let (body, end) = text.split_once("\n-----END").unwrap();
        let text = format!("{}\n-----END{end}", &body[..body.len() - 1]);
        ((text + &m.second()).into(), 1)
    }),
    ("a line of base64 lost", |m| {
        let mut lines: Vec<_> = m.first().lines().map(str::to_owned).collect();
        lines.remove(2);
        let text = lines.join("\n") + "\n";
        ((text + &m.second()).into(), 1)
    }),
    ("half of it", |m| {
        let text = block(m.label, &m.first[..m.first.len() / 2]);
        ((text + &m.second()).into(), 1)
    }),
    ("two in one block", |m| {
        let text = block(m.label, &[&*m.first, &*m.first].concat());
        ((text + &m.second()).into(), 1)
    }),
    ("empty block", |m| {
        ((block(m.label, b"") + &m.second()).into(), 1)
    }),
    ("headers", |m| {
        let begin = format!("-----BEGIN {}-----\n", m.label);
        let text = m
            .first()
            .replace(&begin, &format!("{begin}Comment: mine\n\n"));
        ((text + &m.second()).into(), 1)
    }),
    ("NUL", |m| {
        let text = m.first().replacen("MI", "M\0I", 1);
        ((text + &m.second()).into(), 2)
    }),
    ("UTF-16", |m| {
        let text = m.both();
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        ([0xff, 0xfe].into_iter().chain(units).collect(), 1)
    }),
    ("UTF-16 without a mark, high bytes first", |m| {
        let text = m.both();
        let units = text.encode_utf16().flat_map(u16::to_be_bytes);
        (units.collect(), 1)
    }),
    ("a byte order mark in the middle", |m| {
        let text = format!("{}\u{feff}{}", m.first(), m.second());
        (text.into(), m.second_line())
    }),
    ("two byte order marks", |m| {
        (format!("\u{feff}\u{feff}{}", m.both()).into(), 1)
    }),
    ("glued by what breaks lines elsewhere", |m| {
        let text = format!("{}\u{2028}{}", m.first().trim_end(), m.second());
        (text.into(), m.second_line() - 1)
    }),
    ("begin in a comment", |m| {
        let comment = format!("# see -----BEGIN {}----- below\n", m.label);
        ((comment + &m.both()).into(), 1)
    }),
    ("PEM within PEM", |m| {
        let text = block(m.label, m.first().as_bytes());
        ((m.second() + &text).into(), m.second().lines().count() + 1)
    }),
    ("DER", |m| {
        let mut der = m.first.clone();
        der.insert(0, 0);
        (der, 1)
    }),
    ("four dashes", |m| {
        let text = m.second().replace("-----", "----");
        ((m.first() + &text).into(), m.second_line())
    }),
    ("small letters", |m| {
        let lower = |marker: String| (marker.clone(), marker.to_lowercase());
        let mut text = m.first();
        for (upper, lower) in ["BEGIN", "END"].map(|w| lower(format!("-----{w} {}-----", m.label)))
        {
            text = text.replace(&upper, &lower);
        }
        ((m.second() + &text).into(), m.second().lines().count() + 1)
    }),
    ("dashes of a word processor", |m| {
        let text = m.first().replace("-----", "\u{2014}\u{2013}");
        ((m.second() + &text).into(), m.second().lines().count() + 1)
    }),
    ("blanks in the dashes", |m| {
        let text = m.first().replace("-----BEGIN", "----- BEGIN");
        ((m.second() + &text).into(), m.second().lines().count() + 1)
    }),
    ("commented out", |m| {
        let text: String = m
            .first()
            .lines()
            .map(|line| format!("# {line}\n"))
            .collect();
        ((m.second() + &text).into(), m.second().lines().count() + 1)
    }),
    ("text in front of a begin", |m| {
        (format!("x{}", m.both()).into(), 1)
    }),
    ("text behind a begin", |m| {
        (m.both().replacen("-----\n", "----- x\n", 1).into_bytes(), 1)
    }),
    ("begin misspelt", |m| {
        let text = m.first().replace("BEGIN", "BEGN");
        ((m.second() + &text).into(), m.second().lines().count() + 2)
    }),
    ("begin lost", |m| {
        let text = m.first().split_once('\n').unwrap().1.to_owned();
        ((m.second() + &text).into(), m.second().lines().count() + 1)
    }),
    ("begin and end misspelt", |m| {
        let text = m.first().replace("-----", "=====");
        ((m.second() + &text).into(), m.second().lines().count() + 2)
    }),
    ("all in one line", |m| {
        (m.first().replace('\n', "").into_bytes(), 1)
    }),
    ("line ends written out", |m| {
        (m.first().replace('\n', "\\n").into_bytes(), 1)
    }),
    ("a begin without a label", |m| {
        (
            (m.both() + "-----BEGIN -----\n").into(),
            m.both().lines().count() + 1,
        )
    }),
];

#[test]
fn every_reader_takes_every_block_of_its_kind() {
    for reader in readers() {
        for (shape, text) in GOOD {
            let read = (reader.read)(&text(&reader.material));
            assert_eq!(read, Ok(()), "{}: {shape}", reader.name);
        }
    }
}

#[test]
fn every_reader_refuses_what_may_lose_a_block_and_names_the_line() {
    for reader in readers() {
        for (shape, text) in BAD {
            let (text, line) = text(&reader.material);
            let name = reader.name;
            let error = (reader.read)(&text).expect_err(&format!("{name}: {shape}"));
            let wanted = format!("line {line}: ");
            assert!(
                error.contains(&wanted),
                "{name}: {shape}: {error}, not {wanted}"
            );
            // Nothing of the text is repeated, which may be a key.
            let body = STANDARD.encode(&reader.material.first);
            assert!(!error.contains(&body[8..16]), "{name}: {shape}: {error}");
        }
    }
}

/// OpenSSL writes these labels, and Envoy reads them.
#[test]
fn certificates_are_read_under_all_their_labels() {
    let readers = readers();
    for reader in readers.iter().filter(|r| r.material.label == "CERTIFICATE") {
        for label in ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"] {
            let text = reader.material.both().replace("CERTIFICATE", label);
            assert_eq!((reader.read)(text.as_bytes()), Ok(()), "{}", reader.name);
            let text = reader.material.first() + &block(label, &reader.material.second);
            assert_eq!((reader.read)(text.as_bytes()), Ok(()), "{}", reader.name);
        }
        // What follows says for what it is to be trusted, or that it is not.
        let settings = [&*reader.material.second, &[0x30, 0x02, 0x30, 0x00]].concat();
        let text = reader.material.first() + &block("TRUSTED CERTIFICATE", &settings);
        let error = (reader.read)(text.as_bytes()).unwrap_err();
        assert!(error.contains("trust settings"), "{}: {error}", reader.name);
    }
}

/// What one file may hold beside what it is read for.
#[test]
fn a_block_of_another_kind_is_skipped_or_refused_but_never_a_revocation_list() {
    let readers = readers();
    let [roots, outside, chain, key, lists] = &*readers else {
        unreachable!()
    };
    let good = |reader: &Reader, text: String| {
        assert_eq!((reader.read)(text.as_bytes()), Ok(()), "{}", reader.name);
    };
    let bad = |reader: &Reader, text: String, wanted: &str| {
        let error = (reader.read)(text.as_bytes()).unwrap_err();
        assert!(error.contains(wanted), "{}: {error}", reader.name);
    };
    let certificate = roots.material.first();
    let list = lists.material.first();
    let a_key = key.material.first();
    for reader in [roots, outside, chain] {
        good(reader, a_key.clone() + &reader.material.both());
        good(reader, reader.material.both() + &key.material.second());
        bad(
            reader,
            reader.material.both() + &list,
            "a revocation list among certificates",
        );
        bad(reader, String::new(), "");
        bad(reader, a_key.clone(), "");
    }
    good(key, key.material.second() + &a_key);
    good(key, certificate.clone() + &a_key + &certificate);
    bad(
        key,
        a_key.clone() + &certificate + &a_key,
        "a second private key",
    );
    bad(key, certificate.clone(), "no private key found");
    let line = a_key.lines().count() + 1;
    bad(
        key,
        a_key.clone() + &list,
        &format!("line {line}: a revocation list beside a private key"),
    );
    bad(
        lists,
        list + &certificate,
        "not a revocation list (X509 CRL)",
    );
    bad(
        lists,
        lists.material.both() + &a_key,
        "not a revocation list (X509 CRL)",
    );
    bad(
        lists,
        lists.material.both().replace("X509 CRL", "CRL"),
        "line 1: ",
    );
    bad(lists, "# none\n".to_owned(), "no revocation list");
}

#[test]
fn an_encrypted_key_is_told_as_such() {
    let readers = readers();
    let key = readers.iter().find(|reader| reader.name == "key").unwrap();
    let der = &key.material.first;
    let old = block("RSA PRIVATE KEY", der).replace(
        "KEY-----\nMI",
        "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0123\n\nMI",
    );
    for text in [block("ENCRYPTED PRIVATE KEY", der), old] {
        let error = (key.read)(text.as_bytes()).unwrap_err();
        assert!(
            error.contains("line 1: the private key is encrypted"),
            "{error}"
        );
    }
}

/// Each of the files that are watched is named with its line when it is the one that is wrong.
#[tokio::test]
async fn watched_files_are_refused_by_name_and_line() {
    let pki = Pki::new("td").unwrap();
    let issued = pki.issue(&Leaf::workload(OURS)).unwrap();
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let list = pki.revocation_list_pem(&[], soon).unwrap();
    let friend = Pki::new("friend").unwrap();
    let good = [
        ("tls.crt", issued.chain_pem()),
        ("tls.key", issued.key_pem().to_string()),
        ("ca.crt", pki.root_pem()),
        ("friend.crt", friend.root_pem()),
        ("crl.pem", list),
    ];
    for (wrong, text) in &good {
        let directory = tempfile::TempDir::new().unwrap();
        let file = |name: &str| directory.path().join(name);
        for (name, text) in &good {
            std::fs::write(file(name), text).unwrap();
        }
        let files = Files::watch(directory.path())
            .trust(friend.trust_domain().clone(), file("friend.crt"))
            .revoked(pki.trust_domain().clone(), file("crl.pem"));
        assert!(files.load().await.is_ok());
        let glued = text.trim_end().to_owned() + text;
        std::fs::write(file(wrong), glued).unwrap();
        let error = files.load().await.unwrap_err().to_string();
        let line = text.lines().count();
        let wanted = format!("line {line}: ");
        assert!(error.contains(&wanted) && error.contains(wrong), "{error}");
        assert_eq!(
            error.matches(".crt:").count()
                + error.matches(".key:").count()
                + error.matches(".pem:").count(),
            1,
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_mesh_with_roots_that_lose_one_is_not_built_and_says_which() {
    let pki = Pki::new("td").unwrap();
    let glued = pki.root_pem().trim_end().to_owned() + &pki.root_pem();
    let builder = || {
        Mesh::builder(
            Workload::new("default", "ours"),
            pki.identity("default", "ours").unwrap(),
        )
    };
    for (builder, wanted) in [
        (
            builder().tokens(|tokens| tokens.jwks_roots(glued.clone())),
            "jwks_roots",
        ),
        (
            builder().outside("api.example", ExternalHost::tls_with_roots(glued.clone())),
            "api.example",
        ),
    ] {
        let error = builder.build().await.map(drop).unwrap_err().to_string();
        let line = format!("line {}: ", pki.root_pem().lines().count());
        assert!(error.contains(wanted) && error.contains(&line), "{error}");
    }
}

/// A list that is read but never asked would be as good as lost.
#[tokio::test]
async fn every_list_of_one_issuer_counts_in_any_order() {
    let pki = Pki::new("td").unwrap();
    let issue = || pki.issue(&Leaf::workload("spiffe://td/ns/default/sa/peer"));
    let [one, two, good] = [issue(), issue(), issue()].map(Result::unwrap);
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let lists = [&one, &two].map(|bad| pki.revocation_list_pem(&[bad], soon).unwrap());
    let [first, second] = &lists;
    for text in [first.clone() + second, second.clone() + first] {
        let ours = pki.identity("default", "ours").unwrap();
        let strict = ours.bundles().clone();
        let strict = strict.with_revoked_pem(pki.trust_domain(), text.as_bytes());
        let lax = ours.bundles().clone();
        let lax = lax.with_revoked_pem_if_known(pki.trust_domain(), text.as_bytes());
        for bundles in [strict.unwrap(), lax.unwrap()] {
            let identity = Identity::new(ours.svid().clone(), bundles);
            let ours = Credentials::new(&identity, Settings::default()).unwrap();
            for (shown, wanted) in [
                (&one, Err(Reason::Revoked)),
                (&two, Err(Reason::Revoked)),
                (&good, Ok(())),
            ] {
                let acceptor = Acceptor::new(ours.clone());
                let accepted = accept(&acceptor, client_config(Some(chain(shown)))).await;
                assert_eq!(accepted.map(drop).map_err(|error| error.reason()), wanted);
                let connector = Connector::new(ours.clone());
                let expected = [id("spiffe://td/ns/default/sa/peer")];
                let connected = connect(&connector, server_config(chain(shown)), &expected).await;
                assert_eq!(connected.map(drop).map_err(|error| error.reason()), wanted);
            }
        }
    }
}
