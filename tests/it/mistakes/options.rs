//! The start, and options of the builder.

use axum::Router;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower_mesh::Mesh;
use tower_mesh::source::{Directory, Fixed};
use tower_mesh::tls::Mode;

use super::{Seen, levels, patients, pki, proven, refused};
use crate::support::mesh::build;

const ID: [&str; 1] = ["spiffe://cluster.local/ns/default/sa/charts"];
const ADDRESS: [&str; 1] = ["charts.internal:8443"];

pub(super) async fn make(seen: &mut Seen) {
    let pki = pki();
    let app = || proven(&pki);
    let charts = "charts.default";
    let rows = [
        ("mode-disable", app().mode(Mode::Disable)),
        (
            "upstream-as-uri",
            app().upstream("http://charts.default", ADDRESS, ID),
        ),
        (
            "upstream-twice",
            app()
                .upstream(charts, ADDRESS, ID)
                .upstream(charts, ["charts-2.internal:8443"], ID),
        ),
        (
            "upstream-without-address",
            app().upstream(charts, [] as [&str; 0], ID),
        ),
        (
            "upstream-without-id",
            app().upstream(charts, ADDRESS, [] as [&str; 0]),
        ),
        (
            "upstream-without-port",
            app().upstream(charts, ["charts.internal"], ID),
        ),
        (
            "upstream-address-as-uri",
            app().upstream(charts, ["https://charts.internal:8443"], ID),
        ),
        (
            "upstream-bad-id",
            app().upstream(charts, ADDRESS, ["cluster.local/ns/default/sa/charts"]),
        ),
        (
            "plaintext-beside-strict",
            Mesh::danger().plaintext(patients()).config(Fixed::yaml(
                "policies/mtls.yaml",
                "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all}\nspec: {mtls: {mode: STRICT}}\n",
            )),
        ),
        (
            "several",
            app()
                .mode_otherwise(Mode::Disable)
                .upstream(charts, ["charts.internal"], ID)
                .config(Fixed::yaml("policies/reads.yaml", "kind: [\n")),
        ),
    ];
    for (id, builder) in rows {
        seen.push((id, refused(builder).await));
    }
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mesh = build(app()).await;
    let error = mesh.serve(address, Router::new()).await.unwrap_err();
    seen.push(("address-in-use", levels(&error)));
    let error = mesh.serve("localhost", Router::new()).await.unwrap_err();
    seen.push(("address-without-port", levels(&error)));
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("policies.yaml"), "# None yet.\n").unwrap();
    let watched = app().config(Directory::watch(directory.path()));
    let (mesh, driver) = watched.build().await.unwrap();
    drop(driver);
    seen.push(("driver-not-run", mesh.readiness().to_string()));
}
