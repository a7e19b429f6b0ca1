//! What finds a decision.

use super::*;

/// Every attribute tells requests apart, and no other does.
#[tokio::test(start_paused = true)]
async fn a_decision_is_found_by_its_declared_attributes_alone() {
    let desk = Some("cluster.local/ns/default/sa/desk");
    let alice = || json!({"iss": "clinic", "sub": "alice", "role": ["a", "b"]});
    let base = || with_claims(with_header(of("GET", "/a?x=1", desk), "x-a", "1"), &alice());
    let method = || with_claims(with_header(of("PUT", "/a?x=1", desk), "x-a", "1"), &alice());
    let query = || with_claims(with_header(of("GET", "/a?x=2", desk), "x-a", "1"), &alice());
    let path = || with_claims(with_header(of("GET", "/b?x=1", desk), "x-a", "1"), &alice());
    let caller = || with_claims(with_header(of("GET", "/a?x=1", None), "x-a", "1"), &alice());
    let header = || with_header(base(), "x-a", "1");
    let bob = || {
        let mut bob = base();
        bob.1 = bob.1.claims(
            json!({"iss": "clinic", "sub": "bob"})
                .as_object()
                .unwrap()
                .clone(),
        );
        bob
    };
    let role = || {
        let claims = json!({"iss": "clinic", "sub": "alice", "role": ["a,b"]});
        with_claims(base(), &claims)
    };
    let others: [(&str, Asked); 7] = [
        ("method", method()),
        ("query", query()),
        ("path", path()),
        ("caller", caller()),
        ("header", header()),
        ("bob", bob()),
        ("role", role()),
    ];
    for (key, apart) in [
        (CacheKey::Method, vec!["method"]),
        (CacheKey::Path, vec!["query", "path"]),
        (CacheKey::PathWithoutQuery, vec!["path"]),
        (CacheKey::Principal, vec!["caller"]),
        (CacheKey::header("X-A"), vec!["header"]),
        (CacheKey::RequestPrincipal, vec!["bob"]),
        (CacheKey::claim("role"), vec!["bob", "role"]),
        (CacheKey::DestinationPort, vec![]),
        (CacheKey::RemoteIp, vec![]),
    ] {
        let cache = cache(DecisionCache::keyed_by([key.clone()]));
        decide(&cache, &base(), Ok(Authorization::allow())).unwrap();
        for (name, other) in &others {
            let is_apart = hit(&cache, other).is_none();
            assert_eq!(is_apart, apart.contains(name), "{key} {name}");
        }
    }
}

/// In HTTP/2 the host is no header.
#[tokio::test(start_paused = true)]
async fn the_header_host_is_the_host_of_the_request() {
    for key in [
        CacheKey::header("Host"),
        CacheKey::Header("host".to_owned()),
    ] {
        let cache = cache(DecisionCache::keyed_by([key]));
        let to = |host: &str| {
            let (head, request) = get("/");
            (head, request.authority(host))
        };
        decide(&cache, &to("public"), Ok(Authorization::allow())).unwrap();
        assert!(hit(&cache, &to("public")).is_some());
        assert!(hit(&cache, &to("admin")).is_none());
    }
}

/// Names of a certificate of another kind than the mesh's.
#[tokio::test(start_paused = true)]
async fn names_of_a_certificate_keep_their_kind() {
    use crate::identity::PeerCertificate;
    let of = |uris: &[&str], dns: &[&str]| {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        PeerCertificate::from_names(texts(uris), texts(dns), String::new())
    };
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for certificate in [
        of(&["a"], &[]),
        of(&[], &["a"]),
        of(&["a", "b"], &[]),
        of(&["a"], &["b"]),
        of(&[], &["a", "b"]),
    ] {
        let mut key = Key::default();
        key.certificate(Some(&certificate));
        assert!(
            !keys.iter().any(|other| *other == key.bytes()),
            "{certificate:?}"
        );
        keys.push(key.bytes().to_vec());
    }
}

/// Two attributes do not run into each other.
#[tokio::test(start_paused = true)]
async fn attributes_are_told_apart_at_their_borders() {
    let keys = [CacheKey::header("x-a"), CacheKey::header("x-b")];
    let cache = cache(DecisionCache::keyed_by(keys));
    let asked = with_header(with_header(get("/"), "x-a", "1"), "x-b", "2");
    decide(&cache, &asked, Ok(Authorization::allow())).unwrap();
    assert!(hit(&cache, &asked).is_some());
    for other in [
        get("/"),
        with_header(get("/"), "x-a", "1"),
        with_header(get("/"), "x-a", "12"),
        with_header(with_header(get("/"), "x-a", "1"), "x-a", "2"),
        with_header(with_header(get("/"), "x-a", "2"), "x-b", "1"),
        with_header(with_header(get("/"), "x-a", ""), "x-b", "12"),
    ] {
        assert!(hit(&cache, &other).is_none(), "{:?}", other.0.headers);
    }
}

#[tokio::test(start_paused = true)]
async fn before_tokens_are_verified_a_cache_by_claims_asks_each_time() {
    let cache = cache(DecisionCache::keyed_by([CacheKey::claim("role")]));
    for _ in 0..2 {
        let (head, request) = get("/");
        let LookUp::Ask(ticket) = cache.look_up(&head, &request, Stage::BeforeTokens) else {
            panic!("one user's decision would serve another");
        };
        settle(ticket, Ok(Authorization::allow())).unwrap();
    }
    assert_eq!(cache.counts().unkeyed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_long_is_asked_about_each_time() {
    let keys = [CacheKey::header("x-a"), CacheKey::claim("big")];
    let cache = cache(DecisionCache::keyed_by(keys));
    let header = with_header(
        get("/"),
        "x-a",
        Box::leak("a".repeat(4_100).into_boxed_str()),
    );
    let list: Vec<_> = (0..4_000).collect();
    let claim = with_claims(get("/"), &json!({"big": list}));
    for asked in [header, claim] {
        decide(&cache, &asked, Ok(Authorization::allow())).unwrap();
        assert!(hit(&cache, &asked).is_none());
    }
    assert_eq!((cache.counts().unkeyed, cache.counts().entries), (4, 0));
}
