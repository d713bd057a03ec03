use std::{future::Future, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Looks at something until it is as it should be. `look` says what it sees: `Ok` ends the wait, `Err`
/// tells what is still missing, which is what the error says when `within` is over.
pub async fn eventually<T, F>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(error) if Instant::now() >= deadline => {
                bail!("{what}: not within {} s: {error:#}", within.as_secs());
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}
