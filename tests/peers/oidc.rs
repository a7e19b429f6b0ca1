//! A real OpenID provider issues the tokens of a mesh that discovers its keys, rotates them, and fails.

mod process;

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tower_mesh::context::Claims;
use tower_mesh::mesh::{ClientBody, TokenOptions};
use tower_mesh::metrics::Format;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};
use tracing::Level;

use crate::log::Log;
use crate::tool::PATIENCE;
use process::{DISCOVERY, KEYS, Provider, What};

const NO_KEY: &str = "Jwks doesn't have key to match kid or alg from Jwt";

/// The provider, a workload that lets its one client in, and a caller of that workload.
struct World {
    provider: Provider,
    ours: Mesh,
    theirs: Mesh,
    running: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Plaintext,
    Tls,
}

impl World {
    async fn start(
        transport: Transport,
        tokens: impl FnOnce(TokenOptions) -> TokenOptions,
    ) -> Option<Self> {
        let pki = Pki::new("cluster.local").unwrap();
        let authority = Pki::new("public").unwrap();
        let provider = match transport {
            Transport::Plaintext => Provider::start(None).await?,
            Transport::Tls => Provider::start(Some(&authority)).await?,
        };
        let identity = pki.identity("default", "ours").unwrap();
        let expected = identity.svid().spiffe_id().clone();
        let (ours, ours_driver) = Mesh::builder(Workload::new("default", "ours"), identity)
            .config(Fixed::yaml("users.yaml", policies(&provider.issuer)))
            .tokens(|options| match transport {
                Transport::Plaintext => tokens(options.loopback_http_jwks()),
                Transport::Tls => tokens(
                    options
                        .jwks_roots(authority.root_pem())
                        .resolve(&Provider::host_and_port(), provider.address),
                ),
            })
            .build()
            .await
            .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (theirs, theirs_driver) = Mesh::builder(
            Workload::new("default", "theirs"),
            pki.identity("default", "theirs").unwrap(),
        )
        .upstream("ours.default", [address], [expected])
        .build()
        .await
        .unwrap();
        let serving = ours.clone();
        let app = Router::new().fallback(any(principal));
        let running = vec![
            tokio::spawn(async move { drop(serving.serve_on(socket, app).await) }),
            tokio::spawn(ours_driver.run()),
            tokio::spawn(theirs_driver.run()),
        ];
        Some(Self {
            provider,
            ours,
            theirs,
            running,
        })
    }

    /// Over mutual TLS, all at the same time; the answers, in any order.
    async fn send(&self, tokens: impl IntoIterator<Item = String>) -> Vec<(u16, String)> {
        let mut answers = JoinSet::new();
        for token in tokens {
            let theirs = self.theirs.clone();
            answers.spawn(async move { call(&theirs, Some(&token)).await });
        }
        answers.join_all().await
    }

    async fn send_one(&self, token: &str) -> (u16, String) {
        call(&self.theirs, Some(token)).await
    }

    /// The answer to a good token: its principal.
    fn good(&self) -> (u16, String) {
        (200, format!("{}/desk", self.provider.issuer))
    }

    /// Fresh tokens, a few at a time, which must all be good.
    async fn send_fresh(&mut self, count: usize) {
        for _ in 0..count.div_ceil(AT_ONCE) {
            let tokens = self.provider.tokens(AT_ONCE).await;
            let answers = self.send(tokens).await;
            assert_eq!(answers, vec![self.good(); AT_ONCE]);
        }
    }

    fn refusals(&self) -> u64 {
        let text = self.ours.metrics().render(Format::Text);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("mesh_jwt_refusals_total"));
        let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        counts.sum()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

async fn call(caller: &Mesh, token: Option<&str>) -> (u16, String) {
    let mut request = Request::get("http://ours.default/");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(ClientBody::empty()).unwrap();
    let answer = caller.client().request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn principal(claims: Claims) -> String {
    claims.principal().unwrap_or_default().to_owned()
}

/// No keys and no address of keys: the issuer's own document tells where they are.
fn policies(issuer: &str) -> String {
    format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: users}}
spec:
  jwtRules:
  - issuer: {issuer}
    audiences: [https://patients.test]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: desk}}
spec:
  rules:
  - from: [{{source: {{requestPrincipals: ['{issuer}/desk']}}}}]
"
    )
}

/// As often as the option allows it, so that a test sees many fetches.
fn each_second(options: TokenOptions) -> TokenOptions {
    options.fetch_at_least_every(Duration::from_secs(1))
}

/// J-46, J-47: over HTTPS, and over plain HTTP where the option accepts it on this machine.
#[tokio::test]
async fn oidc_provider_is_discovered_from_its_issuer() {
    for transport in [Transport::Tls, Transport::Plaintext] {
        let Some(mut world) = World::start(transport, |options| options).await else {
            return;
        };
        world.send_fresh(20).await;
        let token = world.provider.token().await;
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = world.provider.token().await;
        let (_, others) = other.rsplit_once('.').unwrap();
        assert_ne!(signature, others);
        let forged = world.send_one(&format!("{signed}.{others}")).await;
        assert_eq!(forged, (401, "Jwt verification fails".into()));
        let without = call(&world.theirs, None).await;
        assert_eq!(without.0, StatusCode::FORBIDDEN);
        assert_eq!(world.refusals(), 1);
        assert_eq!(world.provider.count(What::Left, KEYS, None), 0);
    }
}

