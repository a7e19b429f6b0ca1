//! Decodes AuthorizationPolicy.

use super::condition::{Subject, condition};
use super::meta::{dry_run, selector, target_refs};
use super::value;
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{Action, AuthorizationPolicy, Meta, Operation, Rule, Source, Text};

const SPEC: &[&str] = &[
    "selector",
    "targetRef",
    "targetRefs",
    "action",
    "provider",
    "rules",
];
const ACTIONS: &[(&str, Action)] = &[
    ("ALLOW", Action::Allow),
    ("DENY", Action::Deny),
    ("AUDIT", Action::Audit),
    ("CUSTOM", Action::Custom),
];

/// Declares the lists that an entry may hold, and how they are read: the field, its name in YAML,
/// and what each value must be.
macro_rules! entry {
    ($names:ident, $read:ident -> $entry:ident: $($field:ident $name:literal $check:ident,)*) => {
        const $names: &[&str] = &[$($name),*];

        fn $read(fields: Fields<'_, '_>) -> $entry {
            $entry {
                $($field: fields.texts($name, value::$check),)*
                at: fields.whole().at(),
            }
        }
    };
}

entry! { SOURCE, source_lists -> Source:
    principals "principals" principal,
    not_principals "notPrincipals" principal,
    request_principals "requestPrincipals" anything,
    not_request_principals "notRequestPrincipals" anything,
    namespaces "namespaces" anything,
    not_namespaces "notNamespaces" anything,
    service_accounts "serviceAccounts" service_account,
    not_service_accounts "notServiceAccounts" service_account,
    trust_domains "trustDomains" trust_domain,
    not_trust_domains "notTrustDomains" trust_domain,
    ip_blocks "ipBlocks" ip_block,
    not_ip_blocks "notIpBlocks" ip_block,
    remote_ip_blocks "remoteIpBlocks" ip_block,
    not_remote_ip_blocks "notRemoteIpBlocks" ip_block,
}

entry! { OPERATION, operation_lists -> Operation:
    hosts "hosts" anything,
    not_hosts "notHosts" anything,
    ports "ports" port,
    not_ports "notPorts" port,
    methods "methods" anything,
    not_methods "notMethods" anything,
    paths "paths" path,
    not_paths "notPaths" path,
}

/// How long the lists of rules and of sources may be (Istio's schema).
const MAX_ENTRIES: usize = 512;

/// `AuthorizationPolicy`, `spec`.
pub(in crate::istio) fn authorization_policy(
    meta: Meta,
    spec: &Cursor<'_, '_>,
) -> Option<AuthorizationPolicy> {
    let fields = spec.fields(SPEC)?;
    // An action that is not understood is reported, and what depends on it is not judged.
    let action = match fields.get("action") {
        None => Some(Action::Allow),
        Some(action) => action.word(ACTIONS),
    };
    let dry_run = match action {
        Some(Action::Allow | Action::Deny) => dry_run(&meta, spec, Ok(())),
        Some(_) => {
            let why = "only ALLOW and DENY can run dry; leave the annotation out";
            dry_run(&meta, spec, Err(why))
        }
        None => false,
    };
    Some(AuthorizationPolicy {
        selector: selector(fields),
        target_refs: target_refs(fields),
        provider: provider(fields, action),
        rules: rules(fields, action),
        action: action.unwrap_or_default(),
        dry_run,
        meta,
    })
}

fn provider(fields: Fields<'_, '_>, action: Option<Action>) -> Option<Text> {
    let provider = fields.get("provider");
    match (&provider, action) {
        (Some(provider), Some(Action::Allow | Action::Audit | Action::Deny)) => {
            provider.wrong("only action CUSTOM takes a provider; leave it out, or write CUSTOM");
        }
        (None, Some(Action::Custom)) => {
            let message =
                "is missing; CUSTOM needs the name of one of MeshConfig's extensionProviders";
            fields.whole().missing("provider", message);
        }
        _ => {}
    }
    let provider = provider?;
    let message = "is missing; write the name of one of MeshConfig's extensionProviders";
    let name = provider.fields(&["name"])?.demand("name", message)?;
    name.filled()
}

