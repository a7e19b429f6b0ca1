use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderName, HeaderValue, Uri};

use super::{Claims, Peer, TraceContext};
use crate::policy::Decision;

/// What the layers know of one request: a cheap handle to write-once cells.
///
/// It is made by the outermost layer with [`Exchange::from_request`], lives in the request's
/// extensions, and is shared by every layer inside.
#[derive(Clone, Default)]
pub struct Exchange(Arc<Cells>);

#[derive(Default)]
struct Cells {
    /// The peer as the server of the connection knows it; it counts before any other. Known from
    /// the start, or learned by an exchange that was there before.
    known: Option<Peer>,
    connection: OnceLock<Peer>,
    peer: OnceLock<Peer>,
    target: OnceLock<Uri>,
    path: OnceLock<PathAndQuery>,
    /// Boxed, as it is rare: what every request has should touch little memory.
    rewritten: OnceLock<Box<PathAndQuery>>,
    hidden: OnceLock<Hidden>,
    trace: OnceLock<TraceContext>,
    claims: OnceLock<Claims>,
    verifies_tokens: AtomicBool,
    outputs: OnceLock<Arc<[(HeaderName, HeaderValue)]>>,
    decision: OnceLock<Decision>,
    route: OnceLock<Arc<str>>,
    details: OnceLock<Arc<str>>,
}

/// What a guard for tokens hides of the target.
struct Hidden {
    /// Query parameters that must not show.
    parameters: Arc<[Box<str>]>,
    /// The target without them; `None` when it was not known, or has none of them.
    target: Option<Box<Uri>>,
    /// What a guard further in hides.
    next: OnceLock<Box<Self>>,
}

