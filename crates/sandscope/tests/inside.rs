//! `exec`, `connect`, `logs` and `files cp` of the real binary, against a real server and a real sandbox.

mod server;

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use server::Server;

const BOUND: Duration = Duration::from_secs(30);

/// A server with one sandbox.
struct House {
    server: Server,
    id: String,
}

impl House {
    async fn open() -> Result<Self> {
        let server = Server::start().await?;
        let mut house = Self { server, id: String::new() };
        let made = house.ours(&["sandbox", "create", "--timeout", "600", "--json"]).output()?;
        let made: serde_json::Value = serde_json::from_slice(&made.stdout)?;
        house.id = made["sandboxID"].as_str().context("no id")?.to_owned();
        Ok(house)
    }

    /// The binary, with the server's settings in its environment.
    fn ours(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
        command.args(arguments).envs(self.server.environment()).stdin(Stdio::null());
        command
    }

    fn exec(&self, arguments: &[&str]) -> Command {
        self.ours(&[&["sandbox", "exec", &self.id], arguments].concat())
    }

    async fn close(mut self) -> Result<()> {
        let output = self.ours(&["sandbox", "kill", "--all"]).output()?;
        ensure!(output.status.success(), "{output:?}");
        self.server.stop_softly().await
    }
}

fn fed(mut command: Command, input: &[u8]) -> Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let input = input.to_owned();
    let feeder = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
    let output = child.wait_with_output()?;
    // It need not read all of it.
    let _ = feeder.join();
    Ok(output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn eventually(what: &str, mut question: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + BOUND;
    while !question()? {
        ensure!(Instant::now() < deadline, "not within {BOUND:?}: {what}");
        // sleep: the pause between two looks
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus> {
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait()?;
        Ok(status.is_some())
    })?;
    status.context("it has ended")
}

#[tokio::test]
async fn a_command_in_a_sandbox_is_like_one_here() -> Result<()> {
    if server::skip_without_root("exec") {
        return Ok(());
    }
    let house = House::open().await?;
    let output = fed(house.exec(&["cat; echo err >&2; exit 7"]), b"in")?;
    ensure!(output.status.code() == Some(7), "{output:?}");
    ensure!((output.stdout.as_slice(), output.stderr.as_slice()) == (b"in", b"err\n"), "{output:?}");

    // Every byte arrives, whatever it is.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let output = fed(house.exec(&["cat"]), &bytes)?;
    ensure!(output.status.success() && output.stdout == bytes, "{} bytes came back", output.stdout.len());

    let options =
        ["--user", "root", "--cwd", "/tmp", "--env", "A=it's", "sh", "-c", "id -un; pwd; echo \"$A\" -l"];
    let output = house.exec(&options).output()?;
    ensure!(text(&output.stdout) == "root\n/tmp\nit's -l\n", "{output:?}");

    ensure!(house.exec(&["kill -9 $$"]).output()?.status.code() == Some(137));
    let output = house.exec(&["--user", "nobody-here", "true"]).output()?;
    ensure!(output.status.code() == Some(125), "{output:?}");
    ensure!(text(&output.stderr).contains("nobody-here"), "{output:?}");
    let output = house.ours(&["sandbox", "exec", "i00000000000000000000", "true"]).output()?;
    ensure!(
        output.status.code() == Some(125) && text(&output.stderr).contains("doesn't exist"),
        "{output:?}"
    );
    let output = house.exec(&["--tty", "true"]).output()?;
    ensure!(output.status.code() == Some(125) && text(&output.stderr).contains("a terminal"), "{output:?}");

    // Somebody who has read enough ends the command.
    let mut endless = house.exec(&["echo $$ > /tmp/pid; exec yes"]).stdout(Stdio::piped()).spawn()?;
    endless.stdout.take().context("no output")?.read_exact(&mut [0; 10])?;
    ensure!(wait(&mut endless)?.code() == Some(141));
    let output = house.exec(&["while kill -0 $(cat /tmp/pid); do sleep 0.05; done"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    house.close().await
}

#[tokio::test]
async fn an_interrupt_ends_the_command_in_the_sandbox_and_the_background_goes_on() -> Result<()> {
    if server::skip_without_root("interrupting exec") {
        return Ok(());
    }
    let house = House::open().await?;
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut running = house.exec(&["echo $$ > /tmp/pid; echo ready; exec sleep 1000"]);
        let mut running = running.stdout(Stdio::piped()).spawn()?;
        let mut ready = [0; 6];
        running.stdout.as_mut().context("no output")?.read_exact(&mut ready)?;
        ensure!(Command::new("kill").args([signal, &running.id().to_string()]).status()?.success());
        ensure!(wait(&mut running)?.code() == Some(code), "{signal}");
        let output = house.exec(&["! kill -0 $(cat /tmp/pid)"]).output()?;
        ensure!(output.status.success(), "{signal}: it runs on: {output:?}");
    }
    let output = house.exec(&["--background", "sleep 1000"]).output()?;
    let pid: u32 = text(&output.stdout).trim().parse()?;
    ensure!(house.exec(&[&format!("kill -0 {pid}")]).output()?.status.success());

    ensure!(house.ours(&["sandbox", "pause", &house.id]).output()?.status.success());
    let output = house.exec(&["true"]).output()?;
    ensure!(output.status.code() == Some(125), "{output:?}");
    ensure!(text(&output.stderr).contains(&format!("sandscope sandbox resume {}", house.id)), "{output:?}");
    house.close().await
}

#[tokio::test]
async fn logs_are_printed_and_followed_to_the_end() -> Result<()> {
    if server::skip_without_root("logs on the command line") {
        return Ok(());
    }
    let house = House::open().await?;
    let mut follow = house.ours(&["sandbox", "logs", &house.id, "--follow", "--level", "debug", "--json"]);
    let follow = follow.stdout(Stdio::piped()).spawn()?;
    let script = r"printf 'hello \033[31mred\033[0m\n'; echo oh >&2; exit 4";
    ensure!(house.exec(&[script]).output()?.status.code() == Some(4));
    let logs = |arguments: &[&str]| -> Result<String> {
        let output = house.ours(&[&["sandbox", "logs", &house.id], arguments].concat()).output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(text(&output.stdout))
    };
    eventually("the lines are there", || Ok(logs(&[])?.contains("process ended: exit status 4")))?;
    let shown = logs(&["--since", "10m"])?;
    ensure!(shown.contains("hello red") && !shown.contains('\u{1b}'), "{shown}");
    ensure!(logs(&["--level", "warn"])?.lines().count() == 1, "{}", logs(&["--level", "warn"])?);
    ensure!(logs(&["--search", "HELLO"])?.lines().count() == 1);
    ensure!(logs(&["-n", "1"])?.contains("exit status 4"));
    ensure!(logs(&["-n", "2"])?.lines().count() == 2);
    ensure!(
        house.ours(&["sandbox", "logs", &house.id, "--since", "tomorrow"]).output()?.status.code() == Some(2)
    );

    ensure!(house.ours(&["sandbox", "kill", &house.id]).output()?.status.success());
    let followed = text(&follow.wait_with_output()?.stdout);
    let messages: Vec<String> = followed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).map(|entry| entry["message"].to_string()))
        .collect::<Result<_, _>>()?;
    ensure!(messages.first().is_some_and(|first| first.contains("sandbox created")), "{messages:?}");
    ensure!(messages.last().is_some_and(|last| last.contains("sandbox killed: request")), "{messages:?}");
    house.close().await
}

