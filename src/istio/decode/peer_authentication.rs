//! Decodes PeerAuthentication.

use std::collections::BTreeMap;

use super::meta::{no_dry_run, selector};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{Meta, MtlsMode, PeerAuthentication};

const MODES: &[(&str, MtlsMode)] = &[
    ("UNSET", MtlsMode::Unset),
    ("DISABLE", MtlsMode::Disable),
    ("PERMISSIVE", MtlsMode::Permissive),
    ("STRICT", MtlsMode::Strict),
];

/// `PeerAuthentication`, `spec`.
pub(in crate::istio) fn peer_authentication(
    meta: Meta,
    spec: &Cursor<'_, '_>,
) -> Option<PeerAuthentication> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(&["selector", "mtls", "portLevelMtls"])?;
    let selector = selector(fields);
    let port_level = port_level(fields);
    if let Some(ports) = fields.get("portLevelMtls")
        && selector.match_labels.is_empty()
    {
        ports.wrong("needs a selector with labels: ports are those of particular workloads");
    }
    Some(PeerAuthentication {
        mode: fields
            .get("mtls")
            .map_or(MtlsMode::Unset, |mtls| mode(&mtls)),
        port_level,
        selector,
        meta,
    })
}

fn mode(mtls: &Cursor<'_, '_>) -> MtlsMode {
    mtls.fields(&["mode"])
        .map(|fields| fields.word("mode", MODES))
        .unwrap_or_default()
}

fn port_level(fields: Fields<'_, '_>) -> BTreeMap<u16, MtlsMode> {
    let Some(ports) = fields.get("portLevelMtls") else {
        return BTreeMap::new();
    };
    if ports.node().entries().is_some_and(<[_]>::is_empty) {
        ports.wrong("is empty; write a port and its mode, or leave it out");
    }
    ports
        .pairs()
        .filter_map(|(key, mtls)| match key.parse::<u16>() {
            Ok(port) if port > 0 && !key.starts_with(['+', '0']) => Some((
                port,
                if mtls.node().is_null() {
                    MtlsMode::Unset
                } else {
                    mode(&mtls)
                },
            )),
            _ => {
                mtls.wrong(format!(
                    "`{key}` is no port; write a number from 1 to 65535"
                ));
                None
            }
        })
        .collect()
}
