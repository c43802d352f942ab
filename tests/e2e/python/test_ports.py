"""Programs that listen inside a sandbox, as the Python SDK's users reach them."""

import pytest
from conftest import generation
from e2b import Sandbox, TimeoutException


def test_a_web_server_by_headers_and_by_host_name(outside, eventually):
    with Sandbox.create("base", timeout=120) as sandbox:
        sandbox.files.write("/home/user/www/index.html", "<h1>hello</h1>")
        sandbox.commands.run("exec python3 -m http.server 8080", cwd="/home/user/www", background=True, timeout=0)
        by_headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8080"}
        eventually("it listens", lambda: outside.get("/", headers=by_headers).status_code == 200)
        by_name = {"Host": sandbox.get_host(8080)}
        for headers in (by_headers, by_name):
            assert outside.get("/", headers=headers).text == "<h1>hello</h1>"
            assert outside.get("/missing", headers=headers).status_code == 404
        closed = outside.get("/", headers={"Host": sandbox.get_host(8081)})
        assert closed.status_code == 502
        assert closed.json() == {
            "sandboxId": sandbox.sandbox_id,
            "message": "The sandbox is running but port is not open",
            "port": 8081,
            "code": 502,
        }
    gone = outside.get("/", headers=by_name)
    assert gone.status_code == 502
    expected = {"sandboxId": sandbox.sandbox_id, "message": "The sandbox was not found", "code": 502}
    assert gone.json() == expected


@pytest.mark.parametrize("address", ["::1", "::", "0.0.0.0", "127.0.0.1"])
def test_a_web_server_on_either_loopback(outside, eventually, address):
    with Sandbox.create("base", timeout=120) as sandbox:
        sandbox.files.write("/home/user/www/index.html", "<h1>hello</h1>")
        command = f"exec python3 -m http.server 5173 --bind {address}"
        sandbox.commands.run(command, cwd="/home/user/www", background=True, timeout=0)
        host = {"Host": sandbox.get_host(5173)}
        eventually("it listens", lambda: outside.get("/", headers=host).status_code == 200)
        assert outside.get("/", headers=host).text == "<h1>hello</h1>"


def test_a_paused_sandbox_is_told_from_a_broken_one():
    with Sandbox.create("base", timeout=120) as sandbox:
        sandbox.files.write("/home/user/kept", "kept")
        sandbox.pause() if hasattr(sandbox, "pause") else sandbox.beta_pause()
        with pytest.raises(TimeoutException) as refused:
            sandbox.commands.run("true")
        if generation() >= (2, 60):
            from e2b.exceptions import SandboxNotRunningException

            assert isinstance(refused.value, SandboxNotRunningException)
        with pytest.raises(TimeoutException):
            sandbox.files.read("/home/user/kept")
        assert not sandbox.is_running()
        assert Sandbox.connect(sandbox.sandbox_id).files.read("/home/user/kept") == "kept"
