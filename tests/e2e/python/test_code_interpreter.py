# e2e: newest
"""The code interpreter's SDK makes its sandboxes here; its kernel server is not built yet, and says so."""

import pytest

e2b_code_interpreter = pytest.importorskip("e2b_code_interpreter", reason="only in the newest environment")


def test_create_metrics_kill(eventually):
    with e2b_code_interpreter.Sandbox.create(timeout=60) as sandbox:
        assert sandbox.get_info().name == "code-interpreter-v1"
        assert eventually("there are metrics", lambda: sandbox.get_metrics())
        assert sandbox.commands.run("python3 -c 'print(6*7)'").stdout == "42\n"
