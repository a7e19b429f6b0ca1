//! `x-forwarded-for`: any bytes give an address, the last element's or the peer's.
//! Twin: `src/matcher/forwarded.rs`, `any_bytes_give_the_last_element_or_the_peer`.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use tower_mesh::matcher::forwarded;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fuzz_target!(|bytes: &[u8]| {
    let found = forwarded::remote_ip(bytes.split(|byte| *byte == b'\n'), PEER);
    let last = bytes.rsplit(|byte| matches!(byte, b'\n' | b',')).next();
    let text = last.and_then(|last| std::str::from_utf8(last.trim_ascii()).ok());
    let literal = text.and_then(|text| text.parse::<IpAddr>().ok());
    assert_eq!(found, literal.unwrap_or(PEER));
});
