//! The facts of one request, which its layers share.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value};

#[cfg(any(feature = "gate", feature = "jwt", feature = "propagation"))]
pub(crate) use self::caller::Caller;
use self::hidden::HiddenParts;
use self::left::{original_uri, original_uri_mut, peer_left};
pub(crate) use self::once_list::OnceList;
pub use self::response_header::Placement;
use self::response_header::ResponseHeader;
#[cfg(feature = "propagation")]
pub(crate) use self::telling::Hide;
pub(crate) use self::telling::{Refusal, Telling};
use super::{Claims, ForwardedPeer, Peer, TraceContext};
use crate::policy::Decision;

#[cfg(any(feature = "gate", feature = "jwt", feature = "propagation"))]
mod caller;
mod hidden;
mod left;
mod once_list;
mod response_header;
mod telling;

/// The facts of one request: a cheap handle to cells that are each written once.
///
/// The outermost layer makes it with [`Exchange::from_request`]. It is in the request's extensions,
/// and every inner layer shares it.
#[derive(Clone, Default)]
pub struct Exchange(Arc<Cells>);

#[derive(Default)]
struct Cells {
    /// The peer from the server of the connection, or from an exchange that existed before. It
    /// takes precedence over a peer that a layer sets.
    known: Option<Peer>,
    connection: OnceLock<Peer>,
    peer: OnceLock<Peer>,
    forwarded_peer: OnceLock<ForwardedPeer>,
    target: OnceLock<Uri>,
    path: OnceLock<PathAndQuery>,
    /// Boxed because it is rare, and every request allocates this struct.
    rewritten: OnceLock<Box<PathAndQuery>>,
    hidden: HiddenParts,
    trace: OnceLock<TraceContext>,
    claims: OnceLock<Claims>,
    verifies_tokens: AtomicBool,
    outputs: OnceLock<Arc<[(HeaderName, HeaderValue)]>>,
    decision: OnceLock<Decision>,
    route: OnceLock<Arc<str>>,
    details: OnceLock<Arc<str>>,
    client_ip: OnceLock<IpAddr>,
    deadline: OnceLock<Instant>,
    response_headers: OnceList<ResponseHeader>,
    metadata: OnceList<(Arc<str>, Map<String, Value>)>,
    keeps_client_cert: AtomicBool,
    judges_bare_host: AtomicBool,
    has_settled_headers: AtomicBool,
    #[cfg(feature = "propagation")]
    forces_trace: AtomicBool,
    telling: OnceLock<Arc<Telling>>,
    /// Boxed because it is rare.
    refusal: OnceLock<Box<Refusal>>,
}

