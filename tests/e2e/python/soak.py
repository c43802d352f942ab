"""A crowd of sandboxes in mixed use for a while, through the official SDK: commands, input, files, terminals, watches,
ports, pauses, turnover. Whatever answers wrongly is an error, and so is whatever is held afterwards and was not before.

    create ─► every kind of use once ─► rest ─► measure ─► use for N minutes ─► rest ─► measure ─► compare, kill

Run by `cargo xtask soak`, which then checks the server without sandboxes and the host without the server. Measured here,
while the sandboxes live: descriptors, threads and memory of each agent, processes of each sandbox, and what the server
holds for them.
"""

import argparse
import asyncio
import collections
import hashlib
import json
import os
import random
import signal
import statistics
import sys
import time
from pathlib import Path

import httpx
from e2b import AsyncSandbox, CommandExitException, PtySize, TimeoutException
from ending import leave

DATA = Path(os.environ["SANDSCOPE_DATA_DIR"])
SERVER = int(os.environ["SANDSCOPE_SERVER_PID"])
WEB = "python3 -m http.server 8000 --bind 0.0.0.0"


def kind(target):
    if ".sqlite" in target:
        return "database"
    if target.startswith("/sys/fs/cgroup/"):
        return "control group"
    if target.startswith(("socket:", "pipe:")):
        return target.split(":")[0]
    if target.startswith("anon_inode:"):
        return target.split(":")[1].strip("[]")
    return target.split(":")[0] + " namespace" if ":[" in target else "file"


def footprint(pid):
    """What a process holds; descriptors by kind."""
    held = collections.Counter()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            held[f"descriptors, {kind(os.readlink(f'/proc/{pid}/fd/{entry}'))}"] += 1
        except FileNotFoundError:
            pass
    held["threads"] = len(os.listdir(f"/proc/{pid}/task"))
    return held


def memory(pid):
    """Private memory and all that is resident, in KiB."""
    rollup = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    number = lambda name: int(rollup[name].split()[0])
    return number("Private_Clean") + number("Private_Dirty"), number("Rss")


def agent_of(sandbox):
    """Its process on the host, and the processes of the sandbox's control group."""
    record = json.loads((DATA / "sandboxes" / sandbox.sandbox_id / "sandbox.json").read_text())
    group = next(path for path in record["cgroup_dirs"] if "/pids/" in path or "/unified/" in path or "/cgroup/" in path)
    tasks = (Path(group) / "cgroup.procs").read_text().split()
    return record["made"]["init"]["pid"], len(tasks)


class Failed(Exception):
    """Something answered wrongly."""


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}: {str(got)[:200]!r} instead of {str(wanted)[:200]!r}")


