#![doc = include_str!("../../../docs/testing-policies.md")]
