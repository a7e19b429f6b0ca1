use std::sync::atomic::Ordering;

use super::peer::Peer;

impl Peer {
    /// Says that a request of this peer's has begun; it ends when what this returns is dropped.
    pub fn begin_request(&self) -> UnderWay {
        let activity = self.activity();
        activity.open.fetch_add(1, Ordering::Release);
        activity.begun.fetch_add(1, Ordering::Release);
        UnderWay {
            peer: self.clone(),
            ends: true,
        }
    }

    /// A place for one more body of this connection that may be silent for as long as it likes;
    /// `None` when so many have one.
    #[must_use]
    pub fn quiet_place(&self, most: usize) -> Option<QuietPlace> {
        let quiet = &self.activity().quiet;
        let place = QuietPlace(self.clone());
        // One that finds all places taken gives its own back as it is dropped.
        (quiet.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

/// A request that has begun, until this is dropped.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub struct UnderWay {
    peer: Peer,
    ends: bool,
}

impl UnderWay {
    /// HTTP has handed the connection over to something else: this request is under way for as long
    /// as the connection is there.
    pub fn upgraded(&mut self) {
        self.ends = false;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.ends {
            self.peer.activity().open.fetch_sub(1, Ordering::Release);
        }
    }
}

/// A body that may be silent, until this is dropped.
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
