mod acceptor;
mod matrix;
mod support;
