use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::encoding::Reading;
use super::few::Few;
use super::legacy::{self, Asked, Legacy, TriggerPath};
use super::rule::Rule;
use super::seen::{EntryKey, SeenTokens};
use super::token::{Jws, verify, without_parameters};
use super::verified::{Standing, Verified, beside};
use super::{Counts, Keyring, Refusal, answer};
use crate::context::{Claims, Exchange};
use crate::istio::Problems;
use crate::log_limit::limited;
use crate::matcher::query;
use crate::message::LocalReply;
use crate::policy::Authentication;

/// Decides which end-user tokens are good: the rules of every RequestAuthentication (or legacy Policy) that applies, with the tokens they
/// have lately seen.
///
/// It never demands a token; policies do.
#[derive(Debug)]
pub struct Authenticator {
    rules: Vec<Rule>,
    legacy: Option<Legacy>,
    /// Headers that only this guard may set.
    outputs: Vec<HeaderName>,
    /// Query parameters that may hold a token, besides those that nobody shows: they must not show in replies, logs or spans.
    hidden: Arc<[Box<str>]>,
    seen: Option<SeenTokens<Verified>>,
    counts: Counts,
}

/// What applying one rule to a request came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request holds no token where the rule looks.
    Missed,
    /// All its tokens are good.
    Good,
    /// One is bad.
    Bad(Refusal),
}

