use std::net::IpAddr;

use crate::context::forwarded_peer::{ForwardedPeer, Via};
use crate::context::peer::Peer;
use crate::identity::PeerCertificate;

/// The source of a request or a connection, as rules judge it: the peer or, where a trusted proxy
/// has named a caller, that caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(super) peer: &'a Peer,
    pub(super) forwarded: Option<&'a ForwardedPeer>,
}

impl<'a> Caller<'a> {
    /// The other end of the connection.
    pub(crate) fn peer(self) -> &'a Peer {
        self.peer
    }

    /// Whether it has come by TLS. Of a caller whom a proxy names, its identity is the sign of that.
    pub(crate) fn is_tls(self) -> bool {
        match self.forwarded {
            Some(caller) => caller.certificate().is_some(),
            None => self.peer.is_tls(),
        }
    }

    /// Its identity; never the proxy's own.
    pub(crate) fn certificate(self) -> Option<&'a PeerCertificate> {
        match self.forwarded {
            Some(caller) => caller.certificate(),
            None => self.peer.certificate(),
        }
    }

    /// The trusted proxy that speaks for it.
    pub(crate) fn via(self) -> Option<&'a Via> {
        self.forwarded.map(ForwardedPeer::via)
    }

    /// Its address; the connection's, if the proxy has told none.
    pub(crate) fn ip(self) -> IpAddr {
        let told = self.forwarded.and_then(ForwardedPeer::address);
        told.unwrap_or_else(|| self.peer.remote_addr()).ip()
    }
}
