//! Writes the log event of a refused request, target `tower_mesh::access`: who asked for what, and
//! which rule refused. A caller for whom a trusted proxy speaks is written `a via b`.
//!
//! The event holds nothing from the query, from a token, or from headers that may hold either.
//! What a peer sends is written as [`PeerText`], so a peer cannot forge a line.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use http::StatusCode;
use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use tracing::field::{self, DisplayValue};

use crate::context::{Claims, Exchange, ForwardedPeer, Peer, Refusal};
use crate::istio::Position;
use crate::log_limit::{LogLimit, limited};
use crate::matcher::authority;
use crate::message::{LocalReply, ResponseFlags};
use crate::peer_text::PeerText;
use crate::policy::{Chain, Engine, PolicyId};

/// Writes the event of a request that a guard refuses. Costs nothing without a subscriber.
///
/// `engine` is the engine that judged the request, if one did; it knows where rules were written.
pub(crate) fn refused(
    head: &Parts,
    exchange: &Exchange,
    reply: &LocalReply,
    engine: Option<&Engine>,
) {
    let peer = exchange.peer();
    let trace = exchange.trace();
    let rule = rule(reply, exchange);
    let asked = || {
        peer.zip(engine)
            .and_then(|(peer, engine)| asked(reply, peer, engine))
    };
    let has_line = exchange.telling().is_some_and(|telling| telling.has_event);
    if has_line && tracing::enabled!(target: "tower_mesh::access_log", tracing::Level::INFO) {
        // The event of its line tells all of it.
        let text = |text: &str| PeerText(text).to_string();
        return exchange.set_refusal(Refusal {
            peer: Caller(exchange).to_string(),
            user: exchange.claims().and_then(Claims::principal).map(text),
            reason: text(reply.details()),
            policy: rule.map(text),
            at: rule
                .and_then(|rule| place(rule, engine))
                .map(|at| at.to_string()),
            asked: asked().map(|asked| asked.to_string()),
        });
    }
    limited!(
        limit: Kind::of(reply).limit(),
        target: "tower_mesh::access",
        INFO,
        peer = %Caller(exchange),
        remote = remote_ip(exchange).map(shown),
        client = exchange.client_ip().map(shown),
        user = exchange.claims().and_then(Claims::principal).map(text),
        method = %PeerText(head.method.as_str()),
        path = %PeerText(&path(head, exchange)),
        host = host(head).map(text),
        status = reply.status().as_u16(),
        reason = %PeerText(reply.details()),
        policy = rule.map(text),
        at = rule.and_then(|rule| place(rule, engine)).map(shown),
        asked = asked().map(shown),
        trace_id = trace.map(|trace| shown(trace.trace_id)),
        request_id = request_id(head, exchange).map(text),
        "request refused"
    );
}

/// Writes the event of a connection without HTTP that policy refuses. `rule` is the one that
/// refused.
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "for servers of raw TCP")
)]
pub(crate) fn connection_refused(
    exchange: &Exchange,
    details: &str,
    rule: Option<&str>,
    engine: Option<&Engine>,
) {
    let port = exchange.peer().map(|peer| peer.local_addr().port());
    let asked = || {
        let (engine, port) = (engine?, port?);
        let is_none = rule.is_none() && details.starts_with(MATCHED);
        is_none.then(|| allowing(engine.program().tcp.get(port), engine))?
    };
    limited!(
        target: "tower_mesh::access",
        INFO,
        peer = %Caller(exchange),
        remote = remote_ip(exchange).map(shown),
        port,
        reason = %PeerText(details),
        policy = rule.map(text),
        at = rule.and_then(|rule| place(rule, engine)).map(shown),
        asked = asked().map(shown),
        "connection refused"
    );
}

/// Writes the event of a request that passes as one without a token, although its token is bad.
#[cfg_attr(
    not(feature = "jwt"),
    allow(dead_code, reason = "for the guard of tokens")
)]
pub(crate) fn token_reported(head: &Parts, exchange: &Exchange, reason: &dyn fmt::Display) {
    let trace = exchange.trace();
    limited!(
        target: "tower_mesh::access",
        WARN,
        peer = %Caller(exchange),
        remote = remote_ip(exchange).map(shown),
        client = exchange.client_ip().map(shown),
        method = %PeerText(head.method.as_str()),
        path = %PeerText(&path(head, exchange)),
        host = host(head).map(text),
        reason = %reason,
        trace_id = trace.map(|trace| shown(trace.trace_id)),
        request_id = request_id(head, exchange).map(text),
        "a bad token passes as none, because the guard only reports"
    );
}

