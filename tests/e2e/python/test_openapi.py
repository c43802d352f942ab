# e2e: fuzz
"""The OpenAPI document, fuzzed: whatever is sent, the server never answers with a failure of its own."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("schemathesis", reason="only in the newest environment")


def test_no_request_makes_the_server_fail(http, tmp_path):
    document = http.get("/openapi.json").json()
    assert {"/v2/sandboxes", "/events/sandboxes", "/events/webhooks"} <= set(document["paths"])
    where = tmp_path / "openapi.json"
    where.write_text(json.dumps(document))
    # What is honestly missing answers 501 by design; everything else is fair game.
    # Nobody waits for events that do not come.
    (tmp_path / "schemathesis.toml").write_text(
        "[checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"3xx\", \"4xx\", 501]\n[parameters]\nwait = 0\n"
    )
    command = [
        os.path.join(os.path.dirname(sys.executable), "st"),
        "run",
        str(where),
        "--url",
        os.environ["E2B_API_URL"],
        "--header",
        f"X-API-Key: {os.environ['E2B_API_KEY']}",
        # It never ends.
        "--exclude-path",
        "/events/stream",
        "--checks",
        "not_a_server_error",
        "--max-examples",
        os.environ.get("SANDSCOPE_FUZZ_EXAMPLES", "15"),
        "--phases",
        "examples,coverage,fuzzing",
        "--generation-deterministic",
        "--max-time",
        os.environ.get("SANDSCOPE_FUZZ_SECONDS", "90"),
        "--request-timeout",
        "20",
        "--no-color",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
