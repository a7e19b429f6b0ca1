//! How requests, servers and processes end, and what the trail says of it.

mod kills;
mod shutdown;
mod stops;
