//! Providers of CUSTOM policies over the network, asked by a composed mesh over real sockets.

mod bodies;
mod faults;
mod grpc;
mod http;
mod messages;
mod mutations;
mod reload;
mod support;
