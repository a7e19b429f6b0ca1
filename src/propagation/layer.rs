use super::config::Propagation;
use super::outbound::ClientSpans;
use crate::message::{WatchLayer, Watched};

/// Opens a server span for each request; see [`Propagation::server_layer`].
pub type PropagationLayer = WatchLayer<Propagation>;

/// Opens a client span for each call; see [`Propagation::client_layer`].
pub type ClientPropagationLayer = WatchLayer<ClientSpans>;

/// The service of [`PropagationLayer`].
pub type ServerPropagation<S> = Watched<S, Propagation>;

/// The service of [`ClientPropagationLayer`].
pub type ClientPropagation<S> = Watched<S, ClientSpans>;

impl Propagation {
    /// The layer of a server: it opens a server span for each request.
    #[must_use]
    pub fn server_layer(&self) -> PropagationLayer {
        WatchLayer::new(self.clone())
    }

    /// The layer of a client: it opens a client span for each call.
    #[must_use]
    pub fn client_layer(&self) -> ClientPropagationLayer {
        WatchLayer::new(self.client_spans())
    }

    /// What the client layer does, for clients that are no tower service: it
    /// [begins](crate::message::Begin) the client span of a call, and the record that comes with it
    /// gets the response or the failure.
    #[must_use]
    pub fn client_spans(&self) -> ClientSpans {
        ClientSpans(self.clone())
    }
}
