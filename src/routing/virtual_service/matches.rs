//! Matches of `http[]`.

use super::context::Context;
use super::resolved::Semantics;
use crate::istio::traffic::{HttpMatch, NamedMatch, StringMatch};
use crate::istio::{Problem, Text};
use crate::matcher::{SafeRegex, StringMatcher};
use crate::routing::route::{
    ClaimMatch, HeaderMatch, HeaderTest, PathMatch, QueryMatch, RouteMatch, Subject,
};

/// Whether the part of a match holds that no call decides: port, gateways, and the source, which
/// is not looked at where gateways are written.
pub(super) fn holds_for(of_match: &HttpMatch, context: &Context<'_>) -> bool {
    let port_fits = of_match.port.is_none_or(|port| port == context.port);
    port_fits
        && match of_match.gateways.is_empty() {
            false => context.is_at(&of_match.gateways),
            true => {
                context.has_labels(&of_match.source_labels)
                    && context.is_in(of_match.source_namespace.as_ref())
            }
        }
}

/// The part of a match that each call decides.
pub(super) fn route_match(
    of_match: &HttpMatch,
    semantics: Semantics,
) -> Result<RouteMatch, Problem> {
    let path = match &of_match.uri {
        Some(uri) => path(uri, of_match.ignore_uri_case, semantics)?,
        None => PathMatch::Prefix {
            prefix: "/".to_owned(),
            ignore_case: of_match.ignore_uri_case,
        },
    };
    let mut headers = Vec::new();
    let mut claims = Vec::new();
    let all = of_match.headers.iter().map(|it| (it, false));
    let all = all.chain(of_match.without_headers.iter().map(|it| (it, true)));
    for (named, invert) in all {
        let test = test(named)?;
        if !named.claim.is_empty() {
            let keys = named.claim.clone();
            claims.push(ClaimMatch { keys, test, invert });
            continue;
        }
        headers.push(HeaderMatch {
            subject: Subject::header(&named.name),
            missing_is_empty: invert && test != HeaderTest::Present,
            test,
            invert,
        });
    }
    headers.sort_by(|one, other| one.subject.name().cmp(other.subject.name()));
    let pseudo = [
        (Subject::Method, &of_match.method),
        (Subject::Authority, &of_match.authority),
        (Subject::Scheme, &of_match.scheme),
    ];
    for (subject, written) in pseudo {
        if let Some(written) = written {
            headers.push(HeaderMatch {
                subject,
                test: HeaderTest::Text(text_test(written)?),
                missing_is_empty: false,
                invert: false,
            });
        }
    }
    let mut query = Vec::new();
    for named in &of_match.query_params {
        let (name, test) = (named.name.as_str().to_owned(), test(named)?);
        query.push(QueryMatch { name, test });
    }
    query.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(RouteMatch {
        path,
        headers,
        query,
        claims,
    })
}

fn path(
    written: &StringMatch,
    ignore_case: bool,
    semantics: Semantics,
) -> Result<PathMatch, Problem> {
    Ok(match written {
        StringMatch::Exact(path) => PathMatch::Exact {
            path: path.as_str().to_owned(),
            ignore_case,
        },
        StringMatch::Prefix(prefix) if semantics == Semantics::Istio || prefix.as_str() == "/" => {
            PathMatch::Prefix {
                prefix: prefix.as_str().to_owned(),
                ignore_case,
            }
        }
        StringMatch::Prefix(prefix) => PathMatch::Segments {
            prefix: prefix.strip_suffix('/').unwrap_or(prefix).to_owned(),
            ignore_case,
        },
        StringMatch::Regex(pattern) => PathMatch::Regex {
            regex: regex(pattern)?,
            ignore_case,
        },
    })
}

fn test(named: &NamedMatch) -> Result<HeaderTest, Problem> {
    Ok(match &named.test {
        None => HeaderTest::Present,
        Some(written) => HeaderTest::Text(text_test(written)?),
    })
}

/// The test of a text; case counts.
pub(super) fn text_test(written: &StringMatch) -> Result<StringMatcher, Problem> {
    Ok(match written {
        StringMatch::Exact(text) => StringMatcher::exact(text.as_str()),
        StringMatch::Prefix(text) => StringMatcher::prefix(text.as_str()),
        StringMatch::Regex(pattern) => regex(pattern)?.into(),
    })
}

fn regex(pattern: &Text) -> Result<SafeRegex, Problem> {
    let regex = SafeRegex::new(pattern);
    regex.map_err(|error| Problem::new(pattern.at().clone(), "", error.to_string()))
}
