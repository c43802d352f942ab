//! What the operator's port answers.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::PATIENCE;
use crate::server::Server;

/// The whole answer to a plain request.
pub(crate) async fn get(address: &str, path: &str) -> Result<String> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, exchange).await?
}

/// The figures alone.
pub(crate) async fn scrape(address: &str) -> Result<String> {
    let answer = get(address, "/metrics").await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    Ok(body.to_owned())
}

/// Where the port is, from the log.
pub(crate) fn operator_address(server: &Server) -> Option<String> {
    let log = std::fs::read_to_string(server.data().join("server.log")).ok()?;
    let (_, after) = log.split_once("/metrics").map(|(before, _)| before.rsplit_once("http://"))??;
    Some(after.to_owned())
}
