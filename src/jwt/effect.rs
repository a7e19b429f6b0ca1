//! The headers that a good token gives the application.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// A header that receives a claim.
#[derive(Clone, Debug)]
pub(crate) struct ClaimHeader {
    pub(crate) header: HeaderName,
    /// The names of the claim and of the objects around it, from the payload inwards.
    pub(crate) path: Vec<Box<str>>,
}

impl ClaimHeader {
    /// The header's value; `None` when the claim is absent, null, empty, or invalid as a header
    /// value (rule J-27).
    pub(crate) fn value(&self, claims: &Map<String, Value>) -> Option<HeaderValue> {
        let (last, objects) = self.path.split_last()?;
        let mut object = claims;
        for name in objects {
            object = object.get(name.as_ref())?.as_object()?;
        }
        let text = match object.get(last.as_ref())? {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number_text(number.as_f64()?),
            list_or_object => STANDARD.encode(list_or_object.to_string()),
        };
        if text.is_empty() {
            return None;
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

/// Prints a number as Envoy does, which keeps doubles: whole numbers of 0 and above as integers,
/// others with six decimals.
fn number_text(number: f64) -> String {
    const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
    if number.fract() == 0.0 && (0.0..TWO_TO_64).contains(&number) {
        format!("{number:.0}")
    } else {
        format!("{number:.6}")
    }
}
