//! The parts of judging a request, each alone, for `benches/instructions.rs`.

use std::fmt::Write;
use std::hint::black_box;
use std::time::SystemTime;

use tower_mesh::Workload;
use tower_mesh::context::Exchange;
use tower_mesh::gate::GateGuard;
use tower_mesh::guard::{Guard as _, Verdict};
use tower_mesh::jwt::{Authenticator, Keyring};
use tower_mesh::policy::{Engine, Request};

use crate::fixture::{Fixture, Head, NOT_SAMPLED, policies, token, workload};

/// What is counted, and under which name.
pub(crate) const PARTS: [(&str, &str); 6] = [
    (
        "gate",
        "the gate, strict, whole step with an exchange of its own",
    ),
    (
        "seen",
        "token seen before, whole step with an exchange of its own",
    ),
    ("path", "decision among 10 policies, by path and namespace"),
    ("caller", "by caller"),
    ("host", "by host"),
    ("miss", "miss"),
];

/// Does one part so many times.
pub(crate) fn run(part: &str, count: usize) {
    match part {
        "gate" => gate(count),
        "seen" => seen(count),
        "new" => new(count),
        _ => decide(part, count),
    }
}

fn gate(count: usize) {
    let head = Fixture::new().head;
    let gate = GateGuard::default();
    let mut head = head.request().into_parts().0;
    for _ in 0..count {
        let verdict = gate.judge(&mut head, &Exchange::default());
        assert!(matches!(black_box(verdict), Verdict::Pass));
    }
}

fn engine(yaml: &str) -> Engine {
    Engine::builder(&workload()).yaml(yaml).build().unwrap()
}

fn authenticator(engine: &Engine) -> Authenticator {
    let rules = &engine.program().authentication.default;
    Authenticator::compile(rules, &mut Keyring::new()).unwrap()
}

fn seen(count: usize) {
    let fixture = Fixture::new();
    let authenticator = authenticator(&engine(&fixture.yaml));
    let mut head = fixture.head.request().into_parts().0;
    let now = SystemTime::now();
    for _ in 0..count {
        let exchange = Exchange::default();
        let claims = authenticator.authenticate(&mut head, &exchange, now);
        assert!(black_box(claims).unwrap().is_some());
    }
}

/// Has no row: keys differ from run to run. For profiles.
fn new(count: usize) {
    let issuer = tower_mesh::testing::Issuer::eddsa("https://issuer.example");
    let authenticator = authenticator(&engine(&policies(&issuer)));
    let now = SystemTime::now();
    for number in 0..count {
        let head = Head::new(&token(&issuer, number), NOT_SAMPLED);
        let mut head = head.request().into_parts().0;
        let exchange = Exchange::default();
        authenticator
            .authenticate(&mut head, &exchange, now)
            .unwrap();
    }
}

/// Asks ten policies: for a path, for a caller or for a host of their own, in turn.
fn decide(hit: &str, count: usize) {
    let mut yaml = String::new();
    for index in 0..10 {
        let rule = match index % 3 {
            0 => format!(
                "from: [{{source: {{namespaces: [apps, ops]}}}}], to: [{{operation: {{methods: [GET, POST], paths: [/api/{index}, \"/api/{index}/*\"]}}}}]"
            ),
            1 => format!(
                "from: [{{source: {{principals: [cluster.local/ns/apps/sa/caller-{index}]}}}}], to: [{{operation: {{methods: [GET], paths: [\"/shared/*\"]}}}}]"
            ),
            _ => format!(
                "to: [{{operation: {{hosts: [\"host-{index}.example.com\", \"host-{index}.example.com:*\"], methods: [GET]}}}}]"
            ),
        };
        writeln!(
            yaml,
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{index}, namespace: default}}\nspec: {{rules: [{{{rule}}}]}}"
        )
        .unwrap();
    }
    let workload = Workload::new("default", "bench");
    let engine = Engine::builder(&workload).yaml(&yaml).build().unwrap();
    let web = "cluster.local/ns/apps/sa/web";
    let (path, host, caller) = match hit {
        "path" => ("/api/3/x?q=1", "patients.default.svc.cluster.local", web),
        "caller" => (
            "/shared/7",
            "patients.default.svc.cluster.local",
            "cluster.local/ns/apps/sa/caller-4",
        ),
        "host" => ("/else", "host-5.example.com", web),
        "miss" => ("/none/3", "patients.default.svc.cluster.local", web),
        _ => panic!("no part {hit}"),
    };
    let request = Request::new().get(path).authority(host).from(caller);
    for _ in 0..count {
        let decision = engine.decide(black_box(&request));
        assert!(black_box(decision).allowed != (hit == "miss"));
    }
}
