//! The gate and the policy guard together, in both profiles: what each spelling of a denied path is answered with, and what policy makes of
//! odd headers.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::gate::{Gate, GateLayer};
use tower_mesh::istio::{MeshConfig, PathNormalization};
use tower_mesh::live::Live;
use tower_mesh::matcher::path::Normalization;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::{Peer, Workload};

use crate::support::mesh::{policy, proven, read, unproven};

fn engine(yaml: &str, how: PathNormalization) -> Engine {
    let mut mesh = MeshConfig::default();
    mesh.path_normalization = how;
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).mesh_config(mesh).yaml(yaml);
    engine.build().unwrap()
}

/// The status, and the target and headers that the application saw.
async fn ask(gate: Gate, engine: &Engine, request: Request<Full<Bytes>>) -> (u16, String) {
    let app = service_fn(|request: Request<Full<Bytes>>| async move {
        let mut seen = request.uri().to_string();
        if let Some(value) = request.headers().get("x-seen") {
            seen = String::from_utf8_lossy(value.as_bytes()).into_owned();
        }
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(seen))))
    });
    let policy = RbacLayer::new(Live::new(engine.clone())).in_front_of_router();
    let gate = GateLayer::with(gate).in_front_of_router();
    let answer = gate.layer(policy.layer(app)).oneshot(request).await;
    let (status, _, seen) = read(answer.unwrap()).await;
    (status, seen)
}

fn get(target: &str) -> Option<Request<Full<Bytes>>> {
    let request = Request::get(target).header("host", "h");
    let request = request.extension(unproven()).body(Full::default());
    // What is no target at all is refused by the server, before any layer.
    request.ok()
}

/// NONE, BASE, MERGE_SLASHES and DECODE_AND_MERGE_SLASHES.
const MODES: [(PathNormalization, Normalization); 4] = [
    (PathNormalization::None, Normalization::None),
    (PathNormalization::Base, Normalization::Base),
    (PathNormalization::MergeSlashes, Normalization::MergeSlashes),
    (
        PathNormalization::DecodeAndMergeSlashes,
        Normalization::DecodeAndMergeSlashes,
    ),
];

/// A rule; spellings; and the answers of Istio's profile in the four modes, of one that also refuses escaped slashes, and of the strict one
/// in the four modes.
type Row = (&'static str, &'static [&'static str], [u16; 5], [u16; 4]);

const ROWS: [Row; 14] = [
    (
        "B-20",
        &["/admin", "/admin?x=1", "/admin?", "http://h/admin"],
        [403, 403, 403, 403, 403],
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
        ],
        [200, 403, 403, 403, 403],
        [200, 403, 403, 403],
    ),
    (
        "B-21",
        &["/x/..;/admin", "/.;/admin"],
        [200, 403, 403, 403, 403],
        [400, 400, 400, 400],
    ),
    (
        "B-22",
        &["//admin", "///admin"],
        [200, 200, 403, 403, 403],
        [200, 200, 403, 403],
    ),
    (
        "B-23",
        &["/%2fadmin", "/%5cadmin"],
        [200, 200, 200, 403, 400],
        [400, 400, 400, 400],
    ),
    (
        "B-24",
        &["/admin%2f"],
        [200, 200, 200, 200, 400],
        [400, 400, 400, 400],
    ),
    (
        "B-25",
        &["/\\admin"],
        [200, 200, 403, 403, 403],
        [400, 400, 400, 400],
    ),
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
            "/ad%c0%afmin",
        ],
        [200, 200, 200, 200, 200],
        [200, 200, 200, 200],
    ),
    // Envoy lets it through.
    (
        "B-26",
        &["/admin%zz"],
        [400, 400, 400, 400, 400],
        [400, 400, 400, 400],
    ),
    // Envoy lets it through in the mode NONE.
    (
        "B-27",
        &["/admin%00"],
        [400, 400, 400, 400, 400],
        [400, 400, 400, 400],
    ),
    // A fragment is cut off before any layer: policy and application see the same rest.
    (
        "B-28",
        &["/admin#f"],
        [403, 403, 403, 403, 403],
        [403, 403, 403, 403],
    ),
    (
        "B-28",
        &["/x#/../admin"],
        [200, 200, 200, 200, 200],
        [200, 200, 200, 200],
    ),
    (
        "B-28",
        &["\\admin", "admin", "admin:80"],
        [400, 400, 400, 400, 400],
        [400, 400, 400, 400],
    ),
    (
        "B-28",
        &["*"],
        [400, 400, 400, 400, 400],
        [400, 400, 400, 400],
    ),
];