fn rules(fields: Fields<'_, '_>, action: Option<Action>) -> Vec<Rule> {
    if let Some(list) = fields.get("rules") {
        let written = list.items().len();
        if written > MAX_ENTRIES {
            list.wrong(format!(
                "has {written} entries, more than {MAX_ENTRIES}; write several policies"
            ));
            return Vec::new();
        }
    }
    let rules = fields.each("rules", |at| rule(at, action));
    let absent = fields.listed("rules").is_none();
    if let Some(action @ (Action::Custom | Action::Deny)) = action
        && absent
    {
        fields.whole().missing(
            "rules",
            format!(
                "is missing; {} without rules means nothing, write `- {{}}` for every request",
                action.as_str()
            ),
        );
    }
    rules
}

fn rule(at: &Cursor<'_, '_>, action: Option<Action>) -> Option<Rule> {
    let fields = at.fields(&["from", "to", "when"])?;
    if let Some(from) = fields.get("from")
        && from.items().len() > MAX_ENTRIES
    {
        from.wrong(format!(
            "has more than {MAX_ENTRIES} entries; write several rules"
        ));
        return None;
    }
    let mut traits = Traits::default();
    let from = fields.each("from", |at| source(at, action, &mut traits));
    let to = fields.each("to", |at| operation(at, &mut traits));
    let when = fields.each("when", |at| {
        let (condition, subject) = condition(at)?;
        if action == Some(Action::Custom) && matches!(subject, Subject::Identity | Subject::Token) {
            at.wrong(format!("`{}` {NOT_WITH_CUSTOM}", condition.key));
        }
        traits.see(subject.is_http(), subject == Subject::Port);
        Some(condition)
    });
    if action == Some(Action::Deny) && traits.http && !traits.other {
        at.note(DENIES_TCP);
    }
    Some(Rule {
        from,
        to,
        when,
        at: at.at(),
    })
}

/// Told of a DENY rule of HTTP fields only, wherever raw TCP may come in or not.
pub(crate) const DENIES_TCP: &str = "has only HTTP fields and no port, so it denies every raw TCP connection; add to.operation.ports";

/// Why CUSTOM rules cannot name callers.
const NOT_WITH_CUSTOM: &str =
    "cannot be used with CUSTOM, which is asked before identities and tokens are known";

/// What kinds of fields a rule has.
#[derive(Default)]
struct Traits {
    /// One that a raw TCP connection does not have.
    http: bool,
    /// Another one, or a port.
    other: bool,
}

impl Traits {
    fn see(&mut self, http: bool, port: bool) {
        self.http |= http;
        self.other |= port || !http;
    }
}

fn source(at: &Cursor<'_, '_>, action: Option<Action>, traits: &mut Traits) -> Option<Source> {
    let at = inner(at, &["source"])?;
    let fields = at.fields(SOURCE)?;
    if fields.is_empty() {
        at.wrong("is empty; write at least one list, for example principals");
        return None;
    }
    for name in SOURCE.iter().copied() {
        let Some(list) = fields.listed(name) else {
            continue;
        };
        let on_address = name.ends_with("pBlocks");
        if action == Some(Action::Custom) && !on_address {
            list.wrong(NOT_WITH_CUSTOM);
        }
        traits.see(name.ends_with("equestPrincipals"), false);
        if name.ends_with("erviceAccounts") && list.items().len() > value::MAX_SERVICE_ACCOUNTS {
            list.wrong("has more than 16 service accounts; write several sources");
        }
    }
    let mut accounts = ["serviceAccounts", "notServiceAccounts"].into_iter();
    let accounts = accounts.find_map(|name| fields.listed(name));
    let wide = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    if let Some(accounts) = accounts
        && wide.into_iter().any(|name| fields.listed(name).is_some())
    {
        accounts.wrong("cannot be combined with principals or namespaces; write two sources");
    }
    Some(source_lists(fields))
}

fn operation(at: &Cursor<'_, '_>, traits: &mut Traits) -> Option<Operation> {
    let at = inner(at, &["operation"])?;
    let fields = at.fields(OPERATION)?;
    if fields.is_empty() {
        at.wrong("is empty; write at least one list, for example paths");
        return None;
    }
    for name in OPERATION.iter().copied() {
        if fields.listed(name).is_some() {
            let port = name.ends_with("orts");
            traits.see(!port, port);
        }
    }
    Some(operation_lists(fields))
}

/// The one field that an entry of `from` or `to` wraps.
fn inner<'t, 'c>(
    at: &'c Cursor<'t, 'c>,
    known: &'static [&'static str; 1],
) -> Option<Cursor<'t, 'c>> {
    let [name] = *known;
    let inner = at.fields(known)?.get(name);
    if inner.is_none() {
        at.missing(name, format!("is missing; write `- {name}:` and its lists"));
    }
    inner
}
