//! The applications: plain axum, with not a word about certificates, tokens, policies or traces.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::json;
use tonic::service::Routes;
use tower_mesh::{Claims, Mesh, Peer};
use tracing::Instrument;

use crate::grpc::PatientsServer;

/// The protected service: patient records over REST and gRPC.
pub fn patients() -> Router {
    Router::new()
        .route("/patients", get(list_patients).post(register_patient))
        .route(
            "/patients/{id}",
            put(amend_patient).get(read_patient).delete(delete_patient),
        )
        .merge(Routes::new(PatientsServer).into_axum_router())
}

async fn list_patients() -> Response {
    Json(json!([{"id": 7}])).into_response()
}

async fn read_patient(peer: Peer, claims: Option<Claims>, Path(id): Path<u64>) -> Response {
    let chart = async { json!({"id": id, "name": format!("patient {id}")}) }
        .instrument(tracing::info_span!("read chart"))
        .await;
    let user = claims.and_then(|claims| claims.subject().map(str::to_owned));
    Json(json!({"patient": chart, "read_by": user, "through": peer.principal()})).into_response()
}

async fn register_patient(_: Bytes) -> Response {
    (StatusCode::CREATED, Json(json!({"id": 8}))).into_response()
}

async fn amend_patient(Path(id): Path<u64>, _: Bytes) -> Response {
    Json(json!({"id": id})).into_response()
}

async fn delete_patient(Path(_): Path<u64>) -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// The desk: takes a receptionist's call and asks the patient service with the receptionist's own token.
pub fn check_in(mesh: Mesh) -> Router {
    Router::new()
        .route("/desk", get(|| async { "open" }))
        .route("/desk/{id}", axum::routing::any(ask_patients))
        .with_state(mesh)
}

async fn ask_patients(
    State(mesh): State<Mesh>,
    Path(id): Path<u64>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let path = if method == Method::POST {
        "/patients".to_owned()
    } else {
        format!("/patients/{id}")
    };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://patients.default{path}"));
    if let Some(token) = headers.get(header::AUTHORIZATION) {
        request = request.header(header::AUTHORIZATION, token);
    }
    let Ok(request) = request.body(Body::empty()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match mesh.client().request(request).await {
        Ok(answer) => answer.map(Body::new).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// A workload that serves nothing of interest and calls others.
pub fn caller() -> Router {
    Router::new().route("/", get(|| async { "nothing to see" }))
}
