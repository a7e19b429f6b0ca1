//! The key that signs checkpoints.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::public_keys::{Algorithm, PublicKey, is_name};

/// Signs checkpoints: a [`SigningKey`], or a device that keeps its key.
pub trait Signer: Send + fmt::Debug {
    /// The name of the key: not empty, without spaces and `+`.
    fn name(&self) -> &str;

    /// How it signs.
    fn algorithm(&self) -> Algorithm;

    /// The public key, as [`Algorithm`] says.
    fn public_key(&self) -> Vec<u8>;

    /// Signs a text. It runs on the writer's thread, which writes nothing until it returns.
    ///
    /// # Errors
    /// It cannot sign now. The trail goes on and the next checkpoint tries again.
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A signer could not sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignError(String);

/// A key that signs checkpoints, in memory. It must not be the key of the workload's certificate.
pub struct SigningKey {
    name: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
}

/// Why a key could not be read or made.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file could not be read or written.
    Io(PathBuf, io::Error),
    /// Others than its owner may read the file.
    Readable(PathBuf),
    /// The file has no private key of Ed25519 or P-256 in PEM (PKCS#8).
    NoKey(PathBuf),
    /// The file has no sealing key.
    NoSealingKey(PathBuf),
    /// The name is empty, too long, or has spaces or `+`.
    Name,
    /// No key could be made.
    Random,
}

impl SigningKey {
    /// Reads a private key of Ed25519 or P-256 in PEM (`PRIVATE KEY`, PKCS#8), as
    /// `openssl genpkey -algorithm ed25519` makes one.
    ///
    /// # Errors
    /// The file cannot be read, others than its owner may read it (0600 is right), or it has no such
    /// key; or the name is none.
    pub fn from_file(name: &str, path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let failed = |error| KeyFileError::Io(path.to_owned(), error);
        let file = File::open(path).map_err(failed)?;
        let mut text = String::new();
        (&file)
            .take(MOST_BYTES)
            .read_to_string(&mut text)
            .map_err(failed)?;
        // First, so that nobody is told to close a file with a public key.
        let der = pem(&text).ok_or_else(|| KeyFileError::NoKey(path.to_owned()))?;
        if is_open_to_others(&file).map_err(failed)? {
            return Err(KeyFileError::Readable(path.to_owned()));
        }
        Self::from_pkcs8(name, &der)?.ok_or_else(|| KeyFileError::NoKey(path.to_owned()))
    }

    /// Makes a key of Ed25519 and writes it to a new file that only its owner may read.
    ///
    /// # Errors
    /// The file is there already or cannot be written; or the name is none.
    pub fn create_file(name: &str, path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let failed = |error| KeyFileError::Io(path.to_owned(), error);
        let der = new_ed25519()?;
        let key = Self::from_pkcs8(name, &der)?.ok_or(KeyFileError::Random)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        only_for_owner(&mut options);
        let mut file = options.open(path).map_err(failed)?;
        let text = BASE64_STANDARD.encode(der);
        let pem = format!("{BEGIN}\n{text}\n{END}\n");
        file.write_all(pem.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(key)
    }

    /// A key of Ed25519 that is nowhere but in memory.
    ///
    /// # Errors
    /// The name is none, or no key could be made.
    pub fn random(name: &str) -> Result<Self, KeyFileError> {
        Self::from_pkcs8(name, &new_ed25519()?)?.ok_or(KeyFileError::Random)
    }

    #[cfg(test)]
    pub(crate) fn random_es256(name: &str) -> Result<Self, KeyFileError> {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let der = der.map_err(|_| KeyFileError::Random)?;
        Self::from_pkcs8(name, der.as_ref())?.ok_or(KeyFileError::Random)
    }

    fn from_pkcs8(name: &str, der: &[u8]) -> Result<Option<Self>, KeyFileError> {
        if !is_name(name) {
            return Err(KeyFileError::Name);
        }
        let ed25519 = Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519);
        let es256 =
            || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map(Pair::Es256);
        let pair = ed25519.or_else(|_| es256()).ok();
        Ok(pair.map(|pair| Self {
            name: name.to_owned(),
            pair,
        }))
    }

