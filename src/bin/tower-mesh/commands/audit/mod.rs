//! `tower-mesh audit`: verifies, shows and prunes an audit trail, and makes the keys that sign it.

mod check;
mod command;
mod files;
mod key;
mod prove;
mod prune;
mod pseudonym;
mod report;
mod sealing;
mod show;
mod time;
mod verify;

pub(crate) use command::Audit;
