//! `POST /init`: the server sends the agent its identity and settings. Guarded by the boot token, not the access token.

use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use sandscope_agent_protocol::ENVD_VERSION;
use sandscope_agent_protocol::rest::{BOOT_TOKEN_HEADER, InitRequest, VERSION_HEADER};

use crate::auth::same_secret;
use crate::body::{self, Answer, Refusal};
use crate::connect::BODY_DEADLINE;
use crate::request_body::RequestBody;
use crate::settings::{Limits, Settings};
use crate::state::Agent;

const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Where tools in the sandbox look for what it is called.
const MARKER_DIRECTORY: &str = "/run/e2b";

pub(crate) async fn answer(agent: &Agent, request: Request<RequestBody>) -> Result<Answer, Refusal> {
    match request.headers().get(BOOT_TOKEN_HEADER) {
        Some(given) if same_secret(given.as_bytes(), agent.boot_token.as_bytes()) => {}
        _ => return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the boot token is missing or wrong")),
    }
    let body =
        tokio::time::timeout(BODY_DEADLINE, Limited::new(request.into_body(), MAX_BODY_BYTES).collect())
            .await
            .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is too large or broke off"))?
            .to_bytes();
    let bytes: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let init: InitRequest = serde_json::from_slice(bytes).map_err(|error| {
        // Only the place: the text of the error could repeat a secret.
        let place = format!("invalid JSON at line {} column {}", error.line(), error.column());
        Refusal::new(StatusCode::BAD_REQUEST, place)
    })?;
    mark(&init);
    agent.configure(settings(agent, init));
    let mut answer = body::status(StatusCode::NO_CONTENT);
    answer.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(ENVD_VERSION));
    Ok(answer)
}

/// What is absent stays as it was: after a resume only what changed needs to be said.
fn settings(agent: &Agent, init: InitRequest) -> Settings {
    let before = agent.settings();
    let before = before.as_deref();
    let mut env = before.map(|b| b.env.clone()).unwrap_or_default();
    env.extend(init.env_vars.unwrap_or_default());
    env.insert("E2B_SANDBOX".to_owned(), "true".to_owned());
    if let Some(id) = init.sandbox_id {
        env.insert("E2B_SANDBOX_ID".to_owned(), id);
    }
    if let Some(id) = init.template_id {
        env.insert("E2B_TEMPLATE_ID".to_owned(), id);
    }
    let limits = before.map(|b| b.limits).unwrap_or_default();
    Settings {
        access_token: match init.access_token {
            Some(token) => Some(token).filter(|token| !token.is_empty()),
            None => before.and_then(|b| b.access_token.clone()),
        },
        env,
        default_user: init
            .default_user
            .filter(|user| !user.is_empty())
            .or_else(|| before.map(|b| b.default_user.clone()))
            .unwrap_or_else(|| "user".to_owned()),
        limits: Limits {
            cpu_count: init.cpu_count.or(limits.cpu_count),
            memory_bytes: init.memory_bytes.or(limits.memory_bytes),
        },
        default_workdir: init.default_workdir.or_else(|| before.and_then(|b| b.default_workdir.clone())),
    }
}

/// Leaves the sandbox's id where tools look for it. Outside a sandbox there is nothing to mark; inside, a root
/// filesystem that cannot take it works as well without.
fn mark(init: &InitRequest) {
    if rustix::process::getpid() != rustix::process::Pid::INIT
        || std::fs::create_dir_all(MARKER_DIRECTORY).is_err()
    {
        return;
    }
    let markers = [
        (".E2B_SANDBOX", Some("true")),
        (".E2B_SANDBOX_ID", init.sandbox_id.as_deref()),
        (".E2B_TEMPLATE_ID", init.template_id.as_deref()),
    ];
    for (name, value) in markers {
        if let Some(value) = value {
            let path = format!("{MARKER_DIRECTORY}/{name}");
            // Replaced, never written through: what is there belongs to the sandbox and may be a link or a FIFO.
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::File::create_new(&path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()));
        }
    }
}
