//! Reads the header of HAProxy's PROXY protocol, version 2, with which a proxy begins a connection
//! and says who is on its other side.
//!
//! Only the connections of a [trusted
//! proxy](crate::mesh::DangerousMeshBuilder::trusted_proxy) have such a header; it is never looked
//! for elsewhere. Version 1 is refused.
//!
//! # Differences from Envoy/Istio
//!
//! - The header has 4 KiB at most, where the length field allows 64 KiB.
//! - A field that is cut short, is said twice or is not text where it should be refuses the header.
//!   Envoy skips it.
//! - A header for datagrams, and one for a connection of no known kind, are refused.
//!
//! # Example
//! ```
//! use tower_mesh::tls::proxy_protocol::read;
//!
//! let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
//! bytes.extend([10, 0, 0, 7, 10, 0, 0, 9, 0x9c, 0x40, 0x20, 0xfb]);
//! bytes.extend(b"GET / HTTP/1.1");
//!
//! let (header, length) = read(&bytes)?.expect("the header is complete");
//! assert_eq!(header.source, Some("10.0.0.7:40000".parse()?));
//! assert_eq!(&bytes[length..], b"GET / HTTP/1.1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::identity::SpiffeId;

/// What a proxy says of the connection on its other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeader {
    /// The caller's address; `None` for a Unix socket, and for a connection of the proxy itself
    /// (command LOCAL), such as a health check. Then no other field is set.
    pub source: Option<SocketAddr>,
    /// The address that the caller reached.
    pub destination: Option<SocketAddr>,
    /// The caller's SPIFFE id, by ztunnel's field 0xD0.
    pub identity: Option<SpiffeId>,
    /// The host that the caller asked for, such as the server name of its TLS.
    pub authority: Option<String>,
    /// The application protocol that the caller agreed on.
    pub alpn: Option<Vec<u8>>,
    /// The connection's id at the proxy, up to 128 bytes.
    pub unique_id: Option<Vec<u8>>,
    /// The TLS of the caller's connection.
    pub ssl: Option<Ssl>,
}

/// The TLS of a caller's connection. Its names are no SPIFFE ids, so they are no identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ssl {
    /// The caller spoke TLS.
    pub is_tls: bool,
    /// The caller showed a certificate on this connection.
    pub has_certificate: bool,
    /// The caller showed a certificate, on this connection or on one before with the same session.
    pub has_certificate_in_session: bool,
    /// The caller's certificate was shown and verified.
    pub is_verified: bool,
    /// The version, such as `TLSv1.3`.
    pub version: Option<String>,
    /// The common name of the certificate.
    pub common_name: Option<String>,
    /// The cipher suite.
    pub cipher: Option<String>,
    /// The algorithm that signed the certificate.
    pub signature: Option<String>,
    /// The algorithm of the certificate's key.
    pub key: Option<String>,
}

