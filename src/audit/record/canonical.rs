//! The canonical form of a record: JSON in one line, the keys of each object in the order of their
//! bytes, no spaces, integers only.

use std::io::Write;

use super::actor::Actor;
use super::fields::{Fields, Identity, OldStream, Own, Removed, Seal};
use super::text::{Bounded, must_be_escaped, string};
use crate::audit::scalar::{Hash, Timestamp, hex};

/// What the place of a record in its stream says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) stream: &'a str,
    pub(crate) seq: u64,
    pub(crate) prev: &'a Hash,
    pub(crate) time: Timestamp,
    /// By how many milliseconds the clock was set since the record before.
    pub(crate) clock_step: Option<i64>,
    /// For how many events it stands, if not for one.
    pub(crate) count: Option<u64>,
    pub(crate) seal: Option<Seal>,
}

/// The most bytes of a line, without its line break. The bounds of the fields keep to it.
pub(crate) const MOST_BYTES: usize = 16 * 1024;

/// Adds a record without a line break.
#[rustfmt::skip]
pub(crate) fn write(out: &mut Vec<u8>, fields: &Fields, link: Link<'_>) {
    let Fields { own, resource, .. } = fields;
    let mut object = Object::open(out);
    object.text("action", &fields.action);
    if let Some(actor) = &fields.actor {
        write_actor(object.key("actor"), actor);
    }
    object.number("call", fields.call);
    if let Some(step) = link.clock_step {
        print(object.key("clock_step_ms"), format_args!("{step}"));
    }
    object.number("count", link.count);
    object.text("dest", &fields.dest);
    object.text("dry_run", &fields.dry_run);
    if let Own::Gap { from, .. } = own {
        time(object.key("from"), *from);
    }
    object.number("generation", fields.generation);
    object.number("grpc", fields.grpc.map(u64::from));
    object.text("hash", &fields.hash);
    if let Some(Identity { bundle, not_after, serial }) = &fields.identity {
        let mut identity = Object::open(object.key("identity"));
        identity.text("bundle", bundle);
        time(identity.key("not_after"), *not_after);
        identity.text("serial", serial);
        identity.close();
    }
    if let Own::Gap { n, .. } = own {
        object.number("n", Some(*n));
    }
    object.text("name", &fields.name);
    match own {
        Own::Rotate { next } => string(object.key("next"), next),
        Own::Checkpoint { note } => string(object.key("note"), note),
        Own::Start(Some(old)) => write_old(object.key("old"), old),
        _ => {}
    }
    object.text("old_hash", &fields.old_hash);
    object.word("outcome", fields.outcome);
    if let Some(patient) = &fields.patient {
        let mut object = Object::open(object.key("patient"));
        quoted_hex(object.key("id"), &patient.hash);
        string(object.key("key"), &patient.key);
        object.close();
    }
    object.word("phase", fields.phase);
    object.text("policy", &fields.policy);
    quoted_hex(object.key("prev"), link.prev);
    object.text("purpose", &fields.purpose);
    object.text("reason", &fields.reason);
    if let Own::Prune(removed) = own {
        write_removed(object.key("removed"), removed);
    }
    object.text("request_id", &fields.request_id);
    if !resource.is_empty() {
        let mut object = Object::open(object.key("resource"));
        object.text("id", &resource.id);
        object.text("namespace", &resource.namespace);
        object.text("route", &resource.route);
        object.text("service", &resource.service);
        object.close();
    }
    object.text("result", &fields.result);
    if let Some(seal) = link.seal {
        let mut object = Object::open(object.key("seal"));
        object.number("index", Some(seal.index));
        quoted_hex(object.key("mac"), &seal.mac);
        object.close();
    }
    object.number("seq", Some(link.seq));
    object.text("source", &fields.source);
    if let Some(address) = fields.source_ip {
        print(object.key("source_ip"), format_args!("\"{address}\""));
    }
    object.number("status", fields.status.map(u64::from));
    string(object.key("stream"), link.stream);
    object.text("subject", &fields.subject);
    if let Some(tls) = &fields.tls {
        let mut object = Object::open(object.key("tls"));
        object.text("certificate", &tls.certificate);
        object.text("group", &tls.group);
        object.text("suite", &tls.suite);
        object.text("version", &tls.version);
        object.close();
    }
    if let Own::Gap { to, .. } = own {
        time(object.key("to"), *to);
    }
    object.text("trace", &fields.trace);
    time(object.key("ts"), link.time);
    object.word("type", fields.kind.map(|kind| kind.as_str()));
    object.number("v", Some(1));
    object.close();
}

fn write_actor(out: &mut Vec<u8>, actor: &Actor) {
    let mut object = Object::open(out);
    if actor.is_anonymous {
        object.key("anonymous").extend_from_slice(b"true");
    }
    object.text("azp", &actor.azp);
    object.text("iss", &actor.iss);
    object.text("spiffe", &actor.spiffe);
    object.text("sub", &actor.sub);
    object.text("via", &actor.via);
    object.close();
}

fn write_old(out: &mut Vec<u8>, old: &OldStream) {
    let mut object = Object::open(out);
    quoted_hex(object.key("head"), &old.head);
    object.number("size", Some(old.size));
    string(object.key("stream"), &old.stream);
    object.close();
}

fn write_removed(out: &mut Vec<u8>, removed: &Removed) {
    let mut object = Object::open(out);
    string(object.key("first"), &removed.first);
    if let Some(follows) = &removed.follows {
        write_old(object.key("follows"), follows);
    }
    quoted_hex(object.key("head"), &removed.old.head);
    string(object.key("last"), &removed.last);
    if let Some(latest) = removed.latest {
        time(object.key("latest"), latest);
    }
    let peaks = object.key("peaks");
    peaks.push(b'[');
    for (index, peak) in removed.peaks.iter().enumerate() {
        if index > 0 {
            peaks.push(b',');
        }
        quoted_hex(peaks, peak);
    }
    peaks.push(b']');
    object.number("segments", Some(removed.segments));
    object.number("size", Some(removed.old.size));
    string(object.key("stream"), &removed.old.stream);
    object.close();
}

/// An object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    last: &'static str,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, last: "" }
    }

    /// Writes a key; its value must follow.
    fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        debug_assert!(self.last < key, "{key} after {}", self.last);
        debug_assert!(!key.bytes().any(must_be_escaped));
        if !self.last.is_empty() {
            self.out.push(b',');
        }
        self.last = key;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn text<const MOST: usize>(&mut self, key: &'static str, text: &Bounded<MOST>) {
        if text.as_str().is_some() {
            text.write(self.key(key));
        }
    }

    fn word(&mut self, key: &'static str, word: Option<&'static str>) {
        if let Some(word) = word {
            string(self.key(key), word);
        }
    }

    fn number(&mut self, key: &'static str, number: Option<u64>) {
        if let Some(number) = number {
            print(self.key(key), format_args!("{number}"));
        }
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

fn quoted_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    hex(out, bytes);
    out.push(b'"');
}

fn time(out: &mut Vec<u8>, time: Timestamp) {
    print(out, format_args!("\"{time}\""));
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A vector takes all.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests;
