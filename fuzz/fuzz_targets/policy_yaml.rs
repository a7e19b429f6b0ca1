//! Configuration: any text loads or is refused, and what loads can judge, explain itself and print.
//! Twins: `src/istio/tests/bounds.rs`, `src/istio/tests/traffic/any_text.rs`, `src/policy/compile/tests/any_text.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_mesh::Workload;
use tower_mesh::policy::{Engine, Request, envoy};

fuzz_target!(|text: &str| {
    let workload = Workload::new("foo", "httpbin").service("httpbin", 80);
    let Ok(engine) = Engine::builder(&workload).yaml(text).build() else {
        return;
    };
    let request = Request::new()
        .get("/a/b?c")
        .from("cluster.local/ns/foo/sa/a")
        .header("x-a", "b")
        .claim("iss", "a");
    for request in [&request, &Request::new(), &Request::tcp()] {
        let _ = engine.judge(request);
        assert_eq!(
            engine.explain(request).allowed,
            engine.decide(request).allowed
        );
    }
    let _ = envoy::http_filters(engine.program().http.get(80), None);
    let _ = envoy::network_filters(engine.program().tcp.get(80));
});
