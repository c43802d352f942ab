use sandscope_agent_protocol::signature::{Operation, v1};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Agent, TOKEN};

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

fn scene() -> (Agent, TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    (Agent::start(), directory, path)
}

fn multipart(parts: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, filename, contents) in parts {
        body.push_str(&format!(
            "--bOuNd\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{contents}\r\n"
        ));
    }
    body.push_str("--bOuNd--\r\n");
    body.into_bytes()
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=bOuNd");

#[test]
fn written_whole_and_read_back() {
    let (agent, _keep, root) = scene();
    let url = format!("/files?path={root}/new/a.txt");
    let contents: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let written = agent.call("POST", &url, &[OCTETS], &contents);
    assert_eq!(written.status, 200);
    assert_eq!(
        written.json(),
        json!([{"path": format!("{root}/new/a.txt"), "name": "a.txt", "type": "file"}])
    );
    let read = agent.call("GET", &url, &[], b"");
    assert_eq!((read.status, read.header("content-length")), (200, Some("3000000")));
    assert_eq!(read.bytes(), contents);
    let part = agent.call("GET", &url, &[("range", "bytes=5-9")], b"");
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 5-9/3000000")));
    assert_eq!(part.bytes(), &contents[5..10]);
    // Shorter than before: nothing of the old contents may be left.
    assert_eq!(agent.call("POST", &url, &[OCTETS], b"x").status, 200);
    assert_eq!(agent.call("GET", &url, &[], b"").bytes(), b"x");
}

#[test]
fn written_as_a_form() {
    let (agent, _keep, root) = scene();
    let one =
        agent.call("POST", &format!("/files?path={root}/a"), &[FORM], &multipart(&[("file", "x", "hi")]));
    assert_eq!(one.json()[0]["path"], format!("{root}/a"));
    let names = [format!("{root}/m1"), format!("{root}/m2")];
    let form = multipart(&[("file", &names[0], "1"), ("other", "y", "2"), ("file", &names[1], "")]);
    let many = agent.call("POST", "/files", &[FORM], &form).json();
    assert_eq!((many[0]["name"].as_str(), many[1]["name"].as_str()), (Some("m1"), Some("m2")));
    assert_eq!(std::fs::read(&names[0]).unwrap(), b"1");
    assert_eq!(std::fs::read(&names[1]).unwrap(), b"");

    let twice = multipart(&[("file", &names[0], "1"), ("file", &names[0], "2")]);
    assert_eq!(agent.call("POST", "/files", &[FORM], &twice).status, 400);
    let torn = &form[..form.len() - 9];
    assert_eq!(agent.call("POST", "/files", &[FORM], torn).status, 400);
}

#[test]
fn refusals() {
    let (agent, _keep, root) = scene();
    let missing = agent.call("GET", &format!("/files?path={root}/no"), &[], b"");
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json(), json!({"code": 404, "message": format!("path '{root}/no' does not exist")}));
    assert_eq!(agent.call("GET", &format!("/files?path={root}"), &[], b"").status, 400);
    assert_eq!(agent.call("POST", &format!("/files?path={root}"), &[OCTETS], b"x").status, 400);
    assert_eq!(agent.call("POST", "/files", &[OCTETS], b"x").status, 400);
    assert_eq!(agent.call("POST", "/files?path=x", &[("content-type", "text/plain")], b"x").status, 415);
    assert_eq!(agent.call("GET", "/files?path=x&username=ghost", &[], b"").status, 401);
    let gzip = [OCTETS, ("content-encoding", "gzip")];
    assert_eq!(agent.call("POST", &format!("/files?path={root}/z"), &gzip, b"x").status, 501);
    // A FIFO nobody has open, and a device without end.
    let fifo = format!("{root}/fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [fifo.as_str(), "/dev/zero"] {
        assert_eq!(agent.call("GET", &format!("/files?path={path}"), &[], b"").status, 400);
        assert_eq!(agent.call("POST", &format!("/files?path={path}"), &[OCTETS], b"x").status, 400);
    }
}

