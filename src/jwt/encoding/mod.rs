//! How the texts of a token are read: base64url and JSON, leniently or by the letter.

mod base64url;
mod reading;

pub(crate) use reading::Reading;

pub(crate) use crate::policy::json;
