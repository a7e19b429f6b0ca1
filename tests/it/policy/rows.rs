//! Rows that a running Envoy answered, asked of the engine: YAML and a request in, a decision out.

use std::net::IpAddr;

use tower_mesh::Workload;
use tower_mesh::istio::{MeshConfig, PathNormalization};
use tower_mesh::policy::{DryRun, Engine, Judgement, Request};

/// A policy named `p` of namespace `foo`.
pub(super) fn policy(spec: &str) -> String {
    named("p", "", spec)
}

pub(super) fn named(name: &str, annotations: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: foo, annotations: {{{annotations}}}}}\nspec: {spec}\n"
    )
}

pub(super) fn engine(yaml: &str) -> Engine {
    engine_with(yaml, MeshConfig::default())
}

pub(super) fn engine_with(yaml: &str, mesh: MeshConfig) -> Engine {
    let workload = Workload::new("foo", "p");
    let built = Engine::builder(&workload)
        .mesh_config(mesh)
        .yaml(yaml)
        .build();
    built.unwrap_or_else(|problems| panic!("{problems}\n{yaml}"))
}

pub(super) fn get(target: &str) -> Request {
    Request::new().get(target)
}

pub(super) fn mtls(account: &str) -> Request {
    get("/").from(&format!("cluster.local/ns/foo/sa/{account}"))
}

pub(super) fn judge(engine: &Engine, request: &Request) -> Judgement {
    engine.judge(request)
}

pub(super) fn assert_status(row: &str, engine: &Engine, request: &Request, status: u16) {
    let judgement = judge(engine, request);
    assert_eq!(
        judgement.status,
        Some(status),
        "row {row}: {request:?}\n{}",
        engine.explain(request)
    );
}

pub(super) fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// Rows 1, 2, 4 to 6: what there is decides, and the smallest name is reported.
#[test]
fn combinations_decide_and_name_as_envoy_does() {
    let nothing = judge(&engine(&policy("{}")), &get("/"));
    assert_eq!(
        (nothing.status, nothing.decision.policy.as_ref()),
        (Some(403), None)
    );
    assert_eq!(
        nothing.decision.details(),
        "rbac_access_denied_matched_policy[none]"
    );
    assert_status("2", &engine(&policy("{rules: [{}]}")), &get("/"), 200);

    let both = engine(
        &[
            named(
                "d",
                "",
                "{action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]}",
            ),
            named("a", "", "{rules: [{}]}"),
        ]
        .concat(),
    );
    let denied = judge(&both, &get("/x"));
    assert_eq!(
        denied.decision.details(),
        "rbac_access_denied_matched_policy[ns[foo]-policy[d]-rule[0]]"
    );
    assert_status("4", &both, &get("/y"), 200);

    let two = engine(
        &[
            named("zz", "", "{rules: [{}]}"),
            named("aa", "", "{rules: [{}]}"),
        ]
        .concat(),
    );
    assert_eq!(
        judge(&two, &get("/")).decision.policy.unwrap().as_str(),
        "ns[foo]-policy[aa]-rule[0]"
    );

    let rule = |path: &str| format!("{{to: [{{operation: {{paths: [{path}]}}}}]}}");
    let rules: Vec<_> = (0..12)
        .map(|index| {
            rule(if [2, 10].contains(&index) {
                "/x"
            } else {
                "/other"
            })
        })
        .collect();
    let many = engine(&policy(&format!("{{rules: [{}]}}", rules.join(", "))));
    assert_eq!(
        judge(&many, &get("/x")).decision.policy.unwrap().as_str(),
        "ns[foo]-policy[p]-rule[10]"
    );
}

