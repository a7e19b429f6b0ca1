//! What is told about policies that load.

mod agreement;
mod clinic_2018;
mod command;
mod fixtures;
mod gate;
mod laws;
mod output;
mod silence;
mod token_rules;
