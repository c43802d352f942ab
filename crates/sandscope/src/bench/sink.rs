//! A receiver that does as little as possible, so that it is the sender that is measured.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    Prompt,
    After(Duration),
    Never,
}

#[derive(Default)]
struct Taken {
    n: AtomicUsize,
    /// When each event arrived first, by its id.
    at: Mutex<HashMap<String, Instant>>,
}

/// A receiver on loopback.
pub(super) struct Sink {
    url: String,
    taken: Arc<Taken>,
    accepting: AbortHandle,
}

impl Sink {
    pub(super) async fn start(manner: Manner, times: bool) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let taken = Arc::new(Taken::default());
        let log = Arc::clone(&taken);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                // A sender that goes away is no concern of the receiver's.
                tokio::spawn(async move { drop(serve(stream, manner, times, &log).await) });
            }
        });
        Ok(Self { url, taken, accepting: accepting.abort_handle() })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn n_taken(&self) -> usize {
        self.taken.n.load(Ordering::Relaxed)
    }

    /// When each event arrived, by its id.
    pub(super) fn times(&self) -> HashMap<String, Instant> {
        self.taken.at.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `n` deliveries were taken.
    pub(super) async fn wait_for(&self, n: usize, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.n_taken() < n {
            anyhow::ensure!(began.elapsed() < limit, "{} of {n} deliveries arrived", self.n_taken());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, manner: Manner, times: bool, taken: &Taken) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        if times && let Some(id) = event_id(&body) {
            let mut at = taken.at.lock().unwrap_or_else(PoisonError::into_inner);
            at.entry(id).or_insert_with(Instant::now);
        }
        match manner {
            Manner::Prompt => {}
            Manner::After(delay) => tokio::time::sleep(delay).await,
            Manner::Never => std::future::pending().await,
        }
        taken.n.fetch_add(1, Ordering::Relaxed);
        stream.write_all(ANSWER).await?;
    }
}

fn event_id(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value["id"].as_str().map(ToOwned::to_owned)
}
