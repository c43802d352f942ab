//! Uploads that break off.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;

use crate::client::{Agent, TOKEN};
use crate::files::{OCTETS, scene, wait_until};

/// Begins an upload of a new file and sends half of it.
fn half(agent: &Agent, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(agent.address()).unwrap();
    let head = format!(
        "POST /files?path={path} HTTP/1.1\r\nhost: x\r\nx-access-token: {TOKEN}\r\n\
         content-type: application/octet-stream\r\ncontent-length: 1000\r\n\r\nhalf"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// How many files the agent has open that were opened at `path`. Only root may know.
fn opened(agent: &Agent, path: &str) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap();
    let links = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with(path)).count()
}

/// Breaks it off; returns when the agent is done with it.
fn break_off(agent: &Agent, path: &str, upload: TcpStream, others: usize) {
    drop(upload);
    wait_until("it is closed", || opened(agent, path) == others);
}

#[test]
fn an_upload_that_breaks_off_leaves_no_file_that_looks_whole() {
    let (agent, _keep, root) = scene();
    let path = format!("{root}/half");
    let upload = half(&agent, &path);
    wait_until("the upload has begun", || Path::new(&path).exists());
    drop(upload);
    wait_until("the half file is gone", || !Path::new(&path).exists());
}

#[test]
fn an_upload_that_breaks_off_takes_nothing_from_others() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let (agent, _keep, root) = scene();
    let path = format!("{root}/f");
    let begin = |before: usize| {
        let upload = half(&agent, &path);
        wait_until("the upload has begun", || opened(&agent, &path) > before);
        upload
    };
    // Another upload, which was answered.
    let upload = begin(0);
    let answer = agent.call("POST", &format!("/files?path={path}"), &[OCTETS], b"whole");
    assert_eq!(answer.status, 200);
    break_off(&agent, &path, upload, 0);
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    fs::remove_file(&path).unwrap();
    // A program's file, which it has given the name.
    let upload = begin(0);
    fs::write(format!("{root}/other"), "other").unwrap();
    fs::rename(format!("{root}/other"), &path).unwrap();
    break_off(&agent, &path, upload, 0);
    assert_eq!(fs::read(&path).unwrap(), b"other");
    fs::remove_file(&path).unwrap();
    // Where all break off, the last one removes it.
    let first = begin(0);
    let one = opened(&agent, &path);
    let second = begin(one);
    break_off(&agent, &path, first, one);
    assert!(fs::exists(&path).unwrap());
    drop(second);
    wait_until("the half file is gone", || !fs::exists(&path).unwrap());
}