/// J-45: five rotations as the provider's manual has them. A key is published, then used, then withdrawn, and all the while every fresh token is
/// good. What a withdrawn key has signed is not, though it was before.
#[tokio::test]
async fn oidc_provider_rotates_its_keys_under_traffic() {
    let Some(mut world) = World::start(Transport::Tls, each_second).await else {
        return;
    };
    let mut before = world.provider.token().await;
    let name = |step: usize| match step {
        0 => "first".to_owned(),
        step => format!("key-{step}"),
    };
    let mut sent = 0;
    for step in 1..=5 {
        // Whoever asks a second time has taken in the first answer. The next key is published and not used; then it is used, and the one before still published.
        for sign in [step - 1, step] {
            let publish = [step - 1, step].map(name);
            let set = world.provider.rotate(&name(sign), &publish).await;
            let mut sent_now = 0;
            while sent_now < 200 || world.provider.handed_out(set) < 2 {
                world.send_fresh(AT_ONCE).await;
                sent_now += AT_ONCE;
                assert!(sent_now < 20_000, "no fetch");
            }
            sent += sent_now;
            assert_eq!(world.send_one(&before).await, world.good(), "{step}");
        }
        let after = world.provider.token().await;
        let set = world.provider.rotate(&name(step), &[]).await;
        while world.provider.handed_out(set) < 2 {
            world.send_fresh(AT_ONCE).await;
        }
        assert_eq!(world.refusals(), step as u64 - 1, "no good token");
        let withdrawn = world.send_one(&before).await;
        assert_eq!(withdrawn, (401, NO_KEY.into()), "{step}");
        before = after;
    }
    assert!(sent >= 2_000, "{sent}");
    assert_eq!(world.refusals(), 5, "the withdrawn ones alone");
}

/// J-43, J-45: the key is replaced at once, and the keys that are there are good for another 20 minutes: the first tokens of the new one wait
/// for a fetch, one for all of them.
#[tokio::test]
async fn oidc_provider_replaces_its_key_at_once() {
    let Some(mut world) = World::start(Transport::Tls, |options| options).await else {
        return;
    };
    let before = world.provider.token().await;
    assert_eq!(world.send_one(&before).await, world.good());
    // Once while the mesh was built, and once as its driver began.
    world.provider.until(2, What::Answered, KEYS, None).await;

    let set = world.provider.rotate("second", &[]).await;
    let tokens = world.provider.tokens(100).await;
    let answers = world.send(tokens).await;
    assert_eq!(answers, vec![world.good(); 100]);
    world.send_fresh(20).await;
    assert_eq!(world.provider.handed_out(set), 1);
    assert_eq!(world.refusals(), 0);
    let withdrawn = world.send_one(&before).await;
    assert_eq!(withdrawn, (401, NO_KEY.into()));
}

/// J-41, J-46: whatever the provider answers instead of keys, the last good ones serve, at once, and the log tells why, without a word of the answer.
#[tokio::test]
async fn oidc_provider_may_fail() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    for transport in [Transport::Tls, Transport::Plaintext] {
        let Some(mut world) = World::start(transport, each_second).await else {
            return;
        };
        for (at, fault, reason) in [
            (DISCOVERY, "down", "the request failed"),
            (DISCOVERY, "html", "discovery of the keys: no `jwks_uri`"),
            (KEYS, "unavailable", "answered 503"),
            (KEYS, "html", "the answer is no set of keys"),
            (KEYS, "big", "more than 1048576 bytes"),
            (KEYS, "slow", "took too long"),
        ] {
            let told = |log: &Log| log.with(&["keys could not be fetched", reason]).len();
            let before = told(&log);
            world.provider.fail(at, Some(fault)).await;
            world.provider.until(1, What::Asked, at, Some(fault)).await;
            let asked = Instant::now();
            world.send_fresh(40).await;
            if fault == "slow" {
                assert_eq!(world.provider.count(What::Left, at, Some(fault)), 0);
            }
            while told(&log) == before {
                world.send_fresh(AT_ONCE).await;
                assert!(asked.elapsed() < PATIENCE, "{fault}: {}", log.text());
            }
            if fault == "slow" {
                world.provider.until(1, What::Left, at, Some(fault)).await;
            }
            world.provider.fail(at, None).await;
            world.provider.until(1, What::Answered, KEYS, None).await;
            world.send_fresh(AT_ONCE).await;
        }
        assert_eq!(world.refusals(), 0);
    }
    assert!(!log.text().contains("hunter2"), "{}", log.text());
}

/// J-06: of two keys with one id neither verifies a token, unless one of them is for something else.
#[tokio::test]
async fn oidc_provider_gives_one_id_to_two_keys() {
    let (log, _guard) = Log::listen(Level::WARN);
    let Some(mut world) = World::start(Transport::Tls, each_second).await else {
        return;
    };
    let token = world.provider.token().await;
    for (fault, is_good) in [
        (None, true),
        (Some("twin-for-encryption"), true),
        (Some("twin"), false),
        (None, true),
    ] {
        world.provider.fail(KEYS, fault).await;
        // Whoever asks a second time has taken in the first answer.
        world.provider.until(2, What::Answered, KEYS, fault).await;
        let fresh = world.provider.token().await;
        for token in [&token, &fresh] {
            let expected = match is_good {
                true => world.good(),
                false => (401, NO_KEY.into()),
            };
            assert_eq!(world.send_one(token).await, expected, "{fault:?}");
        }
        let is_told = !log.with(&["keys share an id"]).is_empty();
        assert_eq!(is_told, world.refusals() > 0, "{fault:?}");
    }
}

/// How many requests are under way at a time.
const AT_ONCE: usize = 8;
