use super::*;

fn sandbox() -> SandboxRef {
    SandboxRef {
        id: "i0123456789abcdefghij".parse().unwrap(),
        execution_id: uuid::Uuid::from_u128(2).into(),
        template_id: "rki5dems9wqfm4r03t7g".parse().unwrap(),
        build_id: uuid::Uuid::from_u128(3).into(),
        metadata: [].into(),
    }
}

fn example(kind: EventType) -> EventDraft {
    let metadata = BTreeMap::from([("user".to_owned(), "u1".to_owned())]);
    let ids = (uuid::Uuid::from_u128(1).into(), uuid::Uuid::from_u128(4).into());
    EventDraft::example(kind, ids, SandboxRef { metadata, ..sandbox() }, Timestamp::UNIX_EPOCH)
}

fn read(text: &str, kind: EventType, sandbox: Option<SandboxRef>) -> Option<(Subject, Option<Origin>, Fact)> {
    serde_json::from_str::<EventForm<'_>>(text).unwrap().into_fact(kind, sandbox)
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    for kind in EventType::ALL {
        let draft = example(kind);
        let text = serde_json::to_string(&EventForm::of(&draft)).unwrap();
        let found = read(&text, kind, draft.sandbox().map(SandboxRef::without_labels));
        assert_eq!(found, Some((draft.subject, draft.origin, draft.fact)), "{text}");
    }
}

#[test]
fn the_column_says_what_the_fact_says() {
    for kind in EventType::ALL {
        let draft = example(kind);
        let form = EventForm::of(&draft);
        assert_eq!(form.concurrency_change(kind), draft.fact.concurrency_change(), "{kind}");
    }
}

#[test]
fn notices_of_version_0_keep_the_sandbox_they_had_beside_what_they_are_about() {
    let lagging = r#"{"webhook":{"id":"00000000-0000-0000-0000-000000000005","name":"hook","reason":"because",
        "n_failed":7,"event_id":"00000000-0000-0000-0000-000000000006"}}"#;
    let (subject, _, fact) = read(lagging, EventType::WebhookLagging, Some(sandbox())).unwrap();
    assert_eq!(subject, Subject::Webhook(uuid::Uuid::from_u128(5).into()));
    let Fact::Webhook { notice, .. } = fact else { panic!("{fact:?}") };
    assert_eq!(notice.sandbox, Some(sandbox()));

    let alert = |subject: &str| {
        let text = format!(
            r#"{{"sandbox_metadata":{{"a":"b"}},"alert":{{"rule":"r",{subject}"metric":"crashes","threshold_milli":1}}}}"#
        );
        read(&text, EventType::AlertFiring, Some(sandbox())).unwrap()
    };
    let (subject, _, fact) = alert(r#""subject":"team","#);
    let Fact::Alert { notice, .. } = fact else { panic!("{fact:?}") };
    let metadata = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!((subject, notice.sandbox), (Subject::Team, Some(SandboxRef { metadata, ..sandbox() })));
    for about_it in ["", r#""subject":"sandbox:i0123456789abcdefghij","#] {
        let (subject, _, fact) = alert(about_it);
        let Fact::Alert { notice, .. } = fact else { panic!("{fact:?}") };
        let metadata = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert_eq!((subject, notice.sandbox), (Subject::Sandbox(SandboxRef { metadata, ..sandbox() }), None));
    }
}

#[test]
fn a_row_that_lacks_what_its_kind_needs_is_no_event() {
    assert_eq!(read("{}", EventType::Killed, Some(sandbox())), None);
    assert_eq!(read("{}", EventType::WebhookLagging, Some(sandbox())), None);
    assert_eq!(read("{}", EventType::Created, None), None);
    assert!(read("{}", EventType::Created, Some(sandbox())).is_some());
}
