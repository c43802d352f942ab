//! Templates, snapshots and their references.

use crate::support::{House, at, build, draft, template};
use sandscope_model::{EventType, Fact, Template, TemplateId, TemplateKind};
use sandscope_store::{Change, DeleteTemplate, NewSnapshot, Page, SnapshotFilter};

async fn with_base(house: &House) -> TemplateId {
    let base = template(None, Some("base"), TemplateKind::Template);
    house.store.facts.ensure_template(base.clone(), build(&base, None)).await.unwrap();
    base.id
}

/// Takes a snapshot of a new sandbox and returns the template the store used.
async fn snapshot(house: &House, name: Option<&str>, tag: &str) -> (TemplateId, sandscope_model::BuildId) {
    let sandbox = house.running(0).await;
    let template = template(Some(&house.team), name, TemplateKind::Snapshot);
    let build = build(&template, Some(&sandbox.id));
    let build_id = build.id;
    let event = Some(draft(&sandbox, EventType::Checkpointed, at(5)));
    let snapshot = Some(NewSnapshot { template, build, tag: tag.to_owned() });
    let event = house.store.facts.commit(Change { sandbox, event, snapshot }).await.unwrap().unwrap();
    let Fact::Checkpointed { snapshot } = event.draft.fact else { panic!("{event:?}") };
    (snapshot, build_id)
}

#[tokio::test]
async fn a_shipped_template_is_stored_once_and_found_by_everybody() {
    let house = House::new().await;
    let id = with_base(&house).await;
    let again = template(None, Some("base"), TemplateKind::Template);
    house.store.facts.ensure_template(again.clone(), build(&again, None)).await.unwrap();
    let other = house.other_team("other").await;
    for team in [house.team.id, other.id] {
        for reference in ["base", "base:default", id.as_str()] {
            let (found, build) = house.store.facts.resolve_template(team, reference).await.unwrap().unwrap();
            assert_eq!((&found.id, &build.template_id, found.team_id), (&id, &id, None));
        }
        for reference in ["base:v2", "first/base", "", ":", "/", "nobody/base:default"] {
            assert_eq!(
                house.store.facts.resolve_template(team, reference).await.unwrap(),
                None,
                "{reference}"
            );
        }
        assert_eq!(house.store.facts.templates(team).await.unwrap().len(), 1);
    }
    assert_eq!(
        house.store.facts.delete_template(house.team.id, "base").await.unwrap(),
        DeleteTemplate::Shipped
    );
}

#[tokio::test]
async fn a_named_snapshot_is_taken_again_under_the_same_template() {
    let house = House::new().await;
    let (one, first_build) = snapshot(&house, Some("mine"), "default").await;
    let (two, second_build) = snapshot(&house, Some("mine"), "default").await;
    let (three, v2_build) = snapshot(&house, Some("mine"), "v2").await;
    assert_eq!((&one, &one), (&two, &three));
    let team = house.team.id;
    let resolve = async |reference: &str| {
        let found = house.store.facts.resolve_template(team, reference).await.unwrap();
        found.map(|(_, build)| build.id)
    };
    assert_eq!(resolve("mine").await, Some(second_build));
    assert_eq!(resolve("first/mine").await, Some(second_build));
    assert_eq!(resolve(&format!("{one}:v2")).await, Some(v2_build));
    assert_eq!(resolve("other/mine").await, None);
    let other = house.other_team("other").await;
    assert_eq!(house.store.facts.resolve_template(other.id, "mine").await.unwrap(), None);
    assert_eq!(house.store.facts.resolve_template(other.id, "first/mine").await.unwrap(), None);
    assert_eq!(house.store.facts.resolve_template(other.id, one.as_str()).await.unwrap(), None);
    let named = async |team, name: &str| {
        house.store.facts.template_named(team, name).await.unwrap().map(|template| template.id)
    };
    assert_eq!(named(team, "mine").await, Some(one.clone()));
    assert_eq!(named(team, "first/mine").await, Some(one.clone()));
    for (asking, name) in
        [(team, "nothing"), (team, one.as_str()), (other.id, "mine"), (other.id, "first/mine")]
    {
        assert_eq!(named(asking, name).await, None, "{name}");
    }

    let deleted = house.store.facts.delete_template(team, &format!("{one}:v2")).await.unwrap();
    assert_eq!(deleted, DeleteTemplate::Deleted(vec![v2_build]));
    let DeleteTemplate::Deleted(mut builds) =
        house.store.facts.delete_template(team, "first/mine").await.unwrap()
    else {
        panic!("not deleted")
    };
    builds.sort();
    let mut expected = vec![first_build, second_build];
    expected.sort();
    assert_eq!(builds, expected);
    assert_eq!(house.store.facts.delete_template(team, "mine").await.unwrap(), DeleteTemplate::NotFound);
}

