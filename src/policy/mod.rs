//! The policy engine reads Istio's resources and makes Envoy's decisions. It needs no HTTP library,
//! no runtime and no clock.
//!
//! An [`Engine`] is compiled once for one [`Workload`](crate::Workload), from the same resources
//! that a cluster holds: AuthorizationPolicy, RequestAuthentication, PeerAuthentication, and the
//! `v1alpha1` family of 2018. It answers the questions that the sidecar answers:
//!
//! - [`decide`](Engine::decide): may this request pass, and which rule says so? Enforced policies
//!   decide; AUDIT and dry runs leave [`Marks`]. [`decide_tcp`](Engine::decide_tcp) asks the same
//!   of a raw connection.
//! - [`custom`](Engine::custom): which external providers must be asked first?
//! - [`explain`](Engine::explain): why? It lists every rule, and for each
//!   that does not match, the first clause that failed and what that clause saw.
//! - [`authentication`](Engine::authentication) and [`mtls`](Engine::mtls): which tokens are good,
//!   which connections are accepted?
//!
//! The engine judges any type that implements [`Attributes`]. [`Request`] is one for tests and
//! tools, and [`judge`](Engine::judge) treats it as a server would: it normalizes the path, demands
//! a legacy Policy's token, asks the rules, and names the status.
//! [`judge_with`](Engine::judge_with) also takes the answers of external providers.
//!
//! Resources compile to rules ([`ir`]) shaped like Envoy's own, which [`envoy`] prints as its
//! configuration. [`eval`] walks them one by one and is the reference. The engine runs an index
//! over them that visits only rules that could match, so policies that cannot match cost a decision
//! nothing, and allowing a request allocates nothing.
//!
//! # Example
//!
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::policy::{Engine, Request};
//!
//! let engine = Engine::builder(&Workload::new("default", "patients")).yaml("
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: readers}
//! spec:
//!   rules:
//!   - from: [{source: {principals: [cluster.local/ns/default/sa/front-desk]}}]
//!     to: [{operation: {methods: [GET], paths: [/patients/*]}}]
//! ").build()?;
//!
//! let request = Request::new().get("/patients/7").from("cluster.local/ns/default/sa/front-desk");
//! let decision = engine.decide(&request);
//! assert!(decision.is_allowed(), "{}", engine.explain(&request));
//! assert_eq!(decision.policy.unwrap().as_str(), "ns[default]-policy[readers]-rule[0]");
//!
//! let stranger = Request::new().get("/patients/7").from("cluster.local/ns/default/sa/kitchen");
//! assert_eq!(engine.explain(&stranger).to_string(), "\
//! refused: no ALLOW rule matches
//!   ALLOW ns[default]-policy[readers]-rule[0]: no match
//!     from.source.principals is none of [cluster.local/ns/default/sa/front-desk]: saw \"cluster.local/ns/default/sa/kitchen\"
//! ");
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```
//!
//! # Differences from Envoy/Istio
//!
//! Decisions are Envoy's, as they were in version 1.40. These differences are chosen:
//!
//! - Every AUDIT rule that matches is reported, and the outcome of each action is kept apart;
//!   Envoy's metadata hold the last one written.
//! - In a server, `request.headers[:scheme]` is what the connection is: `https` over TLS, else
//!   `http`. Envoy believes the target or `x-forwarded-proto`, which every caller can write, and so
//!   does [`Engine::judge`], unless a [gate](crate::gate::Gate::judge) has admitted the request.
//! - Resources for other workloads' gateways (`targetRefs`) are listed in [`Program::notes`], where
//!   Istio passes over them in silence.
//! - Two providers for CUSTOM make both unusable, as in Istio unless a flag says otherwise; there
//!   is no such flag.
//! - A refusal for an unusable provider is reported as
//!   [`Action::Custom`](crate::istio::Action::Custom); to Envoy it is a DENY.
//! - A file has no age: two PeerAuthentications for one scope need a `creationTimestamp` each, so
//!   that it is clear which is older.
//! - A path template starts with one `/`. Istio lets `{*}/x` pass, and Envoy then refuses all the
//!   configuration it comes with.
//! - Unknown keys in the constraints of a ServiceRole are refused: Istio ignored them, and so
//!   granted more than was written.
//! - A ServiceRole's rule names its services, or `"*"`; an empty list meant none in Istio 1.1 and
//!   all since 1.3.
//! - `mtls.allowTls` is refused: it meant different things by version. Write `mode: PERMISSIVE`,
//!   which is probably what was meant.
//! - The property `source.principal: "*"` is any peer identity, as in Istio 1.1; from 1.3 on it was
//!   anyone, even in plaintext.
//! - Trust domain aliases count in the resources of 2018, too, as they do since Istio 1.4.
//! - Without any resource that speaks of mutual TLS, connections are accepted as Istio 1.5 did
//!   (PERMISSIVE), not as 1.1 did (plaintext).

mod compile;
mod engine;
pub mod envoy;
mod explain;
mod index;
mod rules;
#[cfg(any(feature = "jwt", feature = "vet"))]
mod token;

pub(crate) use compile::GATEWAY_LABEL;
pub use compile::compile;
#[cfg(feature = "vet")]
pub(crate) use compile::{Domains, issuer_and_subject};
#[cfg(any(feature = "jwt", feature = "diff"))]
pub(crate) use engine::fold_audience;
#[cfg(feature = "vet")]
pub(crate) use engine::normalization;
pub use engine::{
    Access, CustomMatch, Engine, EngineBuilder, Judgement, ProviderAnswers, Request, Triggers,
    near_misses, split_words,
};
#[cfg(feature = "coverage")]
pub(crate) use explain::node_clause;
pub use explain::{Explanation, FailedClause, ProviderReport, RuleReport};
pub use rules::{
    Attributes, Authentication, Chain, Chains, ClauseOrigin, CustomFilter, Decision, DryRun,
    LegacyAuthentication, Marks, Origins, PerPort, PolicyId, Program, ProviderAnswer, RuleOrigin,
    RuleSets, eval, ir, limit,
};
#[cfg(feature = "vet")]
pub(crate) use token::has_secret_key;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use token::is_loopback;
#[cfg(feature = "jwt")]
pub(crate) use token::{
    Jwk, KeyPurpose, KeySetFault, MAX_BYTES, PublicKey, SpiffeBundle, Unfit, check_key_uri,
    discovery_uri, json, keys,
};
#[cfg(any(feature = "jwt", feature = "vet"))]
pub(crate) use token::{PlainHttp, rule_problems, trust_domain};