/// Rows 3 and 7: what is only reported decides nothing.
#[test]
fn dry_runs_and_audits_only_report() {
    let dry = engine(&named(
        "p",
        "istio.io/dry-run: \"true\"",
        "{rules: [{to: [{operation: {paths: [/x]}}]}]}",
    ));
    let judgement = judge(&dry, &get("/y"));
    assert_eq!(judgement.status, Some(200));
    let marks = judgement.decision.marks.unwrap();
    assert!(!marks.dry_run_allow.as_ref().unwrap().allowed);
    assert_eq!(marks.dry_run_deny, None);

    let audit = engine(&policy(
        "{action: AUDIT, rules: [{to: [{operation: {paths: [/x]}}]}]}",
    ));
    let marked = judge(&audit, &get("/x"));
    assert_eq!(
        (marked.status, marked.decision.marks.unwrap().audit.len()),
        (Some(200), 1)
    );
    let unmarked = judge(&audit, &get("/y"));
    assert_eq!(
        (unmarked.status, unmarked.decision.marks),
        (Some(200), None)
    );
}

/// Both trials stand beside what is enforced: each says what it alone would decide, and a DENY that is enforced hides the ALLOW trial, as
/// in Envoy, where the later filter is never reached.
#[test]
fn trials_of_both_kinds_are_told_apart() {
    let dry = "istio.io/dry-run: \"true\"";
    let to = |path: &str| format!("rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]");
    let engine = engine(
        &[
            named(
                "deny-trial",
                dry,
                &format!("{{action: DENY, {}}}", to("\"/x*\"")),
            ),
            named("allow-trial", dry, &format!("{{{}}}", to("/xy"))),
            named("deny", "", &format!("{{action: DENY, {}}}", to("/xz"))),
            named("allow", "", &format!("{{{}}}", to("\"/*\""))),
        ]
        .concat(),
    );
    let name = |policy: &str| Some(format!("ns[foo]-policy[{policy}]-rule[0]"));
    let passes = (true, None);
    for (path, status, deny_trial, allow_trial) in [
        ("/y", 200, passes, Some((false, None))),
        ("/x", 200, (false, name("deny-trial")), Some((false, None))),
        (
            "/xy",
            200,
            (false, name("deny-trial")),
            Some((true, name("allow-trial"))),
        ),
        ("/xz", 403, (false, name("deny-trial")), None),
    ] {
        let judgement = judge(&engine, &get(path));
        assert_eq!(judgement.status, Some(status), "{path}");
        let marks = judgement.decision.marks.unwrap();
        let told = |trial: &Option<DryRun>| {
            let trial = trial.as_ref()?;
            Some((
                trial.allowed,
                trial.policy.as_ref().map(ToString::to_string),
            ))
        };
        assert_eq!(told(&marks.dry_run_deny), Some(deny_trial), "{path}");
        assert_eq!(told(&marks.dry_run_allow), allow_trial, "{path}");
    }
}

/// Every AUDIT rule that matches is told, in byte order of the names; a refusal keeps its marks.
#[test]
fn audit_marks_come_in_byte_order_and_survive_a_refusal() {
    let rules = |count| format!("[{}]", vec!["{}"; count].join(", "));
    let audit = |name: &str, count| {
        named(
            name,
            "",
            &format!("{{action: AUDIT, rules: {}}}", rules(count)),
        )
    };
    let deny = named("a", "", "{action: DENY, rules: [{}]}");
    let engine = engine(&[audit("zz", 1), audit("b", 11), deny].concat());
    let refused = judge(&engine, &get("/"));
    assert_eq!(refused.status, Some(403));
    let marks = refused.decision.marks.unwrap();
    let names: Vec<_> = marks.audit.iter().map(|name| name.as_str()).collect();
    assert_eq!(names.len(), 12);
    assert!(names.is_sorted());
    assert_eq!(names[1], "ns[foo]-policy[b]-rule[10]");
    assert_eq!(names[11], "ns[foo]-policy[zz]-rule[0]");
}

