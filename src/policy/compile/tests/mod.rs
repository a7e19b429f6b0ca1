mod fields;
mod notation;
mod world;
