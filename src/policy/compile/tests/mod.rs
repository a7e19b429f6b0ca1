mod any_text;
mod authorization;
mod fields;
mod legacy;
mod mtls;
mod notation;
mod tokens;
mod world;
