use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::descriptions::{Descriptions, GivenMetadata};
use super::memo::Memo;
use super::metadata::{PeerMetadata, ReceivedMetadata};
use crate::context::Peer;
use crate::metrics::store::append_only_map::AppendOnlyMap;
use crate::metrics::store::labels::EndLabels;
use crate::metrics::store::series::BaseId;
use crate::metrics::store::table::{Interned, OnMissing, SeriesTable};

/// Finds the base of each peer of one place (a port of this workload, or a service that it calls)
/// without making its labels again.
///
/// The name in a peer's certificate finds its entry, which lives as long as the map and is read
/// without waiting. The metadata that a peer sends is kept in the entry of its name, so that no
/// peer can describe another: see [`Descriptions`].
#[derive(Debug)]
pub(in crate::metrics) struct Peers {
    memo: Memo,
    hasher: RandomState,
    known: AppendOnlyMap<KnownPeer, 32>,
}

#[derive(Debug)]
struct KnownPeer {
    principal: Option<Box<str>>,
    is_tls: bool,
    base: BaseId,
    descriptions: OnceLock<Box<Descriptions>>,
}

/// Where and when a peer is looked up.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Lookup<'a> {
    pub(in crate::metrics) table: &'a SeriesTable,
    /// Whether metadata counts without mutual TLS.
    pub(in crate::metrics) reads_plaintext: bool,
    /// Counts for a peer that there is no room for.
    pub(in crate::metrics) overflow: BaseId,
    pub(in crate::metrics) now: Instant,
}

/// What the labels of the other end are made of.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct RemoteLabels<'a> {
    /// The first URI name of its certificate, with the scheme.
    pub(in crate::metrics) principal: Option<&'a str>,
    pub(in crate::metrics) is_tls: bool,
    pub(in crate::metrics) metadata: Option<&'a PeerMetadata>,
    peer: Option<&'a Peer>,
}

impl<'a> RemoteLabels<'a> {
    fn new(peer: Option<&'a Peer>) -> Self {
        let certificate = peer.and_then(Peer::certificate);
        Self {
            principal: certificate.and_then(|c| c.uri_sans.first().map(String::as_str)),
            is_tls: peer.is_some_and(Peer::is_tls),
            metadata: None,
            peer,
        }
    }

    const fn with_metadata(self, metadata: &'a PeerMetadata) -> Self {
        Self {
            metadata: Some(metadata),
            ..self
        }
    }

    /// The labels of the other end: first those of its proven name, then those of its metadata.
    pub(in crate::metrics) fn labels(&self) -> EndLabels<'a> {
        let said = |field: fn(&PeerMetadata) -> &Option<String>| {
            self.metadata
                .and_then(|metadata| field(metadata).as_deref())
        };
        // The namespace is read from the name only here, when labels are made.
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

    /// Istio's `connection_security_policy` as the called side reports it. Under TLS, this side
    /// always has a name.
    pub(in crate::metrics) const fn security_policy(&self) -> &'static str {
        match (self.is_tls, self.principal) {
            (true, Some(_)) => "mutual_tls",
            _ => "none",
        }
    }
}

impl Peers {
    pub(in crate::metrics) fn new(memo: Memo) -> Self {
        Self {
            memo,
            hasher: RandomState::default(),
            known: AppendOnlyMap::new(),
        }
    }

