//! Limits by what an authorizer has said of a request.

use serde_json::json;
use tower_mesh::external::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, Changes,
};
use tower_mesh::mesh::ExternalHost;

use super::stub::{OK, Stub, Ward, code, get, quota};

/// Allows each request, and says which plan its tenant has.
struct Plans;

impl Authorizer for Plans {
    async fn authorize(
        &self,
        request: AuthorizationRequest,
    ) -> Result<Authorization, AuthorizerError> {
        let tenant = request.headers().get("x-tenant");
        let plan = match tenant.map(|tenant| tenant.as_bytes()) {
            Some(b"north") => json!("gold"),
            Some(b"south") => json!("free"),
            Some(b"east") => json!(7),
            _ => return Ok(Authorization::allow()),
        };
        Ok(Changes::new().metadata("plan", plan).into())
    }
}

const ASKS: &str = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: plans}
spec: {action: CUSTOM, provider: {name: plans}, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all}
spec: {rules: [{}]}
";

async fn ward(limit: &str, stub: &Stub) -> Ward {
    Ward::with(&format!("{limit}{ASKS}"), |builder| {
        let host = ExternalHost::plaintext().at([stub.address()]);
        let builder = builder.outside("ratelimit.platform:8081", host);
        builder.authorizer("plans", Plans)
    })
    .await
}

async fn status(ward: &Ward, tenant: &str) -> u16 {
    ward.ask(get("/").header("x-tenant", tenant)).await.0
}

/// A plan that is no text counts as none.
#[tokio::test]
async fn a_service_counts_by_an_authorizers_metadata() {
    let stub = Stub::new(code(OK)).await;
    let more = format!("  rateLimits: [{{actions: [{PLAN}]}}]\n");
    let ward = ward(&quota("", &more), &stub).await;
    for tenant in ["north", "south", "east", "west"] {
        assert_eq!(status(&ward, tenant).await, 200);
    }
    let asked = stub.asked().into_iter().map(|request| {
        let [descriptor] = &request.descriptors[..] else {
            panic!("{request:?}")
        };
        let [entry] = &descriptor.entries[..] else {
            panic!("{request:?}")
        };
        format!("{}={}", entry.key, entry.value)
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        ["plan=gold", "plan=free", "plan=none", "plan=none"]
    );
}

#[tokio::test]
async fn this_process_counts_by_an_authorizers_metadata() {
    let stub = Stub::new(code(OK)).await;
    let limit = format!(
        "
apiVersion: mesh.tower/v1
kind: RateLimit
metadata: {{name: plans}}
spec:
  local:
    descriptors:
    - {{entries: [{{key: plan, value: gold}}], tokenBucket: {{maxTokens: 3, fillInterval: 3600s}}}}
    - {{entries: [{{key: plan}}], tokenBucket: {{maxTokens: 1, fillInterval: 3600s}}}}
  rateLimits: [{{actions: [{PLAN}]}}]
"
    );
    let ward = ward(&limit, &stub).await;
    for (tenant, due) in [
        ("north", [200, 200, 200, 429]),
        ("south", [200, 429, 429, 429]),
        // Neither says a plan: they share one bucket.
        ("east", [200, 429, 429, 429]),
        ("west", [429; 4]),
    ] {
        let mut seen = Vec::new();
        for _ in due {
            seen.push(status(&ward, tenant).await);
        }
        assert_eq!(seen, due, "{tenant}");
    }
    assert_eq!(stub.asked(), []);
}

const PLAN: &str = "{metadata: {descriptorKey: plan, defaultValue: none, metadataKey: \
    {key: envoy.filters.http.ext_authz, path: [{key: plan}]}}}";