/// Reads the header at the start of a connection, and returns it with its length; `None` if more
/// bytes must come.
///
/// # Errors
/// When the bytes can begin no header, when it has more than 4 KiB, and when it is not well formed
/// or its checksum does not hold.
pub fn read(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes.get(..known) != SIGNATURE.get(..known) {
        return Err(ProxyHeaderError::Signature);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let [.., version, kind, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > LONGEST {
        return Err(ProxyHeaderError::TooLong);
    }
    let header = match version {
        LOCAL => Fields::Skipped,
        PROXY => Fields::of_kind(kind)?,
        _ => return Err(ProxyHeaderError::Version),
    };
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    let header = header.read(fixed, block)?;
    Ok(Some((header, FIXED + length)))
}

/// What the fixed part says of the fields behind it.
enum Fields {
    /// A connection of the proxy itself: the receiver ignores all of them.
    Skipped,
    Tcp4,
    Tcp6,
    Unix,
}

impl Fields {
    fn of_kind(kind: u8) -> Result<Self, ProxyHeaderError> {
        match kind {
            0x11 => Ok(Self::Tcp4),
            0x21 => Ok(Self::Tcp6),
            0x31 => Ok(Self::Unix),
            _ => Err(ProxyHeaderError::Kind),
        }
    }

    fn read(self, fixed: &[u8; FIXED], block: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
        let mut header = ProxyHeader::default();
        let cut = ProxyHeaderError::CutShort;
        let fields = match self {
            Self::Skipped => return Ok(header),
            Self::Tcp4 => {
                let (addresses, fields) = block.split_first_chunk::<12>().ok_or(cut)?;
                let [a, b, c, d, e, f, g, h, ports @ ..] = *addresses;
                let [from, to] = [Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h)];
                header.addresses(from, to, ports);
                fields
            }
            Self::Tcp6 => {
                let (from, rest) = block.split_first_chunk::<16>().ok_or(cut)?;
                let (to, rest) = rest.split_first_chunk::<16>().ok_or(cut)?;
                let (ports, fields) = rest.split_first_chunk::<4>().ok_or(cut)?;
                header.addresses(Ipv6Addr::from(*from), Ipv6Addr::from(*to), *ports);
                fields
            }
            // Two paths, which say nothing of the caller.
            Self::Unix => block.split_first_chunk::<216>().ok_or(cut)?.1,
        };
        let mut checksum = None;
        let before = block.len() - fields.len();
        for field in Tlv::each(fields) {
            let Tlv { kind, value, at } = field?;
            let is_new = match kind {
                0x01 => header.alpn.replace(value.to_vec()).is_none(),
                0x02 => header.authority.replace(text(value)?).is_none(),
                0x03 => checksum.replace((before + at, value)).is_none(),
                0x05 if value.len() > LONGEST_ID => return Err(ProxyHeaderError::CutShort),
                0x05 => header.unique_id.replace(value.to_vec()).is_none(),
                0x20 => header.ssl.replace(Ssl::read(value)?).is_none(),
                0xd0 => header.identity.replace(identity(value)?).is_none(),
                _ => true,
            };
            if !is_new {
                return Err(ProxyHeaderError::Repeated);
            }
        }
        if let Some((at, sent)) = checksum {
            check(sent, at, fixed, block)?;
        }
        Ok(header)
    }
}

impl ProxyHeader {
    fn addresses<I: Into<IpAddr>>(&mut self, from: I, to: I, ports: [u8; 4]) {
        let [a, b, c, d] = ports;
        self.source = Some((from.into(), u16::from_be_bytes([a, b])).into());
        self.destination = Some((to.into(), u16::from_be_bytes([c, d])).into());
    }
}

impl Ssl {
    fn read(value: &[u8]) -> Result<Self, ProxyHeaderError> {
        let (fixed, fields) = value
            .split_first_chunk::<5>()
            .ok_or(ProxyHeaderError::CutShort)?;
        let [client, verify @ ..] = *fixed;
        let has = |bit: u8| client & bit != 0;
        let mut ssl = Self {
            is_tls: has(0x01),
            has_certificate: has(0x02),
            has_certificate_in_session: has(0x04),
            // Zero also where there is no certificate to verify.
            is_verified: u32::from_be_bytes(verify) == 0 && has(0x02 | 0x04),
            ..Self::default()
        };
        for field in Tlv::each(fields) {
            let Tlv { kind, value, .. } = field?;
            let text_of = match kind {
                0x21 => &mut ssl.version,
                0x22 => &mut ssl.common_name,
                0x23 => &mut ssl.cipher,
                0x24 => &mut ssl.signature,
                0x25 => &mut ssl.key,
                _ => continue,
            };
            if text_of.replace(text(value)?).is_some() {
                return Err(ProxyHeaderError::Repeated);
            }
        }
        Ok(ssl)
    }
}

/// A field: a byte for its kind, two for its length, and its value.
struct Tlv<'b> {
    kind: u8,
    value: &'b [u8],
    /// Where the value begins.
    at: usize,
}

impl<'b> Tlv<'b> {
    /// The fields up to the end, or up to one that is cut short.
    fn each(bytes: &'b [u8]) -> impl Iterator<Item = Result<Self, ProxyHeaderError>> {
        let mut next = Some(0).filter(|_| !bytes.is_empty());
        std::iter::from_fn(move || {
            let field = Self::read(bytes, next.take()?);
            next = field
                .as_ref()
                .ok()
                .map(|field| field.at + field.value.len());
            next = next.filter(|next| *next < bytes.len());
            Some(field)
        })
    }

    fn read(bytes: &'b [u8], at: usize) -> Result<Self, ProxyHeaderError> {
        let field = || {
            let ([kind, high, low], rest) = bytes.get(at..)?.split_first_chunk::<3>()?;
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (kind, value, at) = (*kind, rest.get(..length)?, at + 3);
            Some(Self { kind, value, at })
        };
        field().ok_or(ProxyHeaderError::CutShort)
    }
}

