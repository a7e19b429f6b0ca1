use std::fmt;

use crate::policy::PolicyId;

/// Which rule an answer is expected to come from.
///
/// | Text | Means |
/// |---|---|
/// | `check-in/0` | rule 0 (the first) of the AuthorizationPolicy `check-in`, in whatever namespace |
/// | `default/check-in/0` | the same in the namespace `default` |
/// | `check-in` | any rule of that policy; a legacy ServiceRole |
/// | `ns[default]-policy[check-in]-rule[0]` | the name as Envoy reports it |
/// | `none` | no rule: refused because no ALLOW rule matched, or allowed because no ALLOW policy applies |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    text: String,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    NoRule,
    Name,
    Rule {
        namespace: Option<String>,
        policy: String,
        rule: Option<String>,
    },
}

impl By {
    /// Reads a text of one of these forms.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('/').collect();
        let owned = |text: &str| text.to_owned();
        let wanted = match parts.as_slice() {
            ["none"] => Wanted::NoRule,
            _ if text.contains('[') => Wanted::Name,
            [policy] if !policy.is_empty() => Wanted::Rule {
                namespace: None,
                policy: owned(policy),
                rule: None,
            },
            [policy, rule] if !policy.is_empty() && is_number(rule) => Wanted::Rule {
                namespace: None,
                policy: owned(policy),
                rule: Some(owned(rule)),
            },
            [namespace, policy, rule] if !policy.is_empty() && is_number(rule) => Wanted::Rule {
                namespace: Some(owned(namespace)),
                policy: owned(policy),
                rule: Some(owned(rule)),
            },
            _ => {
                return Err(format!(
                    "`{text}` names no rule; write POLICY/RULE with the rule's number from 0, as in check-in/0, or none"
                ));
            }
        };
        Ok(Self {
            text: text.to_owned(),
            wanted,
        })
    }

    /// Whether this is the rule that decided.
    #[must_use]
    pub fn is(&self, decided: Option<&PolicyId>) -> bool {
        let Some(name) = decided.map(PolicyId::as_str) else {
            return self.wanted == Wanted::NoRule;
        };
        match &self.wanted {
            Wanted::NoRule => false,
            Wanted::Name => name == self.text,
            Wanted::Rule {
                namespace,
                policy,
                rule,
            } => match parts(name) {
                Some((of_namespace, of_policy, number)) => {
                    of_policy == policy
                        && namespace.as_deref().is_none_or(|one| one == of_namespace)
                        && rule.as_deref().is_none_or(|one| one == number)
                }
                None => name == policy && namespace.is_none() && rule.is_none(),
            },
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Namespace, policy and number of a rule's name; CUSTOM puts a prefix and a suffix around them.
fn parts(name: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = name.split_once("ns[")?;
    let (namespace, rest) = rest.split_once("]-policy[")?;
    let (policy, rest) = rest.split_once("]-rule[")?;
    let (number, _) = rest.split_once(']')?;
    Some((namespace, policy, number))
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>()
        .is_ok_and(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_as_shortly_as_it_is_clear() {
        let is = |text: &str, name: &str| By::parse(text).unwrap().is(Some(&PolicyId::new(name)));
        let first = "ns[default]-policy[check-in]-rule[0]";
        for text in ["check-in/0", "default/check-in/0", "check-in", first] {
            assert!(is(text, first), "{text}");
        }
        for text in [
            "check-in/1",
            "other/check-in/0",
            "check",
            "none",
            "check-in/10",
        ] {
            assert!(!is(text, first), "{text}");
        }
        assert!(is(
            "ward/2",
            "istio-ext-authz-opa-ns[a]-policy[ward]-rule[2]-deny-due-to-bad-CUSTOM-action"
        ));
        assert!(is("patients-querier", "patients-querier"));
        assert!(!is("patients-querier/0", "patients-querier"));
        assert!(By::parse("none").unwrap().is(None));
        assert!(!By::parse("check-in/0").unwrap().is(None));
        for wrong in ["", "/0", "a/b", "a/-1", "a/00", "a/b/c/0", "a/"] {
            assert!(By::parse(wrong).is_err(), "{wrong}");
        }
    }
}
