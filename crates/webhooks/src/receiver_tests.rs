//! A receiver on the loopback that can be made to misbehave, for the other test files.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long a test waits for what must happen.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// What the receiver does with a request it has read.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A well-formed answer with this status; the connection is kept.
    Status(u16),
    /// A well-formed answer, and the connection is closed without an answer.
    StatusThenClose(u16),
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, and then nothing ever.
    RawThenHang(Vec<u8>),
    /// The first bytes, and then the others again and again, as fast as they are taken.
    Flood(Vec<u8>, Vec<u8>),
    /// The same, a byte at a time.
    Drip(Vec<u8>, Vec<u8>),
    /// Nothing ever.
    Hang,
    /// The connection is reset.
    Reset,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which connection it came over, counted from 1.
    pub(crate) connection: usize,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn event_id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }
}

type Behaviour = dyn Fn(&Received) -> Answer + Send + Sync;

pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    n_received: watch::Receiver<usize>,
    n_flooded: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Receiver {
    pub(crate) async fn start(behaviour: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (count, n_received) = watch::channel(0);
        let n_flooded = Arc::new(AtomicUsize::new(0));
        let flooded = Arc::clone(&n_flooded);
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let log = Arc::clone(&received);
        let accepting = tokio::spawn(async move {
            for connection in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (behaviour, log, count) = (Arc::clone(&behaviour), Arc::clone(&log), count.clone());
                let flooded = Arc::clone(&flooded);
                tokio::spawn(async move {
                    // A client that goes away is not the receiver's concern.
                    let _ = serve(stream, connection, &*behaviour, &log, &count, &flooded).await;
                });
            }
        });
        Self { address, received, n_received, n_flooded, accepting: accepting.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?from=test", self.address)
    }

    /// Bytes that were taken of floods and drips, behind their first bytes.
    pub(crate) fn n_flooded(&self) -> usize {
        self.n_flooded.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until at least `n` requests have arrived.
    pub(crate) async fn wait_for(&self, n: usize) -> Vec<Received> {
        let mut watched = self.n_received.clone();
        let waiting = watched.wait_for(|count| *count >= n);
        tokio::time::timeout(BOUND, waiting).await.expect("the requests never came").unwrap();
        self.received()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    stream: TcpStream,
    connection: usize,
    behaviour: &Behaviour,
    log: &Mutex<Vec<Received>>,
    count: &watch::Sender<usize>,
    n_flooded: &AtomicUsize,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(received) = read_request(&mut stream, connection).await? {
        log.lock().unwrap().push(received.clone());
        let answer = behaviour(&received);
        count.send_modify(|n| *n += 1);
        match answer {
            Answer::Status(status) | Answer::StatusThenClose(status) => {
                let text = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 2\r\n\r\nok");
                stream.write_all(text.as_bytes()).await?;
                if matches!(answer, Answer::StatusThenClose(_)) {
                    return Ok(());
                }
            }
            Answer::Raw(bytes) => return stream.write_all(&bytes).await,
            Answer::RawThenHang(bytes) => {
                stream.write_all(&bytes).await?;
                std::future::pending::<()>().await;
            }
            Answer::Flood(first, again) => {
                stream.write_all(&first).await?;
                loop {
                    stream.write_all(&again).await?;
                    n_flooded.fetch_add(again.len(), Ordering::Relaxed);
                }
            }
            Answer::Drip(first, again) => {
                stream.write_all(&first).await?;
                for byte in again.iter().cycle() {
                    stream.write_all(&[*byte]).await?;
                    stream.flush().await?;
                    n_flooded.fetch_add(1, Ordering::Relaxed);
                    // sleep: a receiver that answers byte by byte
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Answer::Hang => std::future::pending::<()>().await,
            Answer::Reset => return stream.get_ref().set_zero_linger(),
        }
    }
    Ok(())
}

async fn read_request(
    stream: &mut BufReader<TcpStream>,
    connection: usize,
) -> std::io::Result<Option<Received>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let mut received = Received { head, body: Vec::new(), connection };
    let length = received.header("content-length").map_or(0, |value| value.parse().unwrap());
    received.body.resize(length, 0);
    stream.read_exact(&mut received.body).await?;
    Ok(Some(received))
}
