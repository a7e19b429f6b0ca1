//! The strict reader of a record.

use std::borrow::Cow;
use std::fmt;

use super::canonical::MOST_BYTES;
use super::fields::{OldStream, Removed, Seal};
use super::text::first_escaped;
use super::value::{Value, find};
use crate::audit::scalar::{Hash, Timestamp, hex_of, parse_hash, parse_timestamp};

/// A record that was read. Its line is in the canonical form, or reading it has failed.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    line: &'a str,
    fields: Vec<(&'a str, Value<'a>)>,
    kind: &'a str,
    prev: Hash,
    seq: u64,
    stream: &'a str,
    time: Timestamp,
}

/// Why a line is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    what: &'static str,
    /// The byte of the line where it was seen.
    at: usize,
}

impl<'a> Entry<'a> {
    /// Reads a line without its line break.
    ///
    /// # Errors
    /// It is no JSON object in the canonical form (the keys sorted, each once, no spaces, integers
    /// only, no escapes but those that are needed), is longer than 16 KiB, nests deeper than three
    /// objects or lists, or lacks a field that each record has.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let wrong = |what| Malformed { what, at: 0 };
        if line.len() > MOST_BYTES {
            return Err(wrong("it is longer than 16 KiB"));
        }
        let line = std::str::from_utf8(line).map_err(|error| Malformed {
            what: "it is not UTF-8",
            at: error.valid_up_to(),
        })?;
        let mut reader = Reader { line, at: 0 };
        let Value::Object(fields) = reader.value(0)? else {
            return Err(wrong("it is no object"));
        };
        if reader.at != line.len() {
            return Err(reader.wrong("something follows the object"));
        }
        let (mut version, mut seq, mut kind, mut stream) = (None, None, None, None);
        let (mut prev, mut time) = (None, None);
        for (name, value) in &fields {
            match (*name, value) {
                ("v", value) => version = value.number(),
                ("seq", value) => seq = value.number(),
                ("type", Value::Text(text)) => kind = Some(*text),
                ("stream", Value::Text(text)) => stream = Some(*text),
                ("prev", Value::Text(text)) => prev = parse_hash(text),
                ("ts", Value::Text(text)) => time = parse_timestamp(text),
                _ => {}
            }
        }
        if version != Some(1) {
            return Err(wrong("its field `v` is not 1"));
        }
        let seq = seq.ok_or_else(|| wrong("its field `seq` is no number"))?;
        let kind = kind.ok_or_else(|| wrong("its field `type` is no text"))?;
        let stream = stream.ok_or_else(|| wrong("its field `stream` is no text"))?;
        let prev = prev.ok_or_else(|| wrong("its field `prev` is no hash"))?;
        let time = time.ok_or_else(|| wrong("its field `ts` is no time in UTC"))?;
        Ok(Self {
            line,
            fields,
            kind,
            prev,
            seq,
            stream,
            time,
        })
    }

    /// The canonical form, which is the line itself.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.line
    }

    /// The type, as `access`.
    #[must_use]
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// The number in its stream, from 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The id of its stream.
    #[must_use]
    pub fn stream(&self) -> &'a str {
        self.stream
    }

    /// The value of a field. `a.b` is the field `b` of the object `a`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value<'a>> {
        match name.split_once('.') {
            None => find(&self.fields, name),
            Some((outer, inner)) => find(&self.fields, outer)?.field(inner),
        }
    }

    /// The text of a field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.field(name)?.text()
    }

    /// The number of a field.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.number()
    }

    pub(crate) fn prev(&self) -> &Hash {
        &self.prev
    }

    pub(crate) fn time(&self) -> Timestamp {
        self.time
    }

    /// The stream that a `start` names.
    pub(crate) fn old(&self) -> Option<OldStream> {
        old_stream(self.field("old")?)
    }

    /// Its seal, and the record as it was before it had it; `None` inside if that has another form.
    pub(crate) fn seal(&self) -> Option<Option<(Seal, String)>> {
        let value = self.field("seal")?;
        Some(self.unsealed(value))
    }

    fn unsealed(&self, value: &Value<'_>) -> Option<(Seal, String)> {
        let seal = Seal {
            index: value.field("index")?.number()?,
            mac: parse_hash(&value.field("mac")?.text()?)?,
        };
        // Nothing else has these bytes: in a text the quotes are escaped. `seq` always follows.
        let mac = hex_of(&seal.mac);
        let member = format!(r#""seal":{{"index":{},"mac":"{mac}"}},"#, seal.index);
        let unsealed = self.line.replacen(&member, "", 1);
        (unsealed.len() < self.line.len()).then_some((seal, unsealed))
    }

    /// What a `prune` has removed.
    pub(crate) fn removed(&self) -> Option<Removed> {
        let value = self.field("removed")?;
        let text = |name| Some(value.field(name)?.text()?.into_owned());
        let Value::List(peaks) = value.field("peaks")? else {
            return None;
        };
        let hashes = peaks.iter().map(|peak| parse_hash(&peak.text()?));
        Some(Removed {
            first: text("first")?,
            last: text("last")?,
            latest: text("latest").and_then(|text| parse_timestamp(&text)),
            segments: value.field("segments")?.number()?,
            follows: value.field("follows").and_then(old_stream),
            old: old_stream(value)?,
            peaks: hashes.collect::<Option<_>>()?,
        })
    }
}

