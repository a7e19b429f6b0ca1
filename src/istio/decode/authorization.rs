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
const SOURCE: &[&str] = &[
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];
const OPERATION: &[&str] = &[
    "hosts",
    "notHosts",
    "ports",
    "notPorts",
    "methods",
    "notMethods",
    "paths",
    "notPaths",
];
const ACTIONS: &[(&str, Action)] = &[
    ("ALLOW", Action::Allow),
    ("DENY", Action::Deny),
    ("AUDIT", Action::Audit),
    ("CUSTOM", Action::Custom),
];

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
        Some(_) => dry_run(
            &meta,
            spec,
            Err("only ALLOW and DENY can run dry; leave the annotation out"),
        ),
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
            fields.whole().missing(
                "provider",
                "is missing; CUSTOM needs the name of one of MeshConfig's extensionProviders",
            );
        }
        _ => {}
    }
    let provider = provider?;
    let fields = provider.fields(&["name"])?;
    let name = fields.get("name");
    if name.is_none() {
        provider.missing(
            "name",
            "is missing; write the name of one of MeshConfig's extensionProviders",
        );
    }
    name?.filled()
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
    let at = inner(at, "source")?;
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
    let accounts = ["serviceAccounts", "notServiceAccounts"]
        .into_iter()
        .find_map(|name| fields.listed(name));
    let wide = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    if let Some(accounts) = accounts
        && wide.into_iter().any(|name| fields.listed(name).is_some())
    {
        accounts.wrong("cannot be combined with principals or namespaces; write two sources");
    }
    let any = |name| fields.texts(name, value::anything);
    Some(Source {
        principals: fields.texts("principals", value::principal),
        not_principals: fields.texts("notPrincipals", value::principal),
        request_principals: any("requestPrincipals"),
        not_request_principals: any("notRequestPrincipals"),
        namespaces: any("namespaces"),
        not_namespaces: any("notNamespaces"),
        service_accounts: fields.texts("serviceAccounts", value::service_account),
        not_service_accounts: fields.texts("notServiceAccounts", value::service_account),
        trust_domains: fields.texts("trustDomains", value::trust_domain),
        not_trust_domains: fields.texts("notTrustDomains", value::trust_domain),
        ip_blocks: fields.texts("ipBlocks", value::ip_block),
        not_ip_blocks: fields.texts("notIpBlocks", value::ip_block),
        remote_ip_blocks: fields.texts("remoteIpBlocks", value::ip_block),
        not_remote_ip_blocks: fields.texts("notRemoteIpBlocks", value::ip_block),
        at: at.at(),
    })
}

fn operation(at: &Cursor<'_, '_>, traits: &mut Traits) -> Option<Operation> {
    let at = inner(at, "operation")?;
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
    let any = |name| fields.texts(name, value::anything);
    Some(Operation {
        hosts: any("hosts"),
        not_hosts: any("notHosts"),
        ports: fields.texts("ports", value::port),
        not_ports: fields.texts("notPorts", value::port),
        methods: any("methods"),
        not_methods: any("notMethods"),
        paths: fields.texts("paths", value::path),
        not_paths: fields.texts("notPaths", value::path),
        at: at.at(),
    })
}

/// The one field that an entry of `from` or `to` wraps.
fn inner<'t, 'c>(at: &'c Cursor<'t, 'c>, name: &'static str) -> Option<Cursor<'t, 'c>> {
    let known: &'static [&'static str] = if name == "source" {
        &["source"]
    } else {
        &["operation"]
    };
    let fields = at.fields(known)?;
    let inner = fields.get(name);
    if inner.is_none() {
        at.missing(name, format!("is missing; write `- {name}:` and its lists"));
    }
    inner
}
