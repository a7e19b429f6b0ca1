//! Reads PEM text (RFC 7468) and loses nothing: each block is used, or known to be of another kind,
//! or the text is refused.
//!
//! Text between blocks is skipped, because the bundles of distributions contain some. A line that
//! only resembles the first or last line of a block is an error.

use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use zeroize::Zeroizing;

/// The certificates of a text.
pub(in crate::tls) type CertificateBlocks = Vec<Located<CertificateDer<'static>>>;
/// The private key of a text.
pub(in crate::tls) type KeyBlock = Located<PrivateKeyDer<'static>>;
/// The revocation lists of a text.
type ListBlocks = Vec<Located<CertificateRevocationListDer<'static>>>;

/// A value that was read, and the line at which it begins.
#[derive(Debug)]
pub(in crate::tls) struct Located<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// Reads every certificate. Skips keys and parameters, because one file often holds both. Refuses a
/// revocation list, because it would be ignored here.
pub(super) fn certificates(text: &[u8]) -> Result<CertificateBlocks, PemError> {
    let mut certificates = Vec::new();
    for block in blocks(text)? {
        match block.kind() {
            BlockKind::Certificate | BlockKind::TrustedCertificate => {}
            BlockKind::RevocationList => return Err(block.error(Fault::ListAmongCertificates)),
            BlockKind::Unknown => return Err(block.error(Fault::UnknownKind)),
            BlockKind::Key(_) | BlockKind::EncryptedKey | BlockKind::Skipped => continue,
        }
        certificates.push(Located {
            line: block.line,
            value: CertificateDer::from(unwiped(block.der()?)),
        });
    }
    Ok(certificates)
}

/// Reads every revocation list; refuses any other kind of block.
pub(super) fn revocation_lists(text: &[u8]) -> Result<ListBlocks, PemError> {
    let mut lists = Vec::new();
    for block in blocks(text)? {
        if !matches!(block.kind(), BlockKind::RevocationList) {
            return Err(block.error(Fault::NoList));
        }
        lists.push(Located {
            line: block.line,
            value: CertificateRevocationListDer::from(unwiped(block.der()?)),
        });
    }
    Ok(lists)
}

/// Reads the one private key; `None` when there is none. Skips certificates and parameters. Refuses
/// a revocation list, because it would be ignored here.
pub(super) fn private_key(text: &[u8]) -> Result<Option<KeyBlock>, PemError> {
    let mut found = None;
    for block in blocks(text)? {
        let as_key = match block.kind() {
            BlockKind::Key(as_key) => as_key,
            BlockKind::EncryptedKey => return Err(block.error(Fault::Encrypted)),
            BlockKind::Unknown => return Err(block.error(Fault::UnknownKind)),
            BlockKind::RevocationList => return Err(block.error(Fault::ListBesideKey)),
            BlockKind::Certificate | BlockKind::TrustedCertificate | BlockKind::Skipped => continue,
        };
        if found.is_some() {
            return Err(block.error(Fault::SecondKey));
        }
        // The caller wipes the key.
        found = Some((block.line, as_key, block.der()?));
    }
    Ok(found.map(|(line, as_key, der)| Located {
        line,
        value: as_key(unwiped(der)),
    }))
}

/// Takes the bytes without leaving a copy behind.
fn unwiped(mut bytes: Zeroizing<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut *bytes)
}

/// The kinds of block that a label names.
enum BlockKind {
    Certificate,
    /// OpenSSL's format, which may contain trust settings.
    TrustedCertificate,
    RevocationList,
    Key(fn(Vec<u8>) -> PrivateKeyDer<'static>),
    EncryptedKey,
    /// Known, and never needed.
    Skipped,
    Unknown,
}

/// A block, from its first line to its last.
struct Block<'a> {
    /// The number of its first line.
    line: usize,
    label: &'a [u8],
    body: Vec<&'a [u8]>,
}

/// Reads the blocks of a text, in order: one for each beginning, wherever that is in a line.
fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, PemError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in (1..).zip(Lines(Some(text))) {
        if line.contains(&0) {
            return Err(PemError::new(number, Fault::Nul));
        }
        let line = line.trim_ascii();
        match (open.take(), Line::parse(line)) {
            (_, Line::Broken) => return Err(PemError::new(number, Fault::BrokenMarker)),
            (None, Line::Begin(label)) => {
                open = Some(Block {
                    line: number,
                    label,
                    body: Vec::new(),
                });
            }
            (None, Line::End(_)) => return Err(PemError::new(number, Fault::EndWithoutBegin)),
            (None, Line::Other) if resembles_der(line) => {
                return Err(PemError::new(number, Fault::Stray));
            }
            (None, Line::Other) => {}
            (Some(block), Line::Begin(_)) => return Err(block.error(Fault::NoEnd)),
            (Some(block), Line::End(label)) if label == block.label => blocks.push(block),
            (Some(_), Line::End(_)) => return Err(PemError::new(number, Fault::OtherEnd)),
            (Some(mut block), Line::Other) => {
                block.body.push(line);
                open = Some(block);
            }
        }
    }
    match open {
        Some(block) => Err(block.error(Fault::NoEnd)),
        None => Ok(blocks),
    }
}

