//! The texts, addresses and ports that rules name, as facts a request can state.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::fact::{Dimension, Fact};
use super::names::Names;
use super::node::{leaves, of_header};
use super::sample;
use super::witness::Peer;
use crate::matcher::{Cidr, StringMatcher, StringPattern};
use crate::policy::Triggers;
use crate::policy::ir::view::Leaf;
use crate::policy::ir::{HeaderTest, MetadataMatcher, Policy, ValueMatcher};

/// More of one dimension is not kept.
const MOST_FACTS: usize = 400;
/// Of so many of the texts seen before, each is joined with a new one.
const PARTNERS: usize = 8;

/// What requests can say, gathered from the literals of rules: each literal, its neighbours, and
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Pool {
    facts: BTreeMap<Dimension, Vec<Fact>>,
    /// Starts and ends of texts, to be joined: a rule may ask for both.
    starts: BTreeMap<Dimension, Vec<String>>,
    ends: BTreeMap<Dimension, Vec<String>>,
    literals: BTreeMap<Dimension, Vec<String>>,
    names: Names,
    /// The texts that rules name, as far as they can be written, without near misses.
    named: Vec<Fact>,
    /// Paths are written in other ways, too: both sides normalize them differently.
    pub(super) respell: bool,
}

impl Pool {
    /// What these rules alone give.
    pub(super) fn of_few<'p>(
        &self,
        issuers: &[String],
        policies: impl Iterator<Item = &'p Policy>,
    ) -> Self {
        let mut few = Self {
            respell: self.respell,
            ..Self::default()
        };
        few.learn_issuers(issuers);
        policies.for_each(|policy| few.learn(policy));
        few
    }

    /// Everything known of a dimension.
    pub(super) fn get(&self, dimension: &Dimension) -> &[Fact] {
        self.facts.get(dimension).map_or(&[], Vec::as_slice)
    }

    pub(super) fn dimensions(&self) -> impl Iterator<Item = &Dimension> {
        self.facts.keys()
    }

    /// Whether a rule names this, and it is no neighbour of what one names.
    pub(super) fn is_named(&self, fact: &Fact) -> bool {
        self.named.contains(fact)
    }

    /// Takes in what a rule asks about.
    pub(super) fn learn(&mut self, policy: &Policy) {
        for leaf in leaves(policy) {
            self.leaf(leaf);
        }
    }

    /// Takes in whose tokens are good.
    pub(super) fn learn_issuers(&mut self, issuers: &[String]) {
        for issuer in issuers {
            let token = Map::from_iter([("iss".to_owned(), json!(issuer))]);
            self.add(Dimension::Token, Fact::Token(Some(token)));
            self.claim_is(&["iss"], json!(issuer));
        }
    }

    /// Takes in where a legacy origin demands a token.
    pub(super) fn learn_triggers(&mut self, triggers: &Triggers) {
        self.add(Dimension::Token, Fact::Token(None));
        for matcher in triggers.paths() {
            self.texts(&Dimension::Target, matcher);
        }
    }

    fn leaf(&mut self, leaf: Leaf<'_>) {
        match leaf {
            Leaf::Header(matcher) => {
                let dimension = of_header(&matcher.name);
                self.absence(&dimension);
                match &matcher.test {
                    HeaderTest::String(test) => self.texts(&dimension, test),
                    HeaderTest::Range { start, end } => {
                        for number in [*start, start.saturating_sub(1), *end, end - 1] {
                            self.text(&dimension, &number.to_string());
                        }
                    }
                    _ => self.text(&dimension, "x"),
                }
            }
            Leaf::Path(matcher) => self.texts(&Dimension::Target, matcher),
            Leaf::Template(template) => {
                let paths = sample::paths(template);
                for path in &paths {
                    self.text(&Dimension::Target, path);
                }
                if let Some(path) = paths.first() {
                    self.named(&Dimension::Target, path);
                }
            }
            Leaf::Peer(matcher) => {
                self.absence(&Dimension::Peer);
                if let Some(matcher) = matcher {
                    self.peers(matcher);
                }
            }
            Leaf::DirectIp(range) => self.addresses(&Dimension::SourceIp, &range, Fact::SourceIp),
            Leaf::RemoteIp(range) => self.addresses(&Dimension::RemoteIp, &range, Fact::RemoteIp),
            Leaf::DestinationIp(range) => {
                self.addresses(&Dimension::DestinationIp, &range, Fact::DestinationIp);
            }
            Leaf::Ports { start, end } => {
                let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
                let (start, last) = (port(start), port(end.saturating_sub(1)));
                let ports = [start, last, start.saturating_sub(1), last.saturating_add(1)];
                for port in ports {
                    self.add(Dimension::Port, Fact::Port(port));
                }
            }
            Leaf::ServerName(matcher) => {
                self.add(Dimension::ServerName, Fact::ServerName(String::new()));
                self.texts(&Dimension::ServerName, matcher);
            }
            Leaf::Metadata(matcher) => self.metadata(matcher),
        }
    }

    fn add(&mut self, dimension: Dimension, fact: Fact) {
        let facts = self.facts.entry(dimension).or_default();
        if facts.len() < MOST_FACTS && !facts.contains(&fact) {
            facts.push(fact);
        }
    }

    /// What a request says that says nothing of a dimension.
    fn absence(&mut self, dimension: &Dimension) {
        let fact = match dimension {
            Dimension::Authority => Fact::Authority(None),
            Dimension::Header(name) => {
                let empty = Fact::Header(name.clone(), vec![String::new()]);
                self.add(dimension.clone(), empty);
                Fact::Header(name.clone(), Vec::new())
            }
            Dimension::Peer => {
                let named = Peer::dns("host.example".to_owned());
                self.add(Dimension::Peer, Fact::Peer(Some(named)));
                Fact::Peer(None)
            }
            Dimension::Method => {
                for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
                    self.text(&Dimension::Method, method);
                }
                return;
            }
            _ => return,
        };
        self.add(dimension.clone(), fact);
    }

    /// Texts on both sides of a matcher, and such as meet it together with a matcher seen before.
    fn texts(&mut self, dimension: &Dimension, matcher: &StringMatcher) {
        let texts = sample::texts(matcher);
        for text in &texts {
            self.text(dimension, text);
        }
        if let Some(text) = texts.first() {
            self.named(dimension, text);
        }
        let partners = |known: &BTreeMap<Dimension, Vec<String>>| -> Vec<String> {
            let known = known.get(dimension).map_or(&[][..], Vec::as_slice);
            known.iter().rev().take(PARTNERS).cloned().collect()
        };
        match &matcher.pattern {
            StringPattern::Prefix(start) => {
                for end in partners(&self.ends) {
                    self.joined(dimension, start, &end);
                }
                keep(&mut self.starts, dimension, start);
            }
            StringPattern::Suffix(end) => {
                for start in partners(&self.starts) {
                    self.joined(dimension, &start, end);
                }
                keep(&mut self.ends, dimension, end);
            }
            _ => {}
        }
    }

    fn joined(&mut self, dimension: &Dimension, start: &str, end: &str) {
        self.text(dimension, &format!("{start}{end}"));
        self.text(dimension, &format!("{start}x{end}"));
    }

    /// Remembers that a rule names a text.
    fn named(&mut self, dimension: &Dimension, text: &str) {
        self.named.push(match dimension {
            Dimension::Target => Fact::Target(path_of(text)),
            Dimension::Authority => Fact::Authority(Some(text.to_owned())),
            Dimension::Header(name) => Fact::Header(name.clone(), vec![text.to_owned()]),
            Dimension::Peer => Fact::Peer(Some(Peer::uri(text))),
            _ => return,
        });
    }

    /// One text.
    fn text(&mut self, dimension: &Dimension, text: &str) {
        if text.chars().any(char::is_control) {
            return;
        }
        let fact = match dimension {
            Dimension::Method if is_token(text) => Fact::Method(text.to_owned()),
            Dimension::Target => return self.target(text),
            Dimension::Authority => Fact::Authority(Some(text.to_owned())),
            Dimension::ServerName => Fact::ServerName(text.to_ascii_lowercase()),
            Dimension::Header(name) => {
                let line = |lines: Vec<String>| Fact::Header(name.clone(), lines);
                let junk = vec!["junk".to_owned(), text.to_owned()];
                self.add(dimension.clone(), line(vec![text.to_owned()]));
                for other in self.partners(dimension, text) {
                    let both = vec![other, text.to_owned()];
                    self.add(dimension.clone(), line(both));
                }
                line(junk)
            }
            _ => return,
        };
        self.add(dimension.clone(), fact);
    }

    /// Literals seen before in this dimension.
    fn partners(&mut self, dimension: &Dimension, text: &str) -> Vec<String> {
        let known = self.literals.entry(dimension.clone()).or_default();
        let partners: Vec<_> = known.iter().rev().take(PARTNERS).cloned().collect();
        if !known.iter().any(|known| known == text) {
            known.push(text.to_owned());
        }
        partners
    }

    fn target(&mut self, text: &str) {
        let path = path_of(text);
        if self.respell {
            let respelled = [
                path.replacen('/', "//", 2),
                path.replace('/', "%2F").replacen("%2F", "/", 1),
                format!("/x/..{path}"),
                format!("/./{path}"),
            ];
            for path in respelled {
                self.add(Dimension::Target, Fact::Target(path));
            }
        }
        let with_query = (!path.contains('?')).then(|| Fact::Target(format!("{path}?x=1")));
        self.add(Dimension::Target, Fact::Target(path));
        if let Some(fact) = with_query {
            self.add(Dimension::Target, fact);
        }
    }

    fn peers(&mut self, matcher: &StringMatcher) {
        let texts = sample::texts(matcher);
        for text in &texts {
            self.names.learn(text);
        }
        if let Some(text) = texts.first() {
            self.named(&Dimension::Peer, text);
        }
        for name in self.names.all() {
            self.add(Dimension::Peer, Fact::Peer(Some(Peer::uri(name))));
        }
        for text in texts {
            if text.starts_with("spiffe://") {
                self.add(Dimension::Peer, Fact::Peer(Some(Peer::uri(text))));
            } else if !text.is_empty() {
                self.add(Dimension::Peer, Fact::Peer(Some(Peer::dns(text))));
            }
        }
    }

    fn addresses(&mut self, dimension: &Dimension, range: &Cidr, fact: fn(Option<IpAddr>) -> Fact) {
        self.add(dimension.clone(), fact(None));
        for address in around(range) {
            self.add(dimension.clone(), fact(Some(address)));
        }
    }

    fn metadata(&mut self, matcher: &MetadataMatcher) {
        let path: Vec<&str> = matcher.path.iter().map(String::as_str).collect();
        match (matcher.filter.as_str(), path.as_slice()) {
            ("envoy.filters.http.jwt_authn", ["payload", claim @ ..]) if !claim.is_empty() => {
                self.claim(claim, &matcher.value);
            }
            ("istio_authn", ["request.auth.principal"]) => {
                let mut texts = Vec::new();
                strings(&matcher.value, &mut texts);
                for text in texts {
                    for (issuer, subject) in text.match_indices('/').filter_map(|(at, slash)| {
                        Some((text.get(..at)?, text.get(at + slash.len()..)?))
                    }) {
                        self.claim_is(&["iss"], json!(issuer));
                        self.claim_is(&["sub"], json!(subject));
                    }
                    self.claim_is(&["iss"], json!(text));
                    self.claim_is(&["sub"], json!(text));
                }
                self.claim_is(&["sub"], json!("x"));
                self.claim_is(&["iss"], json!("x"));
            }
            ("istio_authn", ["request.auth.audiences"]) => self.claim(&["aud"], &matcher.value),
            ("istio_authn", ["request.auth.presenter"]) => self.claim(&["azp"], &matcher.value),
            ("istio_authn", ["request.auth.claims", claim]) => {
                self.claim(&[claim], &matcher.value);
            }
            // No request brings other filters' metadata.
            _ => {}
        }
    }

    fn claim_is(&mut self, path: &[&str], value: Value) {
        let path = owned_path(path);
        let fact = Fact::Claim(path.clone(), Some(value));
        self.add(Dimension::Claim(path), fact);
    }

    fn claim(&mut self, path: &[&str], test: &ValueMatcher) {
        let token = Map::from_iter([("iss".to_owned(), json!("https://issuer.example"))]);
        self.add(Dimension::Token, Fact::Token(None));
        self.add(Dimension::Token, Fact::Token(Some(token)));
        let owned = owned_path(path);
        let dimension = Dimension::Claim(owned.clone());
        self.add(dimension.clone(), Fact::Claim(owned, None));
        let mut texts = Vec::new();
        strings(test, &mut texts);
        // RFC 7519 section 4.1: these two are always texts.
        let is_text = matches!(path, ["iss" | "sub"]);
        if let (Some(text), [_]) = (texts.first(), path) {
            let fact = Fact::Claim(owned_path(path), Some(json!(text)));
            self.named.push(fact);
        }
        for text in texts {
            self.claim_is(path, json!(text));
            if !is_text {
                self.claim_is(path, json!([text]));
                self.claim_is(path, json!(["x", text]));
                self.claim_is(path, json!(format!("x {text}")));
                for other in self.partners(&dimension, &text) {
                    self.claim_is(path, json!([other, text]));
                }
            }
        }
        self.claim_is(path, json!("x"));
        self.claim_is(path, json!(""));
        if !is_text {
            for odd in [json!(["x"]), json!([]), json!([""]), json!(5), json!([5])] {
                self.claim_is(path, odd);
            }
            for number in numbers(test) {
                self.claim_is(path, json!(number));
            }
        }
    }
}

