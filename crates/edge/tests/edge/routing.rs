//! Which plane, which sandbox, and who may not come in.

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{HeaderMap, Request, StatusCode};
use sandscope_model::{KillReason, NetworkConfig, Sandbox};
use serde_json::json;

use crate::world::{AGENT, PORT, World, echo, to};

#[tokio::test]
async fn the_header_tells_the_planes_apart() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let (status, body) = world.send(Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "control plane"));
    let (status, body) = world.get(sandbox.id.as_str(), PORT, "/health").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.as_str().unwrap().starts_with("GET /health "), "{body}");
}

#[tokio::test]
async fn a_host_name_is_enough_and_the_api_key_stays_outside() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let request = Request::post("/a/b?c=d")
        .header("host", format!("{PORT}-{}.localhost:3000", sandbox.id))
        .header("x-api-key", "e2b_0")
        .body(Body::from("hello"))
        .unwrap();
    let (status, body) = world.send(request).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with("POST /a/b?c=d ") && body.ends_with(" hello"), "{body}");
    assert!(!body.contains("x-api-key"), "{body}");
}

#[tokio::test]
async fn a_sandbox_that_is_not_there_is_the_502_the_clients_know() {
    let world = World::new(echo()).await;
    let gone = |id: &str| {
        (
            StatusCode::BAD_GATEWAY,
            json!({"sandboxId": id, "message": "The sandbox was not found", "code": 502}),
        )
    };
    assert_eq!(world.get("i00000000000000000000", AGENT, "/health").await, gone("i00000000000000000000"));

    let sandbox = world.sandbox(None, false).await;
    let id = sandbox.id.as_str();
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    assert_eq!(world.get(id, AGENT, "/health").await, gone(id));
    world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
    assert_eq!(world.get(id, AGENT, "/health").await, gone(id));
}

#[tokio::test]
async fn a_closed_port_says_so() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let body = json!({"sandboxId": sandbox.id, "message": "The sandbox is running but port is not open", "port": 9, "code": 502});
    assert_eq!(world.get(sandbox.id.as_str(), 9, "/").await, (StatusCode::BAD_GATEWAY, body));
}

#[tokio::test]
async fn traffic_resumes_a_sandbox_whose_owner_wished_so() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, true).await;
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    let (status, _) = world.get(sandbox.id.as_str(), PORT, "/").await;
    assert_eq!(status, StatusCode::OK);
    let now = world.lifecycle.sandbox(&sandbox.id).unwrap();
    assert_eq!(now.state.name().as_str(), "running");
}

#[tokio::test]
async fn control_plane_routes_of_the_agent_are_out_of_reach() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    for path in ["/init", "/init/", "/freeze"] {
        let (status, body) = world.get(sandbox.id.as_str(), AGENT, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(body["path"], path);
    }
    // On a user's own port the same path is the user's.
    assert_eq!(world.get(sandbox.id.as_str(), PORT, "/init").await.0, StatusCode::OK);
}