impl Block<'_> {
    /// What its label means.
    fn kind(&self) -> BlockKind {
        match self.label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => BlockKind::Certificate,
            b"TRUSTED CERTIFICATE" => BlockKind::TrustedCertificate,
            b"X509 CRL" => BlockKind::RevocationList,
            b"PRIVATE KEY" => BlockKind::Key(|der| PrivatePkcs8KeyDer::from(der).into()),
            b"RSA PRIVATE KEY" => BlockKind::Key(|der| PrivatePkcs1KeyDer::from(der).into()),
            b"EC PRIVATE KEY" => BlockKind::Key(|der| PrivateSec1KeyDer::from(der).into()),
            b"ENCRYPTED PRIVATE KEY" => BlockKind::EncryptedKey,
            b"EC PARAMETERS"
            | b"DH PARAMETERS"
            | b"PUBLIC KEY"
            | b"RSA PUBLIC KEY"
            | b"CERTIFICATE REQUEST"
            | b"NEW CERTIFICATE REQUEST" => BlockKind::Skipped,
            _ => BlockKind::Unknown,
        }
    }

    fn error(&self, fault: Fault) -> PemError {
        PemError::new(self.line, fault)
    }

    /// Decodes its contents: one ASN.1 SEQUENCE, as certificates, lists and keys all are.
    fn der(&self) -> Result<Zeroizing<Vec<u8>>, PemError> {
        if self.body.iter().any(|line| line.contains(&b':')) {
            let is_encrypted = |line: &&[u8]| contains(line, b"ENCRYPTED");
            let fault = if self.body.iter().any(is_encrypted) {
                Fault::Encrypted
            } else {
                Fault::Headers
            };
            return Err(self.error(fault));
        }
        let der = decode(&self.body).ok_or_else(|| self.error(Fault::Base64))?;
        match after_sequence(&der) {
            None => Err(self.error(Fault::NotWhole)),
            Some([]) => Ok(der),
            Some(_) if matches!(self.kind(), BlockKind::TrustedCertificate) => {
                // They may say that the certificate is *not* to be trusted.
                Err(self.error(Fault::TrustSettings))
            }
            Some(_) => Err(self.error(Fault::TooMuch)),
        }
    }
}

/// The meaning of a line, without the blanks around it.
enum Line<'a> {
    Begin(&'a [u8]),
    End(&'a [u8]),
    /// It contains a first or last line, or resembles one.
    Broken,
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let marked = |marker: &[u8]| {
            let label = line.strip_prefix(marker)?.strip_suffix(DASHES)?;
            let is_label = !contains(label, b"--") && !label.is_empty();
            is_label.then_some(label)
        };
        if let Some(label) = marked(b"-----BEGIN ") {
            Self::Begin(label)
        } else if let Some(label) = marked(b"-----END ") {
            Self::End(label)
        } else if resembles_marker(line) {
            Self::Broken
        } else {
            Self::Other
        }
    }
}

/// Whether a line contains the first or last line of a block, or a damaged one, as careless editing
/// or a word processor leaves it: with another number or kind of dashes, or small letters.
fn resembles_marker(line: &[u8]) -> bool {
    if contains(line, b"-----BEGIN") || contains(line, b"-----END") {
        return true;
    }
    // A character outside ASCII may be a dash of another kind.
    let has_dashes = contains(line, b"--") || !line.is_ascii();
    let upper = line.to_ascii_uppercase();
    let begins = [&b"BEGIN"[..], b"END"];
    has_dashes
        && begins.iter().any(|word| {
            (0..upper.len()).any(|at| {
                let (before, rest) = upper.split_at_checked(at).unwrap_or_default();
                let is_start = !before.last().is_some_and(u8::is_ascii_alphanumeric);
                let after = rest.strip_prefix(*word).map(<[u8]>::trim_ascii_start);
                is_start && after.is_some_and(names_a_kind)
            })
        })
}

fn names_a_kind(rest: &[u8]) -> bool {
    let starts = [
        &b"CERTIFICATE"[..],
        b"CRL",
        b"EC P",
        b"ENCRYPTED P",
        b"NEW CERT",
        b"PRIVATE KEY",
        b"RSA P",
        b"TRUSTED CERT",
        b"X509 C",
        b"X.509 C",
    ];
    starts.iter().any(|start| rest.starts_with(start))
}

/// Whether a line between blocks looks like the first line inside a block: base64 of a SEQUENCE of
/// more than 127 bytes.
fn resembles_der(line: &[u8]) -> bool {
    let is_base64 = |&byte: &u8| byte == b'=' || sextet(byte) >= 0;
    line.len() >= 32 && line.starts_with(b"MI") && line.iter().all(is_base64)
}

