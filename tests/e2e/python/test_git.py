"""git through the official Python SDK, with repositories inside the sandbox: there is no way out of it."""

import pytest
from e2b import CommandExitException

ORIGIN, WORK, COPY = "/home/user/origin.git", "/home/user/work", "/home/user/copy"


def test_from_an_empty_repository_to_a_clone_of_what_was_pushed(sandbox):
    git, files = sandbox.git, sandbox.files
    git.init(ORIGIN, bare=True, initial_branch="main")
    git.init(WORK, initial_branch="main")
    git.configure_user("Ada Example", "ada@example.com")
    assert git.get_config("user.name") == "Ada Example"
    assert git.get_config("user.nothing") is None

    files.write(f"{WORK}/one.txt", "one\n")
    files.write(f"{WORK}/dir/two words.txt", "two\n")
    status = git.status(WORK)
    assert (status.current_branch, status.is_clean, status.has_untracked) == ("main", False, True)
    git.add(WORK)
    assert git.status(WORK).staged_count == 2
    git.commit(WORK, 'first: "quoted" and ünïcödé')
    assert git.status(WORK).is_clean

    git.create_branch(WORK, "topic/change")
    branches = git.branches(WORK)
    assert (branches.current_branch, sorted(branches.branches)) == ("topic/change", ["main", "topic/change"])
    files.write(f"{WORK}/one.txt", "changed\n")
    changed = git.status(WORK).file_status[0]
    assert (changed.name, changed.status, changed.staged) == ("one.txt", "modified", False)
    git.restore(WORK, paths=["one.txt"])
    assert files.read(f"{WORK}/one.txt") == "one\n"
    git.checkout_branch(WORK, "main")
    git.delete_branch(WORK, "topic/change", force=True)
    assert git.branches(WORK).branches == ["main"]

    git.remote_add(WORK, "origin", ORIGIN)
    assert git.remote_get(WORK, "origin") == ORIGIN
    assert git.remote_get(WORK, "nowhere") is None
    git.push(WORK, remote="origin", branch="main", set_upstream=True)
    git.clone(f"file://{ORIGIN}", path=COPY, branch="main", depth=1)
    assert files.read(f"{COPY}/dir/two words.txt") == "two\n"

    files.write(f"{WORK}/three.txt", "three\n")
    git.add(WORK)
    git.commit(WORK, "second")
    status = git.status(WORK)
    assert (status.upstream, status.ahead, status.behind) == ("origin/main", 1, 0)
    git.push(WORK)
    git.pull(COPY)
    assert files.read(f"{COPY}/three.txt") == "three\n"
    git.reset(COPY, mode="hard", target="HEAD~1")
    assert not files.exists(f"{COPY}/three.txt")


def test_failures_are_failures(sandbox):
    with pytest.raises(CommandExitException) as missing:
        sandbox.git.clone("file:///home/user/no-such-repository", path="/home/user/none")
    assert missing.value.exit_code == 128
    with pytest.raises(CommandExitException, match="not a git repository"):
        sandbox.git.status("/home/user")