#[tokio::test]
async fn a_shipped_name_means_the_shipped_template_also_where_the_team_has_one_of_that_name() {
    let house = House::new().await;
    let base = with_base(&house).await;
    // The door refuses this; an earlier version did not.
    let (own, _) = snapshot(&house, Some("base"), "default").await;
    let found = async |reference: &str| {
        house.store.facts.resolve_template(house.team.id, reference).await.unwrap().unwrap().0.id
    };
    assert_eq!(found("base").await, base);
    assert_eq!(found("first/base").await, own);
    assert_eq!(found(own.as_str()).await, own);
    let named = house.store.facts.template_named(house.team.id, "base").await.unwrap().unwrap();
    assert_eq!(named.id, base);
    let other = house.other_team("other").await;
    assert_eq!(house.store.facts.resolve_template(other.id, "base").await.unwrap().unwrap().0.id, base);
    assert_eq!(
        house.store.facts.delete_template(house.team.id, "base").await.unwrap(),
        DeleteTemplate::Shipped
    );
}

#[tokio::test]
async fn a_template_in_use_stays() {
    let house = House::new().await;
    let (id, build) = snapshot(&house, None, "default").await;
    let mut sandbox = house.creating(9);
    sandbox.spec.build_id = build;
    house.store.facts.admit_sandbox(&sandbox, 100, None).await.unwrap();
    let delete = async || house.store.facts.delete_template(house.team.id, id.as_str()).await.unwrap();
    assert_eq!(delete().await, DeleteTemplate::InUse);
    house.store.facts.drop_sandbox(&sandbox.id).await.unwrap();
    assert_eq!(delete().await, DeleteTemplate::Deleted(vec![build]));
}

#[tokio::test]
async fn snapshots_are_listed_newest_first_in_pages_without_gaps() {
    let house = House::new().await;
    with_base(&house).await;
    for tag in ["default", "v2", "v3"] {
        snapshot(&house, Some("named"), tag).await;
    }
    let (unnamed, unnamed_build) = snapshot(&house, None, "default").await;
    let team = house.team.id;
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = Page { after, limit: 2 };
        let page = house.store.facts.snapshots(team, SnapshotFilter::default(), page).await.unwrap();
        let Some((template, build, _)) = page.last() else { break };
        after = Some((build.created_at, template.id.clone()));
        seen.extend(page.into_iter().map(|(template, _, tag): (Template, _, _)| (template.name, tag)));
    }
    let mut expected: Vec<_> =
        ["default", "v2", "v3"].map(|tag| (Some("named".to_owned()), tag.to_owned())).to_vec();
    expected.push((None, "default".to_owned()));
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);

    let list = async |filter| {
        let page = Page { after: None, limit: 10 };
        house.store.facts.snapshots(team, filter, page).await.unwrap()
    };
    let named =
        list(SnapshotFilter { name: Some("first/named:v2".to_owned()), source_sandbox_id: None }).await;
    assert_eq!(named.len(), 1);
    let named = list(SnapshotFilter { name: Some("named".to_owned()), source_sandbox_id: None }).await;
    assert_eq!(named.len(), 3);
    let source = house
        .store
        .facts
        .resolve_template(team, unnamed.as_str())
        .await
        .unwrap()
        .and_then(|(_, build)| build.source_sandbox_id);
    let of_source = list(SnapshotFilter { source_sandbox_id: source, name: None }).await;
    assert_eq!(of_source.iter().map(|(_, build, _)| build.id).collect::<Vec<_>>(), [unnamed_build]);
}
