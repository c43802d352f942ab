//! A real router, real connections through a tunnel, a real lifecycle and store over the testbed's engine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sandscope_edge::{Edge, EdgeOptions, serve_either};
use sandscope_lifecycle::{Lifecycle, LifecycleOptions};
use sandscope_lives::CreateRequest;
use sandscope_model::{
    BuildId, NetworkConfig, OnTimeout, Rootfs, Sandbox, Team, TeamLimits, Template, TemplateId, TemplateKind,
    Timestamp,
};
use sandscope_store::Store;
use sandscope_testbed::{FakeEngine, FarLives, SeededEntropy, StepClock};
use serde_json::Value;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

pub(crate) const PORT: u16 = 8080;
pub(crate) const AGENT: u16 = 49983;

/// How long anything may take that should not take long.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) runtime: Arc<FakeEngine>,
    pub(crate) clock: Arc<StepClock>,
    pub(crate) router: Router,
    pub(crate) team: Team,
    // The store's directory lives as long as the test.
    _data: tempfile::TempDir,
}

impl World {
    /// A world whose sandboxes all have `inside` listening on port 8080 and on the agent's port.
    pub(crate) async fn new(inside: Router) -> Self {
        Self::with_limit(inside, TeamLimits::default().max_concurrent_sandboxes).await
    }

    /// A world whose team may run `max_concurrent_sandboxes`.
    pub(crate) async fn with_limit(inside: Router, max_concurrent_sandboxes: u32) -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(StepClock::new());
        let entropy = Arc::new(SeededEntropy::new(7));
        let store = Store::open(data.path(), clock.clone()).unwrap();
        let team = Team {
            id: uuid::Uuid::from_u128(1).into(),
            name: "Team".into(),
            slug: "team".into(),
            limits: TeamLimits { max_concurrent_sandboxes, ..TeamLimits::default() },
            created_at: Timestamp::UNIX_EPOCH,
        };
        store.facts.create_team(team.clone()).await.unwrap();
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
        store.facts.ensure_template(template, build).await.unwrap();
        let runtime = Arc::new(FakeEngine::new(clock.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, inside).await });
        runtime.listen(None, PORT, address);
        runtime.listen(None, AGENT, address);
        let options = LifecycleOptions {
            engine: runtime.clone(),
            readings: runtime.clone(),
            door: runtime.clone(),
            facts: Arc::new(store.clone()),
            admissions: Arc::new(store),
            clock: clock.clone(),
            entropy,
            tasks: sandscope_testbed::tasks(clock.clone()),
            missing: sandscope_model::Cause::Vanished,
        };
        let lifecycle = Lifecycle::start(options).await.unwrap();
        let edge = Edge::new(EdgeOptions {
            lives: Arc::new(FarLives::new(Arc::new(lifecycle.clone()))),
            clock: clock.clone(),
            domain: "localhost".into(),
            admin_token: None,
            key_shown: |_| {},
            is_control_path: |path| path.starts_with("/sandboxes/"),
        });
        let control = Router::new().route("/health", get(|| async { "control plane" }));
        Self { router: serve_either(edge, control), lifecycle, runtime, clock, team, _data: data }
    }

    pub(crate) async fn sandbox(&self, network: Option<NetworkConfig>, auto_resume: bool) -> Arc<Sandbox> {
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

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.answer(request).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// The router behind a real socket, which keeps the letters of headers' names as the server's does.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TowerToHyperService::new(self.router.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection = http1::Builder::new()
                    .preserve_header_case(true)
                    .title_case_headers(true)
                    .serve_connection(TokioIo::new(socket), service.clone());
                tokio::spawn(connection.with_upgrades());
            }
        });
        address
    }

    /// Lets one connection to [`PORT`] of `sandbox` end here.
    pub(crate) async fn inside(&self, sandbox: &Sandbox) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.runtime.listen(Some(&sandbox.id), PORT, listener.local_addr().unwrap());
        listener
    }

    pub(crate) async fn get(&self, id: &str, port: u16, path: &str) -> (StatusCode, Value) {
        let (status, body) = self.send(to(id, port, path).body(Body::empty()).unwrap()).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
}

pub(crate) fn to(id: &str, port: u16, path: &str) -> http::request::Builder {
    Request::builder()
        .uri(path)
        .header("host", "127.0.0.1:3000")
        .header("e2b-sandbox-id", id)
        .header("e2b-sandbox-port", port)
}

pub(crate) fn echo() -> Router {
    Router::new().fallback(any(|request: Request<Body>| async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let names: Vec<_> = parts.headers.keys().map(|name| name.to_string()).collect();
        format!("{} {} {} {}", parts.method, parts.uri, names.join(","), String::from_utf8_lossy(&body))
    }))
}
