use http::Request;

use super::*;

const ID: &str = "i0123456789abcdefghij";

fn go(method: Method, uri: &str, headers: &[(&str, &str)]) -> Result<Destination, Refusal> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    destination("sandboxes.example", |path| path.starts_with("/sandboxes/"), &parts)
}

/// Sandbox and port of a request to `host`; `None` for the control plane.
fn of(host: &str, headers: &[(&str, &str)]) -> Result<Option<(String, u16)>, Refusal> {
    let headers = [&[("host", host)], headers].concat();
    Ok(match go(Method::GET, "/health", &headers)? {
        Destination::Control => None,
        Destination::Sandbox(target) => Some((target.id.to_string(), target.port)),
        other => panic!("{other:?}"),
    })
}

#[test]
fn without_host_name_or_headers_it_is_the_control_plane() {
    for host in
        ["127.0.0.1:3000", "[::1]:3000", "api.sandboxes.example", "sandboxes.example", "localhost", ""]
    {
        assert_eq!(of(host, &[]), Ok(None), "{host}");
    }
    assert_eq!(of("3000-nobody.elsewhere.example", &[]), Ok(None));
    assert_eq!(of("a-b.sandboxes.example", &[]), Ok(None));
}

#[test]
fn headers_name_sandbox_and_port() {
    let port = ("e2b-sandbox-port", "49983");
    let found = Ok(Some((ID.to_owned(), 49983)));
    for host in ["127.0.0.1:3000", "[::1]:3000", "localhost", "sandbox.sandboxes.example", "proxy.example"] {
        assert_eq!(of(host, &[("e2b-sandbox-id", ID), port]), found, "{host}");
    }
    assert_eq!(of("h", &[("e2b-sandbox-id", ID)]), Err(Refusal::MissingHeader));
    assert_eq!(of("h", &[port]), Err(Refusal::MissingHeader));
    assert_eq!(of("h", &[("e2b-sandbox-id", "../../etc"), port]), Err(Refusal::InvalidId));
    for bad in ["0", "65536", "-1", "+80", "", "80x"] {
        let headers = [("e2b-sandbox-id", ID), ("e2b-sandbox-port", bad)];
        assert_eq!(of("h", &headers), Err(Refusal::InvalidPort), "{bad}");
    }
}

#[test]
fn the_host_name_wins_and_may_carry_the_old_client_id() {
    let found = Ok(Some((ID.to_owned(), 8080)));
    assert_eq!(of(&format!("8080-{ID}.sandboxes.example:3000"), &[]), found);
    assert_eq!(of(&format!("8080-{ID}-6532622b.SANDBOXES.example"), &[]), found);
    assert_eq!(of(&format!("8080-{ID}.sandboxes.example."), &[]), found);
    assert_eq!(of(&format!("8080-{ID}.known.as.this.example:1"), &[]), found);
    let headers = [("e2b-sandbox-id", ID), ("e2b-sandbox-port", "1")];
    assert_eq!(of(&format!("8080-{ID}.sandboxes.example"), &headers), found);
    assert_eq!(of("8080-nobody.sandboxes.example", &[]), Err(Refusal::InvalidId));
    assert_eq!(of(&format!("99999-{ID}.sandboxes.example"), &[]), Err(Refusal::InvalidPort));
}

#[test]
fn the_control_planes_own_name_and_paths_are_its_own_whatever_the_headers_say() {
    let agent = [("e2b-sandbox-id", ID), ("e2b-sandbox-port", "49983")];
    for name in ["api.sandboxes.example", "API.Sandboxes.Example:3000", "api.sandboxes.example."] {
        assert_eq!(of(name, &agent), Ok(None), "{name}");
        assert_eq!(of(name, &[("e2b-sandbox-id", "only one")]), Ok(None), "{name}");
    }
    let to = |path: &str, port: &str| {
        let headers = [("host", "127.0.0.1:3000"), ("e2b-sandbox-id", ID), ("e2b-sandbox-port", port)];
        go(Method::POST, path, &headers).map(|destination| destination == Destination::Control)
    };
    // As Python SDKs from 2.8 to 2.26 connect.
    assert_eq!(to(&format!("/sandboxes/{ID}/connect"), "49983"), Ok(true));
    // What the agent has, and every path of a program, goes into the sandbox.
    for path in ["/files", "/health", "/process.Process/Start", "/filesystem.Filesystem/Stat", "/sandboxes"] {
        assert_eq!(to(path, "49983"), Ok(false), "{path}");
    }
    assert_eq!(to(&format!("/sandboxes/{ID}/connect"), "3000"), Ok(false));
    assert_eq!(to("/sandboxes/x", "0"), Err(Refusal::InvalidPort));
    // A name that only starts like it is anybody's.
    let elsewhere = ["api.elsewhere.example", "api.sandboxes.example.evil", "api-sandboxes.example"];
    for name in elsewhere {
        assert_eq!(of(name, &agent), Ok(Some((ID.to_owned(), 49983))), "{name}");
    }
}

