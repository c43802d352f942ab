//! Files of a sandbox: the agent's `/files` and `filesystem.Filesystem` calls, reached through the edge. Contents are
//! streamed, so memory does not grow with a file's size.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use sandscope_agent_protocol::Code;
use sandscope_agent_protocol::filesystem::{EntryResponse, ListDirRequest, ListDirResponse, PathRequest};
use sandscope_outbound::Outgoing;
use tokio::sync::mpsc;

use crate::agent::{CALL_DEADLINE, refused, request};
use crate::control::segment;
use crate::types::Sandbox;
use crate::{Client, ClientError};

pub use sandscope_agent_protocol::filesystem::{EntryInfo, FileType};

/// How long a whole upload may take.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// A file on its way here.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
}

impl Download {
    /// The next piece; `None` at the end. A file that arrives incomplete is an error.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks or the file arrives incomplete.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

fn files(path: &str, user: Option<&str>) -> String {
    let user = user.map_or_else(String::new, |user| format!("&username={}", segment(user)));
    format!("/files?path={}{user}", segment(path))
}

impl Client {
    /// The contents of the file at `path`, as `user`.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn download(
        &self,
        sandbox: &Sandbox,
        user: Option<&str>,
        path: &str,
    ) -> Result<Download, ClientError> {
        let request = request(sandbox, None, Method::GET, &files(path, user)).body(Full::default())?;
        let response = self.edge.open(request, CALL_DEADLINE).await?;
        if response.status().is_success() {
            Ok(Download { body: response.into_body() })
        } else {
            Err(refused(response).await)
        }
    }

    /// Writes the file at `path`, as `user`, making directories where they are missing. An error among the pieces
    /// breaks the upload off.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused, or a piece is an error.
    pub async fn upload(
        &self,
        sandbox: &Sandbox,
        user: Option<&str>,
        path: &str,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<(), ClientError> {
        let request = request(sandbox, None, Method::POST, &files(path, user))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(Outgoing::Pieces(pieces))?;
        let response = self.edge.open(request, UPLOAD_DEADLINE).await?;
        if response.status().is_success() { Ok(()) } else { Err(refused(response).await) }
    }

    /// What is at `path`; `None` where nothing is.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn stat(
        &self,
        sandbox: &Sandbox,
        user: Option<&str>,
        path: &str,
    ) -> Result<Option<EntryInfo>, ClientError> {
        let message = PathRequest { path: path.to_owned() };
        let found: Result<EntryResponse, _> =
            self.call(sandbox, user, "filesystem.Filesystem/Stat", &message, CALL_DEADLINE).await;
        match found {
            Ok(found) => Ok(found.entry),
            Err(ClientError::Agent(error)) if error.code == Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is in the directory at `path`.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn list_directory(
        &self,
        sandbox: &Sandbox,
        user: Option<&str>,
        path: &str,
    ) -> Result<Vec<EntryInfo>, ClientError> {
        let message = ListDirRequest { path: path.to_owned(), depth: 1 };
        let listed: ListDirResponse =
            self.call(sandbox, user, "filesystem.Filesystem/ListDir", &message, CALL_DEADLINE).await?;
        Ok(listed.entries)
    }

    /// Makes the directory at `path` and those above it. One that is there already is fine.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn make_directory(
        &self,
        sandbox: &Sandbox,
        user: Option<&str>,
        path: &str,
    ) -> Result<(), ClientError> {
        let message = PathRequest { path: path.to_owned() };
        let made: Result<EntryResponse, _> =
            self.call(sandbox, user, "filesystem.Filesystem/MakeDir", &message, CALL_DEADLINE).await;
        match made {
            Ok(_) => Ok(()),
            Err(ClientError::Agent(error)) if error.code == Code::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }
}
