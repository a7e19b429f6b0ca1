//! A connection after its handshake, and when it must end.
//!
//! ```text
//! inbound        a connection that a listener accepted
//!   http_timeouts  how long an HTTP client may take
//!     head       how far a head of HTTP/1 has come
//!     frames     how far a frame of HTTP/2 has come
//!   socket       TCP, or a Unix socket
//!   silence      how long a client may say nothing
//!   stats        counters, read for metrics
//!   stream       TLS of either direction, or plaintext
//!   deadline     cuts a connection that cannot be asked to finish
//!     lifetime   how long a connection may go on
//!       close    why a connection should end, and how soon
//!       facts    what its handshake used
//! alarm          time limits without a new timer for each wait
//! when_woken     waits for what is rare at no cost
//! ```

pub(super) mod alarm;
pub(super) mod close;
pub(super) mod deadline;
pub(super) mod facts;
mod frames;
mod head;
pub(super) mod http_timeouts;
pub(super) mod inbound;
pub(super) mod lifetime;
pub(super) mod silence;
pub(super) mod socket;
pub(super) mod stats;
pub(super) mod stream;
pub(super) mod when_woken;
