//! A receiver of webhooks on loopback that notes every request in the order in which they are there, and in which life
//! of the server that was.
//!
//! A life ends with [`Receiver::server_is_dead`]: whatever the dead server still had on its way is read and noted
//! before it returns, so that no request is taken for one of the next life.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How it answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It takes the event.
    Ok,
    /// It takes it after a while.
    OkAfter(Duration),
    /// It refuses with this status.
    Refuse(u16),
    /// It says this, word for word, and hangs up.
    Say(Arc<[u8]>),
    /// It hangs up without an answer.
    HangUp,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// How often the server had been killed before.
    pub(crate) life: usize,
    pub(crate) sequence: u64,
    pub(crate) event_id: String,
    pub(crate) sandbox_id: String,
    pub(crate) event_type: String,
    pub(crate) delivery_id: String,
    /// Over secret and body alone.
    pub(crate) signature: String,
    pub(crate) body: Arc<[u8]>,
    /// Whether it was answered 200.
    pub(crate) taken: bool,
}

type Manner = dyn Fn(usize) -> Answer + Send + Sync;

#[derive(Default)]
struct Notes {
    life: usize,
    arrivals: Vec<Arrival>,
    /// Events taken at least once, by number.
    taken: BTreeSet<u64>,
    /// Who was let in, for as long as it stays.
    open: BTreeSet<SocketAddr>,
    wrong: Option<String>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
    changed: watch::Sender<()>,
}

impl Receiver {
    /// One that answers the `n`-th request, counted from 0, by `manner`.
    pub(crate) async fn start(manner: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let receiver = Self { address, notes: Arc::default(), changed: watch::Sender::new(()) };
        let (notes, changed) = (Arc::clone(&receiver.notes), receiver.changed.clone());
        let manner: Arc<Manner> = Arc::new(manner);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                lock(&notes).open.insert(peer);
                changed.send_replace(());
                let (notes, changed, manner) = (Arc::clone(&notes), changed.clone(), Arc::clone(&manner));
                tokio::spawn(async move {
                    let served = serve(stream, &*manner, &notes, &changed).await;
                    let mut inner = lock(&notes);
                    inner.open.remove(&peer);
                    if let Err(error) = served
                        && error.downcast_ref::<std::io::Error>().is_none()
                    {
                        inner.wrong.get_or_insert(format!("{error:#}"));
                    }
                    drop(inner);
                    changed.send_replace(());
                });
            }
        });
        Ok(receiver)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Every request so far; an error if one was not what a delivery is.
    pub(crate) fn arrivals(&self) -> Result<Vec<Arrival>> {
        let notes = lock(&self.notes);
        ensure!(notes.wrong.is_none(), "{:?}", notes.wrong);
        Ok(notes.arrivals.clone())
    }

    pub(crate) fn n_arrivals(&self) -> usize {
        lock(&self.notes).arrivals.len()
    }

    /// Waits until `condition` holds of the numbers of the events taken and the count of requests.
    pub(crate) async fn wait(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&BTreeSet<u64>, usize) -> bool,
    ) -> Result<()> {
        let waiting = self.wait_for(|notes| condition(&notes.taken, notes.arrivals.len()));
        tokio::time::timeout(limit, waiting).await.with_context(|| format!("not within {limit:?}: {what}"))
    }

    /// Ends a life of the server, which must be gone.
    pub(crate) async fn server_is_dead(&self) -> Result<()> {
        // Connections are let in in the order in which they were made: this is the last that is not of the next life.
        let last = TcpStream::connect(self.address).await?;
        let ours = last.local_addr()?;
        let limit = Duration::from_secs(30);
        let let_in = self.wait_for(|notes| notes.open.contains(&ours));
        tokio::time::timeout(limit, let_in).await.context("the last connection is not let in")?;
        drop(last);
        let all_read = self.wait_for(|notes| notes.open.is_empty());
        tokio::time::timeout(limit, all_read).await.context("the dead server's connections stay")?;
        lock(&self.notes).life += 1;
        Ok(())
    }

    async fn wait_for(&self, condition: impl Fn(&Notes) -> bool) {
        let mut watched = self.changed.subscribe();
        while !condition(&lock(&self.notes)) {
            // The sender lives as long as this.
            let _ = watched.changed().await;
        }
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().expect("not poisoned")
}

async fn serve(
    stream: TcpStream,
    manner: &Manner,
    notes: &Mutex<Notes>,
    changed: &watch::Sender<()>,
) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some((event_header, arrival)) = read(&mut stream).await? else { return Ok(()) };
        ensure!(event_header == arrival.event_id, "webhook-id is {event_header}: {arrival:?}");
        let n = {
            let mut notes = lock(notes);
            let life = notes.life;
            notes.arrivals.push(Arrival { life, ..arrival });
            notes.arrivals.len() - 1
        };
        let answer = manner(n);
        if let Answer::OkAfter(wait) = answer {
            // sleep: a receiver that takes so long
            tokio::time::sleep(wait).await;
        }
        if matches!(answer, Answer::Ok | Answer::OkAfter(_)) {
            let mut notes = lock(notes);
            notes.arrivals[n].taken = true;
            let sequence = notes.arrivals[n].sequence;
            notes.taken.insert(sequence);
        }
        changed.send_replace(());
        match answer {
            Answer::Ok | Answer::OkAfter(_) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            }
            Answer::Refuse(status) => {
                let text = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(text.as_bytes()).await?;
            }
            Answer::Say(text) => {
                stream.write_all(&text).await?;
                stream.shutdown().await?;
                return Ok(());
            }
            Answer::HangUp => return Ok(()),
        }
    }
}

/// The next request with what its `webhook-id` says; `None` if there is none, or only a part of one.
async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<(String, Arrival)>> {
    let (mut length, mut event_header) = (0, String::new());
    let (mut delivery_id, mut signature) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse()?,
            Some(("webhook-id", value)) => event_header = value.to_owned(),
            Some(("e2b-delivery-id", value)) => delivery_id = value.to_owned(),
            Some(("e2b-signature", value)) => signature = value.to_owned(),
            Some(_) => {}
            None if line == "\r\n" => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let event: Value = serde_json::from_slice(&body)?;
    let text =
        |key: &str| event[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {event}"));
    let arrival = Arrival {
        life: 0,
        sequence: event["sequence"].as_u64().with_context(|| format!("no number: {event}"))?,
        event_id: text("id")?,
        sandbox_id: text("sandboxId")?,
        event_type: text("type")?,
        delivery_id,
        signature,
        body: body.into(),
        taken: false,
    };
    Ok(Some((event_header, arrival)))
}
