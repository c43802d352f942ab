//! What is refused is refused before a packet leaves: seen in the kernel's counters of a network namespace in which
//! everything has a route. Needs root.

use std::process::Command;
use std::time::Duration;

use super::tests::Scripted;
use super::*;
use crate::DialError;

const INSIDE: &str = "SANDSCOPE_TEST_INSIDE_NAMESPACE";

/// Every address that must never be reached, one of each kind.
const FORBIDDEN: [&str; 58] = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.1",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.169.253",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::a00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
];

/// TCP connections begun, datagrams sent and IPv4 packets sent, in this network namespace.
fn sent() -> (u64, u64, u64) {
    let text = std::fs::read_to_string("/proc/self/net/snmp").unwrap();
    let value = |protocol: &str, name: &str| -> u64 {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let index = names.split(' ').position(|found| found == name).unwrap();
        values.split(' ').nth(index).unwrap().parse().unwrap()
    };
    (value("Tcp", "ActiveOpens"), value("Udp", "OutDatagrams"), value("Ip", "OutRequests"))
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|output| output.status.success())
}

#[test]
fn no_packet_leaves_for_a_refused_target() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let me = std::env::current_exe().unwrap();
    let name = "guard::packet_tests::no_packet_leaves_for_a_refused_target";
    let again = Command::new("unshare")
        .arg("-n")
        .arg(me)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let unable = "SKIPPED: a network namespace cannot be made here (needs root, unshare and ip)";
    match again {
        Ok(output) if output.status.success() => {
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(told.contains("1 passed"), "the test ran nothing: {told}");
        }
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            if error.contains("unshare") || error.contains("cannot be set up") {
                println!("{unable}: {error}");
            } else {
                panic!("{error}");
            }
        }
        Err(error) => println!("{unable}: {error}"),
    }
}

fn inside() {
    let made = ip("link set lo up")
        && ip("link add out type veth peer name far")
        && ip("link set out up")
        && ip("link set far up")
        && ip("link set out arp off")
        && ip("addr add 8.0.0.1/8 dev out")
        && ip("-6 addr add 2600::1/64 dev out nodad")
        && ip("route add default dev out")
        && ip("-6 route add default dev out");
    assert!(made, "the network namespace cannot be set up");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let before = sent();
        for address in FORBIDDEN {
            let literal = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            for url in [format!("http://{literal}/"), format!("https://{literal}:8443/hook")] {
                let refused = EgressGuard::new(Vec::new()).dialer().dial(&Url::parse(&url).unwrap()).await;
                assert!(
                    matches!(refused, Err(DialError::Refused(GuardError::Forbidden))),
                    "{url}: {refused:?}"
                );
            }
            for answer in [&[address][..], &["8.8.8.8", address], &[address, "8.8.8.8"]] {
                let guard = EgressGuard::with_resolver(EgressRules::default(), Scripted::new(&[answer]));
                let url = Url::parse("http://names.example/").unwrap();
                let refused = guard.dialer().dial(&url).await;
                assert!(matches!(refused, Err(DialError::Unresolved)), "{answer:?}: {refused:?}");
            }
        }
        assert_eq!(sent(), before, "something left for a refused target");
        // The same counters do move for what is permitted, also on loopback.
        for (allow, url) in [
            (Vec::new(), "http://8.8.8.8/"),
            (Vec::new(), "http://[2606:4700::1]/"),
            (AllowedTarget::loopback(), "http://127.0.0.1:9999/"),
        ] {
            let (opens, ..) = sent();
            let dialer = EgressGuard::new(allow).dialer();
            let url = Url::parse(url).unwrap();
            let _ = tokio::time::timeout(Duration::from_millis(200), dialer.dial(&url)).await;
            assert!(sent().0 > opens, "{url} was not even tried: the counters prove nothing");
        }
    });
}
