//! Questions of the command line, one JSON object each: any text is judged or refused.
//! Twin: `tests/cli.rs`, `any_line_is_answered`.

#![no_main]
#![allow(dead_code)]

#[path = "../../src/bin/tower-mesh/input/lines.rs"]
mod lines;
#[path = "../../src/bin/tower-mesh/input/options.rs"]
mod options;
#[path = "../../src/bin/tower-mesh/printable.rs"]
mod printable;
#[path = "../../src/bin/tower-mesh/input/providers.rs"]
mod providers;
#[path = "../../src/bin/tower-mesh/input/question.rs"]
mod question;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tower_mesh::Workload;
use tower_mesh::policy::Engine;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: foo}
spec:
  rules:
  - from: [{source: {principals: ['*/sa/a'], notRemoteIpBlocks: [10.0.0.0/8]}}]
    to: [{operation: {methods: [GET], paths: [/a/*, '/b/{*}']}}]
  - when: [{key: 'request.auth.claims[a][b]', values: [c]}, {key: 'request.headers[x]', notValues: [d*]}]
";
    let workload = Workload::new("foo", "httpbin");
    let built = Engine::builder(&workload).yaml(policies).build();
    built.expect("good policies")
});

fuzz_target!(|line: &str| {
    let Ok(question) = question::Question::read(line.as_bytes()) else {
        return;
    };
    let _ = question.services();
    if let Ok(request) = question.into_request(80) {
        let _ = ENGINE.judge(&request);
        let _ = ENGINE.explain(&request).to_string();
    }
});

/// What the command gives up with, as `lines` knows it.
mod failure {
    #[derive(Debug)]
    pub(crate) enum Failure {
        Question(String),
    }
}
