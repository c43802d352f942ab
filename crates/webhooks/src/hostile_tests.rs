//! Receivers that mean harm, each on a real socket and all at once: every one ends as one logged attempt with its error
//! class, within the deadline, and takes no more memory than is kept of an answer.

use std::time::Duration;

use sandscope_model::{Attempt, ErrorClass, EventType, Retry, Webhook};

use crate::receiver::{Answer, BOUND, Receiver};
use crate::world::{World, eventually, ok};

const KEPT: usize = 64 * 1024;
/// What sockets of the loopback may hold, both sides together, beside what is read.
const IN_SOCKETS: usize = 24 * 1024 * 1024;
/// A drip that has come this far goes on for ever.
const DRIPPED: usize = 20;

/// How a case ends.
enum End {
    /// By itself, with this class and status.
    With(Option<ErrorClass>, Option<u16>),
    /// By the deadline, when this status had arrived.
    Deadline(Option<u16>),
}

const BROKEN: End = End::With(Some(ErrorClass::TransportError), None);

/// A gzip stream of 32 MiB of zeros in a few hundred thousand bytes, put together bit by bit.
fn gzip_bomb() -> Vec<u8> {
    let (mut bytes, mut bits, mut n_bits) = (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], 0_u64, 0_u32);
    let mut put = |value: u64, n: u32| {
        bits |= value << n_bits;
        n_bits += n;
        while n_bits >= 8 {
            bytes.push((bits & 0xff) as u8);
            bits >>= 8;
            n_bits -= 8;
        }
    };
    // The last block, with fixed codes; a literal zero; "258 bytes from one back" again and again.
    put(0b011, 3);
    put(0b0000_1100, 8);
    for _ in 0..(32 << 20) / 258 {
        put(0b1010_0011, 8);
        put(0, 5);
    }
    put(0, 7 + 8);
    bytes
}

