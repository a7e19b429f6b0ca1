use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::few::Few;
use super::legacy::{Asked, Legacy, TriggerPath};
use super::location::Place;
use super::rule::Rule;
use super::seen::{EntryKey, SeenTokens};
use super::token::Reading;
use super::verify;
use super::{Counts, Keyring, Refusal, answer, location};
use crate::context::{Claims, Exchange};
use crate::istio::Problems;
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
    seen: Option<SeenTokens<Verified>>,
    counts: Counts,
}

/// What a good token leaves in the request. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    /// `None` when the rule fills none.
    headers: Option<Arc<[(HeaderName, HeaderValue)]>>,
}

/// What applying one rule to a request came to.
pub(crate) enum Outcome {
    /// The request holds no token where the rule looks.
    Missed,
    /// All its tokens are good.
    Good(Claims),
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
        let mut outputs: Vec<_> = rules
            .iter()
            .flat_map(Rule::output_headers)
            .cloned()
            .collect();
        outputs.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        outputs.dedup();
        let has_rules = !rules.is_empty() || legacy.is_some();
        Ok(Self {
            rules,
            legacy,
            outputs,
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

    fn step(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
        reading: Reading,
        path: TriggerPath<'_>,
    ) -> Result<Option<Claims>, LocalReply> {
        // No client may set what only this guard sets, with or without a token (rule J-26).
        for name in &self.outputs {
            head.headers.remove(name);
        }
        if self.seen.is_none() {
            return Ok(None);
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
                .inspect_err(|_| self.counts.refused(None)),
            (_, _) if is_preflight => return Ok(None),
            (_, rules) => self
                .by_rules(rules, head, reading, now)
                .inspect_err(|refusal| self.counts.refused(Some(*refusal)))
                .map_err(|refusal| {
                    let stripped = self.without_tokens(&head.uri);
                    let shown = stripped.as_ref().unwrap_or(&head.uri);
                    answer::refuse(refusal, head, exchange, shown)
                }),
        };
        match verdict {
            Ok(claims) => {
                if let Some(claims) = &claims {
                    exchange.set_claims(claims.clone());
                }
                Ok(claims)
            }
            Err(reply) => {
                exchange.set_details(Arc::clone(reply.details()));
                Err(reply)
            }
        }
    }

    /// The algorithm for several rules: the first one whose tokens are all good decides; else every one must be good or find nothing.
    fn by_rules(
        &self,
        rules: &[Rule],
        head: &mut Parts,
        reading: Reading,
        now: f64,
    ) -> Result<Option<Claims>, Refusal> {
        if reading == Reading::Strict && rules.len() > 1 {
            return self.by_all_rules(rules, head, now);
        }
        let mut worst = Refusal::Issuer;
        let mut note = |refusal| {
            if refusal != Refusal::Issuer {
                worst = refusal;
            }
        };
        let mut missed_all = true;
        for (index, rule) in rules.iter().enumerate() {
            match self.apply(index, rule, head, reading, now) {
                Outcome::Good(claims) => return Ok(Some(claims)),
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
        let mut last = None;
        for (index, rule) in rules.iter().enumerate() {
            match self.apply(index, rule, head, reading, now) {
                Outcome::Good(claims) => last = Some(claims),
                Outcome::Missed => {}
                Outcome::Bad(refusal) => {
                    note(refusal);
                    return Err(worst);
                }
            }
        }
        Ok(last)
    }

    /// Rule J-21: every token of the request must be good by some rule, and all must speak of one principal.
    fn by_all_rules(
        &self,
        rules: &[Rule],
        head: &mut Parts,
        now: f64,
    ) -> Result<Option<Claims>, Refusal> {
        let mut good: Vec<(Vec<u8>, Claims)> = Vec::new();
        let mut bad: Vec<(Vec<u8>, Refusal)> = Vec::new();
        let mut effects = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for found in rule.find(&head.uri, &head.headers, Reading::Strict).iter() {
                let token = found.token.to_vec();
                match self.verify(index, rule, &token, Reading::Strict, now) {
                    Ok(verified) => {
                        good.push((token, verified.claims.clone()));
                        effects.push((rule, verified, found.place));
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
        let Some((_, first)) = good.first() else {
            return Ok(None);
        };
        let is_same = |claims: &Claims| {
            (claims.issuer(), claims.subject()) == (first.issuer(), first.subject())
        };
        if !good.iter().all(|(_, claims)| is_same(claims)) {
            return Err(Refusal::Ambiguous);
        }
        for (rule, verified, place) in effects.iter().rev() {
            leave(rule, verified, place, &mut head.uri, &mut head.headers);
        }
        Ok(Some(first.clone()))
    }

    /// Verifies every token that a rule finds, the last first. Each good one takes effect; the first bad one ends it.
    pub(crate) fn apply(
        &self,
        index: usize,
        rule: &Rule,
        head: &mut Parts,
        reading: Reading,
        now: f64,
    ) -> Outcome {
        let mut good = Few::new();
        let mut bad = None;
        let found = rule.find(&head.uri, &head.headers, reading);
        if found.is_empty() {
            return Outcome::Missed;
        }
        if found.len() > 1 {
            tracing::warn!(tokens = found.len(), "a request carries several tokens");
        }
        for found in found.iter().rev() {
            match self.verify(index, rule, &found.token, reading, now) {
                Ok(verified) => good.push((verified, found.place)),
                Err(refusal) => {
                    bad = Some(refusal);
                    break;
                }
            }
        }
        for (verified, place) in good.iter() {
            leave(rule, verified, place, &mut head.uri, &mut head.headers);
        }
        match (bad, good.into_last()) {
            (Some(refusal), _) => Outcome::Bad(refusal),
            (None, Some((verified, _))) => Outcome::Good(verified.claims),
            (None, None) => Outcome::Missed,
        }
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
        let check_signature = |jws: &super::token::Jws<'_>, signature: &Vec<u8>| {
            key.keys = rule.jwks.check(now, |keys| {
                keys.verify(jws.algorithm, jws.key_id(), &jws.signed, signature)
            })?;
            Ok(())
        };
        let passed = verify::verify(token, &rule.demands, reading, now, check_signature)?;
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

    /// Query parameters that may hold a token and must not show in replies, logs or spans.
    fn parameters(&self) -> impl Iterator<Item = &str> {
        let legacy = self.legacy.iter().flat_map(Legacy::rules);
        self.rules.iter().chain(legacy).flat_map(Rule::parameters)
    }

    /// The target without query parameters that may hold a token (rule J-25): what may be logged. `None` when there is nothing to hide.
    #[must_use]
    pub fn without_tokens(&self, target: &Uri) -> Option<Uri> {
        location::without_parameters(target, |key| {
            self.parameters().any(|name| location::is_name(key, name))
        })
    }
}

/// Takes a good token out of the request, unless the rule forwards it, and sets the headers that it fills.
fn leave(rule: &Rule, verified: &Verified, place: &Place, uri: &mut Uri, headers: &mut HeaderMap) {
    if !rule.forwards {
        place.remove(uri, headers);
    }
    for (name, value) in verified.headers.iter().flat_map(|headers| headers.iter()) {
        headers.insert(name.clone(), value.clone());
    }
}

/// A CORS preflight carries no credentials: browsers send none.
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let has = |name: HeaderName| headers.get(name).is_some_and(|value| !value.is_empty());
    method == Method::OPTIONS && has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
}
