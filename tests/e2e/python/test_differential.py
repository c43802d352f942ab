# e2e: newest
"""The same operations through the SDK and without it, in two sandboxes of the same kind: nothing may differ.

    operation ──┬─► SDK ─► edge ─► agent ─► sandbox one ──┐
                └─► nsenter, bash or Python, sandbox two ─┴─► exit code, stdout, stderr or result; after each batch the
                                                              whole tree: kinds, modes, owners, sizes, contents, links

Shell commands are those of `shell_operations.txt` and a few hundred drawn from a seed; file operations are drawn as
well, and done directly by `direct_files.py` inside the second sandbox. The draw is the same every time; another seed in
`SANDSCOPE_DIFFERENTIAL_SEED` looks further.
"""

import json
import os
import random
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2b import CommandExitException, FileNotFoundException, InvalidArgumentException, Sandbox

HERE = Path(__file__).parent
SEED = int(os.environ.get("SANDSCOPE_DIFFERENTIAL_SEED", "20260724"))
N_SHELL, N_FILES = 220, 320
TREE = "/home/user/tree"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USERS = ("root", "user")


class Direct:
    """A sandbox entered from the host, past its agent and everything in front of it."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        marker = f"differential-{uuid.uuid4()}"
        sandbox.commands.run(f"exec -a {marker} sleep 3600", background=True, timeout=0)
        self.pid = None
        while self.pid is None:
            self.pid = next((one.name for one in Path("/proc").iterdir() if is_called(one, marker)), None)
        self.files = subprocess.Popen(
            [*self.enter("root"), "python3", "-c", (HERE / "direct_files.py").read_text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def enter(self, user):
        home = "/root" if user == "root" else f"/home/{user}"
        environment = [f"HOME={home}", f"USER={user}", f"LOGNAME={user}", f"PATH={PATH}"]
        return [
            *("nsenter", "--target", self.pid, "--all", "--setuid", "0", "--setgid", "0"),
            *("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"),
            *("env", "-i", *environment),
        ]

    def file(self, operation):
        self.files.stdin.write(json.dumps(operation) + "\n")
        self.files.stdin.flush()
        return json.loads(self.files.stdout.readline())

    def close(self):
        self.files.stdin.close()
        self.files.wait(30)


def is_called(process, marker):
    try:
        return (process / "cmdline").read_bytes().split(b"\0")[0] == marker.encode()
    except (OSError, NotADirectoryError):
        return False


@pytest.fixture(scope="module")
def pair():
    with Sandbox.create("base", timeout=900) as one, Sandbox.create("base", timeout=900) as two:
        direct = Direct(two)
        entered = {user: direct.enter(user) for user in USERS}
        tree = Direct(one)
        for sandbox in (one, two):
            sandbox.commands.run(f"mkdir -p {TREE}")
        yield one, direct, entered, tree
        direct.close()
        tree.close()


def through_the_sdk(sandbox, script, user):
    try:
        result = sandbox.commands.run(script, user=user, cwd=TREE, timeout=60)
    except CommandExitException as error:
        result = error
    return {"exit": result.exit_code, "stdout": result.stdout, "stderr": result.stderr}


def open_pipe():
    """One that every user can open by name, as the pipes of the agent can be."""
    reading, writing = os.pipe()
    os.fchmod(writing, 0o666)
    return open(reading, "rb"), writing


def directly(entered, script, user):
    command = [*entered[user], "/bin/sh", "-c", f'cd {TREE} && exec /bin/bash -l -c "$1"', "sh", script]
    (stdout, to_stdout), (stderr, to_stderr) = open_pipe(), open_pipe()
    with stdout, stderr, ThreadPoolExecutor(2) as readers:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=to_stdout, stderr=to_stderr, start_new_session=True
        )
        os.close(to_stdout)
        os.close(to_stderr)
        output = [readers.submit(pipe.read) for pipe in (stdout, stderr)]
        code = running.wait(60)
        stdout, stderr = [read.result(60).decode("utf-8", "replace") for read in output]
    return {"exit": max(code, -1), "stdout": stdout, "stderr": stderr}


def same_trees(pair, after):
    one, direct, _, tree = pair
    snapshot = {"do": "tree", "path": TREE}
    left, right = tree.file(snapshot)["ok"], direct.file(snapshot)["ok"]
    differing = {path: (left.get(path), right.get(path)) for path in left.keys() | right.keys()}
    differing = {path: both for path, both in differing.items() if both[0] != both[1]}
    assert not differing, f"the trees differ after {after}: {json.dumps(differing, indent=1)[:4000]}"
    return len(left)


def shell_table():
    lines = (HERE / "shell_operations.txt").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            user, script = line.split(" ", 1) if line.startswith(("root ", "user ")) else ("user", line)
            yield user, script


NAMES = ["a", "b", "c d", "é", "-x", ".h", "d1", "d2", "d1/a", "d1/b", "d2/x y", "d1/d3", "d1/d3/z", "nowhere/q"]


def shell_draw(rng):
    """Commands over a small set of names, so that they meet what earlier ones left."""
    quoted = lambda: "'./" + rng.choice(NAMES) + "'"
    forms = [
        lambda: f"echo {rng.randrange(10**6)} > {quoted()}",
        lambda: f"echo {rng.randrange(10**6)} >> {quoted()}",
        lambda: f"mkdir {quoted()}",
        lambda: f"mkdir -p {quoted()}",
        lambda: f"rm {quoted()}",
        lambda: f"rm -rf {quoted()}",
        lambda: f"rmdir {quoted()}",
        lambda: f"mv {quoted()} {quoted()}",
        lambda: f"cp {quoted()} {quoted()}",
        lambda: f"cp -a {quoted()} {quoted()}",
        lambda: f"ln {quoted()} {quoted()}",
        lambda: f"ln -s {quoted()} {quoted()}",
        lambda: f"chmod {rng.choice(['600', '644', '755', '000', '4755', 'a+x', 'u-w', 'g+s'])} {quoted()}",
        lambda: f"cat {quoted()}",
        lambda: f"head -c {rng.randrange(40)} {quoted()} | od -An -c",
        lambda: f"stat -c '%F %a %U %G %h' {quoted()}",
        lambda: f"test -{rng.choice('efdLrwxs')} {quoted()}",
        lambda: f"readlink {quoted()}",
        lambda: f"truncate -s {rng.randrange(100000)} {quoted()}",
        lambda: f"wc -c < {quoted()}",
        lambda: f"(umask {rng.choice(['000', '022', '077'])}; touch {quoted()})",
        lambda: f"find . | LC_ALL=C sort | head -n {rng.randrange(1, 30)}",
    ]
    for _ in range(N_SHELL):
        yield rng.choice(["user"] * 9 + ["root"]), rng.choice(forms)()


def test_shell_commands(pair):
    one, _, entered, _ = pair
    rng = random.Random(SEED)
    operations = [*shell_table(), *shell_draw(rng)]
    assert len(operations) > 300
    for number, (user, script) in enumerate(operations):
        expected, got = directly(entered, script, user), through_the_sdk(one, script, user)
        assert got == expected, f"operation {number}, as {user}: {script}"
        if number % 20 == 19:
            same_trees(pair, f"operation {number}")
    assert same_trees(pair, "all of them") > 10


KINDS = {FileNotFoundException: "not found", InvalidArgumentException: "invalid"}


def file_through_the_sdk(sandbox, operation):
    files, user, path = sandbox.files, operation.get("user"), operation.get("path")
    try:
        match operation["do"]:
            case "write":
                return {"ok": files.write(path, operation["data"], user=user).path}
            case "read":
                return {"ok": files.read(path, format="bytes", user=user).decode("latin1")}
            case "make_dir":
                return {"ok": files.make_dir(path, user=user)}
            case "rename":
                return {"ok": files.rename(path, operation["to"], user=user).path}
            case "remove":
                return {"ok": files.remove(path, user=user)}
            case "exists":
                return {"ok": files.exists(path, user=user)}
            case "info":
                return {"ok": described(files.get_info(path, user=user))}
            case "list":
                entries = files.list(path, depth=operation["depth"], user=user)
                return {"ok": sorted((described(entry) for entry in entries), key=lambda one: one["path"])}
    except tuple(KINDS) as error:
        return {"error": KINDS[type(error)]}


def described(entry):
    owner = {"owner": entry.owner, "group": entry.group, "mode": entry.mode}
    size = entry.size if entry.type.value == "file" else None
    return {"path": entry.path, "size": size, "symlink_target": entry.symlink_target, **owner}


def file_draw(rng):
    path = lambda: f"{TREE}/{rng.choice(NAMES)}"
    data = lambda: "".join(rng.choice("ab\n é€") for _ in range(rng.choice([0, 1, 10, 200, 40_000])))
    kinds = ["write"] * 5 + ["read"] * 4 + ["make_dir", "make_dir", "rename", "rename", "remove", "exists", "info", "info", "list"]
    for _ in range(N_FILES):
        operation = {"do": rng.choice(kinds), "path": path(), "user": rng.choice(["user", "user", "root"])}
        match operation["do"]:
            case "write":
                operation["data"] = data()
            case "rename":
                operation["to"] = path()
            case "list":
                operation["depth"] = rng.randrange(1, 5)
        yield operation


def test_file_operations(pair):
    one, direct, entered, _ = pair
    for script in ("rm -rf ./* ./.[!.]*", "ln -s d1 link-to-dir", "ln -s nothing link-to-nothing", "mkdir d1"):
        assert directly(entered, script, "user") == through_the_sdk(one, script, "user")
    outcomes = {}
    for number, operation in enumerate(file_draw(random.Random(SEED + 1))):
        expected, got = direct.file(operation), file_through_the_sdk(one, operation)
        assert got == expected, f"operation {number}: {json.dumps(operation)[:300]}"
        outcome = "ok" if "ok" in got else got["error"]
        outcomes.setdefault(operation["do"], set()).add(outcome)
        if number % 20 == 19:
            same_trees(pair, f"operation {number}: {json.dumps(operation)[:300]}")
    same_trees(pair, "all of them")
    assert {"ok", "not found"} <= outcomes["read"] and "ok" in outcomes["rename"], "the draw is too narrow"