/// Writes the event of a request that passes although it is over a limit.
#[cfg_attr(
    not(feature = "rate-limit"),
    allow(dead_code, reason = "for limits that only report")
)]
pub(crate) fn limit_reported(head: &Parts, exchange: &Exchange, limit: &str) {
    let trace = exchange.trace();
    limited!(
        target: "tower_mesh::access",
        INFO,
        limit = %PeerText(limit),
        peer = %Caller(exchange),
        remote = remote_ip(exchange).map(shown),
        client = exchange.client_ip().map(shown),
        method = %PeerText(head.method.as_str()),
        path = %PeerText(&path(head, exchange)),
        host = host(head).map(text),
        trace_id = trace.map(|trace| shown(trace.trace_id)),
        request_id = request_id(head, exchange).map(text),
        "a request over the limit passes, because the limit only reports"
    );
}

/// The engine that refused a request; [`keep_judge`] has stored it in the request.
pub(crate) fn judged_by(head: &Parts) -> Option<&Engine> {
    head.extensions.get().map(|JudgedBy(engine)| engine)
}

/// Stores, in a refused request, the engine of the generation that refused it, so that the event
/// can name its rules.
#[cfg_attr(
    not(feature = "rbac"),
    allow(dead_code, reason = "for the guard of policies")
)]
pub(crate) fn keep_judge(head: &mut Parts, engine: &Engine) {
    head.extensions.insert(JudgedBy(engine.clone()));
}

#[derive(Clone)]
struct JudgedBy(Engine);

/// The kinds of refusals. Each kind has its own log limit, so that one kind cannot suppress
/// another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The request itself is malformed.
    Request,
    /// A rule refuses the request.
    Rule,
    /// The token is invalid, or is missing where a legacy Policy demands one.
    Token,
    /// The request is over a limit.
    Limit,
}

impl Kind {
    fn of(reply: &LocalReply) -> Self {
        let details = reply.details();
        if details.starts_with("rbac_") || details.starts_with("ext_authz_") {
            Self::Rule
        } else if details.starts_with("jwt_") || reply.status() == StatusCode::UNAUTHORIZED {
            Self::Token
        } else if reply.response_flags().is_any_of(LIMITS) {
            Self::Limit
        } else {
            Self::Request
        }
    }

    fn limit(self) -> &'static LogLimit {
        static REQUEST: LogLimit = LogLimit::new();
        static RULE: LogLimit = LogLimit::new();
        static TOKEN: LogLimit = LogLimit::new();
        static LIMIT: LogLimit = LogLimit::new();
        match self {
            Self::Request => &REQUEST,
            Self::Rule => &RULE,
            Self::Token => &TOKEN,
            Self::Limit => &LIMIT,
        }
    }
}

fn shown<T: fmt::Display>(value: T) -> DisplayValue<T> {
    field::display(value)
}

fn text(value: &str) -> DisplayValue<PeerText<'_>> {
    shown(PeerText(value))
}

/// Who asks: the peer, or the caller for whom a trusted proxy speaks, and the proxy.
struct Caller<'a>(&'a Exchange);

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(exchange) = self;
        let Some(caller) = exchange.forwarded_peer() else {
            let peer = exchange.peer().and_then(Peer::principal);
            return PeerText(peer.unwrap_or("none")).fmt(f);
        };
        // Each is truncated by itself, so that a long name does not hide the proxy.
        let (principal, via) = (caller.principal(), caller.via().to_string());
        write!(
            f,
            "{} via {}",
            PeerText(principal.unwrap_or("none")),
            PeerText(&via)
        )
    }
}

/// The address of the caller if a trusted proxy has told it, else of the peer.
fn remote_ip(exchange: &Exchange) -> Option<IpAddr> {
    let told = exchange.forwarded_peer().and_then(ForwardedPeer::address);
    let address = told.or_else(|| exchange.peer().map(Peer::remote_addr))?;
    Some(address.ip().to_canonical())
}

