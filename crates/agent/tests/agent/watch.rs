use serde_json::{Value, json};

use crate::borders::NOBODY;
use crate::client::{Agent, Events};
use crate::files::{FORM, OCTETS, multipart, scene, wait_until};

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

/// What is said of `name` between now and the end of `work`; equal neighbours as they come.
fn said_of(agent: &Agent, root: &str, name: &str, work: impl FnOnce()) -> Vec<String> {
    let (_, made) = call(agent, "CreateWatcher", &json!({"path": root}));
    let named = json!({"watcherId": made["watcherId"]});
    work();
    std::fs::create_dir(format!("{root}/.end")).unwrap();
    let mut seen = Vec::new();
    wait_until("the last event", || {
        let (_, answer) = call(agent, "GetWatcherEvents", &named);
        seen.extend(answer["events"].as_array().cloned().unwrap_or_default());
        seen.iter().any(|event| event["name"] == ".end")
    });
    assert_eq!(call(agent, "RemoveWatcher", &named).0, 200);
    std::fs::remove_dir(format!("{root}/.end")).unwrap();
    let own = seen.iter().filter(|event| event["name"] == name);
    own.map(|event| event["type"].as_str().unwrap().trim_start_matches("EVENT_TYPE_").to_owned()).collect()
}

#[test]
fn a_small_upload_is_made_owned_and_written_once() {
    let (agent, _keep, root) = scene();
    let whole = |name: &'static str, headers: Vec<(&'static str, &'static str)>, body: Vec<u8>| {
        let (agent, url) = (&agent, format!("/files?path={root}/{name}"));
        move || assert_eq!(agent.call("POST", &url, &headers, &body).status, 200)
    };
    let form = multipart(&[("file", "x", &"0123456789\r\n--bO\r\n".repeat(1500))]);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, &vec![b'x'; 30_000]).unwrap();
        encoder.finish().unwrap()
    };
    let new = ["CREATE", "CHMOD", "WRITE"];
    for (name, headers, body) in [
        ("octets", vec![OCTETS], vec![b'x'; 30_000]),
        ("form", vec![FORM], form.clone()),
        ("gzip", vec![OCTETS, ("content-encoding", "gzip")], gzip),
    ] {
        for _ in 0..20 {
            let seen = said_of(&agent, &root, name, whole(name, headers.clone(), body.clone()));
            assert_eq!(seen, new, "{name}");
            std::fs::remove_file(format!("{root}/{name}")).unwrap();
        }
    }
    assert_eq!(said_of(&agent, &root, "e", whole("e", vec![OCTETS], Vec::new())), ["CREATE", "CHMOD"]);
    // What else changes, changes before the first byte. The kernel makes one event of equal ones that nobody has read.
    let metadata = vec![OCTETS, ("x-metadata-a", "b")];
    let mut seen = said_of(&agent, &root, "m", whole("m", metadata.clone(), vec![b'x'; 9]));
    seen.dedup();
    assert_eq!(seen, new);
    // Over what is there: whose it is changes before it loses its contents.
    for headers in [vec![OCTETS], metadata] {
        let mut seen = said_of(&agent, &root, "m", whole("m", headers, vec![b'y'; 9]));
        seen.dedup();
        assert_eq!(seen, ["CHMOD", "WRITE"]);
    }
}

#[test]
fn a_strangers_file_is_emptied_before_it_is_given_away() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    if !rustix::process::getuid().is_root() {
        return;
    }
    let (agent, _keep, root) = scene();
    let path = format!("{root}/f");
    let upload = |user: &str| {
        let (agent, url) = (&agent, format!("/files?path={root}/f&username={user}"));
        move || assert_eq!(agent.call("POST", &url, &[OCTETS], b"new").status, 200)
    };
    std::fs::write(&path, "secret").unwrap();
    let mut seen = said_of(&agent, &root, "f", upload(NOBODY.0));
    seen.dedup();
    assert_eq!(seen, ["WRITE", "CHMOD", "WRITE"]);
    assert_eq!(std::fs::metadata(&path).unwrap().uid(), NOBODY.1);
    // Who has it already learns nothing by getting it, and root of nothing.
    for user in [NOBODY.0, "root"] {
        std::fs::write(&path, "old").unwrap();
        chown(&path, Some(NOBODY.1), Some(NOBODY.1)).unwrap();
        let mut seen = said_of(&agent, &root, "f", upload(user));
        seen.dedup();
        assert_eq!(seen, ["CHMOD", "WRITE"], "{user}");
    }
}
