//! Rows of the policy page, by who calls: peers, addresses, claims.

use serde_json::json;
use tower_mesh::Workload;
use tower_mesh::identity::PeerCertificate;
use tower_mesh::istio::{MeshConfig, MtlsMode};
use tower_mesh::policy::{Engine, Request};

use super::rows::{assert_status, engine, engine_with, get, ip, judge, mtls, policy};

/// Rows 22 to 29: who calls.
#[test]
fn peers_match_by_any_of_their_names() {
    let from = |source: &str| {
        engine(&policy(&format!(
            "{{rules: [{{from: [{{source: {{{source}}}}}]}}]}}"
        )))
    };
    let certificate = |uris: &[&str], dns: &[&str], subject: &str| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        get("/").certificate(PeerCertificate::from_names(
            owned(uris),
            owned(dns),
            subject.to_owned(),
        ))
    };
    let anyone = from("principals: [\"*\"]");
    assert_status("22", &anyone, &get("/"), 403);
    assert_status("22", &anyone, &certificate(&[], &["web.example"], ""), 200);
    assert_status("22", &anyone, &certificate(&[], &[], "CN=web"), 200);
    assert_status("22", &anyone, &get("/").anonymous_tls(), 403);
    let not_alice = from("notPrincipals: [cluster.local/ns/foo/sa/alice]");
    assert_status("23", &not_alice, &get("/"), 200);
    assert_status("23", &not_alice, &mtls("alice"), 403);
    let deny = engine(&policy(
        "{action: DENY, rules: [{from: [{source: {notNamespaces: [x]}}]}]}",
    ));
    assert_status("24", &deny, &get("/"), 403);
    let mut mesh = MeshConfig::default();
    mesh.trust_domain = Some("td2".to_owned());
    let alice =
        policy("{rules: [{from: [{source: {principals: [cluster.local/ns/foo/sa/alice]}}]}]}");
    let other_domain = engine_with(&alice, mesh);
    assert_status("25", &other_domain, &mtls("alice"), 403);
    assert_status(
        "25",
        &other_domain,
        &get("/").from("td2/ns/foo/sa/alice"),
        200,
    );
    let alice = engine(&alice);
    let two = certificate(
        &["spiffe://x/y", "spiffe://cluster.local/ns/foo/sa/alice"],
        &[],
        "",
    );
    assert_status("26", &alice, &two, 200);
    assert_status("26", &alice, &mtls("alice-admin"), 403);
    let account = from("serviceAccounts: [alice]");
    assert_status("27", &account, &get("/").from("td2/ns/foo/sa/alice"), 200);
    assert_status(
        "27",
        &account,
        &get("/").from("td2/ns/foo/zone/z/sa/alice/rev/1"),
        200,
    );
    assert_status("27", &account, &mtls("alice-admin"), 403);
    assert_status("28", &from("namespaces: [\"f*o\"]"), &mtls("alice"), 200);
    assert_status(
        "29",
        &from("namespaces: [foo]"),
        &certificate(&["spiffe://evil/x/ns/foo/sa/a"], &[], ""),
        200,
    );
}

/// Rows 30 to 33, B-62: addresses and the server name.
#[test]
fn addresses_match_within_their_family() {
    let from = |source: &str| {
        engine(&policy(&format!(
            "{{rules: [{{from: [{{source: {{{source}}}}}]}}]}}"
        )))
    };
    let forwarded = |value: &str| get("/").header("x-forwarded-for", value);
    assert_status(
        "30",
        &from("ipBlocks: [127.0.0.1]"),
        &forwarded("9.9.9.9"),
        200,
    );
    let remote = from("remoteIpBlocks: [9.9.9.0/24]");
    assert_status("31", &remote, &forwarded("1.1.1.1, 9.9.9.9"), 200);
    for other in ["9.9.9.9, 1.1.1.1", "9.9.9.9:55", "9.9.9.9,"] {
        assert_status("31", &remote, &forwarded(other), 403);
    }
    assert_status("32", &from("ipBlocks: [\"::/0\"]"), &get("/"), 403);
    let mapped = get("/").source_ip(ip("::ffff:10.0.0.1"));
    assert_status("B-62", &from("ipBlocks: [10.0.0.0/8]"), &mapped, 200);
    let sni = engine(&policy(
        "{rules: [{when: [{key: connection.sni, notValues: [a]}]}]}",
    ));
    assert_status("33", &sni, &get("/"), 200);
}

