//! Which status codes have a name.

/// Whether Go's `net/http` has a name for the code: Istio's validation takes no others in `retryOn`.
pub(super) fn has_name(status: u16) -> bool {
    matches!(
        status,
        100..=103
            | 200..=208
            | 226
            | 300..=305
            | 307
            | 308
            | 400..=418
            | 421..=426
            | 428
            | 429
            | 431
            | 451
            | 500..=508
            | 510
            | 511
    )
}
