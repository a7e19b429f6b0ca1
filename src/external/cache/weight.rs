//! How much memory decisions take, and decisions that hold no more than they need.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::bounded_cache::weight::{Weigh, bytes};
use crate::external::authorizer::{Authorization, Changes, Denial, HeaderChange, QueryChange};

impl Weigh for Authorization {
    fn weight(&self) -> usize {
        match self {
            Self::Allowed(changes) => {
                let headers = changes.header_changes().iter();
                let headers = headers.fold(0, |sum, change| {
                    let value = match change {
                        HeaderChange::Set(_, value)
                        | HeaderChange::Append(_, value)
                        | HeaderChange::AppendIfPresent(_, value) => value.len(),
                        HeaderChange::Remove(_) => 0,
                    };
                    let texts = bytes(change.name().as_str().len()) + bytes(value);
                    sum + size_of::<HeaderChange>() + texts + SHARED
                });
                let query = changes.query_changes().iter();
                let query = query.fold(0, |sum, change| {
                    let texts = match change {
                        QueryChange::Set(name, value) => {
                            bytes(name.capacity()) + bytes(value.capacity())
                        }
                        QueryChange::Remove(name) => bytes(name.capacity()),
                    };
                    sum + size_of::<QueryChange>() + texts
                });
                let response = changes.response_headers().iter();
                let response = response.fold(0, |sum, (name, value, placement)| {
                    let texts = bytes(name.as_str().len()) + bytes(value.len());
                    sum + size_of_val(&(name, value, placement)) + texts + 2 * SHARED
                });
                headers + query + response + changes.facts().weight() + 2 * bytes(1)
            }
            Self::Denied(denial) => {
                denial.headers().weight() + bytes(denial.body_bytes().len()) + SHARED
            }
        }
    }
}

/// The counts of shared bytes.
const SHARED: usize = 64;

/// The same decision, without the buffers in which it came: a header's value is a piece of the
/// whole answer, and would keep all of it.
pub(super) fn compact(decision: &Authorization) -> Authorization {
    match decision {
        Authorization::Allowed(changes) => {
            let mut own = Changes::new();
            for change in changes.header_changes() {
                own = own.change_header(match change {
                    HeaderChange::Set(name, value) => HeaderChange::Set(key(name), copy(value)),
                    HeaderChange::Append(name, value) => {
                        HeaderChange::Append(key(name), copy(value))
                    }
                    HeaderChange::AppendIfPresent(name, value) => {
                        HeaderChange::AppendIfPresent(key(name), copy(value))
                    }
                    HeaderChange::Remove(name) => HeaderChange::Remove(key(name)),
                });
            }
            for (name, value, placement) in changes.response_headers() {
                own = own.place_response_header(key(name), copy(value), *placement);
            }
            for change in changes.query_changes() {
                own = match change {
                    QueryChange::Set(name, value) => own.set_query(&**name, &**value),
                    QueryChange::Remove(name) => own.remove_query(&**name),
                };
            }
            for (name, value) in changes.facts() {
                own = own.metadata(name, value.clone());
            }
            own.into()
        }
        Authorization::Denied(denial) => {
            let body = Bytes::copy_from_slice(denial.body_bytes());
            let mut own = Denial::new(denial.status()).body(body);
            for (name, value) in denial.headers() {
                own = own.header(key(name), copy(value));
            }
            own.into()
        }
    }
}

fn key(name: &HeaderName) -> HeaderName {
    HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone())
}

fn copy(value: &HeaderValue) -> HeaderValue {
    match HeaderValue::from_bytes(value.as_bytes()) {
        Ok(mut copy) => {
            copy.set_sensitive(value.is_sensitive());
            copy
        }
        Err(_) => value.clone(),
    }
}
