//! Every error says a thing once: `Display` is one level, and `source()` the next.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use serde_json::Map;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::service_fn;
use tower_mesh::access_log::AccessLog;
use tower_mesh::audit::{
    self, Audit, Checkpoint, Entry, InclusionProof, PatientKey, Prove, Prune, PublicKeys,
    SignError, SigningKey, SinkError, StartError, Trail, Verify,
};
use tower_mesh::cel::Expression;
use tower_mesh::context::Claims;
use tower_mesh::external::AuthorizerError;
use tower_mesh::gate::forwarded_client_cert;
use tower_mesh::identity::{SpiffeId, TrustDomain};
use tower_mesh::istio::{self, JwtRule};
use tower_mesh::jwt::{
    Authenticator, BundleError, ExcludedPath, FetchError, Fetcher, KeySet, Keyring, Refusal,
    SvidKeys,
};
use tower_mesh::matcher::path::{Normalization, normalize};
use tower_mesh::matcher::{Cidr, PathTemplate, SafeRegex};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::metrics;
use tower_mesh::policy::Authentication;
use tower_mesh::policy::envoy::jwt_authn;
use tower_mesh::policy::limit::Limit;
use tower_mesh::propagation::{CustomTag, Zipkin};
use tower_mesh::rate_limit::RateLimitLayer;
use tower_mesh::source::{self, Configuration, Fixed};
use tower_mesh::testing::{Issuer, Leaf, Pki};
use tower_mesh::tls::{
    Connector, Credentials, Destination, Files, Identity, NextIdentity, Protocol, Settings, Source,
    SourceError, X509Svid, proxy_protocol,
};
use tower_mesh::vet::Code;
use tower_mesh::{Guards, Mesh, Workload};

use crate::support::mesh::{app, build, policy};

type Made = Box<dyn Error>;

/// The texts of an error, from the outside in.
fn levels(error: &dyn Error) -> Vec<String> {
    let mut levels = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        levels.push(error.to_string());
        cause = error.source();
    }
    levels
}

fn rule() -> JwtRule {
    let issuer = Issuer::es256("i");
    let mut rule = JwtRule::default();
    rule.issuer = Some(issuer.name().into());
    rule.jwks_uri = Some("https://user:pass@issuer.example/keys?token=hunter2".into());
    rule
}

fn authentication() -> Authentication {
    let mut authentication = Authentication::default();
    authentication.rules = vec![rule()];
    authentication
}

/// What a fetch says of an answer, or of a client that fails.
async fn fetch(answer: Result<&'static str, Made>) -> FetchError {
    let mut keyring = Keyring::new();
    let _kept = Authenticator::compile(&authentication(), &mut keyring).unwrap();
    let jwks = keyring.take_unfetched().remove(0);
    let answer = answer.map_err(|error| Told(error.to_string(), None));
    let client = service_fn(move |request: Request<Empty<Bytes>>| {
        let uri = request.uri().to_string();
        let answer = match &answer {
            Ok(text) => Ok(Response::new(Full::new(Bytes::from_static(
                text.as_bytes(),
            )))),
            Err(cause) => Err(Told(
                format!("cannot send to {uri}"),
                Some(Box::new(cause.clone())),
            )),
        };
        std::future::ready(answer)
    });
    let mut fetcher = Fetcher::new(&jwks, client).unwrap();
    fetcher.fetch(&jwks).await.unwrap_err()
}

fn policy_request() -> tower_mesh::policy::Request {
    tower_mesh::policy::Request::new().get("/")
}

fn bundle_error() -> BundleError {
    let domain = TrustDomain::new("cluster.local").unwrap();
    let bundles = BTreeMap::from([(domain, "no bundle".to_owned())]);
    SvidKeys::new().replace(&bundles).remove(0)
}

/// A source of identities that has none.
#[derive(Debug)]
struct Unheard;

impl Source for Unheard {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(async { Err(SourceError::new("no agent")) })
    }
}

/// A client's error with a cause.
#[derive(Clone, Debug)]
struct Told(String, Option<Box<Self>>);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

