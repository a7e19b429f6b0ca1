//! The compiled set of hosts that the client may call, and the lookup of a call's host in it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::address::{Place, UpstreamAddress, is_server_name};
use super::cluster::{Cluster, Source};
use super::connection::dial::{Address, Target};
use super::external_host::ExternalUpstream;
use super::names::Name;
use super::ports::{Ports, bare, bare_host};
use super::unknown_host::UnknownHost;
use crate::access_log::Call;
use crate::identity::TrustDomain;
use crate::metrics::{Reached, ServiceName};
use crate::propagation::Destination;
use crate::tls::{AllowedIds, outbound_sni};

/// How a host is reached.
#[derive(Debug)]
pub(in crate::mesh) enum Reach {
    Mesh(MeshUpstream),
    External(ExternalUpstream),
}

/// Where a host's workloads listen, and which identities may answer there.
#[derive(Debug)]
pub(in crate::mesh) struct MeshUpstream {
    sources: Arc<[Source]>,
    accepted: AllowedIds,
    /// The fully qualified name of the service; the TLS server name is derived from it.
    service: Box<str>,
    ports: Ports,
}

impl Reach {
    /// The cluster for the port of this URI.
    pub(in crate::mesh) fn cluster(&self, uri: &Uri) -> Arc<Cluster> {
        match self {
            Self::Mesh(upstream) => upstream.cluster(uri),
            Self::External(upstream) => upstream.cluster(uri),
        }
    }

    /// Whether only workloads of such trust domains may answer.
    pub(in crate::mesh) fn is_of(&self, is_one: impl FnMut(&TrustDomain) -> bool) -> bool {
        match self {
            Self::Mesh(upstream) => upstream.accepted.are_of(is_one),
            Self::External(_) => false,
        }
    }

    /// Where metrics count what goes there.
    pub(in crate::mesh) fn counted(&self) -> Reached {
        match self {
            Self::Mesh(_) => Reached::Host,
            Self::External(_) => Reached::Outside,
        }
    }

    /// What the access log says of a call to this URI. The names are the sidecar's.
    pub(in crate::mesh) fn logged(&self, uri: &Uri) -> Call {
        let (cluster, route) = match self {
            Self::Mesh(upstream) => {
                let name = format!("outbound|{}||{}", port(uri), upstream.service);
                (name.into(), "default")
            }
            Self::External(_) => ("PassthroughCluster".into(), "allow_any"),
        };
        Call {
            cluster: Some(cluster),
            route: Some(route),
        }
    }

    /// Takes over the connections of the same upstream, if its allowed identities and TLS are the
    /// same.
    fn take_over(&self, before: &Self) {
        match (self, before) {
            (Self::Mesh(new), Self::Mesh(old)) => new.take_over(old),
            (Self::External(new), Self::External(old)) => new.take_over(old),
            _ => {}
        }
    }
}

impl MeshUpstream {
    fn cluster(&self, uri: &Uri) -> Arc<Cluster> {
        let port = port(uri);
        self.ports.get(port, || {
            let server_name = match bare_host(uri).parse::<IpAddr>() {
                // An IP address is not a server name (RFC 6066 §3), so TLS sends none.
                Ok(address) => address.to_string(),
                Err(_) => outbound_sni(&self.service, port),
            };
            let target = Target::Mesh {
                accepted: self.accepted.clone(),
                server_name: server_name.into(),
            };
            let destination = Destination::of_service(&self.service, port);
            Cluster::new(target, destination, Arc::clone(&self.sources))
        })
    }

    fn take_over(&self, before: &Self) {
        if self.service == before.service && self.accepted.is_same(&before.accepted) {
            self.ports.take_over(&before.ports, |cluster| {
                Arc::new(cluster.moved_to(Arc::clone(&self.sources)))
            });
        }
    }

    /// Replaces its own names with these shared ones where they are the same.
    fn share_names(&mut self, known: &[Arc<Name>]) {
        let shared = self.sources.iter().map(|source| match source {
            Source::Named(name) => Source::Named(shared(name, known)),
            Source::Fixed(_) => source.clone(),
        });
        self.sources = shared.collect();
    }
}

