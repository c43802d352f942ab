"""Commands through the official Python SDK: output, exit codes, environment, users, time limits, input, reconnecting."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import threading

import pytest
from conftest import generation
from e2b import (
    AsyncSandbox,
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    Sandbox,
    TimeoutException,
)

streams_input = pytest.mark.skipif(generation() < (2, 60), reason="this generation has no stream_input")


def is_listed(sandbox, pid):
    return any(one.pid == pid for one in sandbox.commands.list())


def test_standard_output_and_standard_error_come_apart(sandbox):
    result = sandbox.commands.run('echo to stdout; echo to stderr >&2; printf "no newline"')
    assert (result.stdout, result.stderr) == ("to stdout\nno newline", "to stderr\n")
    assert (result.exit_code, result.error) == (0, None)


@pytest.mark.parametrize("code", [1, 2, 77, 126, 127, 128, 130, 255])
def test_exit_codes_arrive_as_they_are(sandbox, code):
    with pytest.raises(CommandExitException) as failed:
        sandbox.commands.run(f"echo out; echo err >&2; exit {code}")
    error = failed.value
    assert (error.exit_code, error.stdout, error.stderr) == (code, "out\n", "err\n")
    assert error.error == f"exit status {code}"


def test_a_command_that_a_signal_ended_says_which(sandbox):
    for name, words in (("KILL", "killed"), ("TERM", "terminated"), ("SEGV", "segmentation fault")):
        with pytest.raises(CommandExitException) as failed:
            sandbox.commands.run(f"kill -{name} $$")
        assert failed.value.exit_code == -1
        assert failed.value.error == f"signal: {words}"


def test_environment_and_directory(sandbox):
    shown = sandbox.commands.run('echo "$E2B_SANDBOX|$E2B_SANDBOX_ID|$FROM_CREATE|$HOME|$USER|$PWD"').stdout
    assert shown == f"true|{sandbox.sandbox_id}|create|/home/user|user|/home/user\n"
    odd = 'two words, "quotes", $dollar, \\ and\na new line, ünïcödé'
    result = sandbox.commands.run('printf "%s|%s" "$FROM_CREATE" "$ODD"', envs={"FROM_CREATE": "command", "ODD": odd})
    assert result.stdout == f"command|{odd}"
    assert sandbox.commands.run("pwd", cwd="/usr/bin").stdout == "/usr/bin\n"
    with pytest.raises(InvalidArgumentException, match="cwd '/no/such/place' does not exist"):
        sandbox.commands.run("pwd", cwd="/no/such/place")


def test_users_are_real(sandbox):
    assert sandbox.commands.run("id -un; pwd").stdout == "user\n/home/user\n"
    assert sandbox.commands.run("id -un; id -u; id -g; pwd", user="root").stdout == "root\n0\n0\n/root\n"
    with pytest.raises(CommandExitException, match="Permission denied"):
        sandbox.commands.run("touch /root/not-mine")
    sandbox.commands.run("touch /root/mine", user="root")
    with pytest.raises(AuthenticationException, match="invalid username: 'nobody-of-that-name'"):
        sandbox.commands.run("true", user="nobody-of-that-name")


def test_callbacks_hear_everything_in_order(sandbox):
    out, err = [], []
    result = sandbox.commands.run("seq 1 2000; seq 1 100 >&2", on_stdout=out.append, on_stderr=err.append)
    assert "".join(out) == result.stdout == "".join(f"{n}\n" for n in range(1, 2001))
    assert "".join(err) == result.stderr == "".join(f"{n}\n" for n in range(1, 101))


def test_input_goes_in_while_the_command_runs(sandbox):
    handle = sandbox.commands.run(
        'echo ready; while read -r line; do echo "got $line"; done; echo end', background=True, stdin=True
    )
    chunks = iter(handle)
    assert next(chunks)[0] == "ready\n"
    sandbox.commands.send_stdin(handle.pid, "one\n")
    assert next(chunks)[0] == "got one\n"
    sandbox.commands.send_stdin(handle.pid, "ünïcödé\n")
    assert next(chunks)[0] == "got ünïcödé\n"
    sandbox.commands.close_stdin(handle.pid)
    assert next(chunks)[0] == "end\n"
    assert next(chunks, None) is None


def test_without_input_a_command_reads_an_end_of_file_at_once(sandbox):
    assert sandbox.commands.run('cat; echo "read $?"').stdout == "read 0\n"


@streams_input
def test_input_as_a_stream(sandbox):
    lines = [f"line {n} ünïcödé\n" for n in range(2000)]
    handle = sandbox.commands.run("sha256sum", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, lines)
    sandbox.commands.stream_input(handle.pid, [b"\x00\xff", "and text\n"])
    sandbox.commands.close_stdin(handle.pid)
    expected = "".join(lines).encode() + b"\x00\xffand text\n"
    assert handle.wait().stdout == f"{hashlib.sha256(expected).hexdigest()}  -\n"


@streams_input
def test_a_stream_of_input_is_read_while_it_is_written(sandbox):
    handle = sandbox.commands.run('while read -r line; do echo "got $line"; done', background=True, stdin=True)
    chunks = iter(handle)
    heard = threading.Event()

    def lines():
        yield "one\n"
        assert heard.wait(30), "the first line was not answered while the stream was open"
        yield "two\n"

    writer = threading.Thread(target=sandbox.commands.stream_input, args=(handle.pid, lines()))
    writer.start()
    assert next(chunks)[0] == "got one\n"
    heard.set()
    assert next(chunks)[0] == "got two\n"
    writer.join(30)
    assert not writer.is_alive()
    sandbox.commands.close_stdin(handle.pid)
    with pytest.raises(NotFoundException):
        sandbox.commands.stream_input(4_000_000, ["x"])


def test_the_time_limit_ends_a_command_with_all_it_started(sandbox, eventually):
    with pytest.raises(TimeoutException):
        sandbox.commands.run("echo $$ >/tmp/leader; sleep 600 & echo $! >/tmp/child; wait", timeout=2)
    left = "for f in leader child; do test -d /proc/$(cat /tmp/$f) && echo $f; done; true"
    eventually("both are gone", lambda: sandbox.commands.run(left).stdout == "")


def test_in_the_background(sandbox):
    handle = sandbox.commands.run("read -r x; exit 5", background=True, stdin=True, cwd="/tmp", envs={"MARK": "yes"})
    listed = next(one for one in sandbox.commands.list() if one.pid == handle.pid)
    assert (listed.cmd, listed.args) == ("/bin/bash", ["-l", "-c", "read -r x; exit 5"])
    assert (listed.envs["MARK"], listed.cwd) == ("yes", "/tmp")
    sandbox.commands.send_stdin(handle.pid, "go\n")
    with pytest.raises(CommandExitException) as ended:
        handle.wait()
    assert ended.value.exit_code == 5
    assert not is_listed(sandbox, handle.pid)

    other = sandbox.commands.run("sleep 600", background=True)
    assert sandbox.commands.kill(other.pid) is True
    with pytest.raises(CommandExitException) as killed:
        other.wait()
    assert (killed.value.exit_code, killed.value.error) == (-1, "signal: killed")
    assert sandbox.commands.kill(other.pid) is False
    assert sandbox.commands.kill(4_000_000) is False


def test_a_second_reader_joins_and_both_hear_the_end(sandbox):
    first = sandbox.commands.run("read -r x; echo $x; exit 9", background=True, stdin=True)
    second = sandbox.commands.connect(first.pid)
    assert second.pid == first.pid
    sandbox.commands.send_stdin(first.pid, "hello\n")
    for handle in (first, second):
        with pytest.raises(CommandExitException) as ended:
            handle.wait()
        assert (ended.value.exit_code, ended.value.stdout) == (9, "hello\n")
    # Its end is kept for a while, for those who come late.
    with pytest.raises(CommandExitException) as late:
        sandbox.commands.connect(first.pid).wait()
    assert late.value.exit_code == 9
    with pytest.raises(NotFoundException):
        sandbox.commands.connect(4_000_000)


def test_a_command_outlives_the_program_that_started_it(sandbox, eventually):
    source = f"""
