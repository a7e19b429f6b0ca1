//! What a cached decision of an external provider adds to a request: the search for CUSTOM policies, and the look-up.
//!
//! `cargo bench --bench decision_cache` prints a row for each figure that has a target, beside the same request without the policy. The
//! provider is asked once for each key, before the rows are measured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench may panic, and prints"
)]

#[allow(dead_code, reason = "other benches use the rest")]
mod beside;
#[allow(dead_code, reason = "other benches use the rest")]
mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::{HeaderName, HeaderValue};
use tower_mesh::external::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, CacheKey, Changes,
    DecisionCache,
};
use tower_mesh::{Mesh, MeshBuilder};

use beside::{Table, Target, side};
use fixture::{Fixture, router, send};

/// Answers at once, and counts.
#[derive(Clone)]
struct Counting(Arc<AtomicUsize>, Authorization);

impl Authorizer for Counting {
    async fn authorize(&self, _: AuthorizationRequest) -> Result<Authorization, AuthorizerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(self.1.clone())
    }
}

const CUSTOM: &str = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ask, namespace: default}\nspec: {action: CUSTOM, provider: {name: own}, rules: [{to: [{operation: {paths: [\"/patients/*\"]}}]}]}\n";

/// The fixture's mesh, with or without the policy.
fn mesh(asks: bool, change: impl FnOnce(MeshBuilder) -> MeshBuilder) -> (Fixture, Mesh) {
    let mut fixture = Fixture::new();
    if asks {
        fixture.yaml.push_str(CUSTOM);
    }
    let mesh = fixture.mesh(change);
    (fixture, mesh)
}

/// Sends so many requests of the fixture's caller, and says how long that took.
fn requests(
    asks: bool,
    change: impl FnOnce(MeshBuilder) -> MeshBuilder,
) -> impl FnMut(usize) -> Duration {
    let (fixture, mesh) = mesh(asks, change);
    let mut service = mesh.protect(router()).of(fixture.peer.clone());
    move |count| {
        let requests: Vec<_> = (0..count).map(|_| fixture.head.request()).collect();
        let started = Instant::now();
        for request in requests {
            assert_eq!(send(&mut service, request), 200);
        }
        started.elapsed()
    }
}

fn main() {
    // Questions have a time, which a runtime keeps.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let table = Table::new(Box::new(requests(false, |builder| builder)));
    let keys = || [CacheKey::Principal, CacheKey::Method, CacheKey::Path];
    let cache = |ttl: u64| DecisionCache::keyed_by(keys()).ttl(Duration::from_secs(ttl));
    let changes = Changes::new().set_header(
        HeaderName::from_static("x-ward"),
        HeaderValue::from_static("7"),
    );
    for (target, name, answer) in [
        (Target::Adds(150.0), "a plain yes", Authorization::allow()),
        (Target::None, "a yes that sets a header", changes.into()),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let authorizer = Counting(Arc::clone(&asked), answer);
        let cached = requests(true, |builder| {
            let builder = builder.authorizer("own", authorizer);
            builder.decision_cache("own", cache(3_600))
        });
        let without = requests(false, |builder| builder);
        table.row(
            "cached decision",
            target,
            side("the request without the policy", without),
            side(format!("cached decision: {name}"), cached),
        );
        assert!(asked.load(Ordering::Relaxed) <= 1);
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let authorizer = Counting(Arc::clone(&asked), Authorization::allow());
    let uncached = requests(true, |builder| builder.authorizer("own", authorizer));
    table.row(
        "asked",
        Target::None,
        side(
            "the request without the policy",
            requests(false, |builder| builder),
        ),
        side("no cache: an authorizer that answers at once", uncached),
    );
}
