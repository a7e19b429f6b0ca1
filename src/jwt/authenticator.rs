//! The rules for the tokens of one port, and the step that applies them to a request.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::access::{RequestPath, Terms, TokenMode};
use super::answer;
use super::check::{Refused, TokenCheck};
use super::keys::{Counts, KeyWait, Keyring};
use super::legacy::{self, Circumstances, Legacy};
use super::refusal::Refusal;
use super::rule::TokenRule;
use super::token::without_parameters;
use super::verified::{Verified, check_principal};
use crate::context::{Claims, Exchange};
use crate::istio::Problems;
use crate::log_limit::limited;
use crate::matcher::{header as header_name, query};
use crate::message::LocalReply;
use crate::policy::Authentication;
use crate::refusal_log;

/// Why a request does not go on.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) reply: LocalReply,
    /// The keys that a token needs may be on their way: instead of the reply, the request is to be
    /// judged again when this wait is over.
    pub(crate) wait: Option<KeyWait>,
}

impl From<LocalReply> for Denied {
    fn from(reply: LocalReply) -> Self {
        Self { reply, wait: None }
    }
}

impl From<Denied> for LocalReply {
    fn from(denied: Denied) -> Self {
        denied.reply
    }
}

/// Whether a request may wait for keys: once, and where its caller can let it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    MayWait,
    None,
}

/// Decides which end-user tokens are good: holds the rules of every RequestAuthentication (or of
/// the legacy Policy) that applies to one port, and remembers the tokens that it has lately
/// verified.
///
/// By itself it never demands a token; policies do, and guards in the mode
/// [`TokenMode::Required`].
#[derive(Debug)]
pub struct Authenticator {
    rules: Vec<TokenRule>,
    legacy: Option<Legacy>,
    /// Headers that only this guard may set.
    outputs: Arc<[HeaderName]>,
    /// Query parameters that may hold a token, apart from those that are never shown. They must not
    /// appear in replies, logs or spans.
    hidden: Arc<[Box<str>]>,
    /// `None` where there are no rules.
    check: Option<TokenCheck>,
    counts: Counts,
}

impl Authenticator {
    /// Prepares the rules of one port.
    ///
    /// Takes key sets that have to be fetched from `keyring`, or adds them to it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the rules: inline keys that cannot be used, key URIs that are
    /// not `https`, invalid header names.
    pub fn compile(
        authentication: &Authentication,
        keyring: &mut Keyring,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let rules: Vec<_> = authentication
            .rules
            .iter()
            .filter_map(|rule| TokenRule::compile(rule, keyring, &mut problems))
            .collect();
        let legacy = authentication
            .legacy
            .as_ref()
            .and_then(|legacy| Legacy::compile(legacy, keyring, &mut problems));
        if let Some(problems) = Problems::from_list(problems) {
            return Err(problems);
        }
        let origins = legacy.iter().flat_map(Legacy::rules);
        let all: Vec<_> = rules.iter().chain(origins).collect();
        let mut outputs: Vec<_> = all
            .iter()
            .flat_map(|rule| rule.output_headers())
            .cloned()
            .collect();
        outputs.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        outputs.dedup();
        let hidden = all
            .iter()
            .flat_map(|rule| rule.parameters())
            .filter(|name| !query::is_token(name.as_bytes(), b""))
            .map(Box::from)
            .collect();
        let has_rules = !rules.is_empty() || legacy.is_some();
        Ok(Self {
            rules,
            legacy,
            outputs: outputs.into(),
            hidden,
            check: has_rules.then(|| TokenCheck::new(keyring.counts().clone())),
            counts: keyring.counts().clone(),
        })
    }

    /// The guard's step: verifies the tokens of a request by Istio's rules, removes them as the
    /// rules say, and sets output headers.
    ///
    /// Leaves the claims of a good token in `exchange` and returns them; returns `None` without a
    /// token. `now` decides about expiry.
    ///
    /// # Errors
    ///
    /// The reply to give instead of calling the application: 401, or 403 for a token with another
    /// audience.
    pub fn authenticate(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
    ) -> Result<Option<Claims>, LocalReply> {
        self.authenticate_on(&Terms::default(), head, exchange, now)
    }

    /// As [`authenticate`](Self::authenticate), for a request whose path an earlier guard has
    /// normalized. `path` is the result; `None` if it is the URI's own path.
    ///
    /// # Errors
    ///
    /// As [`authenticate`](Self::authenticate).
    pub fn authenticate_normalized(
        &self,
        path: Option<&str>,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
    ) -> Result<Option<Claims>, LocalReply> {
        self.hide(head, exchange);
        let path = RequestPath::Normalized(path);
        let terms = Terms::default();
        let good = self.step(&terms, path, head, exchange, now, Patience::None)?;
        Ok(good.map(|verified| verified.publish(head, exchange)))
    }

