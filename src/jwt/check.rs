//! Verifies the tokens that rules find, and remembers the good ones.

use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;
use smallvec::SmallVec;

use super::encoding::Reading;
use super::keys::Counts;
use super::refusal::Refusal;
use super::rule::TokenRule;
use super::seen::{EntryKey, SeenTokens};
use super::token::{Jws, Location, verify};
use super::verified::{LastGood, Verified};
use crate::context::Claims;
use crate::log_limit::limited;

/// The result of applying one rule to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RuleVerdict {
    /// The request has no token where the rule looks.
    NoToken,
    /// All its tokens are good.
    Good,
    /// One of its tokens is bad.
    Bad(Refusal),
}

/// Why the tokens of a request are refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// The rule that lacks the key of a token, if newer keys may make the request good. It is judged
    /// again then, so nothing may have been taken out of it.
    pub(crate) lacks_key: Option<usize>,
}

impl Refused {
    fn by_rule(index: usize, refusal: Refusal) -> Self {
        Self {
            refusal,
            lacks_key: (refusal == Refusal::NoKey).then_some(index),
        }
    }

    /// The verdict on a request of which some tokens were good: they may have been taken out.
    fn after(self, last_good: &LastGood) -> Self {
        Self {
            lacks_key: self.lacks_key.filter(|_| last_good.is_none()),
            ..self
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            lacks_key: None,
        }
    }
}

/// Checks tokens by rules: what the rules of RequestAuthentications and the origins of a legacy
/// Policy have in common.
#[derive(Debug)]
pub(crate) struct TokenCheck {
    seen: SeenTokens<Verified>,
    pub(crate) counts: Counts,
}

impl TokenCheck {
    pub(crate) fn new(counts: Counts) -> Self {
        Self {
            seen: SeenTokens::new(),
            counts,
        }
    }

    /// Applies several rules: the first one whose tokens are all good decides. If there is none,
    /// every rule must be good or find no token.
    ///
    /// The result is the token that was found good last, as in Envoy, where each good token
    /// replaces the metadata of the one before it. That includes a good token of a rule that failed
    /// on another token and finds none in the second pass, because the good one was removed.
    pub(crate) fn by_rules(
        &self,
        rules: &[TokenRule],
        head: &mut Parts,
        reading: Reading,
        now: f64,
    ) -> Result<Option<Verified>, Refused> {
        if reading == Reading::Strict {
            return self.by_all_rules(rules.iter().enumerate(), head, now);
        }
        let mut last_good = LastGood::default();
        let mut worst = Refused::from(Refusal::Issuer);
        let mut note = |index, refusal| {
            if refusal != Refusal::Issuer {
                worst = Refused::by_rule(index, refusal);
            }
        };
        let mut missed_all = true;
        for (index, rule) in rules.iter().enumerate() {
            match self.apply(index, rule, head, now, &mut last_good) {
                RuleVerdict::Good => return Ok(last_good.into_verified()),
                RuleVerdict::NoToken => {}
                RuleVerdict::Bad(refusal) => {
                    note(index, refusal);
                    missed_all = false;
                }
            }
        }
        if missed_all {
            return Ok(None);
        }
        if let [_] = rules {
            return Err(worst.after(&last_good));
        }
        // The second pass looks at the request as it is now: good tokens have been removed.
        for (index, rule) in rules.iter().enumerate() {
            if let RuleVerdict::Bad(refusal) = self.apply(index, rule, head, now, &mut last_good) {
                note(index, refusal);
                return Err(worst.after(&last_good));
            }
        }
        Ok(last_good.into_verified())
    }

