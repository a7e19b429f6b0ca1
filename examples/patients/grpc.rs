//! The patient service's gRPC face, written by hand: one unary method, no protoc and no build script.
//!
//! ```proto
//! package clinic.v1;
//! service Patients { rpc Read(ReadRequest) returns (Patient); }
//! ```

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

/// The path of the only method.
pub const READ: &str = "/clinic.v1.Patients/Read";

#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadRequest {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Patient {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub name: String,
}

/// The server.
#[derive(Clone, Debug, Default)]
pub struct PatientsServer;

impl NamedService for PatientsServer {
    const NAME: &'static str = "clinic.v1.Patients";
}

impl Service<http::Request<Body>> for PatientsServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                READ => {
                    let codec = ProstCodec::<Patient, ReadRequest>::default();
                    Grpc::new(codec).unary(Read, request).await
                }
                _ => tonic::Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct Read;

impl UnaryService<ReadRequest> for Read {
    type Response = Patient;
    type Future = BoxFuture<tonic::Response<Patient>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<ReadRequest>) -> Self::Future {
        let id = request.into_inner().id;
        Box::pin(async move {
            Ok(tonic::Response::new(Patient {
                id,
                name: format!("patient {id}"),
            }))
        })
    }
}
