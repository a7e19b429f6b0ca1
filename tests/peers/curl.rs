//! curl calls us.

use tower_mesh::MeshBuilder;
use tower_mesh::tls::Mode;

use crate::site::{Site, THEIRS};
use crate::tool::{self, Said};

struct Curl {
    program: std::path::PathBuf,
    site: Site,
}

impl Curl {
    async fn start() -> Option<Self> {
        Self::with(|builder| builder).await
    }

    async fn with(options: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Option<Self> {
        let program = tool::find("curl")?;
        let site = Site::with(options).await;
        Some(Self { program, site })
    }

    /// Calls without TLS.
    async fn call_plainly(&self, options: &[&str]) -> Said {
        let url = format!("http://{}/", self.site.address);
        let mut arguments = vec!["--silent", "--show-error", "--max-time", "30"];
        arguments.extend_from_slice(options);
        arguments.push(&url);
        tool::run(&self.program, &arguments, "").await
    }

    /// Calls with the certificate and the roots of these names.
    async fn call(&self, certificate: Option<&str>, roots: &str, options: &[&str]) -> Said {
        let url = format!("https://{}/", self.site.address);
        let roots = self.site.file(&format!("{roots}.ca"));
        let files = certificate.map(|name| {
            let file = |end: &str| self.site.file(&format!("{name}.{end}"));
            (file("crt"), file("key"))
        });
        let mut arguments = vec!["--silent", "--show-error", "--max-time", "30"];
        arguments.extend_from_slice(options);
        arguments.extend_from_slice(&["--cacert", &roots]);
        if let Some((certificate, key)) = &files {
            arguments.extend_from_slice(&["--cert", certificate, "--key", key]);
        }
        arguments.push(&url);
        tool::run(&self.program, &arguments, "").await
    }
}

/// M-30, M-33: both HTTP versions over both TLS versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_with_a_certificate_is_answered_in_every_version() {
    let Some(curl) = Curl::start().await else {
        return;
    };
    for (http, alpn) in [("HTTP/1.1", "http/1.1"), ("HTTP/2.0", "h2")] {
        for (option, tls) in [("--tlsv1.3", "TLSv1.3"), ("--tls-max=1.2", "TLSv1.2")] {
            let chosen = match http {
                "HTTP/2.0" => "--http2",
                _ => "--http1.1",
            };
            let tls_options: Vec<_> = option.split('=').collect();
            let options = [&[chosen], &tls_options[..]].concat();
            let said = curl.call(Some("theirs"), "theirs", &options).await;
            let expected = format!("[{http} {tls} {THEIRS} alpn={alpn} sni=-]");
            assert_eq!(
                (said.code, said.text.trim()),
                (Some(0), expected.as_str()),
                "{options:?}"
            );
        }
    }
}

/// M-20: no answer without a certificate, nor with one of a foreign authority, nor in plaintext; and curl itself refuses us when it does
/// not trust our root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_without_a_good_certificate_is_not_answered() {
    let Some(curl) = Curl::start().await else {
        return;
    };
    for versions in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        for (certificate, roots) in [
            (None, "theirs"),
            (Some("foreign"), "theirs"),
            (Some("theirs"), "foreign"),
        ] {
            let said = curl.call(certificate, roots, versions).await;
            let case = format!("{certificate:?} {roots} {versions:?}: {said:?}");
            // Failed handshake, or a connection that ends: never an answer.
            assert!(
                matches!(said.code, Some(35 | 55 | 56 | 58 | 60 | 98)),
                "{case}"
            );
            assert!(!said.has("spiffe://"), "{case}");
            assert_eq!(said.code == Some(60), roots == "foreign", "{case}");
        }
    }
    let said = curl.call_plainly(&[]).await;
    assert!(matches!(said.code, Some(52 | 56)), "{said:?}");
}

/// M-21, M-22, M-23: a PERMISSIVE port answers plaintext, as from nobody, and asks for a certificate where TLS is spoken; a DISABLE port
/// answers plaintext alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_in_plaintext_is_answered_where_the_mode_allows_it() {
    for mode in [Mode::Permissive, Mode::Disable] {
        let Some(curl) = Curl::with(|builder| builder.danger().mode(mode)).await else {
            return;
        };
        for (option, version) in [
            ("--http1.1", "HTTP/1.1"),
            ("--http2-prior-knowledge", "HTTP/2.0"),
        ] {
            let said = curl.call_plainly(&[option]).await;
            let expected = format!("[{version} plaintext]");
            assert_eq!(said.text, expected, "{mode:?}: {said:?}");
        }
        let known = curl.call(Some("theirs"), "theirs", &[]).await;
        let answered = mode == Mode::Permissive;
        assert_eq!(known.has(THEIRS), answered, "{mode:?}: {known:?}");
        for certificate in [None, Some("foreign")] {
            let said = curl.call(certificate, "theirs", &[]).await;
            assert!(!said.has("HTTP/"), "{mode:?} {certificate:?}: {said:?}");
            assert_ne!(said.code, Some(0), "{mode:?} {certificate:?}: {said:?}");
        }
    }
}
