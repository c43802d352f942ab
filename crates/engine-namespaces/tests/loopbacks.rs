//! Which programs of a sandbox a port reaches, on real sandboxes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_engine::{Dial as _, DialFailure};
use sandscope_engine_namespaces::linux::NamespacesEngine;
use sandscope_model::SandboxId;
use support::{Host, User, eventually, init_pid, start};
use tokio::io::AsyncReadExt as _;

/// A program that listens on `address` and `port` and tells each caller `name`.
fn listener(address: &str, port: u16, name: &str) -> String {
    format!(
        "exec python3 -c 'import socket\n\
         family = socket.AF_INET6 if \":\" in \"{address}\" else socket.AF_INET\n\
         s = socket.socket(family)\n\
         if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(\"{address}\" == \"::1\"))\n\
         s.bind((\"{address}\", {port}))\n\
         s.listen()\n\
         while True:\n\
         \tc = s.accept()[0]\n\
         \topen(\"/tmp/{name}\", \"w\").close()\n\
         \tc.sendall(b\"{name}\")\n\
         \tc.close()'"
    )
}

/// Waits until something of the sandbox listens there, without a connection to it.
async fn listens(host: &Host, id: &SandboxId, port: u16, table: &str) {
    let pid = init_pid(host.state.dir.path(), id);
    eventually("the program listens", async || listening_inode(pid, port, table).is_some()).await;
}

/// The number of the socket that listens on the port in the network of a process.
fn listening_inode(pid: i32, port: u16, table: &str) -> Option<String> {
    let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
    let found = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = found.filter(|fields| fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == "0A");
    found.next().map(|fields| fields[9].to_owned())
}

async fn says(runtime: &NamespacesEngine, id: &SandboxId, port: u16) -> Result<String, DialFailure> {
    let mut said = String::new();
    let mut stream = runtime.dial(id, port).await?;
    stream.read_to_string(&mut said).await.unwrap();
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_reaches_a_program_on_either_loopback() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let listeners = [
        ("127.0.0.1", 5001, "tcp", "four"),
        ("::1", 5002, "tcp6", "six"),
        ("0.0.0.0", 5003, "tcp", "any-four"),
        ("::", 5004, "tcp6", "any"),
    ];
    for (address, port, table, name) in listeners {
        start(&host.runtime, &id, User::User, &listener(address, port, name)).await;
        listens(&host, &id, port, table).await;
        assert_eq!(says(&host.runtime, &id, port).await.unwrap(), name, "{address}");
    }
    // Where both have one, IPv4 answers, as it always has.
    start(&host.runtime, &id, User::User, &listener("::1", 5001, "other")).await;
    listens(&host, &id, 5001, "tcp6").await;
    assert_eq!(says(&host.runtime, &id, 5001).await.unwrap(), "four");
    assert!(matches!(host.runtime.dial(&id, 5005).await, Err(DialFailure::PortClosed)));
    host.runtime.shutdown().await;
}

/// What is sent to the agent has secrets in it: nothing else may ever receive it, also where the agent refuses.
#[tokio::test(flavor = "multi_thread")]
async fn the_agents_port_reaches_nobody_but_the_agent() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    start(&host.runtime, &id, User::User, &listener("::1", AGENT_PORT, "thief")).await;
    listens(&host, &id, AGENT_PORT, "tcp6").await;
    assert_eq!(host.run(&id, User::User, "ls /tmp").await.stdout, "", "the agent answers");

    stop_listening(init_pid(host.state.dir.path(), &id), AGENT_PORT);
    let refused = host.runtime.dial(&id, AGENT_PORT).await;
    assert!(matches!(refused, Err(DialFailure::PortClosed)), "{refused:?}");
    let root = format!("/proc/{}/root/tmp/thief", init_pid(host.state.dir.path(), &id));
    assert!(!std::path::Path::new(&root).exists(), "another program was called");
    host.runtime.shutdown().await;
}

/// Lets the process refuse what comes to the port.
fn stop_listening(pid: i32, port: u16) {
    let inode = listening_inode(pid, port, "tcp").unwrap();
    let is_it = |fd: &String| {
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
        target.to_str() == Some(&format!("socket:[{inode}]"))
    };
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let fd = fds.map(|fd| fd.unwrap().file_name().into_string().unwrap()).find(is_it).unwrap();
    let process = rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let taken =
        rustix::process::pidfd_getfd(&process, fd.parse().unwrap(), PidfdGetfdFlags::empty()).unwrap();
    rustix::net::shutdown(taken, rustix::net::Shutdown::Both).unwrap();
}
