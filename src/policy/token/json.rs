//! JSON without tricks: an object, no member twice at any depth, bounded depth, width and size
//! (rules J-12, J-14, J-46).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Members that one object may have.
const MAX_MEMBERS: usize = 256;

/// Values of a text, whatever holds them: one takes up to a hundred times its bytes (rule R-28).
/// More than the longest token can hold.
const MAX_VALUES: usize = 10_000;

/// Parses one object; `None` when the text is anything else. `depth` counts nested objects and
/// lists, the outermost included.
pub(crate) fn object(text: &[u8], depth: usize) -> Option<Map<String, Value>> {
    // Checked as a whole, which is faster than text by text.
    let text = std::str::from_utf8(text).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = Cell::new(MAX_VALUES);
    let strict = Strict {
        depth,
        values: &values,
    };
    let value = strict.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Strict<'v> {
    depth: usize,
    /// How many more there may be.
    values: &'v Cell<usize>,
}

impl Strict<'_> {
    fn inside<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(E::custom("nested too deep")),
        }
    }

    fn count<E: Error>(self) -> Result<(), E> {
        match self.values.get().checked_sub(1) {
            Some(left) => {
                self.values.set(left);
                Ok(())
            }
            None => Err(E::custom("too many values")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

/// Scalars are taken as they are.
macro_rules! scalars {
    ($($visit:ident($scalar:ty)),*) => {$(
        fn $visit<E>(self, value: $scalar) -> Result<Value, E> {
            Ok(value.into())
        }
    )*};
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    scalars!(
        visit_bool(bool),
        visit_i64(i64),
        visit_u64(u64),
        visit_str(&str),
        visit_string(String)
    );

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(inside)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            let value = members.next_value_seed(inside)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_must_be_unique_at_any_depth() {
        assert!(object(br#"{"a":1,"b":{"a":1}}"#, 4).is_some());
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert!(object(twice.as_bytes(), 8).is_none(), "{twice}");
        }
    }

    #[test]
    fn depth_and_width_are_bounded() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(object(nested(32).as_bytes(), 32).is_some());
        assert!(object(nested(33).as_bytes(), 32).is_none());
        assert!(object(nested(100_000).as_bytes(), 32).is_none());
        let wide = |members: usize| {
            let members: Vec<_> = (0..members).map(|n| format!(r#""{n}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(object(wide(256).as_bytes(), 2).is_some());
        assert!(object(wide(257).as_bytes(), 2).is_none());
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        // The object and its list are values, too.
        for (inner, count, good) in [
            ("0", 9_998, true),
            ("0", 9_999, false),
            ("[0]", 4_999, true),
            ("[0]", 5_000, false),
        ] {
            let list = vec![inner; count].join(",");
            let parsed = object(format!(r#"{{"a":[{list}]}}"#).as_bytes(), 4);
            assert_eq!(parsed.is_some(), good, "{count} of {inner}");
        }
    }

    #[test]
    fn anything_but_one_plain_object_is_refused() {
        for bad in [
            &b""[..],
            b"[]",
            b"1",
            b"{} {}",
            b"{}x",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
            br#"{"a":1e999}"#,
            br#"{"a":NaN}"#,
            br#"{"a":1,}"#,
        ] {
            assert!(object(bad, 8).is_none(), "{bad:?}");
        }
    }
}
