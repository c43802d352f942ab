//! What is under way on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use sandscope_api::KeyShown;
use tokio::sync::{Notify, watch};

use super::keyless::Place;

/// Counts what is under way.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    n: Arc<watch::Sender<usize>>,
    begun: Arc<AtomicBool>,
    hangup: Arc<Notify>,
    place: Arc<Place>,
    shown: KeyShown,
}

/// Something under way, until the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    _counted: Arc<Counted>,
}

#[derive(Debug)]
struct Counted(Activity);

impl Activity {
    /// Of the connection in `place`.
    pub(super) fn new(place: Place) -> Self {
        let (n, begun, hangup) = (Arc::new(watch::Sender::new(0)), Arc::default(), Arc::default());
        Self { n, begun, hangup, place: Arc::new(place), shown: KeyShown::default() }
    }

    pub(super) fn begin(&self) -> UnderWay {
        self.begun.store(true, Ordering::Relaxed);
        self.n.send_modify(|n| {
            *n += 1;
            // Before anybody sees another number: what is said last is true.
            self.place.set_idle(false);
        });
        UnderWay { _counted: Arc::new(Counted(self.clone())) }
    }

    /// Whether anything ever was.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// For code that finds a key of ours in a request.
    pub(super) fn key_shown(&self) -> KeyShown {
        self.shown.clone()
    }

    /// Completes once the connection has to make room for others.
    pub(super) async fn ended(&self) {
        self.place.ended().await;
    }

    /// For code that finds that the peer does not read. Over HTTP/2 it ends what else the peer has under way as well:
    /// what it does not read cannot be taken back by itself.
    pub(super) fn hangup(&self) -> Arc<Notify> {
        Arc::clone(&self.hangup)
    }

    /// Completes once somebody has asked for the connection's end.
    pub(super) async fn hung_up(&self) {
        self.hangup.notified().await;
    }

    /// Completes once nothing has been under way for `limit` without a break.
    pub(super) async fn rests_for(&self, limit: Duration) {
        let mut n = self.n.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        loop {
            let _ = n.wait_for(|n| *n == 0).await;
            if tokio::time::timeout(limit, n.wait_for(|n| *n > 0)).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.shown.is_set() {
            self.0.place.set_known();
        }
        self.0.n.send_modify(|n| {
            *n -= 1;
            self.0.place.set_idle(*n == 0);
        });
    }
}

/// An answer that is under way until its body has been sent or canceled.
pub(super) fn while_sending(body: Body, under_way: UnderWay) -> Body {
    // The closure goes when the body goes, and what it holds with it.
    Body::new(body.map_err(move |error| {
        let _held = &under_way;
        error
    }))
}
