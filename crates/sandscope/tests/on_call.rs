//! What somebody on call asks the real binary: why a sandbox died, who ended it, which webhook is failing, and what an
//! error means.

mod server;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use server::Server;

const BOUND: Duration = Duration::from_secs(60);

fn run(server: &Server, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(arguments).envs(server.environment()).stdin(Stdio::null());
    Ok(command.output()?)
}

/// Standard output of a command that has to succeed.
fn said(server: &Server, arguments: &[&str]) -> Result<String> {
    let output = run(server, arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Every line as JSON; each has to be.
fn json(server: &Server, arguments: &[&str]) -> Result<Vec<Value>> {
    let text = said(server, arguments)?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{arguments:?}: {line}")))
        .collect()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn eventually(what: &str, mut question: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + BOUND;
    while !question()? {
        ensure!(Instant::now() < deadline, "not within {BOUND:?}: {what}");
        // sleep: the pause between two looks
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[tokio::test]
async fn one_command_says_why_a_sandbox_died_and_who_ended_it() -> Result<()> {
    if server::skip_without_root("why a sandbox died") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let data = server.data();
    let data = data.to_str().context("UTF-8")?;
    let pager = said(&server, &["key", "create", "--name", "pager", "--data-dir", data])?.trim().to_owned();
    let id = said(&server, &["sandbox", "create", "--timeout", "600"])?.trim().to_owned();
    ensure!(said(&server, &["sandbox", "info", &id])?.contains("State: running"));

    // The kernel kills a child for lack of memory; the sandbox lives on.
    let output = run(&server, &["sandbox", "exec", &id, "echo last words; tail /dev/zero"])?;
    ensure!(output.status.code() == Some(137), "{output:?}");
    eventually("the kill is an event", || {
        Ok(said(&server, &["events", "--sandbox", &id])?.contains(" oom "))
    })?;
    eventually(
        "the line is logged",
        || Ok(said(&server, &["sandbox", "logs", &id])?.contains("last words")),
    )?;

    // Whoever ends it uses a key that is deleted afterwards.
    ensure!(run(&server, &["sandbox", "kill", &id, "--api-key", &pager])?.status.success());
    let listed = json(&server, &["key", "list", "--json", "--data-dir", data])?;
    let key = listed.iter().find(|key| key["name"] == "pager").context("it is listed")?;
    let key = key["id"].as_str().context("id")?.to_owned();
    said(&server, &["key", "delete", &key, "--data-dir", data])?;
    let deleted = json(&server, &["key", "list", "--deleted", "--json", "--data-dir", data])?;
    ensure!(deleted.len() == 1 && deleted[0]["name"] == "pager" && deleted[0]["deletedAt"].is_string());
    ensure!(!said(&server, &["key", "list", "--deleted", "--data-dir", data])?.contains(&pager));

    for word in ["info", "why"] {
        let report = said(&server, &["sandbox", word, &id])?;
        for part in [
            "State: ended",
            "Why: request",
            &format!("Ended by key pager ({key})"),
            "OOM kills: 1",
            "Exit signal: 9",
            "last words",
            " oom ",
        ] {
            ensure!(report.contains(part), "no '{part}':\n{report}");
        }
        ensure!(report.contains(" ago)") || report.contains("(now)"), "no age:\n{report}");
    }
    let [report] = &json(&server, &["sandbox", "info", &id, "--json"])?[..] else {
        anyhow::bail!("not one value")
    };
    ensure!(report["reason"] == "request" && report["actor"]["name"] == "pager", "{report}");
    ensure!(report["events"].as_array().is_some_and(|all| all.len() >= 3), "{report}");
    ensure!(said(&server, &["sandbox", "metrics", &id])?.contains("Metrics for sandbox"));

    // All forms of time; a sandbox that never was is named as such.
    let now = sandscope_model::Timestamp::now();
    for since in ["1h", "10m", &now.as_second().saturating_sub(900).to_string(), "2020-01-01T00:00:00Z"] {
        let events = json(&server, &["events", "--sandbox", &id, "--since", since, "--json"])?;
        ensure!(events.len() >= 3, "{since}: {events:?}");
    }
    let never = run(&server, &["sandbox", "info", "i00000000000000000000"])?;
    ensure!(!never.status.success() && complaint(&never).contains("running or ended"), "{never:?}");
    let inside = run(&server, &["sandbox", "exec", &id, "true"])?;
    ensure!(complaint(&inside).contains("sandscope sandbox info"), "{inside:?}");
    server.stop_softly().await
}

#[tokio::test]
async fn every_command_about_webhooks_prints_json_and_the_list_says_which_fails() -> Result<()> {
    if server::skip_without_root("webhooks on call") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    // Takes no connection: every attempt fails.
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let hook = said(&server, &["webhook", "create", &format!("http://{closed}/"), "--name", "billing"])?;
    let hook = hook.trim();
    let id = said(&server, &["sandbox", "create", "--timeout", "600"])?.trim().to_owned();
    eventually("the list says that it fails", || {
        let list = json(&server, &["webhook", "list", "--json"])?;
        Ok(list[0]["status"]["failingSince"].is_string())
    })?;
    let list = said(&server, &["webhook", "list"])?;
    ensure!(list.contains("failing") && list.contains("Z (") && list.contains("BEHIND"), "{list}");

    for command in [
        &["info", hook][..],
        &["stats", hook],
        &["deliveries", hook],
        &["dead-letters", hook],
        &["replays", hook],
        &["replay", hook, "--all", "--since", "1h", "--detach"],
        &["update", hook, "--name", "billing 2"],
        &["rotate-secret", hook],
    ] {
        json(&server, &[&["webhook"], command, &["--json"]].concat())?;
    }
    let replays = json(&server, &["webhook", "replays", hook, "--json"])?;
    let replay = replays[0]["id"].as_str().context("a replay")?;
    // Over or not, it answers in words.
    let cancelled = run(&server, &["webhook", "cancel-replay", hook, replay, "--json"])?;
    ensure!(cancelled.status.success() || complaint(&cancelled).contains("replay"), "{cancelled:?}");
    let attempt = run(&server, &["webhook", "test", hook, "--json"])?;
    ensure!(serde_json::from_slice::<Value>(&attempt.stdout)?["status"] == "failed", "{attempt:?}");

    for command in [&["pause", &id][..], &["resume", &id], &["resume", &id], &["kill", &id]] {
        json(&server, &[&["sandbox"], command, &["--json"]].concat())?;
    }
    server.stop_softly().await
}

#[tokio::test]
async fn errors_say_what_to_do() -> Result<()> {
    if server::skip_without_root("errors on call") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let wrong = format!("e2b_{}", "0".repeat(40));
    for key in [wrong.as_str(), "e2b_wrong"] {
        let refused = run(&server, &["sandbox", "list", "--api-key", key])?;
        let words = complaint(&refused);
        ensure!(words.contains("sandscope key create") && !words.contains("e2b.dev"), "{words}");
    }

    // Somebody else's server: an empty 404, and a page.
    for answer in ["404 Not Found\r\ncontent-length: 0", "200 OK\r\ncontent-length: 6\r\n\r\n<html>"] {
        let other = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", other.local_addr()?);
        let text = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
        let serving = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = other.accept()?;
            let mut head = [0; 4096];
            let _read = stream.read(&mut head)?;
            stream.write_all(text.as_bytes())
        });
        let refused = run(&server, &["sandbox", "list", "--api-url", &address])?;
        let words = complaint(&refused);
        ensure!(words.contains("not a Sandscope server's") && words.contains("E2B_API_URL"), "{words}");
        serving.join().ok().context("it answered")??;
    }

    let id = said(&server, &["sandbox", "create", "--timeout", "3000"])?.trim().to_owned();
    let end = |server: &Server| -> Result<Value> {
        Ok(json(server, &["sandbox", "info", &id, "--json"])?[0]["endAt"].clone())
    };
    let before = end(&server)?;
    let words = said(&server, &["sandbox", "resume", &id])?;
    ensure!(words.contains("already running") && words.contains("in 4"), "{words}");
    ensure!(end(&server)? == before, "resuming a running sandbox moved its end");

    let there = format!("{id}:/nowhere");
    for (from, to, expected) in [
        ("/no/such/file", there.as_str(), "on this machine"),
        (there.as_str(), "/tmp", "there is no /nowhere in sandbox"),
        (&format!("{id}:/etc/hostname"), "/no/such/directory/x", "there is no directory /no/such/directory"),
        (&format!("{}:/etc/hostname", &id[..19]), "/tmp", "ids have 21 characters"),
    ] {
        let refused = run(&server, &["files", "cp", from, to])?;
        ensure!(!refused.status.success() && complaint(&refused).contains(expected), "{refused:?}");
    }
    said(&server, &["sandbox", "kill", &id])?;
    server.stop_softly().await
}

#[tokio::test]
async fn resuming_keeps_what_was_left_unless_a_timeout_is_given() -> Result<()> {
    if server::skip_without_root("resuming") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let made = json(&server, &["sandbox", "create", "--timeout", "3000", "--json"])?;
    let id = made[0]["sandboxID"].as_str().context("no id")?.to_owned();
    for (options, most) in [(&[][..], 3_000), (&["--timeout", "900"], 900)] {
        said(&server, &["sandbox", "pause", &id])?;
        said(&server, &[&["sandbox", "resume", &id], options].concat())?;
        let shown = json(&server, &["sandbox", "info", &id, "--json"])?;
        let end_at: sandscope_model::Timestamp = shown[0]["endAt"].as_str().context("no end")?.parse()?;
        let left_s = end_at.as_second() - sandscope_model::Timestamp::now().as_second();
        ensure!((most - 120..=most).contains(&left_s), "{options:?}: {left_s} s are left of {most}");
    }
    said(&server, &["sandbox", "kill", &id])?;
    server.stop_softly().await
}