/// Declares the reader and the setter of cells that a layer fills once.
///
/// Each entry names the cell with its type, and then the setter; documentation goes before each:
///
/// ```text
/// cells! {
///     /// The request's place in its trace.
///     trace: TraceContext,
///     /// Sets the request's place in its trace.
///     set_trace,
/// }
/// ```
///
/// This declares `pub fn trace(&self) -> Option<&TraceContext>` and `pub fn set_trace(&self, trace:
/// TraceContext)`. The setter ignores every call after the first.
macro_rules! cells {
    ($(
        $(#[$on_reader:meta])* $cell:ident: $Fact:ty,
        $(#[$on_setter:meta])* $set:ident,
    )+) => {
        $(
            $(#[$on_reader])*
            #[must_use]
            pub fn $cell(&self) -> Option<&$Fact> {
                self.0.$cell.get()
            }

            $(#[$on_setter])*
            pub fn $set(&self, $cell: $Fact) {
                let _ = self.0.$cell.set($cell);
            }
        )+
    };
}

impl Exchange {
    /// The exchange of a request: the one in its extensions, or a new one that is stored there.
    ///
    /// A new exchange takes over a [`Peer`] that the server left in the extensions. With the
    /// features `axum` and `tls`, it also takes a peer that axum's server left as connect info.
    pub fn from_extensions(extensions: &mut Extensions) -> Self {
        if let Some(exchange) = extensions.get::<Self>() {
            return exchange.clone();
        }
        let peer = peer_left(extensions).cloned();
        Self::open(extensions, |cells| {
            cells.peer = peer.map_or_else(OnceLock::new, OnceLock::from);
        })
    }

    /// As [`from_extensions`](Self::from_extensions), for a layer that may be the outermost. The
    /// exchange also keeps the current path of the request, so that a guard inside a nested router
    /// can judge the whole path. See [`path`](Self::path).
    pub fn from_request(head: &mut Parts) -> Self {
        let exchange = Self::from_extensions(&mut head.extensions);
        exchange.keep_path(head);
        exchange
    }

    /// As [`from_extensions`](Self::from_extensions), for the server of the connection, which knows
    /// the peer. This peer overrides one in the extensions and one that a layer has
    /// [set](Self::set_peer) before.
    pub fn from_peer(extensions: &mut Extensions, peer: &Peer) -> Self {
        if let Some(exchange) = extensions.get::<Self>() {
            if exchange.0.known.is_none() {
                let _ = exchange.0.connection.set(peer.clone());
            }
            return exchange.clone();
        }
        Self::open(extensions, |cells| cells.known = Some(peer.clone()))
    }

    fn open(extensions: &mut Extensions, fill: impl FnOnce(&mut Cells)) -> Self {
        // Made in place: to fill cells elsewhere first would copy all of them.
        let mut exchange = Self::default();
        if let Some(cells) = Arc::get_mut(&mut exchange.0) {
            fill(cells);
        }
        if extensions.is_empty() {
            *extensions = ROOM.clone();
        }
        extensions.insert(exchange.clone());
        exchange
    }

    /// The other end of the connection; `None` unless an acceptor of this crate, a
    /// [`PeerLayer`](super::PeerLayer) or a test has set it.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        let Cells {
            known, connection, ..
        } = &*self.0;
        let known = known.as_ref().or_else(|| connection.get());
        known.or_else(|| self.0.peer.get())
    }

    /// The peer of a request, from its extensions: the exchange's peer, or else the one that a
    /// server left there.
    #[cfg(feature = "axum")]
    pub(super) fn find_peer(extensions: &Extensions) -> Option<&Peer> {
        let exchange = extensions.get::<Self>();
        let told = exchange.and_then(Self::peer);
        told.or_else(|| peer_left(extensions))
    }

    /// The caller, if a trusted proxy sends the request: rules judge it in place of the peer.
    #[must_use]
    pub fn forwarded_peer(&self) -> Option<&ForwardedPeer> {
        self.0.forwarded_peer.get()
    }

    /// Sets the caller for whom a trusted proxy speaks. Only the first call counts.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn set_forwarded_peer(&self, caller: ForwardedPeer) {
        let _ = self.0.forwarded_peer.set(caller);
    }

    /// The source that rules judge; `None` without a peer.
    #[cfg(any(feature = "gate", feature = "jwt", feature = "propagation"))]
    pub(crate) fn caller(&self) -> Option<Caller<'_>> {
        Some(Caller {
            peer: self.peer()?,
            forwarded: self.forwarded_peer(),
        })
    }

    /// The request target as it was sent, before any router changed it. After a token guard has
    /// seen it, query parameters that may hold a token are removed.
    #[must_use]
    pub fn target(&self) -> Option<&Uri> {
        self.0.hidden.shown().or_else(|| self.0.target.get())
    }

    /// The whole path of the request without its query, before any router removed a prefix. If a
    /// guard in front of every router has rewritten the path, this is the rewritten one. `None` if
    /// no layer has kept it.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        let kept = self.0.rewritten.get().map(Box::as_ref);
        let kept = kept.or_else(|| self.0.path.get());
        let kept = kept.map(PathAndQuery::path);
        kept.or_else(|| self.target().map(Uri::path))
    }

    /// The URI of a request before axum's routers removed a prefix, with the feature `axum`;
    /// otherwise its URI.
    #[must_use]
    pub fn sent_uri(head: &Parts) -> &Uri {
        original_uri(&head.extensions).unwrap_or(&head.uri)
    }

    /// The URI that axum's routers keep in addition to the request's own, with the feature `axum`.
    /// A guard uses it to remove a token from both.
    pub fn kept_uri(extensions: &mut Extensions) -> Option<&mut Uri> {
        original_uri_mut(extensions)
    }

    cells! {
        /// The request's place in its trace.
        trace: TraceContext,
        /// Sets the request's place in its trace.
        set_trace,
        /// The claims of the verified end-user token.
        claims: Claims,
        /// Sets the verified claims.
        set_claims,
        /// The decision of policy, if it was stored.
        decision: Decision,
        /// Sets the decision of policy.
        set_decision,
        /// The route that the application matched.
        route: Arc<str>,
        /// Sets the matched route.
        set_route,
        /// Envoy's response code details of a local reply.
        details: Arc<str>,
        /// Sets the details of a local reply.
        set_details,
        /// The address of the client behind the trusted proxies of an edge; `None` where the
        /// request has not come in at an edge.
        client_ip: IpAddr,
        /// Sets the address of the client, which policies on `remoteIpBlocks` then judge.
        set_client_ip,
    }

    /// When the caller stops waiting; `None` if it has not said so, or may not.
    ///
    /// A mesh sets it from the headers `grpc-timeout` (gRPC) and `x-envoy-expected-rq-timeout-ms` of
    /// a peer with a proven identity; the earlier one counts. The calls that its client makes for
    /// the request end 5 ms before it: see
    /// [`ClientOptions::response_timeout`](crate::mesh::ClientOptions::response_timeout). On a
    /// runtime of tokio it is a time of the runtime's clock, which a test may stop.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get().copied()
    }

    /// Sets when the caller stops waiting. Only the first call counts.
    pub fn set_deadline(&self, deadline: Instant) {
        let _ = self.0.deadline.set(deadline);
    }

    /// Whether the request's `x-forwarded-client-cert` is what the application gets. If it is not,
    /// policy judges the header as a sidecar would, and the guards remove it.
    #[must_use]
    pub fn keeps_client_cert(&self) -> bool {
        self.0.keeps_client_cert.load(Ordering::Relaxed)
    }

    /// Records that the request's `x-forwarded-client-cert` is what the application gets.
    pub fn set_keeps_client_cert(&self) {
        self.0.keeps_client_cert.store(true, Ordering::Relaxed);
    }

    /// Records that what a caller may say in headers is settled, and returns whether it was before.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only the mesh settles it")
    )]
    pub(crate) fn set_headers_settled(&self) -> bool {
        self.0.has_settled_headers.swap(true, Ordering::Relaxed)
    }

    /// Records that a peer with a proven identity asks for a trace, in a header that is removed.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn set_forces_trace(&self) {
        self.0.forces_trace.store(true, Ordering::Relaxed);
    }

    /// Whether a peer with a proven identity has asked for a trace.
    #[cfg(feature = "propagation")]
    pub(crate) fn forces_trace(&self) -> bool {
        self.0.forces_trace.load(Ordering::Relaxed)
    }

    /// Whether policy judges a host that has a port, or a dot at its end, without them, too. The
    /// decision that refuses counts (rule B-05).
    #[must_use]
    pub fn judges_bare_host(&self) -> bool {
        self.0.judges_bare_host.load(Ordering::Relaxed)
    }

    /// Makes policy judge the [bare host](Self::judges_bare_host), too. The gate calls it.
    pub fn set_judges_bare_host(&self) {
        self.0.judges_bare_host.store(true, Ordering::Relaxed);
    }

    /// Whether a guard has looked for tokens and has rules that accept some. If it is `true` and
    /// there are no [`claims`](Self::claims), the caller has sent no token. If it is `false`, no
    /// token is verified, whatever the caller sends.
    #[must_use]
    pub fn verifies_tokens(&self) -> bool {
        self.0.verifies_tokens.load(Ordering::Relaxed)
    }

    /// Records that a guard has applied the token rules: see
    /// [`verifies_tokens`](Self::verifies_tokens). A guard of your own must call it for each
    /// request after verifying the tokens. Then extractors can tell a missing token from a missing
    /// guard, and [`Guards::rbac`](crate::Guards::rbac) asks policies although its own token guard
    /// has not seen the request.
    pub fn set_verifies_tokens(&self) {
        self.0.verifies_tokens.store(true, Ordering::Relaxed);
    }

    /// Sets a header of the response: it takes the place of the service's own and of earlier ones.
    ///
    /// The layer that runs the guard puts it into the response, whoever makes the response: also
    /// into that of a guard further in which refuses the request.
    pub fn set_response_header(&self, name: HeaderName, value: HeaderValue) {
        self.place_response_header(name, value, Placement::Set);
    }

    /// As [`set_response_header`](Self::set_response_header), for one more line of a header.
    pub fn append_response_header(&self, name: HeaderName, value: HeaderValue) {
        self.place_response_header(name, value, Placement::Add);
    }

    /// As [`set_response_header`](Self::set_response_header), with a choice of how.
    pub fn place_response_header(
        &self,
        name: HeaderName,
        value: HeaderValue,
        placement: Placement,
    ) {
        let header = ResponseHeader::new(name, value, placement);
        self.0.response_headers.push(header);
    }

    /// Whether a guard has set headers of the response.
    #[must_use]
    pub fn has_response_headers(&self) -> bool {
        !self.0.response_headers.is_empty()
    }

    /// Puts the headers that guards have set into a response. Each gets into one response only, so
    /// a layer further out puts those that are new. A layer of your own that calls a
    /// guard itself calls this.
    pub fn put_response_headers(&self, headers: &mut HeaderMap) {
        for header in self.0.response_headers.iter() {
            header.put(headers);
        }
    }

    /// What a guard has found out about the request, under the name that Envoy gives to such
    /// metadata (`envoy.filters.http.ext_authz`). If it was set several times, this is the last.
    #[must_use]
    pub fn metadata(&self, namespace: &str) -> Option<&Map<String, Value>> {
        let all = self.0.metadata.iter();
        let named = all.filter(|(name, _)| **name == *namespace);
        named.last().map(|(_, metadata)| metadata)
    }

    /// Sets the metadata of this name.
    pub fn set_metadata(&self, namespace: impl Into<Arc<str>>, metadata: Map<String, Value>) {
        self.0.metadata.push((namespace.into(), metadata));
    }

    /// Sets the peer. Only the first call counts; no call counts if the server of the connection
    /// [has set it](Self::from_peer). For the setters below, too, only the first call counts.
    pub fn set_peer(&self, peer: Peer) {
        let _ = self.0.peer.set(peer);
    }

    /// Sets the request target.
    pub fn set_target(&self, target: Uri) {
        let _ = self.0.target.set(target);
    }

    /// Names query parameters that may hold a token and must not be logged. `target` is the
    /// [target](Self::target) without them, if it has any. Each token guard calls this, and the
    /// parameters of earlier calls stay hidden.
    pub fn hide(&self, parameters: &Arc<[Box<str>]>, target: Option<Uri>) {
        self.0.hidden.add(parameters, target);
    }

    /// The query parameters that guards have hidden.
    pub fn hidden_parameters(&self) -> impl Iterator<Item = &str> {
        self.0.hidden.parameters()
    }

    /// Keeps the whole path of the request, unless one is kept already.
    pub fn keep_path(&self, head: &Parts) {
        if self.path().is_none()
            && let Some(path) = Self::sent_uri(head).path_and_query()
        {
            let _ = self.0.path.set(path.clone());
        }
    }

    /// Sets the path that a guard in front of every router has rewritten. It replaces the path that
    /// was sent; its query is ignored.
    pub fn set_path(&self, path: PathAndQuery) {
        let _ = self.0.rewritten.set(Box::new(path));
    }

    /// How events and logs tell of the request.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the events of a mesh")
    )]
    pub(crate) fn telling(&self) -> Option<&Telling> {
        self.0.telling.get().map(Arc::as_ref)
    }

    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn set_telling(&self, telling: &Arc<Telling>) {
        let _ = self.0.telling.set(Arc::clone(telling));
    }

    /// What the event of the access log says of a refusal.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the events of a mesh")
    )]
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal.get().map(Box::as_ref)
    }

    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the events of a mesh")
    )]
    pub(crate) fn set_refusal(&self, refusal: Refusal) {
        let _ = self.0.refusal.set(Box::new(refusal));
    }

    /// Sets the headers with which a guard passes facts of the verified token to the application. A
    /// guard further in then leaves these headers alone.
    pub fn set_outputs(&self, headers: Arc<[(HeaderName, HeaderValue)]>) {
        let _ = self.0.outputs.set(headers);
    }

    /// The value of such a header, which a guard has set from the verified token.
    #[must_use]
    pub fn output(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let mut outputs = self.0.outputs.get()?.iter();
        outputs.find_map(|(told, value)| (told == name).then_some(value))
    }
}

// The query is left out, because guards may not have named the parameters that hold a token yet.
debug_fields!(Exchange(exchange) {
    peer = exchange.peer(),
    forwarded_peer = exchange.forwarded_peer(),
    path = exchange.target().map(Uri::path),
    trace = exchange.trace(),
    claims = exchange.claims(),
    decision = exchange.decision(),
    route = exchange.route(),
    details = exchange.details()
});

/// Empty extensions with room for more than three entries. A new map has room for three, and a
/// router stores three itself; the exchange would be the fourth and would make all of them move.
static ROOM: LazyLock<Extensions> = LazyLock::new(|| {
    #[derive(Clone)]
    struct Place<const N: usize>;
    let mut room = Extensions::new();
    room.insert(Place::<0>);
    room.insert(Place::<1>);
    room.insert(Place::<2>);
    room.insert(Place::<3>);
    // A cleared map keeps its room, and so do its clones.
    room.clear();
    room
});
