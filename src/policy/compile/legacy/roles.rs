use super::super::compiler::{Compiler, FieldPlace, Part};
use super::super::rule::clause::{Clause, Node, not_name, one_of};
use super::super::rule::condition::filter_metadata;
use super::super::rule::principal::header;
use super::super::rule::text::{Pattern, bracketed, cidr, pattern, port, regex};
use super::service::Service;
use crate::istio::{AccessRule, Constraint, Meta, ServiceRole, Text};
use crate::matcher::StringMatcher;
use crate::policy::ir::{MetadataMatcher, Permission, ValueMatcher};

/// The clauses of each rule of a role that fits the service.
pub(super) fn permissions(
    compiler: &mut Compiler<'_>,
    role: &ServiceRole,
    service: &Service<'_>,
) -> Vec<Vec<Clause<Permission>>> {
    let mut fitting = Vec::new();
    for (index, rule) in role.rules.iter().enumerate() {
        // Compiled also where it does not fit, so that a mistake is reported in any case.
        let (clauses, constraints_fit) = rule_clauses(compiler, service, &role.meta, index, rule);
        let named = |host: &Text| Pattern::new(host).matches(&service.host);
        if constraints_fit && rule.services.iter().any(named) {
            fitting.push(clauses);
        }
    }
    fitting
}

fn rule_clauses(
    compiler: &mut Compiler<'_>,
    service: &Service<'_>,
    meta: &Meta,
    index: usize,
    rule: &AccessRule,
) -> (Vec<Clause<Permission>>, bool) {
    let place = |part| FieldPlace::new(meta, index, part);
    let at = place(Part::Role);
    if rule.services.is_empty() {
        let message = "name the services the rule is for, or \"*\" for all; Istio read a missing \
            list as none or as all, by version";
        compiler.refuse(&rule.at, at.list("services"), message);
    }
    let mut clauses = Clauses(Vec::new());
    for (header, list, values, not_values) in [
        (":authority", "hosts", &rule.hosts, &rule.not_hosts),
        (":method", "methods", &rule.methods, &rule.not_methods),
        // The raw target with its query: these resources knew no other path.
        (":path", "paths", &rule.paths, &rule.not_paths),
    ] {
        let not_list = not_name(list, not_values);
        clauses.headers(compiler, header, values, at.list(list), false);
        clauses.headers(compiler, header, not_values, at.list(&not_list), true);
    }
    clauses.ports(&rule.ports, false);
    clauses.ports(&rule.not_ports, true);

    let mut fits = true;
    let mut constraints: Vec<_> = rule.constraints.iter().enumerate().collect();
    constraints.sort_by_key(|(_, constraint)| constraint.key.as_str());
    for (index, constraint) in constraints {
        let place = place(Part::Constraint(index));
        match Key::parse(compiler, service, &constraint.key) {
            Some(Key::AtLoad(value)) => fits &= is_met(value.as_deref(), constraint),
            Some(Key::AtRun(key)) => clauses.constraint(compiler, &key, constraint, place),
            None => {
                let key = &constraint.key;
                let message = format!(
                    "unknown key {:?}; an unknown constraint must not be left out",
                    key.as_str()
                );
                compiler.refuse(key.at(), place.list("key"), message);
            }
        }
    }
    (clauses.0, fits)
}

/// When the key of a constraint is known.
enum Key {
    /// Now: the destination's own value, when it has one.
    AtLoad(Option<String>),
    /// With each request.
    AtRun(RunKey),
}

enum RunKey {
    DestinationIp,
    DestinationPort,
    Header(String),
    Metadata { filter: String, key: String },
    ServerName,
}

