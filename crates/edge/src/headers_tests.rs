use super::*;

fn prepared(headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method("POST").uri("http://3000-x.example/a?b=c");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body).unwrap();
    let upgrade = Upgrade::wanted(&request);
    prepare(&mut request, upgrade.as_ref());
    request
}

fn names(request: &Request<Body>) -> Vec<&str> {
    request.headers().keys().map(HeaderName::as_str).collect()
}

#[test]
fn what_belongs_to_the_connection_or_to_the_control_plane_stays_outside() {
    let headers = [
        ("connection", "close, x-mine"),
        ("x-mine", "1"),
        ("x-api-key", "e2b_0"),
        ("e2b-traffic-access-token", "t"),
        ("keep-alive", "timeout=5"),
        ("x-access-token", "kept"),
    ];
    let request = prepared(&headers, Body::empty());
    assert_eq!(names(&request), ["x-access-token", "host"]);
    assert_eq!(request.uri(), "/a?b=c");
    assert_eq!(request.headers()[HOST], "3000-x.example");
}

#[test]
fn our_keys_stay_outside_however_they_come() {
    let kept = |headers: &[(&str, &str)]| prepared(headers, Body::empty()).headers().len() - 1;
    assert_eq!(kept(&[("x-api-key", "mine"), ("X-API-Key", "e2b_0")]), 0);
    assert_eq!(kept(&[("x-api-key", "  e2b_0")]), 0);
    assert_eq!(kept(&[("authorization", "bearer  e2b_0")]), 0);
    let theirs = [("x-api-key", "mine"), ("authorization", "Bearer theirs")];
    assert_eq!(kept(&theirs), 2);
    assert_eq!(kept(&[("authorization", "Basic dXNlcjo=")]), 1);
}

#[test]
fn an_upgrade_is_passed_on() {
    let request = prepared(&[("connection", "Keep-Alive, Upgrade"), ("upgrade", "websocket")], Body::empty());
    assert_eq!(request.headers()[UPGRADE], "websocket");
    assert_eq!(request.headers()[CONNECTION], "upgrade");
    // The header alone asks for nothing.
    assert_eq!(names(&prepared(&[("upgrade", "websocket")], Body::empty())), ["host"]);
}

#[test]
fn bodies_of_unknown_length_go_in_chunks_and_may_have_trailers() {
    let request = prepared(&[("te", "trailers, deflate"), ("trailer", "x-sum")], Body::new(Endless));
    assert_eq!(request.headers()[TRANSFER_ENCODING], "chunked");
    assert_eq!(request.headers()[TRAILER], "x-sum");
    assert_eq!(request.headers()[TE], "trailers");
    let request = prepared(&[("trailer", "x-sum")], Body::from("known"));
    assert_eq!(names(&request), ["host"]);
}

/// A body of which nobody knows when it ends.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[test]
fn cookies_come_in_one_line() {
    let request = prepared(&[("cookie", "a=1"), ("cookie", "b=2")], Body::empty());
    let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2"]);
}

#[test]
fn the_host_is_masked_and_the_one_asked_for_is_kept_beside_it() {
    let mut request = prepared(&[], Body::empty());
    mask_host(request.headers_mut(), "localhost:${PORT}", 3000);
    assert_eq!(request.headers()[HOST], "localhost:3000");
    assert_eq!(request.headers()["x-forwarded-host"], "3000-x.example");
    // A proxy in front of us knows better.
    let mut request = prepared(&[("x-forwarded-host", "public.example")], Body::empty());
    mask_host(request.headers_mut(), "inside", 3000);
    assert_eq!(request.headers()[HOST], "inside");
    assert_eq!(request.headers()["x-forwarded-host"], "public.example");
}

#[test]
fn tokens_that_open_more_than_the_program_stay_outside() {
    let secret = |text: &str| Secret::new(text.to_owned());
    let (access, admin) = (secret("agents"), secret("operators"));
    let kept = |port: u16, given: &[(&str, &str)]| {
        let mut request = prepared(given, Body::empty());
        keep_back_tokens(request.headers_mut(), port, Some(&access), Some(&admin));
        names(&request).len() - 1
    };
    let both = [("x-access-token", "agents"), ("x-admin-token", "operators")];
    assert_eq!(kept(3000, &both), 0);
    assert_eq!(kept(3000, &[("x-access-token", "theirs"), ("X-Access-Token", " agents")]), 0);
    assert_eq!((kept(AGENT_PORT, &both), kept(CODE_INTERPRETER_PORT, &both)), (1, 1));
    assert_eq!(kept(3000, &[("x-access-token", "theirs"), ("x-admin-token", "theirs")]), 2);
}

#[test]
fn a_length_is_passed_on_once_and_in_plain_digits() {
    let length = |values: &[&str]| {
        let given: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        let request = prepared(&given, Body::from("abc"));
        let values = request.headers().get_all(CONTENT_LENGTH).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(length(&["03"]), ["3"]);
    assert_eq!(length(&["3", "3"]), ["3"]);
    assert_eq!(length(&["3, 3"]), ["3"]);
    assert!(length(&[]).is_empty());
    let chunked = prepared(&[("content-length", "3")], Body::new(Endless));
    assert_eq!(names(&chunked), ["transfer-encoding", "host"]);
}
