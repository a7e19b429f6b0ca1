use std::time::Duration;

use super::*;

fn document(spec: &str) -> String {
    format!("apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {{name: a}}\nspec: {spec}\n")
}

#[test]
fn what_an_authorizer_says_is_kept_with_its_place() {
    let full = "{expression: request.method == 'GET', cache: {keys: [request.path, 'request.headers[X-Tenant]'], ttl: 1m, staleIfError: 1h, denials: {ttl: 0s}, maxEntries: 7, maxBytes: 4096}}";
    let resources = parse("f", &document(full), "foo").unwrap();
    let [authorizer] = resources.authorizers.as_slice() else {
        panic!("{resources:?}");
    };
    let rule = authorizer.expression.as_ref().unwrap();
    assert_eq!(rule.as_str(), "request.method == 'GET'");
    assert_eq!(rule.at().to_string(), "f:4:20");
    let cache = authorizer.cache.as_ref().unwrap();
    assert_eq!(cache.keys, [CacheKey::Path, CacheKey::header("x-tenant")]);
    assert_eq!(cache.ttl, Duration::from_secs(60));
    assert_eq!(cache.stale_if_error, Duration::from_secs(3_600));
    assert_eq!(cache.denial_ttl, Some(Duration::ZERO));
    assert_eq!((cache.max_entries, cache.max_bytes), (7, 4_096));

    // In snake_case, and with nothing but keys.
    let short = "{cache: {keys: [source.principal], stale_if_error: 5s}}";
    let resources = parse("f", &document(short), "foo").unwrap();
    let authorizer = &resources.authorizers[0];
    assert_eq!(authorizer.expression, None);
    let cache = authorizer.cache.as_ref().unwrap();
    let expected = AuthorizerCache {
        stale_if_error: Duration::from_secs(5),
        at: cache.at.clone(),
        ..AuthorizerCache::keyed_by(vec![CacheKey::Principal])
    };
    assert_eq!(*cache, expected);
    assert_eq!(resources.metas().count(), 1);
}

#[test]
fn authorizers_are_held_to_their_rules() {
    #[rustfmt::skip] // one row a line
    let rows = [
        ("^{}", "spec", "says nothing"),
        ("{expression: a, ^expresion: a}", "spec.expresion", "did you mean `expression`"),
        ("{expression: ^''}", "spec.expression", "empty"),
        ("{expression: ^1}", "spec.expression", "quotes"),
        ("{cache: ^x}", "spec.cache", "write a map"),
        ("{cache: ^{}}", "spec.cache.keys", "missing"),
        ("{cache: {keys: ^[]}}", "spec.cache.keys", "everybody"),
        ("{cache: {keys: ^source.ip}}", "spec.cache.keys", "write a list"),
        ("{cache: {keys: [^null]}}", "spec.cache.keys[0]", "null"),
        ("{cache: {keys: [^request.pth]}}", "spec.cache.keys[0]", "did you mean request.path"),
        ("{cache: {keys: [^principal]}}", "spec.cache.keys[0]", "known are connection.sni"),
        ("{cache: {keys: [^'request.headers[a b]']}}", "spec.cache.keys[0]", "no header name"),
        ("{cache: ^{keys: [source.ip, remote.ip, source.ip]}}", "spec.cache.keys", "source.ip twice"),
        ("{cache: {keys: [source.ip], ^tll: 1s}}", "spec.cache.tll", "did you mean `ttl`"),
        ("{cache: {keys: [source.ip], ttl: ^5}}", "spec.cache.ttl", "quotes"),
        ("{cache: {keys: [source.ip], ttl: ^0s}}", "spec.cache.ttl", "at least 1ms"),
        ("{cache: {keys: [source.ip], staleIfError: ^-1s}}", "spec.cache.staleIfError", "no duration"),
        ("{cache: {keys: [source.ip], ttl: ^30}}", "spec.cache.ttl", "30 is a number, and without a unit it is no duration"),
        ("{cache: {keys: [source.ip], denials: ^{}}}", "spec.cache.denials.ttl", "missing"),
        ("{cache: {keys: [source.ip], denials: {^ttls: 1s, ttl: 1s}}}", "spec.cache.denials.ttls", "did you mean"),
        ("{cache: {keys: [source.ip], maxEntries: ^0}}", "spec.cache.maxEntries", "1 to 1000000"),
        ("{cache: {keys: [source.ip], maxEntries: ^1000001}}", "spec.cache.maxEntries", "1 to 1000000"),
        ("{cache: {keys: [source.ip], maxBytes: ^4095}}", "spec.cache.maxBytes", "4096"),
        ("{cache: {keys: [source.ip], maxBytes: ^16Mi}}", "spec.cache.maxBytes", "no number"),
    ];
    for (marked, field, piece) in rows {
        let column = "spec: ".len() + marked.find('^').unwrap() + 1;
        let place = format!("4:{column}: {field}: ");
        let problem = only_problem(&document(&marked.replace('^', "")));
        assert!(
            problem.starts_with(&place) && problem.contains(piece),
            "{marked}\n     due: {place}..{piece}..\nreported: {problem}"
        );
    }
}

