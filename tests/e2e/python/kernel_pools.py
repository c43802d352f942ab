"""A sandbox does its worst to every pool of the kernel, one after the other, while a neighbour runs `true` again and again.

    measure ─► quiet neighbour ─► attack pool after pool for N minutes ─► kill ─► measure

Fails if the neighbour's slowest hundredth takes more than twice what it took while it was quiet, if the kernel does not have
its memory back afterwards, if it used more than it may in between, or if a sandbox ends for another reason than what it took.
Run by `cargo xtask pools`.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
from e2b import Sandbox
from ending import leave

ATTACKS = Path(__file__).parents[3] / "crates/engine-namespaces/tests/attacks/pools.py"
# What each attack may get before the next begins.
SECONDS_EACH = 15
# How long an end may take, in seconds.
PATIENCE = 60
# What the kernel keeps for a while of what is gone (its own caches), in MiB.
SLACK = 128
# A budget, and what an attack gets between two looks at most, in MiB.
MOST = 64 + 1024
REASONS = {"kernel_memory", "oom"}


def kernel():
    """What the kernel uses itself, and its slabs that it cannot take back, in MiB; open files."""
    lines = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    mib = {name: int(value.split()[0]) / 1024 for name, value in lines}
    own = mib["MemTotal"] - sum(mib[name] for name in ("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages"))
    return {
        "own": own,
        "SUnreclaim": mib["SUnreclaim"],
        "VmallocUsed": mib["VmallocUsed"],
        "files": int(Path("/proc/sys/fs/file-nr").read_text().split()[0]),
    }


def run_true(sandbox_id, stopped, results):
    """The process of a neighbour: runs `true` until it is stopped, and reports how long each took, in milliseconds."""
    ahead_of_this_host()
    sandbox = Sandbox.connect(sandbox_id)
    while not stopped.wait(0.02):
        began = time.monotonic()
        sandbox.commands.run("true")
        results.send((time.monotonic() - began) * 1000)
    results.close()
    os._exit(0)


def ahead_of_this_host():
    """What this process waits for a processor is not measured: clients have machines of their own."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


class Neighbour:
    """Runs `true` in a process of its own: what this one does meanwhile is not measured."""

    def __init__(self, sandbox):
        processes = multiprocessing.get_context("spawn")
        self.results, theirs = processes.Pipe(duplex=False)
        self.stopped = processes.Event()
        arguments = (sandbox.sandbox_id, self.stopped, theirs)
        self.process = processes.Process(target=run_true, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.all = []

    def since(self):
        """How long those took that ended since this was asked for last, the shortest first."""
        times = []
        try:
            while self.results.poll():
                times.append(self.results.recv())
        except EOFError:
            pass
        self.all += times
        return sorted(times)

    def times(self):
        """Ends it. How long all took, the shortest first."""
        self.stopped.set()
        # To the end of what it writes, before it is waited for: a full pipe would keep it.
        while self.results.poll(PATIENCE) and self.since():
            pass
        self.process.join(PATIENCE)
        if self.process.exitcode != 0:
            raise RuntimeError(f"the neighbour did not run `true` to the end: {self.process.exitcode}")
        return sorted(self.all)


def p99(times):
    return times[min(len(times) - 1, int(len(times) * 0.99))] if times else 0.0


def neighbour_for(sandbox, seconds):
    neighbour = Neighbour(sandbox)
    # sleep: how long it is measured
    time.sleep(seconds)
    return neighbour.times()


def beside_one_that_computes(own, seconds):
    """What a neighbour costs that takes its processors and nothing else."""
    with Sandbox.create(timeout=300) as busy:
        busy.commands.run("for i in 1 2 3 4; do nohup sh -c 'while :; do :; done' > /dev/null 2>&1 & done")
        times = neighbour_for(own, seconds)
        busy.kill()
    return times


def end_of(api, sandbox_id):
    events = api.get(f"/events/sandboxes/{sandbox_id}", params={"limit": 100}).json()
    for event in events:
        if event["type"] == "sandbox.lifecycle.killed":
            return event["eventData"].get("kill_reason"), event["eventData"].get("kill_detail")
    return None


def holds(sandbox):
    """Whether an attack has got what it can get; one that is killed or out of memory does not say."""
    try:
        return "holds" in sandbox.files.read("/tmp/out", request_timeout=2) or None
    except Exception:
        return None


def attack(api, pool, seconds):
    """What became of the sandbox, and how much more the kernel used meanwhile, at most."""
    before = kernel()["own"]
    sandbox = Sandbox.create(timeout=300)
    sandbox.files.write("/tmp/pools.py", ATTACKS.read_text())
    sandbox.commands.run(f"nohup python3 /tmp/pools.py {pool} > /tmp/out 2>&1 &", user="user")
    until, most, end, held = time.monotonic() + seconds, before, None, None
    while time.monotonic() < until and end is None:
        most = max(most, kernel()["own"])
        if held is None:
            held = holds(sandbox)
            # It takes no more.
            until = min(until, time.monotonic() + 2) if held else until
        # sleep: the pause between two looks
        time.sleep(0.1)
        end = end_of(api, sandbox.sandbox_id)
    if end is None:
        sandbox.kill()
    return end, most - before


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=10)
    options = arguments.parse_args()
    pools = subprocess.run([sys.executable, ATTACKS, "--list"], check=True, capture_output=True, text=True).stdout.split()
    headers = {"X-API-Key": os.environ["E2B_API_KEY"]}
    # One client: each that is made reads all the certificates of the host anew.
    with httpx.Client(base_url=os.environ["E2B_API_URL"], headers=headers) as api, Sandbox.create(timeout=3600) as own:
        neighbour_for(own, 2)
        before = kernel()
        measured = max(5, options.minutes * 6)
        quiet = p99(neighbour_for(own, measured))
        busy = p99(beside_one_that_computes(own, measured))
        neighbour = Neighbour(own)
        problems, until = [], time.monotonic() + options.minutes * 60
        seconds = min(SECONDS_EACH, options.minutes * 60 / len(pools))
        while time.monotonic() < until:
            for pool in pools:
                end, most = attack(api, pool, seconds)
                became = " ".join(filter(None, end)) if end else "bounded"
                print(f"  {pool:32} {became:32} kernel at most +{most:.0f} MiB, "
                      f"neighbour's p99 {p99(neighbour.since()):5.1f} ms", flush=True)
                if end and end[0] not in REASONS:
                    problems.append(f"{pool}: ended with {end}")
                # What a sandbox is charged for may be the kernel's, too.
                if most > MOST + 512:
                    problems.append(f"{pool}: the kernel used {most:.0f} MiB more")
                if time.monotonic() > until:
                    break
        times = neighbour.times()
        under_attack = p99(times)
        patience = time.monotonic() + 60
        while kernel()["SUnreclaim"] > before["SUnreclaim"] + SLACK and time.monotonic() < patience:
            # sleep: the pause between two looks
            time.sleep(1)
        after = kernel()
    load = os.getloadavg()
    print(f"neighbour's `true`, p99: {quiet:.1f} ms quiet, {busy:.1f} ms beside one that only computes, "
          f"{under_attack:.1f} ms under attack ({len(times)} runs); load {load[0]:.1f}")
    for name in before:
        print(f"  {name:12} {before[name]:10.0f} before, {after[name]:10.0f} after")
    if under_attack > 2 * quiet:
        problems.append("the neighbour is more than twice as slow")
    if after["SUnreclaim"] > before["SUnreclaim"] + SLACK:
        problems.append("the kernel does not have its memory back")
    for problem in problems:
        print(f"PROBLEM: {problem}", flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    leave(main())
