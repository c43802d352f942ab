use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use sandscope_agent_protocol::logs::{Lines, MAX_LINES, PATH};
use sandscope_agent_protocol::rest::ACCESS_TOKEN_HEADER;
use sandscope_model::Secret;

use crate::{AgentLink, LinkError};

/// How long the agent is asked to wait for a line, in seconds.
const WAIT_SECONDS: u64 = 30;

/// How long an answer may take beyond that. A sandbox that is paused meanwhile exceeds it.
const PATIENCE: Duration = Duration::from_secs(15);

impl AgentLink {
    /// The lines that the sandbox's processes wrote after the line of number `after`. Waits up to 30 seconds for some,
    /// and may come back without any.
    ///
    /// # Errors
    /// See [`LinkError`]; [`LinkError::TooLate`] after 45 seconds.
    pub async fn read_logs(&mut self, after: u64, token: Option<&Secret>) -> Result<Lines, LinkError> {
        let mut request = Request::get(format!("{PATH}?after={after}&wait={WAIT_SECONDS}"));
        if let Some(token) = token {
            request = request.header(ACCESS_TOKEN_HEADER, token.expose());
        }
        let deadline = Duration::from_secs(WAIT_SECONDS) + PATIENCE;
        let answer = self.exchange(request, Bytes::new(), StatusCode::OK);
        let answer = tokio::time::timeout(deadline, answer).await.map_err(|_| LinkError::TooLate)??;
        let lines: Lines = serde_json::from_slice(&answer)?;
        check(&lines, after).map_err(LinkError::Nonsense)?;
        Ok(lines)
    }
}

/// Numbers grow, from what was asked for to what is promised.
fn check(lines: &Lines, after: u64) -> Result<(), &'static str> {
    let mut before = after;
    for line in &lines.lines {
        if line.seq <= before || line.seq > lines.upto {
            return Err("its lines are not in order");
        }
        before = line.seq;
    }
    if lines.lines.len() > MAX_LINES {
        return Err("it has more lines than an answer may have");
    }
    if lines.upto < after { Err("it goes back behind what was asked for") } else { Ok(()) }
}
