"""What every test here needs: the server's address and key come from the environment, as the server printed them."""

import os
import signal
import time
from importlib.metadata import version

import httpx
import pytest
from e2b import Sandbox
from ending import leave

for name in ("E2B_API_URL", "E2B_SANDBOX_URL", "E2B_DOMAIN", "E2B_API_KEY"):
    assert os.environ.get(name), f"{name} is not set: run these tests with `cargo xtask e2e`"


# Programs started here must end as they do in a sandbox, also where whoever started this ignores it (nohup).
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def http():
    """Plain requests to the control plane."""
    headers = {"X-API-Key": os.environ["E2B_API_KEY"]}
    with httpx.Client(base_url=os.environ["E2B_API_URL"], headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def outside():
    """Plain requests to the data plane, without any key."""
    with httpx.Client(base_url=os.environ["E2B_SANDBOX_URL"], timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox():
    """One sandbox for the tests of a file."""
    with Sandbox.create("base", envs={"FROM_CREATE": "create"}, timeout=600) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def eventually():
    """Asks until the answer is truthy; fails after a bound."""

    def ask(what, question, seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            answer = question()
            if answer:
                return answer
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            # sleep: the pause between two looks
            time.sleep(0.05)

    return ask


def generation():
    """The SDK's version as numbers."""
    return tuple(int(part) for part in version("e2b").split(".")[:2])


def pytest_sessionfinish(session, exitstatus):
    session.config.verdict = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Everything is reported by now."""
    verdict = getattr(config, "verdict", None)
    if verdict is not None:
        leave(verdict)