/// What Envoy takes off before policy sees a request is absent; what it stores once is one value (spec §2.6).
#[test]
fn headers_that_envoy_removes_are_absent() {
    let present = |name: &str| {
        engine(&policy(&format!(
            "{{rules: [{{when: [{{key: \"request.headers[{name}]\", values: [\"*\"]}}]}}]}}"
        )))
    };
    let upgrade = || {
        get("/")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
    };
    for (name, request, status) in [
        ("te", get("/").header("te", "gzip"), 403),
        ("te", get("/").header("te", "trailers"), 200),
        ("upgrade", get("/").header("upgrade", "websocket"), 403),
        ("upgrade", upgrade(), 200),
        (
            "x-forwarded-client-cert",
            get("/").header("x-forwarded-client-cert", "Hash=1"),
            403,
        ),
        (
            "x-forwarded-client-cert",
            mtls("a").header("x-forwarded-client-cert", "Hash=1"),
            200,
        ),
    ] {
        assert_status(name, &present(name), &request, status);
    }
    for joined in [
        "via",
        "x-request-id",
        "user-agent",
        "grpc-timeout",
        "x-forwarded-proto",
    ] {
        let engine = engine(&policy(&format!(
            "{{rules: [{{when: [{{key: \"request.headers[{joined}]\", values: [\"a,b\"]}}]}}]}}"
        )));
        assert_status(
            joined,
            &engine,
            &get("/").header(joined, "a").header(joined, "b"),
            200,
        );
    }
    for alone in [
        "accept-language",
        "cookie",
        "x-api-key",
        "traceparent",
        "x-unknown",
    ] {
        let engine = engine(&policy(&format!(
            "{{rules: [{{when: [{{key: \"request.headers[{alone}]\", values: [b]}}]}}]}}"
        )));
        assert_status(
            alone,
            &engine,
            &get("/").header(alone, "a").header(alone, "b"),
            200,
        );
    }
}

/// Spec §2.7: how a written request principal is taken apart.
#[test]
fn request_principals_are_taken_apart_at_their_last_slash() {
    for (written, issuer, subject, status) in [
        ("*", "i", "s", 200),
        ("*", "i", "", 403),
        ("*/s", "any/issuer", "s", 200),
        ("*/s", "i", "xs", 403),
        ("*/x/s", "i/x", "s", 200),
        ("*/x/s", "i/y", "s", 403),
        ("*alice", "i", "malice", 200),
        ("*alice", "i", "alicex", 403),
        ("i/*", "i", "anything", 200),
        ("i/*", "i", "", 403),
        ("i/a*", "i", "ab", 200),
        ("i/a*", "ix", "ab", 403),
        ("idp*", "idp.example", "s", 200),
        ("https://idp*", "https:/", "idp1", 200),
        ("https://idp*", "https://idp.example", "s", 403),
        ("idp", "idp", "", 200),
        ("idp", "idp", "s", 403),
        ("https://i/s", "https://i", "s", 200),
        ("https://i/s", "https://i", "S", 403),
    ] {
        let engine = engine(&policy(&format!(
            "{{rules: [{{from: [{{source: {{requestPrincipals: [\"{written}\"]}}}}]}}]}}"
        )));
        let request = get("/").claim("iss", issuer).claim("sub", subject);
        assert_status(written, &engine, &request, status);
    }
    let bare = engine(&policy(
        "{rules: [{from: [{source: {requestPrincipals: [idp]}}]}]}",
    ));
    assert_status("idp", &bare, &get("/").claim("iss", "idp"), 403);
}

