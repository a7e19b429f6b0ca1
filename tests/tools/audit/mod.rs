//! `tower-mesh audit`: what it says of real trails, whole ones and each kind of tampered ones.

mod faults;
mod kept;
mod keys;
mod proofs;
mod prune;
mod reading;
mod sealing;
