//! Where a data directory is at home, and what it delivers once it was adopted.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use sandscope_model::Exception;
use sandscope_store::{DeliveryProgress, Home, Store, StoreError};

use crate::deliveries::{exception, webhook};
use crate::support::{House, StepClock, at};

fn home(instance: &str, place: &str) -> Home {
    Home {
        instance: instance.to_owned(),
        place: place.to_owned(),
        is_adopting: false,
        holds_deliveries: false,
    }
}

#[tokio::test]
async fn a_directory_is_settled_once_and_adopted_as_another_node() {
    let house = House::new().await;
    let facts = &house.store.facts;
    let settle = async |instance: &str| facts.settle(instance.to_owned(), "here".to_owned()).await.unwrap();
    assert_eq!(facts.home().await.unwrap(), None);
    settle("0a").await;
    settle("0b").await;
    assert_eq!(facts.home().await.unwrap(), Some(home("0a", "here")));
    facts.recognise_home("renamed".to_owned()).await.unwrap();
    assert_eq!(facts.home().await.unwrap(), Some(home("0a", "renamed")));
    let node = facts.node().await.unwrap();

    facts.adopt("0c".to_owned(), "there".to_owned()).await.unwrap();
    let adopted = Home { is_adopting: true, holds_deliveries: true, ..home("0c", "there") };
    assert_eq!(facts.home().await.unwrap(), Some(adopted.clone()));
    assert_ne!(facts.node().await.unwrap(), node);
    facts.end_adoption().await.unwrap();
    assert_eq!(facts.home().await.unwrap(), Some(Home { is_adopting: false, ..adopted }));
    house.store.deliveries.release().await.unwrap();
    assert_eq!(facts.home().await.unwrap(), Some(home("0c", "there")));
}

#[tokio::test]
async fn what_lies_before_a_release_is_passed_over_and_can_be_asked_for() {
    let house = House::new().await;
    let deliveries = &house.store.deliveries;
    let (hook, mut off) = (webhook(&house.team), webhook(&house.team));
    off.enabled = false;
    for hook in [&hook, &off] {
        assert!(deliveries.insert_webhook(hook.clone(), 9).await.unwrap());
    }
    house.running(0).await;
    house.running(1).await;
    let owed: Exception = exception(hook.id, 1, Some(5));
    let progress = DeliveryProgress { set: vec![owed], ..DeliveryProgress::of(hook.id) };
    deliveries.record_deliveries(progress).await.unwrap();
    house.store.facts.adopt("0c".to_owned(), "there".to_owned()).await.unwrap();
    deliveries.release().await.unwrap();
    let standing = deliveries.webhook_standing(hook.id).await.unwrap().unwrap();
    assert_eq!((standing.cursor, standing.n_pending, standing.n_skipped), (2, 0, 2));
    assert_eq!(deliveries.cursor(off.id).await.unwrap(), Some(0), "one that is off is left as it is");
    house.running(2).await;
    let standing = deliveries.webhook_standing(hook.id).await.unwrap().unwrap();
    assert_eq!((standing.cursor, standing.last_sequence), (2, 3), "and what follows is owed");
}

#[tokio::test]
async fn a_look_finds_out_without_making_anything() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Store::home_of(dir.path()).unwrap(), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let store = Store::open(dir.path(), Arc::new(StepClock::default())).unwrap();
    assert_eq!(Store::home_of(dir.path()).unwrap(), None);
    store.facts.settle("0a".to_owned(), "here".to_owned()).await.unwrap();
    assert_eq!(Store::home_of(dir.path()).unwrap(), Some(home("0a", "here")), "beside an open store");
    store.close().await;
    let files = || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = files();
    assert_eq!(Store::home_of(dir.path()).unwrap(), Some(home("0a", "here")));
    assert_eq!(files(), before);
}

#[tokio::test]
async fn a_database_that_is_a_link_is_refused() {
    for name in ["facts.sqlite", "logs.sqlite", "facts.sqlite-wal"] {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(elsewhere.path().join("victim"), dir.path().join(name)).unwrap();
        let refused = Store::open(dir.path(), Arc::new(StepClock::default())).unwrap_err();
        assert!(matches!(refused, StoreError::Io(_)), "{name}: {refused}");
        assert!(!elsewhere.path().join("victim").exists(), "{name}");
    }
    // Links lead to the directory all the same.
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(dir.path(), elsewhere.path().join("data")).unwrap();
    let store = Store::open(&elsewhere.path().join("data"), Arc::new(StepClock::default())).unwrap();
    store.facts.settle("0a".to_owned(), at(0).to_string()).await.unwrap();
    store.close().await;
}