/// The shared entry for the same name, with the addresses that DNS has returned.
fn shared(name: &Arc<Name>, known: &[Arc<Name>]) -> Arc<Name> {
    let known = known.iter().find(|known| known.is_same(name));
    Arc::clone(known.unwrap_or(name))
}

/// The port that the URI calls.
fn port(uri: &Uri) -> u16 {
    let is_https = uri.scheme() == Some(&Scheme::HTTPS);
    uri.port_u16().unwrap_or(if is_https { 443 } else { 80 })
}

/// The hosts that the client may call. A call to any other host is an error.
#[derive(Debug, Default)]
pub(in crate::mesh) struct CompiledOutbound {
    by_authority: BTreeMap<String, Reach>,
    /// Whether hosts of the mesh are called without TLS.
    pub(in crate::mesh) is_plaintext: bool,
    names: Vec<Arc<Name>>,
}

impl CompiledOutbound {
    /// Adds a host of the mesh, with or without a port. Hosts compare case-insensitively.
    ///
    /// # Errors
    /// Everything that is wrong with the entry and how to correct it: the host is not an authority
    /// or was added before, or the entry has no address or no allowed identity.
    pub(in crate::mesh) fn add(
        &mut self,
        authority: &str,
        own_namespace: &str,
        addresses: &[UpstreamAddress],
        accepted: Result<AllowedIds, Vec<String>>,
    ) -> Result<(), Vec<String>> {
        let mut mistakes = Vec::new();
        let parsed = noted(parse(authority), &mut mistakes);
        let places = addresses.iter().map(UpstreamAddress::place);
        let places: Vec<_> = places
            .filter_map(|place| noted(place, &mut mistakes))
            .collect();
        if addresses.is_empty() {
            mistakes.push(NO_ADDRESS.to_owned());
        }
        let accepted = match accepted {
            // M-29: without a list of allowed identities, any server would be accepted. An empty
            // fixed list is a mistake, because no server could match it; a list that is queried
            // live may fill up later.
            Ok(accepted) if !accepted.changes() && accepted.is_empty() => {
                mistakes.push(NO_IDENTITY.to_owned());
                None
            }
            Ok(accepted) => Some(accepted),
            Err(wrong) => {
                mistakes.extend(wrong);
                None
            }
        };
        let (Some(parsed), Some(accepted), true) = (parsed, accepted, mistakes.is_empty()) else {
            return Err(mistakes);
        };
        let service = ServiceName::from_host(parsed.host(), own_namespace).host;
        let longest = outbound_sni(&service, u16::MAX);
        if bare(parsed.host()).parse::<IpAddr>().is_err() && !is_server_name(&longest) {
            return Err(vec![format!(
                "TLS can ask for no name as long as that of its service, {service:?}: \
                 shorten the host"
            )]);
        }
        let upstream = MeshUpstream {
            sources: places.into_iter().map(|place| self.source(place)).collect(),
            accepted,
            service: service.into(),
            ports: Ports::default(),
        };
        self.insert(authority, Reach::Mesh(upstream))
            .map_err(|mistake| vec![mistake])
    }

    /// A name that several upstreams use is looked up once.
    fn source(&mut self, place: Place) -> Source {
        let (host, port) = match place {
            Place::Socket(address) => return Source::Fixed(Address::Socket(address)),
            Place::Name { host, port } => (host, port),
        };
        let known = self.names.iter().find(|name| name.is(&host, port));
        Source::Named(known.cloned().unwrap_or_else(|| {
            let name = Arc::new(Name::new(host, port));
            self.names.push(Arc::clone(&name));
            name
        }))
    }

    /// Replaces `before` with these hosts. An endpoint that both have keeps its connections; one
    /// that only `before` has ends with its calls.
    pub(in crate::mesh) fn in_place_of(mut self, before: &Self) -> Self {
        for name in &mut self.names {
            *name = shared(name, &before.names);
        }
        for (host, reach) in &mut self.by_authority {
            if let Reach::Mesh(upstream) = reach {
                upstream.share_names(&before.names);
            }
            if let Some(before) = before.by_authority.get(host) {
                reach.take_over(before);
            }
        }
        self
    }

