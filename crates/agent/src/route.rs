use std::rc::Rc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, StatusCode};
use sandscope_agent_protocol::{filesystem, process};

use crate::body::{self, Answer, Refusal};
use crate::request_body::RequestBody;
use crate::settings::Settings;
use crate::state::Agent;
use crate::{auth, connect, files, framing, init, logs, metrics};

/// Answers one request, whatever it is.
pub(crate) async fn answer(agent: &Rc<Agent>, request: Request<RequestBody>) -> Answer {
    let mut answer = match route(agent, request).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    };
    // Whatever it is, it is what its type says: nobody is to find a page in it.
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Browsers may call sandboxes from any page: the token, not the origin, is what lets them in.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    answer
}

/// What a connection holds from then on is as large as the largest future in here; so they are kept apart.
async fn route(agent: &Rc<Agent>, request: Request<RequestBody>) -> Result<Answer, Refusal> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET | &Method::HEAD, "/health") => return Ok(body::status(StatusCode::NO_CONTENT)),
        (&Method::OPTIONS, _) => return Ok(preflight()),
        (&Method::POST, "/init") => return Box::pin(init::answer(agent, request)).await,
        (_, "/health" | "/init") => return Err(wrong_method()),
        _ => {}
    }
    let Some(settings) = agent.settings() else {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the sandbox is not initialised yet"));
    };
    if path == "/files" {
        return Box::pin(files::answer(&settings, request)).await;
    }
    auth::check_token(&settings, request.headers())?;
    match (request.method(), path.as_str()) {
        (&Method::GET, "/envs") => Ok(body::json(StatusCode::OK, &settings.env)),
        (&Method::GET, "/metrics") => {
            let metrics = metrics::read(settings.limits, &agent.last_cpu).await?;
            Ok(body::json(StatusCode::OK, &metrics))
        }
        (&Method::GET, sandscope_agent_protocol::logs::PATH) => {
            logs::answer(&agent.logs, request.uri().query()).await
        }
        (&Method::POST, "/files/compose") => Box::pin(files::compose(&settings, request)).await,
        (_, "/envs" | "/metrics" | "/files/compose" | sandscope_agent_protocol::logs::PATH) => {
            Err(wrong_method())
        }
        (method, _) => match path.trim_start_matches('/').split_once('/') {
            Some((service @ (process::SERVICE | filesystem::SERVICE), call)) => {
                if method != Method::POST {
                    return Err(wrong_method());
                }
                Ok(procedure(agent, &settings, service, call, request).await)
            }
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, format!("no such route: {path}"))),
        },
    }
}

/// Remote procedure calls. Their refusals are Connect's, in the framing of the request.
async fn procedure(
    agent: &Rc<Agent>,
    settings: &Rc<Settings>,
    service: &str,
    call: &str,
    request: Request<RequestBody>,
) -> Answer {
    let Some(kind) = framing::kind(request.headers()) else {
        return Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "only application/json and application/connect+json are supported",
        )
        .into();
    };
    let result = match service {
        process::SERVICE => {
            Box::pin(crate::process::answer(&agent.processes, settings, kind, call, request)).await
        }
        _ => Box::pin(crate::filesystem::answer(&agent.watches, settings, kind, call, request)).await,
    };
    result.unwrap_or_else(|error| connect::refuse(kind, error))
}

fn wrong_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}

fn preflight() -> Answer {
    let mut answer = body::status(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, Authorization"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    answer
}