#[test]
fn a_refusal_reaches_whoever_is_still_writing() {
    let (agent, _keep, root) = scene();
    let large = vec![b'x'; 20_000_000];
    let directory = agent.call("POST", &format!("/files?path={root}"), &[OCTETS], &large);
    let text = agent.call("POST", "/files?path=x", &[("content-type", "text/plain")], &large);
    let stranger = agent.send("POST", "/files?path=x", &[OCTETS], &large);
    for (answer, status) in [(directory, 400), (text, 415), (stranger, 401)] {
        assert_eq!((answer.status, answer.taken), (status, true));
    }
}

#[test]
fn signatures_open_one_path_for_a_time() {
    let (agent, _keep, root) = scene();
    let path = format!("{root}/s");
    std::fs::write(&path, "signed").unwrap();
    let get = |query: &str| {
        let answer = agent.send("GET", &format!("/files?{query}"), &[], b"");
        let (status, body) = (answer.status, answer.bytes());
        (status, String::from_utf8(body).unwrap())
    };
    let encode = |signature: String| signature.replace('+', "%2B").replace('/', "%2F");
    let read = encode(v1(&path, Operation::Read, "", TOKEN, None));
    assert_eq!(get(&format!("path={path}&signature={read}")), (200, "signed".to_owned()));
    let future = encode(v1(&path, Operation::Read, "", TOKEN, Some(32_503_680_000)));
    let url = format!("path={path}&signature={future}&signature_expiration=32503680000");
    assert_eq!(get(&url), (200, "signed".to_owned()));
    let past = encode(v1(&path, Operation::Read, "", TOKEN, Some(1)));
    let write = encode(v1(&path, Operation::Write, "", TOKEN, None));
    for (query, message) in [
        (format!("path={path}"), "missing signature query parameter"),
        (format!("path={path}&signature=v1_x"), "invalid signature"),
        (format!("path={path}&signature={write}"), "invalid signature"),
        (format!("path={path}2&signature={read}"), "invalid signature"),
        (format!("path={path}&signature={read}&signature_expiration=32503680000"), "invalid signature"),
        (format!("path={path}&signature={past}&signature_expiration=1"), "signature is already expired"),
    ] {
        let (status, body) = get(&query);
        assert_eq!((status, body.contains(message)), (401, true), "{query}: {body}");
    }
    let wrong = agent.send("GET", &format!("/files?path={path}"), &[("x-access-token", "no")], b"");
    assert_eq!(wrong.json()["message"], "access token present in header but does not match");
}

#[test]
fn directories_and_entries() {
    let (agent, _keep, root) = scene();
    let call = |method: &str, body| agent.unary(&format!("/filesystem.Filesystem/{method}"), &body);
    let (status, made) = call("MakeDir", json!({"path": format!("{root}/d")}));
    assert_eq!((status, &made["entry"]["type"]), (200, &json!("FILE_TYPE_DIRECTORY")));
    assert_eq!(call("MakeDir", json!({"path": format!("{root}/d")})).0, 409);
    std::fs::write(format!("{root}/d/f"), "12345").unwrap();
    let (status, listed) = call("ListDir", json!({"path": root, "depth": 2}));
    assert_eq!((status, listed["entries"].as_array().unwrap().len()), (200, 2));
    assert_eq!(listed["entries"][1]["size"], "5");
    let moved = call("Move", json!({"source": format!("{root}/d/f"), "destination": format!("{root}/g")}));
    assert_eq!(moved.1["entry"]["name"], "g");
    let (status, missing) = call("Stat", json!({"path": format!("{root}/d/f")}));
    assert_eq!((status, &missing["code"]), (404, &json!("not_found")));
    assert_eq!(call("Remove", json!({"path": format!("{root}/d")})), (200, json!({})));
    assert_eq!(call("Remove", json!({"path": format!("{root}/d")})), (200, json!({})));
    let (status, entry) = call("Stat", json!({"path": format!("{root}/g")}));
    let time = entry["entry"]["modifiedTime"].as_str().unwrap();
    assert!(status == 200 && time.starts_with("20") && time.ends_with('Z'), "{time}");
}
