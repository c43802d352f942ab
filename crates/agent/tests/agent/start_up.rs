use std::process::{Command, Stdio};

use serde_json::json;

use crate::client::{Agent, BOOT_TOKEN, TOKEN};

const UNAUTHORIZED: &str =
    "unauthorized access, please provide a valid access token or method signing if supported";

#[test]
fn until_initialised_it_only_says_that_it_lives() {
    let agent = Agent::bare();
    let health = agent.send("GET", "/health", &[], b"");
    assert_eq!((health.status, health.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(agent.send("GET", "/envs", &[], b"").status, 503);
    assert_eq!(agent.send("POST", "/init", &[], b"{}").status, 401);
    assert_eq!(agent.send("POST", "/init", &[("x-boot-token", "wrong")], b"{}").status, 401);
    assert_eq!(agent.send("GET", "/envs", &[], b"").status, 503);
    let init = agent.send("POST", "/init", &[("x-boot-token", BOOT_TOKEN)], b"{}");
    assert_eq!((init.status, init.header("x-envd-version")), (204, Some("0.6.4")));
    assert_eq!(agent.send("GET", "/envs", &[], b"").json(), json!({"E2B_SANDBOX": "true"}));
}

#[test]
fn without_a_boot_token_it_does_not_run() {
    let run = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_sandscope-agent")).stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("exec \"$0\" --listen 127.0.0.1:0 3<&-").contains("no boot token"));
    assert!(run("exec \"$0\" --listen 127.0.0.1:0 3</dev/null").contains("too short"));
}

#[test]
fn the_token_guards_everything_but_health() {
    let agent = Agent::start();
    assert_eq!(agent.send("GET", "/health", &[], b"").status, 204);
    for path in ["/envs", "/metrics", "/process.Process/List", "/nothing"] {
        for headers in [&[][..], &[("x-access-token", "ea_tesT")], &[("x-access-token", "ea_test2")]] {
            let answer = agent.send("POST", path, headers, b"");
            assert_eq!(answer.status, 401);
            assert_eq!(answer.json(), json!({"code": 401, "message": UNAUTHORIZED}));
        }
    }
    let envs = agent.call("GET", "/envs", &[], b"").json();
    assert_eq!(envs["FROM_INIT"], "yes");
    assert_eq!(envs["E2B_SANDBOX_ID"], "isbx");
    assert_eq!(agent.send("OPTIONS", "/process.Process/Start", &[], b"").status, 204);
}

#[test]
fn a_second_init_changes_what_it_says_and_keeps_the_rest() {
    let agent = Agent::start();
    let headers = [("x-boot-token", BOOT_TOKEN)];
    let secret = agent.send("POST", "/init", &headers, b"{\"accessToken\": \"s3cret\", \"envVars\": 5}");
    assert_eq!(secret.status, 400);
    assert!(!secret.json().to_string().contains("s3cret"));
    assert_eq!(agent.send("POST", "/init", &headers, b"{\"envVars\": {\"MORE\": \"1\"}}").status, 204);
    let envs = agent.send("GET", "/envs", &[("x-access-token", TOKEN)], b"").json();
    assert_eq!((&envs["MORE"], &envs["FROM_INIT"]), (&json!("1"), &json!("yes")));
}

#[test]
fn metrics_of_what_is_inside() {
    let agent = Agent::start();
    let metrics = agent.call("GET", "/metrics", &[], b"").json();
    assert!(metrics["cpu_count"].as_u64().unwrap() >= 1);
    assert!(metrics["mem_total"].as_u64().unwrap() >= metrics["mem_used"].as_u64().unwrap());
    assert!(metrics["disk_total"].as_u64().unwrap() > 0);
}

#[test]
fn what_is_not_there_is_said_in_the_framing_of_the_call() {
    let agent = Agent::start();
    let (status, body) = agent.unary("/process.Process/Nothing", &json!({}));
    assert_eq!((status, &body["code"]), (501, &json!("unimplemented")));
    // Known, but in the other framing.
    let (status, body) = agent.unary("/filesystem.Filesystem/WatchDir", &json!({"path": "/tmp"}));
    assert_eq!((status, &body["code"]), (501, &json!("unimplemented")));
    let mut events = agent.stream("/filesystem.Filesystem/CreateWatcher", &[], &[json!({"path": "/tmp"})]);
    assert_eq!(events.next(), None);
    assert_eq!(events.ended.unwrap()["error"]["code"], "unimplemented");
    assert_eq!(agent.call("GET", "/nothing", &[], b"").status, 404);
    assert_eq!(agent.call("GET", "/process.Process/List", &[], b"").status, 405);
    let proto = agent.call("POST", "/process.Process/List", &[("content-type", "application/proto")], b"");
    assert_eq!(proto.status, 415);
}
