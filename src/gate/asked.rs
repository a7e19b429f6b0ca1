//! What the gate says of requests in words: for tests of policies and for the command line.

use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri};

use super::judge::{Arrival, judge};
use super::{Gate, Refusal};
use crate::context::Exchange;
use crate::policy::{Attributes, Request};

impl Gate {
    /// Judges a request in words as a gate in front of every router does, and returns it as policy
    /// then sees it: without a user in its host, without the headers that the gate removes, with
    /// the scheme of its connection, and to be judged by its bare host, too, where the settings say
    /// so. The target stays as it was sent, because [`Engine::judge`](crate::policy::Engine::judge)
    /// normalizes it. A raw TCP connection always passes.
    ///
    /// A request in words is one of HTTP/1.1, and need not name a host. A fragment, which a server
    /// would cut off, is refused as in Envoy.
    ///
    /// # Errors
    ///
    /// Why a server refuses the request before any rule is asked.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_mesh::gate::{Gate, Refusal};
    /// use tower_mesh::policy::Request;
    ///
    /// let request = Request::new().get("/x/..;/admin");
    /// assert!(Gate::istio().judge(&request).is_ok());
    /// assert_eq!(Gate::strict().judge(&request).unwrap_err(), Refusal::DotParameter);
    /// ```
    pub fn judge(self, request: &Request) -> Result<Request, Refusal> {
        let (Some(method), Some(target)) = (request.method(), request.path()) else {
            return Ok(request.clone());
        };
        let mut head = head(method, target)?;
        let host = request.authority().map(HeaderValue::from_str).transpose();
        let host = host.map_err(|_| Refusal::Host)?;
        if let Some(host) = &host {
            head.headers.insert(HOST, host.clone());
        }
        for (name, value) in request.lines() {
            // A line that is no header is for the engine to refuse.
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                head.headers.append(name, value);
            }
        }
        let sent = head.headers.clone();
        let exchange = Exchange::from_request(&mut head);
        let arrival = Arrival {
            in_front: true,
            wants_host: false,
            keeps_client_cert: false,
        };
        judge(self, &mut head, &exchange, arrival)?;
        let is_removed = |name: &str| sent.contains_key(name) && !head.headers.contains_key(name);
        let admitted = request.clone().without_lines(is_removed);
        let mut admitted = admitted.with_scheme_of_connection();
        if self.judges_bare_hosts {
            admitted = admitted.with_bare_host();
        }
        let left = head.headers.get(HOST);
        if left != host.as_ref()
            && let Some(Ok(left)) = left.map(HeaderValue::to_str)
        {
            admitted = admitted.authority(left);
        }
        Ok(admitted)
    }
}

/// The first line of a request. What the types of methods and targets refuse, servers refuse.
fn head(method: &str, target: &str) -> Result<Parts, Refusal> {
    let is_absolute = target.contains("://");
    if target.contains('#') {
        return Err(Refusal::Fragment);
    }
    let uri: Uri = target.parse().map_err(|_| match is_absolute {
        _ if target.starts_with('/') => Refusal::IllegalByte,
        true => Refusal::Host,
        false => Refusal::NotAbsolute,
    })?;
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Method)?;
    head.uri = uri;
    Ok(head)
}
