//! Virtual hosts by domain.

use super::texts::Texts;
use crate::routing::hosts::RouteTable;

/// The longest host that is looked up; a name of DNS has at most 255 bytes.
const LONGEST: usize = 256;

/// Domains of a table, in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Domains {
    exact: Texts,
    /// What `*.suffix` and `prefix.*` have beside the star, and their lengths, longest first.
    suffixes: (Texts, Vec<usize>),
    prefixes: (Texts, Vec<usize>),
    any: Option<u32>,
}

impl Domains {
    pub(super) fn new(table: &RouteTable) -> Self {
        let mut domains = Self::default();
        for (number, virtual_host) in (0..).zip(&table.virtual_hosts) {
            for domain in &virtual_host.domains {
                domains.add(&domain.to_ascii_lowercase(), number);
            }
        }
        for (_, lengths) in [&mut domains.suffixes, &mut domains.prefixes] {
            lengths.sort_unstable_by(|one, other| other.cmp(one));
            lengths.dedup();
        }
        domains
    }

    fn add(&mut self, domain: &str, number: u32) {
        // A name with a star may also be called as it is written.
        self.exact.add(domain.as_bytes(), number);
        let (wildcards, text) = if domain == "*" {
            self.any = Some(number);
            return;
        } else if let Some(suffix) = domain.strip_prefix('*') {
            (&mut self.suffixes, suffix)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            (&mut self.prefixes, prefix)
        } else {
            return;
        };
        wildcards.0.add(text.as_bytes(), number);
        wildcards.1.push(text.len());
    }

    /// The number of the virtual host of a host; `None` also where the host is too long, and
    /// `is_too_long` says so.
    pub(super) fn find(&self, host: &str) -> Found {
        let bytes = host.as_bytes();
        // All bytes are looked at, so that several are at once.
        let has_capital = |so_far, byte: &u8| so_far | byte.is_ascii_uppercase();
        if !bytes.iter().fold(false, has_capital) {
            return Found::Number(self.find_lower(bytes));
        }
        let mut buffer = [0; LONGEST];
        let Some(lower) = buffer.get_mut(..bytes.len()) else {
            return Found::TooLong;
        };
        lower.copy_from_slice(bytes);
        lower.make_ascii_lowercase();
        Found::Number(self.find_lower(lower))
    }

    fn find_lower(&self, host: &[u8]) -> Option<u32> {
        // `*` is in `exact`, too, and means the same there.
        if let Some(number) = self.exact.get(host).first() {
            return Some(*number);
        }
        let of_lengths = |(texts, lengths): &(Texts, Vec<usize>), end: bool| {
            // The star stands for one byte at least.
            let shorter = lengths.iter().filter(|length| **length < host.len());
            let mut found = shorter.filter_map(|length| {
                let part = match end {
                    true => host.get(host.len() - length..),
                    false => host.get(..*length),
                };
                texts.get(part?).first().copied()
            });
            found.next()
        };
        of_lengths(&self.suffixes, true)
            .or_else(|| of_lengths(&self.prefixes, false))
            .or(self.any)
    }
}

/// What was found.
pub(super) enum Found {
    /// A virtual host, or none.
    Number(Option<u32>),
    /// The host has capitals and is longer than any name.
    TooLong,
}