/// The whole path without the query, and without the parameters that a mesh hides. If a guard has
/// rewritten the path, this is the form that policy judges.
fn path<'a>(head: &'a Parts, exchange: &'a Exchange) -> Cow<'a, str> {
    let judged = exchange.path_of(head).or_else(|| exchange.path());
    let path = judged.unwrap_or_else(|| Exchange::sent_uri(head).path());
    match exchange.telling().and_then(|telling| telling.hide.as_ref()) {
        Some(hide) => Cow::Owned(hide(path)),
        None => Cow::Borrowed(path),
    }
}

/// The host, without a user and password before it and without a path or query after it.
fn host(head: &Parts) -> Option<&str> {
    let line = || head.headers.get(HOST)?.to_str().ok();
    let host = head.uri.authority().map(Authority::as_str).or_else(line)?;
    Some(authority::shown(host)).filter(|host| !host.is_empty())
}

fn request_id<'a>(head: &'a Parts, exchange: &'a Exchange) -> Option<&'a str> {
    let traced = exchange.trace().and_then(|trace| trace.request_id.as_ref());
    let id = traced.or_else(|| head.headers.get("x-request-id"));
    id.map(HeaderValue::to_str)?.ok()
}

/// The rule that refused: from the reply if it names one, else from the decision of the outermost
/// guard that stored one in the exchange.
fn rule<'a>(reply: &'a LocalReply, exchange: &'a Exchange) -> Option<&'a str> {
    if let Some(matched) = matched(reply) {
        return Some(matched).filter(|rule| *rule != NO_RULE);
    }
    let refusal = exchange.decision().filter(|decision| !decision.allowed);
    refusal?.policy.as_ref().map(PolicyId::as_str)
}

fn matched(reply: &LocalReply) -> Option<&str> {
    let matched = reply.details().strip_prefix(MATCHED)?;
    matched.strip_suffix(']')
}

fn place<'a>(rule: &str, engine: Option<&'a Engine>) -> Option<impl fmt::Display + 'a> {
    let origin = engine?.program().origins.get(rule)?;
    Some(&origin.at)
}

/// The rules that could have admitted the request but did not match: the ALLOW policies, or the
/// token rules if a token is invalid.
fn asked<'a>(reply: &LocalReply, peer: &Peer, engine: &'a Engine) -> Option<Asked<'a>> {
    let (program, port) = (engine.program(), peer.local_addr().port());
    if Kind::of(reply) == Kind::Token {
        let rules = program.authentication.get(port).rules.iter();
        let named = rules.filter_map(|rule| Some((&**rule.within.resource()?, Some(&rule.at))));
        return Asked::new(named);
    }
    if matched(reply) != Some(NO_RULE) {
        return None;
    }
    allowing(program.http.get(port), engine)
}

/// The ALLOW rules of a chain.
fn allowing<'a>(chain: &'a Chain, engine: &'a Engine) -> Option<Asked<'a>> {
    let rules = chain.allow.enforced.as_ref()?;
    let place = |id| {
        let origin = engine.program().origins.get(id);
        origin.map(|origin| &origin.at)
    };
    let rules = rules.policies.keys();
    Asked::new(rules.map(|id| (id.as_str(), place(id))))
}

/// Rules with their names and positions.
struct Asked<'a> {
    first: Vec<(&'a str, Option<&'a Position>)>,
    more: usize,
}

impl<'a> Asked<'a> {
    /// `None` if there are no rules.
    fn new(mut rules: impl Iterator<Item = (&'a str, Option<&'a Position>)>) -> Option<Self> {
        let first: Vec<_> = rules.by_ref().take(MOST_ASKED).collect();
        let more = rules.count();
        (!first.is_empty()).then_some(Self { first, more })
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (rule, at)) in self.first.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}", PeerText(rule))?;
            if let Some(at) = at {
                write!(f, " ({at})")?;
            }
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The start of Envoy's details for a refusal by policy; the rule and a bracket follow.
const MATCHED: &str = "rbac_access_denied_matched_policy[";
const NO_RULE: &str = "none";
/// The flags of a request over a limit.
const LIMITS: ResponseFlags = ResponseFlags::RATE_LIMITED.union(ResponseFlags::UPSTREAM_OVERFLOW);
/// The largest number of rules that are listed.
const MOST_ASKED: usize = 5;
