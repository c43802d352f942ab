//! What the parsers promise on any bytes, one function each: they panic where a promise is broken.
//!
//! `tests/fuzz.rs` drives them with a fixed number of mutated seeds on every test run; the targets in the workspace's
//! `fuzz/` directory drive the same functions with coverage feedback for as long as one likes.

use std::fmt::Debug;

use http::header::{
    ACCEPT_ENCODING, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connect::EndOfStream;
use crate::content::{Accepted, Coding, Extent, Version};
use crate::file_query::FileQuery;
use crate::multipart::{Event, Multipart};
use crate::signature::Operation;
use crate::{ConnectError, FrameDecoder, filesystem, paths, process, rest, signature};

/// One parser.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of the `cargo fuzz` target.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub check: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "frames",
        check: frames,
        seeds: &[b"\x03\x00\x00\x00\x00\x02{}\x02\x00\x00\x00\x02{}", b"\x01\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00"],
    },
    Target {
        name: "process_messages",
        check: process_messages,
        seeds: &[
            br#"{"process":{"cmd":"/bin/bash","args":["-l","-c","echo hi"],"envs":{"Q":"1"},"cwd":"/tmp"},"stdin":false}"#,
            br#"{"process":{"cmd":"sh"},"pty":{"size":{"cols":80,"rows":24}},"tag":"t"}"#,
            br#"{"process":{"pid":42},"signal":"SIGNAL_SIGKILL"}"#,
            br#"{"process":{"tag":"a"},"input":{"stdin":"eA=="}}"#,
            br#"{"data":{"input":{"pty":"YQ=="}}}"#,
            br#"{"start":{"process":{"pid":42}}}"#,
            br#"{"event":{"end":{"exitCode":1,"exited":true,"status":"exit status 1","error":"x"}}}"#,
            br#"{"event":{"data":{"stdout":"aGkK"}}}"#,
            br#"{"processes":[{"config":{"cmd":"cat"},"pid":7,"tag":"x"}]}"#,
            br#"{"lines":[{"seq":2,"at":-1,"pid":7,"source":"stderr","text":"x","cut":3}],"upto":9}"#,
        ],
    },
    Target {
        name: "filesystem_messages",
        check: filesystem_messages,
        seeds: &[
            br#"{"path":"/x","depth":1}"#,
            br#"{"source":"/a","destination":"/b"}"#,
            br#"{"path":"/x","recursive":true,"includeEntry":true,"allowNetworkMounts":true}"#,
            br#"{"watcherId":"wabc"}"#,
            br#"{"events":[{"name":"a","type":"EVENT_TYPE_CREATE","entry":{"name":"a","size":"5","mode":420}}]}"#,
            br#"{"filesystem":{"name":"rel","type":"EVENT_TYPE_CHMOD"}}"#,
            br#"{"entries":[{"name":"a","type":"FILE_TYPE_FILE","size":-7,"metadata":{"k":"v"},"isSymlink":true}]}"#,
        ],
    },
    Target {
        name: "rest_messages",
        check: rest_messages,
        seeds: &[
            br#"{"accessToken":"t","envVars":{"A":"1"},"defaultUser":"user","defaultWorkdir":"/w","timestamp":"x"}"#,
            br#"{"source_paths":["/a","/b"],"destination":"/c","username":"root"}"#,
            br#"{"code":"not_found","message":"process with pid 9 not found"}"#,
            br#"{"error":{"code":"internal","message":"m"}}"#,
            br#"[{"path":"/a","name":"a","type":"file","metadata":{"k":"v"}}]"#,
            br#"{"ts":1,"cpu_count":2,"cpu_used_pct":0.5,"mem_total":7}"#,
        ],
    },
    Target {
        name: "multipart",
        check: multipart,
        seeds: &[
            b"\x05--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/a \\\"b%22.txt\"\r\n\r\none\r\n--B--\r\n",
            b"\x01pre\r\n--B  \r\nA: b\r\ncontent-disposition: form-data; name=file\r\n\r\n\r\n--\r\n--B\r\n\r\nx\r\n--B--",
        ],
    },
    Target {
        name: "queries",
        check: queries,
        seeds: &[
            b"path=%2Fhome%2Fuser%2Fa+b%2B.txt&username=root&signature=v1_%2F%2B&signature_expiration=5&x=1",
            b"Basic cm9vdDo=",
            b"form-data; boundary=\"x\\\"y\"; b=c",
        ],
    },
    Target {
        name: "resolved_paths",
        check: resolved_paths,
        seeds: &[b"~/a/../b", b"/x/../../y//.", b"../../../etc/passwd", b"~root/x", b"./.", b""],
    },
    Target {
        name: "content",
        check: content,
        seeds: &[
            b"bytes=0-3",
            b"bytes=-30",
            b"bytes=18446744073709551615-",
            b"gzip;q=0.5, identity;q=0, *",
            b"\"1-2-3.4\", W/\"x\"",
            b"Mon, 28 Jul 2025 08:04:05 GMT",
        ],
    },
];

