use std::time::Duration;

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL cannot be used.
    #[error(transparent)]
    Url(#[from] sandscope_outbound::BaseUrlError),
    /// Nobody answers there.
    #[error("cannot connect to {authority} (is the server running?)")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not who it claims to be, or speaks no TLS.
    #[error(
        "no secure connection to {authority} (if its certificate is your own, name its authority with --ca-file or SSL_CERT_FILE)"
    )]
    Tls {
        /// Host and port.
        authority: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// There is nothing to check servers' certificates with.
    #[error("trusted certificates: {0}")]
    Certificates(String),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    /// The body of a refusal cannot be read.
    #[error("the answer cannot be understood: {0}")]
    Answer(#[from] sandscope_outbound::AnswerError),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The answer is larger than the client takes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The server refused.
    #[error("{message} ({status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// Something answers there, and it is not a Sandscope server.
    #[error(
        "the answer ({status}) is not a Sandscope server's: check the address (--api-url, E2B_API_URL, E2B_DOMAIN) and \
         any proxy in between; {beginning}"
    )]
    NotTheApi {
        /// HTTP status.
        status: u16,
        /// How the answer begins.
        beginning: String,
    },
    /// The answer is not what the API promises.
    #[error("the answer cannot be understood: {0}")]
    Malformed(String),
    /// The answer is not the JSON the API promises.
    #[error("the answer cannot be understood")]
    Json(#[from] serde_json::Error),
    /// The agent's stream cannot be understood.
    #[error("the agent's stream cannot be understood")]
    Frame(#[from] sandscope_agent_protocol::FrameError),
    /// The agent refused, or stopped trying.
    #[error("the agent could not do it")]
    Agent(#[from] sandscope_agent_protocol::ConnectError),
    /// The request cannot be made of these values.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

impl ClientError {
    /// The HTTP status, if the server refused in its own words.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}
