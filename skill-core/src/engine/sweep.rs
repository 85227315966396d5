//! Removing what is old.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{artifact::Artifacts, clock::Clock, store::Store};

/// How often old history is swept.
const SWEEP: Duration = Duration::from_secs(600);
/// How many rows one sweep step removes, so that writers are not kept waiting.
const SWEEP_ROWS: u32 = 1_000;

/// Removes what is older than `age`, in small steps, until `stop`.
pub(super) async fn run(
    (store, artifacts, clock): (Arc<dyn Store>, Artifacts, Arc<dyn Clock>),
    age: Duration,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = stop.cancelled() => return,
        }
        let now = clock.now();
        let Ok(before) = now.checked_sub(age) else { continue };
        loop {
            match store.prune(before, now, SWEEP_ROWS).await {
                Ok(gone) if gone >= u64::from(SWEEP_ROWS) && !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(error = %error.log_line(), "old history stays for now");
                    break;
                }
            }
        }
        prune_deliveries(&*store, before, &stop).await;
        if let Err(error) = artifacts.sweep(&*store).await {
            tracing::warn!(error = %error.log_line(), "old artifacts stay for now");
        }
    }
}

/// Removes deliveries that ended before `before`.
async fn prune_deliveries(store: &dyn Store, before: Timestamp, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match store.prune_deliveries(before, SWEEP_ROWS).await {
            Ok(gone) if gone >= u64::from(SWEEP_ROWS) => {}
            Ok(_) => return,
            Err(error) => {
                return tracing::warn!(error = %error.log_line(), "old deliveries stay for now");
            }
        }
    }
}
