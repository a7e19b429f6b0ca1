use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::base::BaseId;
use super::grow::Grow;
use super::labels::EndLabels;
use super::metadata::{PeerMetadata, Received};
use super::stories::{Stories, Told};
use super::table::{Interned, May, Table};
use crate::context::Peer;

/// The bases of all peers seen from one place (a port of ours, a service that we call), found again without making their labels anew.
///
/// What a peer proves (its certificate's name) finds its entry, which lives as long as the map and is read wait-free. What a peer says
/// (metadata headers) is kept with that name, so that no peer can speak for another: see [`Stories`].
#[derive(Debug)]
pub(super) struct Peers {
    hasher: RandomState,
    proven: Grow<Proven, 32>,
}

#[derive(Debug)]
struct Proven {
    principal: Option<Box<str>>,
    is_tls: bool,
    base: BaseId,
    stories: OnceLock<Box<Stories>>,
}

/// Where and when a peer is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    pub(super) table: &'a Table,
    /// Stands in when there is no room for the peer.
    pub(super) overflow: BaseId,
    pub(super) now: Instant,
}

/// What labels may use of the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// Its first URI name, scheme included.
    pub(super) principal: Option<&'a str>,
    pub(super) is_tls: bool,
    pub(super) metadata: Option<&'a PeerMetadata>,
    peer: Option<&'a Peer>,
}

impl<'a> Seen<'a> {
    fn of(peer: Option<&'a Peer>) -> Self {
        let certificate = peer.and_then(Peer::certificate);
        Self {
            principal: certificate.and_then(|c| c.uri_sans.first().map(String::as_str)),
            is_tls: peer.is_some_and(Peer::is_tls),
            metadata: None,
            peer,
        }
    }

    const fn saying(self, metadata: &'a PeerMetadata) -> Self {
        Self {
            metadata: Some(metadata),
            ..self
        }
    }

