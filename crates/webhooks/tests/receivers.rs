//! The receivers of the guide, run as printed there, against what deliveries are signed with.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at the unexpected and says what it skips"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sandscope_model::{Secret, Timestamp};
use sandscope_webhooks::signature;
use serde_json::json;

const GUIDE: &str = include_str!("../../../docs/webhooks.md");
const NOW: i64 = 1_700_000_000;

/// The code block behind the marker of that language.
fn receiver(language: &str) -> &'static str {
    let (_, rest) = GUIDE.split_once(&format!("<!-- receiver: {language} -->\n```")).expect("a receiver");
    let (_, rest) = rest.split_once('\n').expect("code");
    rest.split_once("\n```").expect("its end").0
}

struct Case {
    what: &'static str,
    secret: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    now: i64,
    genuine: bool,
}

fn cases() -> Vec<Case> {
    let encoded = format!("whsec_{}", STANDARD.encode(b"thirty-two bytes of good entropy"));
    let body = "{\"id\":\"1\",\"name\":\"ümlaut\"}".as_bytes().to_vec();
    let id = uuid::Uuid::from_u128(7).into();
    let sign = |secrets: &[&str]| -> BTreeMap<String, String> {
        let at = Timestamp::from_second(NOW).unwrap();
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new((*text).to_owned())).collect();
        let standard: Vec<String> =
            secrets.iter().map(|secret| signature::standard(secret, id, at, &body)).collect();
        let mut headers = BTreeMap::from([
            ("e2b-signature".to_owned(), signature::v1(&secrets[0], &body)),
            ("webhook-id".to_owned(), id.to_string()),
            ("webhook-timestamp".to_owned(), NOW.to_string()),
            ("webhook-signature".to_owned(), standard.join(" ")),
        ]);
        if let Some(previous) = secrets.get(1) {
            headers.insert("e2b-signature-previous".to_owned(), signature::v1(previous, &body));
        }
        headers
    };
    let case = |what, secret: &str, headers, body: &[u8], now, genuine| Case {
        what,
        secret: secret.to_owned(),
        headers,
        body: body.to_vec(),
        now,
        genuine,
    };
    vec![
        case("plain secret", "plain secret", sign(&["plain secret"]), &body, NOW, true),
        case("encoded secret", &encoded, sign(&[&encoded]), &body, NOW + 60, true),
        case("old secret while changing", "old", sign(&[&encoded, "old"]), &body, NOW, true),
        case("new secret while changing", &encoded, sign(&[&encoded, "old"]), &body, NOW, true),
        case("another secret", "other", sign(&["plain secret"]), &body, NOW, false),
        case("changed body", "plain secret", sign(&["plain secret"]), b"{}", NOW, false),
        case("sent again later", "plain secret", sign(&["plain secret"]), &body, NOW + 301, false),
    ]
}

/// Runs `program` over every case; it prints `true` or `false`. Without the language there is nothing to run.
fn run(language: &str, probe: &[&str], program: &dyn Fn(&Path) -> Command) {
    if !Command::new(probe[0]).args(&probe[1..]).output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: {} is not installed: the guide's {language} receiver was not run", probe[0]);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for case in cases() {
        let input = json!({
            "secret": case.secret, "headers": case.headers, "body": STANDARD.encode(&case.body), "now": case.now,
        });
        std::fs::write(dir.path().join("case.json"), input.to_string()).unwrap();
        let output = program(dir.path()).current_dir(dir.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).trim().to_lowercase();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(told, case.genuine.to_string(), "{language}, {}: {error}", case.what);
    }
}

#[test]
fn javascript() {
    run("JavaScript", &["node", "--version"], &|dir| {
        let main = "\nimport fs from 'node:fs'\nconst c = JSON.parse(fs.readFileSync('case.json'))\n\
                    console.log(verify(c.secret, c.headers, Buffer.from(c.body, 'base64'), c.now))\n";
        std::fs::write(dir.join("main.mjs"), format!("{}{main}", receiver("js"))).unwrap();
        let mut command = Command::new("node");
        command.arg("main.mjs");
        command
    });
}

#[test]
fn python() {
    run("Python", &["python3", "--version"], &|dir| {
        let main = "\nimport json\nc = json.load(open('case.json'))\n\
                    print(verify(c['secret'], c['headers'], base64.b64decode(c['body']), c['now']))\n";
        std::fs::write(dir.join("main.py"), format!("{}\n{main}", receiver("python"))).unwrap();
        let mut command = Command::new("python3");
        command.arg("main.py");
        command
    });
}

#[test]
fn go() {
    run("Go", &["go", "version"], &|dir| {
        let head = "package main\n\nimport (\n\"crypto/hmac\"\n\"crypto/sha256\"\n\"encoding/base64\"\n\
                    \"encoding/json\"\n\"fmt\"\n\"os\"\n\"strconv\"\n\"strings\"\n)\n\n";
        let main = "\n\nfunc main() {\ntext, _ := os.ReadFile(\"case.json\")\nvar c struct {\nSecret string\n\
                    Headers map[string]string\nBody []byte\nNow int64\n}\njson.Unmarshal(text, &c)\n\
                    fmt.Println(verify(c.Secret, c.Headers, c.Body, c.Now))\n}\n";
        std::fs::write(dir.join("main.go"), format!("{head}{}{main}", receiver("go"))).unwrap();
        let mut command = Command::new("go");
        command.args(["run", "main.go"]);
        command
    });
}

// As in the guide, which the test below holds it to.
#[rustfmt::skip]
fn verify(secret: &str, headers: &BTreeMap<String, String>, raw_body: &[u8], now: i64) -> bool {
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let sum = ring::digest::digest(&ring::digest::SHA256, &[secret.as_bytes(), raw_body].concat());
    let plain = STANDARD_NO_PAD.encode(sum.as_ref());
    let decoded = secret.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, decoded.as_deref().unwrap_or(secret.as_bytes()));
    let signed = [header("webhook-id"), ".", header("webhook-timestamp"), "."].concat();
    let signed = [signed.as_bytes(), raw_body].concat();
    let is_mac = |one: &str| {
        let mac = one.strip_prefix("v1,").and_then(|mac| STANDARD.decode(mac).ok());
        mac.is_some_and(|mac| ring::hmac::verify(&key, &signed, &mac).is_ok())
    };
    let fresh = header("webhook-timestamp").parse::<i64>().is_ok_and(|at| (now - at).abs() < 300);
    fresh
        && (header("e2b-signature") == plain || header("e2b-signature-previous") == plain)
        && header("webhook-signature").split(' ').any(is_mac)
}

#[test]
fn rust() {
    assert!(include_str!("receivers.rs").contains(receiver("rust")), "the guide has another receiver");
    for case in cases() {
        assert_eq!(verify(&case.secret, &case.headers, &case.body, case.now), case.genuine, "{}", case.what);
    }
}