/// Runs the target called `name`. An unknown name is a broken promise as well.
pub fn check(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    assert!(target.is_some(), "there is no target {name}");
    target.iter().for_each(|target| (target.check)(data));
}

/// Frames of bounded size come out, the same ones however the bytes arrive, and they encode to what came in.
fn frames(data: &[u8]) {
    const LIMIT: usize = 64;
    let Some((&size, data)) = data.split_first() else { return };
    let read = |size: usize| {
        let mut decoder = FrameDecoder::with_limit(LIMIT);
        let (mut found, mut used) = (Vec::new(), 0);
        for piece in data.chunks(size.max(1)) {
            decoder.push(piece);
            loop {
                match decoder.next() {
                    Ok(Some(frame)) => {
                        assert!(frame.payload.len() <= LIMIT, "a frame above the limit");
                        used += crate::frame::HEADER_BYTES + frame.payload.len();
                        found.push(frame);
                    }
                    Ok(None) => break,
                    Err(error) => return (found, used, Some(error)),
                }
            }
        }
        let error = decoder.finish().err();
        (found, used, error)
    };
    let (found, used, error) = read(data.len());
    assert_eq!((found.clone(), used, error), read(usize::from(size)), "pieces change the frames");
    let mut again = Vec::new();
    for frame in &found {
        again.push(u8::from(frame.end_of_stream) << 1);
        again.extend_from_slice(&u32::try_from(frame.payload.len()).unwrap_or(0).to_be_bytes());
        again.extend_from_slice(&frame.payload);
    }
    assert_eq!(again, data[..used], "frames encode to other bytes");
}

/// What can be read can be written, and reads as the same again.
fn round_trip<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(data) else { return };
    let text = serde_json::to_vec(&message).unwrap_or_default();
    match serde_json::from_slice::<T>(&text) {
        Ok(again) => assert_eq!(again, message, "another message after one round"),
        Err(error) => panic!("unreadable after one round: {error}"),
    }
}

fn process_messages(data: &[u8]) {
    round_trip::<process::StartRequest>(data);
    round_trip::<process::ProcessRequest>(data);
    round_trip::<process::UpdateRequest>(data);
    round_trip::<process::SendInputRequest>(data);
    round_trip::<process::StreamInputRequest>(data);
    round_trip::<process::SendSignalRequest>(data);
    round_trip::<process::ListResponse>(data);
    round_trip::<process::ProcessResponse>(data);
    round_trip::<crate::logs::Lines>(data);
}

fn filesystem_messages(data: &[u8]) {
    round_trip::<filesystem::PathRequest>(data);
    round_trip::<filesystem::MoveRequest>(data);
    round_trip::<filesystem::ListDirRequest>(data);
    round_trip::<filesystem::WatchRequest>(data);
    round_trip::<filesystem::Watcher>(data);
    round_trip::<filesystem::WatcherEvents>(data);
    round_trip::<filesystem::WatchDirResponse>(data);
    round_trip::<filesystem::EntryResponse>(data);
    round_trip::<filesystem::ListDirResponse>(data);
}

