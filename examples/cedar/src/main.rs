//! A mesh whose CUSTOM policies ask Cedar, played as a table of requests.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use cedar_policy::{
    Context, Decision, Entities, Entity, EntityUid, PolicySet, Request as Question,
    RestrictedExpression,
};
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::json;
use tower::{ServiceExt, service_fn};
use tower_mesh::external::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, CacheKey, DecisionCache,
    Denial,
};
use tower_mesh::message::CountingBody;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Claims, Mesh, Peer, Workload};

type BoxError = Box<dyn Error + Send + Sync>;

/// Cedar's policies, and what they judge about: the records of patients.
struct Cedar {
    policies: PolicySet,
    /// Ward and seal of each patient.
    patients: HashMap<&'static str, (i64, bool)>,
}

impl Cedar {
    fn new() -> Result<Self, BoxError> {
        Ok(Self {
            policies: PolicySet::from_str(include_str!("../policies/clinic.cedar"))?,
            patients: HashMap::from([("7", (3, false)), ("8", (4, false)), ("9", (3, true))]),
        })
    }

    /// `None` for a request that Cedar has no words for: it is refused.
    fn decide(&self, request: &AuthorizationRequest) -> Result<Option<Authorization>, BoxError> {
        let Some(claims) = request.claims() else {
            return Ok(None);
        };
        let path = request.path().split('?').next().unwrap_or_default();
        let Some((id, (ward, sealed))) = path
            .strip_prefix("/patients/")
            .and_then(|id| Some((id, self.patients.get(id)?)))
        else {
            return Ok(None);
        };
        let action = match *request.method() {
            Method::GET | Method::HEAD => "read",
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE => "write",
            _ => return Ok(None),
        };
        let user = user(claims)?;
        let patient = Entity::new(
            uid("Patient", id)?,
            HashMap::from([
                ("ward".to_owned(), RestrictedExpression::new_long(*ward)),
                ("sealed".to_owned(), RestrictedExpression::new_bool(*sealed)),
            ]),
            HashSet::new(),
        )?;
        let question = Question::new(
            user.uid(),
            uid("Action", action)?,
            patient.uid(),
            Context::empty(),
            None,
        )?;
        let entities = Entities::from_entities([user, patient], None)?;
        let cedar = cedar_policy::Authorizer::new();
        let answer = cedar.is_authorized(&question, &self.policies, &entities);
        // A policy that cannot be evaluated is left out by Cedar: a `forbid` would then forbid
        // nothing.
        if let Some(error) = answer.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        Ok(Some(match answer.decision() {
            Decision::Allow => Authorization::allow(),
            Decision::Deny => {
                let mut reasons = answer.diagnostics().reason();
                let reason = reasons.next().and_then(|id| self.policies.annotation(id, "id"));
                Denial::forbidden().body(reason.unwrap_or("no policy permits it").to_owned()).into()
            }
        }))
    }
}

impl Authorizer for Cedar {
    async fn authorize(
        &self,
        request: AuthorizationRequest,
    ) -> Result<Authorization, AuthorizerError> {
        let answer = self.decide(&request).map_err(AuthorizerError::new)?;
        Ok(answer.unwrap_or_else(Authorization::deny))
    }
}

