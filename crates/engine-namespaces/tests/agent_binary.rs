//! The agent as it is handed to sandboxes: static, in need of nothing, and small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sandscope_agent_protocol::frame;
use sandscope_agent_protocol::process::{ProcessConfig, StartRequest};
use support::{Host, User, eventually, init_pid, start};

const AGENT: &str = env!("SANDSCOPE_AGENT");
const BOOT_TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Numbers of the ELF header are little-endian on every architecture we build for.
fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[test]
fn it_needs_no_loader_and_no_library() {
    let bytes = std::fs::read(AGENT).unwrap();
    assert_eq!(&bytes[..5], b"\x7fELF\x02");
    let (table, size, count) = (number(&bytes, 0x20, 8), number(&bytes, 0x36, 2), number(&bytes, 0x38, 2));
    let kinds: Vec<usize> = (0..count).map(|index| number(&bytes, table + index * size, 4)).collect();
    // A loader is named by a program header of kind 3.
    assert!(kinds.contains(&1) && !kinds.contains(&3), "{kinds:?}");
    let mapped = format!("{AGENT}: {} bytes", bytes.len());
    assert!(bytes.len() < 4 << 20, "{mapped}");
}

#[test]
fn a_root_file_system_with_one_file_is_enough() {
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED, needs root: an agent in an empty root file system");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::copy(AGENT, root.path().join("program")).unwrap();
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exec 3<&0 </dev/null; exec chroot \"$0\" /program --listen 127.0.0.1:0"])
        .arg(root.path())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(BOOT_TOKEN.as_bytes()).unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let _ended = Ended(child);
    let ask = |request: &str, headers: &str, body: &[u8]| {
        let mut stream = TcpStream::connect(address.trim()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let init = ask("POST /init", &format!("x-boot-token: {BOOT_TOKEN}\r\n"), br#"{"defaultUser":"root"}"#);
    assert!(init.starts_with("HTTP/1.1 204"), "{init}");
    // It is itself the one program there is: without its token it says so and ends.
    let config = ProcessConfig { cmd: "/program".to_owned(), ..ProcessConfig::default() };
    let run = StartRequest { process: Some(config), stdin: Some(false), ..StartRequest::default() };
    let stream = "content-type: application/connect+json\r\n";
    let ran = ask("POST /process.Process/Start", stream, &frame::encode(&run).unwrap());
    let said = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "sandscope-agent: no boot");
    assert!(ran.contains(&said[..24]) && ran.contains(r#""status":"exit status 1""#), "{ran}");
    for user in ["", "&username=user"] {
        let octets = "content-type: application/octet-stream\r\n";
        let written = ask(&format!("POST /files?path=/a/b{user}"), octets, b"contents");
        assert!(written.starts_with("HTTP/1.1 200"), "{written}");
        assert!(ask(&format!("GET /files?path=/a/b{user}"), "", b"").ends_with("contents"));
    }
    let json = "content-type: application/json\r\n";
    let listed = ask("POST /filesystem.Filesystem/ListDir", json, br#"{"path":"/"}"#);
    assert_eq!(listed.matches("\"path\"").count(), 2, "{listed}");
    let watched = ask("POST /filesystem.Filesystem/CreateWatcher", json, br#"{"path":"/a"}"#);
    assert!(watched.contains("watcherId"), "{watched}");
    assert!(ask("GET /metrics", "", b"").starts_with("HTTP/1.1 200"));
}

/// Memory that is one process's alone, in bytes.
fn private_bytes(pid: i32) -> u64 {
    let rollup =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup")).unwrap();
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    lines.map(|line| line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_small_when_idle_and_grows_little_with_what_runs() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let pid = init_pid(host.state.dir.path(), &id);
    let idle = private_bytes(pid);
    for _ in 0..100 {
        start(&host.runtime, &id, User::User, "exec sleep 1000").await;
    }
    eventually("all run", async || host.run(&id, User::User, "pgrep -cx sleep").await.stdout.trim() == "100")
        .await;
    let busy = private_bytes(pid);
    eprintln!("agent: {} KiB private when idle, {} KiB with 100 processes", idle >> 10, busy >> 10);
    assert!(idle < 3 << 20, "{idle}");
    assert!(busy < 8 << 20, "{busy}");
}
