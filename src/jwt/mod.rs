//! Guard for end-user tokens: Istio's RequestAuthentication, and the `origins` of its legacy
//! Policy.
//!
//! The guard answers one question: is every token that was sent good? By default it never demands
//! one (the legacy Policy does); an AuthorizationPolicy demands a token with
//! `requestPrincipals: ["*"]`. [`TokenMode`] makes the guard itself demand one, or only report bad
//! ones, and [`ExcludedPath`] names paths where it reads none.
//!
//! A good token leaves its [`Claims`](crate::context::Claims) in the request's
//! [`Exchange`](crate::context::Exchange), is taken out of the request unless it is to be
//! forwarded, and fills the output headers. A bad one is answered with 401 (403 if it has another
//! audience), in Envoy's words.
//!
//! [`Authenticator`] holds the rules of one port and has the synchronous step that the composed
//! mesh runs; [`JwtLayer`] runs the same step as a tower layer. Keys are inline or fetched: a
//! [`Keyring`] hands out key sets, and a [`Fetcher`] keeps one of them fresh through any HTTP
//! client. Until keys are there, tokens are refused and requests without one are not affected. A
//! request with a key that nobody knows waits for one fetch ([`Fetcher::run`]), so that an issuer
//! may sign with a key that it has just published. When an issuer's `jwksUri` moves, its keys from
//! before serve until the new one answers.
//!
//! [`Guards`](crate::Guards) keep rules and keys fresh for a layer without a mesh.
//!
//! Tokens that were good are remembered, up to 10,000 of them and 32 MiB with their claims, until
//! they expire or the rules or keys change.
//!
//! ```text
//! layer              the guard as a tower layer
//!   access/          its settings: the mode, excluded paths
//!   authenticator    the step for one request: by rules, or by the legacy policy
//!     legacy         the policy of 2018: peer, triggers, origins
//!       check        tokens by rules; asks `seen` first
//!         rule       one jwtRules entry; effect: the headers that its tokens set
//!         seen       remembers good tokens; weight: how much memory they take
//!     answer         the reply to a bad token; refusal: why it is bad
//! token/             where tokens are in a request, their parts, their claims
//! keys/              JWK sets, where they are fetched and when
//! encoding/          base64url and JSON
//! ```
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt};
//! use tower_mesh::context::Exchange;
//! use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
//! use tower_mesh::live::Live;
//! use tower_mesh::policy::Engine;
//! use tower_mesh::testing::Issuer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = Issuer::es256("https://issuer.example");
//! let engine = Engine::builder(&tower_mesh::Workload::new("default", "patients")).yaml(&format!("
//! apiVersion: security.istio.io/v1
//! kind: RequestAuthentication
//! metadata: {{name: users}}
//! spec:
//!   jwtRules:
//!   - issuer: https://issuer.example
//!     jwks: '{}'
//! ", issuer.jwks())).build()?;
//! let authenticator = Authenticator::compile(engine.authentication(8080), &mut Keyring::new())?;
//!
//! let app = tower::service_fn(|request: Request<String>| async move {
//!     let claims = request.extensions().get::<Exchange>().and_then(|exchange| exchange.claims().cloned());
//!     let user = claims.and_then(|claims| claims.subject().map(str::to_owned));
//!     Ok::<_, std::convert::Infallible>(Response::new(user.unwrap_or_default()))
//! });
//! let app = JwtLayer::new(Live::new(authenticator)).layer(app);
//!
//! let token = issuer.token().subject("alice");
//! let send = |token: String| Request::get("/").header("authorization", format!("Bearer {token}")).body(String::new());
//! assert_eq!(app.clone().oneshot(send(token.sign())?).await?.status(), 200);
//! assert_eq!(app.clone().oneshot(send(token.tampered())?).await?.status(), 401);
//! # Ok(()) }
//! ```
//!
//! # JWT-SVIDs
//!
//! A rule whose issuer is `spiffe://DOMAIN` takes the JWT-SVIDs of that trust domain instead of
//! tokens with this `iss`. Its keys are those of the domain's bundle (a JWK set, of which
//! `use: jwt-svid` counts), inline in `jwks` or at `jwksUri`. A rule with neither takes them from
//! [`SvidKeys`]: a mesh whose identity comes from the SPIFFE Workload API keeps those fresh, and
//! elsewhere the application gives them. A bundle without keys revokes its domain, one with a lower
//! `spiffe_sequence` than the one in use is refused, and keys whose source is gone count for a day.
//!
//! The rule must list `audiences`. A token must have `aud`, `exp`, and a
//! `sub` that is an id of the domain; its algorithm is RSA's or on a NIST curve; its header has
//! `alg`, `kid` and `typ` only. The request principal is the id, `spiffe://DOMAIN/PATH`. Policy cuts
//! it at its last slash, as every principal: `spiffe://DOMAIN/ns/wards/sa/*` matches each account of
//! a namespace, but `spiffe://DOMAIN/*` only ids of one segment. A handler finds the id by
//! [`Claims::workload`](crate::context::Claims::workload).
//!
//! # Differences from Envoy/Istio
//!
//! Where a line names a knob, the default is the sidecar's answer. All other lines hold always, and
//! have no knob.
//!
//! | what | knob |
//! |---|---|
//! | A token can be demanded, or a bad one only reported. | [`JwtLayer::mode`] |
//! | Tokens are not read at some paths. | [`JwtLayer::exclude`] |
//! | The RFCs count where Istio is lenient: padding, `exp`, several tokens, the order of checks. | [`JwtLayer::strict`] |
//! | Keys may come over plain HTTP. | [`Keyring::loopback_http`], [`Keyring::danger_accept_http`] |
//! | HMAC algorithms and keys are refused: who can verify could sign. So are ES512 and P-521. | |
//! | A token that names a key (`kid`) is verified by a key of that id only, or by the one usable key of a set when that has no id. | not even by that: [`JwtLayer::strict`] |
//! | Keys that share an id and an algorithm verify no token that names them. | |
//! | `crit`, `b64`, `zip` and `enc` in the header are refused. | |
//! | `typ` is absent, `JWT`, `JOSE` or `at+jwt`, in any case and with or without `application/`: `typ: JWS` is refused, and so is `cty`. | |
//! | `iat` more than a minute ahead is refused, and control characters in `sub`. | |
//! | A token of more than 16 KiB is refused, and JSON nested deeper than 32 or wider than 256 members. | |
//! | A signature by ECDSA has exactly the length of its curve's (RFC 7518 §3.4); Envoy does not look at a byte behind it. | |
//! | Weak, private and malformed keys are left out of a set. | |
//! | The realm of a challenge leaves out query parameters that may hold a token. | |
//! | `authorization`, `host` and the headers that frame a message cannot be filled from claims. | |
//! | Claims and output headers are of one token, or there are neither: of several good tokens the one whose claims policy sees in Envoy. Envoy adds a line for each good token, also of a rule that then fails. | |
//! | A rule with an issuer `spiffe://..` is for JWT-SVIDs, see above. | |
//! | A guard inside another one refuses a token of another principal than the outer one found. | |
//! | When a token is taken out of the query, the other parameters stay as they were written; Envoy sorts and re-encodes them. | |
//! | Keys are fetched by the process, on istiod's schedule or as the issuer's `cache-control` says. | [`Fetcher::at_least_every`] |
//! | An unknown `kid` causes a fetch, for which its request waits; Envoy refuses it until the next refresh. | |
//! | The last good keys count for a day; istiod keeps them for a week. | |
//!
//! RFC 8725, clause by clause: §3.1 and §3.2 the key decides the algorithm, and `none` and HMAC are
//! none; §3.3 and §3.7 header and payload are strict JSON in UTF-8; §3.4 points must lie on their
//! curve; §3.5 weak keys are refused; §3.6 tokens are never decompressed; §3.8 and §3.9 issuer and
//! audience are the rule's; §3.10 `kid` only selects a key, and `jku` and its kin are never read;
//! §3.11 `typ` is checked; §3.12 keys belong to their rule.

mod access;
mod answer;
mod authenticator;
mod check;
mod effect;
mod encoding;
mod keys;
mod layer;
mod legacy;
mod refusal;
mod rule;
mod seen;
mod token;
mod verified;

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use access::Terms;
pub use access::{ExcludedPath, ExcludedPathError, TokenMode};
pub use authenticator::Authenticator;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use authenticator::Patience;
pub use keys::{
    BundleError, Counts, FetchError, Fetcher, Jwks, KeySet, KeySetError, KeySource, Keyring, Moved,
    SvidKeys,
};
pub use layer::{Jwt, JwtGuard, JwtLayer, ResponseFuture};
pub use refusal::Refusal;
pub use token::verify_jws;