class Member:
    """One place in the crowd and the sandbox that has it."""

    def __init__(self, number, seed):
        self.number = number
        self.rng = random.Random(seed * 1000 + number)
        self.sandbox = None
        self.serves = number % 5 == 0

    async def enter(self):
        self.sandbox = await AsyncSandbox.create("base", timeout=3600)
        if self.serves:
            await self.sandbox.commands.run(WEB, background=True, timeout=0)

    async def leave(self):
        await self.sandbox.kill()

    async def command(self):
        n = self.rng.randrange(10**9)
        done = await self.sandbox.commands.run(f"echo {n}; echo e{n} >&2")
        expect("output", (done.stdout, done.stderr), (f"{n}\n", f"e{n}\n"))

    async def failing_command(self):
        code = self.rng.randrange(1, 100)
        try:
            await self.sandbox.commands.run(f"exit {code}")
        except CommandExitException as error:
            return expect("exit code", error.exit_code, code)
        raise Failed("a failing command did not fail")

    async def long_output(self):
        done = await self.sandbox.commands.run("seq 1 20000")
        expect("long output", done.stdout, "".join(f"{n}\n" for n in range(1, 20001)))

    async def input(self):
        handle = await self.sandbox.commands.run("cat", background=True, stdin=True)
        for line in ("one\n", "two\n"):
            await self.sandbox.commands.send_stdin(handle.pid, line)
        await self.sandbox.commands.close_stdin(handle.pid)
        expect("echoed input", (await handle.wait()).stdout, "one\ntwo\n")

    async def left_behind(self):
        handle = await self.sandbox.commands.run("sleep 600", background=True, timeout=0)
        await handle.disconnect()
        expect("killed", await self.sandbox.commands.kill(handle.pid), True)

    async def time_limit(self):
        try:
            await self.sandbox.commands.run("sleep 600", timeout=1)
        except TimeoutException:
            return
        raise Failed("the time limit ended nothing")

    async def files(self):
        data = self.rng.randbytes(self.rng.choice([10, 5_000, 200_000]))
        path = f"/home/user/soak/{self.rng.randrange(20)}/file"
        await self.sandbox.files.write(path, data)
        back = await self.sandbox.files.read(path, format="bytes")
        expect("contents", hashlib.sha256(back).hexdigest(), hashlib.sha256(data).hexdigest())
        names = [entry.name for entry in await self.sandbox.files.list("/home/user/soak", depth=2)]
        expect("a listed file", "file" in names, True)
        await self.sandbox.files.rename(path, f"{path}-moved")
        await self.sandbox.files.remove(os.path.dirname(path))
        expect("what was removed", await self.sandbox.files.exists(path), False)

    async def terminal(self):
        screen, shown = bytearray(), asyncio.Event()

        def on_data(data):
            screen.extend(data)
            if b"answer 42" in screen:
                shown.set()

        handle = await self.sandbox.pty.create(PtySize(rows=24, cols=80), on_data, timeout=120)
        await self.sandbox.pty.send_stdin(handle.pid, b"echo answer $((40+2))\n")
        await asyncio.wait_for(shown.wait(), 60)
        await self.sandbox.pty.resize(handle.pid, PtySize(rows=30, cols=100))
        expect("killed", await self.sandbox.pty.kill(handle.pid), True)
        try:
            await handle.wait()
        except CommandExitException as error:
            return expect("how it ended", error.exit_code, -1)
        raise Failed("a killed terminal ended well")

    async def watch(self):
        place, told = f"/home/user/watched-{self.rng.randrange(10)}", asyncio.Event()
        await self.sandbox.files.make_dir(place)
        handle = await self.sandbox.files.watch_dir(place, lambda event: told.set(), timeout=120)
        await self.sandbox.files.write(f"{place}/file", "x")
        await asyncio.wait_for(told.wait(), 60)
        await handle.stop()

    async def port(self):
        if self.serves:
            async with httpx.AsyncClient(base_url=os.environ["E2B_SANDBOX_URL"], timeout=60) as client:
                headers = {"E2b-Sandbox-Id": self.sandbox.sandbox_id, "E2b-Sandbox-Port": "8000"}
                for _ in range(200):
                    answer = await client.get("/", headers=headers)
                    if answer.status_code != 502:
                        break
                    # sleep: the pause between two tries
                    await asyncio.sleep(0.05)
                expect("a page", answer.status_code, 200)

    async def pause(self):
        handle = await self.sandbox.commands.run("read -r x; exit 7", background=True, stdin=True, timeout=0)
        await handle.disconnect()
        await self.sandbox.pause()
        self.sandbox = await AsyncSandbox.connect(self.sandbox.sandbox_id, timeout=3600)
        resumed = await self.sandbox.commands.connect(handle.pid, timeout=60)
        await self.sandbox.commands.send_stdin(handle.pid, "go\n")
        try:
            await resumed.wait()
        except CommandExitException as error:
            return expect("the exit of what was paused", error.exit_code, 7)
        raise Failed("a paused command was not there any more")

    async def metrics(self):
        await self.sandbox.get_metrics()

    async def turnover(self):
        await self.leave()
        await self.enter()

    KINDS = {
        command: 30,
        failing_command: 8,
        long_output: 4,
        input: 8,
        left_behind: 6,
        time_limit: 2,
        files: 16,
        terminal: 8,
        watch: 8,
        port: 4,
        pause: 2,
        metrics: 2,
        turnover: 1,
    }

    async def use(self, until, counts, failures, pace):
        names, weights = list(self.KINDS), list(self.KINDS.values())
        while time.monotonic() < until:
            [method] = self.rng.choices(names, weights)
            await self.once(method, counts, failures)
            # sleep: the pace of the load
            await asyncio.sleep(self.rng.uniform(0, 2 * pace))

    async def once(self, method, counts, failures):
        began = time.monotonic()
        try:
            await method(self)
        except Exception as error:
            failures.append(f"{method.__name__} in {self.sandbox.sandbox_id}: {type(error).__name__}: {error}")
        counts[method.__name__].append(time.monotonic() - began)


