mod acceptor;
mod files;
mod lifetime;
mod listener;
mod matrix;
mod modes;
mod rotation;
mod support;
