//! Files whose length nobody knows before they are read, and those that are about the agent.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::json;

use crate::files::{OCTETS, scene};

#[test]
fn what_the_kernel_makes_up_is_read_to_its_end() {
    let (agent, _keep, root) = scene();
    let get = |path: &str, headers: &[(&str, &str)]| {
        agent.call("GET", &format!("/files?path={path}"), headers, b"")
    };
    // The first says that it has no bytes, the second that it has a page.
    for path in ["/proc/cpuinfo", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/filesystems"] {
        let there = std::fs::read(path).unwrap();
        assert!(!there.is_empty());
        let answer = get(path, &[]);
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, Some("chunked")), "{path}");
        assert_eq!((answer.header("etag"), answer.header("last-modified")), (None, None));
        assert_eq!((answer.header("content-length"), answer.header("accept-ranges")), (None, Some("none")));
        // Processors change their speed.
        assert_eq!(answer.bytes()[..20], there[..20], "{path}");
        let whole = get(path, &[("range", "bytes=2-3"), ("if-none-match", "*"), ("if-range", "\"x\"")]);
        assert_eq!((whole.status, &whole.bytes()[..20]), (200, &there[..20]), "{path}");
        let gzip = get(path, &[("accept-encoding", "gzip")]);
        assert_eq!((gzip.status, gzip.header("content-encoding")), (200, Some("gzip")));
        let mut text = Vec::new();
        MultiGzDecoder::new(gzip.bytes().as_slice()).read_to_end(&mut text).unwrap();
        assert_eq!(text[..20], there[..20], "{path}");
        assert_eq!(get(path, &[("if-match", "\"x\"")]).status, 412);
        let head = agent.call("HEAD", &format!("/files?path={path}"), &[], b"");
        assert_eq!((head.status, head.header("content-length")), (200, None));
        // Made into one with others it is all there, and it cannot go from where it is.
        let body = json!({"source_paths": [path], "destination": format!("{root}/whole")}).to_string();
        let answer =
            agent.call("POST", "/files/compose", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    }
    // A link to it is no other thing.
    std::os::unix::fs::symlink("/proc/cpuinfo", format!("{root}/link")).unwrap();
    assert!(get(&format!("{root}/link"), &[]).bytes().len() > 20);
    // What is long comes whole.
    let long = std::fs::read("/proc/kallsyms").unwrap();
    assert!(get("/proc/kallsyms", &[]).bytes() == long);
    // An empty file is one with a length.
    std::fs::write(format!("{root}/empty"), "").unwrap();
    let empty = get(&format!("{root}/empty"), &[]);
    assert_eq!((empty.header("content-length"), empty.header("accept-ranges")), (Some("0"), Some("bytes")));
}

#[test]
fn what_cannot_be_read_is_said_in_words() {
    let (agent, _keep, _) = scene();
    // There, a regular file by its inode, and without a byte at its beginning.
    let path = format!("/proc/{}/mem", std::process::id());
    let answer = agent.call("GET", &format!("/files?path={path}"), &[], b"");
    assert_eq!(answer.status, 500);
    assert!(answer.json()["message"].as_str().unwrap().contains(&format!("cannot read '{path}'")));
}

#[test]
fn nothing_is_told_of_the_agent_itself() {
    let (agent, _keep, root) = scene();
    let (pid, get) = (agent.pid(), |path: &str| {
        let answer = agent.call("GET", &format!("/files?path={path}"), &[], b"");
        let status = answer.status;
        (status, answer.bytes())
    });
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut threads = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let thread = threads.find(|id| *id != pid.to_string()).unwrap();
    std::os::unix::fs::symlink("/proc/self/environ", format!("{root}/link")).unwrap();
    std::os::unix::fs::symlink("/proc/self", format!("{root}/self")).unwrap();
    let paths = [
        "/proc/self/environ".to_owned(),
        "/proc/self/maps".to_owned(),
        "/proc/thread-self/status".to_owned(),
        format!("/proc/{pid}/environ"),
        format!("/proc/{pid}/task/{thread}/environ"),
        format!("/proc/{thread}/environ"),
        format!("{root}/link"),
        format!("{root}/self/maps"),
        "/proc/self/exe".to_owned(),
    ];
    for path in &paths {
        let (status, body) = get(path);
        assert_eq!(status, 403, "{path}: {}", String::from_utf8_lossy(&body));
        let body = json!({"source_paths": [path], "destination": format!("{root}/copy")}).to_string();
        let answer =
            agent.call("POST", "/files/compose", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(answer.status, 403, "{path}");
        assert!(!std::path::Path::new(&format!("{root}/copy")).exists());
    }
    let score = || std::fs::read(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let before = score();
    let answer = agent.call("POST", "/files?path=/proc/self/oom_score_adj", &[OCTETS], b"7");
    assert_eq!((answer.status, score()), (403, before));
    // What it has open are the files of others: this is its standard input.
    for path in ["/dev/fd/0", "/dev/stdin", "/proc/self/fd/0"] {
        assert!(matches!(get(path).0, 400 | 403), "{path}");
    }
    // Other processes, and what only has its place there.
    let me = format!("/proc/{}/environ", std::process::id());
    assert_eq!(get(&me), (200, std::fs::read(&me).unwrap()));
    for path in ["/proc/mounts", "/proc/net/dev"] {
        let (status, body) = get(path);
        assert!(status == 200 && !body.is_empty(), "{path}");
    }
}

#[test]
fn a_file_moves_only_from_where_it_can_go() {
    let (agent, _keep, root) = scene();
    for source in ["/proc/cpuinfo", "/sys/kernel/mm/transparent_hugepage/enabled"] {
        let message = json!({"source": source, "destination": format!("{root}/moved")});
        let (status, answer) = agent.unary("/filesystem.Filesystem/Move", &message);
        assert_eq!((status, &answer["code"]), (403, &json!("permission_denied")), "{answer}");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    }
}
