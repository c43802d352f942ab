//! Seals the hours that are over, every ten minutes; removes what is past its retention, every hour; both at the start.

use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Timestamp};
use sandscope_store::{SampleRetention, Store};
use tokio_util::sync::CancellationToken;

const SEALING: Duration = Duration::from_secs(600);
const REMOVAL_S: i64 = 3600;

pub(crate) async fn run(
    store: Store,
    clock: Arc<dyn Clock>,
    retention: SampleRetention,
    stop: CancellationToken,
) {
    let mut removed_at = None;
    loop {
        let now = clock.now();
        let removes = removed_at.is_none_or(|at: Timestamp| now.as_second() - at.as_second() >= REMOVAL_S);
        if removes {
            removed_at = Some(now);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // Everything goes in small batches, so it can stop between any two of them.
            () = tend(&store, &*clock, &retention, removes) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(SEALING) => {}
        }
    }
}

async fn tend(store: &Store, clock: &dyn Clock, retention: &SampleRetention, removes: bool) {
    match store.seal_samples(clock.now()).await {
        Ok(sealed) => tracing::debug!(?sealed, "samples sealed"),
        Err(error) => tracing::warn!(%error, "samples could not be sealed"),
    }
    if !removes {
        return;
    }
    match store.drop_samples(clock.now(), retention).await {
        Ok(n_samples) => tracing::debug!(n_samples, "old samples dropped"),
        Err(error) => tracing::warn!(%error, "old samples could not be dropped"),
    }
    match store.delete_expired(clock.now()).await {
        Ok(removed) => tracing::debug!(?removed, "retention"),
        Err(error) => tracing::warn!(%error, "retention could not remove what is past its time"),
    }
}
