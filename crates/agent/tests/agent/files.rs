use sandscope_agent_protocol::signature::{Operation, v1};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Agent, TOKEN};

pub(crate) const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

pub(crate) fn scene() -> (Agent, TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    (Agent::start(), directory, path)
}

pub(crate) fn multipart(parts: &[(&str, &str, &str)]) -> Vec<u8> {
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

pub(crate) const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=bOuNd");

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
    let brotli = [OCTETS, ("content-encoding", "br")];
    assert_eq!(agent.call("POST", &format!("/files?path={root}/z"), &brotli, b"x").status, 415);
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
    let ghost = agent.call("POST", "/files?path=x&username=ghost", &[OCTETS], &large);
    let nowhere = agent.call("POST", "/no/such/route", &[OCTETS], &large);
    let method = agent.call("PUT", "/files?path=x", &[OCTETS], &large);
    let no_call =
        agent.call("POST", "/filesystem.Filesystem/No", &[("content-type", "application/json")], &large);
    let answers = [
        (directory, 400),
        (text, 415),
        (stranger, 401),
        (ghost, 401),
        (nowhere, 404),
        (method, 405),
        (no_call, 501),
    ];
    for (answer, status) in answers {
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

#[test]
fn metadata_goes_with_the_file_and_is_replaced_with_it() {
    let (agent, _keep, root) = scene();
    let url = format!("/files?path={root}/m");
    let headers = [OCTETS, ("X-Metadata-Owner", "me & you"), ("x-metadata-kind", "a")];
    let metadata = json!({"owner": "me & you", "kind": "a"});
    assert_eq!(agent.call("POST", &url, &headers, b"x").json()[0]["metadata"], metadata);
    let entry = |path: &str| {
        let (status, answer) = agent.unary("/filesystem.Filesystem/Stat", &json!({"path": path}));
        assert_eq!(status, 200);
        answer["entry"]["metadata"].clone()
    };
    assert_eq!(entry(&format!("{root}/m")), metadata);
    let listed = agent.unary("/filesystem.Filesystem/ListDir", &json!({"path": root})).1;
    assert_eq!(listed["entries"][0]["metadata"], metadata);
    // What is not sent again is gone; a form does the same for each of its files.
    let headers = [FORM, ("x-metadata-kind", "b")];
    let form = multipart(&[("file", &format!("{root}/m"), "1"), ("file", &format!("{root}/n"), "2")]);
    assert_eq!(agent.call("POST", "/files", &headers, &form).status, 200);
    assert_eq!(
        (entry(&format!("{root}/m")), entry(&format!("{root}/n"))),
        (json!({"kind": "b"}), json!({"kind": "b"}))
    );
    assert_eq!(agent.call("POST", &url, &[OCTETS], b"y").status, 200);
    assert_eq!(entry(&format!("{root}/m")), json!(null));
    let huge = "v".repeat(5000);
    assert_eq!(agent.call("POST", &url, &[OCTETS, ("x-metadata-a", &huge)], b"z").status, 400);
    assert_eq!(std::fs::read(format!("{root}/m")).unwrap(), b"y");
}

#[test]
fn conditions_of_readers() {
    let (agent, _keep, root) = scene();
    let url = format!("/files?path={root}/c");
    assert_eq!(agent.call("POST", &url, &[OCTETS], b"0123456789").status, 200);
    let first = agent.call("GET", &url, &[], b"");
    let (tag, date) =
        (first.header("etag").unwrap().to_owned(), first.header("last-modified").unwrap().to_owned());
    assert_eq!(first.header("accept-ranges"), Some("bytes"));
    let get = |headers: &[(&str, &str)]| {
        let answer = agent.call("GET", &url, headers, b"");
        (answer.status, String::from_utf8(answer.bytes()).unwrap())
    };
    let whole = (200, "0123456789".to_owned());
    assert_eq!(get(&[("if-none-match", &tag)]), (304, String::new()));
    assert_eq!(get(&[("if-none-match", "\"other\"")]), whole);
    assert_eq!(get(&[("if-match", "\"other\"")]).0, 412);
    assert_eq!(get(&[("if-range", &tag), ("range", "bytes=8-")]), (206, "89".to_owned()));
    assert_eq!(get(&[("if-range", "\"other\""), ("range", "bytes=8-")]), whole);
    let outside = agent.call("GET", &url, &[("range", "bytes=10-")], b"");
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */10")));
    // The test's client gives headers in lower case, and dates are not.
    let upper = |date: &str| {
        let mut words: Vec<String> = date.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            if word.chars().all(|c| c.is_ascii_alphabetic() || c == ',') {
                word[..1].make_ascii_uppercase();
            }
        }
        words.join(" ").replace("Gmt", "GMT")
    };
    assert_eq!(get(&[("if-modified-since", &upper(&date))]), (304, String::new()));
    assert_eq!(agent.call("HEAD", &url, &[], b"").header("content-length"), Some("10"));
}

#[test]
fn sparse_files_and_odd_names() {
    let (agent, _keep, root) = scene();
    let sparse = std::fs::File::create(format!("{root}/sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let tail = format!("bytes={}-", (1_u64 << 40) - 4);
    let part = agent.call("GET", &format!("/files?path={root}/sparse"), &[("range", &tail)], b"");
    assert_eq!((part.status, part.bytes()), (206, vec![0; 4]));
    for (encoded, name) in [
        ("a%20b%2B%25", "a b+%"),
        ("%0Aline", "\nline"),
        ("%F0%9F%A6%80", "\u{1f980}"),
        ("%22%5C%3F%23%26", "\"\\?#&"),
        ("..%2E", "..."),
    ] {
        let answer = agent.call("POST", &format!("/files?path={root}/{encoded}"), &[OCTETS], b"x");
        assert_eq!(answer.json()[0]["name"], name);
        assert!(std::path::Path::new(&root).join(name).exists(), "{name:?}");
    }
    assert_eq!(
        agent.call("POST", &format!("/files?path={root}/{}", "n".repeat(300)), &[OCTETS], b"x").status,
        400
    );
    assert_eq!(agent.call("GET", "/files?path=a%00b", &[], b"").status, 400);
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !done() {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "never: {what}");
        std::thread::yield_now();
    }
}
