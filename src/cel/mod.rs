//! Rules in the [Common Expression Language](https://cel.dev) over the attributes that policies
//! test.
//!
//! An [`Expression`] is compiled once, when configuration is loaded, and evaluated for each request.
//! Comparisons, `startsWith`, `endsWith`, `contains`, `matches`, `in`, `has`, `size`, `&&`, `||`,
//! `!` and `? :` on attributes and literals are evaluated directly, without allocation. A part of a
//! rule that uses anything else is interpreted.
//!
//! # Attributes
//! | Name | Type | Value |
//! |---|---|---|
//! | `request.method`, `request.scheme` | text | as policies see them |
//! | `request.path` | text | the normalized path with its query |
//! | `request.url_path`, `request.query` | text | the path without its query; the query without `?`, empty if there is none |
//! | `request.host` | text | the host and port of the request, as sent |
//! | `request.headers['x-name']` | text | the header's lines, joined with `,` |
//! | `request.referer`, `request.useragent`, `request.id` | text | the headers `referer`, `user-agent`, `x-request-id` |
//! | `source.ip`, `remote.ip` | text | the address of the connection's other end; the client's address after `x-forwarded-for` |
//! | `source.principal` | text | the caller's SPIFFE ID without `spiffe://` |
//! | `source.trust_domain`, `source.namespace`, `source.service_account` | text | its parts |
//! | `destination.ip`, `destination.address` | text | our address; the address and port |
//! | `destination.port` | int | our port |
//! | `connection.mtls` | bool | whether the caller has shown a certificate |
//! | `connection.requested_server_name`, `connection.sni` | text | the server name of the TLS handshake; empty if there was none |
//! | `connection.uri_san_peer_certificate`, `connection.dns_san_peer_certificate` | text | the first such name of the caller's certificate |
//! | `connection.subject_peer_certificate` | text | the subject of the caller's certificate |
//! | `auth.claims` | map | the claims of the verified token |
//! | `auth.principal` | text | its issuer and subject, as `iss/sub` |
//! | `auth.audiences` | list | its `aud`, always a list |
//! | `auth.presenter` | text | its `azp` |
//!
//! `request.path`, `request.url_path`, `request.host`, `request.scheme`, `request.method`,
//! `request.headers`, `request.query`, `request.referer`, `request.useragent`, `request.id`,
//! `destination.address`, `destination.port` and `connection.*` except `connection.sni` are Envoy's
//! names. `request.auth.…` is the same as `auth.…`.
//!
//! - An attribute that a request does not have is an error where it is read, as a missing key of a
//!   map is in CEL. `has(source.principal)`, `has(auth.claims)`, `has(auth.claims.sub)` and
//!   `'x-name' in request.headers` ask for it first. `has(auth.claims.sub)` is an error without a
//!   token.
//! - The name of a header is a literal text, in any case. `:method`, `:path`, `:scheme`,
//!   `:authority` and `host` are the request's. A value that is not UTF-8 is an error where it is
//!   read: it equals nothing, and differs from nothing.
//! - Claims have the types of JSON. A whole number is an `int`. Claims that are lists of words, like
//!   `scope`, are lists.
//!
//! # Expressions of Telemetry resources
//! A [`Condition`] chooses the lines of an access log, and a [`TagValue`] is the value of a metric's
//! label. Both are evaluated at the end of an exchange, over the [facts](Fact) that are known then:
//! `request.*` with its `time`, `duration`, `protocol`, `size` and `total_size`, `response.*`,
//! `source.*`, `destination.*`, `connection.*`, `upstream.*`, `xds.*`, and `filter_state.*` for the
//! metadata of peers. Of a caller's certificate only the SPIFFE id is known, as
//! `connection.uri_san_peer_certificate`. `duration('500ms')` and
//! `timestamp('2026-01-31T12:00:00Z')` are compared with `request.duration` and `request.time`.
//! Headers that hold secrets cannot be read.
//!
//! # Errors and CEL's logic
//! `a && b` is false if one is false, and `a || b` is true if one is true, even if the other is an
//! error. A rule that ends in an error denies: [`Expression::evaluate`] returns why.
//!
//! # Differences from other implementations
//! - Types are checked where they are known: `request.path == 1` is an error at load.
//! - `matches` takes a literal pattern.
//! - Macros may not nest, and none runs over the result of another.
//! - There are no messages or optional values; timestamps and durations are only compared, and
//!   only in Telemetry resources.
//!
//! # Bounds
//! A rule has at most 8 KiB, 32 levels and 1,024 nodes in its syntax tree, and 16
//! patterns of at most 1 MiB each. An interpreted part of a rule makes at most 50,000 steps for a
//! request: a read of an attribute costs one step, and one more for each value and for each 64 bytes
//! in it, times the size of a macro's body if the macro runs over it. More is an error.
//!
//! # Example
//! ```
//! use tower_mesh::cel::Expression;
//! use tower_mesh::policy::Request;
//!
//! let rule = Expression::compile(
//!     "request.url_path.startsWith('/charts/') && 'doctor' in auth.claims.roles",
//! )?;
//! let request = Request::new()
//!     .get("/charts/7")
//!     .user("clinic", "ada")
//!     .claim("roles", vec!["doctor"]);
//! assert_eq!(rule.evaluate(&request), Ok(true));
//!
//! let mistake = Expression::compile("request.method == 'GET' && reqest.path == '/'").unwrap_err();
//! assert_eq!((mistake.line(), mistake.column()), (1, 28));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
mod error;
mod evaluate;
mod expression;
mod lower;
mod pattern;
mod provider_rules;
mod rewrite;
mod syntax;
mod telemetry;
#[cfg(test)]
mod tests;

pub use error::{CelError, EvaluationError};
pub use expression::Expression;
pub use provider_rules::ProviderRules;
pub use telemetry::{Condition, Fact, FactValue, Facts, PeerField, TagValue};
