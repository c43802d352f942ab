use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::body::{AnswerError, read_answer};

const LIMITS: HttpLimits = HttpLimits {
    max_head_bytes: 16 * 1024,
    max_headers: 100,
    max_answer_bytes: 10,
    max_idle: 4,
    idle_for: Duration::MAX,
    max_age: Duration::MAX,
    resends: false,
};
const LONG: Duration = Duration::from_secs(30);

/// What a server does with the next request, over whichever connection it comes.
enum Act {
    /// Sends this and waits for another request.
    Say(&'static str),
    /// Closes the connection.
    Close,
    /// Waits until the other side closes.
    Wait,
}

/// A server that does one thing after the other, and remembers what was asked and over which connection.
struct Server {
    url: Url,
    asked: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Server {
    async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let acts = Arc::new(Mutex::new(acts.into_iter().collect::<VecDeque<_>>()));
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            for n in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, n, Arc::clone(&acts), Arc::clone(&log)));
            }
        });
        Self { url, asked }
    }

    fn connections(&self) -> Vec<usize> {
        self.asked.lock().unwrap().iter().map(|(n, _)| *n).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    n: usize,
    acts: Arc<Mutex<VecDeque<Act>>>,
    log: Arc<Mutex<Vec<(usize, String)>>>,
) {
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            request.push(char::from(byte));
        }
        log.lock().unwrap().push((n, request));
        let act = acts.lock().unwrap().pop_front().unwrap();
        match act {
            Act::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Act::Close => return,
            Act::Wait => drop(stream.read_u8().await),
        }
    }
}

fn client(limits: HttpLimits) -> HttpClient {
    HttpClient::new(Reach::Anywhere, Arc::default(), limits)
}

fn request() -> Request<Full<Bytes>> {
    Request::get("/asked").header("x-first", "1").body(Full::default()).unwrap()
}

const OK: Act = Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

#[tokio::test]
async fn a_connection_is_kept_and_the_host_comes_first() {
    let server = Server::start([OK, OK]).await;
    let client = client(LIMITS);
    for _ in 0..2 {
        let reply = client.send(&server.url, request(), LONG).await.unwrap();
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &b"ok"[..]));
    }
    assert_eq!(server.connections(), [1, 1]);
    let host = server.url.authority();
    let head = format!("GET /asked HTTP/1.1\r\nhost: {host}\r\nx-first: 1\r\n\r\n");
    assert_eq!(server.asked.lock().unwrap()[0].1, head);
}

#[tokio::test]
async fn a_kept_connection_that_breaks_is_made_up_for_only_where_that_is_wanted() {
    for (resends, connections) in [(true, vec![1, 1, 2]), (false, vec![1, 1])] {
        let server = Server::start([OK, Act::Close, OK]).await;
        let client = client(HttpLimits { resends, ..LIMITS });
        client.send(&server.url, request(), LONG).await.unwrap();
        let again = client.send(&server.url, request(), LONG).await;
        assert_eq!(again.is_ok(), resends, "{again:?}");
        assert!(resends || matches!(again, Err(SendError::Exchange(ExchangeError::Broken(_)))));
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn a_new_connection_that_breaks_is_never_made_up_for() {
    let server = Server::start([Act::Close, OK]).await;
    let failed = client(HttpLimits { resends: true, ..LIMITS }).send(&server.url, request(), LONG).await;
    assert!(matches!(failed, Err(SendError::Exchange(ExchangeError::Broken(_)))), "{failed:?}");
    assert_eq!(server.connections(), [1]);
}

#[tokio::test]
async fn of_an_answer_that_is_too_long_no_more_than_the_limit_is_taken() {
    let long = || Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nelevenbytes");
    let server = Server::start([long(), long(), long(), OK]).await;
    let client = client(LIMITS);
    let failed = client.send(&server.url, request(), LONG).await;
    assert!(matches!(failed, Err(SendError::TooLarge(10))), "{failed:?}");
    let mut partial = PartialReply::default();
    client.exchange(&server.url, request(), &mut partial).await.unwrap();
    assert_eq!((&partial.body[..], partial.is_cut), (&b"elevenbyte"[..], true));
    let answer = client.open(&server.url, request().map(Outgoing::Whole), LONG).await.unwrap();
    assert!(matches!(read_answer(answer.into_body(), 10).await, Err(AnswerError::TooLarge(10))));
    // A connection with the rest of an answer in it is of no use to anybody.
    client.send(&server.url, request(), LONG).await.unwrap();
    assert_eq!(server.connections(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_deadline() {
    let server =
        Server::start([Act::Wait, Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"), Act::Wait])
            .await;
    let client = client(LIMITS);
    let short = Duration::from_millis(50);
    for _ in 0..2 {
        let late = client.send(&server.url, request(), short).await;
        assert!(matches!(late, Err(SendError::Timeout(limit)) if limit == short), "{late:?}");
    }
    let late = client.open(&server.url, request().map(Outgoing::Whole), short).await;
    assert!(matches!(late, Err(SendError::Timeout(_))), "{late:?}");
}

#[tokio::test]
async fn an_opened_answer_is_read_after_the_head_and_its_connection_is_not_used_again() {
    let server = Server::start([OK, OK]).await;
    let client = client(LIMITS);
    for _ in 0..2 {
        let answer = client.open(&server.url, request().map(Outgoing::Whole), LONG).await.unwrap();
        assert_eq!(&read_answer(answer.into_body(), 10).await.unwrap()[..], b"ok");
    }
    assert_eq!(server.connections(), [1, 2]);
}

#[tokio::test]
async fn pieces_that_break_off_break_the_request_off() {
    let server = Server::start([Act::Wait]).await;
    let (pieces, receiver) = mpsc::channel(2);
    pieces.try_send(Ok(Bytes::from_static(b"so far"))).unwrap();
    pieces.try_send(Err(io::Error::other("no more"))).unwrap();
    let request = Request::post("/").body(Outgoing::Pieces(receiver)).unwrap();
    let failed = client(LIMITS).open(&server.url, request, LONG).await;
    assert!(matches!(failed, Err(SendError::Exchange(ExchangeError::Unsendable(_)))), "{failed:?}");
}

#[tokio::test]
async fn names_below_localhost_are_this_machine() {
    let server = Server::start([OK]).await;
    let mut url = server.url.clone();
    url.set_host(Some("3000-sandbox.localhost")).unwrap();
    assert_eq!(client(LIMITS).send(&url, request(), LONG).await.unwrap().status, StatusCode::OK);
}