    /// The DNS names of all upstreams.
    pub(in crate::mesh) fn names(&self) -> &[Arc<Name>] {
        &self.names
    }

    /// Adds a host outside the mesh.
    ///
    /// # Errors
    /// When the host is not an authority or was added before.
    pub(in crate::mesh) fn add_external(
        &mut self,
        authority: &str,
        upstream: ExternalUpstream,
    ) -> Result<(), String> {
        parse(authority)?;
        self.insert(authority, Reach::External(upstream))
    }

    /// How many hosts of the mesh there are.
    pub(in crate::mesh) fn inside(&self) -> usize {
        let reaches = self.by_authority.values();
        reaches
            .filter(|reach| matches!(reach, Reach::Mesh(_)))
            .count()
    }

    fn insert(&mut self, authority: &str, reach: Reach) -> Result<(), String> {
        match self
            .by_authority
            .insert(authority.to_ascii_lowercase(), reach)
        {
            None => Ok(()),
            Some(_) => Err(TWICE.to_owned()),
        }
    }

    /// Where a URI leads: first looked up by host and port as written, then by host alone.
    pub(in crate::mesh) fn find(&self, uri: &Uri) -> Option<&Reach> {
        let authority = uri.authority().filter(|authority| is_plain(authority))?;
        self.get(authority.as_str())
            .or_else(|| self.get(authority.host()))
            .filter(|reach| match reach {
                // Plaintext takes only `http` URIs, as outside the mesh.
                Reach::Mesh(_) => !self.is_plaintext || uri.scheme_str() == Some("http"),
                Reach::External(upstream) => upstream.may_carry(uri),
            })
    }

    /// Why a URI leads nowhere, after [`find`](Self::find) has returned `None`.
    pub(in crate::mesh) fn unknown(&self, uri: &Uri) -> UnknownHost {
        let Some(authority) = uri.authority() else {
            return UnknownHost::none();
        };
        if !is_plain(authority) {
            return UnknownHost::not_plain(authority.host());
        }
        // The host is known, but only in plaintext, and the URI asks for TLS.
        let known = self.get(authority.as_str());
        match known.or_else(|| self.get(authority.host())) {
            Some(Reach::Mesh(_)) => {
                let by = "Mesh::danger().plaintext(..)";
                return UnknownHost::in_plaintext(authority.host(), by);
            }
            Some(Reach::External(_)) => {
                return UnknownHost::in_plaintext(authority.host(), "ExternalHost::plaintext");
            }
            None => {}
        }
        let known = self.by_authority.keys().map(String::as_str);
        UnknownHost::new(authority.host(), known)
    }

    fn get(&self, name: &str) -> Option<&Reach> {
        match self.by_authority.get(name) {
            None if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.by_authority.get(&name.to_ascii_lowercase())
            }
            found => found,
        }
    }
}

/// Returns the value, or adds the mistake to the list.
fn noted<T>(result: Result<T, String>, mistakes: &mut Vec<String>) -> Option<T> {
    result.map_err(|mistake| mistakes.push(mistake)).ok()
}

fn parse(authority: &str) -> Result<Authority, String> {
    let parsed: Option<Authority> = authority.parse().ok().filter(is_plain);
    let named = parsed.filter(|parsed| is_server_name(bare(parsed.host())));
    named.ok_or_else(|| NO_HOST.to_owned())
}

/// Whether the authority is only a host, with its port in the usual spelling. Another spelling, or
/// a user, would miss the intended entry and could match one that leads out of the mesh.
fn is_plain(authority: &Authority) -> bool {
    let Some(rest) = authority.as_str().strip_prefix(authority.host()) else {
        return false;
    };
    match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some(port) => is_plain_port(port),
    }
}

fn is_plain_port(port: &str) -> bool {
    let is_padded = port.len() > 1 && port.starts_with('0');
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    is_number && !is_padded && port.parse::<u16>().is_ok()
}

