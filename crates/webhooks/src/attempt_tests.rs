use std::collections::{BTreeMap, BTreeSet};

use sandscope_model::{EventDraft, EventType, SandboxRef, Secret, WebhookOptions};
use sandscope_outbound::{AllowedTarget, EgressRules, Resolve, Tls};
use sandscope_testbed::{SeededEntropy, StepClock};
use tokio::net::TcpListener;

use super::*;
use crate::receiver::{Answer, BOUND, Receiver};

fn event() -> Event {
    let id = |n: u128| uuid::Uuid::from_u128(n);
    let sandbox = SandboxRef {
        id: "i00000000000000000001".parse().unwrap(),
        execution_id: id(2).into(),
        template_id: "00000000000000000000".parse().unwrap(),
        build_id: id(3).into(),
        metadata: [].into(),
    };
    let ids = (id(1).into(), id(4).into());
    let draft = EventDraft::example(EventType::Created, ids, sandbox, Timestamp::UNIX_EPOCH);
    Event { sequence: 7, draft }
}

fn webhook(url: &str) -> Webhook {
    Webhook {
        id: uuid::Uuid::from_u128(5).into(),
        team_id: event().team_id,
        name: "test".to_owned(),
        url: url.to_owned(),
        events: EventType::listed().collect(),
        enabled: true,
        signature_secret: Secret::new("a secret nobody may see".to_owned()),
        previous_secret: None,
        headers: BTreeMap::new(),
        options: WebhookOptions::default(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

struct Bench {
    clock: StepClock,
    attempter: Attempter,
}

impl Bench {
    fn new(guard: EgressGuard) -> Self {
        let clock = StepClock::new();
        let attempter = Attempter {
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SeededEntropy::new(1)),
            http: receiver_client::new(guard.dialer(), Arc::new(Tls::default()), 8),
            guard,
        };
        Self { clock, attempter }
    }

    fn to_loopback() -> Self {
        Self::new(EgressGuard::new(AllowedTarget::loopback()))
    }

    async fn attempt(&self, url: &str) -> Attempt {
        let (webhook, event, never) = (webhook(url), event(), CancellationToken::new());
        let attempt = self.attempter.attempt(&webhook, &event, Duration::from_secs(10), &never);
        tokio::time::timeout(BOUND, attempt).await.expect("the attempt never ended").attempt
    }

    /// Makes an attempt against a receiver that takes the request and does not come to an end; lets its time run out.
    async fn attempt_until_deadline(&self, receiver: &Receiver) -> Attempt {
        let url = receiver.url();
        let step = async {
            receiver.wait_for(1).await;
            self.clock.advance(Duration::from_secs(10));
        };
        tokio::join!(self.attempt(&url), step).0
    }
}

/// Every name is this machine's.
struct ToLoopback;

impl Resolve for ToLoopback {
    fn resolve(&self, _host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()])
    }
}

fn class(attempt: &Attempt) -> Option<ErrorClass> {
    attempt.outcome.error().map(|(class, _)| class)
}

fn raw(text: impl Into<Vec<u8>>) -> impl Fn(&crate::receiver::Received) -> Answer + Send + Sync + 'static {
    let bytes = text.into();
    move |_| Answer::Raw(bytes.clone())
}

