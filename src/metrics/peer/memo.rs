use std::sync::atomic::{AtomicU32, Ordering};

use crate::context::Peer;
use crate::metrics::store::series::BaseId;

/// Finds the base of a connection's peer again without a look at the peer's name.
///
/// The base of a name never changes once it is known, so it is kept in the [`Peer`] itself, which
/// all requests of a connection share, with the number of the place that it was kept for. Where two
/// places count the same connection, each overwrites the other's and looks up its own again.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Memo {
    place: u32,
}

impl Memo {
    /// The memo of a new place: a server, or a service that is called.
    pub(in crate::metrics) fn new() -> Self {
        // 0 is the number of no place: a peer's memo starts with it.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let next = |place: u32| place.checked_add(1);
        // When there are no more numbers, the places that are still to come remember nothing.
        let place = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        Self {
            place: place.unwrap_or(0),
        }
    }

    pub(in crate::metrics) fn get(self, peer: &Peer) -> Option<BaseId> {
        let kept = peer.memo().load(Ordering::Relaxed);
        let is_ours = self.place != 0 && kept >> 32 == u64::from(self.place);
        let number = u32::try_from(kept & u64::from(u32::MAX)).ok()?;
        is_ours.then(|| BaseId::new(number))
    }

    pub(super) fn set(self, peer: &Peer, base: BaseId) {
        let kept = u64::from(self.place) << 32 | u64::from(base.number());
        peer.memo().store(kept, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    #[test]
    fn a_place_finds_only_its_own_base() {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = Peer::plaintext(at, at);
        let (one, other) = (Memo::new(), Memo::new());
        assert_eq!(one.get(&peer), None);
        one.set(&peer, BaseId::new(0));
        assert_eq!(one.get(&peer), Some(BaseId::new(0)));
        assert_eq!(other.get(&peer), None);
        other.set(&peer, BaseId::new(7));
        assert_eq!(other.get(&peer), Some(BaseId::new(7)));
        assert_eq!(one.get(&peer), None);
        let exhausted = Memo { place: 0 };
        assert_eq!(exhausted.get(&Peer::plaintext(at, at)), None);
    }
}