/// Spec §2.9: what each template matches, under BASE.
#[test]
fn templates_match_what_envoy_matches() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            "/foo/{*}",
            &[
                "/foo/bar",
                "/foo/b%20r",
                "/foo/a%2Fb",
                "/foo/b?x=1",
                "/foo/a{b}",
            ],
            &[
                "/foo",
                "/foo/",
                "/foo/a/b",
                "/foo/.",
                "/foo/a[b]",
                "/FOO/bar",
            ],
        ),
        (
            "/foo/{**}",
            &["/foo/", "/foo/a", "/foo/a/b", "/foo//"],
            &["/foo", "/fooa", "/foo/[a]"],
        ),
        (
            "/foo/{**}/",
            &["/foo/bar/", "/foo//"],
            &["/foo/", "/foo/bar", "/foo/bar/baz.txt"],
        ),
        ("/{**}/foo", &["/a/foo", "/a/b/foo"], &["/foo"]),
        (
            "/foo/{*}/bar/{**}",
            &["/foo/x/bar/", "/foo/x/bar/y"],
            &["/foo/x/bar", "/foo//bar/x"],
        ),
        (
            "/store/{**}/cart",
            &["/store//cart", "/store/a/b/cart"],
            &["/store/cart"],
        ),
    ];
    for (template, good, bad) in rows {
        let engine = engine(&policy(&format!(
            "{{rules: [{{to: [{{operation: {{paths: [\"{template}\"]}}}}]}}]}}"
        )));
        for (targets, status) in [(good, 200), (bad, 403)] {
            for target in *targets {
                assert_status(template, &engine, &get(target), status);
            }
        }
    }
}

/// Rows 8 to 11 and 14: paths.
#[test]
fn paths_match_as_envoy_matches_them() {
    let allow = |path: &str| {
        engine(&policy(&format!(
            "{{rules: [{{to: [{{operation: {{paths: [\"{path}\"]}}}}]}}]}}"
        )))
    };
    for (row, path, target, status) in [
        ("8", "/a", "/a?x", 200),
        ("8", "/a", "/b/../a", 200),
        ("8", "/a", "/%61", 200),
        ("8", "/a", "/a/", 403),
        ("8", "/a", "//a", 403),
        ("8", "/a", "/a;x=1", 403),
        ("8", "/a", "/A", 403),
        ("8", "/a", "/a%2f", 403),
        ("8", "/a", "/a#f", 400),
        ("9", "/a/*", "/a", 403),
        ("9", "/a/*", "/a/", 200),
        ("10", "*.txt", "/a.txt?x", 200),
        ("10", "*.txt", "/a?x=.txt", 403),
        ("14", "/foo/{**}/", "/foo/bar/baz.txt", 403),
        ("14", "/foo/{**}/", "/foo/bar/", 200),
    ] {
        assert_status(row, &allow(path), &get(target), status);
    }
    let header = engine(&policy(
        "{rules: [{when: [{key: \"request.headers[:path]\", values: [/a]}]}]}",
    ));
    assert_status("11", &header, &get("/a?x"), 403);
    assert_status("11", &header, &get("/a"), 200);
}

/// Rows 12 and 13: what a DENY on a path misses depends on the normalization.
#[test]
fn normalization_decides_what_a_deny_sees() {
    let deny = policy("{action: DENY, rules: [{to: [{operation: {paths: [\"/admin/*\"]}}]}]}");
    for (target, base, decoded) in [
        ("//admin/x", 200, 403),
        ("/admin%2fx", 200, 403),
        ("/admin;a/x", 200, 200),
        ("/x/..;/admin/x", 403, 403),
    ] {
        for (how, status) in [
            (PathNormalization::Base, base),
            (PathNormalization::DecodeAndMergeSlashes, decoded),
        ] {
            let mut mesh = MeshConfig::default();
            mesh.path_normalization = how;
            assert_status("12, 13", &engine_with(&deny, mesh), &get(target), status);
        }
    }
}

