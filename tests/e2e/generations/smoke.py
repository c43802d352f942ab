"""What a user of any generation of the Python SDK does with a sandbox. Run by `cargo xtask e2e generations`, once over
TLS with the domain and the key alone, once over plain HTTP with the addresses that the server printed."""

import asyncio
import os
import socket
import sys
from importlib.metadata import version

from e2b import AsyncSandbox, Sandbox

GENERATION = tuple(int(part) for part in version("e2b").split(".")[:2])

# Before, an SDK knew no other way to a sandbox than https and a name below the domain.
FIRST_WITH_ADDRESSES = (2, 8)
FIRST_WITH_PAUSE = (2, 0)


def names_under_localhost():
    """RFC 6761, section 6.3: they are this machine. Not every system's resolver sees to it."""
    system = socket.getaddrinfo

    def look_up(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        local = isinstance(name, str) and name.rstrip(".").endswith(".localhost")
        return system("127.0.0.1" if local else host, *args, **kwargs)

    socket.getaddrinfo = look_up


def listed():
    found = Sandbox.list()
    return [info.sandbox_id for info in (found if isinstance(found, list) else found.next_items())]


async def connect_async(sandbox_id):
    connected = await AsyncSandbox.connect(sandbox_id)
    assert await connected.is_running()
    assert (await connected.commands.run("echo async")).stdout == "async\n"


def life():
    create = getattr(Sandbox, "create", Sandbox)
    sandbox = create(timeout=120, metadata={"generation": version("e2b")})
    try:
        sandbox_id = sandbox.sandbox_id
        connected = Sandbox.connect(sandbox_id)
        assert connected.commands.run("echo over $((6*7))").stdout == "over 42\n"
        sandbox.files.write("/home/user/a b.txt", "text")
        assert connected.files.read("/home/user/a b.txt") == "text"
        assert "a b.txt" in [entry.name for entry in connected.files.list("/home/user")]
        sandbox.set_timeout(200)
        assert sandbox_id in listed()
        assert connected.is_running()
        asyncio.run(connect_async(sandbox_id))
        if GENERATION >= FIRST_WITH_PAUSE:
            getattr(connected, "pause", connected.beta_pause)()
            assert not sandbox.is_running()
            resumed = Sandbox.connect(sandbox_id, timeout=100)
            assert resumed.files.read("/home/user/a b.txt") == "text"
    finally:
        # Before 2.0 it says nothing.
        assert sandbox.kill() is not False
    assert not sandbox.is_running()
    assert sandbox_id not in listed()


if os.environ["E2B_API_URL"].startswith("https://"):
    del os.environ["E2B_API_URL"], os.environ["E2B_SANDBOX_URL"]
    names_under_localhost()
    life()
elif GENERATION >= FIRST_WITH_ADDRESSES:
    life()
else:
    print("knows no plain HTTP")
# What it found is its verdict: the newest generation's threads may abort the process while it is torn down.
sys.stdout.flush()
os._exit(0)