    /// As [`authenticate_normalized`](Self::authenticate_normalized), with the settings of a mesh,
    /// for a request whose target this authenticator has already [shown](Self::show). The exchange
    /// alone gets the claims.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn authenticate_shown(
        &self,
        terms: &Terms,
        path: Option<&str>,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        patience: Patience,
    ) -> Result<(), Denied> {
        let path = RequestPath::Normalized(path);
        let good = self.step(terms, path, head, exchange, now, patience)?;
        if let Some(verified) = good {
            verified.leave(head, exchange);
        }
        Ok(())
    }

    /// As [`authenticate`](Self::authenticate), with the settings of a guard that can let the
    /// request wait.
    pub(crate) fn judge(
        &self,
        terms: &Terms,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        patience: Patience,
    ) -> Result<(), Denied> {
        self.hide(head, exchange);
        let good = self.step(terms, RequestPath::AsSent, head, exchange, now, patience)?;
        if let Some(verified) = good {
            verified.leave(head, exchange);
        }
        Ok(())
    }

    /// As [`authenticate`](Self::authenticate), but by the letter of the RFCs where Istio is
    /// lenient: see [`JwtLayer::strict`](super::JwtLayer::strict).
    ///
    /// # Errors
    ///
    /// As [`authenticate`](Self::authenticate).
    pub fn authenticate_strictly(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
    ) -> Result<Option<Claims>, LocalReply> {
        self.authenticate_on(&Terms::strict(), head, exchange, now)
    }

    /// As [`authenticate`](Self::authenticate), with the settings of a guard.
    pub(crate) fn authenticate_on(
        &self,
        terms: &Terms,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
    ) -> Result<Option<Claims>, LocalReply> {
        self.hide(head, exchange);
        let path = RequestPath::AsSent;
        let good = self.step(terms, path, head, exchange, now, Patience::None)?;
        Ok(good.map(|verified| verified.publish(head, exchange)))
    }

    /// Whether there are rules by which a request can be refused.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn has_rules(&self) -> bool {
        self.check.is_some()
    }

    fn step(
        &self,
        terms: &Terms,
        path: RequestPath<'_>,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        patience: Patience,
    ) -> Result<Option<Verified>, Denied> {
        self.take_off_outputs(&mut head.headers, exchange);
        if self.check.is_none() && terms.mode != TokenMode::Required {
            return Ok(None);
        }
        // A legacy Policy may concern peers alone, and take no token.
        let legacy = self.legacy.as_ref();
        if !self.rules.is_empty() || legacy.is_some_and(|it| it.rules().next().is_some()) {
            exchange.set_verifies_tokens();
        }
        let is_preflight = is_preflight(&head.method, &head.headers);
        let is_free = is_preflight || terms.excludes(path, head, exchange);
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs() as f64);
        let circumstances = Circumstances {
            path,
            is_preflight,
            reading: terms.reading,
        };
        let verdict = match (&self.check, &self.legacy, self.rules.as_slice()) {
            (Some(check), Some(legacy), []) => legacy
                .authenticate(check, head, exchange, circumstances, now)
                .and_then(|last_good| {
                    let refuse = |_| legacy::refuse("Origin authentication failed.");
                    check_principal(last_good, exchange).map_err(refuse)
                })
                .map_err(Denied::from)
                .inspect_err(|_| check.counts.refused(None)),
            (Some(check), _, rules) if !is_free => check
                .by_rules(rules, head, terms.reading, now)
                .and_then(|last_good| Ok(check_principal(last_good, exchange)?))
                .or_else(|refused| self.bad_token(refused, terms, head, exchange, now, patience)),
            _ => Ok(None),
        };
        let verdict = verdict.and_then(|found| {
            let misses = found.is_none() && exchange.claims().is_none();
            match misses && !is_free && terms.mode == TokenMode::Required {
                true => Err(self.no_token(head, exchange).into()),
                false => Ok(found),
            }
        });
        verdict.inspect_err(|denied| {
            if denied.wait.is_none() {
                exchange.set_details(Arc::clone(denied.reply.details()));
            }
        })
    }

    /// What becomes of a request with a bad token: it waits for newer keys, or passes as one
    /// without a token, or is refused.
    fn bad_token(
        &self,
        refused: Refused,
        terms: &Terms,
        head: &mut Parts,
        exchange: &Exchange,
        now: f64,
        patience: Patience,
    ) -> Result<Option<Verified>, Denied> {
        let refusal = refused.refusal;
        let rule = refused.lacks_key.and_then(|index| self.rules.get(index));
        let wait = match patience {
            Patience::MayWait => rule.and_then(|rule| KeyWait::begin(&rule.jwks, now)),
            Patience::None => None,
        };
        if wait.is_some() {
            let reply = self.reply(refusal, head, exchange);
            return Err(Denied { reply, wait });
        }
        if terms.mode == TokenMode::ReportOnly {
            self.counts.reported(refusal);
            refusal_log::token_reported(head, exchange, &refusal);
            TokenCheck::take_out(&self.rules, head, terms.reading);
            return Ok(None);
        }
        self.counts.refused(Some(refusal));
        Err(self.reply(refusal, head, exchange).into())
    }

    fn no_token(&self, head: &Parts, exchange: &Exchange) -> LocalReply {
        if self.check.is_none() {
            limited!(
                target: "tower_mesh::access",
                ERROR,
                "tokens are required, and no token rule applies: every request is refused; \
                 add a RequestAuthentication that selects this workload"
            );
        }
        self.counts.refused(Some(Refusal::NoToken));
        self.reply(Refusal::NoToken, head, exchange)
    }

    fn reply(&self, refusal: Refusal, head: &Parts, exchange: &Exchange) -> LocalReply {
        let stripped = self.shown(&head.uri, exchange);
        let shown = stripped.as_ref().unwrap_or(&head.uri);
        answer::refuse(refusal, head, exchange, shown)
    }

    /// The headers that only this guard may set.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn outputs(&self) -> &Arc<[HeaderName]> {
        &self.outputs
    }

    /// Removes headers that only this guard may set, with or without a token (rules J-26, H-16).
    /// The value that an outer guard has set stays.
    pub(crate) fn take_off_outputs(&self, headers: &mut HeaderMap, exchange: &Exchange) {
        for name in &*self.outputs {
            match exchange.output(name) {
                Some(told) if headers.contains_key(name) => {
                    headers.insert(name.clone(), told.clone());
                }
                _ => {
                    headers.remove(name);
                }
            }
        }
        if !self.outputs.is_empty() {
            self.take_off_twins(headers, exchange);
        }
    }

    /// Removes headers that some programs take for one of the output headers, because these
    /// programs do not distinguish `_` from `-`.
    fn take_off_twins(&self, headers: &mut HeaderMap, exchange: &Exchange) {
        let is_same = |name: &HeaderName, output: &HeaderName| {
            header_name::is_same_name(name.as_str(), output.as_str())
        };
        let twins: Vec<_> = headers
            .keys()
            .filter(|name| self.outputs.iter().any(|output| is_same(name, output)))
            .filter(|name| !self.outputs.contains(name) && exchange.output(name).is_none())
            .cloned()
            .collect();
        for twin in twins {
            headers.remove(twin);
        }
    }

    /// The target without the query parameters that may hold a token (rule J-25): safe to log.
    /// `None` when there is nothing to hide.
    ///
    /// These are the parameters where the rules look for tokens, `access_token`, and those whose
    /// value has the form of a token.
    #[must_use]
    pub fn without_tokens(&self, target: &Uri) -> Option<Uri> {
        without_parameters(target, |key, value| {
            self.is_hidden(key) || query::is_token(key, value)
        })
    }

    /// As [`without_tokens`](Self::without_tokens), also without the parameters where earlier
    /// guards look.
    fn shown(&self, target: &Uri, exchange: &Exchange) -> Option<Uri> {
        let names_others = !self.hidden.is_empty() || exchange.hidden_parameters().next().is_some();
        if target.query()?.len() < query::SHORTEST_QUERY && !names_others {
            return None;
        }
        without_parameters(target, |key, value| {
            let mut hidden = exchange.hidden_parameters();
            self.is_hidden(key)
                || query::is_token(key, value)
                || hidden.any(|name| query::is_name(key, name))
        })
    }

    fn is_hidden(&self, key: &[u8]) -> bool {
        self.hidden.iter().any(|name| query::is_name(key, name))
    }

    /// Keeps the target for spans and observers, without what may hold a token (rule J-25).
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn show(&self, head: &Parts, exchange: &Exchange) {
        if exchange.target().is_some() {
            // A layer further out has kept it.
            self.hide(head, exchange);
            return;
        }
        let sent = Exchange::sent_uri(head);
        let shown = self.shown(sent, exchange);
        exchange.set_target(shown.unwrap_or_else(|| sent.clone()));
        if self.may_hold_one(head) {
            exchange.hide(&self.hidden, None);
        }
    }

    /// Records which parameters the outer layers, which see the target as it was sent, must not
    /// show.
    fn hide(&self, head: &Parts, exchange: &Exchange) {
        let target = exchange
            .target()
            .and_then(|target| self.shown(target, exchange));
        if target.is_some() || self.may_hold_one(head) {
            exchange.hide(&self.hidden, target);
        }
    }

    /// Whether a parameter that the rules name may come with this request.
    fn may_hold_one(&self, head: &Parts) -> bool {
        !self.hidden.is_empty()
            && (head.uri.query().is_some() || head.headers.contains_key("x-envoy-original-path"))
    }
}

/// A CORS preflight: browsers send it without credentials.
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let has = |name: HeaderName| headers.get(name).is_some_and(|value| !value.is_empty());
    method == Method::OPTIONS && has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
}
