use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;

use super::address::{Place, UpstreamAddress, is_server_name};
use super::external_host::OutsideUpstream;
use super::names::Name;
use super::unknown_host::UnknownHost;
use crate::metrics::ServiceName;
use crate::tls::{AllowedIds, outbound_sni};

/// How a host is reached.
#[derive(Clone, Debug)]
pub(in crate::mesh) enum Reach {
    Mesh(MeshUpstream),
    Outside(OutsideUpstream),
}

/// Where a host's workloads listen and who may answer there.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct MeshUpstream {
    addresses: Arc<[Address]>,
    pub(in crate::mesh) accepted: AllowedIds,
    /// The fully qualified name of the service, which the server name of TLS is made of.
    pub(in crate::mesh) service: Arc<str>,
}

#[derive(Clone, Debug)]
enum Address {
    Fixed(SocketAddr),
    Named(Arc<Name>),
}

impl MeshUpstream {
    /// The addresses now, each once. Asked for each new connection, not for each call.
    pub(in crate::mesh) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for address in &*self.addresses {
            match address {
                Address::Fixed(address) => addresses.push(*address),
                Address::Named(name) => name.add_to(&mut addresses),
            }
        }
        let mut seen = BTreeSet::new();
        addresses.retain(|address| seen.insert(*address));
        addresses
    }

    /// The DNS names that addresses come from, as words.
    pub(in crate::mesh) fn names(&self) -> String {
        let names = self.addresses.iter().filter_map(|address| match address {
            Address::Fixed(_) => None,
            Address::Named(name) => Some(name.to_string()),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The hosts that the client may call: a name is either here or an error.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Upstreams {
    by_authority: BTreeMap<String, Reach>,
    /// Hosts of the mesh are called without TLS.
    pub(in crate::mesh) is_plaintext: bool,
    names: Vec<Arc<Name>>,
}

impl Upstreams {
    /// Adds a host of the mesh, with or without a port; hosts compare without case.
    ///
    /// # Errors
    /// All that is wrong with it and what to do: the host is no authority, was added before, or has no address or nobody may answer.
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
            // M-29: without a list of accepted identities nobody could be refused. A list that is asked for may fill up later.
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
                "TLS can ask for no name as long as that of its service, {service:?}: shorten the host"
            )]);
        }
        let upstream = MeshUpstream {
            addresses: places
                .into_iter()
                .map(|place| self.address(place))
                .collect(),
            accepted,
            service: service.into(),
        };
        self.insert(authority, Reach::Mesh(upstream))
            .map_err(|mistake| vec![mistake])
    }

    /// A name of several upstreams is asked for once.
    fn address(&mut self, place: Place) -> Address {
        let (host, port) = match place {
            Place::Socket(address) => return Address::Fixed(address),
            Place::Name { host, port } => (host, port),
        };
        let known = self.names.iter().find(|name| name.is(&host, port));
        Address::Named(known.cloned().unwrap_or_else(|| {
            let name = Arc::new(Name::new(host, port));
            self.names.push(Arc::clone(&name));
            name
        }))
    }

    /// The DNS names of all upstreams.
    pub(in crate::mesh) fn names(&self) -> &[Arc<Name>] {
        &self.names
    }

    /// Adds a host outside the mesh.
    ///
    /// # Errors
    /// When the host is no authority or was added before.
    pub(in crate::mesh) fn add_outside(
        &mut self,
        authority: &str,
        upstream: OutsideUpstream,
    ) -> Result<(), String> {
        parse(authority)?;
        self.insert(authority, Reach::Outside(upstream))
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

    /// Where a URI leads: by host and port as written, else by host alone.
    pub(in crate::mesh) fn find(&self, uri: &Uri) -> Option<&Reach> {
        let authority = uri.authority().filter(|authority| is_plain(authority))?;
        self.get(authority.as_str())
            .or_else(|| self.get(authority.host()))
            .filter(|reach| match reach {
                // In plaintext goes only what says so, as outside the mesh.
                Reach::Mesh(_) => !self.is_plaintext || uri.scheme_str() == Some("http"),
                Reach::Outside(upstream) => upstream.may_carry(uri),
            })
    }

    /// Why a URI leads nowhere, once [`find`](Self::find) has found nothing.
    pub(in crate::mesh) fn unknown(&self, uri: &Uri) -> UnknownHost {
        let Some(authority) = uri.authority() else {
            return UnknownHost::none();
        };
        if !is_plain(authority) {
            return UnknownHost::not_plain(authority.host());
        }
        // It is here, and is not to be called so: in plaintext, where the URI says otherwise.
        let known = self.get(authority.as_str());
        match known.or_else(|| self.get(authority.host())) {
            Some(Reach::Mesh(_)) => {
                let by = "MeshBuilder::danger().plaintext()";
                return UnknownHost::in_plaintext(authority.host(), by);
            }
            Some(Reach::Outside(_)) => {
                return UnknownHost::in_plaintext(authority.host(), "Outside::plaintext");
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

/// What is good; else the mistake is kept.
fn noted<T>(result: Result<T, String>, mistakes: &mut Vec<String>) -> Option<T> {
    result.map_err(|mistake| mistakes.push(mistake)).ok()
}

/// A host as a mistake may show it: without a user, and perhaps a password, before it.
pub(in crate::mesh) fn shown(host: &str) -> &str {
    host.rsplit('@').next().unwrap_or_default()
}

fn parse(authority: &str) -> Result<Authority, String> {
    let parsed: Option<Authority> = authority.parse().ok().filter(is_plain);
    let named = parsed.filter(|parsed| is_server_name(bare(parsed.host())));
    named.ok_or_else(|| NO_HOST.to_owned())
}

/// A host without the brackets that only a URI writes around an IPv6 address.
pub(in crate::mesh) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A host, and a port in its one spelling. By another spelling, or with a user before it, the entry would be missed that is meant, and perhaps
/// another found that leads out of the mesh.
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

const NO_HOST: &str = "the host is not host[:port]: write it without scheme, user and path, as \"charts.default\" or \"charts.default:8443\"";
const NO_ADDRESS: &str =
    "it has no address: give one, as \"127.0.0.1:8443\" or \"charts.internal:8443\"";
const NO_IDENTITY: &str = "it accepts no identity, so no server could prove to be the right one: give the id of each workload that may answer, as \"spiffe://cluster.local/ns/default/sa/charts\"";
const TWICE: &str =
    "the host was given before, as upstream or outside: give it once, with all its addresses";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SpiffeId;

    fn only(id: &SpiffeId) -> Result<AllowedIds, Vec<String>> {
        Ok([id.clone()].into_iter().collect())
    }

    fn table() -> Upstreams {
        let mut upstreams = Upstreams::default();
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
        assert!(said.contains("danger().plaintext()"), "{said}");
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
        let mut upstreams = Upstreams::default();
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

    #[test]
    fn a_host_is_shown_without_its_user() {
        assert_eq!(shown("http://ada:secret@charts"), "charts");
        assert_eq!(shown("charts.default:8443"), "charts.default:8443");
    }
}
