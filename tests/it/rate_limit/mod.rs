//! Rate limits: their resources, those that this process counts, and those that a service counts.

mod local;
mod metadata;
mod reload;
mod resources;
mod service;
mod service_down;
mod stub;
