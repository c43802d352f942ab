//! Large bodies through the edge, in turns with the same to a plain hyper server in a thread of this process.
//!
//! Downloads are a file without blocks, read by the agent, and zeroes that a program inside writes; uploads go to a
//! program that reads and forgets: what is measured is the way, not a disk.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::wire::{self, Inside, Zeroes};
use super::{Row, row};

/// How often each is measured.
const ROUNDS: usize = 5;

/// How long the program inside may take to listen.
const READY: Duration = Duration::from_secs(30);

/// Port of the program inside.
const PORT: u16 = 8000;
const AGENT: u16 = 49983;

/// Reads and forgets what is sent; sends so many zeroes to whoever asks for `/<length>`.
const PROGRAM: &str = r#"
import socket, threading
def serve(conn):
    buffer, zeroes = bytearray(1 << 20), bytes(1 << 20)
    head = b''
    while b'\r\n\r\n' not in head:
        head += conn.recv(65536)
    head, _, rest = head.partition(b'\r\n\r\n')
    method, path = head.split(b' ')[:2]
    if method == b'POST':
        left = int(head.lower().split(b'content-length:')[1].split(b'\r\n')[0]) - len(rest)
        while left > 0:
            left -= conn.recv_into(buffer, min(left, len(buffer)))
        conn.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    else:
        left = int(path[1:] or 0)
        conn.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n' % left)
        while left > 0:
            left -= conn.send(zeroes[:left] if left < len(zeroes) else zeroes)
    conn.close()
listener = socket.create_server(('127.0.0.1', 8000))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// Downloads and uploads of `length` bytes, each as a ratio to the plain server's.
pub(super) async fn measure(inside: &Inside, length: u64) -> anyhow::Result<Vec<Row>> {
    let mut sender = wire::connect::<Full<Bytes>>(inside.server).await?;
    inside.run(&mut sender, &format!("truncate -s {length} /home/user/zeroes")).await?;
    let program = PROGRAM.replace('\'', "\"");
    let (_, _running) = inside.start(&format!("exec python3 -c '{program}'")).await?;
    ready(inside).await?;
    let plain = plain_server()?;
    let file = || inside.request("GET", AGENT, "/files?path=/home/user/zeroes");
    let mut speeds: [Vec<f64>; 5] = Default::default();
    for round in 0..=ROUNDS {
        let path = format!("/{length}");
        let of_plain =
            |method| Request::builder().method(method).uri(&path).header(header::HOST, plain.to_string());
        let (zeroes, nothing) = (|| Zeroes::new(length), || Zeroes::new(0));
        let measured = [
            transfer(plain, of_plain("GET").body(nothing())?, length).await?,
            transfer(inside.server, file().body(nothing())?, length).await?,
            transfer(inside.server, inside.request("GET", PORT, &path).body(nothing())?, length).await?,
            transfer(plain, of_plain("POST").body(zeroes())?, length).await?,
            transfer(inside.server, inside.request("POST", PORT, "/").body(zeroes())?, length).await?,
        ];
        // The first round fills caches.
        if round > 0 {
            for (speeds, speed) in speeds.iter_mut().zip(measured) {
                speeds.push(speed);
            }
        }
    }
    let [down, file, program, up, discarded] = &mut speeds;
    let mib = length >> 20;
    Ok(vec![
        row(format!("{mib} MiB down, plain hyper server"), describe(down), "no edge; in turns with the rest"),
        compare(format!("{mib} MiB down, file of the sandbox"), file, down),
        compare(format!("{mib} MiB down, program in the sandbox"), program, down),
        row(format!("{mib} MiB up, plain hyper server"), describe(up), "no edge; in turns with the rest"),
        compare(format!("{mib} MiB up, program in the sandbox"), discarded, up),
    ])
}

/// One transfer; MiB per second.
async fn transfer(server: SocketAddr, request: Request<Zeroes>, length: u64) -> anyhow::Result<f64> {
    let is_download = request.method() == http::Method::GET;
    let mut sender = wire::connect(server).await?;
    let began = Instant::now();
    let received = wire::discard(sender.send_request(request).await?).await?;
    let took = began.elapsed();
    anyhow::ensure!(!is_download || received == length, "{received} bytes instead of {length}");
    Ok(length as f64 / (1 << 20) as f64 / took.as_secs_f64())
}

async fn ready(inside: &Inside) -> anyhow::Result<()> {
    let waiting = async {
        loop {
            let mut sender = wire::connect(inside.server).await?;
            let request = inside.request("GET", PORT, "/0").body(Empty::<Bytes>::new())?;
            if sender.send_request(request).await?.status().is_success() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(READY, waiting).await.context("the program inside (python3) does not listen")?
}

/// A hyper server with nothing around it, in a thread of its own.
fn plain_server() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("plain-server".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((socket, _)) = listener.accept().await {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(plain_answer));
                tokio::spawn(connection);
            }
        });
    })?;
    Ok(address)
}

async fn plain_answer(request: Request<Incoming>) -> anyhow::Result<Response<Zeroes>> {
    if request.method() == http::Method::GET {
        let length = request.uri().path().trim_start_matches('/').parse()?;
        return Ok(Response::new(Zeroes::new(length)));
    }
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Response::new(Zeroes::new(0)))
}

fn compare(figure: String, speeds: &mut [f64], plain: &mut [f64]) -> Row {
    let ratio = middle(speeds) / middle(plain);
    row(figure, describe(speeds), format!("through the edge: {ratio:.2} of the plain server (medians)"))
}

fn describe(speeds: &mut [f64]) -> String {
    let middle = middle(speeds);
    let (least, most) = (speeds.first().copied().unwrap_or(0.0), speeds.last().copied().unwrap_or(0.0));
    format!("{middle:.0} MiB/s ({least:.0} to {most:.0})")
}

/// The median of what it sorts.
fn middle(speeds: &mut [f64]) -> f64 {
    speeds.sort_unstable_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().unwrap_or(0.0)
}
