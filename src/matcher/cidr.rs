//! Ranges of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses of one family. Host bits are set to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Parses an address (`10.0.0.1`, `::1`), which is a range of one, or a range (`10.0.0.0/8`).
    ///
    /// # Errors
    /// When the text is neither. Zones (`fe80::1%eth0`), leading zeros, and a prefix longer than
    /// the address are errors too.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let (address, digits) = match text.split_once('/') {
            Some((address, digits)) => (address, Some(digits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError(()))?;
        let prefix = digits.map_or_else(|| Some(width(address)), prefix_length);
        Self::new(address, prefix.ok_or(CidrError(()))?)
    }

    /// The range of all addresses that share the first `prefix` bits with `address`.
    ///
    /// # Errors
    /// When the address has fewer than `prefix` bits.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, CidrError> {
        if prefix > width(address) {
            return Err(CidrError(()));
        }
        Ok(Self {
            address: masked(address, prefix),
            prefix,
        })
    }

    /// The first address of the range.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that all addresses share.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address is in the range. IPv4 ranges hold no IPv6 addresses, and the reverse. A
    /// socket's `::ffff:a.b.c.d` must be converted to IPv4 first
    /// ([`forwarded::socket_ip`](super::forwarded::socket_ip)).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

/// A prefix length without sign or leading zeros.
fn prefix_length(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let padded = digits.len() > 1 && digits.starts_with('0');
    (plain && !padded).then(|| digits.parse().ok())?
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = !u32::MAX.checked_shr(prefix).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = !u128::MAX.checked_shr(prefix).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The error for a text that is neither an address nor a CIDR range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrError(());

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither an IP address nor a range like 10.0.0.0/8 or fd00::/8")
    }
}

impl std::error::Error for CidrError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_never_meet_and_host_bits_do_not_count() {
        for (range, address, inside) in [
            ("10.9.8.7/8", "10.0.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("::/0", "127.0.0.1", false),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::ffff:1.2.3.4", true),
            ("fd00::1/8", "fdff::2", true),
            ("::ffff:10.0.0.0/104", "10.0.0.1", false),
        ] {
            let range = Cidr::parse(range).unwrap();
            assert_eq!(
                range.contains(address.parse().unwrap()),
                inside,
                "{range} {address}"
            );
        }
    }

    /// B-62: tests zones and unusual forms, as for every address parser.
    #[test]
    fn refuses_what_is_no_address() {
        for bad in [
            "",
            "/",
            "a",
            "1.2.3",
            "1.2.3.4/",
            "1.2.3.4/33",
            "::/129",
            "1.2.3.4/08",
            "1.2.3.4/+8",
            "1.2.3.4/ 8",
            "01.2.3.4",
            "fe80::1%eth0",
            "fe80::1%eth0/64",
            "[::1]",
            "1.2.3.4:80",
            "1.2.3.4/8/8",
            " 1.2.3.4",
        ] {
            assert_eq!(Cidr::parse(bad), Err(CidrError(())), "{bad}");
        }
    }
}