import os, signal
from e2b import Sandbox
sandbox = Sandbox.connect({sandbox.sandbox_id!r})
handle = sandbox.commands.run("read -r x; echo lived >/tmp/outlived", background=True, stdin=True, timeout=0)
print(handle.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr
    pid = int(died.stdout)
    assert is_listed(sandbox, pid)
    sandbox.commands.send_stdin(pid, "go on\n")
    lived = "cat /tmp/outlived 2>/dev/null || true"
    eventually("it went on", lambda: sandbox.commands.run(lived).stdout == "lived\n")


def test_a_reader_that_leaves_does_not_end_it(sandbox, eventually):
    handle = sandbox.commands.run("read -r x; echo $x >/tmp/left", background=True, stdin=True)
    handle.disconnect()
    assert is_listed(sandbox, handle.pid)
    sandbox.commands.send_stdin(handle.pid, "still here\n")
    left = "cat /tmp/left 2>/dev/null || true"
    eventually("it wrote", lambda: sandbox.commands.run(left).stdout == "still here\n")


def test_megabytes_of_output_arrive_whole_and_in_order(sandbox):
    result = sandbox.commands.run("seq 1 400000; seq 1 50000 >&2")
    assert result.stdout == "".join(f"{n}\n" for n in range(1, 400_001))
    assert result.stderr == "".join(f"{n}\n" for n in range(1, 50_001))


def test_characters_are_whole_wherever_the_stream_is_cut(sandbox):
    pieces = "printf '\\342\\202'; sleep 0.1; printf '\\254'; sleep 0.1; printf '\\360\\237'; sleep 0.1; printf '\\230\\200'"
    assert sandbox.commands.run(pieces).stdout == "€😀"
    assert sandbox.commands.run("printf x; printf '€%.0s' $(seq 1 60000)").stdout == "x" + "€" * 60_000
    assert sandbox.commands.run("printf '\\377ok'").stdout == "\ufffdok"


def test_many_at_once():
    async def everything():
        sandbox = await AsyncSandbox.create("base", timeout=120)
        try:
            runs = (sandbox.commands.run(f"sleep 0.1; echo {n}") for n in range(40))
            return [result.stdout for result in await asyncio.gather(*runs)]
        finally:
            await sandbox.kill()

    assert asyncio.run(everything()) == [f"{n}\n" for n in range(40)]


def test_a_stopped_sandbox_answers_with_an_error_of_its_own():
    sandbox = Sandbox.create("base", timeout=60)
    handle = sandbox.commands.run("sleep 600", background=True)
    sandbox.kill()
    with pytest.raises(Exception):
        handle.wait()
    with pytest.raises(TimeoutException):
        sandbox.commands.run("true")
