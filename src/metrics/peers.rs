use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use super::grow::Grow;
use super::labels::EndLabels;
use super::metadata::{MAX_HEADER, PeerMetadata, Received};
use super::table::{BaseId, Interned, May};
use crate::context::Peer;

/// The bases of all peers seen from one place (a port of ours, a service that we call), found again without making their labels anew.
///
/// What a peer proves (its certificate's name) finds its entry, which lives as long as the map and is read wait-free. What a peer says
/// (metadata headers) is looked up by name *and* exact bytes, so that no peer can speak for another; those entries are dropped when they grow
/// too many, and each name may have only a few of them.
#[derive(Debug)]
pub(super) struct Peers {
    hasher: RandomState,
    proven: Grow<Proven, 32>,
    proven_count: AtomicUsize,
    described: ArcSwap<HashMap<DescribedKey, BaseId, RandomState>>,
}

#[derive(Debug)]
struct Proven {
    principal: Option<Box<str>>,
    is_tls: bool,
    base: BaseId,
    /// How many bases this peer's descriptions have caused.
    caused: AtomicUsize,
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
        let hasher = RandomState::default();
        Self {
            described: ArcSwap::from_pointee(HashMap::with_hasher(hasher.clone())),
            hasher,
            proven: Grow::new(),
            proven_count: AtomicUsize::new(0),
        }
    }

    /// The base of this peer, which said this. `make` interns the labels of a peer that is new; told not to add any, it only finds.
    ///
    /// Metadata counts only from a peer that has proven a name by mutual TLS (H-13).
    pub(super) fn base(
        &self,
        peer: Option<&Peer>,
        said: &Received,
        overflow: BaseId,
        make: impl Fn(&Seen<'_>, May) -> Interned,
    ) -> BaseId {
        let seen = Seen::of(peer);
        let Some(proven) = self.proven(&seen, &make) else {
            return overflow;
        };
        match (seen.principal, &said.value) {
            (Some(principal), Some(value)) => {
                let id = said.id.as_ref().map_or(&b""[..], |id| id.as_bytes());
                // Too big an id is no id (H-13): what is kept of a peer has a bound.
                let id = if id.len() > MAX_HEADER { b"" } else { id };
                let key = (principal, id, value.as_bytes());
                self.described(key, &seen, proven, make)
            }
            _ => proven.base,
        }
    }

    fn proven(
        &self,
        seen: &Seen<'_>,
        make: impl Fn(&Seen<'_>, May) -> Interned,
    ) -> Option<&Proven> {
        let hash = self.hasher.hash_one((seen.principal, seen.is_tls));
        let is = |proven: &Proven| {
            proven.principal.as_deref() == seen.principal && proven.is_tls == seen.is_tls
        };
        if let Some(proven) = self.proven.get(hash, is) {
            return Some(proven);
        }
        if self.proven_count.load(Ordering::Relaxed) >= MAX_PROVEN {
            return None;
        }
        let proven = Proven {
            principal: seen.principal.map(Box::from),
            is_tls: seen.is_tls,
            base: make(seen, May::Add).base,
            caused: AtomicUsize::new(0),
        };
        let (proven, is_new) = self.proven.get_or_add(hash, is, proven)?;
        if is_new {
            self.proven_count.fetch_add(1, Ordering::Relaxed);
        }
        Some(proven)
    }

    fn described(
        &self,
        key: (&str, &[u8], &[u8]),
        seen: &Seen<'_>,
        proven: &Proven,
        make: impl Fn(&Seen<'_>, May) -> Interned,
    ) -> BaseId {
        if let Some(base) = self.described.load().get(&DescribedQuery(key)) {
            return *base;
        }
        let (principal, id, value) = key;
        let Some(metadata) = PeerMetadata::decode(value) else {
            return proven.base;
        };
        let may = if proven.caused.load(Ordering::Relaxed) < MAX_CAUSED {
            May::Add
        } else {
            May::FindElse(proven.base)
        };
        let seen = Seen {
            metadata: Some(&metadata),
            ..*seen
        };
        let Interned { base, is_new } = make(&seen, may);
        if is_new {
            proven.caused.fetch_add(1, Ordering::Relaxed);
        }
        let owned = DescribedKey {
            principal: principal.into(),
            id: id.into(),
            value: value.into(),
        };
        // The copy is paid once per description, and is small.
        self.described.rcu(|map| {
            let mut map = if map.len() < MAX_DESCRIBED {
                HashMap::clone(map)
            } else {
                HashMap::with_hasher(self.hasher.clone())
            };
            map.insert(owned.clone(), base);
            map
        });
        base
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DescribedKey {
    principal: Arc<str>,
    id: Arc<[u8]>,
    value: Arc<[u8]>,
}

/// Hashes and compares as the key it asks for, without owning it.
#[derive(Hash)]
struct DescribedQuery<'a>((&'a str, &'a [u8], &'a [u8]));

impl Equivalent<DescribedKey> for DescribedQuery<'_> {
    fn equivalent(&self, key: &DescribedKey) -> bool {
        let (principal, id, value) = self.0;
        *key.principal == *principal && *key.id == *id && *key.value == *value
    }
}

/// Names remembered for good.
const MAX_PROVEN: usize = 4096;
/// Descriptions remembered at a time, twice 16 KiB each at the very worst.
const MAX_DESCRIBED: usize = 256;
/// Sets of labels that one name may cause: a peer that keeps changing its story is then known by its name alone.
const MAX_CAUSED: usize = 256;

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
            certificate: Some(PeerCertificate::of(SpiffeId::new(&id).unwrap())),
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
            self.peers.base(Some(peer), said, last, |seen, may| {
                self.made.set(self.made.get() + 1);
                let labels = BaseLabels {
                    source: seen.labels(),
                    ..BaseLabels::unknown("destination", seen.security_policy())
                };
                self.table.base(&labels, last, may)
            })
        }
    }

    /// H-13.
    #[test]
    fn an_id_that_is_too_big_is_not_kept() {
        let seer = Seer::new();
        let huge = Received {
            id: Some("i".repeat(MAX_HEADER + 1).try_into().unwrap()),
            ..said("w")
        };
        let web = peer("web");
        let base = seer.see(&web, &huge);
        let made = seer.made.get();
        let without = Received {
            id: None,
            ..said("w")
        };
        assert_eq!(seer.see(&web, &without), base);
        assert_eq!(seer.made.get(), made, "the same entry");
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

    /// descriptions come and go, their labels stay known.
    #[test]
    fn descriptions_are_forgotten_and_understood_again() {
        let seer = Seer::new();
        let first = seer.see(&peer("a0"), &said("w"));
        for account in 1..=MAX_DESCRIBED {
            seer.see(&peer(&format!("a{account}")), &said("w"));
            assert!(seer.peers.described.load().len() <= MAX_DESCRIBED);
        }
        let made = seer.made.get();
        assert_eq!(seer.see(&peer("a0"), &said("w")), first);
        assert_eq!(seer.made.get(), made + 1);
    }

    ///
    #[test]
    fn names_past_the_bound_are_not_remembered() {
        let seer = Seer::new();
        for account in 0..MAX_PROVEN + 10 {
            seer.see(&peer(&format!("a{account}")), &Received::default());
        }
        assert_eq!(seer.made.get(), MAX_PROVEN);
        let unseen = seer.see(&peer("unseen"), &Received::default());
        assert_eq!(unseen, BaseId::LAST_RESORT);
    }
}