    /// The labels of the other end: its proven name first, then what it says.
    pub(super) fn labels(&self) -> EndLabels<'a> {
        let said = |field: fn(&PeerMetadata) -> &Option<String>| {
            self.metadata
                .and_then(|metadata| field(metadata).as_deref())
        };
        // Read from the name here, where labels are made, and not for every request.
        let namespace = self.peer.and_then(Peer::namespace);
        EndLabels {
            workload: said(|m| &m.workload),
            namespace: namespace.or_else(|| said(|m| &m.namespace)),
            principal: self.principal,
            app: said(|m| &m.app),
            version: said(|m| &m.version),
            canonical_service: said(|m| &m.canonical_service),
            canonical_revision: said(|m| &m.canonical_revision),
            cluster: said(|m| &m.cluster),
        }
    }

    /// Istio's `connection_security_policy` as the called side reports it; our own name is always there under TLS.
    pub(super) const fn security_policy(&self) -> &'static str {
        match (self.is_tls, self.principal) {
            (true, Some(_)) => "mutual_tls",
            _ => "none",
        }
    }
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            proven: Grow::new(),
        }
    }

    /// The base of this peer, which said this. `make` interns the labels of a peer that is new; told not to add any, it only finds.
    ///
    /// Metadata counts only from a peer that has proven a name by mutual TLS (H-13).
    pub(super) fn base(
        &self,
        peer: Option<&Peer>,
        said: &Received,
        sight: Sight<'_>,
        make: impl Fn(&Seen<'_>, May) -> Interned,
    ) -> BaseId {
        let Sight { table, now, .. } = sight;
        let now = table.second(now);
        let seen = Seen::of(peer);
        let Some(proven) = self.proven(&seen, table, &make) else {
            return sight.overflow;
        };
        let (Some(_), Some(value)) = (seen.principal, &said.value) else {
            return proven.base;
        };
        let value = value.as_bytes();
        let told = Told {
            value,
            hash: self.hasher.hash_one(value),
            now,
        };
        let stories = || {
            let has_namespace = peer.and_then(Peer::namespace).is_some();
            Box::new(Stories::of(proven.base, has_namespace))
        };
        let stories = proven.stories.get_or_init(stories);
        stories.base(&told, table, |metadata, may| {
            make(&seen.saying(metadata), may)
        })
    }

    fn proven(
        &self,
        seen: &Seen<'_>,
        table: &Table,
        make: impl Fn(&Seen<'_>, May) -> Interned,
    ) -> Option<&Proven> {
        let hash = self.hasher.hash_one((seen.principal, seen.is_tls));
        let is = |proven: &Proven| {
            proven.principal.as_deref() == seen.principal && proven.is_tls == seen.is_tls
        };
        if let Some(proven) = self.proven.get(hash, is) {
            return Some(proven);
        }
        if table.names.load(Ordering::Relaxed) >= MAX_NAMES {
            return None;
        }
        let proven = Proven {
            principal: seen.principal.map(Box::from),
            is_tls: seen.is_tls,
            base: make(seen, May::Add).base,
            stories: OnceLock::new(),
        };
        let (proven, is_new) = self.proven.get_or_add(hash, is, proven)?;
        if is_new {
            table.names.fetch_add(1, Ordering::Relaxed);
        }
        Some(proven)
    }
}

/// Names remembered for good, in all places of one table.
const MAX_NAMES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::{Ipv4Addr, SocketAddr};

    use http::HeaderValue;

    use super::*;
    use crate::context::TlsFacts;
    use crate::identity::{PeerCertificate, SpiffeId, Workload};
    use crate::metrics::labels::BaseLabels;
    use crate::metrics::metadata::{Asked, Instance, METADATA, OwnMetadata};
    use crate::metrics::table::Table;

    fn peer(account: &str) -> Peer {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let id = format!("spiffe://cluster.local/ns/shop/sa/{account}");
        let facts = TlsFacts {
            certificate: Some(PeerCertificate::from_spiffe_id(SpiffeId::new(&id).unwrap())),
            ..TlsFacts::default()
        };
        Peer::tls(at, at, facts)
    }

    /// What a workload of this name says of itself, under an id that all of them share.
    fn said(workload: &str) -> Received {
        let workload = Workload::new("shop", "account").name(workload);
        let own = OwnMetadata::new(&workload, &Instance::from_env(&workload)).unwrap();
        let mut headers = http::HeaderMap::new();
        own.add(&mut headers, Asked::BOTH);
        Received {
            id: Some(HeaderValue::from_static("shared")),
            value: headers.remove(METADATA),
        }
    }

    /// Peers, their table, and how often labels were made.
    struct Seer {
        peers: Peers,
        table: Table,
        made: Cell<usize>,
    }

    impl Seer {
        fn new() -> Self {
            Self {
                peers: Peers::new(),
                table: Table::new(),
                made: Cell::new(0),
            }
        }

        fn see(&self, peer: &Peer, said: &Received) -> BaseId {
            let last = BaseId::LAST_RESORT;
            let sight = Sight {
                table: &self.table,
                overflow: last,
                now: Instant::now(),
            };
            self.peers.base(Some(peer), said, sight, |seen, may| {
                self.made.set(self.made.get() + 1);
                let labels = BaseLabels {
                    source: seen.labels(),
                    ..BaseLabels::unknown("destination", seen.security_policy())
                };
                self.table.base(&labels, last, may)
            })
        }
    }

    #[test]
    fn a_known_peer_is_found_without_making_its_labels_again() {
        let seer = Seer::new();
        let (web, nothing) = (peer("web"), Received::default());
        let bare = seer.see(&web, &nothing);
        let described = seer.see(&web, &said("w"));
        assert_ne!(bare, described);
        let made = seer.made.get();
        assert_eq!(seer.see(&web, &nothing), bare);
        assert_eq!(seer.see(&web, &said("w")), described);
        assert_eq!(seer.made.get(), made);
    }

    /// The id is not what is remembered: a sidecar that sends another's id gets its own labels all the same.
    #[test]
    fn no_peer_speaks_for_another() {
        let seer = Seer::new();
        let (web, shop) = (peer("web"), peer("shop"));
        let first = seer.see(&web, &said("one"));
        assert_ne!(seer.see(&web, &said("two")), first);
        assert_ne!(seer.see(&shop, &said("one")), first);
        assert_eq!(seer.see(&web, &said("one")), first);
    }

    ///
    #[test]
    fn names_past_the_bound_are_not_remembered() {
        let seer = Seer::new();
        for account in 0..MAX_NAMES + 10 {
            seer.see(&peer(&format!("a{account}")), &Received::default());
        }
        assert_eq!(seer.made.get(), MAX_NAMES);
        let unseen = seer.see(&peer("unseen"), &Received::default());
        assert_eq!(unseen, BaseId::LAST_RESORT);
    }
}