#[tokio::test]
async fn files_go_in_and_out_whole() -> Result<()> {
    if server::skip_without_root("files cp") {
        return Ok(());
    }
    let house = House::open().await?;
    let here = tempfile::tempdir()?;
    let path = |name: &str| here.path().join(name).display().to_string();
    let inside = |path: &str| format!("{}:{path}", house.id);
    let cp = |from: &str, to: &str| -> Result<String> {
        let output = house.ours(&["files", "cp", from, to]).output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(text(&output.stderr))
    };
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    std::fs::create_dir_all(path("tree/sub/empty"))?;
    std::fs::write(path("tree/big \u{fc}"), &bytes)?;
    std::fs::write(path("tree/sub/run.sh"), "#!/bin/sh\necho ran")?;
    std::fs::set_permissions(path("tree/sub/run.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    std::os::unix::fs::symlink("/etc/passwd", path("tree/link"))?;

    // Into a directory that is there, and under a name of its own.
    let told = cp(&path("tree"), &inside("/tmp"))?;
    ensure!(told.contains("link is left out"), "{told}");
    ensure!(text(&house.exec(&["/tmp/tree/sub/run.sh"]).output()?.stdout) == "ran\n");
    cp(&path("tree/sub/run.sh"), &inside("renamed"))?;
    ensure!(text(&house.exec(&["cat ~/renamed"]).output()?.stdout) == "#!/bin/sh\necho ran");

    // A link to the outside world is no way to write there.
    ensure!(house.exec(&["ln -s /etc /tmp/tree/etc; mkfifo /tmp/tree/fifo"]).output()?.status.success());
    let told = cp(&inside("/tmp/tree"), &path("back"))?;
    ensure!(told.contains("etc is left out") && told.contains("fifo is left out"), "{told}");
    ensure!(std::fs::read(path("back/big \u{fc}"))? == bytes);
    ensure!(Path::new(&path("back/sub/empty")).is_dir() && !Path::new(&path("back/etc")).exists());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path("back/sub/run.sh"))?.permissions());
    ensure!(mode & 0o777 == 0o755, "{mode:o}");

    let output = fed(house.ours(&["files", "cp", "-", &inside("/tmp/piped")]), &bytes)?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(house.ours(&["files", "cp", &inside("/tmp/piped"), "-"]).output()?.stdout == bytes);
    cp(&inside("/tmp/piped"), &inside("/tmp/tree/"))?;
    ensure!(house.exec(&["cmp /tmp/piped /tmp/tree/piped"]).output()?.status.success());

    for (from, to, words) in [
        (path("nothing"), inside("/tmp"), "No such file"),
        (inside("/nothing"), path("x"), "there is no /nothing"),
        (path("tree"), path("x"), "neither path is in a sandbox"),
        (path("tree/sub/run.sh"), inside("/proc/none/x"), "cannot write"),
    ] {
        let output = house.ours(&["files", "cp", &from, &to]).output()?;
        ensure!(output.status.code() == Some(1) && text(&output.stderr).contains(words), "{output:?}");
    }
    ensure!(!Path::new(&path("x")).exists(), "a copy that failed left something");
    house.close().await
}

