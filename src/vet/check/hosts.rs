//! Checks hosts that lack the form with a port, which clients may send.

use crate::istio::{Action, AuthorizationPolicy, Meta, Text};
use crate::vet::Code;
use crate::vet::logic::pattern_matches;
use crate::vet::report::notes::Notes;
use crate::vet::rules::lists::List;
use crate::vet::rules::written::Written;

/// Adds notes about the hosts of a rule.
pub(in crate::vet) fn check(policy: &AuthorizationPolicy, list: List<'_>, notes: &mut Notes) {
    // A missed value lets a request in where a positive list refuses or diverts it, or where a
    // negative list keeps it from being allowed.
    let refuses = matches!(policy.action, Action::Custom | Action::Deny);
    let keeps_out = policy.action == Action::Allow;
    told(&policy.meta, list.values, refuses, notes);
    told(&policy.meta, list.not_values, keeps_out, notes);
}

/// Adds notes about the hosts of a role of 2018, which allows.
pub(super) fn check_granted(role: &Meta, list: List<'_>, notes: &mut Notes) {
    told(role, list.values, false, notes);
    told(role, list.not_values, true, notes);
}

/// Notes the hosts of one list; `is_guard`: a request that the list misses gets through.
fn told(meta: &Meta, values: &[Text], is_guard: bool, notes: &mut Notes) {
    for value in values {
        let Some(written) = Written::from_value(value) else {
            continue;
        };
        let literal = written.literal;
        // The end of a host is often meant to keep ports out, where it allows.
        let keeps_ports_out = written.open_start && !is_guard;
        if written.open_end
            || keeps_ports_out
            || has_port(literal)
            || has_longer(values, value)
            || notes.has(Code::ValueNeverMatches, value.at())
        {
            continue;
        }
        let (message, help) = if written.open_start {
            let message = format!(
                "`{value}` does not match `x{literal}:8080`, which passes: hosts are compared as sent, port and all"
            );
            let help = format!(
                "add `{value}:PORT` for each port that clients may write; better, allow the hosts that may pass"
            );
            (message, help)
        } else {
            let message = format!(
                "`{value}` does not match `{value}:8080`: hosts are compared as sent, port and all"
            );
            (message, format!("add `{value}:*` beside it"))
        };
        notes.add(Code::HostWithoutPort, meta, value.at(), message, help);
    }
}

/// Whether a host says its port; the colons of an IPv6 address stand in brackets.
fn has_port(host: &str) -> bool {
    let behind = host.rsplit(']').next().unwrap_or_default();
    behind.contains(':')
}

/// Whether another value takes the same host with a port.
fn has_longer(values: &[Text], host: &str) -> bool {
    let with_port = format!("{}:", host.to_ascii_lowercase());
    values.iter().any(|other| {
        let other = other.to_ascii_lowercase();
        other.starts_with(&with_port) || other.ends_with('*') && pattern_matches(&other, &with_port)
    })
}