fn rest_messages(data: &[u8]) {
    round_trip::<rest::InitRequest>(data);
    round_trip::<rest::ComposeRequest>(data);
    round_trip::<rest::ErrorBody>(data);
    round_trip::<Vec<rest::WriteInfo>>(data);
    round_trip::<ConnectError>(data);
    round_trip::<EndOfStream>(data);
    // Fractions may lose a digit on the way.
    let _ = serde_json::from_slice::<rest::AgentMetrics>(data);
}

/// Name, file name, contents, whether it has ended.
type Part = (Option<String>, Option<String>, Vec<u8>, bool);

/// The same parts come out however the bytes arrive, and no byte comes out that did not go in.
fn multipart(data: &[u8]) {
    let Some((&size, data)) = data.split_first() else { return };
    let read = |size: usize| {
        let Ok(mut multipart) = Multipart::new("multipart/form-data; boundary=B") else { return None };
        let mut parts: Vec<Part> = Vec::new();
        for piece in data.chunks(size.max(1)) {
            multipart.push(piece);
            loop {
                match multipart.next() {
                    Ok(Some(Event::Part { name, filename })) => {
                        parts.push((name, filename, Vec::new(), false));
                    }
                    Ok(Some(Event::Data(bytes))) => match parts.last_mut() {
                        Some((.., contents, false)) => contents.extend_from_slice(&bytes),
                        _ => panic!("contents outside of a part"),
                    },
                    Ok(Some(Event::PartEnd)) => match parts.last_mut() {
                        Some((.., ended)) if !*ended => *ended = true,
                        _ => panic!("an end without a part"),
                    },
                    Ok(Some(Event::End) | None) => break,
                    Err(_) => return None,
                }
            }
        }
        multipart.finish().ok().map(|()| parts)
    };
    let whole = read(data.len());
    if let Some(parts) = &whole {
        assert!(parts.iter().all(|(.., ended)| *ended), "a part without an end");
        assert!(parts.iter().map(|(_, _, contents, _)| contents.len()).sum::<usize>() <= data.len());
    }
    assert_eq!(whole, read(usize::from(size)), "pieces change the parts");
}

fn queries(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let query = FileQuery::parse(&text);
    let path = query.path.as_deref().unwrap_or_default();
    let signed = signature::v1(path, Operation::Read, "", "token", None);
    assert!(signed.len() == 46 && signed.starts_with("v1_"), "{signed}");
    assert_ne!(signed, signature::v1(path, Operation::Write, "", "token", None));
    if let Some(user) = rest::basic_user(&text) {
        assert!(!user.contains(':'), "a user with a colon");
    }
    let _ = Multipart::new(&text);
}

/// Paths come out absolute and clean, whatever goes in, and mean the same a second time.
fn resolved_paths(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for workdir in ["/work", "work", text.as_ref()] {
        let Ok(resolved) = paths::resolve(&text, "/home/user", workdir) else { continue };
        assert!(resolved.starts_with('/'), "{resolved}");
        assert!(resolved == "/" || !resolved.ends_with('/'), "{resolved}");
        assert!(resolved == "/" || resolved[1..].split('/').all(|part| !matches!(part, "" | "." | "..")));
        assert_eq!(paths::resolve(&resolved, "/", "/").ok().as_ref(), Some(&resolved));
        assert!(!paths::name(&resolved).is_empty());
    }
}

fn content(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let with = |name: HeaderName| [(name, value.clone())].into_iter().collect::<http::HeaderMap>();
    for size in [0, 1, 10, u64::MAX] {
        if let Extent::Part { first, last } = Extent::parse(&with(RANGE), size) {
            assert!(first <= last && last < size, "{first}-{last} of {size}");
        }
    }
    let accepted = Accepted::parse(&with(ACCEPT_ENCODING));
    assert!(accepted.choose() != Some(Coding::Identity) || accepted.identity());
    let version = Version::new(1, 2, 3, 4);
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE] {
        let _ = version.judge(&with(name.clone()));
        let _ = version.range_counts(&with(name));
    }
}
