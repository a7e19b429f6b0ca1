//! The text of a failed test.

use std::fmt::{Display, Write as _};

use super::answer::Answer;
use super::stubs::Stubs;
use crate::istio::Action;
use crate::policy::{Attributes, CustomMatch, Engine, PolicyId, Request, RuleReport};

/// A request in a line: what is asked, by whom, for which user.
pub(super) fn request_line(request: &Request) -> String {
    let mut line = match (request.method(), request.path()) {
        (Some(method), Some(target)) => format!("{method} {target}"),
        _ => format!(
            "TCP to port {}",
            request.destination_port().unwrap_or_default()
        ),
    };
    let _ = match request.certificate() {
        Some(certificate) => {
            let names = certificate.uri_sans.iter().chain(&certificate.dns_sans);
            let name = names.map(String::as_str).next();
            let name = name.unwrap_or(&certificate.subject);
            let name = name.strip_prefix("spiffe://").unwrap_or(name);
            write!(line, " as {name}")
        }
        None if request.is_tls() => write!(line, " over TLS without a certificate"),
        None => write!(line, " in plaintext"),
    };
    if let Some(claims) = request.claims() {
        let claim = |name| {
            let value = claims.get(name).and_then(|value| value.as_str());
            value.unwrap_or_default()
        };
        let _ = write!(line, ", user {}/{}", claim("iss"), claim("sub"));
    }
    line
}

/// An answer in a line: the verdict, the rule, where that is written.
pub(super) fn answer_line(engine: &Engine, answer: &Answer) -> String {
    let (refusal, judgement) = (answer.refusal(), &answer.judgement);
    let decision = &judgement.decision;
    let mut line = match decision.allowed {
        true => "allowed".to_owned(),
        false => "denied".to_owned(),
    };
    if let Some(status) = judgement.status.filter(|_| !decision.allowed) {
        let _ = write!(line, " {status}");
    }
    if let Some(refusal) = refusal {
        let _ = write!(line, " by the gate: {refusal} (rule {})", refusal.rule());
        return line;
    }
    let _ = match (&decision.policy, decision.action, judgement.status) {
        (Some(policy), _, _) => write!(line, " by {policy}{}", place(engine, policy)),
        (None, Some(Action::Allow), _) => write!(line, ": no ALLOW rule matches"),
        (None, _, Some(400)) => write!(line, ": no server takes its target, host or headers"),
        (None, _, Some(401)) => write!(line, ": a token is demanded"),
        (None, _, _) if decision.allowed => write!(line, ": no ALLOW policy applies"),
        (None, _, _) => write!(line, " before any rule was asked"),
    };
    line
}

/// What was asked, what was expected, what came and why.
pub(super) fn difference(
    engine: &Engine,
    request: &Request,
    expected: impl Display,
    answer: &Answer,
) -> String {
    let mut text = format!(
        "{}\n  expected: {expected}\n  got:      {}\n",
        request_line(request),
        answer_line(engine, answer)
    );
    if answer.refusal().is_some() {
        text.push_str("no rule is asked\n");
    }
    let why = answer.explain(engine);
    let (providers, rules) = why
        .map(|why| (why.providers, why.rules))
        .unwrap_or_default();
    for asked in &providers {
        let assumed = match asked.answer {
            None => "; here it is taken as allowing",
            Some(_) => "",
        };
        let _ = writeln!(text, "{asked}{assumed}");
    }
    if !rules.is_empty() {
        text.push_str("what the rules say:\n");
    }
    for rule in &rules {
        rule_lines(engine, rule, &mut text);
    }
    if assumes_trust_domain(engine, request) {
        let _ = writeln!(text, "{ASSUMED}");
    }
    text.trim_end().to_owned()
}

/// What was asked, what was expected, and which provider has no answer.
pub(super) fn unanswered(
    request: &Request,
    expected: impl Display,
    asked: &CustomMatch,
    stubs: &Stubs,
) -> String {
    let (
        line,
        CustomMatch {
            provider, policy, ..
        },
    ) = (request_line(request), asked);
    let known = match stubs.names().collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        names => format!("; answers are written for {}", names.join(", ")),
    };
    format!(
        "{line}\n  expected: {expected}\n  got:      {policy} asks the provider `{provider}`, and nothing says what it answers{known}\n\
         say it: Policies::provider(\"{provider}\", ProviderAnswer::Allow), or `providers: {{{provider}: allow}}` in a table"
    )
}

/// Whether a rule depends on a trust domain that nothing states, and the caller is of another one
/// than is assumed.
pub(super) fn assumes_trust_domain(engine: &Engine, request: &Request) -> bool {
    engine.program().assumes_trust_domain_of(request)
}

/// What a failure says then.
pub(super) const ASSUMED: &str = "note: rules name the mesh's own trust domain, which is taken for cluster.local; Workload::trust_domain, \
    `trustDomain` in a table, or a MeshConfig says otherwise";

/// A rule, where it is written, and which of its clauses kept it from matching.
fn rule_lines(engine: &Engine, rule: &RuleReport, text: &mut String) {
    let dry_run = if rule.dry_run { " (dry run)" } else { "" };
    let verdict = match rule.matched {
        true => "matches",
        false => "does not match",
    };
    let at = place(engine, &PolicyId::new(rule.policy.as_str()));
    let (action, policy) = (rule.action, &rule.policy);
    let _ = writeln!(text, "  {action}{dry_run} {policy}{at}: {verdict}");
    for clause in &rule.failed {
        let at = clause.at.as_ref();
        let at = at.map_or_else(String::new, |at| format!(" ({at})"));
        let _ = writeln!(text, "    {clause}{at}");
    }
}

fn place(engine: &Engine, policy: &PolicyId) -> String {
    let origin = engine.program().origins.get(policy);
    origin.map_or_else(String::new, |origin| format!(" ({})", origin.at))
}
