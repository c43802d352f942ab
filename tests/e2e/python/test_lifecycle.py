"""A sandbox's whole life through the official Python SDK. Runs in two environments: newest (v2 routes), older (v1)."""

import os

import pytest
from e2b import CommandExitException, Sandbox, SandboxQuery, SandboxState


def test_a_whole_life(http, eventually):
    metadata = {"run": f"py-{os.getpid()}", "odd": "a b=c&d"}
    sandbox = Sandbox.create("base", metadata=metadata, envs={"GREETING": "hello"}, timeout=120)
    sandbox_id = sandbox.sandbox_id
    try:
        assert sandbox.is_running()
        info = sandbox.get_info()
        assert info.state == SandboxState.RUNNING
        assert info.metadata == metadata
        assert (info.cpu_count, info.memory_mb) == (2, 512)

        query = SandboxQuery(metadata=metadata, state=[SandboxState.RUNNING])
        assert [one.sandbox_id for one in Sandbox.list(query=query).next_items()] == [sandbox_id]

        result = sandbox.commands.run('echo "$GREETING from $(whoami)" && echo kept > /home/user/file')
        assert result.stdout == "hello from user\n"
        with pytest.raises(CommandExitException) as failed:
            sandbox.commands.run("exit 3")
        assert failed.value.exit_code == 3

        sandbox.set_timeout(300)
        samples = eventually("there are metrics", lambda: sandbox.get_metrics())
        assert samples[0].cpu_count == 2
        assert 0 < samples[0].mem_used < samples[0].mem_total
        assert 0 < samples[0].disk_used < samples[0].disk_total
        assert 0 <= samples[0].cpu_used_pct <= 100

        sandbox.pause() if hasattr(sandbox, "pause") else sandbox.beta_pause()
        assert not sandbox.is_running()
        assert sandbox.get_info().state == SandboxState.PAUSED
        resumed = Sandbox.connect(sandbox_id)
        assert resumed.is_running()
        assert resumed.commands.run("cat /home/user/file").stdout == "kept\n"
        assert http.post(f"/sandboxes/{sandbox_id}/snapshots", json={}).status_code == 201
        assert resumed.kill() is True
    finally:
        Sandbox.kill(sandbox_id)
    assert Sandbox.kill(sandbox_id) is False
    assert not sandbox.is_running()

    events = http.get(f"/events/sandboxes/{sandbox_id}", params={"limit": 100, "orderAsc": "true"}).json()
    types = [event["type"].removeprefix("sandbox.lifecycle.") for event in events]
    assert types == ["created", "updated", "paused", "resumed", "checkpointed", "killed"]
    assert all(event["eventData"]["sandbox_metadata"] == metadata for event in events)


def test_pausing_twice_and_killing_the_unknown(http):
    with Sandbox.create(timeout=60) as sandbox:
        assert http.post(f"/sandboxes/{sandbox.sandbox_id}/pause").status_code == 204
        again = http.post(f"/sandboxes/{sandbox.sandbox_id}/pause", json={})
        assert again.status_code == 409
        assert again.json()["message"] == f"Error pausing sandbox - sandbox '{sandbox.sandbox_id}' is already paused"
    assert Sandbox.kill("i00000000000000000000") is False
