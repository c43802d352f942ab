//! Deaths while no server runs, and sandboxes that cannot start.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;
use sandscope_client::{ClientError, NewSandbox, Sandbox};

use crate::house::{BOUND, House, expect, kill_9, make_exit};
use crate::server::{self, Server, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed_and_started_again() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    // Control groups of those made ahead have names of their own, which only the directory knows.
    let mut house = House::start(&["--warm-sandboxes", "0"]).await?;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(house.create().await?.sandbox_id);
    }
    let [alive, killed, exited, unseen, rebooted, diskless, vanished] = ids.as_slice() else {
        bail!("seven")
    };
    let (pids, shims): (Vec<Pid>, Vec<Pid>) = (
        ids.iter().map(|id| house.pid(id, "init")).collect::<Result<_>>()?,
        ids.iter().map(|id| house.pid(id, "shim")).collect::<Result<_>>()?,
    );
    let orphaned = house.groups(vanished)?;
    house.server.kill_hard().await?;
    // Nobody is looking now.
    kill_9(pids[1])?;
    let pid = pids[2];
    tokio::task::spawn_blocking(move || make_exit(pid, 3)).await??;
    kill_9(shims[3])?;
    kill_9(shims[4])?;
    kill_9(shims[6])?;
    let mut record = house.record(rebooted)?;
    record["boot_id"] = "another".into();
    std::fs::write(house.dir(rebooted).join("sandbox.json"), record.to_string())?;
    std::fs::remove_file(house.dir(diskless).join("disk.ext4"))?;
    std::fs::remove_dir_all(house.dir(vanished))?;
    eventually("the ends are recorded", BOUND, || {
        [killed, exited].iter().all(|id| house.dir(id).join("exit.json").exists())
    })
    .await?;
    let before = house.server.fsck().await?;
    ensure!(before.status.success(), "what the next start corrects is no disagreement: {before:?}");
    ensure!(String::from_utf8_lossy(&before.stdout).contains("pending"), "{before:?}");

    house.server.start_again().await?;
    house.client = house.server.client()?;
    ensure!(house.client.sandbox(alive).await?.state == "running", "it lives on");
    eventually("nothing is left of what vanished", BOUND, || orphaned.iter().all(|dir| !dir.exists()))
        .await?;
    ensure!(house.events(alive, &[]).await?.len() == 1, "and no event reports it");
    let since = Instant::now();
    let expected = [
        (
            "killed meanwhile",
            killed,
            serde_json::json!({"kill_reason": "crashed", "kill_detail": "agent_signalled", "exit_signal": 9}),
        ),
        (
            "exited meanwhile",
            exited,
            serde_json::json!({"kill_reason": "crashed", "kill_detail": "agent_exited", "exit_code": 3}),
        ),
        (
            "supervisor killed meanwhile",
            unseen,
            serde_json::json!({"kill_reason": "crashed", "kill_detail": "supervisor_killed", "exit_signal": null}),
        ),
        (
            "host restarted",
            rebooted,
            serde_json::json!({"kill_reason": "host_restart", "kill_detail": "host_restarted"}),
        ),
        (
            "root file system gone",
            diskless,
            serde_json::json!({"kill_reason": "base_template_missing", "kill_detail": "disk_missing"}),
        ),
        (
            "vanished",
            vanished,
            serde_json::json!({"kill_reason": "orphaned", "kill_detail": "vanished", "oom_kills": null, "cpu_time_ms": null}),
        ),
    ];
    for (way, id, expected) in expected {
        let data = house.end_of(way, id, since).await?;
        expect(&data, &expected).with_context(|| way.to_owned())?;
        ensure!(house.events(id, &["sandbox.lifecycle.killed"]).await?.len() == 1, "{way}: reported once");
    }
    house.leave().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why_and_leaves_no_trace() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    let house = House::start(&["--warm-sandboxes", "0"]).await?;
    let sandbox = house.create().await?;
    let snapshot = house.client.snapshot(&sandbox.sandbox_id, None).await?;
    for entry in std::fs::read_dir(house.server.data().join("snapshots"))? {
        std::fs::remove_file(entry?.path())?;
    }
    let from_nothing = NewSandbox { template_id: snapshot.snapshot_id, ..NewSandbox::default() };
    let message = refused(house.client.create_sandbox(&from_nothing).await)?;
    ensure!(message.contains("root filesystem is missing"), "{message}");
    ensure!(!house.server.fsck().await?.status.success(), "a layer that is gone is a disagreement");
    house.client.delete_template(&from_nothing.template_id).await?;
    house.leave().await?;

    // A disk of its own that is full: a file system in memory serves as one.
    let mount = tempfile::tempdir()?;
    let mounted = tokio::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=48m", "none"])
        .arg(mount.path())
        .status()
        .await?;
    ensure!(mounted.success(), "mount: {:?}", mounted.signal());
    let outcome = start_on_a_full_disk(mount.path()).await;
    let unmounted = tokio::process::Command::new("umount").arg("-l").arg(mount.path()).status().await?;
    ensure!(unmounted.success());
    outcome
}

async fn start_on_a_full_disk(disk: &Path) -> Result<()> {
    let data = tempfile::Builder::new().prefix("data-").tempdir_in(disk)?;
    let server = Server::start_in_with(data, &["--warm-sandboxes", "0", "--disk-mb", "64"]).await?;
    let client = server.client()?;
    let house = House { server, client };
    let living = house.create().await?.sandbox_id;
    let ballast = disk.join("ballast");
    // The store keeps what it has; a little is left for it to say so, far below the reserve. The server takes room as well.
    let mut filler = std::fs::File::create(&ballast)?;
    let free = || nix::sys::statvfs::statvfs(disk).map(|disk| disk.blocks_available() * disk.fragment_size());
    while free()? > 1 << 20 {
        filler.write_all(&[1; 64 << 10])?;
    }
    drop(filler);
    let message = refused(house.create().await.map_err(|error| match error.downcast::<ClientError>() {
        Ok(error) => error,
        Err(error) => ClientError::Malformed(error.to_string()),
    }))?;
    ensure!(message.contains("disk is short of room"), "{message}");
    ensure!(message.contains("507"), "{message}");
    ensure!(house.client.sandbox(&living).await?.state == "running", "others live on");
    end_one_on_a_full_disk(&house, &living, &ballast).await?;
    std::fs::remove_file(&ballast)?;
    let deadline = Instant::now() + BOUND;
    while let Err(error) = house.create().await {
        ensure!(Instant::now() < deadline, "there is room again: {error}");
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.leave().await
}

/// Without one byte left nothing can be changed any more, but for what makes room.
async fn end_one_on_a_full_disk(house: &House, living: &str, ballast: &Path) -> Result<()> {
    let mut filler = std::fs::File::options().append(true).open(ballast)?;
    while filler.write_all(&[1; 4096]).is_ok() {}
    while house.client.set_timeout(living, 600).await.is_ok() {}
    house.client.kill(living).await.context("a sandbox cannot be ended to make room")?;
    let killed = house.events(living, &["sandbox.lifecycle.killed"]).await?;
    ensure!(killed.len() == 1, "{killed:?}");
    Ok(())
}

/// The words of a refusal.
fn refused(answer: std::result::Result<Sandbox, ClientError>) -> Result<String> {
    match answer {
        Err(error @ ClientError::Refused { .. }) => Ok(error.to_string()),
        Err(error) => Err(error.into()),
        Ok(sandbox) => bail!("{} was made", sandbox.sandbox_id),
    }
}
