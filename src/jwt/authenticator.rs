//! The rules for the tokens of one port, and the step that applies them to a request.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::answer;
use super::check::TokenCheck;
use super::encoding::Reading;
use super::keys::{KeyWait, Keyring};
use super::legacy::{self, Circumstances, Legacy, TriggerPath};
use super::rule::TokenRule;
use super::token::without_parameters;
use super::verified::{Verified, check_principal};
use crate::context::{Claims, Exchange};
use crate::istio::Problems;
use crate::matcher::query;
use crate::message::LocalReply;
use crate::policy::Authentication;

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
/// It never demands a token; policies do.
#[derive(Debug)]
pub struct Authenticator {
    rules: Vec<TokenRule>,
    legacy: Option<Legacy>,
    /// Headers that only this guard may set.
    outputs: Vec<HeaderName>,
    /// Query parameters that may hold a token, apart from those that are never shown. They must not
    /// appear in replies, logs or spans.
    hidden: Arc<[Box<str>]>,
    /// `None` where there are no rules.
    check: Option<TokenCheck>,
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
            outputs,
            hidden,
            check: has_rules.then(|| TokenCheck::new(keyring.counts().clone())),
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
        self.hide(head, exchange);
        let path = TriggerPath::AsSent;
        let good = self.step(head, exchange, now, Reading::Envoy, path, Patience::None)?;
        Ok(good.map(|verified| verified.publish(head, exchange)))
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
        let path = TriggerPath::Normalized(path);
        let good = self.step(head, exchange, now, Reading::Envoy, path, Patience::None)?;
        Ok(good.map(|verified| verified.publish(head, exchange)))
    }

    /// As [`authenticate_normalized`](Self::authenticate_normalized), for a request whose target
    /// this authenticator has already [shown](Self::show). The exchange alone gets the claims.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn authenticate_shown(
        &self,
        path: Option<&str>,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        patience: Patience,
    ) -> Result<(), Denied> {
        let path = TriggerPath::Normalized(path);
        let good = self.step(head, exchange, now, Reading::Envoy, path, patience)?;
        if let Some(verified) = good {
            verified.leave(head, exchange);
        }
        Ok(())
    }

    /// As [`authenticate`](Self::authenticate) or
    /// [`authenticate_strictly`](Self::authenticate_strictly), for a guard that can let the request
    /// wait.
    pub(crate) fn judge(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        reading: Reading,
        patience: Patience,
    ) -> Result<(), Denied> {
        self.hide(head, exchange);
        let path = TriggerPath::AsSent;
        let good = self.step(head, exchange, now, reading, path, patience)?;
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
        self.hide(head, exchange);
        let path = TriggerPath::AsSent;
        let good = self.step(head, exchange, now, Reading::Strict, path, Patience::None)?;
        Ok(good.map(|verified| verified.publish(head, exchange)))
    }

    /// Whether there are rules by which a request can be refused.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn has_rules(&self) -> bool {
        self.check.is_some()
    }

    fn step(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        reading: Reading,
        path: TriggerPath<'_>,
        patience: Patience,
    ) -> Result<Option<Verified>, Denied> {
        self.take_off_outputs(&mut head.headers, exchange);
        let Some(check) = &self.check else {
            return Ok(None);
        };
        // A legacy Policy may concern peers alone, and take no token.
        let legacy = self.legacy.as_ref();
        if !self.rules.is_empty() || legacy.is_some_and(|it| it.rules().next().is_some()) {
            exchange.set_verifies_tokens();
        }
        let is_preflight = is_preflight(&head.method, &head.headers);
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs() as f64);
        let circumstances = Circumstances {
            path,
            is_preflight,
            reading,
        };
        let verdict = match (&self.legacy, self.rules.as_slice()) {
            (Some(legacy), []) => legacy
                .authenticate(check, head, exchange, circumstances, now)
                .and_then(|last_good| {
                    let refuse = |_| legacy::refuse("Origin authentication failed.");
                    check_principal(last_good, exchange).map_err(refuse)
                })
                .map_err(Denied::from)
                .inspect_err(|_| check.counts.refused(None)),
            (_, _) if is_preflight => return Ok(None),
            (_, rules) => check
                .by_rules(rules, head, reading, now)
                .and_then(|last_good| Ok(check_principal(last_good, exchange)?))
                .map_err(|refused| {
                    let rule = refused.lacks_key.and_then(|index| rules.get(index));
                    let wait = match patience {
                        Patience::MayWait => rule.and_then(|rule| rule.jwks.wait(now)),
                        Patience::None => None,
                    };
                    if wait.is_none() {
                        check.counts.refused(Some(refused.refusal));
                    }
                    let stripped = self.shown(&head.uri, exchange);
                    let shown = stripped.as_ref().unwrap_or(&head.uri);
                    let reply = answer::refuse(refused.refusal, head, exchange, shown);
                    Denied { reply, wait }
                }),
        };
        verdict.inspect_err(|denied| {
            if denied.wait.is_none() {
                exchange.set_details(Arc::clone(denied.reply.details()));
            }
        })
    }

    /// Removes headers that only this guard may set, with or without a token (rule J-26). The value
    /// that an outer guard has set stays.
    fn take_off_outputs(&self, headers: &mut HeaderMap, exchange: &Exchange) {
        for name in &self.outputs {
            match exchange.output(name) {
                Some(told) if headers.contains_key(name) => {
                    headers.insert(name.clone(), told.clone());
                }
                _ => {
                    headers.remove(name);
                }
            }
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
