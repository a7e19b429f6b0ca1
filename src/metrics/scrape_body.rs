use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::expose::format::Format;
use super::expose::slots::Ticket;
use super::expose::text::Text;
use super::registry::Registry;

/// The body of a [`Scrape`](super::Scrape)'s answer: the text of all metrics. A text of more than
/// 128 KiB is written piece by piece while it is sent, and between two pieces other tasks have
/// their turn.
///
/// If a reader takes more than 30 seconds, another scrape may take its slot. The body then ends
/// with a [`ScrapeError`].
#[derive(Debug)]
pub struct ScrapeBody {
    text: Text,
    is_complete: bool,
    /// Whether other tasks have had their turn since the last piece.
    is_turn: bool,
    /// What else is to be written; holds the scrape's slot until the last piece is taken.
    scrape: Option<Scraping>,
}

#[derive(Debug)]
struct Scraping {
    registry: Registry,
    ticket: Ticket,
}

impl ScrapeBody {
    pub(super) fn whole(text: &str) -> Self {
        Self {
            text: Text::from(text),
            is_complete: true,
            is_turn: false,
            scrape: None,
        }
    }

    /// All metrics as they are now; `None` if too many scrapes are running.
    pub(super) fn begin(registry: &Registry, format: Format) -> Option<Self> {
        let now = Instant::now();
        let ticket = registry.scrapes().begin(now, || registry.exposition(now))?;
        let mut body = Self {
            text: Text::new(format),
            is_complete: false,
            is_turn: false,
            scrape: Some(Scraping {
                registry: registry.clone(),
                ticket,
            }),
        };
        // If this is all of the text, its length is known and goes into the head.
        body.write(SMALL).ok()?;
        Some(body)
    }

    /// Writes until there are this many bytes to take, or all of them, or until it took enough work.
    fn write(&mut self, enough: usize) -> Result<(), ScrapeError> {
        let Self { text, .. } = self;
        let Some(Scraping { registry, ticket }) = &self.scrape else {
            return Ok(());
        };
        let mut until = None;
        while !self.is_complete && text.len() < enough {
            let step = registry.scrapes().resume(ticket, |exposition| {
                let until = *until.get_or_insert_with(|| exposition.worked() + SERIES);
                let is_more = registry.write_next(exposition, text);
                (is_more, exposition.worked() >= until)
            });
            let Some((is_more, was_enough)) = step else {
                self.is_complete = true;
                text.take();
                return Err(ScrapeError(()));
            };
            self.is_complete = !is_more;
            if self.is_complete {
                text.end();
            }
            if was_enough {
                break;
            }
        }
        Ok(())
    }
}

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = ScrapeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScrapeError>>> {
        let is_short = |body: &Self| !body.is_complete && body.text.len() < PIECE;
        if is_short(&self)
            && mem::take(&mut self.is_turn)
            && let Err(error) = self.write(PIECE)
        {
            return Poll::Ready(Some(Err(error)));
        }
        if is_short(&self) {
            self.is_turn = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.is_complete {
            self.scrape = None;
        }
        let piece = self.text.take();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete && self.text.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_complete {
            SizeHint::with_exact(self.text.len() as u64)
        } else {
            SizeHint::default()
        }
    }
}

impl Drop for Scraping {
    fn drop(&mut self) {
        self.registry.scrapes().end(&self.ticket);
    }
}

/// A scrape took more than 30 seconds, and another scrape took its slot.
#[derive(Debug)]
pub struct ScrapeError(());

impl fmt::Display for ScrapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the scrape took more than 30 seconds, and another one has taken its place")
    }
}

impl Error for ScrapeError {}

/// The bytes that are written at once, plus at most the lines of one histogram.
const SMALL: usize = 128 * 1024;
/// The bytes of each piece after that.
const PIECE: usize = 32 * 1024;
/// The series that are handled at once, because those whose labels are changed are collected before
/// the first byte of them: a few milliseconds at most.
const SERIES: usize = 512;
