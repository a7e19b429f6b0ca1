//! Request targets: what normalization lets through is absolute, printable, and no longer than escapes can make it.
//! Twin: `src/matcher/path.rs`, `any_target_is_refused_or_absolute_and_printable`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_mesh::matcher::path::{self, Normalization};

fuzz_target!(|target: &str| {
    let Ok((_, target)) = path::split_absolute(target) else {
        return;
    };
    for how in [
        Normalization::None,
        Normalization::Base,
        Normalization::MergeSlashes,
        Normalization::DecodeAndMergeSlashes,
    ] {
        if let Ok(normal) = path::normalize(target, how) {
            assert!(normal.starts_with('/'), "{target:?} {how:?} {normal:?}");
            assert!(normal.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(normal.len() <= 3 * target.len());
        }
    }
});
