//! The configuration of a running mesh: how it is loaded, what it compiles to, and how a change is
//! published.
//!
//! ```text
//! start   loading        read, compile, begin, make the driver
//!          └ first_answer  how long the first read may take
//! change  driver         waits for configuration, keys and identity, all in one future
//!          └ reload/     decides whether a changed configuration replaces the one in use
//! both    live           compiles rules and upstreams, and publishes them in order
//!         keys           keeps the key sets of token issuers fresh
//!          ├ fetch       the HTTP client for them
//!          └ svid_keys   the keys of JWT-SVIDs
//!         limits         the limits of the workload, from one configuration to the next
//! log     reading_log    notes on what was read
//!         serving_log    where a mesh serves, and by which policies
//!          └ policy_names  the names of the policies that apply
//!         token_terms    how tokens are treated, where a sidecar would not
//! identity_source        where our own identity comes from
//! ```

pub(super) mod driver;
pub(super) mod fetch;
pub(super) mod first_answer;
pub(super) mod identity_source;
pub(super) mod keys;
#[cfg(feature = "rate-limit")]
pub(super) mod limits;
pub(super) mod live;
pub(super) mod loading;
pub(super) mod policy_names;
pub(super) mod reading_log;
pub(super) mod reload;
pub(super) mod serving_log;
pub(super) mod svid_keys;
pub(super) mod token_terms;
