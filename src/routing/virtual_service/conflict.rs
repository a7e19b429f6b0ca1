//! Whether a delegate's match can hold together with its root's.

use crate::istio::traffic::{HttpMatch, NamedMatch, StringMatch};

/// Whether a root's match and a delegate's exclude each other, by Istio's table.
pub(super) fn conflicts(root: &HttpMatch, delegate: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &delegate.uri),
        (&root.scheme, &delegate.scheme),
        (&root.method, &delegate.method),
        (&root.authority, &delegate.authority),
    ];
    let lists = [
        (&root.headers, &delegate.headers),
        (&root.without_headers, &delegate.without_headers),
        (&root.query_params, &delegate.query_params),
    ];
    let other_port = matches!((root.port, delegate.port), (Some(one), Some(other)) if one != other);
    // A root that names a namespace conflicts also with a delegate that names none.
    let other_namespace =
        root.source_namespace.is_some() && root.source_namespace != delegate.source_namespace;
    let other_label = delegate.source_labels.iter().any(|(key, value)| {
        let of_root = root.source_labels.get(key);
        of_root.is_some_and(|of_root| of_root != value)
    });
    let other_gateway = !root.gateways.is_empty()
        && delegate
            .gateways
            .iter()
            .any(|gateway| !root.gateways.contains(gateway));
    texts.iter().any(|(root, delegate)| {
        let both = root.as_ref().zip(delegate.as_ref());
        both.is_some_and(|(root, delegate)| exclude(root, delegate))
    }) || lists.iter().any(|(root, delegate)| named(root, delegate))
        || root.ignore_uri_case != delegate.ignore_uri_case
        || other_port
        || other_namespace
        || other_label
        || other_gateway
}

/// Whether both test the same name, and the tests exclude each other. One of mere presence agrees
/// with none.
fn named(root: &[NamedMatch], delegate: &[NamedMatch]) -> bool {
    delegate.iter().any(|of_delegate| {
        let mut same = root.iter().filter(|it| it.name == of_delegate.name);
        same.any(|of_root| match (&of_root.test, &of_delegate.test) {
            (Some(root), Some(delegate)) => exclude(root, delegate),
            _ => true,
        })
    })
}

fn exclude(root: &StringMatch, delegate: &StringMatch) -> bool {
    match (root, delegate) {
        (StringMatch::Exact(root), StringMatch::Exact(delegate)) => root != delegate,
        (StringMatch::Prefix(root), StringMatch::Exact(it) | StringMatch::Prefix(it)) => {
            !it.starts_with(root.as_str())
        }
        (StringMatch::Regex(_), _)
        | (_, StringMatch::Regex(_))
        | (StringMatch::Exact(_), StringMatch::Prefix(_)) => true,
    }
}