    /// The base of a peer that sent this metadata. `make` interns the labels of a new peer; when it
    /// may not add labels, it only finds them.
    ///
    /// Metadata counts only from a peer that has proven a name by mutual TLS (H-13), unless the
    /// registry was told otherwise.
    pub(in crate::metrics) fn base(
        &self,
        peer: Option<&Peer>,
        said: &ReceivedMetadata,
        lookup: Lookup<'_>,
        make: impl Fn(&RemoteLabels<'_>, OnMissing) -> Interned,
    ) -> BaseId {
        if let Some(base) = self.remembered(peer, said) {
            return base;
        }
        let table = lookup.table;
        let now = table.second(lookup.now);
        let remote = RemoteLabels::new(peer);
        let Some(known) = self.known(&remote, table, &make) else {
            return lookup.overflow;
        };
        let may_speak = remote.principal.is_some() || lookup.reads_plaintext;
        let (true, Some(value)) = (may_speak, &said.value) else {
            if let Some(peer) = peer {
                self.memo.set(peer, known.base);
            }
            return known.base;
        };
        let value = value.as_bytes();
        let given = GivenMetadata {
            value,
            hash: self.hasher.hash_one(value),
            now,
        };
        let descriptions = || {
            let has_namespace = peer.and_then(Peer::namespace).is_some();
            Box::new(Descriptions::new(known.base, has_namespace))
        };
        let descriptions = known.descriptions.get_or_init(descriptions);
        descriptions.base(&given, table, |metadata, on_missing| {
            make(&remote.with_metadata(metadata), on_missing)
        })
    }

    fn remembered(&self, peer: Option<&Peer>, said: &ReceivedMetadata) -> Option<BaseId> {
        peer.filter(|_| said.value.is_none())
            .and_then(|peer| self.memo.get(peer))
    }

    fn known(
        &self,
        remote: &RemoteLabels<'_>,
        table: &SeriesTable,
        make: impl Fn(&RemoteLabels<'_>, OnMissing) -> Interned,
    ) -> Option<&KnownPeer> {
        let hash = self.hasher.hash_one((remote.principal, remote.is_tls));
        let is = |known: &KnownPeer| {
            known.principal.as_deref() == remote.principal && known.is_tls == remote.is_tls
        };
        if let Some(known) = self.known.get(hash, is) {
            return Some(known);
        }
        if table.names.load(Ordering::Relaxed) >= MAX_NAMES {
            return None;
        }
        let known = KnownPeer {
            principal: remote.principal.map(Box::from),
            is_tls: remote.is_tls,
            base: make(remote, OnMissing::Add).base,
            descriptions: OnceLock::new(),
        };
        let (known, is_new) = self.known.get_or_add(hash, is, known)?;
        if is_new {
            table.names.fetch_add(1, Ordering::Relaxed);
        }
        Some(known)
    }
}

/// The number of names that all places of one table remember.
const MAX_NAMES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::{Ipv4Addr, SocketAddr};

    use http::HeaderValue;

    use super::*;
    use crate::context::TlsFacts;
    use crate::identity::{PeerCertificate, SpiffeId, Workload};
    use crate::metrics::peer::local_metadata::LocalMetadata;
    use crate::metrics::peer::metadata::{METADATA, PresentHeaders};
    use crate::metrics::store::labels::BaseLabels;
    use crate::metrics::store::table::SeriesTable;

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
    fn said(workload: &str) -> ReceivedMetadata {
        let workload = Workload::new("shop", "account").name(workload);
        let own = LocalMetadata::new(&workload, None, &[]).unwrap();
        let mut headers = http::HeaderMap::new();
        own.add(&mut headers, PresentHeaders::BOTH);
        ReceivedMetadata {
            id: Some(HeaderValue::from_static("shared")),
            value: headers.remove(METADATA),
        }
    }

    /// Peers, their table, and how often labels were made.
    struct Seer {
        peers: Peers,
        table: SeriesTable,
        made: Cell<usize>,
    }

    impl Seer {
        fn new() -> Self {
            Self {
                peers: Peers::new(Memo::new()),
                table: SeriesTable::new(None),
                made: Cell::new(0),
            }
        }

        fn see(&self, peer: &Peer, said: &ReceivedMetadata) -> BaseId {
            let last = BaseId::LAST_RESORT;
            let lookup = Lookup {
                table: &self.table,
                reads_plaintext: false,
                overflow: last,
                now: Instant::now(),
            };
            self.peers
                .base(Some(peer), said, lookup, |remote, on_missing| {
                    self.made.set(self.made.get() + 1);
                    let labels = BaseLabels {
                        source: remote.labels(),
                        ..BaseLabels::unknown("destination", remote.security_policy())
                    };
                    self.table.base(&labels, last, on_missing)
                })
        }
    }

    #[test]
    fn a_known_peer_is_found_without_making_its_labels_again() {
        let seer = Seer::new();
        let (web, nothing) = (peer("web"), ReceivedMetadata::default());
        let bare = seer.see(&web, &nothing);
        let described = seer.see(&web, &said("w"));
        assert_ne!(bare, described);
        let made = seer.made.get();
        assert_eq!(seer.see(&web, &nothing), bare);
        assert_eq!(seer.see(&web, &said("w")), described);
        assert_eq!(seer.made.get(), made);
    }

    /// Labels do not depend on the id: a sidecar that sends another's id still gets its own labels.
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
            seer.see(&peer(&format!("a{account}")), &ReceivedMetadata::default());
        }
        assert_eq!(seer.made.get(), MAX_NAMES);
        let unseen = seer.see(&peer("unseen"), &ReceivedMetadata::default());
        assert_eq!(unseen, BaseId::LAST_RESORT);
    }
}
