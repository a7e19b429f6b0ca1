use serde_json::Value;

use super::request::Request;
use crate::istio::{LegacyJwt, PrincipalBinding, StringMatch};
use crate::matcher::{SafeRegex, StringMatcher};
use crate::policy::{Attributes, LegacyAuthentication, eval};

/// Which requests the trigger rules of a legacy origin apply to, worked out ahead of time.
#[derive(Clone, Debug)]
pub struct Triggers(Vec<Trigger>);

#[derive(Clone, Debug, Default)]
struct Trigger {
    excluded: Vec<StringMatcher>,
    included: Vec<StringMatcher>,
}

impl Triggers {
    /// The triggers of one origin. A regex that is none (the compiler refuses it) makes its rule
    /// apply to every path: a token too many is demanded rather than one too few.
    #[must_use]
    pub fn new(origin: &LegacyJwt) -> Self {
        let rules = origin.trigger_rules.iter();
        let triggers = rules.map(|rule| {
            let good = |list: &[StringMatch]| list.iter().map(matcher).collect::<Option<Vec<_>>>();
            match (good(&rule.excluded_paths), good(&rule.included_paths)) {
                (Some(excluded), Some(included)) => Trigger { excluded, included },
                _ => Trigger::default(),
            }
        });
        Self(triggers.collect())
    }

    /// Every test of a path, of all rules.
    pub fn paths(&self) -> impl Iterator<Item = &StringMatcher> {
        let triggers = self.0.iter();
        triggers.flat_map(|trigger| trigger.excluded.iter().chain(&trigger.included))
    }

    /// Whether the origin applies to a path (without its query): some rule does, or there is none.
    #[must_use]
    pub fn apply_to(&self, path: &str) -> bool {
        let matches = |list: &[StringMatcher]| list.iter().any(|one| one.matches(path.as_bytes()));
        let applies = |trigger: &Trigger| {
            !matches(&trigger.excluded)
                && (trigger.included.is_empty() || matches(&trigger.included))
        };
        self.0.is_empty() || self.0.iter().any(applies)
    }
}

/// Whether a request for this path must carry a token of the legacy Policy; with `USE_ORIGIN` and
/// no origin none is ever good.
pub(super) fn demands_token(policy: &LegacyAuthentication, path: &str) -> bool {
    let mut origins = policy.origins.iter();
    let unanswerable =
        policy.origins.is_empty() && policy.principal_binding == PrincipalBinding::UseOrigin;
    !policy.origin_is_optional
        && (unanswerable || origins.any(|origin| Triggers::new(origin).apply_to(path)))
}

/// Whether some origin applies to the request and takes tokens of its claims' issuer; claims that
/// name none are taken for good.
pub(super) fn takes_token(policy: &LegacyAuthentication, request: &Request) -> bool {
    let issuer = Attributes::claims(request).and_then(|claims| claims.get("iss"));
    let issuer = issuer.and_then(Value::as_str);
    let path = eval::url_path(request).unwrap_or_default();
    policy.origins.iter().any(|origin| {
        let own = origin.rule.issuer.as_deref();
        let is_own = own.is_none() || issuer.is_none() || own == issuer;
        is_own && Triggers::new(origin).apply_to(path)
    })
}

fn matcher(written: &StringMatch) -> Option<StringMatcher> {
    Some(match written {
        StringMatch::Exact(text) => StringMatcher::exact(text.as_str()),
        StringMatch::Prefix(text) => StringMatcher::prefix(text.as_str()),
        StringMatch::Suffix(text) => StringMatcher::suffix(text.as_str()),
        StringMatch::Regex(text) => SafeRegex::new(text).ok().map(StringMatcher::from)?,
    })
}