fn cases() -> Vec<(&'static str, Answer, End)> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{ok}transfer-encoding: chunked\r\n\r\n");
    let bomb = gzip_bomb();
    let gzip = format!("{ok}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let flood = |first: &str, again: &[u8]| Answer::Flood(first.into(), again.into());
    let drip = |first: &str, again: &str| Answer::Drip(first.into(), again.into());
    let say = |text: &str| Answer::Raw(text.into());
    let cut = || End::With(Some(ErrorClass::ResponseTooLarge), Some(200));
    let broken_body = || End::With(Some(ErrorClass::TransportError), Some(200));
    vec![
        ("a head that drips", drip(ok, "x-slow: a\r\n"), End::Deadline(None)),
        ("a header that drips", drip(&format!("{ok}x-slow: "), "a"), End::Deadline(None)),
        (
            "a body that drips",
            drip(&format!("{ok}content-length: 9999999\r\n\r\n"), "a"),
            End::Deadline(Some(200)),
        ),
        ("chunks that drip", drip(&chunked, "1\r\na\r\n"), End::Deadline(Some(200))),
        // As much as is kept has come, and in time: delivered, and the log says what was wrong.
        ("chunks without end", flood(&chunked, b"a\r\n0123456789\r\n"), cut()),
        ("a body without length or end", flood(&format!("{ok}\r\n"), &[b'a'; 4096]), cut()),
        ("a gzip bomb", Answer::Raw([gzip.into_bytes(), bomb].concat()), cut()),
        ("chunk extensions without end", flood(&format!("{chunked}1;x="), &[b'a'; 4096]), broken_body()),
        (
            "trailers without end",
            flood(&format!("{chunked}0\r\n"), b"x-more: aaaaaaaaaaaaaaaa\r\n"),
            broken_body(),
        ),
        ("a chunk larger than numbers are", say(&format!("{chunked}fffffffffffffffff\r\n")), broken_body()),
        ("headers without end", flood(ok, b"x-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"), BROKEN),
        ("one header without end", flood(&format!("{ok}x-huge: "), &[b'a'; 4096]), BROKEN),
        ("a status line without end", flood("HTTP/1.1 200 ", &[b'a'; 4096]), BROKEN),
        ("continues without end", flood("", b"HTTP/1.1 100 Continue\r\n\r\n"), End::Deadline(None)),
        (
            "hints without end",
            flood("", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
            End::Deadline(None),
        ),
        (
            "another protocol",
            say("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            End::With(Some(ErrorClass::HttpError), Some(101)),
        ),
        (
            "a redirect inside",
            say("HTTP/1.1 307 Away\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"),
            End::With(Some(ErrorClass::HttpError), Some(307)),
        ),
        ("two lengths", say(&format!("{ok}content-length: 1\r\ncontent-length: 2\r\n\r\nab")), BROKEN),
        ("a negative length", say(&format!("{ok}content-length: -1\r\n\r\n")), BROKEN),
        ("garbage", Answer::Raw((0..=255).cycle().take(5_000).collect()), BROKEN),
        ("another language", say("SSH-2.0-OpenSSH_9.9\r\n"), BROKEN),
        ("a reset", Answer::Reset, BROKEN),
        ("half a body", say(&format!("{ok}content-length: 10\r\n\r\nhalf")), broken_body()),
        ("nothing, and gone", say(""), BROKEN),
        ("nothing for ever", Answer::Hang, End::Deadline(None)),
    ]
}

fn memory_kib(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_receiver_does_ends_as_one_logged_attempt_in_time_and_in_little_memory() {
    let world = World::new().await;
    let before_kib = memory_kib("VmHWM:");
    let healthy = ok().await;
    let witness = world.webhook(&healthy.url()).await;
    let mut played: Vec<(&str, Receiver, Webhook, End)> = Vec::new();
    for (name, answer, end) in cases() {
        let receiver = Receiver::start(move |_| answer.clone()).await;
        let mut webhook = world.webhook(&receiver.url()).await;
        webhook.options.retry = Retry::Custom(Vec::new());
        assert!(world.store.deliveries.update_webhook(webhook.clone()).await.unwrap());
        played.push((name, receiver, webhook, end));
    }
    let webhooks = world.start();
    let event = world.happens(0, EventType::Created).await;
    let (world, event) = (&world, &event);
    let logged = async |webhook: &Webhook| -> Option<Attempt> {
        let attempts = world.attempts(webhook).await;
        assert!(attempts.len() <= 1, "tried more than once");
        attempts.into_iter().next()
    };
    // The clock does not move: what ends now ends by itself, and nobody waits for those that do not.
    healthy.wait_for(1).await;
    for (name, receiver, webhook, end) in &played {
        let (class, status) = match end {
            End::With(class, status) => (*class, *status),
            End::Deadline(_) => continue,
        };
        eventually(name, || async { logged(webhook).await.is_some() }).await;
        let attempt = logged(webhook).await.unwrap();
        check(name, &attempt, class, status);
        assert_eq!(attempt.event_id, event.id);
        assert!(receiver.n_flooded() < IN_SOCKETS, "{name}: {} bytes were taken", receiver.n_flooded());
    }
    for (name, receiver, webhook, end) in &played {
        if matches!(end, End::Deadline(_)) {
            receiver.wait_for(1).await;
            let hangs = *name == "nothing for ever";
            eventually(name, || async { hangs || receiver.n_flooded() >= DRIPPED }).await;
            assert_eq!(logged(webhook).await, None, "{name} ended by itself");
        }
    }
    world.clock.advance(Duration::from_secs(10));
    for (name, _, webhook, end) in &played {
        let End::Deadline(status) = end else { continue };
        eventually(name, || async { logged(webhook).await.is_some() }).await;
        check(name, &logged(webhook).await.unwrap(), Some(ErrorClass::Timeout), *status);
    }
    webhooks.drain(BOUND).await;
    let grown_kib = memory_kib("VmHWM:").saturating_sub(before_kib);
    assert!(grown_kib < 64 * 1024, "{grown_kib} KiB more than before");
    assert_eq!(world.attempts(&witness).await.len(), 1);
}

fn check(name: &str, attempt: &Attempt, class: Option<ErrorClass>, status: Option<u16>) {
    let (found, message) = attempt.outcome.error().unzip();
    assert!(message.is_some_and(|message| !message.is_empty() && message.len() < 200), "{name}: {message:?}");
    let is_delivered = class == Some(ErrorClass::ResponseTooLarge);
    assert_eq!(attempt.outcome.is_success(), is_delivered, "{name}");
    assert_eq!((found, attempt.response_status), (class, status), "{name}: {:?}", attempt.outcome);
    let kept = attempt.response_body.as_ref().map_or(0, String::len);
    assert!(kept <= KEPT, "{name}: {kept} bytes of its body are kept");
    let headers = attempt.response_headers.as_ref().map_or(0, String::len);
    assert!(headers <= KEPT, "{name}: {headers} bytes of its headers are kept");
}