impl Key {
    fn parse(compiler: &Compiler<'_>, service: &Service<'_>, key: &str) -> Option<Self> {
        let workload = compiler.workload;
        if let Some(label) = bracketed(key, "destination.labels") {
            return Some(Self::AtLoad(workload.labels().get(label).cloned()));
        }
        if let Some(name) = bracketed(key, "request.headers") {
            return Some(Self::AtRun(RunKey::Header(name.to_ascii_lowercase())));
        }
        if let Some((filter, key)) = filter_metadata(key) {
            let (filter, key) = (filter.to_owned(), key.to_owned());
            return Some(Self::AtRun(RunKey::Metadata { filter, key }));
        }
        Some(match key {
            "destination.name" => {
                Self::AtLoad((!service.name.is_empty()).then(|| service.name.to_owned()))
            }
            "destination.namespace" => Self::AtLoad(Some(workload.namespace().to_owned())),
            "destination.user" => Self::AtLoad(Some(workload.service_account().to_owned())),
            "connection.sni" => Self::AtRun(RunKey::ServerName),
            "destination.ip" => Self::AtRun(RunKey::DestinationIp),
            "destination.port" => Self::AtRun(RunKey::DestinationPort),
            _ => return None,
        })
    }
}

fn is_met(value: Option<&str>, constraint: &Constraint) -> bool {
    let matches = |wanted: &Text| value.is_some_and(|value| Pattern::new(wanted).matches(value));
    constraint.values.iter().any(matches)
}

/// The clauses of one rule, in Istio's order.
struct Clauses(Vec<Clause<Permission>>);

impl Clauses {
    fn push(&mut self, http_only: bool, test: Option<Permission>, negated: bool) {
        self.0.extend(Clause::legacy(http_only, test, negated));
    }

    fn headers(
        &mut self,
        compiler: &mut Compiler<'_>,
        name: &str,
        values: &[Text],
        place: FieldPlace<'_>,
        negated: bool,
    ) {
        let test = one_of(compiler, values, place, |_, value| {
            Ok(Permission::Header(header(name, value)))
        });
        self.push(true, test, negated);
    }

    fn ports(&mut self, ports: &[u16], negated: bool) {
        let nodes = ports.iter().copied().map(Permission::DestinationPort);
        let test = (!ports.is_empty()).then(|| Permission::or(nodes.collect()));
        self.push(false, test, negated);
    }

    fn constraint(
        &mut self,
        compiler: &mut Compiler<'_>,
        key: &RunKey,
        constraint: &Constraint,
        place: FieldPlace<'_>,
    ) {
        let place = place.list("values");
        if constraint.values.is_empty() {
            let message = "write the values that are allowed";
            compiler.refuse(constraint.key.at(), place, message);
        }
        let test = one_of(compiler, &constraint.values, place, |compiler, value| {
            key.test(compiler, value)
        });
        self.push(matches!(key, RunKey::Header(_)), test, false);
    }
}

impl RunKey {
    fn test(&self, compiler: &mut Compiler<'_>, value: &str) -> Result<Permission, String> {
        Ok(match self {
            Self::DestinationIp => Permission::DestinationIp(cidr(value)?),
            Self::DestinationPort => Permission::DestinationPort(port(value)?),
            Self::Header(name) => Permission::Header(header(name, value)),
            Self::ServerName => Permission::RequestedServerName(loose_pattern(compiler, value)?),
            Self::Metadata { filter, key } => {
                let element = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
                let text = element.unwrap_or(value);
                let string = ValueMatcher::String(loose_pattern(compiler, text)?);
                let value = match element {
                    Some(_) => ValueMatcher::ListOneOf(Box::new(string)),
                    None => string,
                };
                Permission::Metadata(MetadataMatcher::new(filter, [key], value))
            }
        })
    }
}

/// A string pattern of these resources: `*` matches the empty text too.
pub(super) fn loose_pattern(
    compiler: &mut Compiler<'_>,
    value: &str,
) -> Result<StringMatcher, String> {
    match Pattern::new(value) {
        Pattern::Present => regex(compiler, ".*"),
        Pattern::Suffix(_) | Pattern::Prefix(_) | Pattern::Exact(_) => Ok(pattern(value)),
    }
}
