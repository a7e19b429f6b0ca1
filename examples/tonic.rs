//! A tonic service behind the mesh, in tonic's own server, called by tonic's own client through the mesh.
//!
//! ```text
//! cargo run --example tonic
//! ```
//!
//! Whoever is refused reads a gRPC status, although the service holds no word of it.

#![allow(
    clippy::print_stdout,
    unreachable_pub,
    reason = "a program speaks to its user; the service's module is shared"
)]

#[path = "patients/grpc.rs"]
mod grpc;

use grpc::{Patient, PatientsServer, READ, ReadRequest};
use tonic::client::Grpc;
use tonic::transport::Server;
use tonic_prost::ProstCodec;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: patients
  namespace: default
spec:
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/default/sa/desk"]
      to:
        - operation:
            paths: ["/clinic.v1.Patients/*"]
"#;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Certificates that live as long as this process; a workload of yours gets them from files or from the SPIFFE Workload API.
    let pki = Pki::new("cluster.local")?;
    let patients = workload(&pki, "patients")?.config(Fixed::yaml("policy.yaml", POLICY));
    let patients = start(patients).await?;
    // The listener is the server's stream of connections, and the layer guards every service and method behind it.
    let listener = patients.listen("127.0.0.1:0").await?;
    let address = listener.local_addr();
    let serving = Server::builder()
        .layer(patients.server())
        .add_service(PatientsServer)
        .serve_with_incoming(listener);
    tokio::spawn(serving);

    for caller in ["desk", "billing"] {
        let mesh =
            workload(&pki, caller)?.upstream("patients.default", [address], [patients.spiffe_id()]);
        let mesh = start(mesh).await?;
        // The client of generated code takes the same two arguments: `PatientsClient::with_origin(client, origin)`.
        let mut client =
            Grpc::with_origin(mesh.client().clone(), "http://patients.default".parse()?);
        client.ready().await?;
        let codec = ProstCodec::<ReadRequest, Patient>::default();
        let request = tonic::Request::new(ReadRequest { id: 7 });
        match client.unary(request, READ.parse()?, codec).await {
            Ok(patient) => println!("{caller}: {}", patient.into_inner().name),
            Err(status) => println!("{caller}: {:?}: {}", status.code(), status.message()),
        }
    }
    Ok(())
}

fn workload(pki: &Pki, name: &str) -> Result<MeshBuilder, BoxError> {
    Ok(Mesh::builder(
        Workload::new("default", name),
        pki.identity("default", name)?,
    ))
}

async fn start(builder: MeshBuilder) -> Result<Mesh, BoxError> {
    let (mesh, driver) = builder.build().await?;
    tokio::spawn(driver.run());
    Ok(mesh)
}
