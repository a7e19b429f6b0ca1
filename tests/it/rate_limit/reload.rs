//! Limits when the configuration is replaced.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::{self, Fixed, Sender};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder};
use tracing::Level;

use super::stub::{OK, OVER_LIMIT, READS, Reply, Stub, get, quota};
use crate::messages::RateLimitResponse;
use crate::support::log::Log;
use crate::support::mesh::{app, build, policy, proven, until};

/// A limit of so many requests in an hour for each tenant, and one more document.
fn limit(tokens: u32, more: &str) -> Fixed {
    let text = format!(
        "
apiVersion: mesh.tower/v1
kind: RateLimit
metadata: {{name: tenants}}
spec:
  local:
    descriptors:
    - entries: [{{key: tenant}}]
      tokenBucket: {{maxTokens: {tokens}, fillInterval: 3600s}}
  rateLimits:
  - actions: [{{requestHeaders: {{headerName: x-tenant, descriptorKey: tenant}}}}]
{more}"
    );
    Fixed::yaml("limits.yaml", text)
}

const OTHER: &str = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all}
spec: {rules: [{}]}
";

async fn started(first: Fixed) -> (Mesh, Sender) {
    started_with(first, |builder| builder).await
}

async fn started_with(
    first: Fixed,
    with: impl FnOnce(MeshBuilder) -> MeshBuilder,
) -> (Mesh, Sender) {
    let pki = Pki::new("cluster.local").unwrap();
    let (sender, channel) = source::channel(first.load("default").unwrap());
    (build(with(app(&pki).config(channel))).await, sender)
}

async fn replace(sender: &Sender, next: &Fixed) {
    sender.send(next.load("default").unwrap()).await.unwrap();
}

async fn status(mesh: &Mesh, tenant: &str) -> u16 {
    let request = get("/")
        .header("x-tenant", tenant)
        .extension(proven("desk"));
    let request = request.body(Body::empty()).unwrap();
    let app = Router::new().fallback(|| async { "ok" });
    mesh.protect(app)
        .oneshot(request)
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[tokio::test]
async fn a_limit_that_stays_keeps_what_it_has_counted() {
    let (mesh, sender) = started(limit(2, "")).await;
    assert_eq!(status(&mesh, "north").await, 200);
    replace(&sender, &limit(2, OTHER)).await;
    assert_eq!(status(&mesh, "north").await, 200);
    assert_eq!(status(&mesh, "north").await, 429);
    // A configuration that is refused in between changes nothing: this one opens the workload.
    let opens = limit(9, "").load("default").unwrap();
    assert!(sender.send(opens).await.is_err());
    assert_eq!(status(&mesh, "north").await, 429);
    replace(&sender, &limit(2, OTHER).and("more.yaml", more())).await;
    assert_eq!(status(&mesh, "north").await, 429);
    assert_eq!(status(&mesh, "south").await, 200);
}

/// One more policy, so that the configuration is another.
fn more() -> String {
    OTHER.replace("name: all", "name: also")
}

#[tokio::test]
async fn a_limit_that_changes_begins_anew_and_the_log_says_so() {
    let (log, _guard) = Log::listen(Level::INFO);
    let (mesh, sender) = started(limit(1, "")).await;
    assert_eq!(status(&mesh, "north").await, 200);
    assert_eq!(status(&mesh, "north").await, 429);
    replace(&sender, &limit(2, "")).await;
    assert_eq!(
        log.with(&["begins to count anew", "default/tenants"]).len(),
        1
    );
    assert_eq!(status(&mesh, "north").await, 200);
    assert_eq!(status(&mesh, "north").await, 200);
    assert_eq!(status(&mesh, "north").await, 429);
}

/// A request that waits for the service is judged by the limits and policies that asked.
#[tokio::test]
async fn one_generation_judges_a_request_that_waits_for_the_service() {
    let everybody = policy("all", "ALLOW", "[{}]");
    let counted = quota("", &format!("{READS}---\n{everybody}"));
    let nobody = format!("{counted}{}", policy("none", "DENY", "[{}]"));
    for (code, next, waiting, later, asked) in [
        // The service allows it, and the new policies would not.
        (OK, nobody.as_str(), 200, 403, 2),
        // It refuses, and the new configuration does not ask it any more.
        (OVER_LIMIT, everybody.as_str(), 429, 200, 1),
    ] {
        let held = Arc::new(Semaphore::new(0));
        let answer = RateLimitResponse {
            overall_code: code,
            ..RateLimitResponse::default()
        };
        let stub = Stub::new(Reply::Held(Arc::clone(&held), answer)).await;
        let first = Fixed::yaml("limits.yaml", counted.as_str());
        let (mesh, sender) = started_with(first, |builder| {
            let host = ExternalHost::plaintext().at([stub.address()]);
            builder.outside("ratelimit.platform:8081", host)
        })
        .await;
        let replaced = async {
            until("the service to be asked", || stub.asked().len() == 1).await;
            replace(&sender, &Fixed::yaml("limits.yaml", next)).await;
            held.add_permits(2);
        };
        let (seen, ()) = tokio::join!(status(&mesh, "north"), replaced);
        assert_eq!(seen, waiting, "the configuration from before");
        assert_eq!(status(&mesh, "north").await, later, "the new one");
        assert_eq!(stub.asked().len(), asked);
    }
}

/// Nothing opens in silence.
#[tokio::test]
async fn a_limit_that_goes_is_a_warning() {
    let (log, _guard) = Log::listen(Level::WARN);
    let (mesh, sender) = started(limit(1, OTHER)).await;
    assert_eq!(status(&mesh, "north").await, 200);
    replace(&sender, &limit(1, &format!("  reportOnly: true\n{OTHER}"))).await;
    assert_eq!(log.with(&["only reports now", "default/tenants"]).len(), 1);
    assert_eq!(status(&mesh, "north").await, 200);
    replace(&sender, &Fixed::yaml("none.yaml", OTHER)).await;
    assert_eq!(
        log.with(&["fewer limits apply", "default/tenants"]).len(),
        1
    );
    for _ in 0..5 {
        assert_eq!(status(&mesh, "north").await, 200);
    }
}
