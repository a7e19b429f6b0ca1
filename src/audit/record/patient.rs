//! Patients, by pseudonyms.

use std::fmt;

use aws_lc_rs::hmac;

use crate::audit::scalar::hex;

/// The key that makes pseudonyms of patients. Whoever has it can tell which pseudonym a known patient
/// has, so it is kept apart from the trail.
///
/// A pseudonym is HMAC-SHA-256 over `patient`, a zero byte, and the id.
#[derive(Clone)]
pub struct PatientKey {
    id: Box<str>,
    key: hmac::Key,
}

/// The pseudonym of a patient, with the id of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym {
    pub(super) hash: [u8; 32],
    pub(super) key: Box<str>,
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatientKeyError {
    /// The secret has less than 32 bytes.
    Short,
    /// The id is empty, longer than 64 bytes, or has other signs than letters, digits, `-`, `_`, `.`.
    Id,
}

impl PatientKey {
    /// A key with an id that the records name, so that keys can be rotated.
    ///
    /// # Errors
    /// The secret has less than 32 bytes, or the id is no short word.
    pub fn new(id: &str, secret: &[u8]) -> Result<Self, PatientKeyError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if id.is_empty() || id.len() > 64 || !id.bytes().all(is_word) {
            return Err(PatientKeyError::Id);
        }
        if secret.len() < 32 {
            return Err(PatientKeyError::Short);
        }
        Ok(Self {
            id: id.into(),
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        })
    }

    /// The pseudonym of the patient with this id.
    #[must_use]
    pub fn pseudonym(&self, patient: &str) -> Pseudonym {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"patient\0");
        context.update(patient.as_bytes());
        let tag = context.sign();
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Pseudonym {
            hash,
            key: self.id.clone(),
        }
    }
}

impl fmt::Debug for PatientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// In hexadecimal digits, as in the record.
impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(64);
        hex(&mut text, &self.hash);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Display for PatientKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "a key for pseudonyms needs at least 32 bytes of secret",
            Self::Id => "the id of a key needs 1 to 64 letters, digits, '-', '_' or '.'",
        })
    }
}

impl std::error::Error for PatientKeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a15_pseudonym() {
        let key = PatientKey::new("2026", &[b'k'; 32]).unwrap();
        let pseudonym = key.pseudonym("MRN-12345");
        assert_eq!(
            pseudonym.to_string(),
            "fecc013e136acf673224df5ab0294631dc2cbe9781e04b78a3cadf63802197db"
        );
        assert!(!format!("{key:?}").contains("kkk"));
    }

    #[test]
    fn weak_keys_are_refused() {
        assert_eq!(
            PatientKey::new("a", &[0; 31]).unwrap_err(),
            PatientKeyError::Short
        );
        for id in ["", "a b", &"a".repeat(65), "\n"] {
            assert_eq!(
                PatientKey::new(id, &[0; 32]).unwrap_err(),
                PatientKeyError::Id
            );
        }
    }
}
