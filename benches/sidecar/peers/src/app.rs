//! The hello application, bare or behind the layers of [`stack`](crate::stack).
use crate::{Args, tlsx};
use axum::{
    Extension, Json, Router,
    extract::Path as Segment,
    http::StatusCode,
    routing::{get, post},
    serve::ListenerExt,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

pub const FULL: &str = "reqid,log,otel,prom,jwt,casbin";

#[derive(Serialize)]
struct Patient {
    id: String,
    name: &'static str,
    born: &'static str,
    ward: &'static str,
    conditions: [&'static str; 3],
    attending: &'static str,
}

async fn patient(Segment(id): Segment<String>) -> Json<Patient> {
    Json(Patient {
        id,
        name: "Example Person",
        born: "1970-01-01",
        ward: "4-north",
        conditions: ["hypertension", "asthma", "type-2 diabetes"],
        attending: "Dr. A. Example, cardiology",
    })
}

/// The principal of the peer certificate, put on each connection by the mTLS accept loop.
#[derive(Clone)]
pub struct Principal(pub Arc<str>);

pub fn features(list: &str) -> HashSet<String> {
    list.split(',').filter(|s| !s.is_empty()).map(str::to_string).collect()
}

/// The application, behind the layers of this list (with the feature `hand-assembled`).
pub fn router(with: &HashSet<String>, dir: &Path, policies: usize) -> Router {
    let router = Router::new()
        .route("/patients/{id}", get(patient))
        // Envoy's span exporter posts here.
        .route("/v1/traces", post(|| async { StatusCode::OK }));
    #[cfg(feature = "hand-assembled")]
    let router = crate::stack::layers(router, with, dir, policies);
    #[cfg(not(feature = "hand-assembled"))]
    let _ = (with, dir, policies);
    router
}

pub fn run(args: &Args) {
    let dir = std::path::PathBuf::from(args.get("dir", "keys"));
    let list = match args.get("variant", "bare").as_str() {
        "bare" => String::new(),
        _ => args.get("with", FULL),
    };
    let with = features(&list);
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.num("threads", 2) as usize)
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        #[cfg(feature = "hand-assembled")]
        let _provider = (!with.is_empty()).then(|| crate::stack::init_tracing(&args.get("sampling", "never"), &with));
        let app = router(&with, &dir, args.num("policies", 10) as usize);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", args.num("port", 18080) as u16)).await.unwrap();
        if !args.has("tls") {
            let l = listener.tap_io(|s| s.set_nodelay(true).unwrap());
            axum::serve(l, app).await.unwrap();
            return;
        }
        let acceptor = tokio_rustls::TlsAcceptor::from(tlsx::server(&dir, false, true, 2));
        loop {
            let Ok((sock, _)) = listener.accept().await else { continue };
            sock.set_nodelay(true).ok();
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(sock).await else { return };
                let who = tls.get_ref().1.peer_certificates().and_then(|c| tlsx::spiffe(&c[0])).unwrap_or_default();
                let svc = TowerToHyperService::new(app.layer(Extension(Principal(who.into()))));
                hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(tls), svc)
                    .await
                    .ok();
            });
        }
    });
}
