//! Connections: handshakes, modes, lifetimes and rotation.

mod acceptor;
mod clock;
mod danger;
mod lifetime;
mod listener;
mod living;
mod matrix;
mod modes;
mod own_tls;
mod rotation;
mod served;
