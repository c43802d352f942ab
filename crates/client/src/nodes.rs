//! The machine that sandboxes run on, for operators.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use sandscope_wire::node::NodeView;

use crate::control::{DEFAULT_DEADLINE, decode, refusal};
use crate::{Client, ClientError};

impl Client {
    /// The machines, for holders of the server's admin token; the client's API key is not sent.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn nodes(&self, admin_token: &str) -> Result<Vec<NodeView>, ClientError> {
        let request = Request::builder()
            .method(Method::GET)
            .uri("/nodes")
            .header("x-admin-token", admin_token)
            .header(header::USER_AGENT, concat!("sandscope/", env!("CARGO_PKG_VERSION")));
        let reply = self.control.send(request.body(Full::new(Bytes::new()))?, DEFAULT_DEADLINE).await?;
        if reply.status.is_success() { decode(&reply) } else { Err(refusal(&reply)) }
    }
}
