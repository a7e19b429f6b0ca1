//! Where keys are fetched may hold a password or an access key: it is shown without them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::service_fn;
use tower_mesh::Workload;
use tower_mesh::istio::{self, JwtRule};
use tower_mesh::jwt::{Authenticator, Fetcher, Keyring};
use tower_mesh::policy::{Engine, envoy};
use tower_mesh::testing::Issuer;
use tracing::Level;

use crate::jwt::support::authentication;
use crate::support::log::Log;

const URI: &str = "https://user:hunter2@issuer.example:8443/keys/a@b?sig=hunter2&x=/@#hunter2";
const SHOWN: &str = "https://issuer.example:8443/keys/a@b";
const ISSUER: &str = "https://user:hunter2@issuer.example";

fn rules() -> Vec<JwtRule> {
    let mut by_uri = JwtRule::default();
    by_uri.issuer = Some("i".into());
    by_uri.jwks_uri = Some(URI.into());
    let mut discovered = JwtRule::default();
    discovered.issuer = Some(ISSUER.into());
    vec![by_uri, discovered]
}

#[tokio::test(start_paused = true)]
async fn logs_errors_and_debug_show_no_secret_of_a_key_uri() {
    let (log, _guard) = Log::listen(Level::TRACE);
    let mut keyring = Keyring::new();
    let authenticator = Authenticator::compile(&authentication(rules()), &mut keyring).unwrap();
    let mut shown = vec![format!("{keyring:?}")];
    let sets = keyring.take_unfetched();
    for jwks in &sets {
        shown.push(format!("{jwks:?} {:?}", jwks.source()));
        // Clients like to say which URI they could not reach, and whole.
        let failing = service_fn(|request: Request<Empty<Bytes>>| async move {
            let uri = request.uri().to_string();
            let inner = io::Error::other(format!("no route to {uri}"));
            Err::<Response<Full<Bytes>>, _>(io::Error::other(inner))
        });
        let mut fetcher = Fetcher::new(jwks, failing).unwrap();
        let error = fetcher.fetch(jwks).await.unwrap_err();
        let cause = error.source().unwrap();
        assert!(cause.to_string().contains("no route to"), "{cause}");
        shown.push(format!("{error} {cause} {error:?} {fetcher:?}"));
        tokio::spawn(fetcher.run());
    }
    let mut private = Issuer::es256("i").jwk();
    private["d"] = "AQAB".into();
    let published = serde_json::json!({"keys": [private, Issuer::es256("i").jwk()]}).to_string();
    let answers = service_fn(move |_: Request<Empty<Bytes>>| {
        let text = published.clone();
        async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text))) }
    });
    let mut fetcher = Fetcher::new(&sets[0], answers).unwrap();
    fetcher.fetch(&sets[0]).await.unwrap();
    // A document that points elsewhere, with a secret in it.
    let pointing = service_fn(|request: Request<Empty<Bytes>>| async move {
        if request.uri().path().starts_with("/.well-known") {
            let document = format!(r#"{{"jwks_uri": "{URI}"}}"#);
            return Ok(Response::new(Full::<Bytes>::from(document)));
        }
        Err(io::Error::other(request.uri().to_string()))
    });
    let mut fetcher = Fetcher::new(&sets[1], pointing).unwrap();
    let error = fetcher.fetch(&sets[1]).await.unwrap_err();
    shown.push(format!("{error} {error:?}"));
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    // An issuer's name is in every token, and no secret.
    let by_uri = vec![rules().remove(0)];
    let by_uri = Authenticator::compile(&authentication(by_uri), &mut keyring).unwrap();
    shown.push(format!("{by_uri:?} {:?}", rules()[0]));
    drop(authenticator);
    shown.push(log.text());
    for text in &shown {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(shown.iter().any(|text| text.contains(SHOWN)));
    assert!(shown.last().unwrap().contains("private keys"));
}

#[test]
fn configuration_errors_show_no_secret_of_a_key_uri() {
    for uri in [
        "ftp://user:hunter2@a/b?hunter2",
        "https://user:hunter2@?hunter2",
        "https://user:hunter2@a:99999/b",
        "https://user:hunter2@a:b/c#hunter2",
        "https://user:hunter2/x@a/b",
        "https://user:hunter2?@a/b",
        "https://user:hunter2@a /b",
        "user:hunter2@a/b?hunter2",
        "http://user:hunter2@a/b?hunter2",
        "https://a/b?hunter2",
    ] {
        for head in [
            "security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: r}\nspec: {jwtRules: [{issuer: a, jwksUri: 'URI'}]}\n",
            "authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: default}\nspec: {origins: [{jwt: {issuer: a, jwksUri: 'URI'}}]}\n",
        ] {
            let yaml = format!("apiVersion: {}", head.replace("URI'", &format!("{uri}'")));
            let shown = match istio::parse("p.yaml", &yaml, "default") {
                Err(problems) => format!("{problems} {problems:?}"),
                Ok(resources) => {
                    let workload = Workload::new("default", "app").service("app", 8080);
                    let engine = Engine::builder(&workload).yaml(&yaml).build().unwrap();
                    let authentication = engine.authentication(8080);
                    let compiled = Authenticator::compile(authentication, &mut Keyring::new());
                    let printed = envoy::jwt_authn(authentication, &BTreeMap::new());
                    let unprinted = printed.map_err(|error| format!("{error} {error:?}"));
                    format!(
                        "{resources:?} {engine:?} {authentication:?} {compiled:?} {unprinted:?}"
                    )
                }
            };
            assert!(!shown.contains("hunter2"), "{uri}: {shown}");
        }
    }
}
