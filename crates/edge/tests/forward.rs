//! Through the edge's door: a real router, real connections, a real lifecycle and store over the testbed's runtime.

#![expect(clippy::unwrap_used, reason = "a test may stop at anything unexpected")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use sandscope_edge::{Edge, serve_either};
use sandscope_lifecycle::{CreateRequest, Lifecycle, LifecycleOptions};
use sandscope_model::{
    BuildId, KillReason, NetworkConfig, OnTimeout, Rootfs, Sandbox, Team, TeamLimits, Template, TemplateId,
    TemplateKind, Timestamp,
};
use sandscope_store::Store;
use sandscope_testbed::{FakeRuntime, SeededEntropy, StepClock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

const PORT: u16 = 8080;

struct World {
    lifecycle: Lifecycle,
    runtime: Arc<FakeRuntime>,
    router: Router,
    team: Team,
    // The store's directory lives as long as the test.
    _data: tempfile::TempDir,
}

impl World {
    /// A world whose sandboxes all have `inside` listening on port 8080 and on the agent's port.
    async fn new(inside: Router) -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(StepClock::new());
        let entropy = Arc::new(SeededEntropy::new(7));
        let store = Store::open(data.path(), clock.clone()).unwrap();
        let team = Team {
            id: uuid::Uuid::from_u128(1).into(),
            name: "Team".into(),
            slug: "team".into(),
            limits: TeamLimits::default(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        store.create_team(team.clone()).await.unwrap();
        let id: TemplateId = "rki5dems9wqfm4r03t7g".parse().unwrap();
        let template = Template {
            id: id.clone(),
            team_id: None,
            name: Some("base".into()),
            kind: TemplateKind::Template,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let build = sandscope_model::Build {
            id: BuildId::from(uuid::Uuid::from_u128(2)),
            template_id: id,
            rootfs: Rootfs::Host,
            vcpu_count: 2,
            memory_mb: 512,
            disk_mb: 1024,
            source_sandbox_id: None,
            created_at: Timestamp::UNIX_EPOCH,
        };
        store.ensure_template(template, build).await.unwrap();
        let runtime = Arc::new(FakeRuntime::new(clock.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, inside).await });
        runtime.listen(None, PORT, address);
        runtime.listen(None, 49983, address);
        let options = LifecycleOptions { runtime: runtime.clone(), store, clock, entropy };
        let lifecycle = Lifecycle::start(options).await.unwrap();
        let edge = Edge::new(lifecycle.clone(), "localhost".into());
        let control = Router::new().route("/health", get(|| async { "control plane" }));
        Self { router: serve_either(edge, control), lifecycle, runtime, team, _data: data }
    }

    async fn sandbox(&self, network: Option<NetworkConfig>, auto_resume: bool) -> Arc<Sandbox> {
        let request = CreateRequest {
            template: "base".into(),
            timeout: Duration::from_secs(300),
            metadata: Default::default(),
            env_vars: Default::default(),
            secure: true,
            on_timeout: OnTimeout::Pause,
            auto_resume,
            allow_internet_access: None,
            network,
            idempotency: None,
        };
        self.lifecycle.create(&self.team, request).await.unwrap().sandbox
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, id: &str, port: u16, path: &str) -> (StatusCode, Value) {
        let (status, body) = self.send(to(id, port, path).body(Body::empty()).unwrap()).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
}

fn to(id: &str, port: u16, path: &str) -> http::request::Builder {
    Request::builder()
        .uri(path)
        .header("host", "127.0.0.1:3000")
        .header("e2b-sandbox-id", id)
        .header("e2b-sandbox-port", port)
}

fn echo() -> Router {
    Router::new().fallback(any(|request: Request<Body>| async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let names: Vec<_> = parts.headers.keys().map(|name| name.to_string()).collect();
        format!("{} {} {} {}", parts.method, parts.uri, names.join(","), String::from_utf8_lossy(&body))
    }))
}

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
    assert_eq!(world.get("i00000000000000000000", 49983, "/health").await, gone("i00000000000000000000"));

    let sandbox = world.sandbox(None, false).await;
    let id = sandbox.id.as_str();
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    assert_eq!(world.get(id, 49983, "/health").await, gone(id));
    world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
    assert_eq!(world.get(id, 49983, "/health").await, gone(id));
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
    let now = world.lifecycle.sandbox(&sandbox.id).await.unwrap();
    assert_eq!(now.state.name().as_str(), "running");
}

#[tokio::test]
async fn control_plane_routes_of_the_agent_are_out_of_reach() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    for path in ["/init", "/init/", "/freeze"] {
        let (status, body) = world.get(sandbox.id.as_str(), 49983, path).await;
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
    assert_eq!(world.get(id, 49983, "/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn bodies_stream_both_ways_and_upgrades_pass() {
    // A server inside that switches protocols and then echoes bytes.
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inside.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = inside.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outside = listener.local_addr().unwrap();
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut client = TcpStream::connect(outside).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: {PORT}-{}.localhost\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n",
        sandbox.id
    );
    world.runtime.listen(Some(&sandbox.id), PORT, address);
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    client.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    client.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
}
