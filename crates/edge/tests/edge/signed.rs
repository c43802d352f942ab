//! File URLs that nothing but their signature leads into a sandbox.

use axum::body::Body;
use http::{Request, StatusCode};
use sandscope_agent_protocol::signature::{self, Operation};
use sandscope_model::{Clock as _, Sandbox};

use crate::world::{World, echo};

fn token(sandbox: &Sandbox) -> &str {
    sandbox.spec.envd_access_token.as_ref().unwrap().expose()
}

/// The query of a URL for `path`, as the SDKs write it.
fn query(path: &str, operation: Operation, user: &str, token: &str, expires_at: Option<i64>) -> String {
    let signature = signature::v1(path, operation, user, token, expires_at);
    let escaped = |text: &str| text.replace('%', "%25").replace('/', "%2F").replace('+', "%2B");
    let mut query = format!("path={}&signature={}", escaped(path), escaped(&signature));
    if !user.is_empty() {
        query += &format!("&username={user}");
    }
    if let Some(expires_at) = expires_at {
        query += &format!("&signature_expiration={expires_at}");
    }
    query
}

async fn send(world: &World, method: &str, query: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/files?{query}"))
        .header("host", "127.0.0.1:3000")
        .body(Body::empty());
    world.send(request.unwrap()).await
}

#[tokio::test]
async fn the_sandbox_is_the_one_whose_token_signed() {
    let world = World::new(echo()).await;
    let mut sandboxes = Vec::new();
    for _ in 0..5 {
        sandboxes.push(world.sandbox(None, false).await);
    }
    for (number, sandbox) in sandboxes.iter().enumerate() {
        // Only this sandbox's agent is the one that answers its number.
        let own = axum::Router::new().fallback(move || async move { number.to_string() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.runtime.listen(Some(&sandbox.id), 49983, listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, own).await });
    }
    let later = world.clock.now().as_second() + 60;
    for (number, sandbox) in sandboxes.iter().enumerate() {
        for (method, operation) in [("GET", Operation::Read), ("POST", Operation::Write)] {
            for (user, expires_at) in [("", None), ("root", None), ("", Some(later))] {
                let query = query("/home/user/a b+c.txt", operation, user, token(sandbox), expires_at);
                let answer = send(&world, method, &query.replace(' ', "%20")).await;
                assert_eq!(answer, (StatusCode::OK, number.to_string()), "{method} {query}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_signed_for_just_this_is_refused() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let now = world.clock.now().as_second();
    let good = query("/a", Operation::Read, "", token(&sandbox), Some(now + 5));
    assert_eq!(send(&world, "GET", &good).await.0, StatusCode::OK);
    assert_eq!(send(&world, "HEAD", &good).await.0, StatusCode::OK);
    let refused = [
        ("POST", good.clone(), "invalid signature"),
        ("GET", good.replace("path=%2Fa", "path=%2Fb"), "invalid signature"),
        ("GET", format!("{good}&username=root"), "invalid signature"),
        ("GET", good.replace(&(now + 5).to_string(), &(now + 6).to_string()), "invalid signature"),
        ("GET", query("/a", Operation::Read, "", "another token", None), "invalid signature"),
        ("GET", "path=a&signature=v1_".to_owned(), "invalid signature"),
        ("GET", "path=a".to_owned(), "missing signature query parameter"),
        ("GET", String::new(), "missing signature query parameter"),
        (
            "GET",
            query("/a", Operation::Read, "", token(&sandbox), Some(now - 1)),
            "signature is already expired",
        ),
    ];
    for (method, query, message) in refused {
        let (status, body) = send(&world, method, &query).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{query}");
        assert_eq!(body, serde_json::json!({ "code": 401, "message": message }), "{query}");
    }
    assert_eq!(send(&world, "GET", "signature=x&signature_expiration=soon").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(send(&world, "DELETE", &good).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_signed_url_wakes_a_sandbox_that_wishes_so_and_no_other() {
    let world = World::new(echo()).await;
    let waking = world.sandbox(None, true).await;
    let asleep = world.sandbox(None, false).await;
    for sandbox in [&waking, &asleep] {
        world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    }
    let of = |sandbox: &Sandbox| query("/a", Operation::Read, "", token(sandbox), None);
    let (status, body) = send(&world, "GET", &of(&asleep)).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains("The sandbox was not found"), "{body}");
    assert_eq!(send(&world, "GET", &of(&waking)).await.0, StatusCode::OK);
    // The same under the sandbox's own name.
    world.lifecycle.pause(world.team.id, &waking.id).await.unwrap();
    let named = Request::get(format!("/files?{}", of(&waking)))
        .header("host", format!("49983-{}.localhost", waking.id))
        .body(Body::empty());
    assert_eq!(world.send(named.unwrap()).await.0, StatusCode::OK);
}
