//! Deliveries while somebody sets the wall clock.

use std::time::Duration;

use jiff::SignedDuration;
use sandscope_model::{Clock, EventType};

use crate::receiver::{Answer, BOUND, Receiver};
use crate::world::{World, eventually, ok};

const TEN_SECONDS: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_retry_comes_after_its_wait_whatever_the_wall_clock_shows() {
    for step in [SignedDuration::from_hours(-1), SignedDuration::from_hours(2)] {
        let world = World::new().await;
        let receiver = Receiver::start(|_| Answer::Status(500)).await;
        let webhook = world.webhook(&receiver.url()).await;
        let webhooks = world.start();
        world.happens(0, EventType::Created).await;
        receiver.wait_for(1).await;
        let due =
            async || world.exceptions(&webhook).await.first().and_then(|exception| exception.next_due_at);
        eventually("the failure is stored", || async { due().await.is_some() }).await;
        world.clock.step_wall(step);
        world.clock.advance(TEN_SECONDS - Duration::from_millis(1));
        world.clock.wait_for_sleepers(1).await;
        assert_eq!(receiver.received().len(), 1, "not before its time, {step}");
        world.clock.advance(Duration::from_millis(1));
        receiver.wait_for(2).await;
        // What is shown of the next one goes by the clock as it is set.
        let shown = world.clock.now().checked_add(TEN_SECONDS).unwrap();
        eventually("the next is stored", || async { due().await == Some(shown) }).await;
        webhooks.drain(BOUND).await;
    }
}

#[tokio::test]
async fn an_event_after_a_step_is_delivered_at_once() {
    let world = World::new().await;
    let receiver = ok().await;
    world.webhook(&receiver.url()).await;
    let webhooks = world.start();
    for (n, hours) in [-1, 2, -3].into_iter().enumerate() {
        world.clock.step_wall(SignedDuration::from_hours(hours));
        world.happens(n, EventType::Created).await;
        receiver.wait_for(n + 1).await;
    }
    webhooks.drain(BOUND).await;
}
