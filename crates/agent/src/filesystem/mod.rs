//! `filesystem.Filesystem`: looking at files, making, moving and removing them.
//!
//! Work on the file system may block for long (a large tree, a slow disk), so it is done on a small pool of
//! threads; each connection has at most one call under way, which bounds the queue. The agent acts as root and
//! gives what it makes to the caller's user: whoever has the token may be any user. What programs inside plant leads it
//! nowhere they could not go themselves (`place`).

mod failure;
mod list;
mod relocate;
mod remove;
mod work;

pub(crate) use failure::HELD;

use std::rc::Rc;

use http::Request;
use sandscope_agent_protocol::filesystem::{
    EntryResponse, ListDirRequest, MoveRequest, PathRequest, SERVICE,
};
use sandscope_agent_protocol::{Code, ConnectError};

use crate::auth;
use crate::body::Answer;
use crate::connect;
use crate::framing::Kind;
use crate::paths;
use crate::pool::{self, Caller};
use crate::request_body::RequestBody;
use crate::settings::Settings;
use crate::watch::{self, Watches};

/// Answers a call of `filesystem.Filesystem`.
pub(crate) async fn answer(
    watches: &Rc<Watches>,
    settings: &Settings,
    kind: Kind,
    call: &str,
    request: Request<RequestBody>,
) -> Result<Answer, ConnectError> {
    let deadline = connect::deadline(request.headers())?;
    let user = auth::basic_user(request.headers())?;
    let user = settings.user(user.as_deref())?;
    let resolve = |path: &str| paths::resolve(path, &user, settings.workdir(&user));
    if kind == Kind::Stream {
        return match call {
            "WatchDir" => watch::stream(watches, resolve, deadline, request).await,
            _ => Err(connect::unimplemented(SERVICE, call, kind)),
        };
    }
    let owner = (user.uid, user.gid);
    let work = async {
        match call {
            "Stat" => {
                let path = resolve(&connect::unary::<PathRequest>(request).await?.path)?;
                blocking(move || work::stat(&path).map(entry)).await
            }
            "MakeDir" => {
                let path = resolve(&connect::unary::<PathRequest>(request).await?.path)?;
                blocking(move || work::make_dir(&path, owner).map(entry)).await
            }
            "Move" => {
                let message: MoveRequest = connect::unary(request).await?;
                let (source, destination) = (resolve(&message.source)?, resolve(&message.destination)?);
                let (from, to) = (source.clone(), destination.clone());
                let moved = match blocking(move || work::rename(&from, &to, owner, None)).await? {
                    None => {
                        long(move |caller| work::rename(&source, &destination, owner, Some(caller))).await?
                    }
                    moved => moved,
                };
                Ok(moved.map(entry).unwrap_or_default())
            }
            "ListDir" => {
                let message: ListDirRequest = connect::unary(request).await?;
                let path = resolve(&message.path)?;
                blocking(move || list::list(&path, message.depth)).await
            }
            "Remove" => {
                let path = resolve(&connect::unary::<PathRequest>(request).await?.path)?;
                let at_once = path.clone();
                if blocking(move || work::remove(&at_once, None)).await?.is_none() {
                    long(move |caller| work::remove(&path, Some(caller))).await?;
                }
                Ok(b"{}".to_vec())
            }
            "CreateWatcher" => watch::create(watches, resolve, connect::unary(request).await?).await,
            "GetWatcherEvents" => watch::events(watches, &connect::unary(request).await?),
            "RemoveWatcher" => watch::remove(watches, &connect::unary(request).await?),
            _ => Err(connect::unimplemented(SERVICE, call, kind)),
        }
    };
    Ok(connect::encoded_answer(connect::within(deadline, work).await))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    let result = pool::run(work).await;
    result.unwrap_or_else(|error| Err(ConnectError::new(Code::Internal, error.to_string())))
}

async fn long<T: Send + 'static>(
    work: impl FnOnce(&Caller<'_>) -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    let result = pool::run_long(work).await;
    result.unwrap_or_else(|error| Err(ConnectError::new(Code::Internal, error.to_string())))
}

fn entry(entry: sandscope_agent_protocol::filesystem::EntryInfo) -> Vec<u8> {
    serde_json::to_vec(&EntryResponse { entry: Some(entry) }).unwrap_or_default()
}
