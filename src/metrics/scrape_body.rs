use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::expose::format::Format;
use super::expose::slots::Ticket;
use super::expose::text::Text;
use super::registry::Registry;

/// The body of a [`Scrape`](super::Scrape)'s answer: the text of all metrics. What has more than 128 KiB is written piece by piece as it is
/// sent.
///
/// A reader that takes more than 30 seconds may find that another scrape has its place: the body then ends with a [`ScrapeError`].
#[derive(Debug)]
pub struct ScrapeBody(Content);

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Pieces(Pieces),
}

#[derive(Debug)]
struct Pieces {
    registry: Registry,
    ticket: Ticket,
    text: Text,
    is_complete: bool,
}

impl ScrapeBody {
    pub(super) const fn whole(text: &'static str) -> Self {
        Self(Content::Whole(Bytes::from_static(text.as_bytes())))
    }

    /// Everything as it is now; `None` when too many scrapes are under way.
    pub(super) fn begin(registry: &Registry, format: Format) -> Option<Self> {
        let now = Instant::now();
        let ticket = registry.scrapes().begin(now, || registry.exposition(now))?;
        let mut pieces = Pieces {
            registry: registry.clone(),
            ticket,
            text: Text::new(format),
            is_complete: false,
        };
        // Where that is all, its length is known and stands in the head.
        pieces.write(SMALL).ok()?;
        Some(Self(Content::Pieces(pieces)))
    }
}

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = ScrapeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScrapeError>>> {
        let piece = match &mut self.0 {
            Content::Whole(text) => Ok(std::mem::take(text)),
            Content::Pieces(pieces) => pieces.next(),
        };
        Poll::Ready(match piece {
            Ok(piece) if piece.is_empty() => None,
            piece => Some(piece.map(Frame::data)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Whole(text) => text.is_empty(),
            Content::Pieces(pieces) => pieces.is_complete && pieces.text.len() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(text) => SizeHint::with_exact(text.len() as u64),
            Content::Pieces(Pieces {
                text,
                is_complete: true,
                ..
            }) => SizeHint::with_exact(text.len() as u64),
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}

impl Pieces {
    /// Nothing after the last.
    fn next(&mut self) -> Result<Bytes, ScrapeError> {
        self.write(PIECE)?;
        let piece = self.text.take();
        if self.is_complete {
            self.registry.scrapes().end(&self.ticket);
        }
        Ok(piece.into())
    }

    /// Writes until there are so many bytes to take, or all that there are.
    fn write(&mut self, enough: usize) -> Result<(), ScrapeError> {
        let Self { registry, text, .. } = self;
        while !self.is_complete && text.len() < enough {
            let is_more = registry.scrapes().go_on(&self.ticket, |exposition| {
                registry.write_next(exposition, text)
            });
            match is_more {
                Some(true) => {}
                Some(false) => {
                    text.end();
                    self.is_complete = true;
                }
                None => {
                    self.is_complete = true;
                    text.take();
                    return Err(ScrapeError(()));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.registry.scrapes().end(&self.ticket);
    }
}

/// A scrape took more than 30 seconds, and another one has taken its place.
#[derive(Debug)]
pub struct ScrapeError(());

impl fmt::Display for ScrapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the scrape took more than 30 seconds, and another one has taken its place")
    }
}

impl Error for ScrapeError {}

/// So many bytes are written at once, and no more above them than the lines of one histogram.
const SMALL: usize = 128 * 1024;
/// So many are written at a time after that.
const PIECE: usize = 32 * 1024;
