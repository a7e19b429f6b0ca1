//! Guard for end-user tokens: Istio's RequestAuthentication, and the `origins` of its legacy
//! Policy.
//!
//! The guard answers one question: is every token that was sent good? It never demands one (the
//! legacy Policy does); an AuthorizationPolicy demands a token with `requestPrincipals: ["*"]`. A
//! good token leaves its [`Claims`](crate::context::Claims) in the request's
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
//! `use: jwt-svid` counts), inline in `jwks` or at `jwksUri`; a bundle that the mesh has for
//! certificates is not asked. The rule must list `audiences`. A token must have `aud`, `exp`, and a
//! `sub` that is an id of the domain; its algorithm is RSA's or on a NIST curve; its header has
//! `alg`, `kid` and `typ` only. The request principal is the id, `spiffe://DOMAIN/PATH`. Policy cuts
//! it at its last slash, as every principal: `spiffe://DOMAIN/ns/wards/sa/*` matches each account of
//! a namespace, but `spiffe://DOMAIN/*` only ids of one segment. A handler finds the id by
//! [`Claims::workload`](crate::context::Claims::workload).
//!
//! # Differences from Envoy/Istio
//!
//! Stricter, always:
//!
//! - HMAC algorithms and keys are refused: who can verify could sign. So are ES512 and keys on
//!   P-521.
//! - A token that names a key (`kid`) is verified by a key of that id only, or by the one usable
//!   key of a set when that has no id (by the letter, [`JwtLayer::strict`]: not even by that). Keys
//!   that share an id and an algorithm verify no token that names them.
//! - `crit`, `b64`, `zip`, `enc` in the header, and a `typ` or `cty` that is not a token's, are
//!   refused.
//! - `iat` more than a minute ahead is refused; so are control characters in `sub`, tokens of more
//!   than 16 KiB, JSON nested deeper than 32 or wider than 256 members.
//! - A signature by ECDSA has exactly the length of its curve's (RFC 7518 §3.4); Envoy does not
//!   look at a byte behind it.
//! - Weak, private and malformed keys are left out of a set; key URIs must be `https`.
//! - The realm of a challenge leaves out query parameters that may hold a token. `authorization`,
//!   `host` and the headers that frame a message cannot be filled.
//! - Claims and output headers are of one token, or there are neither. Where several tokens of a
//!   request are good, policy sees the claims that it sees in Envoy, and the application gets the
//!   headers of that token, once. Envoy adds a line for each good token, also of a rule that then
//!   fails, and takes off the headers of a token that was good when it looks again and finds it
//!   gone.
//! - A rule with an issuer `spiffe://..` is for JWT-SVIDs, see above.
//! - A guard inside another one refuses a token of another principal than the outer one found.
//!
//! Otherwise: when a token is taken out of the query, the other parameters stay as they were
//! written (Envoy sorts and re-encodes them). [`JwtLayer::strict`] adds what Istio is too lenient
//! about. Keys are fetched by the process, as Envoy can, but on istiod's schedule; the last good
//! ones count for a day, not a week. An unknown `kid` causes a fetch, for which its request waits;
//! Envoy refuses it until the next refresh.
//!
//! RFC 8725, clause by clause: §3.1 and §3.2 the key decides the algorithm, and `none` and HMAC are
//! none; §3.3 and §3.7 header and payload are strict JSON in UTF-8; §3.4 points must lie on their
//! curve; §3.5 weak keys are refused; §3.6 tokens are never decompressed; §3.8 and §3.9 issuer and
//! audience are the rule's; §3.10 `kid` only selects a key, and `jku` and its kin are never read;
//! §3.11 `typ` is checked; §3.12 keys belong to their rule.

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
mod weight;

pub use authenticator::Authenticator;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use authenticator::{Denied, Patience};
pub use keys::{Counts, FetchError, Fetcher, Jwks, KeySet, KeySetError, KeySource, Keyring, Moved};
pub use layer::{Jwt, JwtGuard, JwtLayer, ResponseFuture};
pub use refusal::Refusal;
pub use token::verify_jws;
