//! What values take on the heap: never less than they do, whatever they hold.

use std::mem::size_of;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// A value that knows how much of the heap it holds, in bytes.
pub(crate) trait Weigh {
    /// At least as much as it really is.
    fn weight(&self) -> usize;
}

/// What an allocation takes beside its bytes: the allocator's own, and what it rounds up by.
pub(crate) const CHUNK: usize = 32;
/// A node of a `BTreeMap`: eleven members, as many children and one, a parent and two counts.
const NODE: usize = MEMBERS * (size_of::<String>() + size_of::<Value>())
    + (MEMBERS + 3) * size_of::<usize>()
    + CHUNK;
/// Members that a node has at most, and what every node but the root has at least.
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

/// So many bytes in an allocation of their own; none need none.
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