    /// The key that verifies, whose text form goes to whoever verifies.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        public_key(self)
    }
}

impl Signer for SigningKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::Ed25519,
            Pair::Es256(_) => Algorithm::Es256,
        }
    }

    fn public_key(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Es256(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(text).as_ref().to_vec()),
            Pair::Es256(pair) => pair
                .sign(&SystemRandom::new(), text)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignError::new("P-256 could not sign")),
        }
    }
}

/// The key that verifies what this one signs.
pub(crate) fn public_key(signer: &dyn Signer) -> PublicKey {
    PublicKey::new(signer.name(), signer.algorithm(), signer.public_key())
}

impl SignError {
    /// A failure with its reason, which must not hold a secret.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

fn new_ed25519() -> Result<Vec<u8>, KeyFileError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyFileError::Random)?;
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair);
    der.map(|der| der.as_ref().to_vec())
        .map_err(|_| KeyFileError::Random)
}

/// The bytes of the first private key of a PEM file.
fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (base64, _) = rest.split_once(END)?;
    let base64: String = base64.split_whitespace().collect();
    BASE64_STANDARD.decode(base64).ok()
}

#[cfg(unix)]
pub(super) fn is_open_to_others(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    Ok(file.metadata()?.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_open_to_others(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// What is opened with this is made with the mode 0600.
pub(crate) fn only_for_owner(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.public().to_string())
            .finish()
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the checkpoint was not signed: {}", self.0)
    }
}

impl std::error::Error for SignError {}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, _) => write!(f, "the key file {} cannot be used", path.display()),
            Self::Readable(path) => write!(
                f,
                "others than its owner may read the key file {0}; run chmod 600 {0}",
                path.display()
            ),
            Self::NoKey(path) => write!(
                f,
                "the key file {} has no private key of Ed25519 or P-256 in PEM (PKCS#8); \
                 `openssl genpkey -algorithm ed25519` makes one",
                path.display()
            ),
            Self::NoSealingKey(path) => write!(
                f,
                "the key file {} has no sealing key; `tower-mesh audit key --sealing FILE` makes one",
                path.display()
            ),
            Self::Name => f.write_str(
                "the name of a key needs 1 to 128 bytes without spaces, control characters and '+'",
            ),
            Self::Random => f.write_str("no key could be made"),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const MOST_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.key");
        let made = SigningKey::create_file("a", &path).unwrap();
        let read = SigningKey::from_file("a", &path).unwrap();
        assert_eq!(made.public(), read.public());
        assert_eq!(made.sign(b"x").unwrap(), read.sign(b"x").unwrap());
        // Never over another.
        assert!(matches!(
            SigningKey::create_file("a", &path),
            Err(KeyFileError::Io(..))
        ));
        assert!(matches!(
            SigningKey::from_file("a b", &path),
            Err(KeyFileError::Name)
        ));
    }

    #[test]
    fn a_key_of_openssl_is_read() {
        // openssl genpkey -algorithm ed25519
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pkcs8("a", &super::pem(pem).unwrap())
            .unwrap()
            .unwrap();
        assert_eq!(key.algorithm(), Algorithm::Ed25519);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.key");
        SigningKey::create_file("a", &path).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for open in [0o640, 0o604, 0o644, 0o660] {
            mode(open);
            let error = SigningKey::from_file("a", &path).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        mode(0o400);
        SigningKey::from_file("a", &path).unwrap();
    }

    #[test]
    fn a_file_without_a_key_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.key");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        only_for_owner(&mut options);
        options.open(&path).unwrap().write_all(b"secret").unwrap();
        let error = SigningKey::from_file("a", &path).unwrap_err();
        assert!(matches!(error, KeyFileError::NoKey(_)));
        assert!(!error.to_string().contains("secret"));
        let missing = SigningKey::from_file("a", folder.path().join("none"));
        assert!(matches!(missing, Err(KeyFileError::Io(..))));
    }
}
