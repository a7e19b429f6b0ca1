mod acceptor;
mod files;
mod matrix;
mod modes;
mod rotation;
mod support;