/// The text as a path: with a slash at its start.
fn path_of(text: &str) -> String {
    let slash = if text.starts_with('/') { "" } else { "/" };
    format!("{slash}{text}")
}

fn owned_path(path: &[&str]) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).collect()
}

fn keep(known: &mut BTreeMap<Dimension, Vec<String>>, dimension: &Dimension, text: &str) {
    let known = known.entry(dimension.clone()).or_default();
    if !known.iter().any(|known| known == text) {
        known.push(text.to_owned());
    }
}

/// The texts of every string test inside.
fn strings(test: &ValueMatcher, texts: &mut Vec<String>) {
    match test {
        ValueMatcher::String(matcher) => {
            let found = sample::texts(matcher);
            texts.extend(
                found
                    .into_iter()
                    .filter(|text| !texts.contains(text))
                    .collect::<Vec<_>>(),
            );
        }
        ValueMatcher::ListOneOf(inner) => strings(inner, texts),
        ValueMatcher::Or(tests) => tests.iter().for_each(|test| strings(test, texts)),
        _ => {}
    }
}

fn numbers(test: &ValueMatcher) -> Vec<f64> {
    match test {
        ValueMatcher::DoubleExact(number) => vec![*number, number + 1.0],
        ValueMatcher::DoubleRange { start, end } => vec![*start, start - 1.0, *end],
        ValueMatcher::ListOneOf(inner) => numbers(inner),
        ValueMatcher::Or(tests) => tests.iter().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

/// The first and the last address of a range, and those just outside.
fn around(range: &Cidr) -> Vec<IpAddr> {
    let prefix = u32::from(range.prefix());
    match range.address() {
        IpAddr::V4(first) => {
            let first = first.to_bits();
            let last = first | u32::MAX.checked_shr(prefix).unwrap_or(0);
            let bits = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            bits.map(|bits| Ipv4Addr::from_bits(bits).into()).to_vec()
        }
        IpAddr::V6(first) => {
            let first = first.to_bits();
            let last = first | u128::MAX.checked_shr(prefix).unwrap_or(0);
            let bits = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            bits.map(|bits| Ipv6Addr::from_bits(bits).into()).to_vec()
        }
    }
}

/// RFC 9110's `token`, the form of a method.
fn is_token(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(good)
}