fn text(value: &[u8]) -> Result<String, ProxyHeaderError> {
    let text = std::str::from_utf8(value).map_err(|_| ProxyHeaderError::Text)?;
    match text.chars().any(char::is_control) {
        true => Err(ProxyHeaderError::Text),
        false => Ok(text.to_owned()),
    }
}

fn identity(value: &[u8]) -> Result<SpiffeId, ProxyHeaderError> {
    let id = SpiffeId::new(&text(value)?);
    id.map_err(|_| ProxyHeaderError::Identity)
}

/// Compares the checksum, which is at this place of the block, with that of the header in which the
/// checksum's own bytes are zero.
fn check(sent: &[u8], at: usize, fixed: &[u8], block: &[u8]) -> Result<(), ProxyHeaderError> {
    let sum = <[u8; 4]>::try_from(sent).map_err(|_| ProxyHeaderError::Checksum)?;
    let is_own = |index: usize| (at..at + sum.len()).contains(&index);
    let block = block.iter().enumerate();
    let block = block.map(|(index, byte)| if is_own(index) { 0 } else { *byte });
    match crc32c(fixed.iter().copied().chain(block)) == u32::from_be_bytes(sum) {
        true => Ok(()),
        false => Err(ProxyHeaderError::Checksum),
    }
}

/// CRC-32C (RFC 3720 §12.1), bit by bit: headers are short and come once for each connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let carry = if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            (crc >> 1) ^ carry
        })
    })
}

