use std::path::PathBuf;
use std::rc::Rc;

use http::Request;
use sandscope_agent_protocol::filesystem::{WatchRequest, Watcher as WatcherMessage};
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::time::Instant;

use super::queue::Queue;
use super::stream::EventStream;
use super::table::{Watches, Watching};
use super::tree::{self, Kind};
use super::watcher::Watcher;
use crate::body::{Answer, Body};
use crate::connect::{self, invalid};
use crate::pool;
use crate::request_body::RequestBody;

/// Answers `WatchDir`.
pub(crate) async fn stream(
    watches: &Rc<Watches>,
    resolve: impl Fn(&str) -> Result<String, ConnectError>,
    deadline: Option<Instant>,
    request: Request<RequestBody>,
) -> Result<Answer, ConnectError> {
    let keepalive = connect::keepalive(request.headers());
    let message: WatchRequest = connect::single(request.into_body()).await?;
    let watching = connect::within(deadline, begin(watches, resolve, message)).await?;
    Ok(connect::stream_answer(Body::pieces(EventStream::new(watching, keepalive, deadline))))
}

/// Answers `CreateWatcher`.
pub(crate) async fn create(
    watches: &Rc<Watches>,
    resolve: impl Fn(&str) -> Result<String, ConnectError>,
    message: WatchRequest,
) -> Result<Vec<u8>, ConnectError> {
    let watching = begin(watches, resolve, message).await?;
    let watcher_id = watches.keep(watching)?;
    serde_json::to_vec(&WatcherMessage { watcher_id })
        .map_err(|error| ConnectError::new(Code::Internal, error.to_string()))
}

/// Answers `GetWatcherEvents`: what happened since the last call.
pub(crate) fn events(watches: &Watches, message: &WatcherMessage) -> Result<Vec<u8>, ConnectError> {
    let events = watches.find(&message.watcher_id)?.queue.drain()?;
    if events.is_empty() {
        return Ok(b"{}".to_vec());
    }
    let mut answer = br#"{"events":["#.to_vec();
    answer.extend_from_slice(&events.join(b",".as_slice()));
    answer.extend_from_slice(b"]}");
    Ok(answer)
}

/// Answers `RemoveWatcher`.
pub(crate) fn remove(watches: &Watches, message: &WatcherMessage) -> Result<Vec<u8>, ConnectError> {
    watches.forget(&message.watcher_id)?;
    Ok(b"{}".to_vec())
}

async fn begin(
    watches: &Rc<Watches>,
    resolve: impl Fn(&str) -> Result<String, ConnectError>,
    message: WatchRequest,
) -> Result<Watching, ConnectError> {
    let path = resolve(&message.path)?;
    let looked = path.clone();
    let look = pool::run(move || tree::look(looked.as_ref())).await;
    match look.map_err(|error| ConnectError::new(Code::Internal, error.to_string()))? {
        Ok(Some(Kind::Network)) if !message.allow_network_mounts => {
            return Err(invalid(format!(
                "path is on a network file system, which is not watched unless allowed: {path}"
            )));
        }
        Ok(Some(_)) => {}
        Ok(None) => return Err(invalid(format!("path is not a directory: {path}"))),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound) => {
            return Err(ConnectError::new(Code::NotFound, format!("path not found: {path}")));
        }
        Err(error) => return Err(invalid(format!("cannot watch '{path}': {error}"))),
    }
    let watcher = Watcher {
        root: PathBuf::from(path),
        recursive: message.recursive,
        include_entry: message.include_entry,
        allow_network: message.allow_network_mounts,
        queue: Queue::default(),
    };
    watches.begin(watcher).await
}