fn old_stream(value: &Value<'_>) -> Option<OldStream> {
    Some(OldStream {
        stream: value.field("stream")?.text()?.into_owned(),
        size: value.field("size")?.number()?,
        head: parse_hash(&value.field("head")?.text()?)?,
    })
}

struct Reader<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn takes(&mut self, byte: u8) -> bool {
        let takes = self.peek() == Some(byte);
        self.at += usize::from(takes);
        takes
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        match self.peek() {
            Some(b'{' | b'[') if depth == MOST_DEPTH => Err(self.wrong("it nests too deep")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        self.at += 1;
        let mut fields = Vec::<(&str, _)>::with_capacity(if depth == 0 { 32 } else { 5 });
        if self.takes(b'}') {
            return Ok(Value::Object(fields));
        }
        loop {
            let key = self.string()?;
            if let Some((last, _)) = fields.last()
                && *last >= key
            {
                return Err(self.wrong(match *last == key {
                    true => "a key is there twice",
                    false => "the keys are not in the order of their bytes",
                }));
            }
            if !self.takes(b':') {
                return Err(self.wrong("there is no colon right after a key"));
            }
            // Most values are texts, and need not pass through the larger result.
            if self.peek() == Some(b'"') {
                fields.push((key, Value::Text(self.string()?)));
            } else {
                fields.push((key, self.value(depth + 1)?));
            }
            if self.takes(b'}') {
                return Ok(Value::Object(fields));
            }
            if !self.takes(b',') {
                return Err(self.wrong("there is no comma right after a value"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        self.at += 1;
        let mut values = Vec::new();
        if self.takes(b']') {
            return Ok(Value::List(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Value::List(values));
            }
            if !self.takes(b',') {
                return Err(self.wrong("there is no comma right after a value"));
            }
        }
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        if !self.takes(b'"') {
            return Err(self.wrong("there is no text"));
        }
        let start = self.at;
        loop {
            let rest = self.line.as_bytes().get(self.at..).unwrap_or_default();
            let plain = first_escaped(rest);
            self.at += plain.unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    let text = self.line.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.wrong("a control character is not escaped")),
                None => return Err(self.wrong("a text has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let rest = self.line.as_bytes().get(self.at + 1..).unwrap_or_default();
        self.at += match rest {
            [b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            // Those that have no short escape.
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..]
            | [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return Err(self.wrong("an escape is not needed, or not in its shortest form")),
        };
        Ok(())
    }

    fn number(&mut self) -> Result<Value<'a>, Malformed> {
        let start = self.at;
        self.takes(b'-');
        let rest = self.line.as_bytes().get(self.at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        let text = self.line.get(start..self.at).unwrap_or_default();
        let begins_with_zero = rest.first() == Some(&b'0');
        if digits == 0 || digits > 20 || begins_with_zero && text != "0" {
            return Err(self.wrong("a number is not in its shortest form, or too large"));
        }
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            return Err(self.wrong("a number is no integer"));
        }
        let value = match text.starts_with('-') {
            true => text.parse().map(Value::Negative),
            false => text.parse().map(Value::Number),
        };
        value.map_err(|_| self.wrong("a number is too large"))
    }

    fn word(&mut self) -> Result<Value<'a>, Malformed> {
        let rest = self.line.get(self.at..).unwrap_or_default();
        for (word, value) in [("true", true), ("false", false)] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(Value::Bool(value));
            }
        }
        Err(self.wrong("there is no value"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

const MOST_DEPTH: usize = 3;

#[cfg(test)]
mod tests;