/// A value of each public error type, or several where its levels differ; by the name of the type.
async fn made() -> Vec<(&'static str, Made)> {
    let pki = Pki::new("cluster.local").unwrap();
    let broken = || Fixed::yaml("p.yaml", "kind: x");
    let empty = TempDir::new().unwrap();
    let workload = || Workload::new("default", "app");
    let expired = Leaf::workload("spiffe://cluster.local/ns/default/sa/app").expired();
    let expired = pki.issue(&expired).unwrap().svid().unwrap();
    let expired = Identity::new(expired, pki.bundles().unwrap());
    let mut built: Vec<Made> = Vec::new();
    for builder in [
        app(&pki).config(broken()),
        app(&pki).listener(|listener| listener.quiet_grpc(["*"])),
        app(&pki).listener(|listener| listener.quiet_grpc(["*", "?"])),
        Mesh::builder(workload(), expired),
        Mesh::builder(workload(), Unheard),
        Mesh::builder(workload(), Files::watch(empty.path())).config(broken()),
        app(&pki)
            .config(broken())
            .listener(|listener| listener.quiet_grpc(["*"])),
    ] {
        built.push(Box::new(builder.build().await.map(drop).unwrap_err()));
    }
    let nameless = pki.issue(&Leaf::without_uri()).unwrap();
    let mut all: Vec<(&'static str, Made)> = vec![
        (
            "AuthorizerError",
            Box::new(AuthorizerError::new("it is down")),
        ),
        (
            "CelError",
            Box::new(Expression::compile("reqest.path == '/'").unwrap_err()),
        ),
        (
            "EvaluationError",
            Box::new(
                Expression::compile("auth.claims.sub == 'ada'")
                    .unwrap()
                    .evaluate(&policy_request())
                    .unwrap_err(),
            ),
        ),
        ("BundleError", Box::new(bundle_error())),
        ("CidrError", Box::new(Cidr::parse("x").unwrap_err())),
        (
            "ClaimsMismatch",
            Box::new(Claims::new(Map::new()).read::<u8>().unwrap_err()),
        ),
        (
            "ExcludedPathError",
            Box::new("/*".parse::<ExcludedPath>().unwrap_err()),
        ),
        (
            "ForwardedClientCertError",
            Box::new(forwarded_client_cert::read([b"URI".as_slice()]).unwrap_err()),
        ),
        (
            "ProxyHeaderError",
            Box::new(proxy_protocol::read(b"GET").unwrap_err()),
        ),
        ("FetchError", Box::new(fetch(Ok("no keys")).await)),
        ("FetchError", Box::new(fetch(Err("refused".into())).await)),
        (
            "IdentityError",
            Box::new(X509Svid::new(nameless.chain().to_vec(), nameless.key()).unwrap_err()),
        ),
        (
            "JwtAuthnError",
            Box::new(jwt_authn(&authentication(), &BTreeMap::new()).unwrap_err()),
        ),
        ("KeySetError", Box::new(KeySet::parse("{}").unwrap_err())),
        (
            "PathRefusal",
            Box::new(normalize("x", Normalization::default()).unwrap_err()),
        ),
        (
            "FormatError",
            Box::new(AccessLog::format("%NO%").unwrap_err()),
        ),
        (
            "TemplateError",
            Box::new(AccessLog::text().redact_path("/").unwrap_err()),
        ),
        (
            "CustomTagError",
            Box::new(CustomTag::literal("", "west").unwrap_err()),
        ),
        ("EndpointError", Box::new(Zipkin::to("zipkin").unwrap_err())),
        (
            "PathTemplateError",
            Box::new(PathTemplate::new("/{").unwrap_err()),
        ),
        (
            "PkiError",
            Box::new(Pki::new("no domain").map(drop).unwrap_err()),
        ),
        (
            "Problems",
            Box::new(istio::parse("p.yaml", "kind: x", "default").unwrap_err()),
        ),
        (
            "RateLimitError",
            Box::new(
                RateLimitLayer::builder()
                    .limit(Limit::new("reads"))
                    .build()
                    .unwrap_err(),
            ),
        ),
        (
            "OptionsError",
            Box::new(
                metrics::Registry::builder()
                    .buckets("istio", [])
                    .build()
                    .unwrap_err(),
            ),
        ),
        ("Refusal", Box::new(Refusal::Expired)),
        ("RegexError", Box::new(SafeRegex::new("(").unwrap_err())),
        (
            "SpiffeIdError",
            Box::new(SpiffeId::new("http://x").unwrap_err()),
        ),
        (
            "TrustDomainError",
            Box::new(TrustDomain::new("no domain").unwrap_err()),
        ),
        (
            "WorkloadError",
            Box::new(
                Workload::new("default", "patients")
                    .label_file("/no/such/file")
                    .unwrap_err(),
            ),
        ),
        ("SourceError", Box::new(SourceError::new("no agent"))),
        (
            "UnknownCode",
            Box::new("no-code".parse::<Code>().unwrap_err()),
        ),
    ];
    all.extend(built.into_iter().map(|error| ("BuildError", error)));
    let absent = Files::watch(empty.path()).load().await.unwrap_err();
    all.push(("SourceError", Box::new(absent)));
    all.extend(called(&pki).await);
    all
}