errors! {
    /// Why a PROXY header was not read. It repeats nothing of the bytes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum ProxyHeaderError {
        /// The checksum (CRC-32C) does not hold.
        Checksum = "the checksum of the PROXY header does not hold",
        /// A field is cut short or too long.
        CutShort = "a field of the PROXY header is cut short or too long",
        /// The identity is not the SPIFFE id of a workload.
        Identity = "the identity in the PROXY header is not the SPIFFE id of a workload",
        /// It is not about TCP or a Unix stream socket.
        Kind = "the PROXY header is not about TCP or a Unix stream socket",
        /// A field is said twice.
        Repeated = "a field of the PROXY header is said twice",
        /// The connection does not begin with a header of version 2.
        Signature = "the connection does not begin with a PROXY header of version 2: \
            have the proxy send one, or leave `proxy_protocol()` out",
        /// A text is not UTF-8, or has control characters.
        Text = "a text in the PROXY header is not UTF-8, or has control characters",
        /// It has more than 4 KiB.
        TooLong = "the PROXY header has more than 4 KiB",
        /// Its version is not 2, or its command is neither PROXY nor LOCAL.
        Version = "the PROXY header is not of version 2, or has an unknown command",
    }
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, kind, and length.
const FIXED: usize = 16;
/// Version 2 with the command LOCAL.
const LOCAL: u8 = 0x20;
/// Version 2 with the command PROXY.
const PROXY: u8 = 0x21;
/// The most bytes of a header.
const LONGEST: usize = 4096;
const LONGEST_ID: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ProxyHeaderError::{
        Checksum, CutShort, Identity, Kind, Repeated, Signature, Text, TooLong, Version,
    };
    use super::*;

    const ADDRESSES: [u8; 12] = [10, 0, 0, 7, 10, 0, 0, 9, 0x9c, 0x40, 0x20, 0xfb];

    fn header(version: u8, kind: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version, kind]);
        bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend(block);
        bytes
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind][..], &length, value].concat()
    }

    fn tcp4(fields: &[Vec<u8>]) -> Vec<u8> {
        header(PROXY, 0x11, &[&ADDRESSES[..], &fields.concat()].concat())
    }

    fn whole(bytes: &[u8]) -> ProxyHeader {
        let (header, length) = read(bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        header
    }

    /// H-09: the addresses of each kind, and none of the proxy's own connections.
    #[test]
    fn addresses_are_read_by_their_kind() {
        let v4 = whole(&tcp4(&[]));
        assert_eq!(v4.source, Some("10.0.0.7:40000".parse().unwrap()));
        assert_eq!(v4.destination, Some("10.0.0.9:8443".parse().unwrap()));
        let mut block = [0; 36];
        (block[15], block[31], block[33], block[35]) = (1, 2, 7, 9);
        let v6 = whole(&header(PROXY, 0x21, &block));
        assert_eq!(v6.source, Some("[::1]:7".parse().unwrap()));
        assert_eq!(v6.destination, Some("[::2]:9".parse().unwrap()));
        let unix = [&[0; 216][..], &tlv(0x02, b"a.example")].concat();
        let unix = whole(&header(PROXY, 0x31, &unix));
        assert_eq!(
            (unix.source, unix.authority.as_deref()),
            (None, Some("a.example"))
        );
        for (kind, block) in [(0, &[][..]), (0x11, &ADDRESSES), (0xff, b"any bytes")] {
            assert_eq!(whole(&header(LOCAL, kind, block)), ProxyHeader::default());
        }
    }

    /// H-09: each field, and those inside of the TLS field.
    #[test]
    fn fields_are_read() {
        let inside = [
            tlv(0x21, b"TLSv1.3"),
            tlv(0x22, b"desk"),
            tlv(0x23, b"TLS_AES_128_GCM_SHA256"),
            tlv(0x24, b"SHA256"),
            tlv(0x25, b"EC256"),
            tlv(0x2f, b"unknown"),
        ];
        let ssl = [&[0x07, 0, 0, 0, 0][..], &inside.concat()].concat();
        let id = "spiffe://cluster.local/ns/default/sa/web";
        let read = whole(&tcp4(&[
            tlv(0x01, b"h2"),
            tlv(0x02, b"app.default"),
            tlv(0x04, b"padding"),
            tlv(0x04, b""),
            tlv(0x05, &[7; 128]),
            tlv(0x20, &ssl),
            tlv(0x30, b"netns"),
            tlv(0xd0, id.as_bytes()),
            tlv(0xd1, b"unknown"),
        ]));
        assert_eq!(read.identity.unwrap().as_str(), id);
        assert_eq!(read.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(read.authority.as_deref(), Some("app.default"));
        assert_eq!(read.unique_id, Some(vec![7; 128]));
        let ssl = read.ssl.unwrap();
        assert!(ssl.is_tls && ssl.has_certificate && ssl.has_certificate_in_session);
        assert!(ssl.is_verified);
        assert_eq!(ssl.version.as_deref(), Some("TLSv1.3"));
        assert_eq!(ssl.common_name.as_deref(), Some("desk"));
        assert_eq!(ssl.cipher.as_deref(), Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(ssl.signature.as_deref(), Some("SHA256"));
        assert_eq!(ssl.key.as_deref(), Some("EC256"));
        for unverified in [[0x01, 0, 0, 0, 0], [0x03, 0, 0, 0, 1]] {
            let ssl = whole(&tcp4(&[tlv(0x20, &unverified)])).ssl.unwrap();
            assert!(ssl.is_tls && !ssl.is_verified, "{unverified:?}");
        }
    }

    /// H-09: a checksum that is there must hold, wherever its field is.
    #[test]
    fn a_checksum_must_hold() {
        // The check value of CRC-32C.
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
        for fields in [
            vec![tlv(0x03, &[0; 4]), tlv(0x02, b"a")],
            vec![tlv(0x02, b"a"), tlv(0x03, &[0; 4])],
        ] {
            let mut bytes = tcp4(&fields);
            let sum = crc32c(bytes.iter().copied()).to_be_bytes();
            let at = bytes
                .windows(7)
                .position(|field| field == [3, 0, 4, 0, 0, 0, 0])
                .unwrap();
            bytes[at + 3..at + 7].copy_from_slice(&sum);
            assert_eq!(whole(&bytes).authority.as_deref(), Some("a"));
            for index in [17, at + 3, at + 6] {
                let mut other = bytes.clone();
                other[index] ^= 1;
                assert_eq!(read(&other), Err(Checksum), "{index}");
            }
        }
        assert_eq!(read(&tcp4(&[tlv(0x03, &[0; 3])])), Err(Checksum));
    }

    /// H-09: a header that is not well formed, or that is not about a stream, is refused.
    #[test]
    fn a_bad_header_is_refused() {
        let ssl = |inside: &[u8]| tcp4(&[tlv(0x20, &[&[1, 0, 0, 0, 0][..], inside].concat())]);
        for (bytes, why) in [
            (b"PROXY TCP4 10.0.0.7 10.0.0.9 1 2\r\n".to_vec(), Signature),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Signature),
            (b"\r\n\r\n\0\r\nQUIT ".to_vec(), Signature),
            (header(0x11, 0x11, &ADDRESSES), Version),
            (header(0x22, 0x11, &ADDRESSES), Version),
            (header(PROXY, 0x00, &[]), Kind),
            (header(PROXY, 0x12, &ADDRESSES), Kind),
            (header(PROXY, 0x22, &[0; 36]), Kind),
            (header(PROXY, 0x41, &ADDRESSES), Kind),
            (header(PROXY, 0x11, &ADDRESSES[..11]), CutShort),
            (header(PROXY, 0x21, &[0; 35]), CutShort),
            (header(PROXY, 0x31, &[0; 215]), CutShort),
            (tcp4(&[vec![2]]), CutShort),
            (tcp4(&[vec![2, 0, 2, b'a']]), CutShort),
            (tcp4(&[tlv(0x05, &[7; 129])]), CutShort),
            (tcp4(&[tlv(0x20, &[1, 0, 0, 0])]), CutShort),
            (ssl(&[0x22, 0, 9]), CutShort),
            (tcp4(&[tlv(0x02, b"a"), tlv(0x02, b"a")]), Repeated),
            (
                tcp4(&[tlv(0xd0, b"spiffe://td/a"), tlv(0xd0, b"spiffe://td/b")]),
                Repeated,
            ),
            (ssl(&[tlv(0x22, b"a"), tlv(0x22, b"b")].concat()), Repeated),
            (tcp4(&[tlv(0x02, b"\xff")]), Text),
            (tcp4(&[tlv(0x02, b"a\nb")]), Text),
            (ssl(&tlv(0x22, b"\0")), Text),
            (tcp4(&[tlv(0xd0, b"td/a")]), Identity),
            (tcp4(&[tlv(0xd0, b"")]), Identity),
            (tcp4(&[tlv(0x04, &[0; 4066])]), TooLong),
        ] {
            assert_eq!(read(&bytes), Err(why), "{bytes:?}");
        }
        whole(&tcp4(&[tlv(0x04, &[0; 4065])]));
    }

    /// H-09: a header that is too long is refused before its bytes have come.
    #[test]
    fn a_long_header_is_not_waited_for() {
        let bytes = header(PROXY, 0x11, &[0; 60_000]);
        assert_eq!(read(&bytes[..15]), Ok(None));
        assert_eq!(read(&bytes[..16]), Err(TooLong));
    }

    /// The kinds of fields that are known, and some others.
    fn fields() -> impl Strategy<Value = Vec<u8>> {
        let kind = prop_oneof![
            proptest::sample::select(vec![1, 2, 3, 4, 5, 0x20, 0x22, 0xd0]),
            any::<u8>()
        ];
        let value = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            "(spiffe://[a-z]{1,3}/[a-z./]{0,6})?".prop_map(String::into_bytes),
        ];
        let field = (kind, value).prop_map(|(kind, value)| tlv(kind, &value));
        proptest::collection::vec(field, 0..6).prop_map(|fields| fields.concat())
    }

    proptest! {
        /// H-09: any bytes are read or refused, and a header that comes piece by piece is the same.
        #[test]
        fn any_bytes_are_a_header_or_refused(
            version in proptest::sample::select(vec![LOCAL, PROXY, 0x12]),
            kind in proptest::sample::select(vec![0, 0x11, 0x21, 0x31, 0x12]),
            addresses in proptest::sample::select(vec![0, 12, 36, 216]),
            fields in fields(),
            flip in proptest::option::of((0..300_usize, any::<u8>())),
            behind in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let block = [&vec![1; addresses][..], &fields].concat();
            let mut bytes = header(version, kind, &block);
            if let Some((index, byte)) = flip
                && let Some(flipped) = bytes.get_mut(index)
            {
                *flipped = byte;
            }
            bytes.extend(&behind);
            let all = read(&bytes);
            for end in 0..bytes.len() {
                match read(&bytes[..end]) {
                    Ok(None) => {}
                    known => {
                        prop_assert_eq!(known, all);
                        break;
                    }
                }
            }
        }

        /// H-09.
        #[test]
        fn other_bytes_are_no_header(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let read = read(&bytes);
            if !bytes.starts_with(b"\r") {
                prop_assert_eq!(read, Err(Signature));
            }
        }
    }
}