/// The user of a verified token, with the claims that policies read.
fn user(claims: &Claims) -> Result<Entity, BoxError> {
    let subject = claims.subject().ok_or("the token names no user")?;
    let roles = claims.get("roles").and_then(|roles| roles.as_array());
    let roles = roles.into_iter().flatten().filter_map(|role| role.as_str());
    let roles = roles.map(|role| RestrictedExpression::new_string(role.to_owned()));
    // No ward has this number.
    let ward = claims.get("ward").and_then(|ward| ward.as_i64()).unwrap_or(-1);
    let attributes = HashMap::from([
        ("roles".to_owned(), RestrictedExpression::new_set(roles)),
        ("ward".to_owned(), RestrictedExpression::new_long(ward)),
    ]);
    Ok(Entity::new(uid("User", subject)?, attributes, HashSet::new())?)
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, BoxError> {
    let id = cedar_policy::EntityId::new(id);
    Ok(EntityUid::from_type_name_and_id(kind.parse()?, id))
}

/// The token of a user, by name.
fn token(issuer: &Issuer, name: &str) -> String {
    let (roles, ward) = match name {
        "nora" => (json!(["nurse"]), 3),
        "dora" => (json!(["doctor"]), 0),
        "paul" => (json!(["doctor", "privacy-officer"]), 0),
        _ => (json!([]), 3),
    };
    let token = issuer.token().subject(name).claim("roles", roles);
    token.claim("ward", ward).sign()
}

async fn mesh(issuer: &Issuer) -> Result<Mesh, Box<dyn Error>> {
    let users = format!(
        "\n---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users, namespace: clinic}}\nspec:\n  jwtRules:\n  - issuer: {}\n    jwks: '{}'\n",
        issuer.name(),
        issuer.jwks(),
    );
    let policies = include_str!("../policies/mesh.yaml").to_owned() + &users;
    let identity = Pki::new("cluster.local")?.identity("clinic", "patients")?;
    let keys = [CacheKey::RequestPrincipal, CacheKey::Method, CacheKey::Path];
    let cache = DecisionCache::keyed_by(keys).ttl(Duration::from_secs(30));
    let cedar = Cedar::new().map_err(|error| error.to_string())?;
    let (mesh, driver) = Mesh::builder(Workload::new("clinic", "patients"), identity)
        .config(Fixed::yaml("mesh.yaml", policies))
        .authorizer("cedar", cedar)
        .decision_cache("cedar", cache)
        .build()
        .await?;
    tokio::spawn(driver.run());
    Ok(mesh)
}

/// Who asks for what, and the status and body that must come.
const TABLE: [(&str, &str, &str, u16, &str); 11] = [
    ("nora", "GET", "/patients/7", 200, "record"),
    ("nora", "GET", "/patients/8", 403, "no policy permits it"),
    ("nora", "PUT", "/patients/7", 403, "no policy permits it"),
    ("nora", "GET", "/patients/9", 403, "sealed-records"),
    ("dora", "PUT", "/patients/8", 200, "record"),
    ("dora", "GET", "/patients/9", 403, "sealed-records"),
    ("paul", "GET", "/patients/9", 200, "record"),
    ("otto", "GET", "/patients/7", 403, "no policy permits it"),
    ("dora", "GET", "/patients/10", 403, ""),
    ("", "GET", "/patients/7", 403, ""),
    ("", "GET", "/health", 200, "record"),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let issuer = Issuer::es256("https://clinic.example");
    let mesh = mesh(&issuer).await?;
    let app = service_fn(|_: Request<CountingBody<Full<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("record")))
    });
    let app = mesh.protect(app);
    let desk = "spiffe://cluster.local/ns/clinic/sa/desk".parse()?;
    let peer = Peer::proven("10.0.0.1:4711".parse()?, "10.0.0.2:8443".parse()?, desk);
    let mut differences = 0;
    println!("| user | request | answer | as expected |");
    println!("|---|---|---|---|");
    // Twice: the second time the decisions come from the cache.
    for (user, method, path, status, body) in TABLE.into_iter().chain(TABLE) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "patients")
            .extension(peer.clone());
        if !user.is_empty() {
            request = request.header("authorization", format!("Bearer {}", token(&issuer, user)));
        }
        let answer = app.clone().oneshot(request.body(Full::<Bytes>::default())?).await?;
        let (head, got) = answer.into_parts();
        let got = http_body_util::BodyExt::collect(got).await?.to_bytes();
        let got = String::from_utf8_lossy(&got);
        let is_so = head.status.as_u16() == status && got == body;
        differences += usize::from(!is_so);
        let verdict = if is_so { "yes" } else { "NO" };
        println!("| {user} | {method} {path} | {} {got} | {verdict} |", head.status.as_u16());
    }
    match differences {
        0 => Ok(ExitCode::SUCCESS),
        count => {
            eprintln!("{count} answers differ from the table");
            Ok(ExitCode::FAILURE)
        }
    }
}
