//! Large bodies through the edge, in turns with the same to a plain hyper server in a thread of this process.
//!
//! Files as `curl` moves them (down: one without blocks; up: onto the disk), and zeroes from and to a program inside,
//! which is the way alone.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{Empty, Full};
use tokio::process::Command;

use super::wire::{self, Inside, Zeroes};
use super::{Row, plain, row};

/// How often each is measured.
const ROUNDS: usize = 5;

/// How long the program inside may take to listen.
const READY: Duration = Duration::from_secs(30);

/// Port of the program inside.
const PORT: u16 = 8000;
const AGENT: u16 = 49983;

/// Reads and forgets what is sent; sends so many zeroes to a client that asks for `/<length>`.
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
    let folder = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
    let plain = plain::serve(folder.path())?;
    let mut rows = files(inside, plain, folder.path(), length).await?;
    rows.extend(programs(inside, plain, length).await?);
    Ok(rows)
}

/// Files, with `curl`, of a file system both: what an agent's developer does.
async fn files(inside: &Inside, plain: SocketAddr, folder: &Path, length: u64) -> anyhow::Result<Vec<Row>> {
    let source = plain::source(folder);
    File::create(&source)?.set_len(length)?;
    let mut sender = wire::connect::<Full<Bytes>>(inside.server).await?;
    inside.run(&mut sender, &format!("truncate -s {length} /home/user/source")).await?;
    let of_plain = format!("http://{plain}/file");
    let of_sandbox = |name: &str| format!("http://{}/files?path=/home/user/{name}", inside.server);
    let headers = [
        format!("e2b-sandbox-id: {}", inside.id),
        format!("e2b-sandbox-port: {AGENT}"),
        format!("x-access-token: {}", inside.token),
        "content-type: application/octet-stream".to_owned(),
    ];
    let mut speeds: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        let measured = [
            curl(&of_plain, &[], None, length).await?,
            curl(&of_sandbox("source"), &headers, None, length).await?,
            curl(&of_plain, &headers, Some(&source), length).await?,
            curl(&of_sandbox("target"), &headers, Some(&source), length).await?,
        ];
        keep(round, &mut speeds, &measured);
    }
    let [plain_down, down, plain_up, up] = &mut speeds;
    let mib = length >> 20;
    Ok(vec![
        row(
            format!("{mib} MiB file down, plain hyper server"),
            describe(plain_down),
            "curl; no edge; in turns",
        ),
        compare(format!("{mib} MiB file down, of the sandbox"), down, plain_down),
        row(format!("{mib} MiB file up, plain hyper server"), describe(plain_up), "curl; no edge; in turns"),
        compare(format!("{mib} MiB file up, into the sandbox"), up, plain_up),
    ])
}

/// Bytes that no disk sees, to and from a program inside.
async fn programs(inside: &Inside, plain: SocketAddr, length: u64) -> anyhow::Result<Vec<Row>> {
    let program = PROGRAM.replace('\'', "\"");
    let (_, _running) = inside.start(&format!("exec python3 -c '{program}'")).await?;
    ready(inside).await?;
    let mut speeds: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        let path = format!("/{length}");
        let of_plain =
            |method| Request::builder().method(method).uri(&path).header(header::HOST, plain.to_string());
        let (zeroes, nothing) = (|| Zeroes::new(length), || Zeroes::new(0));
        let measured = [
            transfer(plain, of_plain("GET").body(nothing())?, length).await?,
            transfer(inside.server, inside.request("GET", PORT, &path).body(nothing())?, length).await?,
            transfer(plain, of_plain("POST").body(zeroes())?, length).await?,
            transfer(inside.server, inside.request("POST", PORT, "/").body(zeroes())?, length).await?,
        ];
        keep(round, &mut speeds, &measured);
    }
    let [plain_down, down, plain_up, up] = &mut speeds;
    let mib = length >> 20;
    Ok(vec![
        row(
            format!("{mib} MiB of zeroes down, plain hyper server"),
            describe(plain_down),
            "no edge; in turns",
        ),
        compare(format!("{mib} MiB of zeroes down, program in the sandbox"), down, plain_down),
        row(format!("{mib} MiB of zeroes up, plain hyper server"), describe(plain_up), "no edge; in turns"),
        compare(format!("{mib} MiB of zeroes up, program in the sandbox"), up, plain_up),
    ])
}

/// The first round fills caches and is not kept.
fn keep(round: usize, speeds: &mut [Vec<f64>], measured: &[f64]) {
    if round > 0 {
        for (speeds, speed) in speeds.iter_mut().zip(measured) {
            speeds.push(*speed);
        }
    }
}

/// One transfer by `curl`, as it counts the time; MiB per second. Sends `file` where there is one.
async fn curl(url: &str, headers: &[String], file: Option<&Path>, length: u64) -> anyhow::Result<f64> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "--max-time", "600", "-o", "/dev/null"]);
    curl.args(["-w", "%{time_total} %{size_download} %{size_upload}"]);
    for header in headers {
        curl.args(["-H", header]);
    }
    if let Some(file) = file {
        curl.args(["-X", "POST", "-H", "expect:", "-T"]).arg(file);
    }
    let output = curl.arg(url).stdin(Stdio::null()).kill_on_drop(true).output().await.context("no curl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "curl: {said}");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split(' ').filter_map(|figure| figure.parse().ok()).collect();
    let [seconds, down, up] = figures[..] else { anyhow::bail!("curl printed {text}") };
    let moved = if file.is_some() { up } else { down };
    anyhow::ensure!(moved as u64 == length, "{moved} bytes instead of {length}");
    Ok(length as f64 / f64::from(1 << 20) / seconds)
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