#[tokio::test]
async fn private_traffic_needs_its_token_except_for_the_agent() {
    let world = World::new(echo()).await;
    let network = NetworkConfig { allow_public_traffic: Some(false), ..NetworkConfig::default() };
    let sandbox = world.sandbox(Some(network), false).await;
    let id = sandbox.id.as_str();
    let token = sandbox.spec.traffic_access_token.as_ref().expect("private sandboxes have a token").expose();
    let with = |token: &str| {
        to(id, PORT, "/").header("e2b-traffic-access-token", token).body(Body::empty()).unwrap()
    };

    let (status, body) = world.get(id, PORT, "/").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body["message"].as_str().unwrap().ends_with("is missing"), "{body}");
    let (status, body) = world.send(with("wrong")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("is invalid") && !body.contains(token), "{body}");
    let (status, body) = world.send(with(token)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!body.contains("traffic-access-token"), "the token stays outside: {body}");
    assert_eq!(world.get(id, AGENT, "/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_could_not_use_a_port_cannot_wake_the_sandbox_by_it() {
    let world = World::new(echo()).await;
    let network = NetworkConfig { allow_public_traffic: Some(false), ..NetworkConfig::default() };
    let sandbox = world.sandbox(Some(network), true).await;
    let id = sandbox.id.as_str();
    let traffic = sandbox.spec.traffic_access_token.as_ref().unwrap().expose();
    let access = sandbox.spec.envd_access_token.as_ref().unwrap().expose();
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    for (port, header) in [(PORT, "e2b-traffic-access-token"), (AGENT, "x-access-token")] {
        for given in [None, Some("wrong")] {
            let mut request = to(id, port, "/");
            if let Some(given) = given {
                request = request.header(header, given);
            }
            let (status, body) = world.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
            assert!(body.contains("can't be resumed with the credentials provided"), "{body}");
        }
    }
    assert_eq!(world.lifecycle.sandbox(&sandbox.id).unwrap().state.name().as_str(), "paused");
    for (port, header, token) in
        [(PORT, "e2b-traffic-access-token", traffic), (AGENT, "x-access-token", access)]
    {
        let request = to(id, port, "/").header(header, token).body(Body::empty()).unwrap();
        assert_eq!(world.send(request).await.0, StatusCode::OK);
        world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_alone_leads_to_its_sandbox_until_that_is_gone() {
    let world = World::new(echo()).await;
    let (one, other) = (world.sandbox(None, false).await, world.sandbox(None, false).await);
    let by_token = async |token: &str| {
        let request =
            Request::get("/health").header("host", "127.0.0.1:3000").header("x-access-token", token);
        world.send(request.body(Body::empty()).unwrap()).await
    };
    let token = |sandbox: &Sandbox| sandbox.spec.envd_access_token.as_ref().unwrap().expose().to_owned();
    assert_eq!(by_token(&token(&one)).await.0, StatusCode::OK);
    assert_eq!(by_token(&token(&other)).await.0, StatusCode::OK);
    world.lifecycle.kill(world.team.id, &one.id, KillReason::Request).await.unwrap();
    let (status, body) = by_token(&token(&one)).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains("The sandbox was not found"), "{body}");
    assert_eq!(by_token("").await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(by_token(&token(&other)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_team_at_its_limit_cannot_have_a_sandbox_resumed_by_traffic() {
    let world = World::with_limit(echo(), 1).await;
    let asleep = world.sandbox(None, true).await;
    world.lifecycle.pause(world.team.id, &asleep.id).await.unwrap();
    let _running = world.sandbox(None, false).await;
    let (status, body) = world.get(asleep.id.as_str(), PORT, "/").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((&body["sandboxId"], &body["code"]), (&json!(asleep.id), &json!(429)));
    assert!(body["message"].as_str().unwrap().contains("maximum number of concurrent"), "{body}");
}

#[tokio::test]
async fn a_browser_is_told_by_a_page() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let browser = |builder: http::request::Builder| {
        builder
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
            .header("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
            .body(Body::empty())
            .unwrap()
    };
    let answer = world.answer(browser(to(sandbox.id.as_str(), 9, "/"))).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert!(answer.headers().contains_key("content-security-policy"));
    let (_, page) = world.send(browser(to(sandbox.id.as_str(), 9, "/"))).await;
    assert!(page.contains("The sandbox is running but port is not open"), "{page}");
    assert!(page.contains(sandbox.id.as_str()) && page.contains("<dd>9</dd>"), "{page}");
    let hostile = world.send(browser(to(sandbox.id.as_str(), AGENT, "/init/%3Cscript%3E"))).await;
    assert!(!hostile.1.contains("<script"), "{}", hostile.1);
}

#[tokio::test]
async fn a_page_of_another_origin_may_ask_and_read_the_answer() {
    let world = World::new(echo()).await;
    let ask = Request::options("/process.Process/Start")
        .header("host", "127.0.0.1:3000")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,e2b-sandbox-id,e2b-sandbox-port,x-access-token",
        )
        .body(Body::empty())
        .unwrap();
    let answer = world.answer(ask).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(answer.headers()["access-control-allow-headers"].to_str().unwrap().contains("x-access-token"));
    let gone = world.answer(to("i00000000000000000000", 80, "/").body(Body::empty()).unwrap()).await;
    assert_eq!(gone.headers()["access-control-allow-origin"], "*");
    assert_eq!(gone.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_program_sees_the_host_its_owner_wished() {
    let hosts = Router::new().fallback(any(|headers: HeaderMap| async move {
        let of =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        format!("{} {}", of("host"), of("x-forwarded-host"))
    }));
    let world = World::new(hosts).await;
    let network =
        NetworkConfig { mask_request_host: Some("localhost:${PORT}".to_owned()), ..NetworkConfig::default() };
    let sandbox = world.sandbox(Some(network), false).await;
    let outside = format!("{PORT}-{}.localhost:3000", sandbox.id);
    let to_port = |port: u16| {
        let host = format!("{port}-{}.localhost:3000", sandbox.id);
        Request::get("/").header("host", host).body(Body::empty()).unwrap()
    };
    assert_eq!(world.send(to_port(PORT)).await.1, format!("localhost:{PORT} {outside}"));
    // The agent is none of the owner's programs.
    assert_eq!(world.send(to_port(AGENT)).await.1, format!("{AGENT}-{}.localhost:3000 -", sandbox.id));
    let plain = world.sandbox(None, false).await;
    let host = format!("{PORT}-{}.localhost:3000", plain.id);
    let request = Request::get("/").header("host", &host).body(Body::empty()).unwrap();
    assert_eq!(world.send(request).await.1, format!("{host} -"));
}
