//! `filesystem.Filesystem`: looking at files, making, moving and removing them.
//!
//! Work on the file system may block for long (a large tree, a slow disk), so it is done on a small pool of
//! threads; each connection has at most one call under way, which bounds the queue. The agent acts as root and
//! gives what it makes to the caller's user: inside a sandbox, users are a convenience and not a border.

mod entry;
mod remove;
mod work;

use http::Request;
use hyper::body::Incoming;
use sandscope_agent_protocol::filesystem::{
    EntryResponse, ListDirRequest, MoveRequest, PathRequest, SERVICE,
};
use sandscope_agent_protocol::{Code, ConnectError};
use serde_json::Value;

use crate::auth;
use crate::body::Answer;
use crate::connect::{self, Kind};
use crate::paths;
use crate::route::unimplemented;
use crate::state::Settings;

/// Answers a call of `filesystem.Filesystem`.
pub(crate) async fn answer(
    settings: &Settings,
    kind: Kind,
    call: &str,
    request: Request<Incoming>,
) -> Result<Answer, ConnectError> {
    if kind == Kind::Stream || matches!(call, "CreateWatcher" | "GetWatcherEvents" | "RemoveWatcher") {
        return Err(if call.contains("Watch") {
            ConnectError::new(Code::Unimplemented, "watching directories is not supported by this agent")
        } else {
            unimplemented(SERVICE, call, kind)
        });
    }
    let user = auth::basic_user(request.headers())?;
    let user = settings.user(user.as_deref())?;
    let deadline = connect::deadline(request.headers())?;
    let resolve = |path: &str| paths::resolve(path, &user, settings.workdir(&user));
    let entry = |entry| to_value(&EntryResponse { entry: Some(entry) });
    let work = async {
        match call {
            "Stat" => {
                let path = resolve(&connect::unary::<PathRequest>(request).await?.path)?;
                entry(blocking(move || work::stat(&path)).await?)
            }
            "MakeDir" => {
                let path = resolve(&connect::unary::<PathRequest>(request).await?.path)?;
                let owner = (user.uid, user.gid);
                entry(blocking(move || work::make_dir(&path, owner)).await?)
            }
            "Move" => {
                let message: MoveRequest = connect::unary(request).await?;
                let (source, destination) = (resolve(&message.source)?, resolve(&message.destination)?);
                let owner = (user.uid, user.gid);
                entry(blocking(move || work::rename(&source, &destination, owner)).await?)
            }
            "ListDir" => {
                let message: ListDirRequest = connect::unary(request).await?;
                let path = resolve(&message.path)?;
                to_value(&blocking(move || work::list(&path, message.depth)).await?)
            }
            "Remove" => {
                let path = resolve(&connect::unary::<PathRequest>(request).await?.path)?;
                blocking(move || work::remove(&path)).await?;
                Ok(Value::Object(serde_json::Map::new()))
            }
            _ => Err(unimplemented(SERVICE, call, kind)),
        }
    };
    Ok(connect::unary_answer(connect::within(deadline, work).await))
}

pub(crate) use work::make_parents;

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|_| Err(ConnectError::new(Code::Internal, "the work was given up")))
}

fn to_value<T: serde::Serialize>(message: &T) -> Result<Value, ConnectError> {
    serde_json::to_value(message).map_err(|error| ConnectError::new(Code::Internal, error.to_string()))
}