/// Rows 37 to 41: the end user's token.
#[test]
fn claims_match_as_envoy_matches_metadata() {
    let principals = |value: &str| {
        engine(&policy(&format!(
            "{{rules: [{{from: [{{source: {{requestPrincipals: [\"{value}\"]}}}}]}}]}}"
        )))
    };
    let token = |issuer: &str, subject: &str| get("/").claim("iss", issuer).claim("sub", subject);
    assert_status(
        "37",
        &principals("https://A*"),
        &token("https://A/x", "s"),
        403,
    );
    assert_status(
        "38",
        &principals("https://A/x/a/b"),
        &token("https://A/x", "a/b"),
        403,
    );
    assert_status(
        "38",
        &principals("https://A/x/b"),
        &token("https://A/x", "b"),
        200,
    );

    let claim = |name: &str, clause: &str| {
        engine(&policy(&format!(
            "{{rules: [{{when: [{{key: \"request.auth.claims[{name}]\", {clause}}}]}}]}}"
        )))
    };
    let any = claim("g", "values: [\"*\"]");
    for nothing in [
        json!(5),
        json!(true),
        json!(null),
        json!(""),
        json!([]),
        json!([""]),
    ] {
        assert_status("39", &any, &get("/").claim("g", nothing), 403);
    }
    for something in [json!("x"), json!(["x"])] {
        assert_status("39", &any, &get("/").claim("g", something), 200);
    }
    let not_admin = claim("g", "notValues: [admin]");
    assert_status("40", &not_admin, &get("/"), 200);
    assert_status(
        "40",
        &not_admin,
        &get("/").claim("g", json!(["x", "admin"])),
        403,
    );
    let scope = claim("scope", "values: [read]");
    assert_status("41", &scope, &get("/").claim("scope", "write read"), 200);
    assert_status(
        "41",
        &scope,
        &get("/").claim("scope", json!(["write read"])),
        403,
    );
}

/// Rows 49 to 51: what HTTP fields mean to raw TCP.
#[test]
fn http_fields_narrow_allow_and_widen_deny_on_tcp() {
    for (row, spec) in [
        (
            "49",
            "{rules: [{to: [{operation: {ports: [\"80\"]}}, {operation: {methods: [GET]}}]}]}",
        ),
        (
            "50",
            "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}",
        ),
        (
            "51",
            "{action: DENY, rules: [{from: [{source: {requestPrincipals: [x]}}, {source: {namespaces: [\"y\"]}}]}]}",
        ),
    ] {
        let judgement = judge(&engine(&policy(spec)), &Request::tcp());
        assert_eq!(
            (judgement.status, judgement.decision.allowed),
            (None, false),
            "row {row}"
        );
    }
}

/// Row 56: the nearest PeerAuthentication that says anything.
#[test]
fn an_unset_mode_inherits_from_the_namespace() {
    let peer = |namespace: &str, name: &str, rest: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{rest}}}\n"
        )
    };
    let engine = {
        let workload = Workload::new("foo", "p").label("app", "p");
        let yaml = [
            peer("istio-system", "mesh", "mtls: {mode: DISABLE}"),
            peer("foo", "namespace", "mtls: {mode: STRICT}"),
            peer(
                "foo",
                "workload",
                "selector: {matchLabels: {app: p}}, mtls: {mode: UNSET}",
            ),
        ];
        Engine::builder(&workload)
            .yaml(&yaml.concat())
            .build()
            .unwrap()
    };
    assert_eq!(engine.mtls(80), Some(MtlsMode::Strict));
}
