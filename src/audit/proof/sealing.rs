//! Forward-secure sealing: a key that is replaced by one made of it and erased, so that whoever has
//! the key of today cannot seal again what it has sealed before.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::chain::DOMAIN;
use super::key::{KeyFileError, is_open_to_others, only_for_owner};
use crate::audit::record::Seal;
use crate::audit::scalar::{Hash, hex, parse_hash};

/// A key that seals segments, with its number; the key after it is made of it. Who verifies keeps the
/// start key, which has the number 0, and can make all others. The process that writes the trail gets
/// a copy, and from then on has only the key of the segment that it writes.
///
/// A file has it as text: `tower-mesh-sealing-key`, the number, and 64 hexadecimal digits.
pub struct SealingKey {
    path: PathBuf,
    index: u64,
    secret: Zeroizing<Hash>,
}

impl SealingKey {
    /// Makes a start key and writes it to a new file that only its owner may read.
    ///
    /// # Errors
    /// The file is there already or cannot be written.
    pub fn create_file(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| KeyFileError::Random)?;
        let key = Self {
            path: path.as_ref().to_owned(),
            index: 0,
            secret,
        };
        let failed = |error| KeyFileError::Io(key.path.clone(), error);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        only_for_owner(&mut options);
        let mut file = options.open(&key.path).map_err(failed)?;
        file.write_all(&key.text()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(key)
    }

    /// Reads a key: the start key, or the one that a process has now.
    ///
    /// # Errors
    /// The file cannot be read, others than its owner may read it (0600 is right), or it has no such
    /// key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let failed = |error| KeyFileError::Io(path.to_owned(), error);
        let file = File::open(path).map_err(failed)?;
        if is_open_to_others(&file).map_err(failed)? {
            return Err(KeyFileError::Readable(path.to_owned()));
        }
        // No growth, which would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES));
        file.take(MOST_BYTES as u64)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Self::parse(path, &text).ok_or_else(|| KeyFileError::NoSealingKey(path.to_owned()))
    }

    fn parse(path: &Path, text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (word, index, secret) = (words.next()?, words.next()?, words.next()?);
        let number = index.parse::<u64>().ok()?;
        let is_it = word == WORD && number.to_string() == index && words.next().is_none();
        let secret = Zeroizing::new(parse_hash(secret)?);
        is_it.then(|| Self {
            path: path.to_owned(),
            index: number,
            secret,
        })
    }

    /// How many keys were before it.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The file from which it was read.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in its file.
    pub(crate) fn text(&self) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
        text.extend_from_slice(format!("{WORD} {} ", self.index).as_bytes());
        hex(&mut text, &*self.secret);
        text.push(b'\n');
        text
    }

    /// The key after this one. There is no way back.
    pub(crate) fn next(&self) -> Self {
        Self {
            path: self.path.clone(),
            index: self.index.saturating_add(1),
            secret: Zeroizing::new(self.mac(&[DOMAIN, b"evolve\0"])),
        }
    }

    /// Puts the key after this one in its place.
    pub(crate) fn evolve(&mut self) {
        *self = self.next();
    }

    /// Seals a stream up to a record: over the hash that the record has without its seal, which holds
    /// that of all records before.
    pub(crate) fn seal(&self, unsealed: &Hash) -> Seal {
        let index = self.index.to_be_bytes();
        Seal {
            index: self.index,
            mac: self.mac(&[DOMAIN, b"seal\0", &index, unsealed]),
        }
    }

    pub(crate) fn copy(&self) -> Self {
        Self {
            path: self.path.clone(),
            index: self.index,
            secret: self.secret.clone(),
        }
    }

    /// Whether two keys are the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.index == other.index && *self.secret == *other.secret
    }

    fn mac(&self, parts: &[&[u8]]) -> Hash {
        let mut context =
            hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.secret));
        for part in parts {
            context.update(part);
        }
        let mut mac = [0; 32];
        for (to, from) in mac.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        mac
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("path", &self.path)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

const WORD: &str = "tower-mesh-sealing-key";
const MOST_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::scalar::hex_of;

    #[test]
    fn a06_keys_and_seals_are_those_of_the_definition() {
        let text = format!("{WORD} 0 {}\n", "6b".repeat(32));
        let mut key = SealingKey::parse(Path::new("x"), &text).unwrap();
        assert_eq!(*key.text(), text.as_bytes());
        let seal = key.seal(&[7; 32]);
        // Python: hmac.new(b"k" * 32, b"tower-mesh/audit/v1\0seal\0" + bytes(8) + b"\7" * 32, "sha256")
        assert_eq!((seal.index, hex_of(&seal.mac)), (0, SEAL_0.to_owned()));
        key.evolve();
        let seal = key.seal(&[7; 32]);
        assert_eq!((seal.index, hex_of(&seal.mac)), (1, SEAL_1.to_owned()));
        assert!(!format!("{key:?}").contains(&hex_of(&*key.secret)));
    }

    const SEAL_0: &str = "50df34d46f14a561672b5dae05d0676f3aba96b691f575dedc1279ccd9980513";
    const SEAL_1: &str = "a1990c4f6fcae1d0cb30a51a7500e2ab5a8416d6c295e8d0fc502499cdc46931";

    #[test]
    fn a06_a_key_file_is_made_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealing.key");
        let made = SealingKey::create_file(&path).unwrap();
        let read = SealingKey::from_file(&path).unwrap();
        assert!(made.is_same(&read) && made.index() == 0);
        assert!(!made.is_same(&made.next()));
        assert!(matches!(
            SealingKey::create_file(&path),
            Err(KeyFileError::Io(..))
        ));
        for wrong in [
            "",
            "x",
            "tower-mesh-sealing-key 00 ",
            "tower-mesh-sealing-key 0 00",
        ] {
            std::fs::write(&path, wrong).unwrap();
            let error = SealingKey::from_file(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NoSealingKey(_)), "{error}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;

            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
            let error = SealingKey::from_file(&path).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }
}