/// The reader and the setter of each cell that a layer fills once.
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
    /// The exchange of a request: the one its extensions hold, else a new one that they hold from
    /// now on.
    ///
    /// A [`Peer`] that the server left in the extensions becomes the exchange's; so does one that
    /// axum's server left there as connect info, where the features `axum` and `tls` are on.
    pub fn from_extensions(extensions: &mut Extensions) -> Self {
        if let Some(exchange) = extensions.get::<Self>() {
            return exchange.clone();
        }
        let peer = peer_left(extensions).cloned();
        let peer = peer.map_or_else(OnceLock::new, OnceLock::from);
        Self::open(
            extensions,
            Cells {
                peer,
                ..Cells::default()
            },
        )
    }

    /// As [`from_extensions`](Self::from_extensions), for a layer that may be the outermost: the exchange keeps the path of
    /// the request as it is now, so that a guard inside a nested router still judges the whole of
    /// it. See [`path`](Self::path).
    pub fn from_request(head: &mut Parts) -> Self {
        let exchange = Self::from_extensions(&mut head.extensions);
        exchange.keep_path(head);
        exchange
    }

    /// As [`from_extensions`](Self::from_extensions), for the server of the connection, which knows the peer: what the
    /// extensions say of one does not count, and neither does what a layer has
    /// [set](Self::set_peer) before.
    pub fn from_peer(extensions: &mut Extensions, peer: &Peer) -> Self {
        if let Some(exchange) = extensions.get::<Self>() {
            if exchange.0.known.is_none() {
                let _ = exchange.0.connection.set(peer.clone());
            }
            return exchange.clone();
        }
        Self::open(
            extensions,
            Cells {
                known: Some(peer.clone()),
                ..Cells::default()
            },
        )
    }

    fn open(extensions: &mut Extensions, cells: Cells) -> Self {
        let exchange = Self(Arc::new(cells));
        if extensions.is_empty() {
            *extensions = ROOM.clone();
        }
        extensions.insert(exchange.clone());
        exchange
    }

    /// The other end of the connection; `None` when no acceptor of this crate (or test) has set it.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        let Cells {
            known, connection, ..
        } = &*self.0;
        let known = known.as_ref().or_else(|| connection.get());
        known.or_else(|| self.0.peer.get())
    }

    /// The peer of a request, as far as its extensions tell: its exchange's, else the one that a
    /// server left there.
    #[cfg(feature = "axum")]
    pub(super) fn find_peer(extensions: &Extensions) -> Option<&Peer> {
        let exchange = extensions.get::<Self>();
        let told = exchange.and_then(Self::peer);
        told.or_else(|| peer_left(extensions))
    }

    /// The request target as it was sent, before any router changed it; without query parameters
    /// that may hold a token, as soon as a guard for tokens has seen it.
    #[must_use]
    pub fn target(&self) -> Option<&Uri> {
        let shown = self.hidden().filter_map(|hidden| hidden.target.as_deref());
        shown.last().or_else(|| self.0.target.get())
    }

    /// The path of the request, without its query, before any router took a prefix off: as a guard
    /// in front of every router has rewritten it, else as it was sent. `None` when no layer has
    /// kept it.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        let kept = self.0.rewritten.get().map(Box::as_ref);
        let kept = kept.or_else(|| self.0.path.get());
        let kept = kept.map(PathAndQuery::path);
        kept.or_else(|| self.target().map(Uri::path))
    }

    /// The whole path of a request inside routers: the [`path`](Self::path) that is kept, or, where
    /// no layer has kept one or somebody has rewritten the target since, that of axum's
    /// `OriginalUri`, where a router has left it and the feature `axum` is on. The path of its URI
    /// where that is no remainder of either: then the request was given another target, and no
    /// router has merely taken a prefix off.
    ///
    /// `None` where the whole cannot be told: a router has taken a slash too many along with its
    /// prefix, as axum's do of `/api//admin`, and shows other segments than were sent; or somebody
    /// has rewritten the target around a nested router of theirs.
    #[must_use]
    pub fn path_of<'a>(&'a self, head: &'a Parts) -> Option<&'a str> {
        let (left, sent) = (head.uri.path(), Self::sent_uri(head).path());
        let kept = self.path().unwrap_or(sent);
        let whole = match Taken::off(kept, sent) {
            Taken::Prefix(_) => kept,
            Taken::Slash => return None,
            Taken::Unknown => sent,
        };
        if left == sent {
            return Some(whole);
        }
        match (Taken::off(sent, left), nested_path(&head.extensions)) {
            (Taken::Prefix(_), None) => Some(whole),
            (Taken::Prefix(prefix), Some(nested)) => is_of(prefix, nested).then_some(whole),
            (Taken::Unknown, None) => Some(left),
            (Taken::Slash, _) | (Taken::Unknown, Some(_)) => None,
        }
    }

    /// The URI of a request as it was before axum's routers took a prefix off, where the feature
    /// `axum` is on; else its URI.
    #[must_use]
    pub fn sent_uri(head: &Parts) -> &Uri {
        original_uri(&head.extensions).unwrap_or(&head.uri)
    }

    /// The URI that axum's routers keep beside the request's own, where the feature `axum` is on:
    /// for a guard that takes a token out of both.
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
        /// Keeps verified claims.
        set_claims,
        /// What policy decided, when it left a record.
        decision: Decision,
        /// Keeps what policy decided.
        set_decision,
        /// The route the application matched.
        route: Arc<str>,
        /// Keeps the matched route.
        set_route,
        /// Envoy's response code details of a local reply.
        details: Arc<str>,
        /// Keeps the details of a local reply.
        set_details,
    }

    /// Whether a guard has looked for tokens, and has rules that accept some. Without
    /// [`claims`](Self::claims) the caller has then sent no token. Where it is `false`, no token is
    /// verified, whatever the caller sends.
    #[must_use]
    pub fn verifies_tokens(&self) -> bool {
        self.0.verifies_tokens.load(Ordering::Relaxed)
    }

    /// Records that a guard has applied the token rules: see
    /// [`verifies_tokens`](Self::verifies_tokens). A guard of your own calls it for each request,
    /// once it has verified what tokens there are: extractors then know who is at fault, and
    /// [`Guards::rbac`](crate::Guards::rbac) asks policies although its own token guard has not
    /// seen the request.
    pub fn set_verifies_tokens(&self) {
        self.0.verifies_tokens.store(true, Ordering::Relaxed);
    }

    /// Sets the peer. Only the first call counts, and none does where the server of the connection
    /// [has set it](Self::from_peer). Of the setters below, too, the first call counts.
    pub fn set_peer(&self, peer: Peer) {
        let _ = self.0.peer.set(peer);
    }

    /// Keeps the request target.
    pub fn set_target(&self, target: Uri) {
        let _ = self.0.target.set(target);
    }

    /// Says which query parameters may hold a token and must not show in what is told of the
    /// request, and what the [target](Self::target) is without them, when it has any. Each guard
    /// for tokens says so; what an earlier one said stays.
    pub fn hide(&self, parameters: &Arc<[Box<str>]>, target: Option<Uri>) {
        let mut said = Hidden {
            parameters: Arc::clone(parameters),
            target: target.map(Box::new),
            next: OnceLock::new(),
        };
        let Err(back) = self.0.hidden.set(said) else {
            return;
        };
        said = back;
        let mut last = self.0.hidden.get();
        while let Some(hidden) = last {
            let is_known = Arc::ptr_eq(&hidden.parameters, &said.parameters);
            if is_known && said.target.is_none() {
                return;
            }
            match hidden.next.set(Box::new(said)) {
                Ok(()) => return,
                Err(back) => said = *back,
            }
            last = hidden.next.get().map(Box::as_ref);
        }
    }

    /// The query parameters that guards have named as ones that must not show.
    pub fn hidden_parameters(&self) -> impl Iterator<Item = &str> {
        self.hidden()
            .flat_map(|hidden| hidden.parameters.iter().map(AsRef::as_ref))
    }

    fn hidden(&self) -> impl Iterator<Item = &Hidden> {
        std::iter::successors(self.0.hidden.get(), |hidden| {
            hidden.next.get().map(Box::as_ref)
        })
    }

    /// Keeps the whole path of the request, if none is kept yet.
    pub fn keep_path(&self, head: &Parts) {
        if self.path().is_none()
            && let Some(path) = Self::sent_uri(head).path_and_query()
        {
            let _ = self.0.path.set(path.clone());
        }
    }

    /// Keeps the path that a guard in front of every router has rewritten, instead of the one that
    /// was sent; its query does not count.
    pub fn set_path(&self, path: PathAndQuery) {
        let _ = self.0.rewritten.set(Box::new(path));
    }

    /// Keeps the headers in which a guard tells the application of the verified token, so that a
    /// guard further in leaves them.
    pub fn set_outputs(&self, headers: Arc<[(HeaderName, HeaderValue)]>) {
        let _ = self.0.outputs.set(headers);
    }

    /// The value that a guard has put into this header for the application, from the verified
    /// token.
    #[must_use]
    pub fn output(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let mut outputs = self.0.outputs.get()?.iter();
        outputs.find_map(|(told, value)| (told == name).then_some(value))
    }
}

