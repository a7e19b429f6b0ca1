//! Filters of rules and of backends.

use super::reference::{Referrer, destination};
use crate::istio::Text;
use crate::istio::traffic::gateway_api::{
    HeaderModifier, HttpRouteFilter, PathModifier, RequestRedirect, RouteCors, UrlRewrite,
};
use crate::istio::traffic::{
    CorsPolicy, HeaderOperations, Headers, HttpRedirect, HttpRewrite, MirrorPolicy, RedirectPort,
    RegexRewrite, StringMatch, UnmatchedPreflights,
};

/// What filters come to.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) headers: Option<Headers>,
    pub(super) redirect: Option<HttpRedirect>,
    pub(super) rewrite: Option<HttpRewrite>,
    pub(super) mirrors: Vec<MirrorPolicy>,
    pub(super) cors: Option<CorsPolicy>,
}

/// The filters of a rule that matches this prefix, if it matches one; `None` where one of them is
/// not known.
pub(super) fn of_rule(
    written: &[HttpRouteFilter],
    prefix: Option<&Text>,
    referrer: &Referrer<'_>,
) -> Option<Filters> {
    let mut filters = Filters::default();
    for filter in written {
        match filter {
            HttpRouteFilter::RequestHeaderModifier(modifier) => {
                let headers = filters.headers.get_or_insert_default();
                headers.request = operations(modifier);
            }
            HttpRouteFilter::ResponseHeaderModifier(modifier) => {
                let headers = filters.headers.get_or_insert_default();
                headers.response = operations(modifier);
            }
            HttpRouteFilter::RequestMirror(mirror) => filters.mirrors.push(MirrorPolicy {
                destination: destination(&mirror.backend, referrer),
                percentage: mirror.percentage,
                at: mirror.backend.at.clone(),
            }),
            HttpRouteFilter::RequestRedirect(written) => {
                filters.redirect = Some(redirect(written));
            }
            HttpRouteFilter::UrlRewrite(written) => {
                filters.rewrite = Some(rewrite(written, prefix));
            }
            HttpRouteFilter::Cors(written) => filters.cors = Some(cors(written)),
            HttpRouteFilter::ExtensionRef(_) => return None,
        }
    }
    Some(filters)
}

fn operations(modifier: &HeaderModifier) -> HeaderOperations {
    HeaderOperations {
        set: modifier.set.clone(),
        add: modifier.add.clone(),
        remove: modifier.remove.clone(),
    }
}

/// Without a port, that of the new scheme is meant; without both, the call's.
fn redirect(written: &RequestRedirect) -> HttpRedirect {
    let port = match (written.port, &written.scheme) {
        (Some(port), _) => RedirectPort::Number(port),
        (None, Some(_)) => RedirectPort::FromProtocolDefault,
        (None, None) => RedirectPort::FromRequestPort,
    };
    let (uri, prefix_rewrite) = match &written.path {
        Some(PathModifier::ReplaceFullPath(path)) => (Some(path.clone()), None),
        Some(PathModifier::ReplacePrefixMatch(prefix)) => (None, Some(prefix.clone())),
        None => (None, None),
    };
    HttpRedirect {
        uri,
        prefix_rewrite,
        authority: written.hostname.clone(),
        scheme: written.scheme.clone(),
        port: Some(port),
        redirect_code: Some(written.status_code).filter(|code| *code != 0),
        ..HttpRedirect::default()
    }
}

/// A prefix is replaced by segments: where the replacement is `/`, the slash that follows the
/// prefix is replaced, too.
fn rewrite(written: &UrlRewrite, prefix: Option<&Text>) -> HttpRewrite {
    let mut rewrite = HttpRewrite {
        authority: written.hostname.clone(),
        ..HttpRewrite::default()
    };
    match &written.path {
        None => {}
        Some(PathModifier::ReplaceFullPath(path)) => {
            rewrite.uri_regex_rewrite = Some(RegexRewrite {
                pattern: Text::new("/.*", path.at().clone()),
                rewrite: path.clone(),
            });
        }
        Some(PathModifier::ReplacePrefixMatch(written)) => {
            let at = || written.at().clone();
            let to = written.strip_suffix('/').unwrap_or(written);
            match (to, prefix) {
                ("", Some(prefix)) => {
                    let prefix = quoted(prefix.strip_suffix('/').unwrap_or(prefix));
                    rewrite.uri_regex_rewrite = Some(RegexRewrite {
                        pattern: Text::new(format!("^{prefix}(/?)(.*)"), at()),
                        rewrite: Text::new(r"/\2", at()),
                    });
                }
                ("", None) => rewrite.uri = Some(Text::new("/", at())),
                (to, _) => rewrite.uri = Some(Text::new(to, at())),
            }
        }
    }
    rewrite
}

/// Preflights of other origins are answered here, and a wildcard is a regex.
fn cors(written: &RouteCors) -> CorsPolicy {
    let origin = |origin: &Text| match origin.as_str() {
        "*" => {
            let any = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$";
            StringMatch::Regex(Text::new(any, origin.at().clone()))
        }
        text if text.contains('*') => {
            let regex = quoted(text).replace(r"\*", ".*");
            StringMatch::Regex(Text::new(format!("^{regex}$"), origin.at().clone()))
        }
        _ => StringMatch::Exact(origin.clone()),
    };
    CorsPolicy {
        allow_origins: written.allow_origins.iter().map(origin).collect(),
        allow_methods: written.allow_methods.clone(),
        allow_headers: written.allow_headers.clone(),
        expose_headers: written.expose_headers.clone(),
        max_age: Some(written.max_age),
        allow_credentials: written.allow_credentials,
        unmatched_preflights: UnmatchedPreflights::Ignore,
        ..CorsPolicy::default()
    }
}

/// The regular expression of a text, as Go's `QuoteMeta` writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for next in text.chars() {
        if r"\.+*?()|[]{}^$".contains(next) {
            quoted.push('\\');
        }
        quoted.push(next);
    }
    quoted
}
