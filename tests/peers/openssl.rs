//! `openssl s_client` calls us.

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tower_mesh::mesh::TcpConnection;
use tower_mesh::{Mesh, Workload};

use crate::site::{Site, THEIRS};
use crate::tool::{self, Said};

struct OpenSsl {
    program: PathBuf,
    site: Site,
}

const BOTH: [(&str, &str); 2] = [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];

impl OpenSsl {
    async fn start() -> Option<Self> {
        let program = tool::find("openssl")?;
        let site = Site::start().await;
        Some(Self { program, site })
    }

    /// Connects and asks one question, or only connects.
    async fn connect(&self, certificate: Option<&str>, options: &[&str], asks: bool) -> Said {
        let address = self.site.address.to_string();
        let roots = self.site.file("theirs.ca");
        let files = certificate.map(|name| {
            let file = |end: &str| self.site.file(&format!("{name}.{end}"));
            (file("crt"), file("key"))
        });
        let mut arguments = vec!["s_client", "-connect", &address, "-CAfile", &roots];
        arguments.push("-verify_return_error");
        if let Some((certificate, key)) = &files {
            arguments.extend_from_slice(&["-cert", certificate, "-key", key]);
        }
        arguments.extend_from_slice(options);
        if asks {
            // Reads to the end of the answer, not only to that of the question.
            arguments.push("-ign_eof");
        }
        let question = "GET / HTTP/1.1\r\nhost: ours\r\nconnection: close\r\n\r\n";
        let input = if asks { question } else { "" };
        tool::run(&self.program, &arguments, input).await
    }
}

fn is_answered(said: &Said) -> bool {
    said.has("HTTP/1.1 200 OK") && said.has(THEIRS)
}

/// M-30, M-33; M-31: this client knows classic groups only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_with_a_certificate_is_answered_over_both_versions() {
    let Some(openssl) = OpenSsl::start().await else {
        return;
    };
    for (option, version) in BOTH {
        // TLS 1.2 reads the list for certificates, too, and ours are of P-256.
        for group in ["X25519:P-256", "P-256"] {
            let options = [option, "-noservername", "-groups", group];
            let said = openssl.connect(Some("theirs"), &options, true).await;
            let facts = format!("[HTTP/1.1 {version} {THEIRS} alpn=- sni=-]");
            assert!(is_answered(&said) && said.has(&facts), "{said:?}");
            assert!(said.has("Verify return code: 0 (ok)"), "{said:?}");
        }
    }
}

/// A port that speaks no HTTP: with the names that Istio's sidecars offer for TCP, with another one, and with none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_speaks_another_protocol_than_http() {
    async fn tell(mut connection: TcpConnection) -> io::Result<()> {
        let caller = connection.peer().principal().map(str::to_owned);
        let mut lines = BufReader::new(&mut connection).lines();
        let line = lines.next_line().await?.unwrap_or_default();
        let answer = format!("[{} wrote {line}]", caller.unwrap_or_default());
        connection.write_all(answer.as_bytes()).await
    }
    let Some(mut openssl) = OpenSsl::start().await else {
        return;
    };
    let identity = openssl.site.pki.identity("default", "ours").unwrap();
    let mesh = Mesh::builder(Workload::new("default", "ours"), identity);
    let (mesh, driver) = mesh.build().await.unwrap();
    tokio::spawn(driver.run());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    openssl.site.address = socket.local_addr().unwrap();
    tokio::spawn(mesh.serve_tcp_on(socket, tell));
    let told = "[cluster.local/ns/default/sa/theirs wrote GET / HTTP/1.1]";
    for (offered, agreed) in [
        (Some("istio-peer-exchange,istio"), "ALPN protocol: istio\n"),
        (Some("postgresql"), "No ALPN negotiated"),
        (None, "No ALPN negotiated"),
    ] {
        let options: Vec<_> = offered.iter().flat_map(|names| ["-alpn", names]).collect();
        let said = openssl.connect(Some("theirs"), &options, true).await;
        assert!(said.has(told) && said.has(agreed), "{offered:?}: {said:?}");
    }
    for certificate in [None, Some("foreign")] {
        let said = openssl.connect(certificate, &[], true).await;
        assert!(!said.has("wrote") && said.has("alert"), "{said:?}");
    }
}

/// M-20: no certificate, or one of an authority that we do not trust.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_without_a_good_certificate_is_refused() {
    let Some(openssl) = OpenSsl::start().await else {
        return;
    };
    for (option, version) in BOTH {
        for certificate in [None, Some("foreign")] {
            // Istio's names must not weaken what is asked for.
            for alpn in ["http/1.1", "istio-http/1.1,istio,http/1.1"] {
                let options = [option, "-alpn", alpn];
                let said = openssl.connect(certificate, &options, true).await;
                assert!(!said.has("HTTP/1.1"), "{version}: {said:?}");
                assert!(said.has("alert"), "{version}: {said:?}");
            }
        }
    }
}

