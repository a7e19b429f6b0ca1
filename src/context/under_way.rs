//! Marks requests and silent bodies of a connection as in progress until their handle is dropped.

use std::sync::atomic::Ordering;

use super::peer::Peer;

impl Peer {
    /// Records that a request of this peer has begun. It ends when the returned handle is dropped.
    pub fn begin_request(&self) -> UnderWay {
        let activity = self.activity();
        activity.open.fetch_add(1, Ordering::Release);
        activity.begun.fetch_add(1, Ordering::Release);
        UnderWay {
            peer: self.clone(),
            ends: true,
        }
    }

    /// Takes one of `most` places for bodies of this connection that may be silent without a time
    /// limit; `None` if all places are taken.
    #[must_use]
    pub fn quiet_place(&self, most: usize) -> Option<QuietPlace> {
        let quiet = &self.activity().quiet;
        let place = QuietPlace(self.clone());
        // If all places are taken, dropping `place` undoes the count.
        (quiet.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

/// A request in progress; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub struct UnderWay {
    peer: Peer,
    ends: bool,
}

impl UnderWay {
    /// Records that the connection was upgraded to another protocol: this request stays in progress
    /// as long as the connection is open.
    pub fn upgraded(&mut self) {
        self.ends = false;
    }

    /// The peer of the request.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for requests that became tunnels")
    )]
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.ends {
            self.peer.activity().open.fetch_sub(1, Ordering::Release);
        }
    }
}

/// A body that may be silent; its place is free again when this is dropped.
#[derive(Debug)]
pub struct QuietPlace(Peer);

impl Drop for QuietPlace {
    fn drop(&mut self) {
        self.0.activity().quiet.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        let address = "192.0.2.1:1".parse().unwrap();
        Peer::plaintext(address, address)
    }

    #[test]
    fn a_request_is_open_until_it_is_dropped() {
        let peer = peer();
        let (first, second) = (peer.begin_request(), peer.begin_request());
        assert_eq!((peer.activity().begun(), peer.activity().open()), (2, 2));
        drop((first, second));
        assert_eq!((peer.activity().begun(), peer.activity().open()), (2, 0));
    }

    #[test]
    fn an_upgrade_never_ends() {
        let peer = peer();
        peer.begin_request().upgraded();
        assert_eq!(peer.activity().open(), 1);
    }

    #[test]
    fn so_many_have_a_quiet_place_and_no_more() {
        let peer = peer();
        let first = peer.quiet_place(2);
        let _second = peer.quiet_place(2).unwrap();
        assert!(peer.quiet_place(2).is_none());
        assert!(peer.quiet_place(2).is_none());
        drop(first);
        assert!(peer.quiet_place(2).is_some());
        assert!(peer.quiet_place(2).is_some());
    }
}
