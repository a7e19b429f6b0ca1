//! Counts good tokens and refusals, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::jwt::Refusal;

/// Counts good tokens and refused requests, in atomics that the caller owns. Clones share them.
///
/// A [`Keyring`](super::Keyring) hands them to each authenticator, so that counts go on when rules
/// are replaced.
#[derive(Clone, Debug)]
pub struct Counts {
    verified: Arc<AtomicU64>,
    remembered: Arc<AtomicU64>,
    refused: Arc<[Arc<AtomicU64>]>,
    reported: Arc<[Arc<AtomicU64>]>,
}

impl Counts {
    /// Takes a counter for good tokens that were `verified` by their signature, one for those that
    /// were `remembered`, and one for the requests that were refused for each of
    /// [`REASONS`](Self::REASONS).
    #[must_use]
    pub fn new(
        good: impl Fn(&'static str) -> Arc<AtomicU64>,
        refused: impl Fn(&'static str) -> Arc<AtomicU64>,
    ) -> Self {
        Self {
            verified: good("verified"),
            remembered: good("remembered"),
            refused: Self::REASONS.into_iter().map(refused).collect(),
            reported: Arc::default(),
        }
    }

    /// Takes a counter for the requests whose bad token was only
    /// [reported](crate::jwt::TokenMode::ReportOnly), for each of [`REASONS`](Self::REASONS).
    #[must_use]
    pub fn reporting(mut self, reported: impl Fn(&'static str) -> Arc<AtomicU64>) -> Self {
        self.reported = Self::REASONS.into_iter().map(reported).collect();
        self
    }

    /// Why requests are refused, as short label values.
    pub const REASONS: [&'static str; 13] = [
        "missing",
        "malformed",
        "header",
        "claims",
        "issuer",
        "not_yet_valid",
        "expired",
        "audience",
        "no_keys",
        "no_key",
        "signature",
        "ambiguous",
        "policy",
    ];

    pub(crate) fn verified(&self) {
        self.verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remembered(&self) {
        self.remembered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused request; `None` if the legacy Policy refused it, which gives no reason.
    pub(crate) fn refused(&self, refusal: Option<Refusal>) {
        add(&self.refused, refusal.map_or("policy", reason));
    }

    /// Counts a request that passes in spite of its bad token.
    pub(crate) fn reported(&self, refusal: Refusal) {
        add(&self.reported, reason(refusal));
    }
}

fn add(counts: &[Arc<AtomicU64>], reason: &'static str) {
    let mut counts = counts.iter().zip(Counts::REASONS);
    if let Some((count, _)) = counts.find(|(_, name)| *name == reason) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Counts {
    /// Counters that are never read.
    fn default() -> Self {
        Self::new(|_| Arc::default(), |_| Arc::default())
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoToken => "missing",
        Refusal::Form
        | Refusal::TooLarge
        | Refusal::HeaderBase64
        | Refusal::HeaderJson
        | Refusal::PayloadBase64
        | Refusal::PayloadJson
        | Refusal::SignatureBase64 => "malformed",
        Refusal::AlgorithmType
        | Refusal::Algorithm
        | Refusal::KeyId
        | Refusal::Header(_)
        | Refusal::HeaderOfSvid => "header",
        Refusal::NotString(_)
        | Refusal::NotInteger(_)
        | Refusal::NotPositive(_)
        | Refusal::NotStringList
        | Refusal::Missing(_)
        | Refusal::ControlCharacters => "claims",
        Refusal::Issuer => "issuer",
        Refusal::NotYetValid => "not_yet_valid",
        Refusal::Expired => "expired",
        Refusal::Audience => "audience",
        Refusal::NoKeySet => "no_keys",
        Refusal::NoKey => "no_key",
        Refusal::Signature => "signature",
        Refusal::Ambiguous => "ambiguous",
    }
}