    /// Rule J-21: every token of the request must be good by some rule, and all must name one
    /// principal.
    pub(crate) fn by_all_rules<'r>(
        &self,
        rules: impl Iterator<Item = (usize, &'r TokenRule)>,
        head: &mut Parts,
        now: f64,
    ) -> Result<Option<Verified>, Refused> {
        let mut good: Vec<(Vec<u8>, Verified)> = Vec::new();
        let mut bad: Vec<(Vec<u8>, Refused)> = Vec::new();
        let mut taken_out = Vec::new();
        for (index, rule) in rules {
            for found in rule.find(&head.uri, &head.headers, Reading::Strict).iter() {
                let token = found.token.to_vec();
                match self.verify(index, rule, &token, Reading::Strict, now) {
                    Ok(verified) => {
                        good.push((token, verified));
                        taken_out.extend((!rule.forwards).then_some(found.location));
                    }
                    Err(refusal) => bad.push((token, Refused::by_rule(index, refusal))),
                }
            }
        }
        bad.retain(|(token, _)| good.iter().all(|(other, _)| other != token));
        let known = bad
            .iter()
            .rfind(|(_, refused)| refused.refusal != Refusal::Issuer);
        if let Some((_, refused)) = known.or_else(|| bad.last()) {
            return Err(*refused);
        }
        let Some((token, first)) = good.first() else {
            return Ok(None);
        };
        let is_same = |(other, verified): &(Vec<u8>, Verified)| {
            other == token || verified.is_of_principal(&first.claims)
        };
        if !good.iter().all(is_same) {
            return Err(Refusal::Ambiguous.into());
        }
        for location in taken_out {
            location.remove(head);
        }
        Ok(Some(first.clone()))
    }

    /// Takes every token that a rule finds out of the request, unless the rule forwards tokens.
    pub(crate) fn take_out(rules: &[TokenRule], head: &mut Parts, reading: Reading) {
        for rule in rules.iter().filter(|rule| !rule.forwards) {
            let found = rule.find(&head.uri, &head.headers, reading);
            let locations: SmallVec<[&Location; 1]> =
                found.iter().map(|found| found.location).collect();
            drop(found);
            for location in locations {
                location.remove(head);
            }
        }
    }

    /// Verifies every token that a rule finds, the last one first. Removes each good one, unless
    /// the rule forwards it, and keeps it as the last good one. Stops at the first bad one.
    pub(crate) fn apply(
        &self,
        index: usize,
        rule: &TokenRule,
        head: &mut Parts,
        now: f64,
        last_good: &mut LastGood,
    ) -> RuleVerdict {
        let found = rule.find(&head.uri, &head.headers, Reading::Envoy);
        if found.is_empty() {
            return RuleVerdict::NoToken;
        }
        if found.len() > 1 {
            limited!(
                WARN,
                tokens = found.len(),
                "a request carries several tokens"
            );
        }
        let mut verdict = RuleVerdict::Good;
        let mut last = None;
        let mut taken_out = SmallVec::<[&Location; 1]>::new();
        for found in found.iter().rev() {
            match self.verify(index, rule, &found.token, Reading::Envoy, now) {
                Ok(verified) => {
                    last = Some((verified, &found.token));
                    if !rule.forwards {
                        taken_out.push(found.location);
                    }
                }
                Err(refusal) => {
                    verdict = RuleVerdict::Bad(refusal);
                    break;
                }
            }
        }
        if let Some((verified, token)) = last {
            last_good.replace(verified, token, verdict == RuleVerdict::Good);
        }
        drop(found);
        for location in taken_out {
            location.remove(head);
        }
        verdict
    }

    /// Checks one token by one rule: takes the remembered result, or verifies the signature.
    fn verify(
        &self,
        index: usize,
        rule: &TokenRule,
        token: &[u8],
        reading: Reading,
        now: f64,
    ) -> Result<Verified, Refusal> {
        let mut key = EntryKey {
            rule: index,
            keys: rule.jwks.generation(now).unwrap_or_default(),
            strict: reading == Reading::Strict,
        };
        if let Some(verified) = self.seen.get(token, key, now) {
            self.counts.remembered();
            return Ok(verified);
        }
        let check_signature = |jws: &Jws<'_>, signature: &Vec<u8>| {
            key.keys = rule.jwks.check(now, |keys| {
                let (algorithm, id) = (jws.header.algorithm, jws.header.key_id());
                keys.verify(algorithm, id, reading, &jws.signed, signature)
            })?;
            Ok(())
        };
        let last = rule.last_header.load();
        let known = last.as_ref();
        let passed = verify(token, &rule.demands, known, reading, now, check_signature)?;
        if known.is_none_or(|known| !Arc::ptr_eq(known, &passed.header)) {
            rule.last_header.store(Some(passed.header));
        }
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
        let verified = Verified {
            claims: match passed.workload {
                Some(id) => Claims::of_workload(rule.policy_claims(passed.claims), id),
                None => Claims::new(rule.policy_claims(passed.claims)),
            },
            headers: (!headers.is_empty()).then(|| headers.into()),
        };
        self.seen
            .put(token, key, passed.window, now, verified.clone());
        self.counts.verified();
        Ok(verified)
    }
}
