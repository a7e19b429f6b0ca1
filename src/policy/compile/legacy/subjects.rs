use super::super::compiler::{Compiler, FieldPlace, Part};
use super::super::rule::clause::{Clause, Node, not_name, some_of};
use super::super::rule::principal::{authenticated, header, peer};
use super::super::rule::text::{bracketed, cidr, regex};
use super::roles::loose_pattern;
use crate::istio::{Meta, PrincipalBinding, Subject, Text};
use crate::policy::ir::{MetadataMatcher, Principal, ValueMatcher};
use crate::policy::rules::metadata::LEGACY_FILTER;

/// What authentication leaves of a caller on one port.
#[derive(Clone, Copy)]
pub(super) struct Callers {
    /// Whether there can be a peer identity.
    pub(super) peer_identity: bool,
    /// What `request.auth.principal` is.
    pub(super) binding: PrincipalBinding,
}

/// The clauses of a subject; all must hold. An empty subject matches no caller.
pub(super) fn clauses(
    compiler: &mut Compiler<'_>,
    callers: Callers,
    meta: &Meta,
    index: usize,
    subject: &Subject,
) -> Vec<Clause<Principal>> {
    let place = FieldPlace::new(meta, index, Part::Subject);
    let single = FieldPlace::new(meta, index, Part::SubjectField);
    let mut clauses = Clauses {
        callers,
        clauses: Vec::new(),
    };
    let user = subject.user.as_slice();
    clauses.add(compiler, &Key::User, user, single.list("user"), false);
    // In Istio's order.
    let fields: [(Key<'_>, &str, &[_], &[_]); 5] = [
        (Key::Name, "names", &subject.names, &subject.not_names),
        (Key::Claim("groups"), "group", subject.group.as_slice(), &[]),
        (
            Key::Claim("groups"),
            "groups",
            &subject.groups,
            &subject.not_groups,
        ),
        (
            Key::Namespace,
            "namespaces",
            &subject.namespaces,
            &subject.not_namespaces,
        ),
        (Key::Ip, "ips", &subject.ips, &subject.not_ips),
    ];
    for (key, list, values, not_values) in fields {
        let not_list = not_name(list, not_values);
        clauses.add(compiler, &key, values, place.list(list), false);
        clauses.add(compiler, &key, not_values, place.list(&not_list), true);
    }
    for (name, value) in &subject.properties {
        let list = format!("properties[{name}]");
        let key = Key::property(name);
        let values = std::slice::from_ref(value);
        clauses.add(compiler, &key, values, single.list(&list), false);
        if let Key::Unknown(_) = key {
            let message = format!(
                "unknown property {name:?}: nothing ever has it, so the subject matches nobody"
            );
            compiler.note(value.at(), single.list(&list), message);
        }
    }
    let mut clauses = clauses.clauses;
    if clauses.is_empty() {
        clauses.extend(Clause::legacy(false, Some(Principal::never()), false));
    }
    clauses
}

/// The fact about the caller that is tested.
enum Key<'k> {
    /// A string claim of the token: audience, presenter.
    Auth(&'k str),
    /// A claim, taken as a list.
    Claim(&'k str),
    Header(String),
    Ip,
    Name,
    Namespace,
    /// `source.principal`, `source.user`.
    Peer,
    /// `request.auth.principal`.
    RequestPrincipal,
    Unknown(&'k str),
    User,
}

impl<'k> Key<'k> {
    fn property(name: &'k str) -> Self {
        if let Some(claim) = bracketed(name, CLAIMS) {
            return Self::Claim(claim);
        }
        if let Some(header) = bracketed(name, "request.headers") {
            return Self::Header(header.to_ascii_lowercase());
        }
        match name {
            "source.principal" | "source.user" => Self::Peer,
            "source.namespace" => Self::Namespace,
            "source.ip" => Self::Ip,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" | "request.auth.presenter" => Self::Auth(name),
            _ => Self::Unknown(name),
        }
    }

    fn is_http_only(&self) -> bool {
        matches!(
            self,
            Self::Auth(_) | Self::Claim(_) | Self::Header(_) | Self::RequestPrincipal
        )
    }
}

/// The clauses of one subject.
struct Clauses {
    callers: Callers,
    clauses: Vec<Clause<Principal>>,
}

impl Clauses {
    fn add(
        &mut self,
        compiler: &mut Compiler<'_>,
        key: &Key<'_>,
        values: &[Text],
        place: FieldPlace<'_>,
        negated: bool,
    ) {
        let callers = self.callers;
        let test = some_of(compiler, values, place, |compiler, value, nodes| {
            callers.test(compiler, key, value, nodes)
        });
        let clause = Clause::legacy(key.is_http_only(), test, negated);
        self.clauses.extend(clause);
    }
}

impl Callers {
    fn test(
        self,
        compiler: &mut Compiler<'_>,
        key: &Key<'_>,
        value: &str,
        nodes: &mut Vec<Principal>,
    ) -> Result<(), String> {
        nodes.push(match key {
            // The whole point of this key in 2018: a star is anyone, with a certificate or without.
            Key::User | Key::Name if value == "allUsers" => Principal::Any,
            Key::User if value == "*" => Principal::Any,
            Key::User | Key::Name if value == "allAuthenticatedUsers" => {
                self.peer(compiler, "*")?
            }
            Key::Name if value == "*" => {
                return Err(
                    "\"*\" says nothing here; write allUsers or allAuthenticatedUsers".to_owned(),
                );
            }
            Key::Name => self.peer(compiler, value)?,
            Key::User | Key::Peer => {
                let domains = compiler.domains;
                compiler.assumes_trust_domain |= domains.decide_principal(value);
                for value in domains.principals(value) {
                    nodes.push(self.peer(compiler, &value)?);
                }
                return Ok(());
            }
            Key::RequestPrincipal if self.binding == PrincipalBinding::UsePeer => {
                self.peer(compiler, value)?
            }
            Key::RequestPrincipal => authn(&["request.auth.principal"], string(compiler, value)?),
            Key::Auth(name) => authn(&[name], string(compiler, value)?),
            Key::Claim(name) => {
                let element = Box::new(string(compiler, value)?);
                authn(&[CLAIMS, name], ValueMatcher::ListOneOf(element))
            }
            Key::Header(name) => Principal::Header(header(name, value)),
            Key::Ip => Principal::SourceIp(cidr(value)?),
            Key::Namespace => self.namespace(compiler, value)?,
            Key::Unknown(name) => {
                let value = string(compiler, value)?;
                Principal::Metadata(MetadataMatcher::new(
                    "envoy.filters.http.rbac",
                    [*name],
                    value,
                ))
            }
        });
        Ok(())
    }

    /// The peer's identity; no peer has one where the effective Policy turns mutual TLS off.
    fn peer(self, compiler: &mut Compiler<'_>, value: &str) -> Result<Principal, String> {
        let matcher = peer(compiler, value)?;
        Ok(self.identified(authenticated(matcher)))
    }

    /// Never quoted: these resources took the text into the regex as it stood.
    fn namespace(self, compiler: &mut Compiler<'_>, value: &str) -> Result<Principal, String> {
        let text = format!(".*/ns/{}/.*", value.replace('*', ".*"));
        Ok(self.identified(authenticated(regex(compiler, &text)?)))
    }

    fn identified(self, principal: Principal) -> Principal {
        if self.peer_identity {
            principal
        } else {
            Principal::never()
        }
    }
}

fn string(compiler: &mut Compiler<'_>, value: &str) -> Result<ValueMatcher, String> {
    Ok(ValueMatcher::String(loose_pattern(compiler, value)?))
}

/// A test of what Istio's own authentication filter left of a token.
fn authn(path: &[&str], value: ValueMatcher) -> Principal {
    let path = path.iter().copied();
    Principal::Metadata(MetadataMatcher::new(LEGACY_FILTER, path, value))
}

const CLAIMS: &str = "request.auth.claims";