/// Of calls: to nobody, to someone else, to nowhere, and what cannot be read of an answer.
async fn called(pki: &Pki) -> Vec<(&'static str, Made)> {
    let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = bind().await.local_addr().unwrap();
    let socket = bind().await;
    let address = socket.local_addr().unwrap();
    // Each connection gets the beginning of a body of ten bytes.
    let cutting = tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{";
            let _ = stream.write_all(answer).await;
        }
    });
    let app_id = ["spiffe://cluster.local/ns/default/sa/app"];
    let desk = app(pki)
        .upstream("gone.default", [gone], app_id)
        .upstream("plain.default", [address], app_id)
        .upstream("nowhere.default", ["nowhere.invalid:1"], app_id)
        .outside("cut.example", ExternalHost::plaintext().at([address]));
    let desk = build(desk).await;
    let mut all: Vec<(&'static str, Made)> = Vec::new();
    for uri in [
        "http://gone.default/",
        "http://plain.default/",
        "http://nowhere.default/",
        "http://unknown.default/",
        "/",
    ] {
        let error = desk.client().get(uri).await.unwrap_err();
        if let Some(connecting) = error.connect_error() {
            all.push(("ConnectError", Box::new(connecting.clone())));
        }
        all.push(("ClientError", Box::new(error)));
    }
    for limit in [100, 5] {
        let answer = desk.client().get("http://cut.example/").await.unwrap();
        let error = answer.into_body().limit(limit).text().await.unwrap_err();
        all.push(("BodyError", Box::new(error)));
    }
    cutting.abort();
    let identity = pki.identity("default", "app").unwrap();
    let connector = Connector::new(Credentials::new(&identity, Settings::default()).unwrap());
    let id = identity.svid().spiffe_id().clone();
    let destination = Destination::new([id], "app.default", Protocol::Http1).unwrap();
    let error = connector.connect(gone, &destination).await.unwrap_err();
    all.push(("HandshakeError", Box::new(error)));
    let first = Fixed::yaml("x.yaml", policy("x", "ALLOW", "[{}]"));
    let (sender, channel) = source::channel(first.load("default").unwrap());
    let guards = Guards::builder(Workload::new("default", "app")).config(channel);
    let (_guards, driver) = guards.build().await.unwrap();
    tokio::spawn(driver.run());
    let refused = sender.send(Configuration::default()).await.unwrap_err();
    all.push(("SendError", Box::new(refused)));
    all.extend(of_the_audit_trail().await);
    all
}

async fn of_the_audit_trail() -> Vec<(&'static str, Made)> {
    let nowhere = "/dev/null/nowhere";
    let trail = Audit::builder().trail(Trail::folder(nowhere));
    let Err(StartError::Open(closed)) = trail.start() else {
        panic!("a trail below a file");
    };
    let key = SigningKey::random("a").unwrap();
    let keys = PublicKeys::from_iter([key.public()]);
    let pruned = Prune::before(nowhere, SystemTime::now(), keys, key).run();
    vec![
        ("OpenError", Box::new(closed)),
        (
            "StartError",
            Box::new(Audit::builder().start().unwrap_err()),
        ),
        (
            "CheckpointError",
            Box::new(Checkpoint::parse("x").unwrap_err()),
        ),
        (
            "InclusionError",
            Box::new("x".parse::<InclusionProof>().unwrap_err()),
        ),
        (
            "ProveError",
            Box::new(Prove::new(nowhere).record("s", 1).unwrap_err()),
        ),
        (
            "KeyFileError",
            Box::new(SigningKey::from_file("a", nowhere).unwrap_err()),
        ),
        ("Malformed", Box::new(Entry::parse(b"{}").unwrap_err())),
        (
            "PatientKeyError",
            Box::new(PatientKey::new("a", b"short").unwrap_err()),
        ),
        (
            "PublicKeyError",
            Box::new(PublicKeys::parse("x").unwrap_err()),
        ),
        ("PruneError", Box::new(pruned.unwrap_err())),
        ("SignError", Box::new(SignError::new("no key"))),
        ("SinkError", Box::new(SinkError::new("no room"))),
        (
            "VerifyError",
            Box::new(Verify::new(nowhere).run().unwrap_err()),
        ),
        (
            "EventError",
            Box::new(
                audit::event("chart.read")
                    .write_durable()
                    .await
                    .unwrap_err(),
            ),
        ),
    ]
}

