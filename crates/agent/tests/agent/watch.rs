use serde_json::{Value, json};

use crate::client::{Agent, Events};
use crate::files::{scene, wait_until};

const WATCH: &str = "/filesystem.Filesystem/WatchDir";

fn call(agent: &Agent, method: &str, body: &Value) -> (u16, Value) {
    agent.unary(&format!("/filesystem.Filesystem/{method}"), body)
}

fn begin(agent: &Agent, headers: &[(&str, &str)], body: Value) -> Events {
    let mut events = agent.stream(WATCH, headers, &[body]);
    assert_eq!(events.next(), Some(json!({"start": {}})));
    events
}

#[test]
fn a_stream_tells_what_changes() {
    let (agent, _keep, root) = scene();
    let mut events = begin(&agent, &[], json!({"path": root, "recursive": true, "includeEntry": true}));
    std::fs::create_dir(format!("{root}/d")).unwrap();
    let event = events.next().unwrap()["filesystem"].clone();
    assert_eq!((&event["name"], &event["type"]), (&json!("d"), &json!("EVENT_TYPE_CREATE")));
    assert_eq!(event["entry"]["path"], format!("{root}/d"));
    assert_eq!(event["entry"]["type"], "FILE_TYPE_DIRECTORY");
    std::fs::write(format!("{root}/d/f"), "12345").unwrap();
    let event = events.next().unwrap()["filesystem"].clone();
    assert_eq!((&event["name"], &event["type"]), (&json!("d/f"), &json!("EVENT_TYPE_CREATE")));
    let event = events.next().unwrap()["filesystem"].clone();
    assert_eq!((&event["type"], &event["entry"]["size"]), (&json!("EVENT_TYPE_WRITE"), &json!("5")));
    std::fs::remove_file(format!("{root}/d/f")).unwrap();
    let event = events.next().unwrap();
    assert_eq!(event, json!({"filesystem": {"name": "d/f", "type": "EVENT_TYPE_REMOVE"}}));
}

#[test]
fn a_watcher_is_asked_for_what_has_changed() {
    let (agent, _keep, root) = scene();
    let (status, made) = call(&agent, "CreateWatcher", &json!({"path": root}));
    let id = made["watcherId"].as_str().unwrap().to_owned();
    let well_formed = id.len() == 21 && id.starts_with('w') && id.bytes().all(|b| b.is_ascii_alphanumeric());
    assert!(status == 200 && well_formed, "{made}");
    let named = json!({"watcherId": id});
    assert_eq!(call(&agent, "GetWatcherEvents", &named), (200, json!({})));
    std::fs::write(format!("{root}/a"), "").unwrap();
    std::fs::rename(format!("{root}/a"), format!("{root}/b")).unwrap();
    let mut seen = Vec::new();
    wait_until("three events", || {
        let (status, answer) = call(&agent, "GetWatcherEvents", &named);
        assert_eq!(status, 200, "{answer}");
        seen.extend(answer["events"].as_array().cloned().unwrap_or_default());
        seen.len() == 3
    });
    assert_eq!(
        seen,
        [
            json!({"name": "a", "type": "EVENT_TYPE_CREATE"}),
            json!({"name": "a", "type": "EVENT_TYPE_RENAME"}),
            json!({"name": "b", "type": "EVENT_TYPE_CREATE"}),
        ]
    );
    assert_eq!(call(&agent, "RemoveWatcher", &named), (200, json!({})));
    for method in ["GetWatcherEvents", "RemoveWatcher"] {
        let (status, answer) = call(&agent, method, &named);
        let gone = json!({"code": "not_found", "message": format!("watcher with id {id} not found")});
        assert_eq!((status, answer), (404, gone));
    }
}

#[test]
fn refusals_of_a_watch() {
    let (agent, _keep, root) = scene();
    std::fs::write(format!("{root}/f"), "").unwrap();
    for (path, code) in [
        (format!("{root}/no"), "not_found"),
        (format!("{root}/f"), "invalid_argument"),
        ("~x".to_owned(), "invalid_argument"),
    ] {
        let (_, answer) = call(&agent, "CreateWatcher", &json!({"path": path}));
        assert_eq!(answer["code"], code, "{path}: {answer}");
        let mut events = agent.stream(WATCH, &[], &[json!({"path": path})]);
        assert_eq!(events.next(), None);
        assert_eq!(events.ended.unwrap()["error"]["code"], code);
    }
}

#[test]
fn a_watch_says_that_it_lives_and_ends_in_time() {
    let (agent, _keep, root) = scene();
    let headers = [("keepalive-ping-interval", "1"), ("connect-timeout-ms", "1500")];
    let mut events = begin(&agent, &headers, json!({"path": root}));
    assert_eq!(events.next(), Some(json!({"keepalive": {}})));
    assert_eq!(events.next(), None);
    assert_eq!(events.ended.unwrap()["error"]["code"], "deadline_exceeded");
}

#[test]
fn whoever_takes_events_too_slowly_is_told() {
    let (agent, _keep, root) = scene();
    let (_, made) = call(&agent, "CreateWatcher", &json!({"path": root}));
    let named = json!({"watcherId": made["watcherId"]});
    for number in 0..6000 {
        std::fs::write(format!("{root}/{number}"), "").unwrap();
    }
    let mut seen = Vec::new();
    wait_until("the loss is reported", || {
        let (status, answer) = call(&agent, "GetWatcherEvents", &named);
        if status == 200 {
            seen.extend(answer["events"].as_array().cloned().unwrap_or_default());
            return false;
        }
        assert_eq!((status, &answer["code"]), (500, &json!("data_loss")), "{answer}");
        true
    });
    // All before the gap is there, in order.
    for (number, event) in seen.iter().enumerate() {
        assert_eq!(event["name"], number.to_string());
    }
    // And it goes on.
    std::fs::write(format!("{root}/end"), "").unwrap();
    wait_until("the watcher goes on", || {
        let (status, answer) = call(&agent, "GetWatcherEvents", &named);
        status == 200 && answer.to_string().contains("\"end\"")
    });
}

#[test]
fn watches_end_with_their_streams() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let (agent, _keep, root) = scene();
    let watching = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap();
        let links = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        links.filter(|link| link.to_string_lossy().contains("inotify")).count()
    };
    assert_eq!(watching(), 0);
    let streams: Vec<_> = (0..20).map(|_| begin(&agent, &[], json!({"path": root}))).collect();
    assert_eq!(watching(), 1, "one instance serves all");
    drop(streams);
    wait_until("the kernel's instance is given back", || watching() == 0);
}