#[test]
fn a_request_that_names_two_hosts_is_refused() {
    let name = format!("80-{ID}.x.example");
    let to = |uri: &str, hosts: &[&str]| {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let found = go(Method::GET, uri, &headers)?;
        Ok(matches!(found, Destination::Sandbox(Target { port: 80, .. })))
    };
    let absolute = format!("http://{name}/health");
    for same in [name.as_str(), &name.to_uppercase(), &format!("{name}:80"), &format!("{name}:443")] {
        assert_eq!(to(&absolute, &[same]), Ok(true), "{same}");
        assert_eq!(to(&format!("https://{same}/"), &[&name]), Ok(true), "{same}");
    }
    assert_eq!(to(&absolute, &[]), Ok(true));
    let refused = Err(Refusal::InvalidHost);
    for other in
        ["api.x.example", &format!("{name}:8080"), &format!("{name}."), &format!("81-{ID}.x.example"), ""]
    {
        assert_eq!(to(&absolute, &[other]), refused, "{other}");
    }
    assert_eq!(to(&format!("http://{name}:80/"), &[&format!("{name}:443")]), refused);
    for twice in [&absolute, "/health"] {
        assert_eq!(to(twice, &[&name, &name]), refused, "{twice}");
    }
    assert_eq!(to(&format!("http://user@{name}/"), &[]), refused);
}

#[test]
fn a_second_or_broken_host_is_refused() {
    let name = format!("80-{ID}.sandboxes.example");
    assert_eq!(of("sandboxes.example", &[("host", &name)]), Err(Refusal::InvalidHost));
    for bad in ["a b", "a/b", "user@host"] {
        assert_eq!(of(bad, &[]), Err(Refusal::InvalidHost), "{bad}");
    }
}

#[test]
fn a_token_alone_names_the_sandbox_whose_it_is() {
    let headers = [("host", "localhost:3000"), ("x-access-token", "t")];
    for path in ["/health", "/files?path=a", "/process.Process/Start"] {
        assert_eq!(go(Method::POST, path, &headers), Ok(Destination::Token), "{path}");
    }
    assert_eq!(go(Method::GET, "/sandboxes/x", &headers), Ok(Destination::Control));
    let at_the_api = [("host", "api.sandboxes.example"), ("x-access-token", "t")];
    assert_eq!(go(Method::GET, "/health", &at_the_api), Ok(Destination::Control));
    let named = [&headers[..], &[("e2b-sandbox-id", ID), ("e2b-sandbox-port", "80")]].concat();
    assert!(matches!(go(Method::GET, "/health", &named), Ok(Destination::Sandbox(_))));
}

#[test]
fn files_without_a_sandbox_are_found_by_their_signature() {
    let host = [("host", "localhost:3000")];
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT] {
        assert_eq!(go(method, "/files?path=a&signature=v1_x", &host), Ok(Destination::SignedFile));
    }
    for control in ["/files/", "/files/x", "/templates/a/files/b", "/filesystem.Filesystem/Stat"] {
        assert_eq!(go(Method::GET, control, &host), Ok(Destination::Control), "{control}");
    }
    let headers = [("e2b-sandbox-id", ID), ("e2b-sandbox-port", "49983")];
    assert!(matches!(go(Method::GET, "/files?signature=x", &headers), Ok(Destination::Sandbox(_))));
}

#[test]
fn a_browsers_question_is_answered_for_what_leads_into_a_sandbox() {
    let ask = |path: &str, headers: &str| {
        let headers =
            [("access-control-request-method", "POST"), ("access-control-request-headers", headers)];
        go(Method::OPTIONS, path, &headers)
    };
    assert_eq!(ask("/files?signature=x", "content-type"), Ok(Destination::Preflight));
    assert_eq!(ask("/process.Process/Start", "x, E2b-Sandbox-Id"), Ok(Destination::Preflight));
    assert_eq!(ask("/sandboxes", "x-api-key"), Ok(Destination::Control));
    // Without a page that asks, the path decides.
    assert_eq!(go(Method::OPTIONS, "/files", &[]), Ok(Destination::SignedFile));
}
