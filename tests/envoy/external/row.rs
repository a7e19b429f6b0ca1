//! The rows of the tables, and short words for their answers.

use super::authorizer::Answer;
use crate::stub::Call;
use crate::stub::messages::{
    Allowed, CheckResponse, Denied, Header, HeaderOption, Http, HttpStatus, Pair, Status,
};

/// One request under one setting, and what the server answers.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) setting: &'static str,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
    /// The difference that is ours on purpose.
    pub(crate) listed: Option<Listed>,
}

/// A difference, and what ours comes to.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) why: &'static str,
    pub(crate) status: u16,
    /// Whether the application gets the request.
    pub(crate) reaches: bool,
}

pub(crate) fn row(name: &'static str, setting: &'static str, call: Call, answer: Answer) -> Row {
    Row {
        name,
        setting,
        call,
        answer,
        listed: None,
    }
}

impl Row {
    /// Ours refuses with this status.
    pub(crate) fn refused(mut self, status: u16, why: &'static str) -> Self {
        self.listed = Some(Listed {
            why,
            status,
            reaches: false,
        });
        self
    }

    /// Ours lets it pass, but something is another.
    pub(crate) fn passed(mut self, why: &'static str) -> Self {
        self.listed = Some(Listed {
            why,
            status: 200,
            reaches: true,
        });
        self
    }
}

pub(crate) fn http(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &'static str,
) -> Answer {
    Answer::Http(status, headers.to_vec(), body)
}

pub(crate) fn check(code: i32, http: Option<Http>) -> Answer {
    let status = Some(Status {
        code,
        message: "said by the stub".to_owned(),
    });
    Answer::Check(Box::new(CheckResponse {
        status,
        http,
        dynamic_metadata: None,
    }))
}

pub(crate) fn ok(allowed: Allowed) -> Answer {
    check(0, Some(Http::Ok(allowed)))
}

pub(crate) fn denied(code: i32, headers: Vec<HeaderOption>, body: &str) -> Answer {
    check(7, Some(Http::Denied(refusal(code, headers, body))))
}

pub(crate) fn error(code: i32, headers: Vec<HeaderOption>, body: &str) -> Answer {
    check(13, Some(Http::Error(refusal(code, headers, body))))
}

pub(crate) fn refusal(code: i32, headers: Vec<HeaderOption>, body: &str) -> Denied {
    let status = (code != 0).then_some(HttpStatus { code });
    Denied {
        status,
        headers,
        body: body.to_owned(),
    }
}

/// A header as most servers write it.
pub(crate) fn header(key: &str, value: &str) -> HeaderOption {
    HeaderOption {
        header: Some(Header {
            key: key.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        ..HeaderOption::default()
    }
}

pub(crate) fn append(key: &str, value: &str, append: bool) -> HeaderOption {
    HeaderOption {
        append: Some(append),
        ..header(key, value)
    }
}

pub(crate) fn action(key: &str, value: &str, action: i32) -> HeaderOption {
    HeaderOption {
        append_action: action,
        ..header(key, value)
    }
}

pub(crate) fn set(headers: impl IntoIterator<Item = HeaderOption>) -> Allowed {
    Allowed {
        headers: headers.into_iter().collect(),
        ..Allowed::default()
    }
}

pub(crate) fn remove(names: &[&str]) -> Allowed {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Allowed {
        headers_to_remove: names,
        ..Allowed::default()
    }
}

pub(crate) fn reply(headers: impl IntoIterator<Item = HeaderOption>) -> Allowed {
    Allowed {
        response_headers_to_add: headers.into_iter().collect(),
        ..Allowed::default()
    }
}

pub(crate) fn query(set: &[(&str, &str)], remove: &[&str]) -> Allowed {
    let pair = |(key, value): &(&str, &str)| Pair {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    Allowed {
        query_parameters_to_set: set.iter().map(pair).collect(),
        query_parameters_to_remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        ..Allowed::default()
    }
}

/// Why ours refuses some answers of the provider.
pub(crate) const FORBIDDEN: &str = "what the provider may not change counts as its error";
pub(crate) const NONE: &str =
    "what is no header and no status is never sent: an error, or a refusal without it";
pub(crate) const GATE: &str = "the gate removes what a caller may not say";
