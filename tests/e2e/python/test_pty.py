"""Terminals through the official Python SDK."""

import re

import pytest
from conftest import generation
from e2b import CommandExitException, NotFoundException, PtySize, TimeoutException


class Screen:
    """What a terminal showed so far."""

    def __init__(self, sandbox, **options):
        options = {"size": PtySize(rows=24, cols=80), "timeout": 120, **options}
        self.sandbox = sandbox
        self.handle = sandbox.pty.create(**options)
        self.pid = self.handle.pid
        self.chunks = iter(self.handle)
        self.text = ""

    def type(self, text):
        self.sandbox.pty.send_stdin(self.pid, text.encode())

    def shows(self, pattern):
        """Reads on until it does; the terminal's time limit bounds that."""
        while not re.search(pattern, self.text):
            _, _, data = next(self.chunks)
            self.text += data.decode("utf-8", "replace")


def test_a_shell_with_the_size_it_was_given(sandbox):
    screen = Screen(sandbox, size=PtySize(rows=33, cols=101), envs={"MARK": "set here"}, cwd="/usr/bin")
    screen.type('echo "size: $(stty size)"; tty; echo "$TERM|$MARK|$PWD|$(id -un)"\n')
    screen.shows(r"size: 33 101\r\n/dev/pts/\d+\r\nxterm-256color\|set here\|/usr/bin\|user\r\n")
    sandbox.pty.resize(screen.pid, PtySize(rows=50, cols=120))
    screen.type('echo "now: $(stty size)"\n')
    screen.shows(r"now: 50 120\r\n")
    screen.type("exit 7\n")
    with pytest.raises(CommandExitException) as ended:
        screen.handle.wait()
    assert ended.value.exit_code == 7


def test_as_root_and_killed(sandbox):
    screen = Screen(sandbox, user="root")
    screen.type("id -u; stat -c %U $(tty)\n")
    screen.shows(r"\b0\r\nroot\r\n")
    listed = next(one for one in sandbox.commands.list() if one.pid == screen.pid)
    assert (listed.cmd, listed.args) == ("/bin/bash", ["-i", "-l"])
    assert sandbox.pty.kill(screen.pid) is True
    with pytest.raises(CommandExitException) as ended:
        screen.handle.wait()
    assert ended.value.error == "signal: killed"
    assert sandbox.pty.kill(screen.pid) is False


def test_another_reader_joins(sandbox):
    screen = Screen(sandbox)
    joined = sandbox.pty.connect(screen.pid)
    assert joined.pid == screen.pid
    screen.handle.disconnect()
    screen.handle, screen.chunks = joined, iter(joined)
    screen.type("echo he''llo again\n")
    screen.shows(r"hello again\r\n")
    assert joined.kill() is True
    with pytest.raises(NotFoundException):
        sandbox.pty.connect(4_000_000)


@pytest.mark.skipif(generation() < (2, 60), reason="this generation has no stream_input")
def test_input_as_a_stream(sandbox):
    screen = Screen(sandbox)
    sandbox.pty.stream_input(screen.pid, ["echo str''eamed ", b"$((40", "+2))\n"])
    screen.shows(r"streamed 42\r\n")
    assert screen.handle.kill() is True


def test_the_time_limit_ends_it(sandbox, eventually):
    screen = Screen(sandbox, timeout=2)
    with pytest.raises(TimeoutException):
        screen.handle.wait()
    eventually("it is gone", lambda: all(one.pid != screen.pid for one in sandbox.commands.list()))