#[test]
fn the_head_of_an_authorizer_is_held_to_its_rules() {
    let spec = "spec: {expression: a}";
    #[rustfmt::skip] // one row a line
    let rows = [
        ("apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {name: a.b}", "1:1: metadata.name: ", "no provider name"),
        ("apiVersion: mesh.tower/v2\nkind: Authorizer\nmetadata: {name: a}", "1:13: apiVersion: ", "write mesh.tower/v1"),
        ("apiVersion: mesh.towr/v1\nkind: Authorizer\nmetadata: {name: a}", "1:13: apiVersion: ", "did you mean mesh.tower?"),
        ("apiVersion: security.istio.io/v1\nkind: Authorizer\nmetadata: {name: a}", "2:7: kind: ", "write mesh.tower/v1"),
        ("apiVersion: mesh.tower/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}", "2:7: kind: ", "write security.istio.io/v1"),
        ("apiVersion: mesh.tower/v1\nkind: Authoriser\nmetadata: {name: a}", "2:7: kind: ", "did you mean Authorizer?"),
        ("apiVersion: mesh.tower/v1\nkind: Authorizer\nmetadata: {name: a, annotations: {istio.io/dry-run: 'true'}}", "3:53: metadata.annotations[istio.io/dry-run]: ", "run dry"),
    ];
    for (head, place, piece) in rows {
        let problem = only_problem(&format!("{head}\n{spec}\n"));
        assert!(
            problem.starts_with(place) && problem.contains(piece),
            "{head}\n     due: {place}..{piece}..\nreported: {problem}"
        );
    }
    let twice = format!("{}---\n{0}", document("{expression: a}"));
    assert!(only_problem(&twice).contains("already written at"));
}

/// The schema for Kubernetes knows the fields and the attributes that the decoder knows.
#[test]
fn the_schema_for_kubernetes_has_the_fields_that_are_read() {
    let text = include_str!("../../../examples/crds/authorizers.yaml");
    let sink = Sink::new("authorizers.yaml");
    let roots: Vec<_> = documents(text, Limits::default(), &sink).collect();
    let [root] = roots.as_slice() else {
        panic!("{text}");
    };
    let inside = |path: &str| {
        let steps = path.split('.');
        steps.fold(root, |node, step| match step {
            "0" => &node.items("versions")[0],
            step => node.get(step).unwrap_or_else(|| panic!("{path}: {step}")),
        })
    };
    let spec = "spec.0.schema.openAPIV3Schema.properties.spec.properties";
    for (path, unknown) in [
        ("", "{zzzzzzzz: 1, expression: a}"),
        (
            ".cache.properties",
            "{cache: {zzzzzzzz: 1, keys: [source.ip]}}",
        ),
        (
            ".cache.properties.denials.properties",
            "{cache: {keys: [source.ip], denials: {zzzzzzzz: 1, ttl: 1s}}}",
        ),
    ] {
        let problem = only_problem(&document(unknown));
        let (_, known) = problem.trim_end().split_once("known here: ").unwrap();
        let mut known: Vec<_> = known.split(", ").collect();
        let entries = inside(&format!("{spec}{path}")).entries().unwrap();
        let mut written: Vec<_> = entries.iter().map(|entry| &*entry.key).collect();
        known.sort_unstable();
        written.sort_unstable();
        assert_eq!(written, known, "{path}");
    }
    let pattern = inside(&format!("{spec}.cache.properties.keys.items"));
    let pattern = regex::Regex::new(pattern.text("pattern").unwrap()).unwrap();
    for name in CacheKey::names() {
        let name = name.replace("NAME", "x-tenant");
        assert!(pattern.is_match(&name), "{name}");
    }
    for wrong in [
        "path",
        "request.headers[a b]",
        "request.headers[]",
        "source-ip",
    ] {
        assert!(!pattern.is_match(wrong), "{wrong}");
    }
}
