//! Reads the facts of a request from a tonic request.

use serde::de::DeserializeOwned;
use tonic::{Request, Status};

use super::{Claims, Exchange, ForwardedPeer, Peer, TraceContext};
use crate::log_limit::limited;

/// Gives gRPC methods the facts that axum handlers get from extractors.
///
/// ```
/// use tonic::{Request, Response, Status};
/// use tower_mesh::context::RequestFacts;
///
/// async fn admit(request: Request<()>) -> Result<Response<String>, Status> {
///     let peer = request.peer().ok_or_else(|| Status::internal("not behind the mesh"))?;
///     let caller = peer.principal().ok_or_else(|| Status::unauthenticated("no certificate"))?;
///     Ok(Response::new(format!("admitted by {caller}")))
/// }
/// # let _ = admit;
/// ```
pub trait RequestFacts {
    /// The caller; `None` if the service is not behind an acceptor of this crate.
    fn peer(&self) -> Option<&Peer>;
    /// The caller on the word of a trusted proxy: see [`Exchange::forwarded_peer`].
    fn forwarded_peer(&self) -> Option<&ForwardedPeer>;
    /// The end user; `None` without a verified token.
    fn claims(&self) -> Option<&Claims>;
    /// The claims of the end user in a type of the application's own, by [`Claims::read`].
    ///
    /// ```
    /// # use tonic::{Request, Response, Status};
    /// # use tower_mesh::context::RequestFacts;
    /// #[derive(serde::Deserialize)]
    /// struct Clinician {
    ///     sub: String,
    ///     wards: Vec<u32>,
    /// }
    ///
    /// async fn admit(request: Request<()>) -> Result<Response<String>, Status> {
    ///     let user: Clinician = request.claims_as()?;
    ///     Ok(Response::new(format!("{} works on {} wards", user.sub, user.wards.len())))
    /// }
    /// # let _ = admit;
    /// ```
    ///
    /// # Errors
    ///
    /// The status to return: `UNAUTHENTICATED` without a token, `PERMISSION_DENIED` if the token is
    /// good and its claims are not those of the type, and `INTERNAL` where no token is verified. It
    /// says nothing of the token.
    fn claims_as<T: DeserializeOwned>(&self) -> Result<T, Status>
    where
        Self: Sized;
    /// The trace; `None` if the service is not behind a propagation layer.
    fn trace(&self) -> Option<&TraceContext>;
}

impl<T> RequestFacts for Request<T> {
    fn peer(&self) -> Option<&Peer> {
        let told = exchange(self).and_then(Exchange::peer);
        // Under tonic's own server, without any layer of this crate, only the listener has stored a
        // peer.
        told.or_else(|| self.extensions().get())
    }

    fn forwarded_peer(&self) -> Option<&ForwardedPeer> {
        exchange(self)?.forwarded_peer()
    }

    fn claims(&self) -> Option<&Claims> {
        exchange(self)?.claims()
    }

    fn claims_as<C: DeserializeOwned>(&self) -> Result<C, Status> {
        if let Some(claims) = self.claims() {
            return claims.read().map_err(|mismatch| {
                limited!(target: "tower_mesh::access", WARN, "{mismatch}");
                Status::permission_denied(OTHER_CLAIMS)
            });
        }
        if exchange(self).is_some_and(Exchange::verifies_tokens) {
            return Err(Status::unauthenticated(NO_TOKEN));
        }
        limited!(target: "tower_mesh::access", ERROR, "{NO_GUARD}");
        Err(Status::internal(NO_GUARD))
    }

    fn trace(&self) -> Option<&TraceContext> {
        exchange(self)?.trace()
    }
}

fn exchange<T>(request: &Request<T>) -> Option<&Exchange> {
    request.extensions().get()
}

const NO_GUARD: &str = "the method asks for claims, and no token is verified here: \
    serve it by Mesh::serve, or wrap it in a JwtLayer, \
    with a RequestAuthentication that applies to it";
const NO_TOKEN: &str = "this needs a verified end-user token, and the request has none";
const OTHER_CLAIMS: &str = "the verified token does not have the claims that this needs";
