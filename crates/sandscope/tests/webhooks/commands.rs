//! Every `sandscope webhook …` command against a real server.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::operations::{BOUND, base, refusing, until};
use crate::receiver::{Answer, Receiver};
use crate::server::{self, Server};

/// The binary as a person uses it: address and key come from the environment.
struct Shell {
    environment: BTreeMap<String, String>,
}

/// What a command said and how it ended.
struct Said {
    out: String,
    notes: String,
    code: Option<i32>,
}

impl Said {
    /// What it printed, if it succeeded.
    fn fine(self) -> Result<String> {
        ensure!(self.code == Some(0), "ended with {:?}: {}{}", self.code, self.out, self.notes);
        Ok(self.out)
    }

    /// What it printed, if it said that something failed.
    fn failed(self) -> Result<String> {
        ensure!(self.code == Some(1), "ended with {:?}: {}{}", self.code, self.out, self.notes);
        Ok(self.out)
    }
}

impl Shell {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
        command.arg("webhook").args(arguments).envs(&self.environment).env_remove("SANDSCOPE_WEBHOOK_SECRET");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Result<Said> {
        let running = self.command(arguments).output();
        let output =
            tokio::time::timeout(BOUND, running).await.with_context(|| format!("{arguments:?}"))??;
        Ok(Said {
            out: String::from_utf8(output.stdout)?,
            notes: String::from_utf8(output.stderr)?,
            code: output.status.code(),
        })
    }
}

