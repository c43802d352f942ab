//! The commands that are not the server.

pub(crate) mod config;
pub(crate) mod events;
pub(crate) mod key;
pub(crate) mod openapi;
pub(crate) mod sandbox;
pub(crate) mod top;

use anyhow::Context as _;
use sandscope_client::{Client, ClientOptions};

use crate::cli::ServerArgs;

/// A client for the server the user named.
pub(crate) fn client(server: ServerArgs) -> anyhow::Result<Client> {
    let api_key = server
        .api_key
        .context("no API key: set E2B_API_KEY (printed at the server's first start) or make one with `sandscope key create`")?;
    Ok(Client::new(&ClientOptions { api_url: server.api_url, sandbox_url: server.sandbox_url, api_key })?)
}
