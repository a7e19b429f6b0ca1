use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;

use crate::identity::SpiffeId;
use crate::metrics::ServiceName;

/// Where a host's workloads listen and who may answer there.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) identities: Arc<[SpiffeId]>,
    /// The fully qualified name of the service, which the server name of TLS is made of.
    pub(super) service: Arc<str>,
}

/// The hosts that the client may call: a name is either here or an error, never plaintext.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstreams {
    by_authority: BTreeMap<String, Upstream>,
}

impl Upstreams {
    /// Adds a host, with or without a port; hosts compare without case.
    ///
    /// # Errors
    /// When the host is no authority, was added before, or has no address or no identity.
    pub(super) fn add(
        &mut self,
        authority: &str,
        own_namespace: &str,
        addresses: Vec<SocketAddr>,
        identities: Vec<SpiffeId>,
    ) -> Result<(), String> {
        let parsed: Authority = authority
            .parse()
            .map_err(|_| format!("upstream {authority:?} is not host[:port]"))?;
        if addresses.is_empty() {
            return Err(format!("upstream {authority:?} has no address"));
        }
        // M-29: without a list of accepted identities nobody could be refused.
        if identities.is_empty() {
            return Err(format!("upstream {authority:?} accepts no identity"));
        }
        let upstream = Upstream {
            addresses: addresses.into(),
            identities: identities.into(),
            service: ServiceName::of_host(parsed.host(), own_namespace)
                .host
                .into(),
        };
        match self
            .by_authority
            .insert(authority.to_ascii_lowercase(), upstream)
        {
            None => Ok(()),
            Some(_) => Err(format!("upstream {authority:?} is given twice")),
        }
    }

    /// The upstream of a URI: by host and port as written, else by host alone.
    pub(super) fn find(&self, uri: &Uri) -> Option<&Upstream> {
        let authority = uri.authority()?;
        self.get(authority.as_str())
            .or_else(|| self.get(authority.host()))
    }

    fn get(&self, name: &str) -> Option<&Upstream> {
        match self.by_authority.get(name) {
            None if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.by_authority.get(&name.to_ascii_lowercase())
            }
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Upstreams {
        let mut upstreams = Upstreams::default();
        let id = SpiffeId::new("spiffe://cluster.local/ns/default/sa/patients").unwrap();
        for host in ["patients.default", "patients.default:9090"] {
            upstreams
                .add(
                    host,
                    "own",
                    vec!["127.0.0.1:1".parse().unwrap()],
                    vec![id.clone()],
                )
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
        for unknown in ["http://patients/", "http://patients.default.evil/", "/path"] {
            assert!(
                upstreams.find(&unknown.parse().unwrap()).is_none(),
                "{unknown}"
            );
        }
    }

    #[test]
    fn refuses_an_upstream_that_could_not_be_verified() {
        let mut upstreams = table();
        let id = SpiffeId::new("spiffe://cluster.local/ns/default/sa/x").unwrap();
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert!(
            upstreams
                .add("a", "own", vec![address], vec![])
                .unwrap_err()
                .contains("no identity")
        );
        assert!(
            upstreams
                .add("a", "own", vec![], vec![id.clone()])
                .unwrap_err()
                .contains("no address")
        );
        assert!(
            upstreams
                .add("not a host", "own", vec![address], vec![id.clone()])
                .is_err()
        );
        assert!(
            upstreams
                .add("Patients.default", "own", vec![address], vec![id])
                .unwrap_err()
                .contains("twice")
        );
    }
}