/// M-30, M-33: nothing older than TLS 1.2, and of that only forward secrecy with AES-GCM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_finds_no_weak_version_suite_or_group() {
    let Some(openssl) = OpenSsl::start().await else {
        return;
    };
    let weak: [&[&str]; 11] = [
        &["-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"],
        &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
        &["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "kDHE:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
        &["-tls1_2", "-groups", "P-521"],
        &["-tls1_3", "-groups", "P-384"],
    ];
    for options in weak {
        let said = openssl.connect(Some("theirs"), options, true).await;
        assert!(!said.has("HTTP/1.1"), "{options:?}: {said:?}");
        assert_ne!(said.code, Some(0), "{options:?}: {said:?}");
    }
    for suite in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ] {
        let options = ["-tls1_2", "-cipher", suite];
        let said = openssl.connect(Some("theirs"), &options, true).await;
        assert!(is_answered(&said), "{suite}: {said:?}");
    }
}

/// M-26: `h2` or `http/1.1` is agreed on, never a name of Istio's; Istio's TCP list gets none, and HTTP all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_agrees_on_http_for_every_list_of_istio() {
    let Some(openssl) = OpenSsl::start().await else {
        return;
    };
    let lists = [
        ("istio-http/1.0,istio,http/1.0", None),
        ("istio-http/1.1,istio,http/1.1", Some("http/1.1")),
        ("istio-h2,istio,h2", Some("h2")),
        ("istio-peer-exchange,istio", None),
        ("istio", None),
        ("h2,http/1.1", Some("h2")),
        ("http/1.1", Some("http/1.1")),
    ];
    for (option, version) in BOTH {
        for (list, agreed) in lists {
            let asks = agreed != Some("h2");
            let options = [option, "-alpn", list];
            let said = openssl.connect(Some("theirs"), &options, asks).await;
            let expected = match agreed {
                Some(name) => format!("ALPN protocol: {name}\n"),
                None => "No ALPN negotiated\n".to_owned(),
            };
            assert!(said.has(&expected), "{version} {list}: {said:?}");
            assert!(!asks || is_answered(&said), "{version} {list}: {said:?}");
        }
        let options = [option, "-alpn", "smtp"];
        let said = openssl.connect(Some("theirs"), &options, true).await;
        assert!(said.has("alert no application protocol"), "{said:?}");
    }
}

/// M-40: neither tickets nor session ids; every one of six connections is a whole handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_cannot_resume_a_session() {
    let Some(openssl) = OpenSsl::start().await else {
        return;
    };
    for (option, version) in BOTH {
        let said = openssl
            .connect(Some("theirs"), &[option, "-reconnect"], false)
            .await;
        let new = said.text.matches("New, TLSv1").count();
        assert_eq!(new, 6, "{version}: {said:?}");
        assert!(!said.has("Reused, "), "{version}: {said:?}");
        assert!(!said.has("TLS session ticket:"), "{version}: {said:?}");
        assert!(!said.has("Session Ticket arrived"), "{version}: {said:?}");

        // A session that was kept is of no use in another process either.
        let kept = openssl.site.file("session");
        let keep = [option, "-sess_out", &kept];
        openssl.connect(Some("theirs"), &keep, true).await;
        if std::path::Path::new(&kept).exists() {
            let with = [option, "-sess_in", &kept];
            let said = openssl.connect(Some("theirs"), &with, true).await;
            assert!(!said.has("Reused, "), "{version}: {said:?}");
            let without = openssl.connect(None, &with, true).await;
            assert!(!without.has("HTTP/1.1"), "{version}: {without:?}");
        }
    }
}

/// M-28: a server name is a fact, or nothing; it is no identity, and the one who is asked stays the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_may_ask_for_any_server_name() {
    let Some(openssl) = OpenSsl::start().await else {
        return;
    };
    let longest = format!("{}.example", vec!["a".repeat(60); 4].join("."));
    let names = [
        "outbound_.8080_._.ours.default.svc.cluster.local",
        "PATIENTS.Default",
        "theirs_",
        &longest,
    ];
    for (option, version) in BOTH {
        for name in names {
            let options = [option, "-servername", name];
            let said = openssl.connect(Some("theirs"), &options, true).await;
            let fact = format!("sni={}]", name.to_ascii_lowercase());
            assert!(
                is_answered(&said) && said.has(&fact),
                "{version} {name}: {said:?}"
            );
        }
        // What is no name is refused, and the next client is served.
        let overlong = "a".repeat(300);
        for name in [
            "outbound|80||ours",
            "a..b",
            ".",
            "*.ours",
            "\u{e9}",
            &overlong,
        ] {
            let options = [option, "-servername", name];
            let said = openssl.connect(Some("theirs"), &options, true).await;
            assert!(!said.has("HTTP/1.1"), "{version} {name}: {said:?}");
        }
        let said = openssl.connect(Some("theirs"), &[option], true).await;
        assert!(is_answered(&said), "{version}: {said:?}");
    }
}