def measure(crowd):
    agents, processes, private, resident = [], [], [], []
    for member in crowd:
        pid, n_processes = agent_of(member.sandbox)
        agents.append(footprint(pid))
        processes.append(n_processes - member.serves)
        mine = memory(pid)
        private.append(mine[0])
        resident.append(mine[1])
    return {"agents": agents, "processes": processes, "private": private, "resident": resident, "server": footprint(SERVER),
            "server_memory": memory(SERVER)}  # fmt: skip


def at_rest(measured):
    """Nothing runs but agents; what they hold is compared then."""
    return all(n == 1 for n in measured["processes"])


async def rest(crowd, wanted):
    """Waits until the sandboxes rest and nobody holds more than is wanted; the last measurement."""
    deadline = time.monotonic() + 60
    while True:
        measured = measure(crowd)
        excess = [] if at_rest(measured) else [f"processes left in sandboxes: {measured['processes']}"]
        excess += wanted(measured)
        if not excess or time.monotonic() > deadline:
            return measured, excess
        # sleep: the pause between two looks
        await asyncio.sleep(0.5)


def beyond(before, now):
    """What is held now and was not before. The SDK keeps connections open: they are told apart by `cargo xtask soak`."""
    most = collections.Counter()
    for agent in before["agents"]:
        most |= agent
    excess = []
    for agent in now["agents"]:
        excess += [f"an agent, {what}: at most {most[what]} before, {n} now" for what, n in agent.items() if n > most[what] and "socket" not in what]
    for what, n in now["server"].items():
        if n > before["server"][what] and not any(word in what for word in ("socket", "database", "threads")):
            excess.append(f"the server, {what}: {before['server'][what]} before, {n} now")
    return excess


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--sandboxes", type=int, default=50)
    arguments.add_argument("--pace", type=float, default=2.0, help="seconds between two uses of a sandbox, on average")
    arguments.add_argument("--seed", type=int, default=20260724)
    options = arguments.parse_args()
    crowd = [Member(number, options.seed) for number in range(options.sandboxes)]
    gate = asyncio.Semaphore(8)
    counts, failures = collections.defaultdict(list), []

    async def arrive(member):
        async with gate:
            await member.enter()
            for method in Member.KINDS:
                if method is not Member.turnover:
                    await member.once(method, counts, failures)

    began = time.monotonic()
    await asyncio.gather(*map(arrive, crowd))
    before, restless = await rest(crowd, lambda measured: [])
    print(f"{len(crowd)} sandboxes used once each way in {time.monotonic() - began:.0f} s", flush=True)
    counts.clear()
    began = time.monotonic()
    until = began + options.minutes * 60
    await asyncio.gather(*(member.use(until, counts, failures, options.pace) for member in crowd))
    elapsed = time.monotonic() - began
    after, excess = await rest(crowd, lambda measured: beyond(before, measured))
    show(counts, elapsed, before, after)
    await asyncio.gather(*(member.leave() for member in crowd))
    problems = [*failures[:20], *restless, *excess]
    if len(failures) > 20:
        problems.append(f"and {len(failures) - 20} more failures")
    for problem in problems:
        print(f"PROBLEM: {problem}", flush=True)
    return 1 if problems else 0


def show(counts, elapsed, before, after):
    total = sum(map(len, counts.values()))
    load = os.getloadavg()
    print(f"{total} uses in {elapsed:.0f} s; load of the machine {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}")
    for name, times in sorted(counts.items()):
        times.sort()
        middle, late = statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]
        print(f"  {name:16} {len(times):6} times, p50 {middle * 1000:7.0f} ms, p99 {late * 1000:7.0f} ms")
    for what in ("private", "resident"):
        one, two = before[what], after[what]
        grown = [b - a for a, b in zip(one, two)]
        print(f"  agents, {what} memory: median {statistics.median(one):.0f} KiB before, {statistics.median(two):.0f} after; largest growth {max(grown)} KiB")
    (private, resident), (private_now, resident_now) = before["server_memory"], after["server_memory"]
    print(f"  server, private {private} KiB before, {private_now} after; resident {resident} KiB before, {resident_now} after")
    print(f"  server, descriptors {sum(before['server'].values())} before, {sum(after['server'].values())} after", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    leave(asyncio.run(main()))
