//! The first answer of a source, which a mesh needs before it can serve.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Waits for the first answer of a source, and warns in the log while the source is silent.
pub(in crate::mesh) async fn first_answer<T>(
    answer: impl Future<Output = T>,
    what: &'static str,
) -> T {
    let mut answer = pin!(answer);
    let (begun, mut silence) = (Instant::now(), SILENCE);
    loop {
        if let Ok(came) = timeout(silence, &mut answer).await {
            return came;
        }
        tracing::warn!(
            target: "tower_mesh::mesh",
            seconds = begun.elapsed().as_secs(),
            "still waiting for {what}, its source gives none yet: nothing is served until it does"
        );
        silence = LONGEST_SILENCE.min(silence * 2);
    }
}

/// How long a source may take when something else is wrong already, so that the build fails anyhow.
pub(in crate::mesh) const BESIDE_FAULTS: Duration = Duration::from_secs(5);
/// How long a source may be silent before the log warns; the interval doubles each time.
const SILENCE: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
