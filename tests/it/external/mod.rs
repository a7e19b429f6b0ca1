//! Providers of CUSTOM policies over the network, asked by a composed mesh over real sockets.

mod answers;
mod bodies;
mod faults;
mod grpc;
mod http;
mod mutations;
mod refusals;
mod reload;
mod support;
mod warm;
