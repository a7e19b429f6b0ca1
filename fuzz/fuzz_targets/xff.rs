//! `x-forwarded-for`: any bytes give an address, the last element's or the peer's; behind an edge,
//! a counted element's or the peer's.
//! Twins: `src/matcher/forwarded.rs`, `any_bytes_give_the_last_element_or_the_peer`;
//! `src/gate/trust/forwarded_for.rs`, `any_bytes_give_the_counted_element_or_the_socket`.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use tower_mesh::gate::forwarded_for;
use tower_mesh::matcher::forwarded;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fuzz_target!(|bytes: &[u8]| {
    let lines = || bytes.split(|byte| *byte == b'\n');
    let found = forwarded::remote_ip(lines(), PEER);
    // Empty lines add nothing.
    let mut filled = lines()
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let last = filled
        .next_back()
        .and_then(|line| line.rsplit(|byte| *byte == b',').next());
    let text = last.and_then(|last| std::str::from_utf8(last.trim_ascii()).ok());
    // A numeric scope counts there.
    if text.is_none_or(|text| !text.contains('%')) {
        let literal = text.and_then(|text| text.parse::<IpAddr>().ok());
        assert_eq!(found, literal.unwrap_or(PEER));
    }

    assert_eq!(forwarded_for::client_ip(lines(), 0, PEER), PEER);
    let text = String::from_utf8_lossy(bytes);
    for hops in 1..4 {
        let found = forwarded_for::client_ip(lines(), hops, PEER);
        let elements = text.split(['\n', ',']).map(|one| {
            one.trim_matches(|letter: char| letter.is_ascii_whitespace() || "[]".contains(letter))
        });
        let mut said = elements.filter_map(|one| one.parse::<IpAddr>().ok());
        assert!(found == PEER || said.any(|ip| ip == found));
    }
});