/// B-20 to B-28.
#[tokio::test]
async fn each_spelling_of_a_denied_path_has_its_answer_in_both_profiles() {
    let denied = policy("p", "DENY", "[{to: [{operation: {paths: [/admin]}}]}]");
    let mut wrong = Vec::new();
    for (rule, targets, istio, strict) in ROWS {
        for target in targets {
            for (column, (setting, how)) in MODES.into_iter().enumerate() {
                let engine = engine(&denied, setting);
                // With the knob, the strict profile leaves escaped slashes to normalization.
                let kept = match rule {
                    "B-23" | "B-24" => istio[column],
                    _ => strict[column],
                };
                let mut gates = vec![
                    (Gate::istio(), istio[column]),
                    (Gate::strict(), strict[column]),
                    (Gate::strict().keep_escaped_slashes(true), kept),
                ];
                if how == Normalization::MergeSlashes {
                    gates.push((Gate::istio().keep_escaped_slashes(false), istio[4]));
                }
                for (gate, expected) in gates {
                    let gate = gate.normalization(how);
                    let status = match get(target) {
                        Some(request) => ask(gate, &engine, request).await.0,
                        None => 400,
                    };
                    if status != expected {
                        wrong.push(format!("{rule} {target} {gate:?}: {status}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// B-21 to B-26: what is let through is what was judged, to the byte.
#[tokio::test]
async fn the_application_sees_the_path_that_was_judged() {
    let denied = policy("p", "DENY", "[{to: [{operation: {paths: [/admin]}}]}]");
    for (target, seen) in [
        (
            "/x/../%61dmins?a=/../",
            [
                "/x/../%61dmins?a=/../",
                "/admins?a=/../",
                "/admins?a=/../",
                "/admins?a=/../",
            ],
        ),
        (
            "//admin//x",
            ["//admin//x", "//admin//x", "/admin/x", "/admin/x"],
        ),
        (
            "/admin%2f",
            ["/admin%2f", "/admin%2f", "/admin%2f", "/admin/"],
        ),
        ("/a\\b", ["/a\\b", "/a/b", "/a/b", "/a/b"]),
        ("/x/%252e%252e/admin", ["/x/%252e%252e/admin"; 4]),
    ] {
        for (column, (setting, how)) in MODES.into_iter().enumerate() {
            let gate = Gate::istio().normalization(how);
            let answer = ask(gate, &engine(&denied, setting), get(target).unwrap()).await;
            assert_eq!(answer, (200, seen[column].to_owned()), "{target} {how:?}");
        }
    }
}

/// A request with this value in `x-seen`, over HTTP/2.
fn with(value: &[u8]) -> Request<Full<Bytes>> {
    let value = HeaderValue::from_bytes(value).unwrap();
    let request = Request::get("http://h/").version(Version::HTTP_2);
    let request = request.header("x-seen", value).extension(unproven());
    request.body(Full::default()).unwrap()
}

/// B-12: a value that is no text is compared byte by byte, so every test of it has an answer: no ALLOW is opened by it, and no DENY missed.
#[tokio::test]
async fn a_value_beyond_ascii_opens_no_rule_and_misses_none() {
    let odd: [&[u8]; 6] = [
        b"\x80",
        b"\xff",
        b"caf\xe9",
        "é".as_bytes(),
        b"admin\xff",
        b"\xffadmin",
    ];
    let asks = |test: &str| format!("[{{when: [{{key: 'request.headers[x-seen]', {test}}}]}}]");
    for value in odd {
        let text = String::from_utf8_lossy(value).into_owned();
        let (starts, ends) = (value.starts_with(b"admin"), value.ends_with(b"admin"));
        for (pattern, matches) in [
            ("admin", false),
            ("admin*", starts),
            ("*admin", ends),
            ("*", true),
            ("é", text == "é"),
            ("é*", text == "é"),
        ] {
            for (clause, matches) in [("values", matches), ("notValues", !matches)] {
                let rules = asks(&format!("{clause}: ['{pattern}']"));
                for (action, status) in [
                    ("ALLOW", if matches { 200 } else { 403 }),
                    ("DENY", if matches { 403 } else { 200 }),
                ] {
                    let engine = engine(&policy("p", action, &rules), PathNormalization::Base);
                    for gate in [Gate::istio(), Gate::strict()] {
                        let (got, seen) = ask(gate, &engine, with(value)).await;
                        assert_eq!(got, status, "{action} {clause} {pattern} {value:?}");
                        assert!(got != 200 || seen == text, "{seen}");
                    }
                }
            }
        }
    }
}

/// B-12: HTTP/2 lets blanks around a value through; policy and application see it without them.
#[tokio::test]
async fn blanks_around_a_value_hide_nothing() {
    let rules = "[{when: [{key: 'request.headers[x-seen]', values: [admin, 'a d']}]}]";
    for value in [" admin", "admin ", "\tadmin\t ", "admin", " a d\t"] {
        for (action, status) in [("DENY", 403), ("ALLOW", 200)] {
            let engine = engine(&policy("p", action, rules), PathNormalization::Base);
            for gate in [Gate::istio(), Gate::strict()] {
                let (got, seen) = ask(gate, &engine, with(value.as_bytes())).await;
                assert_eq!(got, status, "{action} {value:?}");
                assert!(got == 403 || seen == value.trim(), "{seen:?}");
            }
        }
    }
}

/// B-14: the scheme is what the connection is, whatever the target or a header says of it.
#[tokio::test]
async fn the_scheme_is_that_of_the_connection() {
    let rules = "[{when: [{key: 'request.headers[:scheme]', values: [https]}]}]";
    let engine = engine(&policy("p", "ALLOW", rules), PathNormalization::Base);
    let request = |peer: &Peer, version, target: &str, forwarded: &str| {
        let request = Request::get(target).version(version).header("host", "h");
        let request = request.header("x-forwarded-proto", forwarded);
        request
            .extension(peer.clone())
            .body(Full::default())
            .unwrap()
    };
    for (peer, status) in [(unproven(), 403), (proven("desk"), 200)] {
        for scheme in ["http", "https", "HTTPS", "hTTp"] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                for target in ["/".to_owned(), format!("{scheme}://h/")] {
                    let request = request(&peer, version, &target, scheme);
                    let (got, _) = ask(Gate::istio(), &engine, request).await;
                    assert_eq!(got, status, "{version:?} {target} {scheme}");
                }
            }
        }
        // On HTTP/1 such a target is refused, as by Envoy.
        for (version, status) in [(Version::HTTP_11, 400), (Version::HTTP_2, status)] {
            let request = request(&peer, version, "javascript://h/", "javascript");
            let (got, _) = ask(Gate::istio(), &engine, request).await;
            assert_eq!(got, status, "{version:?}");
        }
    }
}
