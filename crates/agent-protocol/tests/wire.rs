//! The wire examples, verbatim, and the laws of framing.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use sandscope_agent_protocol::connect::EndOfStream;
use sandscope_agent_protocol::filesystem::{EntryInfo, FileType, ListDirRequest, MoveRequest, PathRequest};
use sandscope_agent_protocol::frame::{self, FrameDecoder, MAX_PAYLOAD_BYTES};
use sandscope_agent_protocol::process::{
    EndEvent, Output, ProcessEvent, ProcessInput, ProcessRequest, ProcessResponse, ProcessSelector,
    SendInputRequest, SendSignalRequest, Signal, StartRequest, StreamInputRequest, UpdateRequest,
};
use sandscope_agent_protocol::signature::{self, Operation};
use sandscope_agent_protocol::{Blob, Code, ConnectError, FrameError};
use serde_json::{Value, from_str, json, to_value};

/// Reads `text` and writes it again: the same JSON must come out.
fn round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(text: &str) -> T {
    let message: T = from_str(text).unwrap();
    assert_eq!(to_value(&message).unwrap(), from_str::<Value>(text).unwrap());
    message
}

#[test]
fn requests_as_clients_write_them() {
    let start: StartRequest = round_trip(
        r#"{"process":{"cmd":"/bin/bash","args":["-l","-c","echo hi"],"envs":{"Q":"1"},"cwd":"/tmp"},"stdin":false}"#,
    );
    assert_eq!(start.process.unwrap().args[2], "echo hi");
    assert_eq!(start.stdin, Some(false));

    let pty: StartRequest = round_trip(
        r#"{"process":{"cmd":"/bin/bash","args":["-i","-l"],"envs":{"TERM":"xterm-256color","LANG":"C.UTF-8","LC_ALL":"C.UTF-8"}},"pty":{"size":{"cols":80,"rows":24}}}"#,
    );
    assert_eq!(pty.pty.unwrap().size.unwrap().cols, 80);
    assert_eq!(pty.stdin, None);

    let connect: ProcessRequest = round_trip(r#"{"process":{"pid":42}}"#);
    assert_eq!(connect.process, Some(ProcessSelector::Pid(42)));
    let signal: SendSignalRequest = round_trip(r#"{"process":{"pid":42},"signal":"SIGNAL_SIGKILL"}"#);
    assert_eq!(signal.signal, Signal::Sigkill);
    let input: SendInputRequest = round_trip(r#"{"process":{"pid":42},"input":{"stdin":"eA=="}}"#);
    assert_eq!(input.input, Some(ProcessInput::Stdin(Blob::from(b"x".to_vec()))));
    round_trip::<UpdateRequest>(r#"{"process":{"pid":42},"pty":{"size":{"cols":100,"rows":30}}}"#);
    round_trip::<StreamInputRequest>(r#"{"start":{"process":{"pid":42}}}"#);
    round_trip::<StreamInputRequest>(r#"{"data":{"input":{"stdin":"YQ=="}}}"#);
    round_trip::<StreamInputRequest>(r#"{"keepalive":{}}"#);
    round_trip::<ListDirRequest>(r#"{"path":"/x","depth":1}"#);
    round_trip::<PathRequest>(r#"{"path":"/x"}"#);
    round_trip::<MoveRequest>(r#"{"source":"/a","destination":"/b"}"#);
}

#[test]
fn unknown_and_null_fields_are_ignored() {
    let start: StartRequest =
        from_str(r#"{"process":{"cmd":"x","args":null,"new":1},"later":{},"tag":null}"#).unwrap();
    assert_eq!(start.process.unwrap().cmd, "x");
    assert_eq!(from_str::<StartRequest>("{}").unwrap(), StartRequest::default());
}

#[test]
fn answers_as_clients_read_them() {
    for (event, text) in [
        (ProcessEvent::Start { pid: 42 }, r#"{"event":{"start":{"pid":42}}}"#),
        (
            ProcessEvent::Data(Output::Stdout(Blob::from(b"hi\n".to_vec()))),
            r#"{"event":{"data":{"stdout":"aGkK"}}}"#,
        ),
        (
            ProcessEvent::End(EndEvent {
                exit_code: 1,
                exited: true,
                status: "exit status 1".to_owned(),
                error: Some("exit status 1".to_owned()),
            }),
            r#"{"event":{"end":{"exitCode":1,"exited":true,"status":"exit status 1","error":"exit status 1"}}}"#,
        ),
        (
            ProcessEvent::End(EndEvent {
                exited: true,
                status: "exit status 0".to_owned(),
                ..EndEvent::default()
            }),
            r#"{"event":{"end":{"exited":true,"status":"exit status 0"}}}"#,
        ),
        (ProcessEvent::Keepalive {}, r#"{"event":{"keepalive":{}}}"#),
    ] {
        assert_eq!(serde_json::to_string(&ProcessResponse::from(event.clone())).unwrap(), text);
        assert_eq!(from_str::<ProcessResponse>(text).unwrap().event, event);
    }
}

#[test]
fn entries_write_sizes_as_strings() {
    let entry =
        EntryInfo { name: "a".to_owned(), file_type: FileType::File, size: 5, ..EntryInfo::default() };
    assert_eq!(to_value(&entry).unwrap(), json!({"name":"a","type":"FILE_TYPE_FILE","size":"5"}));
    assert_eq!(from_str::<EntryInfo>(r#"{"size":7}"#).unwrap().size, 7);
    assert_eq!(from_str::<EntryInfo>(r#"{"size":"9223372036854775807"}"#).unwrap().size, i64::MAX);
}

#[test]
fn base64_is_read_in_every_spelling() {
    for text in ["\"+/8=\"", "\"+/8\"", "\"-_8=\"", "\"-_8\""] {
        assert_eq!(from_str::<Blob>(text).unwrap().0.as_ref(), [0xfb, 0xff]);
    }
    assert!(from_str::<Blob>("\"*\"").is_err());
}

#[test]
fn errors_and_their_statuses() {
    let error = ConnectError::new(Code::NotFound, "process with pid 9 not found");
    let text = r#"{"code":"not_found","message":"process with pid 9 not found"}"#;
    assert_eq!(serde_json::to_string(&error).unwrap(), text);
    assert_eq!(error.code.http_status(), 404);
    assert_eq!(serde_json::to_string(&EndOfStream::default()).unwrap(), "{}");
    let end = EndOfStream { error: Some(error) };
    assert_eq!(serde_json::to_string(&end).unwrap(), format!("{{\"error\":{text}}}"));
}

#[test]
fn the_published_signature_vector() {
    assert_eq!(
        signature::v1("a.txt", Operation::Write, "", "tok", None),
        "v1_/GA+OwObMH6etEE0CJuj8oBdczYFCpvdP4xFwJ/WIH8"
    );
}

#[test]
fn everything_signed_changes_the_signature() {
    let signed = signature::v1("a", Operation::Read, "u", "t", Some(5));
    for other in [
        signature::v1("b", Operation::Read, "u", "t", Some(5)),
        signature::v1("a", Operation::Write, "u", "t", Some(5)),
        signature::v1("a", Operation::Read, "v", "t", Some(5)),
        signature::v1("a", Operation::Read, "u", "s", Some(5)),
        signature::v1("a", Operation::Read, "u", "t", Some(6)),
        signature::v1("a", Operation::Read, "u", "t", None),
    ] {
        assert_ne!(signed, other);
    }
}

#[test]
fn frames_that_are_none() {
    let mut decoder = FrameDecoder::default();
    decoder.push(&[1, 0, 0, 0, 0]);
    assert_eq!(decoder.next(), Err(FrameError::Compressed));
    let mut decoder = FrameDecoder::default();
    decoder.push(&[0x80, 0, 0, 0, 0]);
    assert_eq!(decoder.next(), Err(FrameError::UnknownFlags(0x80)));
    let mut decoder = FrameDecoder::default();
    decoder.push(&[0, 0xff, 0xff, 0xff, 0xff]);
    let too_large = FrameError::TooLarge { announced: u32::MAX as usize, limit: MAX_PAYLOAD_BYTES };
    assert_eq!(decoder.next(), Err(too_large));
    let mut decoder = FrameDecoder::default();
    decoder.push(&[0, 0, 0, 0, 2, b'{']);
    assert_eq!(decoder.next(), Ok(None));
    assert_eq!(decoder.finish(), Err(FrameError::Truncated));
}

proptest! {
    #[test]
    fn frames_survive_any_split(
        messages in prop::collection::vec("[a-z]{0,40}", 0..8),
        cuts in prop::collection::vec(1usize..20, 1..40),
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.extend_from_slice(&frame::encode(message).unwrap());
        }
        bytes.extend_from_slice(&frame::encode_end(&EndOfStream::default()).unwrap());
        let mut decoder = FrameDecoder::default();
        let mut seen = Vec::new();
        let mut rest = bytes.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            decoder.push(head);
            rest = tail;
            while let Some(frame) = decoder.next().unwrap() {
                seen.push(frame);
            }
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        let end = seen.pop().unwrap();
        prop_assert!(end.end_of_stream);
        prop_assert_eq!(end.payload.as_ref(), b"{}");
        let texts: Vec<String> = seen.iter().map(|f| serde_json::from_slice(&f.payload).unwrap()).collect();
        prop_assert_eq!(texts, messages);
    }

    #[test]
    fn any_bytes_make_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = FrameDecoder::with_limit(64);
        decoder.push(&bytes);
        while let Ok(Some(frame)) = decoder.next() {
            prop_assert!(frame.payload.len() <= 64);
        }
    }

    #[test]
    fn blobs_survive(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let blob = Blob::from(bytes);
        let text = serde_json::to_string(&blob).unwrap();
        prop_assert_eq!(from_str::<Blob>(&text).unwrap(), blob);
    }
}
