//! Reads the whole body of a response as bytes, text or JSON.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::response_body::{LIMIT, ResponseBody};

impl ResponseBody {
    /// Limits how many bytes [`bytes`](Self::bytes), [`text`](Self::text) and [`json`](Self::json)
    /// read; 2 MiB by default. Reading frame by frame has no limit.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// When the body is larger than [`limit`](Self::limit), or the connection fails before its end.
    pub async fn bytes(self) -> Result<Bytes, BodyError> {
        let limit = self.limit;
        // An answer to HEAD announces a length but has no body.
        if self.is_end_stream() {
            return Ok(Bytes::new());
        }
        let announced = usize::try_from(self.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > limit {
            return Err(BodyError(Kind::TooLarge(limit)));
        }
        let mut body = pin!(self);
        let mut next = async || loop {
            let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| BodyError(Kind::Broken(error)))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        };
        let fits = |length: usize, more: &Bytes| match length.checked_add(more.len()) {
            Some(length) if length <= limit => Ok(()),
            _ => Err(BodyError(Kind::TooLarge(limit))),
        };
        let Some(first) = next().await? else {
            return Ok(Bytes::new());
        };
        fits(0, &first)?;
        // Most bodies are one piece, which is not copied.
        let Some(second) = next().await? else {
            return Ok(first);
        };
        // A server need not send what it announces, so no more than the default limit is allocated
        // in advance.
        let announced = announced.min(LIMIT);
        let mut whole =
            BytesMut::with_capacity(announced.max(first.len() + second.len()).min(limit));
        whole.extend_from_slice(&first);
        let mut piece = Some(second);
        while let Some(data) = piece {
            fits(whole.len(), &data)?;
            whole.extend_from_slice(&data);
            piece = next().await?;
        }
        Ok(whole.freeze())
    }

    /// Reads the whole body as UTF-8 and ignores the charset in its content type.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and when the body is not UTF-8.
    pub async fn text(self) -> Result<String, BodyError> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into())
            .map_err(|error| BodyError(Kind::NotUtf8(error.utf8_error().valid_up_to())))
    }

    /// Reads the whole body as JSON and ignores its content type.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and when the body is not JSON or does not fit `T`. The error
    /// gives the position. It repeats nothing from the body, which may hold a patient's data.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, BodyError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            BodyError(Kind::Json {
                category: error.classify(),
                line: error.line(),
                column: error.column(),
            })
        })
    }
}

/// Why the body of a response could not be read. It repeats nothing from the body.
#[derive(Debug)]
pub struct BodyError(Kind);

#[derive(Debug)]
enum Kind {
    /// The body has more bytes than this limit.
    TooLarge(usize),
    Broken(hyper::Error),
    /// The byte offset of the first invalid sequence.
    NotUtf8(usize),
    Json {
        category: Category,
        line: usize,
        column: usize,
    },
}

impl BodyError {
    /// Whether the body is larger than [`ResponseBody::limit`] allows.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Kind::TooLarge(_))
    }

    /// Whether the body is complete, but is not UTF-8 or not the expected JSON.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.0, Kind::NotUtf8(_) | Kind::Json { .. })
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::TooLarge(limit) => write!(
                f,
                "the body of the response is larger than the limit of {limit} bytes: \
                 see ResponseBody::limit"
            ),
            Kind::Broken(_) => f.write_str("the body of the response broke off"),
            Kind::NotUtf8(at) => {
                write!(f, "the body of the response is not UTF-8 from byte {at} on")
            }
            Kind::Json {
                category,
                line,
                column,
            } => {
                let what = match category {
                    Category::Data => "is JSON, but not of the form that is expected",
                    Category::Eof => "is JSON that ends too early",
                    Category::Io | Category::Syntax => "is not JSON",
                };
                write!(
                    f,
                    "the body of the response {what}: line {line}, column {column}"
                )
            }
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Broken(error) => Some(error),
            Kind::TooLarge(_) | Kind::NotUtf8(_) | Kind::Json { .. } => None,
        }
    }
}