/// What routers have taken off a path.
enum Taken<'p> {
    /// Whole segments at its front, or nothing.
    Prefix(&'p str),
    /// And the first of several slashes behind them.
    Slash,
    /// What is left is no remainder of it.
    Unknown,
}

impl<'p> Taken<'p> {
    fn off(whole: &'p str, left: &str) -> Self {
        let prefix = match left {
            _ if whole == left => Some(""),
            // A router that takes all of a path leaves `/`.
            "/" => Some(whole.strip_suffix('/').unwrap_or(whole)),
            _ if left.starts_with('/') => whole.strip_suffix(left),
            _ => None,
        };
        match prefix {
            Some(prefix) if prefix.ends_with('/') => Self::Slash,
            Some(prefix) => Self::Prefix(prefix),
            None => Self::Unknown,
        }
    }
}

/// Whether a prefix is what a router nested here takes off: `{name}` stands for any segment.
fn is_of(prefix: &str, nested: &str) -> bool {
    let nested = nested.trim_end_matches('/').split('/');
    prefix.split('/').count() == nested.clone().count()
        && prefix
            .split('/')
            .zip(nested)
            .all(|(segment, pattern)| segment == pattern || pattern.starts_with('{'))
}

// Nothing of the query, as no guard may have named the parameters that hold a token yet.
debug_fields!(Exchange(exchange) {
    peer = exchange.peer(),
    path = exchange.target().map(Uri::path),
    trace = exchange.trace(),
    claims = exchange.claims(),
    decision = exchange.decision(),
    route = exchange.route(),
    details = exchange.details()
});

/// The peer that a server left in a request's extensions.
fn peer_left(extensions: &Extensions) -> Option<&Peer> {
    let peer = extensions.get::<Peer>();
    peer.or_else(|| connected(extensions))
}

/// What axum's own server left, over a listener of ours.
#[cfg(all(feature = "axum", feature = "tls"))]
fn connected(extensions: &Extensions) -> Option<&Peer> {
    let connected = extensions.get::<axum::extract::ConnectInfo<Peer>>()?;
    Some(&connected.0)
}

#[cfg(not(all(feature = "axum", feature = "tls")))]
fn connected(_: &Extensions) -> Option<&Peer> {
    None
}

#[cfg(feature = "axum")]
fn original_uri(extensions: &Extensions) -> Option<&Uri> {
    let original = extensions.get::<axum::extract::OriginalUri>()?;
    Some(&original.0)
}

#[cfg(feature = "axum")]
fn original_uri_mut(extensions: &mut Extensions) -> Option<&mut Uri> {
    let original = extensions.get_mut::<axum::extract::OriginalUri>()?;
    Some(&mut original.0)
}

#[cfg(not(feature = "axum"))]
fn original_uri(_: &Extensions) -> Option<&Uri> {
    None
}

#[cfg(not(feature = "axum"))]
fn original_uri_mut(_: &mut Extensions) -> Option<&mut Uri> {
    None
}

/// Where axum's routers have nested what the request has come to.
#[cfg(feature = "axum")]
fn nested_path(extensions: &Extensions) -> Option<&str> {
    let nested = extensions.get::<axum::extract::NestedPath>()?;
    Some(nested.as_str())
}

#[cfg(not(feature = "axum"))]
fn nested_path(_: &Extensions) -> Option<&str> {
    None
}

/// Extensions that hold nothing yet and have room for more than the three facts that a first
/// allocation has room for: a router leaves three itself, and the exchange would be the one too
/// many for which all of them move.
static ROOM: LazyLock<Extensions> = LazyLock::new(|| {
    #[derive(Clone)]
    struct Place<const N: usize>;
    let mut room = Extensions::new();
    room.insert(Place::<0>);
    room.insert(Place::<1>);
    room.insert(Place::<2>);
    room.insert(Place::<3>);
    // What is cleared keeps its room, and so do its clones.
    room.clear();
    room
});