const NO_HOST: &str = "the host is not host[:port]: write it without scheme, user and path, \
    as \"charts.default\" or \"charts.default:8443\"";
const NO_ADDRESS: &str =
    "it has no address: give one, as \"127.0.0.1:8443\" or \"charts.internal:8443\"";
const NO_IDENTITY: &str = "it accepts no identity, so no server could prove to be the right one: \
    give the id of each workload that may answer, \
    as \"spiffe://cluster.local/ns/default/sa/charts\"";
const TWICE: &str =
    "the host was given before, as upstream or outside: give it once, with all its addresses";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SpiffeId;

    fn only(id: &SpiffeId) -> Result<AllowedIds, Vec<String>> {
        Ok([id.clone()].into_iter().collect())
    }

    fn table() -> CompiledOutbound {
        let mut upstreams = CompiledOutbound::default();
        let id = SpiffeId::new("spiffe://cluster.local/ns/default/sa/patients").unwrap();
        for host in ["patients.default", "patients.default:9090"] {
            upstreams
                .add(host, "own", &["127.0.0.1:1".into()], only(&id))
                .unwrap();
        }
        upstreams
    }

    #[test]
    fn finds_a_host_by_port_then_by_name_and_without_case() {
        let upstreams = table();
        for known in [
            "http://patients.default/x",
            "http://patients.default:80/",
            "http://PATIENTS.default:9090/",
        ] {
            assert!(upstreams.find(&known.parse().unwrap()).is_some(), "{known}");
        }
        for unknown in [
            "http://patients/",
            "http://patients.default.evil/",
            "/path",
            "http://user@patients.default:9090/",
            "http://user:password@patients.default/",
            "http://patients.default@patients.default/",
            "http://patients.default:09090/",
            "http://patients.default:+9090/",
            "http://patients.default:/",
            "http://patients.default:65536/",
        ] {
            let Ok(unknown) = unknown.parse::<Uri>() else {
                continue;
            };
            assert!(upstreams.find(&unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn says_why_a_host_in_plaintext_takes_no_tls() {
        let mut upstreams = table();
        upstreams.is_plaintext = true;
        let uri = "https://patients.default/".parse().unwrap();
        assert!(upstreams.find(&uri).is_none());
        let said = upstreams.unknown(&uri).to_string();
        assert!(said.contains("danger().plaintext("), "{said}");
    }

    #[test]
    fn refuses_an_upstream_that_could_not_be_verified() {
        let mut upstreams = table();
        let id = SpiffeId::new("spiffe://cluster.local/ns/default/sa/x").unwrap();
        let address = UpstreamAddress::from("127.0.0.1:1");
        assert!(
            upstreams
                .add(
                    "a",
                    "own",
                    std::slice::from_ref(&address),
                    Ok(AllowedIds::from_iter([]))
                )
                .unwrap_err()
                .concat()
                .contains("no identity")
        );
        assert!(
            upstreams
                .add("a", "own", &[], only(&id))
                .unwrap_err()
                .concat()
                .contains("no address")
        );
        assert!(
            upstreams
                .add(
                    "not a host",
                    "own",
                    std::slice::from_ref(&address),
                    only(&id)
                )
                .is_err()
        );
        assert!(
            upstreams
                .add(
                    "Patients.default",
                    "own",
                    std::slice::from_ref(&address),
                    only(&id)
                )
                .unwrap_err()
                .concat()
                .contains("given before")
        );
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let addresses = ["charts.internal", "127.0.0.1:0"].map(UpstreamAddress::from);
        let accepted = Err(vec!["identity \"x\"".to_owned()]);
        let mut upstreams = CompiledOutbound::default();
        let mistakes = upstreams.add("http://charts", "own", &addresses, accepted);
        let said = mistakes.unwrap_err();
        for (mistake, words) in said
            .iter()
            .zip(["host", "has no port", "1 to 65535", "identity"])
        {
            assert!(mistake.contains(words), "{said:?}");
        }
        assert_eq!(said.len(), 4, "{said:?}");
    }
}
