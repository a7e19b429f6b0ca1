//! Removes the headers that a caller from outside the mesh may not set.

use http::HeaderMap;

/// Removes Envoy's own headers, which a caller from outside the mesh may not set (`spec` H-12).
pub(in crate::propagation) fn strip_outside(headers: &mut HeaderMap) {
    remove_where(headers, |name| name.starts_with("x-envoy-"));
}

/// Looks at each name once: to begin anew after each removal would cost the square of what the
/// caller sends.
fn remove_where(headers: &mut HeaderMap, mut goes: impl FnMut(&str) -> bool) {
    let names: Vec<_> = headers
        .keys()
        .filter(|name| goes(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// As many other headers as Envoy's, each with two values, in the order that is worst for a loop
    /// that starts again after each removal.
    fn many(count: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for prefix in ["x-other-", "x-envoy-"] {
            for index in 0..count {
                let name: HeaderName = format!("{prefix}{index}").parse().unwrap();
                headers.append(name.clone(), HeaderValue::from_static("1"));
                headers.append(name, HeaderValue::from_static("2"));
            }
        }
        headers
    }

    #[test]
    fn all_of_envoys_headers_go_and_no_other() {
        let mut headers = many(100);
        headers.append("X-Envoy-Peer-Metadata", HeaderValue::from_static("m"));
        headers.append("x-envoys", HeaderValue::from_static("m"));
        strip_outside(&mut headers);
        assert_eq!((headers.keys_len(), headers.len()), (101, 201));
        assert!(
            headers
                .keys()
                .all(|name| !name.as_str().starts_with("x-envoy-"))
        );
    }

    /// what a caller sends costs what it is long.
    #[test]
    fn each_name_is_looked_at_once() {
        for count in [10, 1_000] {
            let mut headers = many(count);
            let mut looks = 0;
            remove_where(&mut headers, |name| {
                looks += 1;
                name.starts_with("x-envoy-")
            });
            assert_eq!((looks, headers.keys_len()), (2 * count, count));
        }
    }
}