#[tokio::test]
async fn a_request_is_as_the_contract_says_and_its_record_shows_no_secret() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let attempt = Bench::to_loopback().attempt(&receiver.url()).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Success);
    let [received] = receiver.received().try_into().unwrap();
    assert!(received.head.starts_with("POST /hook?from=test HTTP/1.1\r\n"), "{}", received.head);
    let host = receiver.url().split('/').nth(2).unwrap().to_owned();
    let signature = signature::v1(&webhook("").signature_secret, &received.body);
    for (name, value) in [
        ("host", host),
        ("content-type", "application/json".to_owned()),
        ("user-agent", format!("sandscope/{}", env!("CARGO_PKG_VERSION"))),
        ("e2b-webhook-id", webhook("").id.to_string()),
        ("e2b-delivery-id", attempt.id.to_string()),
        ("e2b-signature-version", "v1".to_owned()),
        ("e2b-signature", signature.clone()),
    ] {
        assert_eq!(received.header(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(attempt.request_body.as_bytes(), received.body);
    let recorded: Value = serde_json::from_str(&attempt.request_headers).unwrap();
    assert_eq!(recorded["e2b-signature"], REDACTED);
    assert!(!format!("{attempt:?}").contains(&signature));
    assert_eq!((attempt.response_status, attempt.response_body.as_deref()), (Some(200), Some("ok")));
    assert_eq!(attempt.response_headers.as_deref(), Some(r#"{"content-length":"2"}"#));
}

#[tokio::test]
async fn every_attempt_has_its_own_delivery_id_and_connections_are_used_again() {
    let receiver = Receiver::start(|_| Answer::Status(204)).await;
    // A status without a body, with a length all the same, would leave the connection in doubt.
    let plain = Receiver::start(|_| Answer::Status(200)).await;
    let bench = Bench::to_loopback();
    let ids = [bench.attempt(&plain.url()).await.id, bench.attempt(&plain.url()).await.id];
    assert_ne!(ids[0], ids[1]);
    assert!(plain.received().iter().all(|received| received.connection == 1));
    assert_eq!(class(&bench.attempt(&receiver.url()).await), None);
}

#[tokio::test]
async fn a_kept_connection_is_held_against_the_rules_as_they_are_now() {
    // Loopback answers at all its addresses, so a name leads to a forbidden one only by the rules.
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let url = receiver.url().replace("127.0.0.1", "kept.example");
    let at_loopback =
        || EgressRules { allow: vec!["127.0.0.0/8".parse().unwrap()], ..EgressRules::default() };
    let guard = EgressGuard::with_resolver(at_loopback(), ToLoopback);
    let bench = Bench::new(guard.clone());
    let connections = || receiver.received().iter().map(|one| one.connection).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(class(&bench.attempt(&url).await), None);
    }
    assert_eq!(connections(), [1, 1], "it is kept");
    // Other rules that permit it, too: it is looked at again and used.
    guard.replace_rules(EgressRules { deny_ports: BTreeSet::new(), ..at_loopback() });
    assert_eq!(class(&bench.attempt(&url).await), None);
    assert_eq!(connections(), [1, 1, 1]);
    // The URL alone shows nothing forbidden; the connection that is there leads where nothing may go any more.
    guard.replace_rules(EgressRules::default());
    assert!(guard.check_url(&url).is_ok());
    let refused = bench.attempt(&url).await;
    assert_eq!(class(&refused), Some(ErrorClass::DnsError), "{refused:?}");
    assert_eq!(connections(), [1, 1, 1]);
    // Permitted again: not by the connection of before, which is closed.
    guard.replace_rules(at_loopback());
    assert_eq!(class(&bench.attempt(&url).await), None);
    assert_eq!(connections(), [1, 1, 1, 2]);
    // Another way to go is another connection; nobody listens there.
    let proxy = Some("http://127.0.0.1:9".parse().unwrap());
    guard.replace_rules(EgressRules { proxy, ..at_loopback() });
    assert_eq!(class(&bench.attempt(&url).await), Some(ErrorClass::TransportError));
    assert_eq!(receiver.received().len(), 4);
}

#[tokio::test]
async fn an_idle_connection_the_receiver_closed_is_no_failure() {
    let receiver = Receiver::start(|_| Answer::StatusThenClose(200)).await;
    let bench = Bench::to_loopback();
    for n in 1..=20 {
        assert_eq!(class(&bench.attempt(&receiver.url()).await), None, "attempt {n}");
    }
    assert_eq!(receiver.received().len(), 20);
}

#[tokio::test]
async fn statuses_other_than_2xx_fail_and_redirects_are_not_followed() {
    let trap = Receiver::start(|_| Answer::Status(200)).await;
    for status in [301, 302, 303, 307, 308] {
        let head =
            format!("HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", trap.url());
        let receiver = Receiver::start(raw(head)).await;
        let attempt = Bench::to_loopback().attempt(&receiver.url()).await;
        assert_eq!(class(&attempt), Some(ErrorClass::HttpError), "{status}");
        assert_eq!(attempt.response_status, Some(status));
    }
    assert_eq!(trap.received().len(), 0);
    for status in [400, 404, 410, 429, 500, 503] {
        let receiver = Receiver::start(move |_| Answer::Status(status)).await;
        let attempt = Bench::to_loopback().attempt(&receiver.url()).await;
        assert_eq!((class(&attempt), attempt.response_status), (Some(ErrorClass::HttpError), Some(status)));
    }
}

#[tokio::test]
async fn a_body_without_end_is_read_to_the_cap_and_the_connection_dropped() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let flood = Answer::Flood(head.into(), "a\r\n0123456789\r\n".into());
    let receiver = Receiver::start(move |_| flood.clone()).await;
    let attempt = Bench::to_loopback().attempt(&receiver.url()).await;
    assert_eq!(attempt.outcome, AttemptOutcome::Cut);
    assert_eq!(attempt.response_body.map(|body| body.len()), Some(64 * 1024));
}

#[tokio::test]
async fn what_is_kept_of_a_body_is_text_of_the_size_promised() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec();
    // Each of these becomes three bytes of text.
    answer.extend([0xff; 100_000]);
    let receiver = Receiver::start(raw(answer)).await;
    let kept = Bench::to_loopback().attempt(&receiver.url()).await.response_body.unwrap();
    assert!((MAX_KEPT_BYTES - 2..=MAX_KEPT_BYTES).contains(&kept.len()), "{}", kept.len());
}

#[tokio::test]
async fn compressed_bodies_are_kept_as_they_come() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n".to_vec();
    answer.extend([0x1f, 0x8b, 0x08, 0x00]);
    let receiver = Receiver::start(raw(answer)).await;
    let attempt = Bench::to_loopback().attempt(&receiver.url()).await;
    assert_eq!(class(&attempt), None);
    assert!(attempt.response_body.unwrap().chars().count() <= 4);
}