#[tokio::test]
async fn no_level_repeats_the_one_below() {
    for (name, error) in made().await {
        let levels = levels(&*error);
        for (above, below) in levels.iter().zip(levels.iter().skip(1)) {
            assert!(!below.is_empty(), "{name}: {levels:?}");
            assert!(!above.contains(below.as_str()), "{name}: {levels:?}");
        }
    }
}

/// What a program prints that returns its error from `main`, and what the log shows of a fetch.
#[tokio::test]
async fn no_cause_is_lost() {
    let mut with_causes = BTreeSet::new();
    for (name, error) in made().await {
        let levels = levels(&*error);
        if levels.len() > 1 {
            with_causes.insert(name);
        }
        if name == "BuildError" {
            let shown = format!("{error:?}");
            for line in levels.iter().flat_map(|level| level.lines()) {
                assert!(shown.contains(line), "{line}: {shown}");
            }
        }
    }
    for name in [
        "BodyError",
        "BuildError",
        "ClientError",
        "ConnectError",
        "FetchError",
        "HandshakeError",
        "PkiError",
        "SendError",
        "SourceError",
    ] {
        assert!(with_causes.contains(name), "{name}");
    }
    let levels = levels(&fetch(Err("connection refused".into())).await);
    assert_eq!(
        levels,
        [
            "https://issuer.example/keys: the request failed",
            "cannot send to https://issuer.example/keys",
            "connection refused",
        ]
    );
}

/// A new error type is put on the list.
#[tokio::test]
async fn every_error_type_is_on_the_list() {
    /// Those that are no public type, or that nothing but a world at fault makes; the latter have no source, or are judged where they are made.
    const OTHERS: &[&str] = &[
        // Private levels below a public error.
        "UnknownProvider",
        "Failure",
        "Fault",
        "Faults",
        "FetchFailure",
        "Level",
        "RedactedError",
        // After 30 seconds of a scrape.
        "ScrapeError",
        // A trail's that fails while it is written.
        "AuditUnavailable",
        // Of the routing engine, which no mesh asks yet; none has a source.
        "DistributeError",
        "RetryOnError",
        "RewriteError",
        "TlsRefusal",
        "UnknownIdentities",
        // An extractor's, outside a mesh.
        "MissingFact",
    ];
    let made = made().await;
    let known: BTreeSet<_> = made.iter().map(|(name, _)| *name).collect();
    let mut found = BTreeSet::new();
    find(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path(),
        &mut found,
    );
    assert!(found.len() > 10, "{found:?}");
    for name in &found {
        let is_listed = known.contains(name.as_str()) || OTHERS.contains(&name.as_str());
        assert!(is_listed, "{name} is not on the list of errors");
    }
}

fn find(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("impl"));
        let types = lines.filter_map(|line| {
            let (implemented, of) = line.split_once(" for ")?;
            let is_error = implemented.ends_with(" Error") || implemented.ends_with("::Error");
            is_error.then(|| of.chars().take_while(|c| c.is_alphanumeric()).collect())
        });
        found.extend(types);
        // Those that the macro declares.
        let text: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        let declared = text.split("errors! {").skip(1);
        let declared = declared.filter_map(|block| block.split_once("enum "));
        let names = declared.map(|(_, rest)| rest.chars().take_while(|c| c.is_alphanumeric()));
        found.extend(names.map(Iterator::collect));
    }
}
