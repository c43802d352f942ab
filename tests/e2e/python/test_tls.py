# e2e: tls
"""The official Python SDK over TLS with nothing set but the domain (host and port), the key and SSL_CERT_FILE."""

import asyncio
import os
import socket

import httpx
import pytest
from e2b import AsyncSandbox, Sandbox

pytestmark = pytest.mark.skipif(
    not os.environ["E2B_API_URL"].startswith("https://"), reason="this server speaks plain HTTP"
)


@pytest.fixture(autouse=True)
def only_domain_and_key(monkeypatch):
    monkeypatch.delenv("E2B_API_URL")
    monkeypatch.delenv("E2B_SANDBOX_URL")


@pytest.fixture(autouse=True)
def names_under_localhost(monkeypatch):
    """RFC 6761, section 6.3: they are this machine. Not every system's resolver sees to it."""
    system = socket.getaddrinfo

    def look_up(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        local = isinstance(name, str) and name.rstrip(".").endswith(".localhost")
        return system("127.0.0.1" if local else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_whole_life(eventually):
    domain = os.environ["E2B_DOMAIN"]
    with Sandbox.create("base", timeout=120) as sandbox:
        assert sandbox.commands.run("echo over $((6*7))").stdout == "over 42\n"
        sandbox.files.write("/home/user/a b.txt", "text")
        assert sandbox.files.read("/home/user/a b.txt") == "text"
        large = b"x" * 5_000_000
        sandbox.files.write("/home/user/large", large)
        assert bytes(sandbox.files.read("/home/user/large", format="bytes")) == large
        assert sandbox.is_running()

        url = sandbox.download_url("/home/user/a b.txt", use_signature_expiration=60)
        assert httpx.URL(url).netloc.decode() == f"49983-{sandbox.sandbox_id}.{domain}"
        assert httpx.get(url).text == "text"
        posted = httpx.post(sandbox.upload_url("/home/user/up.txt"), files={"file": ("any", b"up")})
        assert posted.status_code == 200
        assert sandbox.files.read("/home/user/up.txt") == "up"

        sandbox.commands.run("exec python3 -m http.server 3000", background=True, timeout=0)
        host = sandbox.get_host(3000)
        assert host == f"3000-{sandbox.sandbox_id}.{domain}"
        eventually("it listens", lambda: httpx.get(f"https://{host}/").status_code == 200)
        assert "a%20b.txt" in httpx.get(f"https://{host}/").text
    assert not sandbox.is_running()


def test_the_asynchronous_client():
    async def life():
        sandbox = await AsyncSandbox.create("base", timeout=120)
        try:
            ran = await asyncio.gather(*(sandbox.commands.run(f"echo {n}") for n in range(10)))
            assert [one.stdout for one in ran] == [f"{n}\n" for n in range(10)]
            await sandbox.files.write("/home/user/x", "y")
            assert await sandbox.files.read("/home/user/x") == "y"
        finally:
            await sandbox.kill()

    asyncio.run(life())


def test_without_the_authority_nobody_is_trusted(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(httpx.ConnectError, match="(?i)certificate"):
        httpx.get(f"https://api.{os.environ['E2B_DOMAIN']}/health")
