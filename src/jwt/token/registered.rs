//! Finds the registered claims in one pass over the payload.

use serde_json::{Map, Value};

use crate::jwt::Refusal;

/// The registered claims of a payload (RFC 7519 §4.1), with the types that they must have. All are
/// found in one pass, as each look for a claim compares its name with those of others.
pub(super) struct Registered<'c> {
    pub(super) issuer: Option<&'c str>,
    pub(super) subject: Option<&'c str>,
    pub(super) issued_at: Option<f64>,
    pub(super) not_before: Option<f64>,
    pub(super) expiry: Option<f64>,
    /// A text, or a list of texts.
    pub(super) audience: Option<&'c Value>,
}

impl<'c> Registered<'c> {
    /// `iss sub jti` strings, `iat nbf exp` numbers of at least 0, `aud` a string or a list of
    /// strings.
    pub(super) fn read(claims: &'c Map<String, Value>) -> Result<Self, Refusal> {
        let [
            mut iss,
            mut sub,
            mut jti,
            mut iat,
            mut nbf,
            mut exp,
            mut aud,
        ] = [None; 7];
        for (name, value) in claims {
            match name.as_str() {
                "iss" => iss = Some(value),
                "sub" => sub = Some(value),
                "jti" => jti = Some(value),
                "iat" => iat = Some(value),
                "nbf" => nbf = Some(value),
                "exp" => exp = Some(value),
                "aud" => aud = Some(value),
                _ => {}
            }
        }
        let issuer = text("iss", iss)?;
        let subject = text("sub", sub)?;
        text("jti", jti)?;
        let registered = Self {
            issuer,
            subject,
            issued_at: number("iat", iat)?,
            not_before: number("nbf", nbf)?,
            expiry: number("exp", exp)?,
            audience: aud,
        };
        match aud {
            None | Some(Value::String(_)) => {}
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => {}
            Some(_) => return Err(Refusal::NotStringList),
        }
        if subject.is_some_and(|subject| subject.contains(char::is_control)) {
            return Err(Refusal::ControlCharacters);
        }
        Ok(registered)
    }
}

fn text<'c>(claim: &'static str, value: Option<&'c Value>) -> Result<Option<&'c str>, Refusal> {
    match value.map(Value::as_str) {
        None => Ok(None),
        Some(Some(text)) => Ok(Some(text)),
        Some(None) => Err(Refusal::NotString(claim)),
    }
}

fn number(claim: &'static str, value: Option<&Value>) -> Result<Option<f64>, Refusal> {
    const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
    match value.map(Value::as_f64) {
        None => Ok(None),
        Some(None) => Err(Refusal::NotInteger(claim)),
        Some(Some(number)) if !(0.0..TWO_TO_64).contains(&number) => {
            Err(Refusal::NotPositive(claim))
        }
        Some(Some(number)) => Ok(Some(number)),
    }
}
