//! Rate limits: their resources, and those that a service counts.

mod reload;
mod resources;
mod service;
mod service_down;
mod stub;