/// Decodes padded base64, in lines of any length; `None` for anything else. The time it takes does
/// not depend on the characters of a key.
fn decode(lines: &[&[u8]]) -> Option<Zeroizing<Vec<u8>>> {
    let characters = || lines.iter().copied().flatten().copied();
    let significant = || characters().filter(|byte| !byte.is_ascii_whitespace());
    let length = significant().count();
    let padding = lines.iter().rev().flat_map(|line| line.iter().rev());
    let padding = padding
        .filter(|byte| !byte.is_ascii_whitespace())
        .take_while(|&&byte| byte == b'=')
        .count();
    if length % 4 != 0 || padding > 2 {
        return None;
    }
    // Allocates once: growing would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length / 4 * 3));
    let (mut bits, mut wrong) = (0_i32, 0_i32);
    for (index, byte) in significant().take(length - padding).enumerate() {
        let value = sextet(byte);
        wrong |= value;
        bits = (bits << 6 | value) & 0xff_ffff;
        match index % 4 {
            1 => bytes.push(low_byte(bits >> 4)),
            2 => bytes.push(low_byte(bits >> 2)),
            3 => bytes.push(low_byte(bits)),
            _ => {}
        }
    }
    (wrong >= 0).then_some(bytes)
}

fn low_byte(bits: i32) -> u8 {
    let [byte, ..] = bits.to_le_bytes();
    byte
}

/// The value of a base64 character, negative for any other. It uses no branch and no table, which
/// would show in the time or in the cache.
fn sextet(byte: u8) -> i32 {
    let byte = i32::from(byte);
    // All ones when the byte is strictly between the two.
    let between = |low: i32, high: i32| ((low - byte) & (byte - high)) >> 8;
    let mut value = -1;
    value += between(0x40, 0x5b) & (byte - 0x40);
    value += between(0x60, 0x7b) & (byte - 0x46);
    value += between(0x2f, 0x3a) & (byte + 0x05);
    value += between(0x2a, 0x2c) & 0x3f;
    value += between(0x2e, 0x30) & 0x40;
    value
}

/// The bytes after one SEQUENCE of definite length; `None` when there is no complete one.
fn after_sequence(der: &[u8]) -> Option<&[u8]> {
    let [0x30, first, rest @ ..] = der else {
        return None;
    };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let add = |sum: usize, &byte: &u8| sum << 8 | usize::from(byte);
            (length.iter().fold(0, add), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).map(|(_, after)| after)
}

/// Whether a text has a part.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The lines of a text, whose ends may be LF, CRLF or CR.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0.take()?;
        let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some((line, rest)) = end.and_then(|end| text.split_at_checked(end)) else {
            return Some(text);
        };
        self.0 = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..));
        Some(line)
    }
}

/// Why a text was refused, and at which line. It repeats nothing of the text, which may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PemError {
    pub(super) line: usize,
    pub(super) fault: Fault,
}

errors! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Fault {
        Base64 = "the block that begins here is not base64, or was cut short: copy it whole",
        BrokenMarker = "a -----BEGIN or -----END line that is not whole, or not alone on its line",
        Encrypted = "the private key is encrypted: \
            decrypt it first, with `openssl pkey -in KEY -out DECRYPTED`",
        EndWithoutBegin = "an -----END line without its -----BEGIN line",
        Headers = "the block that begins here has headers, which are not read",
        ListAmongCertificates = "a revocation list among certificates: \
            give it as a revocation list",
        ListBesideKey = "a revocation list beside a private key: give it as a revocation list",
        NoEnd = "the block that begins here has no -----END line",
        NoList = "a block that is not a revocation list (X509 CRL)",
        NotWhole = "the block that begins here does not hold a whole ASN.1 value",
        Nul = "a NUL byte, as in DER and UTF-16: write DER as PEM, \
            with `openssl x509 -inform DER` or `openssl pkey -inform DER`, and text as UTF-8",
        OtherEnd = "the -----END line is of another kind than its -----BEGIN line",
        SecondKey = "a second private key: leave only the one that belongs to the chain",
        Stray = "base64 outside of every block: its -----BEGIN line is missing",
        TooMuch = "the block that begins here holds more than one ASN.1 value",
        TrustSettings = "a TRUSTED CERTIFICATE with trust settings, which are not read: \
            write it as CERTIFICATE, for example with openssl x509",
        UnknownKind = "a block of a kind that is not known: \
            leave only CERTIFICATE, PRIVATE KEY, EC PRIVATE KEY and RSA PRIVATE KEY",
    }
}

impl PemError {
    fn new(line: usize, fault: Fault) -> Self {
        Self { line, fault }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const DASHES: &[u8] = b"-----";

#[cfg(test)]
mod tests;
