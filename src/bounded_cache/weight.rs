//! How much heap memory values take: an upper bound.

use std::mem::size_of;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// A value that knows how many heap bytes it holds.
pub(crate) trait Weigh {
    /// The bytes, never less than they really are.
    fn weight(&self) -> usize;
}

/// What an allocation takes in addition to its bytes: the allocator's header and rounding.
pub(crate) const CHUNK: usize = 32;
/// The bytes of a `BTreeMap` node: eleven members, twelve children, a parent and two counts.
const NODE: usize = MEMBERS * (size_of::<String>() + size_of::<Value>())
    + (MEMBERS + 3) * size_of::<usize>()
    + CHUNK;
/// The most members of a node, and the fewest of any node but the root.
const MEMBERS: usize = 11;
const FEWEST: usize = 5;

impl Weigh for Map<String, Value> {
    fn weight(&self) -> usize {
        let nodes = match self.len() {
            0 => 0,
            1..=MEMBERS => 1,
            more => 1 + more / FEWEST,
        };
        let members = self.iter();
        members.fold(nodes * NODE, |sum, (name, value)| {
            sum + bytes(name.capacity()) + value.weight()
        })
    }
}

impl Weigh for Value {
    fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => bytes(text.capacity()),
            Self::Array(list) => {
                let own = bytes(list.capacity() * size_of::<Self>());
                list.iter().fold(own, |sum, value| sum + value.weight())
            }
            Self::Object(members) => members.weight(),
        }
    }
}

impl Weigh for [(HeaderName, HeaderValue)] {
    fn weight(&self) -> usize {
        let shared = 4 * size_of::<usize>();
        self.iter().fold(CHUNK, |sum, (name, value)| {
            let texts = bytes(name.as_str().len()) + bytes(value.len());
            sum + size_of::<(HeaderName, HeaderValue)>() + texts + shared
        })
    }
}

/// The bytes of an allocation of this size; zero bytes need none.
pub(crate) fn bytes(count: usize) -> usize {
    if count == 0 { 0 } else { count + CHUNK }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;

    use super::*;

    /// Rule J-28: what is counted is what is held, and not much more.
    #[test]
    fn claims_weigh_what_they_take() {
        let fill = |piece: &str| piece.repeat(250).trim_end_matches(',').to_owned();
        let members = |count: usize, value: &str| {
            let list: Vec<_> = (0..count)
                .map(|n| format!(r#""m{n:03}":{value}"#))
                .collect();
            format!("{{{}}}", list.join(","))
        };
        let deep = |open: &str, end: &str| format!("{}0{}", open.repeat(30), end.repeat(30));
        let lists = [
            "0,",
            "[],",
            "[0],",
            r#""","#,
            r#""a","#,
            "{},",
            r#"{"":0},"#,
        ];
        let mut texts: Vec<_> = lists
            .iter()
            .map(|piece| format!("[{}]", fill(piece)))
            .collect();
        texts.extend([1, 11, 12, 17, 60, 256].map(|count| members(count, "0")));
        texts.extend([12, 250].map(|count| members(count, r#"{"a":["b"]}"#)));
        texts.extend([
            deep("[", "]"),
            deep(r#"{"a":"#, "}"),
            format!("[{}]", fill(&(deep("[", "]") + ","))),
        ]);
        for text in texts {
            let text = format!(r#"{{"iss":"i","x":{text}}}"#);
            let mut claims = None;
            let held = measure(|| claims = crate::policy::json::object(text.as_bytes(), 40));
            let held = usize::try_from(held.bytes_current).unwrap();
            let weight = claims.unwrap().weight();
            let shown = text.get(..40).unwrap_or(&text);
            assert!(weight >= held, "{shown}: {weight} of {held}");
            assert!(weight <= 4 * held, "{shown}: {weight} of {held}");
        }
    }
}