/// A pseudo-terminal, and what it shows.
struct Screen {
    master: OwnedFd,
    slave: OwnedFd,
    shown: Vec<u8>,
}

impl Screen {
    fn open() -> Result<Self> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let screen = Self { master, slave, shown: Vec::new() };
        screen.resize(90, 30)?;
        Ok(screen)
    }

    fn resize(&self, cols: u16, rows: u16) -> Result<()> {
        Ok(tcsetwinsize(&self.master, Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 })?)
    }

    /// Starts `command` with this as its controlling terminal.
    fn run(&self, command: &Command) -> Result<Child> {
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            setsid.env(name, value.context("nothing is taken out of the environment")?);
        }
        let end = || -> Result<Stdio> { Ok(self.slave.as_fd().try_clone_to_owned()?.into()) };
        Ok(setsid.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?)
    }

    fn type_in(&self, keys: &str) -> Result<()> {
        let n_written = rustix::io::write(&self.master, keys.as_bytes())?;
        ensure!(n_written == keys.len());
        Ok(())
    }

    fn look(&mut self) -> Result<String> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(0) => break,
                Ok(n_bytes) => self.shown.extend_from_slice(&buffer[..n_bytes]),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(text(&self.shown))
    }

    fn until_it_shows(&mut self, what: &str) -> Result<()> {
        let outcome = eventually(what, || Ok(self.look()?.contains(what)));
        outcome.with_context(|| text(&self.shown))
    }

    /// Types `command` until what it prints contains `what`: a shell that is just starting may not listen yet.
    fn ask_until(&mut self, command: &str, what: &str) -> Result<()> {
        let mut asked_at: Option<Instant> = None;
        let outcome = eventually(what, || {
            if asked_at.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                asked_at = Some(Instant::now());
                self.type_in(&format!("{command}\r"))?;
            }
            Ok(self.look()?.contains(what))
        });
        outcome.with_context(|| text(&self.shown))
    }

    fn modes(&self) -> Result<Termios> {
        Ok(tcgetattr(&self.slave)?)
    }
}

