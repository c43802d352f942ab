//! What browsers are told of files.

use crate::files::scene;

#[test]
fn files_are_typed_and_named_and_never_pages() {
    let (agent, _keep, root) = scene();
    let text = ("text/plain; charset=utf-8", "inline");
    for (name, encoded, (content_type, kind), rest) in [
        ("a b.txt", "a%20b.txt", text, "filename=\"a b.txt\""),
        ("x.pdf", "x.pdf", ("application/pdf", "inline"), "filename=\"x.pdf\""),
        ("x.html", "x.html", ("application/octet-stream", "attachment"), "filename=\"x.html\""),
        ("x.svg", "x.svg", ("application/octet-stream", "attachment"), "filename=\"x.svg\""),
        ("q\"\n.md", "q%22%0A.md", text, "filename=\"q__.md\"; filename*=utf-8''q%22%0a.md"),
        ("\u{e4}.txt", "%C3%A4.txt", text, "filename=\"_.txt\"; filename*=utf-8''%c3%a4.txt"),
    ] {
        std::fs::write(format!("{root}/{name}"), "<script>alert(1)</script>").unwrap();
        let url = format!("/files?path={root}/{encoded}");
        for (method, headers) in [
            ("GET", &[][..]),
            ("HEAD", &[]),
            ("GET", &[("accept-encoding", "gzip")]),
            ("GET", &[("range", "bytes=1-2")]),
        ] {
            let answer = agent.call(method, &url, headers, b"");
            assert_eq!(answer.header("content-type"), Some(content_type), "{name:?}");
            let disposition = format!("{kind}; {rest}");
            assert_eq!(answer.header("content-disposition"), Some(disposition.as_str()), "{name:?}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            // Browsers show no PDF in a sandbox.
            let sandbox = (content_type != "application/pdf").then_some("sandbox");
            assert_eq!(answer.header("content-security-policy"), sandbox, "{name:?}");
        }
    }
    let refused = agent.call("GET", "/files?path=/no/%3Cscript%3E", &[], b"");
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
}
