//! Makes a long log without making sandboxes.

use anyhow::{Context as _, Result};

use crate::server::Server;

/// Sandboxes whose history it is.
const N_SANDBOXES: usize = 256;

/// Adds `n` events to the log of the stopped server's team.
pub(crate) async fn fill(server: &Server, n: usize) -> Result<()> {
    let store = server.open_store()?;
    let team_id = store.facts.teams().await?.first().context("there is no team")?.id;
    sandscope_bench::fill_log(&store.facts, team_id, n, N_SANDBOXES).await?;
    store.close().await;
    Ok(())
}