fn same(one: &Termios, other: &Termios) -> bool {
    let modes = |termios: &Termios| {
        (termios.input_modes, termios.output_modes, termios.control_modes, termios.local_modes)
    };
    modes(one) == modes(other)
}

#[tokio::test]
async fn a_terminal_in_a_sandbox_is_like_one_here() -> Result<()> {
    if server::skip_without_root("connect") {
        return Ok(());
    }
    let house = House::open().await?;
    let mut screen = Screen::open()?;
    let before = screen.modes()?;
    let mut session = screen.run(&house.ours(&["sandbox", "connect", &house.id, "--env", "WHO=test"]))?;
    screen.ask_until("echo $WHO $(stty size)", "test 30 90")?;
    ensure!(!screen.modes()?.local_modes.contains(LocalModes::ICANON), "the terminal is not raw");
    screen.resize(100, 40)?;
    screen.ask_until("stty size", "40 100")?;
    // Keys that mean something here mean it there.
    screen.type_in("echo wait$((1+1)); sleep 1000\r")?;
    screen.until_it_shows("wait2")?;
    screen.type_in("\u{3}")?;
    screen.ask_until("echo code $?", "code 130")?;
    screen.type_in("exit 3\r")?;
    ensure!(wait(&mut session)?.code() == Some(3), "{}", screen.look()?);
    ensure!(same(&screen.modes()?, &before), "the terminal is not as it was");

    let mut session = screen.run(&house.exec(&["--tty", "tty && read line && echo got $line"]))?;
    screen.until_it_shows("/dev/pts/")?;
    screen.type_in("words\r")?;
    screen.until_it_shows("got words")?;
    ensure!(wait(&mut session)?.success());
    house.close().await
}

#[tokio::test]
async fn however_a_session_ends_the_terminal_is_as_before_and_no_shell_is_left() -> Result<()> {
    if server::skip_without_root("ends of connect") {
        return Ok(());
    }
    let house = House::open().await?;
    let mut screen = Screen::open()?;
    let before = screen.modes()?;
    let left = |house: &House| -> Result<bool> {
        let output = house.exec(&["pgrep -f '[b]ash -i -l' > /dev/null"]).output()?;
        Ok(output.status.success())
    };
    for way in ["twice", "-TERM", "-HUP", "killed"] {
        let mut session = screen.run(&house.ours(&["sandbox", "connect", &house.id]))?;
        screen.ask_until(&format!("echo in{way}$((1+1))"), &format!("in{way}2"))?;
        ensure!(!same(&screen.modes()?, &before), "the terminal is not raw");
        match way {
            "twice" => screen.type_in("\u{1d}\u{1d}")?,
            "killed" => {
                ensure!(house.ours(&["sandbox", "kill", &house.id]).output()?.status.success());
            }
            signal => {
                ensure!(Command::new("kill").args([signal, &session.id().to_string()]).status()?.success());
            }
        }
        let status = wait(&mut session)?;
        ensure!(status.success() == (way != "killed"), "{way}: {status}");
        ensure!(same(&screen.modes()?, &before), "{way}: the terminal is not as it was");
        if way != "killed" {
            eventually("the shell is gone", || Ok(!left(&house)?))?;
        }
    }
    house.close().await
}
