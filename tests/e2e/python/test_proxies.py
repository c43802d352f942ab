# e2e: newest
"""Behind the proxies that people put in front, as they come: `proxy_pass` and `reverse_proxy` and nothing more. What is
said bit by bit must arrive so: everything here waits for an answer before it lets the other side go on."""

import os
import shutil
import socket
import subprocess
import threading

import httpx
import pytest
from e2b import PtySize, Sandbox

UPSTREAM = httpx.URL(os.environ["E2B_API_URL"])

NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
worker_processes 1;
user root;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://{upstream}; }}
    }}
}}
"""

CADDY = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    reverse_proxy {upstream}
}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def nginx(folder, port):
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, upstream=UPSTREAM.netloc.decode()))
    return ["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]


def caddy(folder, port):
    config = folder / "Caddyfile"
    config.write_text(CADDY.format(port=port, upstream=UPSTREAM.netloc.decode()))
    return ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]


@pytest.fixture(scope="module", params=[nginx, caddy])
def proxy(request, tmp_path_factory, eventually):
    """The address of a proxy in front of the server."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    port = free_port()
    command = request.param(folder, port)
    command[0] = shutil.which(command[0], path=os.environ["SANDSCOPE_PROXIES"])
    assert command[0], f"{request.param.__name__} is not there: run these tests with `cargo xtask e2e`"
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with open(folder / "output", "w") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    address = f"http://127.0.0.1:{port}"

    def answers():
        assert started.poll() is None, (folder / "output").read_text()
        try:
            return httpx.get(f"{address}/health").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        eventually("the proxy answers", answers)
        yield address
    finally:
        started.terminate()
        started.wait(30)


@pytest.fixture(scope="module")
def behind(proxy):
    """A sandbox that is known by the proxy's address alone."""
    with Sandbox.create(timeout=300, api_url=proxy, sandbox_url=proxy) as sandbox:
        yield sandbox


def test_a_command_in_the_background_is_handed_over_while_it_runs(behind):
    handle = behind.commands.run(
        "echo first; until [ -e /tmp/go ]; do sleep 0.05; done; echo last", background=True, timeout=60
    )
    heard = []
    for stdout, _, _ in handle:
        heard.append(stdout)
        if "".join(heard).startswith("first\n"):
            behind.files.write("/tmp/go", "")
    assert "".join(heard) == "first\nlast\n"


def test_a_terminal_says_what_is_typed(behind):
    terminal = behind.pty.create(PtySize(rows=24, cols=80), timeout=60)
    behind.pty.send_stdin(terminal.pid, b"echo $((6*7))\n")
    heard = b""
    for _, _, output in terminal:
        heard += output or b""
        if b"42\r\n" in heard:
            break
    behind.pty.kill(terminal.pid)


def test_a_watched_folder_and_files(behind, eventually):
    watch = behind.files.watch_dir("/home/user")
    # nginx as it comes takes no more than 1 MiB; docs/operating.md says what to set.
    large = os.urandom(1_000_000)
    behind.files.write("/home/user/large", large)
    assert bytes(behind.files.read("/home/user/large", format="bytes")) == large
    eventually("it was seen", lambda: any(event.name == "large" for event in watch.get_new_events()))
    watch.stop()


@pytest.mark.parametrize("path", ["/events/stream", "/sandboxes/metrics/stream"])
def test_events_and_metrics_arrive_one_by_one(proxy, behind, path):
    headers = {"X-API-Key": os.environ["E2B_API_KEY"], "Accept-Encoding": "gzip"}
    with httpx.stream("GET", proxy + path, headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        # An event for the first, a sample for the second; both streams go on afterwards.
        happened = threading.Timer(0, lambda: behind.set_timeout(200))
        happened.start()
        assert any(line.startswith("data: ") for line in answer.iter_lines())
        happened.join()
