"""What `commands.run("true")` costs through the SDK, and what starting the same program costs inside the sandbox."""

import json
import statistics
import time

from e2b import Sandbox
from ending import leave

ROUNDS = 500

INSIDE = f"""
import json, subprocess, time
times = []
for _ in range({ROUNDS}):
    began = time.perf_counter()
    subprocess.run(["/bin/bash", "-l", "-c", "true"], stdin=subprocess.DEVNULL, capture_output=True)
    times.append(time.perf_counter() - began)
print(json.dumps(times))
"""


def show(what, times):
    times.sort()
    at = lambda part: times[min(len(times) - 1, int(len(times) * part))] * 1000
    print(f"{what:44} p50 {statistics.median(times) * 1000:6.2f} ms   p99 {at(0.99):6.2f} ms   fastest {times[0] * 1000:6.2f} ms")


with Sandbox.create("base", timeout=600) as sandbox:
    sandbox.files.write("/home/user/inside.py", INSIDE)
    for _ in range(20):
        sandbox.commands.run("true")
    through = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        sandbox.commands.run("true")
        through.append(time.perf_counter() - began)
    show(f"Python SDK, commands.run('true'), {ROUNDS} times", through)
    show("inside, bash -l -c true", json.loads(sandbox.commands.run("python3 inside.py", timeout=300).stdout))
leave(0)
