//! Connections that carry no HTTP.
//!
//! ```text
//! serve         accepts connections, until the shutdown
//!   accepted    one of them: first byte, policy, handler, end
//!     judge     what policy says of it
//!     refused   counts what does not get in
//! connect       opens a connection to an upstream
//!
//! stream        the connection, as the application has it
//!   interrupt   cuts it in whatever its user does
//! watch         when it must end: idle, too old, no longer good; and its reports
//!   record      its bytes, its metrics, its log line
//! ```

mod accepted;
mod connect;
mod interrupt;
mod judge;
mod record;
mod refused;
mod serve;
mod stream;
mod watch;

pub use stream::TcpConnection;