impl Authenticator {
    /// Prepares the rules of one port.
    ///
    /// Key sets that have to be fetched are taken from `keyring`, or put on it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the rules: inline keys that cannot be used, key URIs that are not `https`, header names that are none.
    pub fn compile(
        authentication: &Authentication,
        keyring: &mut Keyring,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let rules: Vec<_> = authentication
            .rules
            .iter()
            .filter_map(|rule| Rule::compile(rule, keyring, &mut problems))
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
            seen: has_rules.then(SeenTokens::new),
            counts: keyring.counts().clone(),
        })
    }

    /// The guard's step: verifies the tokens of a request by Istio's rules, takes them out as the rules say, and sets output headers.
    ///
    /// The claims of a good token are left in `exchange` and returned; `None` without a token. `now` decides about expiry.
    ///
    /// # Errors
    ///
    /// The reply to give instead of calling the application: 401, or 403 for a token that is meant for others.
    pub fn authenticate(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
    ) -> Result<Option<Claims>, LocalReply> {
        self.step(head, exchange, now, Reading::Envoy, TriggerPath::AsSent)
    }

    /// [`authenticate`](Self::authenticate), of a request whose path the guard in front of us has normalized: to this, where it is not the
    /// URI's own.
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
        let path = TriggerPath::Normalized(path);
        self.step(head, exchange, now, Reading::Envoy, path)
    }

    /// [`authenticate`](Self::authenticate) by the letter of the RFCs, where Istio is lenient: see
    /// [`JwtLayer::strict`](super::JwtLayer::strict).
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
        self.step(head, exchange, now, Reading::Strict, TriggerPath::AsSent)
    }

    /// Whether there is anything that a request can be refused by.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn has_rules(&self) -> bool {
        self.seen.is_some()
    }

    fn step(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        reading: Reading,
        path: TriggerPath<'_>,
    ) -> Result<Option<Claims>, LocalReply> {
        self.hide(head, exchange);
        self.take_off_outputs(&mut head.headers, exchange);
        if self.seen.is_none() {
            return Ok(None);
        }
        // A legacy Policy may be of peers alone, and take no token.
        let legacy = self.legacy.as_ref();
        if !self.rules.is_empty() || legacy.is_some_and(|it| it.rules().next().is_some()) {
            exchange.set_verifies_tokens();
        }
        let is_preflight = is_preflight(&head.method, &head.headers);
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs() as f64);
        let asked = Asked {
            path,
            is_preflight,
            reading,
        };
        let verdict = match (&self.legacy, self.rules.as_slice()) {
            (Some(legacy), []) => legacy
                .authenticate(self, head, exchange, asked, now)
                .and_then(|standing| {
                    let refuse = |_| legacy::refuse("Origin authentication failed.");
                    beside(standing, exchange).map_err(refuse)
                })
                .inspect_err(|_| self.counts.refused(None)),
            (_, _) if is_preflight => return Ok(None),
            (_, rules) => self
                .by_rules(rules, head, reading, now)
                .and_then(|standing| beside(standing, exchange))
                .inspect_err(|refusal| self.counts.refused(Some(*refusal)))
                .map_err(|refusal| {
                    let stripped = self.shown(&head.uri, exchange);
                    let shown = stripped.as_ref().unwrap_or(&head.uri);
                    answer::refuse(refusal, head, exchange, shown)
                }),
        };
        match verdict {
            Ok(standing) => Ok(standing.map(|verified| verified.stand(head, exchange))),
            Err(reply) => {
                exchange.set_details(Arc::clone(reply.details()));
                Err(reply)
            }
        }
    }

    /// No client may set what only this guard sets, with or without a token (rule J-26); what a guard further out has told stays.
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

    /// The algorithm for several rules: the first one whose tokens are all good decides; else every one must be good or find nothing.
    ///
    /// What stands is the token that was found good last, as in Envoy, where each one replaces the metadata of the one before: also one
    /// whose rule failed on another token and then, when it was taken out, finds nothing any more.
    fn by_rules(
        &self,
        rules: &[Rule],
        head: &mut Parts,
        reading: Reading,
        now: f64,
    ) -> Result<Option<Verified>, Refusal> {
        if reading == Reading::Strict {
            return self.by_all_rules(rules.iter().enumerate(), head, now);
        }
        let mut standing = Standing::default();
        let mut worst = Refusal::Issuer;
        let mut note = |refusal| {
            if refusal != Refusal::Issuer {
                worst = refusal;
            }
        };
        let mut missed_all = true;
        for (index, rule) in rules.iter().enumerate() {
            match self.apply(index, rule, head, now, &mut standing) {
                Outcome::Good => return Ok(standing.into_verified()),
                Outcome::Missed => {}
                Outcome::Bad(refusal) => {
                    note(refusal);
                    missed_all = false;
                }
            }
        }
        if missed_all {
            return Ok(None);
        }
        if let [_] = rules {
            return Err(worst);
        }
        // Again, on the request as it now is: tokens that were good have been taken out of it.
        for (index, rule) in rules.iter().enumerate() {
            if let Outcome::Bad(refusal) = self.apply(index, rule, head, now, &mut standing) {
                note(refusal);
                return Err(worst);
            }
        }
        Ok(standing.into_verified())
    }

    /// Rule J-21: every token of the request must be good by some rule, and all must speak of one principal.
    pub(crate) fn by_all_rules<'r>(
        &self,
        rules: impl Iterator<Item = (usize, &'r Rule)>,
        head: &mut Parts,
        now: f64,
    ) -> Result<Option<Verified>, Refusal> {
        let mut good: Vec<(Vec<u8>, Verified)> = Vec::new();
        let mut bad: Vec<(Vec<u8>, Refusal)> = Vec::new();
        let mut taken_out = Vec::new();
        for (index, rule) in rules {
            for found in rule.find(&head.uri, &head.headers, Reading::Strict).iter() {
                let token = found.token.to_vec();
                match self.verify(index, rule, &token, Reading::Strict, now) {
                    Ok(verified) => {
                        good.push((token, verified));
                        taken_out.extend((!rule.forwards).then_some(found.place));
                    }
                    Err(refusal) => bad.push((token, refusal)),
                }
            }
        }
        bad.retain(|(token, _)| good.iter().all(|(other, _)| other != token));
        let known = bad.iter().rfind(|(_, refusal)| *refusal != Refusal::Issuer);
        if let Some((_, refusal)) = known.or_else(|| bad.last()) {
            return Err(*refusal);
        }
        let Some((token, standing)) = good.first() else {
            return Ok(None);
        };
        let is_same = |(other, verified): &(Vec<u8>, Verified)| {
            other == token || verified.is_of_principal(&standing.claims)
        };
        if !good.iter().all(is_same) {
            return Err(Refusal::Ambiguous);
        }
        for place in taken_out {
            place.remove(head);
        }
        Ok(Some(standing.clone()))
    }

    /// Verifies every token that a rule finds, the last first. Each good one is taken out, unless the rule forwards it, and stands until
    /// another one does; the first bad one ends it.
    pub(crate) fn apply(
        &self,
        index: usize,
        rule: &Rule,
        head: &mut Parts,
        now: f64,
        standing: &mut Standing,
    ) -> Outcome {
        let found = rule.find(&head.uri, &head.headers, Reading::Envoy);
        if found.is_empty() {
            return Outcome::Missed;
        }
        if found.len() > 1 {
            limited!(
                WARN,
                tokens = found.len(),
                "a request carries several tokens"
            );
        }
        let mut outcome = Outcome::Good;
        let mut last = None;
        let mut taken_out = Few::new();
        for found in found.iter().rev() {
            match self.verify(index, rule, &found.token, Reading::Envoy, now) {
                Ok(verified) => {
                    last = Some((verified, &found.token));
                    if !rule.forwards {
                        taken_out.push(found.place);
                    }
                }
                Err(refusal) => {
                    outcome = Outcome::Bad(refusal);
                    break;
                }
            }
        }
        if let Some((verified, token)) = last {
            standing.replace(verified, token, outcome == Outcome::Good);
        }
        for place in taken_out.iter() {
            place.remove(head);
        }
        outcome
    }

    /// One token by one rule: as it was remembered, else by its signature.
    fn verify(
        &self,
        index: usize,
        rule: &Rule,
        token: &[u8],
        reading: Reading,
        now: f64,
    ) -> Result<Verified, Refusal> {
        let mut key = EntryKey {
            rule: index,
            keys: rule.jwks.generation(now).unwrap_or_default(),
            strict: reading == Reading::Strict,
        };
        let seen = self.seen.as_ref();
        if let Some(verified) = seen.and_then(|seen| seen.get(token, key, now)) {
            self.counts.remembered();
            return Ok(verified);
        }
        let check_signature = |jws: &Jws<'_>, signature: &Vec<u8>| {
            key.keys = rule.jwks.check(now, |keys| {
                keys.verify(jws.algorithm, jws.key_id(), reading, &jws.signed, signature)
            })?;
            Ok(())
        };
        let passed = verify(token, &rule.demands, reading, now, check_signature)?;
        let mut headers = Vec::new();
        if let Some(name) = &rule.payload_header
            && let Ok(payload) = HeaderValue::from_bytes(passed.payload)
        {
            headers.push((name.clone(), payload));
        }
        for output in &rule.claim_headers {
            if let Some(value) = output.value(&passed.claims) {
                headers.push((output.header.clone(), value));
            }
        }
        let claims = match &self.legacy {
            // Legacy policies split every claim themselves.
            Some(_) => passed.claims,
            None => rule.policy_claims(passed.claims),
        };
        let verified = Verified {
            claims: Claims::new(claims),
            headers: (!headers.is_empty()).then(|| headers.into()),
        };
        if let Some(seen) = seen {
            seen.put(token, key, passed.window, now, verified.clone());
        }
        self.counts.verified();
        Ok(verified)
    }

    /// The target without query parameters that may hold a token (rule J-25): what may be logged. `None` when there is nothing to hide.
    ///
    /// These are the parameters in which the rules look, `access_token`, and those whose value has the form of a token.
    #[must_use]
    pub fn without_tokens(&self, target: &Uri) -> Option<Uri> {
        without_parameters(target, |key, value| {
            self.is_hidden(key) || query::is_token(key, value)
        })
    }

    /// As [`without_tokens`](Self::without_tokens), also without the parameters in which the guards before this one look.
    fn shown(&self, target: &Uri, exchange: &Exchange) -> Option<Uri> {
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

    /// Tells those outside, who see the target as it was sent, which parameters they must not show.
    pub(crate) fn hide(&self, head: &Parts, exchange: &Exchange) {
        let target = exchange
            .target()
            .and_then(|target| self.shown(target, exchange));
        let may_hold_one = !self.hidden.is_empty()
            && (head.uri.query().is_some() || head.headers.contains_key("x-envoy-original-path"));
        if target.is_some() || may_hold_one {
            exchange.hide(&self.hidden, target);
        }
    }
}

/// A CORS preflight carries no credentials: browsers send none.
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let has = |name: HeaderName| headers.get(name).is_some_and(|value| !value.is_empty());
    method == Method::OPTIONS && has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
}