#[tokio::test]
async fn the_deadline_covers_everything_up_to_the_last_byte() {
    let cases = [
        Answer::Hang,
        Answer::RawThenHang(b"HTTP/1.1 200 OK\r\nx-half".to_vec()),
        Answer::RawThenHang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\ndrip".to_vec()),
        Answer::RawThenHang(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n".to_vec()),
    ];
    for answer in cases {
        let case = format!("{answer:?}");
        let receiver = Receiver::start(move |_| answer.clone()).await;
        let attempt = Bench::to_loopback().attempt_until_deadline(&receiver).await;
        assert_eq!(class(&attempt), Some(ErrorClass::Timeout), "{case}");
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_speak_http_ends_as_a_transport_error() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-many: 1\r\n".repeat(200));
    let huge = format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\n\r\n", "a".repeat(100_000));
    let cases = [
        many,
        huge,
        "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        String::new(),
    ];
    for answer in cases {
        let case = answer.chars().take(60).collect::<String>();
        let receiver = Receiver::start(raw(answer)).await;
        let attempt = Bench::to_loopback().attempt(&receiver.url()).await;
        assert_eq!(class(&attempt), Some(ErrorClass::TransportError), "{case:?}");
    }
    let receiver = Receiver::start(|_| Answer::Reset).await;
    let attempt = Bench::to_loopback().attempt(&receiver.url()).await;
    assert_eq!(class(&attempt), Some(ErrorClass::TransportError));
}

#[tokio::test]
async fn where_nobody_listens_or_tls_is_not_spoken_there_is_a_transport_error() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let attempt = Bench::to_loopback().attempt(&format!("http://{closed}/")).await;
    assert_eq!(class(&attempt), Some(ErrorClass::TransportError));
    assert_eq!(
        (attempt.response_status, attempt.response_headers, attempt.response_body),
        (None, None, None)
    );

    // Speaks up first, and not in TLS.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    let speak = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let bench = Bench::to_loopback();
    let (attempt, ()) = tokio::join!(bench.attempt(&url), async {
        let _ = tokio::time::timeout(BOUND, speak).await;
    });
    assert_eq!(class(&attempt), Some(ErrorClass::TransportError));
}

#[tokio::test]
async fn a_forbidden_target_gets_no_packet_and_tells_nothing() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let attempt = Bench::new(EgressGuard::new(Vec::new())).attempt(&receiver.url()).await;
    let AttemptOutcome::Failed { class, message } = &attempt.outcome else { panic!("{attempt:?}") };
    assert_eq!((*class, message.as_str()), (ErrorClass::RequestError, "the target address is not allowed"));
    assert_eq!(attempt.response_body, None);
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test]
async fn a_canceled_attempt_ends_at_once() {
    let receiver = Receiver::start(|_| Answer::Hang).await;
    let (webhook, event, canceled) = (webhook(&receiver.url()), event(), CancellationToken::new());
    let bench = Bench::to_loopback();
    let cancel = async {
        receiver.wait_for(1).await;
        canceled.cancel();
    };
    let (attempt, ()) =
        tokio::join!(bench.attempter.attempt(&webhook, &event, Duration::from_secs(10), &canceled), cancel);
    let attempt = attempt.attempt;
    assert_eq!(class(&attempt), Some(ErrorClass::Canceled));
}
