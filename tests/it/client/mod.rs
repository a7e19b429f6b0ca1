//! Calls: what the client sends, resends, refuses and waits for.

mod calls;
mod carried;
mod endpoints;
mod errors;
mod external_hosts;
mod hostile;
mod names;
mod pool;
mod requests;
mod resend;
mod timeouts;
