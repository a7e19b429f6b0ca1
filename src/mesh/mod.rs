//! The composed mesh: every layer in its one right order.
