//! The first words with an agent.

use std::fmt::Write as _;
use std::io::{self, Read as _};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use sandscope_agent_protocol::rest::{BOOT_TOKEN_HEADER, InitRequest};
use sandscope_model::Secret;
use tokio::net::TcpStream;

use crate::LaunchSpec;

/// Draws the secret that only the runtime and the agent share.
pub(crate) fn draw_boot_token() -> io::Result<Secret> {
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut token = String::with_capacity(64);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _infallible = write!(token, "{byte:02x}");
    }
    Ok(Secret::new(token))
}

/// What the agent is told at first.
pub(crate) fn init_request(spec: &LaunchSpec) -> io::Result<Bytes> {
    let request = InitRequest {
        access_token: spec.access_token.as_ref().map(|token| token.expose().to_owned()),
        env_vars: Some(spec.env_vars.clone()),
        default_user: Some("user".to_owned()),
        default_workdir: Some("/home/user".to_owned()),
        // The clock inside is the host's.
        timestamp: None,
        sandbox_id: Some(spec.id.to_string()),
        template_id: Some(spec.template_id.to_string()),
        cpu_count: Some(spec.vcpu_count),
        memory_bytes: Some(u64::from(spec.memory_mb) << 20),
    };
    Ok(serde_json::to_vec(&request)?.into())
}

/// Tells the agent at the other end who it is.
pub(crate) async fn initialise(stream: TcpStream, body: Bytes, boot_token: &Secret) -> io::Result<()> {
    let request = Request::post("/init")
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(BOOT_TOKEN_HEADER, boot_token.expose());
    match exchange(stream, request, body).await? {
        StatusCode::NO_CONTENT => Ok(()),
        status => Err(io::Error::other(format!("the agent answered {status} to its initialisation"))),
    }
}

/// Asks the agent at the other end whether it is there.
pub(crate) async fn ask_health(stream: TcpStream) -> io::Result<()> {
    match exchange(stream, Request::get("/health"), Bytes::new()).await? {
        StatusCode::NO_CONTENT => Ok(()),
        status => {
            Err(io::Error::other(format!("the agent answered {status} when asked whether it is there")))
        }
    }
}

async fn exchange(stream: TcpStream, request: http::request::Builder, body: Bytes) -> io::Result<StatusCode> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request =
        request.header(http::header::HOST, "localhost").body(Full::new(body)).map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        drop(sender);
        Ok::<_, io::Error>(response.status())
    };
    // The connection is driven here, not in a task of its own: nothing of it is left behind.
    let (status, _closed) = tokio::join!(exchange, connection);
    status
}