/// The rows of a table, without its head.
fn rows(table: &str) -> Vec<&str> {
    table.lines().skip(1).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_operated_from_the_command_line() -> Result<()> {
    if server::skip_without_root("webhook commands") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let (client, shell) = (server.client()?, Shell { environment: server.environment().clone() });
    let (receiver, mended) = refusing().await?;
    let url = receiver.url();

    let created = shell
        .run(&[
            "create",
            &url,
            "--name",
            "by hand",
            "--event",
            "created,updated",
            "--option",
            "maxInFlight=4",
        ])
        .await?;
    let secret = created.notes.trim().strip_prefix("secret: ").context("no secret is printed")?.to_owned();
    ensure!(secret.starts_with("whsec_"), "{secret}");
    let id = created.fine()?.trim().to_owned();
    let second = shell.run(&["create", &url, "--secret", "of one's own"]).await?;
    ensure!(second.notes.is_empty(), "a given secret is printed: {}", second.notes);
    let second = second.fine()?.trim().to_owned();
    let listed = shell.run(&["list"]).await?.fine()?;
    ensure!(rows(&listed).len() == 2 && listed.contains(&id) && listed.contains("by hand"), "{listed}");
    let shown: Value = serde_json::from_str(&shell.run(&["info", &id]).await?.fine()?)?;
    ensure!(shown["maxInFlight"] == 4 && !shown.to_string().contains(&secret), "{shown}");
    shell.run(&["delete", &second]).await?.fine()?;
    ensure!(rows(&shell.run(&["ls"]).await?.fine()?).len() == 1);
    let unknown = shell.run(&["info", &second]).await?;
    ensure!(unknown.code == Some(1) && unknown.notes.contains("not found"), "{}", unknown.notes);
    let nonsense = shell.run(&["create", &url, "--option", "maxInFlight=many"]).await?;
    ensure!(nonsense.code == Some(1) && nonsense.notes.contains("is no JSON"), "{}", nonsense.notes);

    shell
        .run(&["update", &id, "--option", r#"retry={"policy":"custom","delaysSeconds":[1]}"#])
        .await?
        .fine()?;
    let refused = shell.run(&["test", &id]).await?.failed()?;
    ensure!(refused.contains("status 400"), "{refused}");

    // Both attempts fail; the event is among the dead letters and is sent again by hand.
    let sandbox = client.create_sandbox(&base()).await?.sandbox_id;
    until("it is a dead letter", || async {
        let letters = shell.run(&["dead-letters", &id]).await?.fine()?;
        Ok(letters.contains(&sandbox).then_some(()))
    })
    .await?;
    let failed = until("both attempts are listed", || async {
        let failed = shell.run(&["deliveries", &id, "--failed", "--limit", "50"]).await?.fine()?;
        Ok((failed.matches("sandbox.lifecycle.created").count() == 3).then_some(failed))
    })
    .await?;
    let delivery = rows(&failed)[0].split_whitespace().next_back().context("no id")?.to_owned();
    let detail: Value = serde_json::from_str(&shell.run(&["deliveries", &id, &delivery]).await?.fine()?)?;
    ensure!(detail["responseHttpStatusCode"] == 400 && detail["sandboxId"] == sandbox.as_str(), "{detail}");
    ensure!(shell.run(&["resend", &id, &delivery]).await?.failed()?.contains("failed 1"));
    mended.store(true, Ordering::SeqCst);
    let resent = shell.run(&["resend", &id, &delivery]).await?.fine()?;
    ensure!(resent.contains("done") && resent.contains("delivered 1, failed 0"), "{resent}");
    ensure!(rows(&shell.run(&["dead-letters", &id]).await?.fine()?).is_empty());
    ensure!(shell.run(&["test", &id]).await?.fine()?.contains("success"));
    let stats: Value = serde_json::from_str(
        &until("the attempts are counted", || async {
            let stats = shell.run(&["stats", &id]).await?.fine()?;
            Ok(stats.contains("\"total\": 7").then_some(stats))
        })
        .await?,
    )?;
    ensure!(stats["failed"] == 5, "{stats}");

    // Disabled, passed over, enabled, replayed.
    shell.run(&["update", &id, "--disable"]).await?.fine()?;
    for _ in 0..20 {
        client.set_timeout(&sandbox, 600).await?;
    }
    let refused = shell.run(&["replay", &id]).await?;
    ensure!(refused.code == Some(1) && refused.notes.contains("enable it first"), "{}", refused.notes);
    shell.run(&["update", &id, "--enable", "--name", "renamed"]).await?.fine()?;
    let replayed = shell.run(&["replay", &id]).await?.fine()?;
    ensure!(replayed.contains("done") && replayed.contains("delivered 20, failed 0"), "{replayed}");
    let everything = shell.run(&["replay", &id, "--all", "--since", "2020-01-01T00:00:00Z"]).await?.fine()?;
    ensure!(everything.contains("selected 21, delivered 21, failed 0"), "{everything}");
    let none = shell.run(&["replay", &id, "--all", "--until", "2020-01-01T00:00:00Z"]).await?.fine()?;
    ensure!(none.contains("of 0 events"), "{none}");
    let detached = shell.run(&["replay", &id, "--all", "--rate", "1", "--detach"]).await?.fine()?;
    let canceled = shell.run(&["cancel-replay", &id, detached.trim()]).await?.fine()?;
    ensure!(canceled.starts_with(detached.trim()) && canceled.contains("canceled"), "{canceled}");
    let replays = shell.run(&["replays", &id]).await?.fine()?;
    ensure!(replays.lines().count() == 6 && replays.starts_with(detached.trim()), "{replays}");

    let rotated = shell.run(&["rotate-secret", &id, "--overlap", "60"]).await?;
    ensure!(rotated.notes.contains("the old secret is valid until"), "{}", rotated.notes);
    let rotated = rotated.fine()?;
    ensure!(rotated.starts_with("whsec_") && rotated.trim() != secret, "{rotated}");

    client.kill(&sandbox).await?;
    server.stop_softly().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listening_forwards_what_a_webhook_would_have_sent() -> Result<()> {
    if server::skip_without_root("webhook listen") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let (client, shell) = (server.client()?, Shell { environment: server.environment().clone() });
    let receiver = Receiver::start(|n| if n == 0 { Answer::Refuse(500) } else { Answer::Ok }).await?;
    let registered = Receiver::start(|_| Answer::Ok).await?;
    let secret = "whsec_bGlzdGVuaW5nIG9uIGEgbGFwdG9wLCB3aXRob3V0IGFkZHJlc3M=";
    shell
        .run(&["create", &registered.url(), "--secret", secret, "--event", "created,updated,killed"])
        .await?
        .fine()?;
    let url = receiver.url();
    let mut listening = shell
        .command(&["listen", "--forward-to", &url, "--type", "created,updated,killed", "--secret", secret])
        .spawn()?;
    let mut notes = BufReader::new(listening.stderr.take().context("no notes")?).lines();
    let mut lines = BufReader::new(listening.stdout.take().context("no output")?).lines();
    let mut note = async || {
        anyhow::Ok(tokio::time::timeout(BOUND, notes.next_line()).await.context("no note in time")??)
    };
    ensure!(note().await?.is_some_and(|line| line.contains("signing with")));
    ensure!(note().await?.is_some_and(|line| line.contains("forwarding to")));
    // It begins with what happens from now on, and says so before it is connected: the first line shows that it is.
    let sandbox = client.create_sandbox(&base()).await?.sandbox_id;
    let mut first = None;
    for _ in 0..600 {
        client.set_timeout(&sandbox, 600).await?;
        let line = tokio::time::timeout(Duration::from_millis(100), lines.next_line()).await;
        if let Ok(line) = line {
            first = line?;
            break;
        }
    }
    let first = first.context("nothing is forwarded")?;
    ensure!(first.contains(&sandbox) && first.ends_with("500"), "{first}");
    client.kill(&sandbox).await?;
    let reading = async {
        while let Some(line) = lines.next_line().await? {
            ensure!(line.ends_with("200"), "{line}");
            if line.starts_with("sandbox.lifecycle.killed") {
                return Ok(());
            }
        }
        anyhow::bail!("it ended")
    };
    tokio::time::timeout(BOUND, reading).await.context("the end is not forwarded")??;
    listening.kill().await?;
    let forwarded = receiver.arrivals()?;
    registered
        .wait("the webhook got the end", BOUND, |taken, _| {
            forwarded.iter().all(|arrival| taken.contains(&arrival.sequence))
        })
        .await?;
    let numbers: Vec<u64> = forwarded.iter().map(|arrival| arrival.sequence).collect();
    ensure!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    let sent = registered.arrivals()?;
    for arrival in &forwarded {
        let twin = sent.iter().find(|sent| sent.sequence == arrival.sequence).context("no twin")?;
        ensure!(twin.body == arrival.body && twin.event_id == arrival.event_id, "{twin:?}\n{arrival:?}");
        ensure!(twin.signature == arrival.signature, "{twin:?}\n{arrival:?}");
    }
    server.stop_softly().await
}
