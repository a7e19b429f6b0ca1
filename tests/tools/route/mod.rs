//! Where calls go, as the command tells it.

mod explained;
