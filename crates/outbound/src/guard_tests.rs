use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::DialError;

/// Answers each lookup with the next of its answers, and with the last one from then on.
pub(crate) struct Scripted(Mutex<VecDeque<Vec<IpAddr>>>);

impl Scripted {
    pub(crate) fn new(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        Self(Mutex::new(answers.iter().map(parse).collect()))
    }
}

impl Resolve for Scripted {
    fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.ok_or_else(|| io::Error::other("SERVFAIL"))
    }
}

fn strict() -> EgressGuard {
    EgressGuard::new(Vec::new())
}

#[test]
fn urls_that_can_be_refused_by_looking_are() {
    let refused = [
        // Loopback and this host, however spelled.
        "http://127.0.0.1/",
        "http://127.9.8.7/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://0.0.0.0/",
        "http://0.1.2.3/",
        "http://[::]/",
        "http://[::1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0/",
        "http://127.0.0.1./",
        "http://１２７.０.０.１/",
        "http://127。0。0。1/",
        "http://%31%32%37.0.0.1/",
        // Private and link-local, with the clouds' metadata services.
        "http://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://168.63.129.16/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        // Embedded and special.
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:1::]/",
        "http://[100::1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://192.0.2.1/",
        "http://[ff02::1]/",
        "http://8.8.8.8:0/",
    ];
    for text in refused {
        assert_eq!(strict().check_url(text), Err(GuardError::Forbidden), "{text}");
    }
}

#[test]
fn public_targets_are_accepted() {
    for text in [
        "https://example.com/hook?a=b#c",
        "HTTP://EXAMPLE.COM",
        "http://8.8.8.8:8080/",
        "https://[2606:4700::1111]/",
        "https://bücher.example/",
        "http://localhost.example.com/",
        "https://notlocalhost/",
    ] {
        assert!(strict().check_url(text).is_ok(), "{text}");
    }
}

#[test]
fn the_allow_list_is_by_address_and_port() {
    let allow = vec!["10.1.0.0/16:8000-8999".parse().unwrap(), "fd00::/8:443".parse().unwrap()];
    let guard = EgressGuard::new(allow);
    assert!(guard.check_url("http://10.1.2.3:8080/").is_ok());
    assert!(guard.check_url("http://[::ffff:10.1.2.3]:8080/").is_ok());
    assert!(guard.check_url("https://[fd00::1]/").is_ok());
    assert_eq!(guard.check_url("http://10.1.2.3/"), Err(GuardError::Forbidden));
    assert_eq!(guard.check_url("http://10.2.0.1:8080/"), Err(GuardError::Forbidden));
    assert_eq!(guard.check_url("http://localhost:8080/"), Err(GuardError::Forbidden));
    let development = EgressGuard::new(AllowedTarget::loopback());
    assert!(development.check_url("http://localhost:1234/hook").is_ok());
    assert!(development.check_url("http://[::1]:1234/hook").is_ok());
    assert_eq!(development.check_url("http://10.0.0.1/"), Err(GuardError::Forbidden));
}

async fn dial(guard: &EgressGuard, url: &str) -> Result<TcpStream, DialError> {
    guard.dialer().dial(&Url::parse(url).unwrap()).await.map(|(stream, _)| stream)
}

#[tokio::test]
async fn one_forbidden_address_in_the_answer_refuses_it_whole() {
    let private: &[&str] = &["10.0.0.1"];
    let mixed: &[&str] = &["93.184.216.34", "127.0.0.1"];
    let v6_only: &[&str] = &["::1"];
    let mapped: &[&str] = &["::ffff:10.0.0.1"];
    for answer in [private, mixed, v6_only, mapped] {
        let guard = EgressGuard::with_resolver(EgressRules::default(), Scripted::new(&[answer]));
        let refused = dial(&guard, "http://rebind.example/").await.unwrap_err();
        assert!(matches!(refused, DialError::Unresolved), "{answer:?}: {refused:?}");
        assert!(!refused.to_string().contains(answer[0]), "the error reveals what the name resolved to");
    }
}

#[tokio::test]
async fn a_name_without_addresses_does_not_resolve() {
    for answers in [&[][..], &[&[] as &[&str]][..]] {
        let guard = EgressGuard::with_resolver(EgressRules::default(), Scripted::new(answers));
        let error = dial(&guard, "http://nowhere.example/").await.unwrap_err();
        assert!(matches!(error, DialError::Unresolved), "{error:?}");
        // In the same words as a name of the inner network: which of the two it is, is not the URL's owner's to know.
        let inner = EgressGuard::with_resolver(EgressRules::default(), Scripted::new(&[&["10.0.0.1"]]));
        let refused = dial(&inner, "http://database.internal/").await.unwrap_err();
        assert_eq!(refused.to_string(), error.to_string());
    }
}

#[tokio::test]
async fn what_is_dialled_is_what_was_checked_even_if_the_name_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://rebind.example:{port}/");
    let allow = vec![AllowedTarget { net: "127.0.0.1/32".parse().unwrap(), ports: Some(port..=port) }];
    // The first answer is allowed; every later one is another machine.
    let guard = EgressGuard::with_resolver(
        EgressRules { allow, ..EgressRules::default() },
        Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]),
    );
    let stream = dial(&guard, &url).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    let error = dial(&guard, &url).await.unwrap_err();
    assert!(matches!(error, DialError::Unresolved), "{error:?}");
}

#[tokio::test]
async fn literal_addresses_are_checked_when_dialled_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    assert!(matches!(dial(&strict(), &url).await.unwrap_err(), DialError::Refused(GuardError::Forbidden)));
    assert!(dial(&EgressGuard::new(AllowedTarget::loopback()), &url).await.is_ok());
}

#[test]
fn ports_of_other_services_are_refused_unless_the_allow_list_names_them() {
    for text in [
        "http://8.8.8.8:25/",
        "https://example.com:22/",
        "http://example.com:6379/",
        "http://[2606:4700::1]:53/",
    ] {
        assert_eq!(strict().check_url(text), Err(GuardError::Port), "{text}");
    }
    let guard = EgressGuard::new(vec!["10.0.0.0/8".parse().unwrap(), "10.1.0.0/16:22".parse().unwrap()]);
    assert_eq!(
        guard.check_url("http://10.2.0.1:25/"),
        Err(GuardError::Port),
        "an address alone allows no such port"
    );
    assert!(guard.check_url("http://10.1.0.1:22/").is_ok());
    let none = EgressRules { deny_ports: BTreeSet::new(), ..EgressRules::default() };
    assert!(EgressGuard::with_rules(none).check_url("http://8.8.8.8:25/").is_ok());
}

#[test]
fn this_server_is_never_a_target() {
    let own_ports = BTreeSet::from([3000, 9090]);
    let rules = EgressRules { allow: AllowedTarget::loopback(), own_ports, ..EgressRules::default() };
    let guard = EgressGuard::with_rules(rules);
    for text in [
        "http://127.0.0.1:3000/",
        "http://127.0.0.1:9090/",
        "http://127.0.0.2:3000/",
        "http://localhost:3000/",
        "http://[::1]:3000/",
        "http://[::ffff:127.0.0.1]:3000/",
    ] {
        assert_eq!(guard.check_url(text), Err(GuardError::Forbidden), "{text}");
    }
    assert!(guard.check_url("http://127.0.0.1:3001/").is_ok());
    assert!(guard.check_url("http://8.8.8.8:3000/").is_ok(), "another machine's port");
}
