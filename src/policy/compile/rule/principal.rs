use super::super::compiler::{Compiler, FieldPlace};
use super::claims;
use super::clause::{Key, one_of, some_of};
use super::text::{Pattern, cidr, pattern, quote_into, quoted, regex};
use crate::istio::Text;
use crate::matcher::StringMatcher;
use crate::policy::ir::{HeaderMatcher, HeaderTest, Principal};

/// Something about the caller that a rule can ask for, in `from` or in `when`.
pub(super) enum PrincipalKey {
    /// A claim, by the path to it.
    Claim(Vec<String>),
    /// A header, by its name in lower case.
    Header(String),
    Namespace,
    Principal,
    RemoteIp,
    RequestPrincipal,
    ServiceAccount,
    SourceIp,
    TrustDomain,
}

impl Key for PrincipalKey {
    type Node = Principal;

    fn is_http_only(&self) -> bool {
        matches!(
            self,
            Self::Claim(_) | Self::Header(_) | Self::RequestPrincipal
        )
    }

    fn test(
        &self,
        compiler: &mut Compiler<'_>,
        values: &[Text],
        place: FieldPlace<'_>,
    ) -> Option<Principal> {
        let domains = compiler.domains;
        let mut one = |test: &dyn Fn(&mut Compiler<'_>, &str) -> Result<Principal, String>| {
            one_of(compiler, values, place, test)
        };
        match self {
            Self::Claim(path) => claims::claim(path, values),
            Self::RequestPrincipal => claims::request_principals(values),
            Self::Header(name) => one(&|_, value| Ok(Principal::Header(header(name, value)))),
            Self::SourceIp => one(&|_, value| Ok(Principal::DirectRemoteIp(cidr(value)?))),
            Self::RemoteIp => one(&|_, value| Ok(Principal::RemoteIp(cidr(value)?))),
            Self::Namespace => {
                one(&|compiler, value| Ok(authenticated(regex(compiler, &namespace_regex(value))?)))
            }
            Self::ServiceAccount => one(&|compiler, value| {
                let text = service_account_regex(&place.meta.namespace, value);
                Ok(authenticated(regex(compiler, &text)?))
            }),
            Self::Principal => some_of(compiler, values, place, |compiler, value, nodes| {
                compiler.assumes_trust_domain |= domains.decide_principal(value);
                for value in domains.principals(value) {
                    nodes.push(authenticated(peer(compiler, &value)?));
                }
                Ok(())
            }),
            Self::TrustDomain => some_of(compiler, values, place, |compiler, value, nodes| {
                compiler.assumes_trust_domain |= domains.decide_trust_domain(value);
                for value in domains.trust_domains(value) {
                    let node = authenticated(in_trust_domain(compiler, value)?);
                    if !nodes.contains(&node) {
                        nodes.push(node);
                    }
                }
                Ok(())
            }),
        }
    }
}

/// A test of one header; `*`: it is there, even empty.
pub(in crate::policy::compile) fn header(name: &str, value: &str) -> HeaderMatcher {
    let test = match Pattern::new(value) {
        Pattern::Present => HeaderTest::Present(true),
        Pattern::Suffix(_) | Pattern::Prefix(_) | Pattern::Exact(_) => {
            HeaderTest::String(pattern(value))
        }
    };
    HeaderMatcher {
        name: name.to_owned(),
        test,
        invert: false,
        treat_missing_as_empty: false,
    }
}

/// The peer's identity, from a pattern written without its scheme; `*` takes any name that a
/// certificate can carry.
pub(in crate::policy::compile) fn peer(
    compiler: &mut Compiler<'_>,
    value: &str,
) -> Result<StringMatcher, String> {
    match Pattern::new(value) {
        Pattern::Present => Ok(StringMatcher::non_empty()),
        Pattern::Suffix(suffix) => regex(compiler, &quoted(["spiffe://.*"], &[suffix])),
        Pattern::Prefix(prefix) => Ok(StringMatcher::prefix(format!("spiffe://{prefix}"))),
        Pattern::Exact(exact) => Ok(StringMatcher::exact(format!("spiffe://{exact}"))),
    }
}

pub(in crate::policy::compile) fn authenticated(matcher: StringMatcher) -> Principal {
    Principal::Authenticated(Some(matcher))
}

/// Any trust domain; a star anywhere in the namespace is any text.
fn namespace_regex(namespace: &str) -> String {
    let mut regex = ".*/ns/".to_owned();
    for (index, piece) in namespace.split('*').enumerate() {
        if index > 0 {
            regex.push_str(".*");
        }
        quote_into(&mut regex, piece);
    }
    regex.push_str("/.*");
    regex
}

/// `ns/sa`, or `sa` in the policy's own namespace; any trust domain, and path segments may stand
/// before `sa/` and at the end.
fn service_account_regex(own_namespace: &str, value: &str) -> String {
    let (namespace, account) = value.split_once('/').unwrap_or((own_namespace, value));
    quoted(
        ["spiffe://.+/ns/", "/(.+/|)sa/", "(/.+)?"],
        &[namespace, account],
    )
}

fn in_trust_domain(compiler: &mut Compiler<'_>, value: &str) -> Result<StringMatcher, String> {
    match value.split_once('*') {
        None => Ok(StringMatcher::prefix(format!("spiffe://{value}/"))),
        Some(("", "")) => Ok(StringMatcher::prefix("spiffe://")),
        Some((before, after)) => regex(
            compiler,
            &quoted(["spiffe://", "[^/]*", "/.*"], &[before, after]),
        ),
    }
}