/// B-20 to B-28: DENY on `/admin` in the modes NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES.
#[test]
fn every_spelling_of_a_denied_path_is_judged_as_envoy_judges_it() {
    let rows: [(&str, &[&str], [u16; 4]); 9] = [
        (
            "B-20",
            &["/admin", "/admin?x=1", "/admin?", "http://h/admin"],
            [403, 403, 403, 403],
        ),
        (
            "B-21",
            &[
                "/./admin",
                "/x/../admin",
                "/../admin",
                "/%61dmin",
                "/admi%6E",
                "/x/%2e%2e/admin",
                "/x/.%2e/admin",
                "/x/..;/admin",
                "/.;/admin",
            ],
            [200, 403, 403, 403],
        ),
        ("B-22", &["//admin", "///admin"], [200, 200, 403, 403]),
        ("B-23", &["/%2fadmin", "/%5cadmin"], [200, 200, 200, 403]),
        ("B-24", &["/admin%2f"], [200, 200, 200, 200]),
        ("B-25", &["/\\admin"], [200, 200, 403, 403]),
        (
            "B-26",
            &[
                "/Admin",
                "/admin/",
                "/admin/.",
                "/admin;x=1",
                "/admin%20",
                "/admin.",
                "/x/%252e%252e/admin",
                "/%2561dmin",
                "/admin%zz",
                "/ad%c0%afmin",
            ],
            [200, 200, 200, 200],
        ),
        ("B-27", &["/admin%00"], [200, 400, 400, 400]),
        ("B-28", &["/admin#f", "\\admin", "*"], [400, 400, 400, 400]),
    ];
    let modes = [
        PathNormalization::None,
        PathNormalization::Base,
        PathNormalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes,
    ];
    let deny = policy("{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}");
    for (how, column) in modes.into_iter().zip(0..) {
        let mut mesh = MeshConfig::default();
        mesh.path_normalization = how;
        let engine = engine_with(&deny, mesh);
        for (row, targets, statuses) in rows {
            for target in targets {
                assert_status(row, &engine, &get(target), statuses[column]);
            }
        }
    }
}

/// Rows 15 and 16: hosts.
#[test]
fn hosts_keep_port_and_dot_and_lose_only_case() {
    let exact = engine(&policy(
        "{rules: [{to: [{operation: {hosts: [Foo.Example.com]}}]}]}",
    ));
    let suffix = engine(&policy(
        "{rules: [{to: [{operation: {hosts: [\"*.example.com\"]}}]}]}",
    ));
    for (engine, host, status) in [
        (&exact, "FOO.example.com", 200),
        (&exact, "foo.example.com:80", 403),
        (&exact, "foo.example.com.", 403),
        (&suffix, "example.com", 403),
        (&suffix, "a.EXAMPLE.com", 200),
    ] {
        assert_status("15, 16", engine, &get("/").authority(host), status);
    }
}

/// Rows 17 to 21: headers, present, absent, repeated, joined.
#[test]
fn headers_are_tested_value_by_value() {
    let when = |action: &str, clause: &str| {
        engine(&policy(&format!(
            "{{action: {action}, rules: [{{when: [{clause}]}}]}}"
        )))
    };
    let present = when("ALLOW", "{key: \"request.headers[x]\", values: [\"*\"]}");
    assert_status("17", &present, &get("/").header("x", ""), 200);
    assert_status("17", &present, &get("/"), 403);
    let not_a = when("ALLOW", "{key: \"request.headers[x]\", notValues: [a]}");
    assert_status("18", &not_a, &get("/"), 200);
    assert_status(
        "18",
        &not_a,
        &get("/").header("x", "a").header("x", "b"),
        403,
    );
    let role = when(
        "DENY",
        "{key: \"request.headers[x-role]\", values: [admin]}",
    );
    assert_status(
        "19",
        &role,
        &get("/").header("x-role", "user").header("x-role", "admin"),
        403,
    );
    assert_status("19", &role, &get("/").header("x-role", "user,admin"), 200);
    let accept = when("ALLOW", "{key: \"request.headers[accept]\", values: [a]}");
    assert_status(
        "20",
        &accept,
        &get("/").header("accept", "a").header("accept", "b"),
        403,
    );
    assert_status("20", &accept, &get("/").header("accept", "a"), 200);
    let token = when(
        "DENY",
        "{key: \"request.headers[x-token]\", notValues: [s3cret]}",
    );
    assert_status("21", &token, &get("/"), 403);
    assert_status(
        "21",
        &token,
        &get("/")
            .header("x-token", "bad")
            .header("x-token", "s3cret"),
        200,
    );
}
